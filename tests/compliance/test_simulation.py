"""Sessions as any gRPC client sees them: life, exactly-once, bit-identity, bad input, plans."""

import concurrent.futures
import contextlib
import threading
import time

import grpc
import numpy as np
import pytest

from dreamd_stubs import Client, arrays, details, make_zoo, put, registry, simulation

ROWS = 5
INVALID = grpc.StatusCode.INVALID_ARGUMENT
NOT_FOUND = grpc.StatusCode.NOT_FOUND
PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION
ABORTED = grpc.StatusCode.ABORTED
UNIMPLEMENTED = grpc.StatusCode.UNIMPLEMENTED


def actions(rows=ROWS, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (rows, 2)).astype("<f4")


def fails(code, call, *words):
    with pytest.raises(grpc.RpcError) as caught:
        call()
    assert caught.value.code() == code, caught.value.details()
    for word in words:
        assert word in caught.value.details()
    return caught.value


def same(one, other):
    assert one.keys() == other.keys()
    for name, array in one.items():
        assert array.tobytes() == other[name].tobytes(), name


# ---- life ----


def test_a_session_tells_what_is_needed_to_speak_to_it(client):
    session = client.open(rows=ROWS, seed=3, label="mine")
    assert session.model == "tiny@1" and session.checkpoint.startswith("sha256:")
    assert (session.rows, session.seed, session.label, session.committed_step_id) == (
        ROWS, 3, "mine", 0)
    assert list(session.action_space.box.low) == [-2, -1]
    assert [e.key for e in session.observation_space.dict.entries] == ["state", "angle"]
    assert {s.name for s in session.state} >= {"state.deter", "state.stoch"}
    assert set(session.heads) == {"reward", "continue", "value", "action", "observation"}
    assert session.planning.method == "cem" and session.planning.horizon == 5
    again = client.simulation.GetSession(
        simulation.GetSessionRequest(session_id=session.session_id)).session
    assert again.status == simulation.SESSION_STATUS_READY and again.time_left_ms > 0


def test_a_closed_session_is_gone(client):
    session = client.open()
    close = simulation.CloseSessionRequest(session_id=session.session_id)
    client.simulation.CloseSession(close)
    fails(NOT_FOUND, lambda: client.simulation.CloseSession(close), session.session_id)


def test_sessions_are_listed_in_pages(client):
    mine = [client.open(label=f"page {i}").session_id for i in range(5)]
    seen, token = [], ""
    while True:
        page = client.simulation.ListSessions(
            simulation.ListSessionsRequest(page_size=2, page_token=token, model="tiny"))
        seen += [s.session_id for s in page.sessions]
        token = page.next_page_token
        if not token:
            break
    assert [s for s in seen if s in mine] == mine
    assert len(seen) == len(set(seen))


def test_sessions_are_listed_by_what_an_alias_or_a_digest_names(client):
    session = client.open()
    name, version = session.model.split("@")
    client.registry.SetAlias(registry.SetAliasRequest(name=name, alias="listed", version=int(version)))
    for model in (name, session.model, f"{name}@listed", f"{name}@latest", f"{name}@{session.checkpoint}"):
        page = client.simulation.ListSessions(simulation.ListSessionsRequest(model=model, page_size=1000))
        assert session.session_id in [s.session_id for s in page.sessions], model
    for model in (f"{name}@99", "nobody"):
        assert not client.simulation.ListSessions(simulation.ListSessionsRequest(model=model)).sessions
    fails(NOT_FOUND, lambda: client.simulation.ListSessions(simulation.ListSessionsRequest(model=f"{name}@nowhere")), "nowhere")
    for wrong in (dict(model=f"{name}@"), dict(model="@@"), dict(page_token="-1"), dict(page_token=" 1"), dict(page_token="1" * 30)):
        error = fails(INVALID, lambda wrong=wrong: client.simulation.ListSessions(simulation.ListSessionsRequest(**wrong)))
        assert details(error, "BadRequest") or "model" in error.details()


def test_an_idle_session_expires_and_says_so(client):
    session = client.open(ttl_ms=50)
    time.sleep(0.3)
    error = fails(NOT_FOUND, lambda: client.step(session.session_id, [[0, 0]]), "expired")
    assert details(error, "ErrorInfo").reason == "SESSION_EXPIRED"


def test_opening_twice_with_one_request_id_opens_once(client):
    one = client.open(request_id="r1", rows=2)
    assert client.open(request_id="r1", rows=2).session_id == one.session_id
    fails(grpc.StatusCode.ALREADY_EXISTS, lambda: client.open(request_id="r1", rows=3), "r1")


# ---- exactly once ----


def test_a_repeated_step_id_gets_the_stored_reply(client):
    session = client.open(rows=ROWS, seed=1).session_id
    first = client.step(session, actions(), step_id=1, outputs=["reward", "state"])
    before = client.state(session)
    assert client.step(session, actions(), step_id=1, outputs=["reward", "state"]) == first
    same(client.state(session), before)
    assert first.committed_step_id == 1
    error = fails(INVALID, lambda: client.step(session, actions(seed=9), step_id=1), "another request")
    assert details(error, "BadRequest").field_violations[0].field == "step_id"


def test_a_gap_is_aborted_and_names_the_committed_id(client):
    session = client.open(seed=1).session_id
    client.step(session, [[0, 0]], step_id=1)
    error = fails(ABORTED, lambda: client.step(session, [[0, 0]], step_id=3))
    info = details(error, "ErrorInfo")
    assert (info.reason, info.metadata["committed_step_id"]) == ("STEP_ID_GAP", "1")
    fails(ABORTED, lambda: client.simulation.Decode(
        simulation.DecodeRequest(session_id=session, at_step_id=0)))


def test_what_fails_leaves_the_session_as_it_was(client):
    session = client.open(rows=2, seed=1).session_id
    before = client.state(session)
    fails(INVALID, lambda: client.step(session, [[0, np.nan]] * 2, step_id=1))
    fails(INVALID, lambda: client.step(session, [[0, 0]], step_id=1))
    same(client.state(session), before)
    assert client.step(session, [[0, 0]] * 2, step_id=1).committed_step_id == 1


def test_concurrent_changes_of_one_session_commit_one_by_one_or_are_aborted(client):
    session = client.open(rows=64, seed=1).session_id
    action = actions(64)

    def step(_):
        try:
            client.step(session, action)
            return 1
        except grpc.RpcError as error:
            assert error.code() == ABORTED
            assert details(error, "ErrorInfo").reason == "SESSION_BUSY"
            return 0

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        committed = sum(pool.map(step, range(200)))
    after = client.simulation.GetSession(simulation.GetSessionRequest(session_id=session)).session
    assert after.committed_step_id == committed > 0


def test_a_cancelled_or_late_step_is_not_committed_or_its_reply_is_kept(client):
    """Whatever the moment: after it the same step id goes through, and counts once."""
    session = client.open(rows=256, seed=1).session_id
    alone = client.open(rows=256, seed=1).session_id
    for step in range(1, 21):
        action = actions(256, step)
        request = put(simulation.StepRequest(session_id=session, step_id=step), action=action)
        call = client.simulation.Step.future(request, timeout=0.0001 * step)
        if step % 2:
            call.cancel()
        try:
            call.result()
        except (grpc.RpcError, grpc.FutureCancelledError):
            pass
        for _ in range(1000):
            try:
                client.step(session, action, step_id=step)
                break
            except grpc.RpcError as error:
                assert details(error, "ErrorInfo").reason == "SESSION_BUSY"
        client.step(alone, action)
    same(client.state(session), client.state(alone))


# ---- bit identity ----


def trajectory(client, session, rows, steps=12):
    """Rewards and latents of a mixture of observing, stepping and planning."""
    seen = []
    for step in range(steps):
        action = actions(rows, step)
        if step % 4 == 1:
            rng = np.random.default_rng(step)
            reply = client.observe(session, rng.normal(size=(rows, 3)), rng.normal(size=rows),
                                   action, outputs=["reward", "state"])
        else:
            reply = client.step(session, action, outputs=["reward", "observation", "state"])
        seen += [raw for raw in reply.raw_contents]
        if step % 5 == 2:
            plan = client.simulation.Plan(simulation.PlanRequest(session_id=session, outputs=["plan"]))
            seen += [raw for raw in plan.raw_contents]
    return seen


def test_a_session_is_the_same_alone_and_among_others(client):
    alone = trajectory(client, client.open(rows=ROWS, seed=42).session_id, ROWS)
    stop = threading.Event()

    def disturb(seed):
        session = client.open(rows=1 + 37 * seed, seed=seed).session_id
        step = 0
        while not stop.is_set():
            client.step(session, actions(1 + 37 * seed, step))
            step += 1

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        others = [pool.submit(disturb, seed) for seed in range(4)]
        among = trajectory(client, client.open(rows=ROWS, seed=42).session_id, ROWS)
        stop.set()
        for other in others:
            other.result()
    assert among == alone


def test_a_row_is_the_same_alone_and_in_a_large_session(client):
    """Seeded rows: the seed is all that makes the future, not the place of the row."""
    many, one = client.open(rows=256).session_id, client.open(rows=1).session_id
    client.simulation.Reset(simulation.ResetRequest(session_id=many, seeds=[100]))
    client.simulation.Reset(simulation.ResetRequest(session_id=one, seeds=[100 + 77]))
    for step in range(8):
        action = actions(256, step)
        of_many = arrays(client.step(many, action, outputs=["reward", "state"]))
        of_one = arrays(client.step(one, action[77:78], outputs=["reward", "state"]))
        same({name: array[77:78] for name, array in of_many.items()}, of_one)


def test_rows_of_many_connections_are_computed_together_and_see_only_themselves(start_daemon, tmp_path):
    """Sessions of one row and six of 256, each on a connection of its own: every reply has the
    bytes that it has when nobody else is there, though batches hold rows of several. The large
    ones are sent first: while they are computed, the small ones gather. With long quanta none is
    cut, so that batches can be counted."""
    served = start_daemon("--zoo", make_zoo(tmp_path / "zoo", tiny=7), "--quantum-us", "1000000")
    sizes = [256] * 6 + [1] * 10
    outputs = ["reward", "observation", "state"]
    with contextlib.ExitStack() as stack:
        clients = [Client(stack.enter_context(served.channel())) for _ in sizes]

        def requests(step):
            return [put(simulation.StepRequest(session_id=session, outputs=outputs),
                        action=actions(rows, step)) for session, rows in zip(sessions, sizes)]

        def open_all():
            opened = [client.open(rows=rows, seed=7).session_id for client, rows in zip(clients, sizes)]
            for client, session in zip(clients, opened):
                client.simulation.Reset(simulation.ResetRequest(session_id=session, seeds=[40]))
            return opened

        def info():
            return clients[0].registry.GetServerInfo(registry.GetServerInfoRequest())

        sessions = open_all()
        alone = [[client.simulation.Step(request).raw_contents for client, request in
                  zip(clients, requests(step))] for step in range(20)]
        sessions = open_all()
        before = info()
        for step in range(20):
            calls = [client.simulation.Step.future(request)
                     for client, request in zip(clients, requests(step))]
            assert [call.result().raw_contents for call in calls] == alone[step]
        after = info()
    # All begin with one seed and act alike: a row alone is also the first of the 256.
    for step in range(20):
        for one, many in zip(alone[step][-1], alone[step][0]):
            assert many[:len(one)] == one and len(many) == 256 * len(one)
    steps, rows = after.batches - before.batches, after.batch_rows - before.batch_rows
    assert rows == 20 * sum(sizes)
    assert steps < 20 * len(sizes), "no batch held rows of two sessions"


def test_a_selection_moves_the_selected_rows_alone(client):
    session, whole = (client.open(rows=ROWS, seed=5).session_id for _ in range(2))
    action = actions()
    before = client.state(session)
    client.step(session, action[[3, 1]], rows=[3, 1])
    client.step(whole, action)
    after, all_moved = client.state(session), client.state(whole)
    for name in before:
        for row in range(ROWS):
            expected = all_moved if row in (1, 3) else before
            assert after[name][row].tobytes() == expected[name][row].tobytes()


# ---- verbs ----


def test_reset_brings_the_same_seed_to_the_same_future(client):
    session = client.open(rows=2, seed=8).session_id
    futures = []
    for _ in range(2):
        client.simulation.Reset(simulation.ResetRequest(session_id=session, seeds=[4, 4]))
        futures.append(arrays(client.step(session, [[1, 0.5]] * 2, outputs=["state"])))
    same(futures[0], futures[1])
    assert futures[0]["state.stoch"][0].tobytes() == futures[0]["state.stoch"][1].tobytes()


def test_reset_to_given_latents_and_decode_of_given_latents_agree(client):
    one, other = client.open(rows=2, seed=8).session_id, client.open(rows=2, seed=9).session_id
    client.step(one, actions(2))
    state = {name.replace(".", "__"): array for name, array in client.state(one).items()}
    reset = put(simulation.ResetRequest(session_id=other, outputs=["observation"],
                                        start_source=simulation.START_SOURCE_STATE), **state)
    from_reset = arrays(client.simulation.Reset(reset))
    given = put(simulation.DecodeRequest(session_id=other), **state)
    same(arrays(client.simulation.Decode(given)), from_reset)
    same(client.state(one), client.state(other))


def test_a_fresh_row_needs_no_action_and_ignores_it(client):
    one, other, late = (client.open(rows=1, seed=8).session_id for _ in range(3))
    client.observe(one, [[1, 2, 3]], [0.5])
    client.observe(other, [[1, 2, 3]], [0.5], [[2, -1]])
    same(client.state(one), client.state(other))
    client.step(late, [[0, 0]])
    fails(INVALID, lambda: client.observe(late, [[1, 2, 3]], [0.5]), "action", "row 0")


def test_decoded_observations_lie_in_their_space_unless_raw(client):
    session = client.open(rows=256, seed=2).session_id
    for step in range(20):
        client.step(session, actions(256, step))
    ask = simulation.DecodeRequest(session_id=session)
    clamped = arrays(client.simulation.Decode(ask))
    ask.raw = True
    raw = arrays(client.simulation.Decode(ask))
    assert np.abs(clamped["observation.state"]).max() <= 8
    np.testing.assert_array_equal(np.clip(raw["observation.state"], -8, 8),
                                  clamped["observation.state"])


def test_only_what_is_asked_for_is_sent(client):
    session = client.open(rows=2, seed=2).session_id
    reply = arrays(client.step(session, actions(2)))
    assert set(reply) == {"reward", "continue", "terminated", "truncated"}
    reply = arrays(client.step(session, actions(2), outputs=["value", "observation"]))
    assert set(reply) == {"value", "observation.state", "observation.angle"}


def test_rows_end_at_the_horizon_and_by_the_threshold(client):
    session = client.open(rows=2, horizon=2).session_id
    client.step(session, actions(2))
    assert arrays(client.step(session, actions(2)))["truncated"].tolist() == [True, True]
    error = fails(PRECONDITION, lambda: client.step(session, actions(2)), "0, 1")
    assert details(error, "ErrorInfo").reason == "ROW_ENDED"
    got = client.simulation.GetSession(simulation.GetSessionRequest(session_id=session)).session
    assert list(got.ended_rows) == [0, 1]
    reset = simulation.ResetRequest(session_id=session)
    reset.rows.rows.append(1)
    client.simulation.Reset(reset)
    client.step(session, actions(1), rows=[1])
    ending = simulation.Ending(rule=simulation.Ending.THRESHOLD, threshold=0.5)
    session = client.open(rows=64, seed=1, ending=ending).session_id
    reply = arrays(client.step(session, actions(64)))
    np.testing.assert_array_equal(reply["terminated"], reply["continue"] < 0.5)
    assert reply["terminated"].any()


def test_act_gives_the_mode_or_a_draw_that_is_the_same_when_asked_again(client):
    session = client.open(rows=3, seed=4).session_id
    mode = arrays(client.simulation.Act(simulation.ActRequest(session_id=session)))["action"]
    ask = simulation.ActRequest(session_id=session, action_mode=simulation.LATENT_MODE_SAMPLE)
    draw = arrays(client.simulation.Act(ask))["action"]
    same(arrays(client.simulation.Act(ask)), {"action": draw})
    assert mode.shape == draw.shape == (3, 2) and not np.array_equal(mode, draw)
    assert (np.abs(draw) <= [2, 1]).all()


def test_encode_touches_nothing(client):
    session = client.open(rows=2, seed=4).session_id
    before = client.state(session)
    request = put(simulation.EncodeRequest(session_id=session),
                  observation__state=np.ones((2, 3), "<f4"), observation__angle=np.ones(2, "<f4"))
    assert arrays(client.simulation.Encode(request))["embedding"].shape == (2, 20)
    same(client.state(session), before)


# ---- plan ----


def plan(client, session, **settings):
    request = simulation.PlanRequest(session_id=session, outputs=["action", "return", "plan"],
                                     settings=simulation.PlannerSettings(**settings))
    return client.simulation.Plan(request)


def test_a_plan_changes_neither_latent_nor_noise_and_may_be_repeated(client):
    session, other = (client.open(rows=2, seed=6).session_id for _ in range(2))
    for step in range(3):
        first = plan(client, session)
        assert first.raw_contents == plan(client, session).raw_contents
        client.step(session, actions(2, step))
        client.step(other, actions(2, step))
    same(client.state(session), client.state(other))


def test_the_warm_start_belongs_to_the_session(client):
    session, cold = (client.open(rows=1, seed=6).session_id for _ in range(2))
    plan(client, session)
    for one in (session, cold):
        client.step(one, [[0.5, 0.5]])
    warm, without = plan(client, session), plan(client, cold)
    assert warm.raw_contents != without.raw_contents
    assert plan(client, session, warm_start=False).raw_contents == without.raw_contents
    client.simulation.Reset(simulation.ResetRequest(session_id=session))


def test_plan_settings_are_merged_and_told(client):
    session = client.open(rows=1).session_id
    told = plan(client, session, horizon=3, candidates=10).settings
    assert (told.method, told.horizon, told.candidates, told.iterations) == ("cem", 3, 10, 2)
    told = plan(client, session, preset="planet", candidates=50, elites=5).settings
    assert (told.horizon, told.candidates, told.iterations) == (12, 50, 10)


def test_a_plan_stops_at_its_deadline(client):
    session = client.open(rows=1).session_id
    settings = simulation.PlannerSettings(horizon=100, candidates=5000, iterations=1000)
    began = time.monotonic()
    fails(grpc.StatusCode.DEADLINE_EXCEEDED, lambda: client.simulation.Plan(
        simulation.PlanRequest(session_id=session, settings=settings), timeout=0.3))
    client.step(session, [[0, 0]])
    assert time.monotonic() - began < 20
    assert client.simulation.GetSession(simulation.GetSessionRequest(
        session_id=session)).session.committed_step_id == 1


# ---- bad input ----

BAD_OPEN = {
    "unknown model": (NOT_FOUND, dict(model="nobody"), "nobody"),
    "unknown version": (NOT_FOUND, dict(model="tiny@9"), "9"),
    "no model": (INVALID, dict(model=""), "model"),
    "too many rows": (INVALID, dict(rows=65537), "65536"),
    "too long a life": (INVALID, dict(ttl_ms=10**15), "ttl_ms"),
    "too long a label": (INVALID, dict(label="x" * 129), "128"),
    "a label that moves a terminal's cursor": (INVALID, dict(label="mine \x1b[2J"), "byte 5"),
    "a label of two lines": (INVALID, dict(label="mine\nyours"), "byte 4"),
    "a label with a control character of two bytes": (INVALID, dict(label="\u00e9\u009b2J"), "byte 2"),
    "automatic reset": (INVALID, dict(autoreset=4), "SAME_STEP"),
    "start source": (INVALID, dict(start_source=4), "FILE"),
    "no starts file": (PRECONDITION, dict(start_source=2), "starts.safetensors"),
    "ending": (INVALID, dict(ending=simulation.Ending(rule=4)), "SAMPLED"),
    "persist": (PRECONDITION, dict(persist=True), "persist-sessions"),
    "history": (INVALID, dict(history=4097), "history"),
    "temperature": (PRECONDITION, dict(temperature=0.5), "temperature"),
    "task": (PRECONDITION, dict(task="walk"), "task"),
    "threshold": (INVALID, dict(ending=simulation.Ending(rule=2, threshold=1.5)), "0 to 1"),
}


@pytest.mark.parametrize("name", BAD_OPEN)
def test_open_refuses(client, name):
    code, fields, words = BAD_OPEN[name]
    error = fails(code, lambda: client.open(**fields))
    assert any(word in error.details() for word in words.split("|"))


def change_tensor(**fields):
    def change(request):
        for field, value in fields.items():
            if field == "shape":
                del request.tensors[0].shape[:]
                request.tensors[0].shape.extend(value)
            elif field == "raw":
                request.raw_contents[0] = value
            else:
                setattr(request.tensors[0], field, value)
    return change


BAD_STEP = {
    "session": (NOT_FOUND, lambda r: setattr(r, "session_id", "ff"), "session_id"),
    "no session": (NOT_FOUND, lambda r: setattr(r, "session_id", ""), "session_id"),
    "datatype": (INVALID, change_tensor(datatype="FP128"), "tensors[0].datatype"),
    "rank": (INVALID, change_tensor(shape=[4]), "tensors[0].shape"),
    "shape": (INVALID, change_tensor(shape=[1, 4], raw=bytes(16)), "tensors[0].shape"),
    "negative": (INVALID, change_tensor(shape=[-2, -2]), "tensors[0].shape"),
    "overflow": (INVALID, change_tensor(shape=[2**40, 2**40]), "tensors[0].shape"),
    "length": (INVALID, change_tensor(raw=bytes(15)), "raw_contents[0]"),
    "NaN": (INVALID, change_tensor(raw=np.full(4, np.nan, "<f4").tobytes()), "raw_contents[0]"),
    "infinity": (INVALID, change_tensor(raw=np.full(4, -np.inf, "<f4").tobytes()), "raw_contents[0]"),
    "name": (INVALID, change_tensor(name="acton"), "tensors"),
    "surplus": (INVALID, lambda r: put(r, value=np.zeros(2, "<f4")), "tensors[1].name"),
    "twice": (INVALID, lambda r: put(r, action=np.zeros((2, 2), "<f4")), "tensors[1].name"),
    "missing": (INVALID, lambda r: (r.ClearField("tensors"), r.ClearField("raw_contents")), "tensors"),
    "no bytes": (INVALID, lambda r: r.ClearField("raw_contents"), "raw_contents"),
    "output": (INVALID, lambda r: r.outputs.append("rewards"), "outputs[0]"),
    "absent output": (PRECONDITION, lambda r: r.outputs.append("surprise"), None),
    "row": (INVALID, lambda r: r.rows.rows.extend([0, 2]), "rows.rows[1]"),
    "row twice": (INVALID, lambda r: r.rows.rows.extend([1, 1]), "rows.rows[1]"),
    "no row": (INVALID, lambda r: r.rows.SetInParent(), "rows.rows"),
}


@pytest.mark.parametrize("name", BAD_STEP)
def test_step_refuses_and_names_the_field(client, name):
    code, change, field = BAD_STEP[name]
    session = client.open(rows=2).session_id
    request = put(simulation.StepRequest(session_id=session), action=np.zeros((2, 2), "<f4"))
    change(request)
    error = fails(code, lambda: client.simulation.Step(request))
    if code == INVALID:
        assert details(error, "BadRequest").field_violations[0].field == field
    assert client.simulation.GetSession(simulation.GetSessionRequest(
        session_id=session)).session.committed_step_id == 0


BAD_PLAN = {
    "method": (INVALID, dict(method="guess"), "guess"),
    "later method": (UNIMPLEMENTED, dict(method="icem"), "icem"),
    "preset": (INVALID, dict(preset="nobody"), "nobody"),
    "horizon": (INVALID, dict(horizon=1001), "1000"),
    "candidates": (INVALID, dict(candidates=2**31), "candidates is 2147483648"),
    "a horizon beyond an int": (INVALID, dict(horizon=2**32 - 1), "horizon is 4294967295"),
    "elites beyond an int": (INVALID, dict(elites=2**32 - 1), "elites is 4294967295"),
    "a number beyond a float": (INVALID, dict(min_std=1e300), "min_std is 1e+300"),
    "a number that no float is": (INVALID, dict(discount=1.1), "discount is 1.1,"),
    "elites": (INVALID, dict(elites=25), "elites"),
    "discount": (INVALID, dict(discount=1.5), "discount"),
    "NaN": (INVALID, dict(discount=float("nan")), "discount"),
    "momentum": (UNIMPLEMENTED, dict(momentum=0.1), "momentum"),
}


@pytest.mark.parametrize("name", BAD_PLAN)
def test_plan_refuses(client, name):
    code, settings, word = BAD_PLAN[name]
    session = client.open().session_id
    error = fails(code, lambda: plan(client, session, **settings), word)
    if code == INVALID:
        assert details(error, "BadRequest").field_violations[0].field == "settings." + next(iter(settings))


# ---- limits ----


def test_full_tables_say_so_and_when_to_try_again(tmp_path, start_daemon):
    zoo = make_zoo(tmp_path / "zoo", tiny=7)
    daemon = start_daemon("--zoo", zoo, "--sessions-max", "2", "--session-bytes-max", "1MiB")
    with daemon.channel() as channel:
        client = Client(channel)
        fails(INVALID, lambda: client.open(rows=10000), "1048576")
        first = client.open()
        client.open()
        error = fails(grpc.StatusCode.RESOURCE_EXHAUSTED, client.open, "2 sessions")
        assert details(error, "RetryInfo").retry_delay.ToMilliseconds() > 0
        client.simulation.CloseSession(simulation.CloseSessionRequest(session_id=first.session_id))
        client.open()


def test_clients_that_vanish_leave_the_daemon_as_it_was(served):
    with served.channel() as channel:
        client = Client(channel)
        sessions = [client.open(rows=200, seed=i).session_id for i in range(8)]
        for i in range(40):
            with served.channel() as gone:
                other = Client(gone)
                request = put(simulation.StepRequest(session_id=sessions[i % 8]),
                              action=actions(200))
                other.simulation.Step.future(request)
                other.simulation.Plan.future(simulation.PlanRequest(session_id=sessions[i % 8]))
        for session in sessions:
            for _ in range(1000):
                try:
                    client.step(session, actions(200))
                    break
                except grpc.RpcError as error:
                    assert error.code() == ABORTED
                    time.sleep(0.01)
            else:
                pytest.fail("a session stays busy")
