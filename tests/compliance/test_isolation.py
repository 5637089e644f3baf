"""Nothing of a row is seen by another: not its NaN, and not what memory held before."""

import concurrent.futures
import contextlib

import grpc
import numpy as np
import pytest

import checkpoints
from conftest import ROOT
from dreamd_stubs import Client, arrays, details, make_zoo, put, simulation
from imagination import ask, collect

ROWS = 24
SICK = (0, 7, 23)
MODELS = ["tiny", "pendulum", "cartpole"]


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    folder = make_zoo(tmp_path_factory.mktemp("zoo"), tiny=7)
    for name in MODELS[1:]:
        (folder / name).symlink_to(ROOT / "models/zoo" / name)
    return folder


def act(session, rows, step):
    """Some actions that suit the model's space."""
    rng = np.random.default_rng(step)
    space = session.action_space
    if space.WhichOneof("kind") == "discrete":
        return rng.integers(0, space.discrete.n, rows)
    return rng.uniform(-1, 1, (rows, *space.box.shape)).astype("<f4")


def step(client, session, number, **fields):
    request = simulation.StepRequest(session_id=session.session_id, outputs=["reward", "continue", "observation", "state"])
    return arrays(client.simulation.Step(put(request, action=act(session, session.rows, number))))


def sicken(client, session):
    """Latents so large that sums of them are infinite, and what is made of those not a number."""
    state = {name: np.array(array) for name, array in client.state(session.session_id).items()}
    for name in ("state.deter", "state.stoch"):
        state[name][list(SICK)] = np.where(np.arange(state[name][0].size).reshape(state[name][0].shape) % 2, -3e38, 3e38)
    reset = simulation.ResetRequest(session_id=session.session_id, start_source=simulation.START_SOURCE_STATE)
    client.simulation.Reset(put(reset, **{name.replace(".", "__"): array for name, array in state.items()}))


def healthy(array):
    return np.delete(array, SICK, 0)


@pytest.mark.parametrize("model", MODELS)
def test_a_row_that_is_not_a_number_stays_alone(client, model):
    sound, sick = (client.open(model, rows=ROWS, seed=3) for _ in range(2))
    for one in (sound, sick):
        step(client, one, 0)
    keep = {name.replace(".", "__"): array for name, array in client.state(sound.session_id).items()}
    client.simulation.Reset(put(simulation.ResetRequest(
        session_id=sound.session_id, start_source=simulation.START_SOURCE_STATE), **keep))
    sicken(client, sick)
    for number in range(1, 6):
        good, bad = step(client, sound, number), step(client, sick, number)
        for name in good:
            assert healthy(good[name]).tobytes() == healthy(bad[name]).tobytes(), (number, name)
    assert np.isnan(bad["state.deter"][list(SICK)]).any(), "the rows are not sick: nothing was shown"
    assert all(np.isfinite(healthy(array)).all() for array in bad.values())
    asked = dict(policy="random", horizon=5, candidates=3, outputs=["state", "return"])
    good, bad = (collect(client.simulation.Imagine(ask(one.session_id, **asked))) for one in (sound, sick))
    assert healthy(good["return"]).tobytes() == healthy(bad["return"]).tobytes()
    assert np.isnan(bad["return"][list(SICK)]).all()


def test_a_row_that_is_not_a_number_stays_alone_among_sessions(served, client):
    """Sessions of one row share batches with sick ones, and are what they are without them."""
    alone = client.open("tiny", rows=1, seed=3)
    wanted = [step(client, alone, number) for number in range(40)]
    with contextlib.ExitStack() as stack, concurrent.futures.ThreadPoolExecutor(8) as pool:
        clients = [Client(stack.enter_context(served.channel())) for _ in range(8)]

        def run(number):
            mine = clients[number]
            session = mine.open("tiny", rows=ROWS if number % 2 else 1, seed=3)
            if number % 2:
                step(mine, session, 0)
                sicken(mine, session)
            return [step(mine, session, k) for k in range(40)]

        results = list(pool.map(run, range(8)))
    for number, got in enumerate(results):
        if number % 2:
            assert np.isnan(got[-1]["state.deter"]).any()
            continue
        for one, other in zip(got, wanted):
            assert all(one[name].tobytes() == other[name].tobytes() for name in other)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_does_not_come_in(client, value):
    session = client.open("tiny", rows=3, seed=3).session_id
    state = {name.replace(".", "__"): np.array(array) for name, array in client.state(session).items()}
    state["state__deter"][1, 2] = value
    bad = np.array([[0, 0], [0, value], [0, 0]], "<f4")
    seen = dict(observation__state=np.full((3, 3), value, "<f4"), observation__angle=np.zeros(3, "<f4"))
    calls = [
        lambda: client.simulation.Reset(put(simulation.ResetRequest(
            session_id=session, start_source=simulation.START_SOURCE_STATE), **state)),
        lambda: client.simulation.Decode(put(simulation.DecodeRequest(session_id=session), **state)),
        lambda: client.step(session, bad),
        lambda: client.simulation.Observe(put(simulation.ObserveRequest(session_id=session), **seen)),
        lambda: client.simulation.Encode(put(simulation.EncodeRequest(session_id=session), **seen)),
        lambda: list(client.simulation.Imagine(ask(session, actions=bad[:, None]))),
    ]
    saved = client.simulation.GetState(simulation.GetStateRequest(session_id=session))
    index = [t.name for t in saved.tensors].index("state.deter")
    content = np.frombuffer(saved.raw_contents[index], "<f4").copy()
    content[5] = value
    saved.raw_contents[index] = content.tobytes()
    calls.append(lambda: client.simulation.SetState(simulation.SetStateRequest(
        session_id=session, tensors=saved.tensors, raw_contents=saved.raw_contents, format=saved.format,
        layout_hash=saved.layout_hash, checksum=saved.checksum, checkpoint=saved.checkpoint)))
    for number, call in enumerate(calls):
        with pytest.raises(grpc.RpcError) as caught:
            call()
        expected = {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.DATA_LOSS}
        assert caught.value.code() in expected, (number, caught.value)


@pytest.mark.parametrize("value", [3e38, -3e38, 1.1e6])
def test_an_action_that_can_only_be_a_mistake_is_named(client, value):
    """What is finite and absurd would make latents that are not. Further than the space is fine, as it is in Gymnasium."""
    session = client.open("tiny", rows=3, seed=3).session_id
    bad = np.array([[0, 0], [0, value], [0, 0]], "<f4")
    seen = dict(observation__state=np.zeros((3, 3), "<f4"), observation__angle=np.zeros(3, "<f4"))
    client.step(session, np.clip(bad, -1e6, 1e6), step_id=1)
    calls = [
        lambda: client.step(session, bad),
        lambda: client.simulation.Step(put(simulation.StepRequest(session_id=session), action=bad.astype("<f8"))),
        lambda: client.simulation.Observe(put(simulation.ObserveRequest(session_id=session), **seen, action=bad)),
        lambda: list(client.simulation.Imagine(ask(session, actions=bad[:, None]))),
        lambda: list(client.simulation.Imagine(ask(session, actions=bad[:, None, None], outputs=["return"]))),
        lambda: client.simulation.Plan(put(simulation.PlanRequest(
            session_id=session, settings=simulation.PlannerSettings(horizon=1)), plan=bad[:, None])),
    ]
    for call in calls:
        with pytest.raises(grpc.RpcError) as caught:
            call()
        assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert "element 3 is" in caught.value.details() and "expected -1e+06 to 1e+06 (the action space has" in caught.value.details()
        assert details(caught.value, "BadRequest").field_violations[0].field.startswith("raw_contents[")
    assert client.step(session, np.zeros((3, 2)), step_id=2).committed_step_id == 2
    assert all(np.isfinite(array).all() for array in client.state(session).values())


@pytest.mark.parametrize("dtype", ["<f4", "<f8"])
def test_the_bounds_of_a_far_space_are_in_it_as_float32_has_them(client, zoo, tmp_path, dtype):
    def far(manifest):
        manifest["name"] = "far"
        manifest["action_space"].update(low=-16777217, high=123456789)  # float32 has -16777216 and 123456792

    checkpoints.register(client, checkpoints.copy(zoo / "tiny", tmp_path / "far", manifest=far, probe=False))
    session = client.open("far", rows=1, seed=3).session_id

    def move(value):
        return client.simulation.Step(put(simulation.StepRequest(session_id=session), action=np.full((1, 2), value, dtype)))

    for number, value in enumerate((-16777217, 123456789), 1):
        assert move(value).committed_step_id == number
        with pytest.raises(grpc.RpcError, match="element 0 is"):
            move(value * 1.001)


def test_a_row_that_is_not_a_number_is_not_saved(client):
    """No SetState would take it: who saves hears of it, not who restores."""
    session = client.open("tiny", rows=ROWS, seed=3)
    step(client, session, 0)
    sicken(client, session)
    step(client, session, 1)
    request = simulation.GetStateRequest(session_id=session.session_id)
    with pytest.raises(grpc.RpcError) as caught:
        client.simulation.GetState(request)
    assert caught.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert "3 of the selected rows" in caught.value.details() and "(0, 7, 23)" in caught.value.details()
    assert details(caught.value, "ErrorInfo").reason == "ROW_NOT_FINITE"
    request.rows.rows.extend([1, 8])
    assert len(client.simulation.GetState(request).tensors) > 0
    reset = simulation.ResetRequest(session_id=session.session_id)
    reset.rows.rows.extend(SICK)
    client.simulation.Reset(reset)
    client.simulation.GetState(simulation.GetStateRequest(session_id=session.session_id))


# ---- memory ----


def workload(client):
    """A little of everything that takes memory, gives it back and takes it again: every byte of every answer."""
    seen = []

    def keep(reply):
        seen.append([bytes(raw) for raw in reply.raw_contents])

    for number in range(3):
        session = client.open("tiny", rows=400, seed=5, history=2)
        for k in range(3):
            request = simulation.StepRequest(session_id=session.session_id, outputs=["reward", "observation", "state"])
            request.rows.rows.extend(range(k, 400, 3))
            keep(client.simulation.Step(put(request, action=act(session, len(request.rows.rows), k))))
        with pytest.raises(grpc.RpcError):
            client.simulation.Step(put(simulation.StepRequest(session_id=session.session_id), action=np.full((400, 2), np.nan)))
        seen.append([array.tobytes() for array in client.state(session.session_id).values()])
        keep(client.simulation.Decode(simulation.DecodeRequest(session_id=session.session_id)))
        keep(client.simulation.Act(simulation.ActRequest(session_id=session.session_id, action_mode=1)))
        keep(client.simulation.GetState(simulation.GetStateRequest(session_id=session.session_id)))
        plan = simulation.PlanRequest(session_id=session.session_id, outputs=["plan", "return"])
        plan.rows.rows.extend([3, 1])
        keep(client.simulation.Plan(plan))
        for message in client.simulation.Imagine(ask(session.session_id, policy="random", horizon=7, candidates=4,
                                                     chunk_bytes=100_000, outputs=["state", "action", "return"])):
            keep(message)
        fork = simulation.ForkRequest(session_id=session.session_id, steps_back=1)
        fork.rows.rows.extend(range(0, 400, 5))
        copy = client.simulation.Fork(fork).session.session_id
        seen.append([array.tobytes() for array in client.state(copy).values()])
        reset = simulation.ResetRequest(session_id=session.session_id, seeds=[number], outputs=["observation"])
        reset.rows.rows.extend(range(10))
        keep(client.simulation.Reset(reset))
        for one in (session.session_id, copy):
            client.simulation.CloseSession(simulation.CloseSessionRequest(session_id=one))
    return seen


def test_no_answer_depends_on_what_memory_held_before(start_daemon, zoo, monkeypatch):
    """The C library fills memory that is given out and given back with a byte: whatever that is, every answer is the
    same, so nothing in it is of another session, another row or an earlier request."""
    seen = []
    for byte in (None, "85", "254", "255"):
        if byte:
            monkeypatch.setenv("MALLOC_PERTURB_", byte)
        with start_daemon("--zoo", zoo).channel() as channel:
            seen.append(workload(Client(channel)))
    assert all(other == seen[0] for other in seen[1:])
