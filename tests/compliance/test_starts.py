"""Starts from the checkpoint's starts.safetensors: what Reset makes of them, and bad ones."""

import concurrent.futures
import contextlib
import time

import grpc
import numpy as np
import pytest

from checkpoints import copy, read_safetensors, write_safetensors, write_starts
from conftest import ROOT
from dreamd_stubs import Client, arrays, details, make_zoo, put, simulation

COUNT = 7
FILE = simulation.START_SOURCE_FILE
RECORDED = {"observation.state": np.random.default_rng(3).normal(size=(COUNT, 3)).astype("<f4"),
            "observation.angle": np.random.default_rng(4).normal(size=COUNT).astype("<f4")}
OBSERVATIONS = {name.replace(".", "__"): array for name, array in RECORDED.items()}
BAD = {
    "missing": (dict(observation__state=RECORDED["observation.state"]), "observation.angle is missing"),
    "shape": (dict(OBSERVATIONS, observation__state=np.zeros((COUNT, 4))), "[7, 4], expected [0, 3]"),
    "counts": (dict(OBSERVATIONS, observation__angle=np.zeros(3)), "[3], expected [7]"),
    "empty": (dict(observation__state=np.zeros((0, 3)), observation__angle=np.zeros(0)), "1 to"),
    "surplus": (dict(OBSERVATIONS, reward=np.zeros(COUNT)), "3 tensors, expected 2"),
    "parts": (dict(state__deter=np.zeros((COUNT, 24))), "state."),
}


def without_decoder(manifest):
    manifest["name"] = "blind"
    del manifest["config"]["decoder"]


def drop_decoder(header, data):
    """The same weights, packed anew."""
    kept, packed = {}, b""
    for name, entry in header.items():
        if name != "__metadata__" and not name.startswith("decoder."):
            first, limit = entry["data_offsets"]
            kept[name] = entry | {"data_offsets": [len(packed), len(packed) + limit - first]}
            packed += data[first:limit]
    return kept, packed


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    zoo = make_zoo(tmp_path_factory.mktemp("zoo"), tiny=7)
    for name in BAD:
        bad = copy(zoo / "tiny", zoo / f"bad {name}", manifest=lambda m, name=name: m.update(name=f"bad-{name}"))
        write_starts(bad, **BAD[name][0])
    copy(zoo / "tiny", zoo / "none", manifest=lambda m: m.update(name="none"))
    write_starts(zoo / "tiny", **OBSERVATIONS)
    copy(zoo / "tiny", zoo / "blind", manifest=without_decoder, weights=drop_decoder, probe=False)
    for name in ("pendulum", "cartpole"):
        copy(ROOT / "models/zoo" / name, zoo / name)
    return zoo


def fails(code, call, *words):
    with pytest.raises(grpc.RpcError) as caught:
        call()
    assert caught.value.code() == code, caught.value.details()
    for word in words:
        assert word in caught.value.details(), caught.value.details()
    return caught.value


def same(one, other):
    assert one.keys() == other.keys()
    for name, array in one.items():
        assert array.tobytes() == other[name].tobytes(), name


def test_a_start_is_what_observe_makes_of_it_in_the_initial_state(client):
    """Reset to start i, and Reset then Observe of that record, go on alike to the bit."""
    starts, by_hand = (client.open(rows=3).session_id for _ in range(2))
    chosen = [6, 0, 3]
    reply = arrays(client.reset(starts, seeds=[11], start_source=FILE, start_indices=chosen,
                                outputs=["observation", "value", "reward"]))
    client.reset(by_hand, seeds=[11])
    observed = arrays(client.observe(by_hand, *(RECORDED[name][chosen] for name in RECORDED),
                                     outputs=["value", "reward"]))
    same(reply, observed | {name: array[chosen] for name, array in RECORDED.items()})
    same(client.state(starts), client.state(by_hand))
    for one in (starts, by_hand):
        client.step(one, np.ones((3, 2)))
    same(client.state(starts), client.state(by_hand))


@pytest.mark.parametrize("rows", [1, 300])
def test_a_session_opened_with_starts_stands_at_them(client, rows):
    """As one that was opened without and reset to starts at once."""
    opened, reset = client.open(rows=rows, seed=6, start_source=FILE), client.open(rows=rows, seed=6)
    assert (opened.committed_step_id, opened.status) == (0, simulation.SESSION_STATUS_READY)
    client.reset(reset.session_id, start_source=FILE)
    same(client.state(opened.session_id), client.state(reset.session_id))
    for one in (opened, reset):
        client.step(one.session_id, np.ones((rows, 2)))
    same(client.state(opened.session_id), client.state(reset.session_id))


def test_opening_with_starts_twice_opens_once(client):
    one = client.open(request_id="starts", rows=3, start_source=FILE)
    assert client.open(request_id="starts", rows=3, start_source=FILE).session_id == one.session_id
    assert client.step(one.session_id, np.ones((3, 2)), step_id=1).committed_step_id == 1


def test_who_opens_it_meanwhile_is_asked_to_come_again(served):
    """Nobody hears of a session whose rows are still on their way to their starts."""
    with contextlib.ExitStack() as stack, concurrent.futures.ThreadPoolExecutor(4) as pool:
        clients = [Client(stack.enter_context(served.channel())) for _ in range(4)]
        answers = []
        for number in range(5):
            answers += pool.map(lambda client: opened(client, f"many {number}"), clients)
        refused = [error for error in answers if isinstance(error, grpc.RpcError)]
        assert refused and len(refused) < len(answers)
        for error in refused:
            assert error.code() == grpc.StatusCode.UNAVAILABLE
            assert details(error, "ErrorInfo").reason == "SESSION_OPENING" and details(error, "RetryInfo")
        ready = {s.session_id: s.status for s in answers if not isinstance(s, grpc.RpcError)}
        assert set(ready.values()) == {simulation.SESSION_STATUS_READY} and len(ready) == 5
        for session in ready:
            clients[0].simulation.CloseSession(simulation.CloseSessionRequest(session_id=session))


def opened(client, request_id):
    try:
        return client.open(request_id=request_id, rows=20000, start_source=FILE)
    except grpc.RpcError as error:
        return error


def test_an_opening_that_comes_too_late_leaves_nothing_at_work(client):
    """Its session is closed, or ready where the answer was on its way already."""
    for wait in np.geomspace(1e-4, 1e-2, 20):
        call = client.simulation.OpenSession.future(simulation.OpenSessionRequest(
            model="tiny", rows=4000, start_source=FILE, label="late", ttl_ms=60000), timeout=wait)
        try:
            call.result()
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    give_up = time.monotonic() + 60
    late = None
    while late is None or any(s.status != simulation.SESSION_STATUS_READY for s in late):
        assert time.monotonic() < give_up
        listed = client.simulation.ListSessions(simulation.ListSessionsRequest(page_size=1000)).sessions
        late = [session for session in listed if session.label == "late"]
    for session in late:
        client.step(session.session_id, np.ones((4000, 2)), step_id=1)
        client.simulation.CloseSession(simulation.CloseSessionRequest(session_id=session.session_id))


def test_starts_are_drawn_with_the_rows_noise(client):
    session, again = (client.open(rows=200, seed=5, start_source=FILE).session_id for _ in range(2))
    seen = []
    for one in (session, again):
        for _ in range(2):
            reply = arrays(client.reset(one, outputs=["observation.angle"]))["observation.angle"]
            seen.append([int(np.flatnonzero(RECORDED["observation.angle"] == angle)[0]) for angle in reply])
    assert seen[0] == seen[2] and seen[1] == seen[3], "the same seed draws the same starts"
    assert seen[0] != seen[1], "another reset draws others"
    counts = np.bincount(seen[0] + seen[1], minlength=COUNT)
    assert len(counts) == COUNT and counts.min() > 400 / COUNT / 2
    mode = client.open(rows=50, seed=5, start_source=FILE, latent_mode=simulation.LATENT_MODE_MODE).session_id
    assert len(set(arrays(client.reset(mode, outputs=["observation.angle"]))["observation.angle"])) > 2


def test_a_seeded_row_draws_the_same_start_wherever_it_stands(client):
    session = client.open(rows=4, start_source=FILE).session_id
    all_four = arrays(client.reset(session, seeds=[8, 9, 8, 9], outputs=["observation", "state"]))
    one = arrays(client.reset(session, [2], seeds=[9], outputs=["observation", "state"]))
    same(one, {name: array[3:] for name, array in all_four.items()})
    assert all_four["state.deter"][0].tobytes() == all_four["state.deter"][2].tobytes()


def test_a_start_takes_the_next_action(client):
    """Its first observation was observed: the next one has an action that led there."""
    session = client.open(rows=1, start_source=FILE).session_id
    client.reset(session)
    fails(grpc.StatusCode.INVALID_ARGUMENT, lambda: client.observe(session, [[1, 2, 3]], [0.5]), "action")
    client.observe(session, [[1, 2, 3]], [0.5], [[1, 0]])


def test_the_session_says_where_its_rows_start(client):
    session = client.open(rows=1, start_source=FILE)
    assert (session.start_source, session.start_count) == (FILE, COUNT)
    session = client.open("none")
    assert (session.start_source, session.start_count) == (simulation.START_SOURCE_INITIAL, 0)


def test_given_latents_are_kept_for_resets_that_do_not_say(client):
    one = client.open(rows=2, seed=8).session_id
    client.step(one, np.ones((2, 2)))
    state = client.state(one)
    request = simulation.OpenSessionRequest(model="tiny", rows=2, start_source=simulation.START_SOURCE_STATE)
    put(request, **{name.replace(".", "__"): array for name, array in state.items()})
    session = client.simulation.OpenSession(request).session.session_id
    same(client.state(session), state)
    client.step(session, np.ones((2, 2)))
    client.reset(session, [1])
    after = client.state(session)
    for name, array in state.items():
        assert after[name][1].tobytes() == array[1].tobytes()
    assert any(after[name][0].tobytes() != state[name][0].tobytes() for name in state)


def test_a_repeat_is_the_same_starts(client):
    session = client.open(rows=2, seed=8).session_id
    first = client.reset(session, step_id=1, start_source=FILE, start_indices=[1, 2], outputs=["observation"])
    assert client.reset(session, step_id=1, start_source=FILE, start_indices=[1, 2],
                        outputs=["observation"]) == first
    fails(grpc.StatusCode.INVALID_ARGUMENT, lambda: client.reset(
        session, step_id=1, start_source=FILE, start_indices=[2, 1], outputs=["observation"]), "another request")


def test_wrong_starts_are_refused_by_name(client):
    session = client.open(rows=2).session_id
    invalid = grpc.StatusCode.INVALID_ARGUMENT
    error = fails(invalid, lambda: client.reset(session, start_source=FILE, start_indices=[0, COUNT]),
                  f"start {COUNT}", f"has {COUNT}")
    assert details(error, "BadRequest").field_violations[0].field == "start_indices[1]"
    fails(invalid, lambda: client.reset(session, start_source=FILE, start_indices=[0]), "2 rows")
    fails(invalid, lambda: client.reset(session, start_indices=[0, 1]), "FILE")
    assert client.simulation.GetSession(simulation.GetSessionRequest(
        session_id=session)).session.committed_step_id == 0


def test_a_model_without_starts_says_so(client):
    precondition = grpc.StatusCode.FAILED_PRECONDITION
    fails(precondition, lambda: client.open("none", start_source=FILE), "no starts.safetensors")
    session = client.open("none").session_id
    fails(precondition, lambda: client.reset(session, start_source=FILE), "no starts.safetensors")


@pytest.mark.parametrize("name", BAD)
def test_a_bad_starts_file_is_told_where_it_is_used(client, name):
    client.open(f"bad-{name}")
    fails(grpc.StatusCode.FAILED_PRECONDITION, lambda: client.open(f"bad-{name}", start_source=FILE),
          "starts.safetensors", BAD[name][1])


@pytest.mark.parametrize("name", ["pendulum", "cartpole"])
def test_the_shipped_models_start_at_recorded_observations(client, name):
    header, data = read_safetensors(ROOT / "models/zoo" / name / "starts.safetensors")
    shape = header["observation"]["shape"]
    recorded = np.frombuffer(data, "<f4").reshape(shape)
    session = client.open(name, rows=shape[0], start_source=FILE)
    assert session.start_count == shape[0]
    every = arrays(client.reset(session.session_id, start_indices=range(shape[0]), outputs=["observation"]))
    np.testing.assert_array_equal(every["observation"], recorded)
    if name == "pendulum":  # one observation tells the angle, not the speed
        decode = simulation.DecodeRequest(session_id=session.session_id)
        decoded = arrays(client.simulation.Decode(decode))["observation"]
        for column in (0, 1):
            assert np.corrcoef(decoded[:, column], recorded[:, column])[0, 1] > 0.8


def test_a_model_without_a_decoder_starts_at_observations_all_the_same(client):
    session = client.open("blind", rows=2, start_source=FILE, horizon=1,
                          autoreset=simulation.AUTORESET_MODE_SAME_STEP).session_id
    reply = arrays(client.reset(session, start_indices=[2, 5], outputs=["observation", "value"]))
    for name, array in RECORDED.items():
        assert reply[name].tobytes() == array[[2, 5]].tobytes()
    reply = arrays(client.step(session, np.ones((2, 2)), outputs=["reward", "value", "started"]))
    assert reply["started"].all()
    for wanted in ("observation", "final_observation"):
        fails(grpc.StatusCode.FAILED_PRECONDITION, lambda wanted=wanted: client.step(
            session, np.ones((2, 2)), outputs=[wanted]))


def test_starts_of_other_types_are_read_as_numbers(zoo, client, tmp_path):
    """Doubles are given as they are to a space of floats: rounded once."""
    from checkpoints import register

    folder = copy(zoo / "none", tmp_path / "doubles", manifest=lambda m: m.update(name="doubles"))
    values = {name: np.random.default_rng(1).normal(size=array.shape) for name, array in RECORDED.items()}
    data = b"".join(array.tobytes() for array in values.values())
    header, first = {}, 0
    for key, array in values.items():
        header[key] = {"dtype": "F64", "shape": array.shape, "data_offsets": [first, first + array.nbytes]}
        first += array.nbytes
    write_safetensors(folder / "starts.safetensors", header, data)
    register(client, folder)
    session = client.open("doubles", rows=COUNT, start_source=FILE).session_id
    reply = arrays(client.reset(session, start_indices=range(COUNT), outputs=["observation"]))
    same(reply, {name: array.astype("<f4") for name, array in values.items()})


def test_a_forked_row_starts_again_where_its_original_does(client):
    one = client.open(rows=2, seed=8).session_id
    client.step(one, np.ones((2, 2)))
    state = client.state(one)
    request = simulation.OpenSessionRequest(
        model="tiny", rows=2, horizon=2, start_source=simulation.START_SOURCE_STATE,
        autoreset=simulation.AUTORESET_MODE_SAME_STEP)
    put(request, **{name.replace(".", "__"): array for name, array in state.items()})
    session = client.simulation.OpenSession(request).session.session_id
    client.step(session, np.ones((2, 2)))
    fork = simulation.ForkRequest(session_id=session)
    fork.rows.rows.append(1)
    copy_ = client.simulation.Fork(fork).session.session_id
    for step in range(3):
        expected = arrays(client.step(session, np.full((2, 2), step), outputs=["state", "started"]))
        found = arrays(client.step(copy_, np.full((1, 2), step), outputs=["state", "started"]))
        same(found, {name: array[1:] for name, array in expected.items()})
        assert found["started"][0] == (step % 2 == 0)
