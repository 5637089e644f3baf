"""Automatic resets, against Gymnasium's own SyncVectorEnv over single rows that are reset by hand."""

import contextlib
import threading

import grpc
import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from checkpoints import copy, write_starts
from conftest import running
from dreamd_stubs import Client, arrays, details, make_zoo, put, simulation

ROWS, STEPS, STARTS = 6, 40, 9
INVALID = grpc.StatusCode.INVALID_ARGUMENT
PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION
NEXT_STEP, SAME_STEP = simulation.AUTORESET_MODE_NEXT_STEP, simulation.AUTORESET_MODE_SAME_STEP
INITIAL, FILE, STATE = (simulation.START_SOURCE_INITIAL, simulation.START_SOURCE_FILE,
                        simulation.START_SOURCE_STATE)
SAMPLED = simulation.Ending(rule=simulation.Ending.SAMPLED)
THRESHOLD = simulation.Ending(rule=simulation.Ending.THRESHOLD, threshold=0.48)
OBSERVATION = ["observation.state", "observation.angle"]
MODES = {AutoresetMode.NEXT_STEP: NEXT_STEP, AutoresetMode.SAME_STEP: SAME_STEP,
         AutoresetMode.DISABLED: simulation.AUTORESET_MODE_DISABLED}


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    """`tiny` with recorded first observations, `latent` with latents to start from."""
    folder = tmp_path_factory.mktemp("autoreset")
    zoo = make_zoo(folder / "zoo", tiny=7)
    copy(zoo / "tiny", zoo / "latent", manifest=lambda m: m.update(name="latent"))
    rng = np.random.default_rng(1)
    write_starts(zoo / "tiny", observation__state=rng.normal(size=(STARTS, 3)),
                 observation__angle=rng.normal(size=STARTS))
    with running(folder, "--zoo", zoo) as one, one.channel() as channel:
        write_starts(zoo / "latent", **given_state(Client(channel), STARTS))
    return zoo


def actions(rows=ROWS, step=0):
    return np.random.default_rng(step).uniform(-1, 1, (rows, 2)).astype("<f4")


def given_state(client, rows=ROWS, seed=5):
    """Latents that no other row has, as tensors of an OpenSession."""
    session = client.open(rows=rows, seed=seed).session_id
    for step in range(3):
        client.step(session, actions(rows, step))
    return {name.replace(".", "__"): array for name, array in client.state(session).items()}


def open_session(client, source, **fields):
    model = "latent" if source == "latents" else "tiny"
    source = FILE if source == "latents" else source
    request = simulation.OpenSessionRequest(model=model, start_source=source, **fields)
    if source == STATE:
        put(request, **given_state(client, fields["rows"]))
    return client.simulation.OpenSession(request).session


def same(one, other):
    assert one.keys() == other.keys()
    for name, array in one.items():
        assert array.tobytes() == other[name].tobytes(), name


class Row(gymnasium.Env):
    """One row of a session that never resets by itself."""

    observation_space = gymnasium.spaces.Dict({
        "state": gymnasium.spaces.Box(-8, 8, (3,), np.float32),
        "angle": gymnasium.spaces.Box(-np.inf, np.inf, (), np.float32)})
    action_space = gymnasium.spaces.Box(np.array([-2, -1], "f4"), np.array([2, 1], "f4"))

    def __init__(self, client, session, row):
        self.client, self.session, self.row = client, session, row
        self.extra = {}

    def observation(self, reply):
        self.extra = {name: array[0] for name, array in reply.items()}
        return {key: reply[f"observation.{key}"][0] for key in ("state", "angle")}

    def reset(self, *, seed=None, options=None):
        outputs = [*OBSERVATION, "value", "state"]
        reply = arrays(self.client.reset(self.session, [self.row], outputs=outputs))
        return self.observation(reply), {}

    def step(self, action):
        outputs = [*OBSERVATION, "reward", "terminated", "truncated", "value", "state"]
        reply = arrays(self.client.step(self.session, action[None], [self.row], outputs=outputs))
        flags = bool(reply["terminated"][0]), bool(reply["truncated"][0])
        return self.observation(reply), float(reply["reward"][0]), *flags, {}


@pytest.mark.parametrize("ending", ["threshold", "sampled", "horizon"])
@pytest.mark.parametrize("source", [INITIAL, FILE, "latents", STATE],
                         ids=["initial", "observations", "latents", "state"])
@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP],
                         ids=["next_step", "same_step"])
def test_rows_start_again_as_gymnasium_has_it(client, mode, source, ending):
    ends = {"threshold": dict(ending=THRESHOLD, horizon=15),
            "sampled": dict(ending=SAMPLED, horizon=11), "horizon": dict(horizon=4)}[ending]
    fields = dict(rows=ROWS, seed=3, **ends)
    by_hand = open_session(client, source, **fields).session_id
    envs = SyncVectorEnv([lambda row=row: Row(client, by_hand, row) for row in range(ROWS)],
                         autoreset_mode=mode)
    session = open_session(client, source, autoreset=MODES[mode], **fields)
    assert session.autoreset == MODES[mode]
    session = session.session_id
    outputs = [*OBSERVATION, "reward", "continue", "terminated", "truncated", "started", "value", "state"]
    outputs += ["final_observation"] if mode == AutoresetMode.SAME_STEP else []

    expected, _ = envs.reset()
    found = arrays(client.reset(session, outputs=OBSERVATION))
    same(found, {f"observation.{key}": array for key, array in expected.items()})
    was_over, counts = np.zeros(ROWS, bool), []
    for step in range(STEPS):
        expected, rewards, terminated, truncated, infos = envs.step(actions(step=step))
        found = arrays(client.step(session, actions(step=step), outputs=outputs))
        for key, array in expected.items():
            assert found[f"observation.{key}"].tobytes() == array.tobytes()
        np.testing.assert_array_equal(found["reward"], rewards)
        np.testing.assert_array_equal(found["terminated"], terminated)
        np.testing.assert_array_equal(found["truncated"], truncated)
        for row, env in enumerate(envs.envs):
            for name in ("value", "state.deter", "state.stoch", "state.first"):
                assert found[name][row].tobytes() == env.extra[name].tobytes(), name
        over = terminated | truncated
        counts.append(int(over.sum()))
        if mode == AutoresetMode.SAME_STEP:
            np.testing.assert_array_equal(found["started"], over)
            check_final(found, infos, over)
        else:
            np.testing.assert_array_equal(found["started"], was_over)
            assert (found["continue"][was_over] == 1).all()
        was_over = over
    assert sum(counts) > ROWS, "too little ended for a test"
    assert ending == "horizon" or 0 < min(filter(None, counts)) < ROWS, "all ended together"
    same(client.state(session), client.state(by_hand))


def check_final(found, infos, over):
    np.testing.assert_array_equal(infos.get("_final_obs", np.zeros(ROWS, bool)), over)
    for row in range(ROWS):
        for key in ("state", "angle"):
            final = found[f"final_observation.{key}"][row]
            expected = infos["final_obs"][row][key] if over[row] else np.zeros_like(final)
            assert final.tobytes() == np.asarray(expected, "<f4").tobytes()


def test_an_ended_row_of_a_disabled_session_waits_for_reset(client):
    session = client.open(rows=2, horizon=1).session_id
    client.step(session, actions(2))
    with pytest.raises(grpc.RpcError) as caught:
        client.step(session, actions(2), step_id=2)
    assert caught.value.code() == PRECONDITION
    assert details(caught.value, "ErrorInfo").reason == "ROW_ENDED"
    client.reset(session)
    client.step(session, actions(2))


def test_a_selection_starts_only_its_own_rows_again(client):
    """Rows that end at different times, stepped in changing selections: each goes its own way."""
    outputs = [*OBSERVATION, "reward", "started", "state"]
    for mode in (NEXT_STEP, SAME_STEP):
        whole = client.open(rows=ROWS, seed=9, autoreset=mode, horizon=3, start_source=FILE).session_id
        parts = client.open(rows=ROWS, seed=9, autoreset=mode, horizon=3, start_source=FILE).session_id
        for step in range(12):
            action = actions(step=step)
            expected = arrays(client.step(whole, action, outputs=outputs))
            for rows in ([4, 0], [5], [1, 3, 2]):
                found = arrays(client.step(parts, action[rows], rows, outputs=outputs))
                same(found, {name: array[rows] for name, array in expected.items()})
        same(client.state(whole), client.state(parts))
        lag = client.open(rows=2, seed=9, autoreset=mode, horizon=3).session_id
        started = []
        for step in range(12):
            client.step(lag, actions(1, step), [0])
            if step % 2:
                started += arrays(client.step(lag, actions(1, step), [1], outputs=["started"]))["started"].tolist()
        expected = [False, False, False, True, False, False] if mode == NEXT_STEP else [False, False, True] * 2
        assert started == expected


def trajectory(client, mode, rows, seeds, steps=20):
    session = client.open(rows=rows, autoreset=mode, ending=SAMPLED, horizon=9, start_source=FILE).session_id
    client.reset(session, seeds=seeds)
    seen = []
    for step in range(steps):
        reply = client.step(session, actions(256, step)[:rows], outputs=[*OBSERVATION, "reward", "started", "state"])
        seen.append(arrays(reply))
    return seen


@pytest.mark.parametrize("mode", [NEXT_STEP, SAME_STEP], ids=["next_step", "same_step"])
def test_a_row_starts_again_the_same_alone_and_in_company(served, client, mode):
    """A row of seed 40 alone, first of 256 that end at their own times, and beside other clients."""
    alone = trajectory(client, mode, 1, [40])
    stop = threading.Event()
    with contextlib.ExitStack() as stack:
        other = Client(stack.enter_context(served.channel()))

        def disturb():
            session = other.open(rows=64, seed=1, autoreset=mode, horizon=2, start_source=FILE).session_id
            step = 0
            while not stop.is_set():
                other.step(session, actions(64, step), outputs=OBSERVATION)
                step += 1

        thread = threading.Thread(target=disturb)
        thread.start()
        among = trajectory(client, mode, 256, [40])
        stop.set()
        thread.join()
    assert sum(step["started"].sum() for step in among) > 256
    for one, many in zip(alone, among, strict=True):
        same(one, {name: array[:1] for name, array in many.items()})


@pytest.mark.parametrize("mode", [NEXT_STEP, SAME_STEP], ids=["next_step", "same_step"])
def test_a_repeated_step_id_gets_the_reply_of_the_reset(client, mode):
    session, once = (client.open(rows=3, seed=2, autoreset=mode, horizon=2, start_source=FILE).session_id
                     for _ in range(2))
    outputs = ["observation", "reward", "terminated", "truncated", "started"]
    for step in range(1, 8):
        first = client.step(session, actions(3, step), step_id=step, outputs=outputs)
        before = client.state(session)
        assert client.step(session, actions(3, step), step_id=step, outputs=outputs) == first
        same(client.state(session), before)
        client.step(once, actions(3, step), outputs=outputs)
    same(client.state(session), client.state(once))


@pytest.mark.parametrize("mode", [NEXT_STEP, SAME_STEP], ids=["next_step", "same_step"])
def test_a_late_step_that_resets_is_not_committed_or_its_reply_is_kept(client, mode):
    """Whatever the moment, also between the step and its starts: the same id counts once."""
    fields = dict(rows=200, seed=1, autoreset=mode, horizon=2, start_source=FILE)
    session, alone = client.open(**fields).session_id, client.open(**fields).session_id
    for step in range(1, 31):
        request = put(simulation.StepRequest(session_id=session, step_id=step, outputs=["observation"]),
                      action=actions(200, step))
        call = client.simulation.Step.future(request, timeout=0.0002 * step)
        if step % 3 == 0:
            call.cancel()
        with contextlib.suppress(grpc.RpcError, grpc.FutureCancelledError):
            call.result()
        for _ in range(10000):
            try:
                client.simulation.Step(request)
                break
            except grpc.RpcError as error:
                assert details(error, "ErrorInfo").reason == "SESSION_BUSY"
        client.step(alone, actions(200, step), outputs=["observation"])
    same(client.state(session), client.state(alone))


def test_the_plan_begins_cold_after_an_automatic_reset(client):
    """Its warm start is forgotten with the episode that it was for."""
    session = client.open(rows=1, seed=6, autoreset=SAME_STEP, horizon=2).session_id
    by_hand = client.open(rows=1, seed=6, horizon=2).session_id
    for step in range(2):
        for one in (session, by_hand):
            client.simulation.Plan(simulation.PlanRequest(session_id=one))
            client.step(one, actions(1, step))
    client.reset(by_hand)
    ask = [simulation.PlanRequest(session_id=one, outputs=["plan"]) for one in (session, by_hand)]
    assert client.simulation.Plan(ask[0]).raw_contents == client.simulation.Plan(ask[1]).raw_contents


def test_final_observation_is_of_same_step_alone(client):
    for fields in ({}, dict(autoreset=NEXT_STEP)):
        session = client.open(rows=1, **fields).session_id
        with pytest.raises(grpc.RpcError) as caught:
            client.step(session, actions(1), outputs=["final_observation"])
        assert caught.value.code() == PRECONDITION and "SAME_STEP" in caught.value.details()
    session = client.open(rows=2, horizon=1, autoreset=SAME_STEP).session_id
    reply = arrays(client.step(session, actions(2), outputs=["final_observation.angle", "started"]))
    assert set(reply) == {"final_observation.angle", "started"} and reply["started"].all()
    raw = client.step(session, actions(2), outputs=["final_observation"], raw=True)
    assert {t.datatype for t in raw.tensors} == {"FP32"}


@pytest.mark.parametrize("mode", [NEXT_STEP, SAME_STEP], ids=["next_step", "same_step"])
def test_a_saved_state_starts_again_as_the_session_would(client, mode):
    """Saved while some rows wait for their reset."""
    fields = dict(rows=4, autoreset=mode, ending=SAMPLED, horizon=5, start_source=FILE)
    session, other = client.open(seed=3, **fields).session_id, client.open(seed=4, **fields).session_id
    seen = 0
    for step in range(16):
        flags = arrays(client.step(session, actions(4, step)))
        seen += (flags["terminated"] | flags["truncated"]).any()
        saved = client.simulation.GetState(simulation.GetStateRequest(session_id=session))
        client.simulation.SetState(simulation.SetStateRequest(
            session_id=other, tensors=saved.tensors, raw_contents=saved.raw_contents, format=saved.format,
            layout_hash=saved.layout_hash, checksum=saved.checksum, checkpoint=saved.checkpoint))
        outputs = [*OBSERVATION, "reward", "started", "state"]
        replies = [arrays(client.step(one, actions(4, 100 + step), outputs=outputs)) for one in (session, other)]
        same(*replies)
    assert seen > 3


def test_ended_rows_are_listed_until_their_next_step(client):
    session = client.open(rows=2, autoreset=NEXT_STEP, horizon=1).session_id
    listed = []
    for step in range(4):
        client.step(session, actions(2, step))
        got = client.simulation.GetSession(simulation.GetSessionRequest(session_id=session)).session
        listed.append(list(got.ended_rows))
    assert listed == [[0, 1], [], [0, 1], []]


def test_sampled_endings_come_as_often_as_continue_says(client):
    """Thousands of draws with the row's own noise; a session of modes draws them too."""
    for mode in (simulation.LATENT_MODE_SAMPLE, simulation.LATENT_MODE_MODE):
        session = client.open(rows=256, seed=3, autoreset=SAME_STEP, ending=SAMPLED, latent_mode=mode).session_id
        ends, expected, variance, last = 0.0, 0.0, 0.0, None
        for step in range(40):
            reply = arrays(client.step(session, actions(256, step)))
            p = 1 - reply["continue"].astype(float)
            ends, expected = ends + reply["terminated"].sum(), expected + p.sum()
            variance += (p * (1 - p)).sum()
            assert last is None or reply["terminated"].tobytes() != last
            last = reply["terminated"].tobytes()
        assert abs(ends - expected) < 5 * np.sqrt(variance)
        assert variance > 100


def test_rows_start_again_in_a_stream_of_requests_too(client):
    """Opened, stepped past ends and closed by Interact: the replies are those of single calls."""
    fields = dict(model="tiny", rows=3, seed=4, autoreset=SAME_STEP, horizon=2, start_source=FILE)
    outputs = [*OBSERVATION, "final_observation", "started"]
    session = client.open(**fields).session_id
    expected = [client.step(session, actions(3, step), outputs=outputs).raw_contents for step in range(6)]
    opened = simulation.OpenSessionRequest(**fields)
    answers = client.simulation.Interact(iter([simulation.InteractRequest(id=1, open_session=opened)]))
    streamed = next(answers).open_session.session.session_id
    steps = [put(simulation.StepRequest(session_id=streamed, outputs=outputs), action=actions(3, step))
             for step in range(6)]
    requests = [simulation.InteractRequest(id=i, step=step) for i, step in enumerate(steps)]
    assert [a.step.raw_contents for a in client.simulation.Interact(iter(requests))] == expected
