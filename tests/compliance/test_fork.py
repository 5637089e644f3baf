"""Fork: copies that go on as their rows would, into new sessions and over rows of the same."""

import concurrent.futures

import grpc
import numpy as np
import pytest

from conftest import running
from dreamd_stubs import Client, arrays, details, make_zoo, registry, simulation

INVALID = grpc.StatusCode.INVALID_ARGUMENT
NOT_FOUND = grpc.StatusCode.NOT_FOUND
PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION
ABORTED = grpc.StatusCode.ABORTED


def actions(rows, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (rows, 2)).astype("<f4")


def fails(code, call, *words):
    with pytest.raises(grpc.RpcError) as caught:
        call()
    assert caught.value.code() == code, caught.value.details()
    for word in words:
        assert word in caught.value.details()
    return caught.value



def fork(client, session_id, rows=None, into=None, **fields):
    request = simulation.ForkRequest(session_id=session_id, **fields)
    if rows is not None:
        request.rows.rows.extend(rows)
    if into is not None:
        request.into.rows.extend(into)
    return client.simulation.Fork(request)


def state(client, session_id, rows=None):
    request = simulation.GetStateRequest(session_id=session_id)
    if rows is not None:
        request.rows.rows.extend(rows)
    return arrays(client.simulation.GetState(request))


def latents(of, rows=slice(None)):
    return {name: array[rows].tobytes() for name, array in of.items()
            if name.startswith(("state.", "noise.", "row."))}


def walk(client, session_id, steps=6, rows=None, seed=100):
    """Everything that some steps, observations and plans give."""
    seen = []
    count = len(rows) if rows is not None else client.simulation.GetSession(
        simulation.GetSessionRequest(session_id=session_id)).session.rows
    for step in range(steps):
        action = np.repeat(actions(1, seed + step), count, 0)
        reply = client.step(session_id, action, rows, outputs=["reward", "continue", "state", "observation"])
        seen.append([array for array in arrays(reply).values()])
        plan = simulation.PlanRequest(session_id=session_id)
        plan.settings.horizon = 4
        plan.settings.candidates = 16
        plan.settings.iterations = 2
        plan.settings.warm_start = True
        if rows is not None:
            plan.rows.rows.extend(rows)
        seen.append([array for array in arrays(client.simulation.Plan(plan)).values()])
    return seen


def same(one, other, rows=slice(None), others=slice(None)):
    for ours, theirs in zip(one, other, strict=True):
        for mine, yours in zip(ours, theirs, strict=True):
            assert mine[rows].tobytes() == yours[others].tobytes()


# ---- a new session ----


def test_copies_go_on_as_the_rows_would_plans_included(client):
    parent = client.open(rows=3, seed=5, horizon=50, ending={"rule": 2, "threshold": 0.25}, ttl_ms=9000)
    walk(client, parent.session_id)
    copy = fork(client, parent.session_id, label="a copy").session
    assert copy.session_id != parent.session_id and copy.committed_step_id == 0
    assert (copy.rows, copy.seed, copy.horizon, copy.ending.threshold, copy.label, copy.ttl_ms) == (
        3, 5, 50, 0.25, "a copy", 9000)
    assert state(client, copy.session_id).keys() == state(client, parent.session_id).keys()
    for name, array in state(client, parent.session_id).items():
        assert array.tobytes() == state(client, copy.session_id)[name].tobytes(), name
    same(walk(client, parent.session_id), walk(client, copy.session_id))


def test_copies_of_selected_rows_stand_next_to_each_other(client):
    parent = client.open(rows=3, seed=6).session_id
    walk(client, parent)
    made = fork(client, parent, rows=[2, 0], copies=3)
    assert made.session.rows == 6
    future = walk(client, made.session.session_id)
    original = walk(client, parent)
    for row in range(6):
        same(future, original, [row], [2] if row < 3 else [0])


def test_a_fork_leaves_its_parent_as_it_was(client):
    parent = client.open(rows=2, seed=6).session_id
    walk(client, parent, 2)
    before = state(client, parent)
    fork(client, parent, copies=10)
    assert latents(before) == latents(state(client, parent))
    assert client.simulation.GetSession(
        simulation.GetSessionRequest(session_id=parent)).session.committed_step_id == 2


def test_a_reseeded_copy_has_another_future_and_the_same_one_twice(client):
    parent = client.open(rows=1, seed=6).session_id
    walk(client, parent, 2)
    one, other = (fork(client, parent, copies=4, reseed=77).session.session_id for _ in range(2))
    futures = walk(client, one, 3)
    same(futures, walk(client, other, 3))
    drawn = [np.concatenate([array[row].ravel() for array in futures[4]]) for row in range(4)]
    straight = [array for array in walk(client, parent, 3)[4]]
    for row in range(4):
        assert not np.array_equal(drawn[row], np.concatenate([array[0].ravel() for array in straight]))
        assert all(not np.array_equal(drawn[row], drawn[k]) for k in range(row))


def test_a_fork_of_ended_rows_has_ended_rows(client):
    parent = client.open(rows=2, horizon=1).session_id
    client.step(parent, [[0, 0]], [1])
    made = fork(client, parent, rows=[1, 0], copies=2).session
    assert list(made.ended_rows) == [0, 1]


def test_a_request_id_forks_once_even_when_the_parent_is_gone(client):
    parent = client.open(rows=2).session_id
    one = fork(client, parent, request_id="fork-1", copies=2).session.session_id
    assert fork(client, parent, request_id="fork-1", copies=2).session.session_id == one
    fails(grpc.StatusCode.ALREADY_EXISTS, lambda: fork(client, parent, request_id="fork-1"), "fork-1")
    client.simulation.CloseSession(simulation.CloseSessionRequest(session_id=parent))
    assert fork(client, parent, request_id="fork-1", copies=2).session.session_id == one


def test_a_fork_of_a_busy_session_sees_it_before_or_after_each_step(client):
    """Steps and forks at once: whatever the moment, a copy is one of the states that there were."""
    parent = client.open(rows=64, seed=3).session_id
    twin = client.open(rows=64, seed=3).session_id
    known = {bytes(latents(state(client, twin))["state.deter"])}
    for step in range(30):
        client.step(twin, actions(64, step))
        known.add(bytes(latents(state(client, twin))["state.deter"]))
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        steps = pool.submit(lambda: [client.step(parent, actions(64, step)) for step in range(30)])
        copies = [pool.submit(fork, client, parent) for _ in range(30)]
        steps.result()
        for copy in copies:
            session = copy.result().session.session_id
            assert bytes(latents(state(client, session))["state.deter"]) in known
            client.simulation.CloseSession(simulation.CloseSessionRequest(session_id=session))


# ---- into rows of the same session ----


def test_forking_into_rows_commits_once(client):
    session = client.open(rows=4, seed=2).session_id
    client.step(session, actions(4), step_id=1)
    before = state(client, session)
    first = fork(client, session, rows=[0, 3], into=[1, 0], step_id=2)
    assert first.committed_step_id == first.session.committed_step_id == 2
    after = state(client, session)
    assert latents(after, [1, 0, 2, 3]) == latents(before, [0, 3, 2, 3])
    again = fork(client, session, rows=[0, 3], into=[1, 0], step_id=2)
    assert again.SerializeToString() == first.SerializeToString()
    assert latents(state(client, session)) == latents(after)
    fails(INVALID, lambda: fork(client, session, rows=[0, 3], into=[2, 0], step_id=2), "another request")
    gap = fails(ABORTED, lambda: fork(client, session, into=[2], rows=[0], step_id=9))
    assert details(gap, "ErrorInfo").metadata["committed_step_id"] == "2"


def test_one_row_goes_into_all_with_its_plans(client):
    session = client.open(rows=4, seed=2).session_id
    walk(client, session, 3)
    fork(client, session, rows=[2], into=[0, 1, 3])
    future = walk(client, session)
    for row in (0, 1, 3):
        same(future, future, [row], [2])


def test_an_ended_row_is_alive_again_after_a_fork_into_it(client):
    session = client.open(rows=3, horizon=2).session_id
    client.step(session, [[0, 0]], [0])
    client.step(session, [[0, 0]], [0])
    made = fork(client, session, rows=[1], into=[0]).session
    assert list(made.ended_rows) == []
    client.step(session, [[0, 0]], [0])


# ---- going back ----


def test_rows_go_back_by_their_own_steps(client):
    session = client.open(rows=3, seed=4, history=4).session_id
    states = [state(client, session)]
    for step in range(6):
        client.step(session, actions(3, step))
        states.append(state(client, session))
    client.step(session, actions(1, 50), [1])  # row 1 alone: the others have no step more behind them
    now = state(client, session)
    for back in range(1, 5):
        copy = state(client, fork(client, session, steps_back=back).session.session_id)
        assert latents(copy, [0, 2]) == latents(states[6 - back], [0, 2])
        assert latents(copy, [1]) == latents(states[7 - back], [1])
    assert latents(state(client, session)) == latents(now)


def test_a_copy_of_the_past_repeats_what_was(client):
    session = client.open(rows=2, seed=4, history=8).session_id
    client.step(session, actions(2))
    action = [actions(2, step) for step in range(4)]
    then = [client.step(session, a, outputs=["reward", "state"]).raw_contents for a in action]
    copy = fork(client, session, steps_back=4).session.session_id
    assert [client.step(copy, a, outputs=["reward", "state"]).raw_contents for a in action] == then


def test_going_back_within_a_session_can_be_undone(client):
    session = client.open(rows=2, seed=4, history=3).session_id
    for step in range(3):
        client.step(session, actions(2, step))
    now = state(client, session)
    fork(client, session, into=[0, 1], steps_back=2)
    assert latents(state(client, session)) != latents(now)
    fork(client, session, into=[0, 1], steps_back=1)
    assert latents(state(client, session)) == latents(now)


def test_what_is_not_known_any_more_is_refused(client):
    session = client.open(rows=2, history=2).session_id
    client.step(session, [[0, 0]], [0])
    error = fails(PRECONDITION, lambda: fork(client, session, steps_back=1), "row 1")
    assert details(error, "PreconditionFailure").violations[0].subject == "steps_back"
    error = fails(INVALID, lambda: fork(client, session, steps_back=3), "history of 2")
    assert details(error, "BadRequest").field_violations[0].field == "steps_back"
    fails(INVALID, lambda: fork(client, client.open().session_id, steps_back=1), "history of 0")
    fails(INVALID, lambda: client.open(history=5000), "4096")


def test_the_memory_of_a_history_is_known_before(client):
    plain, deep = client.open(rows=10), client.open(rows=10, history=100)
    width = sum(int(np.prod(part.shape)) for part in plain.state)
    assert deep.history == 100
    assert deep.bytes - plain.bytes >= 10 * 100 * width * 4
    assert deep.bytes - plain.bytes <= 10 * 100 * (width * 4 + 128)
    fails(INVALID, lambda: client.open(rows=65536, history=4096), "history")


# ---- bad input ----


@pytest.mark.parametrize("fields, rows, into, where", [
    ({"step_id": 1}, None, None, "step_id"),
    ({"copies": 40000}, None, None, "copies"),
    ({"copies": 2}, None, [0, 1], "copies"),
    ({"label": "x"}, None, [0, 1], "label"),
    ({"request_id": "x"}, None, [0, 1], "request_id"),
    ({"ttl_ms": 5}, None, [0, 1], "ttl_ms"),
    ({"ttl_ms": 2**63}, None, None, "ttl_ms"),
    ({"label": "x" * 200}, None, None, "label"),
    ({}, [0, 1], [0, 1, 2], "into"),
    ({}, [0], [7], "into.rows[0]"),
    ({}, [0], [1, 1], "into.rows[1]"),
    ({}, [5], None, "rows.rows[0]"),
    ({}, [0], [], "into.rows"),
])
def test_wrong_fields_are_named(client, fields, rows, into, where):
    session = client.open(rows=3).session_id
    request = simulation.ForkRequest(session_id=session, **fields)
    if rows is not None:
        request.rows.rows.extend(rows)
    if into is not None:
        request.into.SetInParent()
        request.into.rows.extend(into)
    error = fails(INVALID, lambda: client.simulation.Fork(request))
    assert details(error, "BadRequest").field_violations[0].field == where
    assert client.step(session, [[0, 0]] * 3, step_id=1).committed_step_id == 1


def test_a_fork_of_nothing_is_not_found(client):
    fails(NOT_FOUND, lambda: fork(client, "0" * 32), "0" * 32)


def test_the_daemon_lists_the_method(client):
    info = client.registry.GetServerInfo(registry.GetServerInfoRequest())
    assert {"dreamd.v1.Simulation/Fork", "dreamd.v1.Simulation/GetState",
            "dreamd.v1.Simulation/SetState"} <= set(info.methods)


def test_forks_end_at_the_quota_and_say_when_to_try_again(tmp_path):
    zoo = make_zoo(tmp_path / "zoo", tiny=7)
    with running(tmp_path, "--zoo", zoo, "--sessions-max", "3") as daemon, daemon.channel() as channel:
        client = Client(channel)
        parent = client.open().session_id
        fork(client, parent), fork(client, parent)
        error = fails(grpc.StatusCode.RESOURCE_EXHAUSTED, lambda: fork(client, parent))
        assert details(error, "RetryInfo").retry_delay.ToMilliseconds() > 0
        client.step(parent, actions(1))
