"""Imagine: whole trajectories that are what Step would have given, however they are cut."""

import concurrent.futures
import contextlib
import threading
import time
import urllib.request

import grpc
import numpy as np
import pytest

from conftest import ROOT
from dreamd_stubs import Client, arrays, details, make_zoo, put, registry, simulation
from imagination import ask, collect, imagine

INVALID = grpc.StatusCode.INVALID_ARGUMENT
PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION
ALL = ["action", "reward", "continue", "value", "state", "prior", "observation", "terminated", "truncated"]
THRESHOLD = simulation.Ending(rule=simulation.Ending.THRESHOLD, threshold=0.5)

SAMPLED = simulation.Ending(rule=simulation.Ending.SAMPLED)


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    folder = make_zoo(tmp_path_factory.mktemp("zoo"), tiny=7)
    for name in ("pendulum", "cartpole"):
        (folder / name).symlink_to(ROOT / "models/zoo" / name)
    return folder


def draw(*shape, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (*shape, 2)).astype("<f4")


def same(one, other):
    assert one.keys() == other.keys()
    for name, array in one.items():
        assert array.shape == other[name].shape and array.tobytes() == other[name].tobytes(), name


def fails(code, call, *words):
    with pytest.raises(grpc.RpcError) as caught:
        list(call())
    assert caught.value.code() == code, caught.value.details()
    for word in words:
        assert word in caught.value.details(), caught.value.details()
    return caught.value


def stepped(client, session, rows, choose, horizon, outputs):
    """The same by Step: [rows, steps, ...]."""
    seen = {}
    for k in range(horizon):
        action = choose(k)
        request = put(simulation.StepRequest(session_id=session, outputs=outputs), action=action)
        request.rows.rows.extend(rows)
        for name, array in {"action": action, **arrays(client.simulation.Step(request))}.items():
            seen.setdefault(name, []).append(array)
    return {name: np.stack(arrays_, 1) for name, arrays_ in seen.items()}


# ---- the same as Step ----


@pytest.mark.parametrize("shape", ["by row", "by candidate"])
@pytest.mark.parametrize("mode", ["sample", "mode"])
def test_given_actions_lead_where_step_leads(client, shape, mode):
    mode = simulation.LATENT_MODE_MODE if mode == "mode" else simulation.LATENT_MODE_SAMPLE
    session = client.open(rows=5, seed=11, latent_mode=mode, horizon=6).session_id
    client.step(session, draw(5, seed=1))
    given = draw(3, 5)
    actions = given if shape == "by row" else given[:, None]
    before = client.state(session)
    dreamt = imagine(client, session, actions=actions, rows=[4, 0, 2], outputs=ALL)
    same(client.state(session), before)
    outputs = [name for name in ALL if name != "action"]
    real = stepped(client, session, [4, 0, 2], lambda k: given[:, k], 5, outputs)
    same({name: dreamt[name] for name in sorted(real)}, {name: real[name] for name in sorted(real)})
    assert dreamt["truncated"][:, -1].all() and not dreamt["truncated"][:, :-1].any()


@pytest.mark.parametrize("how", [simulation.LATENT_MODE_SAMPLE, simulation.LATENT_MODE_MODE])
def test_an_actors_trajectory_is_that_of_act_and_step_in_turn(client, how):
    session = client.open(rows=3, seed=5).session_id
    dreamt = imagine(client, session, policy="actor", action_mode=how, horizon=7, outputs=["action", "reward", "state"])
    act = simulation.ActRequest(session_id=session, action_mode=how)
    real = stepped(client, session, range(3), lambda k: arrays(client.simulation.Act(act))["action"],
                   7, ["reward", "state"])
    same(dict(sorted(dreamt.items())), dict(sorted(real.items())))


@pytest.mark.parametrize("warm", [True, False])
def test_a_planned_trajectory_is_that_of_plan_and_step_in_turn(client, warm):
    session = client.open(rows=2, seed=5).session_id
    settings = simulation.PlannerSettings(warm_start=warm, horizon=4, candidates=20, elites=5)
    plan = simulation.PlanRequest(session_id=session, settings=settings)
    client.simulation.Plan(plan)
    client.step(session, draw(2, seed=3))
    request = ask(session, policy="plan", horizon=4, outputs=["action", "reward", "state"])
    request.settings.CopyFrom(settings)
    dreamt = collect(client.simulation.Imagine(request))
    real = stepped(client, session, range(2), lambda k: arrays(client.simulation.Plan(plan))["action"],
                   4, ["reward", "state"])
    same(dict(sorted(dreamt.items())), dict(sorted(real.items())))


def test_choices_are_given_acted_planned_and_drawn_as_numbers(client):
    session = client.open("cartpole", rows=3, seed=2).session_id
    given = np.random.default_rng(1).integers(0, 2, (3, 6)).astype("<i4")
    dreamt = imagine(client, session, actions=given, outputs=["action", "observation"])
    assert dreamt["action"].dtype == np.int64
    np.testing.assert_array_equal(dreamt["action"], given)
    drawn = imagine(client, session, policy="random", horizon=200, outputs=["action"])["action"]
    assert set(drawn.ravel()) == {0, 1} and 0.4 < drawn.mean() < 0.6
    planned = imagine(client, session, policy="plan", horizon=2, outputs=["action", "reward"],
                      settings={"horizon": 3, "candidates": 8, "elites": 2, "iterations": 1})
    assert planned["action"].dtype == np.int64 and set(planned["action"].ravel()) <= {0, 1}
    real = stepped(client, session, range(3), lambda k: given[:, k], 6, ["observation"])
    same({"observation": dreamt["observation"]}, {"observation": real["observation"]})


# ---- noise ----


def test_candidates_differ_and_more_of_them_change_none(client):
    session = client.open(rows=4, seed=3).session_id
    given = draw(4, 6)
    many = imagine(client, session, actions=given, candidates=5, outputs=["state", "reward"])
    fewer = imagine(client, session, actions=given, candidates=2, outputs=["state", "reward"])
    one = imagine(client, session, actions=given, outputs=["state", "reward"])
    for name in one:
        by_row = many[name].reshape(4, 5, *many[name].shape[1:])
        assert by_row[:, :1].tobytes() == one[name].tobytes()
        assert np.ascontiguousarray(by_row[:, :2]).tobytes() == fewer[name].tobytes()
    stoch = many["state.stoch"].reshape(20, -1)
    assert len(np.unique(stoch, axis=0)) == 20


def test_a_seed_makes_it_the_same_in_any_session(client):
    given = draw(2, 5)
    asked = dict(actions=given, candidates=3, seed=99, outputs=["state"])
    one, other = (client.open(rows=2, seed=seed).session_id for seed in (1, 2))
    same(imagine(client, one, **asked), imagine(client, other, **asked))
    assert imagine(client, one, **{**asked, "seed": 98})["state.stoch"].tobytes() != \
        imagine(client, one, **asked)["state.stoch"].tobytes()
    drawn = dict(policy="random", horizon=5, seed=4, outputs=["action"], candidates=2)
    same(imagine(client, one, **drawn), imagine(client, other, **drawn))


def test_random_actions_fill_their_space(client):
    session = client.open(rows=2, seed=3).session_id
    drawn = imagine(client, session, policy="random", horizon=50, candidates=100)["action"]
    low, high = np.array([-2, -1]), np.array([2, 1])
    assert (drawn >= low).all() and (drawn <= high).all()
    unit = ((drawn - low) / (high - low)).reshape(-1)
    counts = np.histogram(unit, 10, (0, 1))[0] / unit.size
    assert np.abs(counts - 0.1).max() < 0.01
    assert len(np.unique(drawn.reshape(-1, 2), axis=0)) == 10_000


def test_many_groups_give_what_rows_alone_give(client):
    """3,000 trajectories are more than are advanced together."""
    session = client.open(rows=3, seed=8).session_id
    request = dict(policy="actor", horizon=3, outputs=["reward", "action", "return"])
    many = imagine(client, session, candidates=1000, **request)
    alone = imagine(client, session, candidates=1000, rows=[1], **request)
    for name in alone:
        whole = many[name].reshape(3, -1)[1]
        assert whole.tobytes() == alone[name].tobytes(), name


def test_it_is_the_same_alone_under_load_and_on_one_thread(zoo, served, client, start_daemon):
    asked = dict(policy="actor", horizon=20, candidates=50, outputs=["reward", "state", "return"])
    session = client.open(rows=4, seed=21).session_id
    alone = imagine(client, session, **asked)
    with contextlib.ExitStack() as stack:
        others = [Client(stack.enter_context(served.channel())) for _ in range(4)]
        stop = threading.Event()

        def disturb(other, rows):
            mine = other.open(rows=rows, seed=rows).session_id
            while not stop.is_set():
                other.step(mine, draw(rows))
                imagine(other, mine, policy="actor", horizon=2)

        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            busy = [pool.submit(disturb, other, 1 + 9 * i) for i, other in enumerate(others)]
            try:
                same(imagine(client, session, **asked), alone)
            finally:
                stop.set()
            for one in busy:
                one.result()
    single = start_daemon("--zoo", zoo, "--compute-threads", "1")
    with single.channel() as channel:
        other = Client(channel)
        same(imagine(other, other.open(rows=4, seed=21).session_id, **asked), alone)


# ---- chunks ----


@pytest.mark.parametrize("chunk_bytes", [1, 1 << 10, 5000, 1 << 16, 1 << 20])
def test_chunks_of_any_size_hold_the_same(client, chunk_bytes):
    session = client.open(rows=3, seed=8).session_id
    asked = dict(policy="actor", horizon=13, candidates=5, outputs=[*ALL, "return"])
    same(imagine(client, session, chunk_bytes=chunk_bytes, **asked), imagine(client, session, **asked))


def test_a_long_trajectory_comes_in_chunks_as_large_as_they_may_be(client):
    session = client.open(rows=1, seed=8).session_id
    sizes = [sum(map(len, message.raw_contents)) for message in client.simulation.Imagine(
        ask(session, policy="random", horizon=5000, outputs=["reward"], chunk_bytes=4000))]
    assert sizes == [4000] * 5


# ---- returns ----


@pytest.mark.parametrize("settings", [{}, {"discount": 0.9}, {"discount": 0.97, "terminal_value": True}])
def test_returns_are_discounted_sums_weighted_by_continue(client, settings):
    session = client.open(rows=3, seed=6).session_id
    given = draw(3, 4, 9)
    request = ask(session, actions=given, outputs=["reward", "continue", "value", "return"])
    request.settings.CopyFrom(simulation.PlannerSettings(**settings))
    told = collect(client.simulation.Imagine(request))
    weight, total = np.ones(12), np.zeros(12)
    discount = np.float64(np.float32(settings.get("discount", client.open().planning.discount)))
    for k in range(9):
        total += weight * told["reward"][:, k]
        weight *= discount * told["continue"][:, k].astype("f8")
    if settings.get("terminal_value"):
        total += weight * told["value"][:, -1]
    assert told["return"].shape == (3, 4)
    np.testing.assert_array_equal(told["return"].ravel(), total.astype("f4"))
    del request.outputs[:]
    request.outputs.append("return")
    messages = list(client.simulation.Imagine(request))
    assert len(messages) == 1 and messages[0].last
    same(arrays(messages[0]), {"return": told["return"]})


def test_a_plans_return_is_that_of_its_actions(client):
    """Random shooting returns its best sequence and what it is worth: asked again, it is worth the same."""
    session = client.open(rows=3, seed=6, latent_mode=simulation.LATENT_MODE_MODE).session_id
    client.step(session, draw(3))
    settings = dict(method="random_shooting", horizon=6, candidates=50, warm_start=False, action_noise=0)
    plan = arrays(client.simulation.Plan(simulation.PlanRequest(
        session_id=session, outputs=["plan", "return"], settings=simulation.PlannerSettings(**settings))))
    scored = imagine(client, session, actions=plan["plan"][:, None], outputs=["return"], settings=settings)
    same({"return": scored["return"][:, 0]}, {"return": plan["return"]})


# ---- ends ----


def test_an_ended_trajectory_goes_on_and_says_so(client):
    session = client.open(rows=8, seed=1, ending=THRESHOLD).session_id
    told = imagine(client, session, policy="random", horizon=12, outputs=["continue", "terminated"])
    ended = np.maximum.accumulate(told["continue"] < 0.5, 1)
    np.testing.assert_array_equal(told["terminated"], ended)
    assert ended.any() and not ended.all()


@pytest.mark.parametrize("ending", [THRESHOLD, SAMPLED])
def test_it_ends_where_step_ends(client, ending):
    session = client.open(rows=32, seed=1, ending=ending).session_id
    given = draw(32, 8)
    told = imagine(client, session, actions=given, outputs=["terminated"])["terminated"]
    alive = list(range(32))
    for k in range(8):
        request = put(simulation.StepRequest(session_id=session, outputs=["terminated"]), action=given[alive, k])
        request.rows.rows.extend(alive)
        ended = arrays(client.simulation.Step(request))["terminated"]
        np.testing.assert_array_equal(told[alive, k], ended)
        alive = [row for row, over in zip(alive, ended) if not over]
        if not alive:
            break
    assert told[:, -1].any()


def test_a_row_that_has_ended_is_not_imagined_from(client):
    session = client.open(rows=2, horizon=1).session_id
    client.step(session, draw(1), rows=[1])
    error = fails(PRECONDITION, lambda: client.simulation.Imagine(ask(session, policy="random", horizon=2)), "1")
    assert details(error, "ErrorInfo").reason == "ROW_ENDED"
    imagine(client, session, policy="random", horizon=2, rows=[0])


# ---- what is wrong ----

WRONG = {
    "no horizon": (dict(policy="random"), "horizon", "horizon is 0"),
    "a horizon without end": (dict(policy="random", horizon=1_000_001), "horizon", "imagine_horizon_max"),
    "too many candidates": (dict(policy="random", horizon=1, candidates=1 << 20), "candidates", "1048576"),
    "another horizon than the actions'": (dict(actions=draw(3, 4), horizon=5), "tensors[0].shape",
                                          "[3, 4, 2], expected [3, 5, 2]"),
    "another number of candidates": (dict(actions=draw(3, 2, 4), candidates=3), "tensors[0].shape",
                                     "[3, 2, 4, 2], expected [3, 3, 4, 2]"),
    "actions of other rows": (dict(actions=draw(2, 4)), "tensors[0].shape", "[2, 4, 2], expected [3, 4, 2]"),
    "actions without steps": (dict(actions=draw(3)), "tensors[0].shape", "[3, 2]"),
    "actions of no steps": (dict(actions=draw(3, 0)), "horizon", "horizon is 0"),
    "a NaN": (dict(actions=np.full((3, 4, 2), np.nan, "<f4")), "raw_contents[0]", "NaN"),
    "no actions": (dict(policy="given", horizon=3), "tensors", "missing"),
    "actions for an actor": (dict(policy="actor", actions=draw(3, 4), horizon=4), "tensors[0].name", "GIVEN"),
    "settings for nothing": (dict(policy="random", horizon=1, settings={"discount": 0.5}), "settings", "PLAN"),
    "a wrong setting": (dict(policy="random", horizon=1, outputs=["return"], settings={"discount": 2}),
                        "settings.discount", "2"),
    "an unknown output": (dict(policy="random", horizon=1, outputs=["speed"]), "outputs[0]", "speed"),
    "a row twice": (dict(policy="random", horizon=1, rows=[1, 1]), "rows.rows[1]", "twice"),
    "a chunk too large": (dict(policy="random", horizon=1, chunk_bytes=(64 << 20) + 1), "chunk_bytes", "67108864"),
    "an unknown way to act": (dict(policy="actor", horizon=1, action_mode=7), "action_mode", "7"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_named(client, name):
    fields, field, word = WRONG[name]
    session = client.open(rows=3).session_id
    error = fails(INVALID, lambda: client.simulation.Imagine(ask(session, **fields)), word)
    assert details(error, "BadRequest").field_violations[0].field == field


def test_what_a_checkpoint_lacks_is_a_precondition(client):
    session = client.open("pendulum").session_id
    fails(PRECONDITION, lambda: client.simulation.Imagine(ask(session, policy="actor", horizon=2)), "no actor")
    fails(PRECONDITION, lambda: client.simulation.Imagine(
        ask(session, policy="random", horizon=2, outputs=["value"])), "value")
    fails(grpc.StatusCode.ABORTED, lambda: client.simulation.Imagine(
        ask(session, policy="random", horizon=2, at_step_id=7)), "committed_step_id is 0")


# ---- life ----


def test_the_session_moves_on_meanwhile(client):
    session = client.open(rows=4, seed=5).session_id
    asked = dict(policy="actor", horizon=400, candidates=30, outputs=["reward", "state"], seed=1)
    wanted = imagine(client, session, **asked)
    stream = client.simulation.Imagine(ask(session, **asked))
    first = next(stream)
    for k in range(20):
        client.step(session, draw(4, seed=k))
    same(collect(chain(first, stream)), wanted)
    assert first.committed_step_id == 0


def chain(first, rest):
    yield first
    yield from rest


def wait_until(condition, what):
    give_up = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < give_up, what
        time.sleep(0.01)


def computed(client):
    return client.registry.GetServerInfo(registry.GetServerInfoRequest()).batch_rows


def lent(served):
    """Memory of requests under way."""
    page = urllib.request.urlopen(f"http://{served.http}/metrics").read().decode()
    return float(next(line for line in page.splitlines() if line.startswith("dreamd_result_bytes ")).split()[1])


def is_quiet(client):
    """Nothing is computed any more: two looks, some time apart, see the same."""
    before = computed(client)
    time.sleep(0.2)
    return computed(client) == before


def resident_bytes(daemon):
    with open(f"/proc/{daemon.process.pid}/statm") as file:
        return int(file.read().split()[1]) * 4096


def test_a_slow_reader_stops_the_work_and_memory_stays(served, client):
    """A million steps are not computed ahead of a client that does not read."""
    session = client.open(rows=8, seed=5).session_id
    warm = ask(session, policy="random", horizon=500, candidates=64, outputs=["state", "observation"])
    for _ in client.simulation.Imagine(warm):
        pass
    wait_until(lambda: is_quiet(client), "the daemon does not come to rest")
    before = resident_bytes(served)
    warm.horizon = 1_000_000
    with served.channel() as slow:
        stream = Client(slow).simulation.Imagine(warm)
        next(stream)
        wait_until(lambda: is_quiet(client), "it is computed all the same")
        assert resident_bytes(served) - before < 48 << 20
        rows = computed(client)
        for _ in range(40):
            next(stream)
        wait_until(lambda: computed(client) > rows, "it does not go on")
        stream.cancel()
    wait_until(lambda: is_quiet(client), "a cancelled call is computed on")
    wait_until(lambda: client.simulation.GetSession(simulation.GetSessionRequest(session_id=session)).session.status
               == simulation.SESSION_STATUS_READY, "a cancelled call holds the session")


def test_a_reader_that_reads_nothing_is_given_up(served, client):
    session = client.open(rows=8, seed=5, ttl_ms=300).session_id
    with served.channel() as channel:
        stream = Client(channel).simulation.Imagine(
            ask(session, policy="random", horizon=1_000_000, candidates=64, outputs=["state"]))
        next(stream)

        def is_gone():
            try:
                return client.simulation.GetSession(simulation.GetSessionRequest(
                    session_id=session)).session.status == simulation.SESSION_STATUS_READY
            except grpc.RpcError as error:
                return error.code() == grpc.StatusCode.NOT_FOUND

        wait_until(is_gone, "the session is held")
        error = fails(grpc.StatusCode.ABORTED, lambda: stream, "300 ms")
        assert details(error, "ErrorInfo").reason == "CLIENT_STALLED"


@pytest.mark.parametrize("policy", ["actor", "random", "plan"])
def test_a_cancelled_one_ends_and_frees_the_session(client, policy):
    session = client.open(rows=64, seed=5).session_id
    stream = client.simulation.Imagine(ask(session, policy=policy, horizon=1_000_000, outputs=["action"],
                                           candidates=4, chunk_bytes=100))
    next(stream)
    stream.cancel()
    wait_until(lambda: client.simulation.GetSession(simulation.GetSessionRequest(session_id=session)).session.status
               == simulation.SESSION_STATUS_READY, "it holds the session")
    wait_until(lambda: is_quiet(client), "it is computed on")


def test_a_deadline_ends_it(client):
    session = client.open(rows=64, seed=5).session_id
    request = ask(session, policy="actor", horizon=1_000_000, outputs=["return"])
    fails(grpc.StatusCode.DEADLINE_EXCEEDED, lambda: client.simulation.Imagine(request, timeout=0.3))
    wait_until(lambda: is_quiet(client), "it is computed on")


def test_closing_the_session_ends_it(client):
    session = client.open(rows=8, seed=5).session_id
    stream = client.simulation.Imagine(ask(session, policy="random", horizon=1_000_000, outputs=["reward"],
                                           chunk_bytes=1 << 14))
    next(stream)
    client.simulation.CloseSession(simulation.CloseSessionRequest(session_id=session))
    fails(grpc.StatusCode.NOT_FOUND, lambda: stream, "closed")


def test_closing_the_session_ends_one_that_plans(client):
    """Its only group would be planned for hours."""
    session = client.open(rows=1, seed=5).session_id
    stream = client.simulation.Imagine(ask(session, policy="plan", horizon=1_000_000, outputs=["return"]), timeout=60)
    rows = computed(client)
    wait_until(lambda: computed(client) > rows, "it does not begin")
    client.simulation.CloseSession(simulation.CloseSessionRequest(session_id=session))
    fails(grpc.StatusCode.NOT_FOUND, lambda: stream, "closed")
    wait_until(lambda: is_quiet(client), "it goes on")


def test_closing_the_session_frees_one_whose_client_reads_nothing(served, client):
    session = client.open(rows=8, seed=5).session_id
    before = lent(served)
    stream = client.simulation.Imagine(ask(session, policy="random", horizon=1_000_000), timeout=60)
    next(stream)
    wait_until(lambda: is_quiet(client), "flow control does not stop it")
    assert lent(served) > before
    client.simulation.CloseSession(simulation.CloseSessionRequest(session_id=session))
    wait_until(lambda: lent(served) == before, "what it holds is not given back")
    fails(grpc.StatusCode.NOT_FOUND, lambda: stream, "closed")


def test_interactive_steps_are_answered_beside_it(served, client):
    session, large = (client.open(rows=rows, seed=5).session_id for rows in (1, 64))
    with served.channel() as other:
        stream = Client(other).simulation.Imagine(
            ask(large, policy="actor", horizon=1_000_000, candidates=100, outputs=["return"]))
        rows = computed(client)
        wait_until(lambda: computed(client) > rows, "it does not begin")
        for k in range(50):
            client.step(session, draw(1, seed=k))
        stream.cancel()
