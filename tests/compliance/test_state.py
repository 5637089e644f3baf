"""GetState and SetState: rows that leave a daemon and go on, here or in another process."""

import copy

import grpc
import numpy as np
import pytest

from conftest import running
from dreamd_stubs import Client, arrays, details, make_zoo, put, simulation
from test_fork import actions, fails, latents, state, walk, same

INVALID = grpc.StatusCode.INVALID_ARGUMENT
PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION
ABORTED = grpc.StatusCode.ABORTED
DATA_LOSS = grpc.StatusCode.DATA_LOSS


def get(client, session_id, rows=None, **fields):
    request = simulation.GetStateRequest(session_id=session_id, **fields)
    if rows is not None:
        request.rows.rows.extend(rows)
    return client.simulation.GetState(request)


def request_of(saved, session_id, rows=None, **fields):
    request = simulation.SetStateRequest(
        session_id=session_id, tensors=saved.tensors, raw_contents=saved.raw_contents, format=saved.format,
        layout_hash=saved.layout_hash, checksum=saved.checksum, checkpoint=saved.checkpoint, **fields)
    if rows is not None:
        request.rows.rows.extend(rows)
    return request


def crc32c(contents):
    crc = 0xffffffff
    for byte in b"".join(contents):
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return crc ^ 0xffffffff


def reseal(request):
    request.checksum = crc32c(request.raw_contents)
    return request


# ---- there and back ----


def test_a_restored_session_goes_on_bit_identically_in_another_process(client, tmp_path):
    """Latents, noise, flags and the warm start of plans, over a second daemon with the same model."""
    mine = client.open(rows=3, seed=5, horizon=30).session_id
    client.simulation.Reset(put(simulation.ResetRequest(session_id=mine, seeds=[1, 2, 3])))
    walk(client, mine, 5)
    saved = get(client, mine)
    future = walk(client, mine)
    zoo = make_zoo(tmp_path / "zoo", tiny=7)
    with running(tmp_path, "--zoo", zoo) as other, other.channel() as channel:
        there = Client(channel)
        session = there.open(rows=3, seed=99, horizon=30).session_id
        reply = there.simulation.SetState(request_of(saved, session))
        assert (reply.committed_step_id, reply.checkpoint) == (1, saved.checkpoint)
        again = get(there, session)
        assert list(again.raw_contents) == list(saved.raw_contents)
        assert (again.checksum, again.layout_hash) == (saved.checksum, saved.layout_hash)
        same(walk(there, session), future)


def test_a_session_goes_back_to_where_it_was_saved(client):
    session = client.open(rows=2, seed=1).session_id
    walk(client, session, 2)
    saved = get(client, session)
    future = walk(client, session)
    assert client.simulation.SetState(request_of(saved, session)).committed_step_id == 9
    same(walk(client, session), future)


def test_rows_are_saved_and_set_by_selection(client):
    session = client.open(rows=4, seed=1).session_id
    walk(client, session, 2)
    before = state(client, session)
    saved = get(client, session, [3, 1])
    client.simulation.SetState(request_of(saved, session, [0, 2]))
    assert latents(state(client, session)) == latents(before, [3, 1, 1, 3])
    future = walk(client, session)
    same(future, future, [0, 2], [3, 1])


def test_the_state_says_where_each_row_is(client):
    session = client.open(rows=2, seed=8, horizon=2, latent_mode=2).session_id
    saved = state(client, session)
    assert saved["noise.seed"].tolist() == [8, 8] and saved["noise.row"].tolist() == [0, 1]
    assert saved["noise.mode"].tolist() == [1, 1] and saved["row.fresh"].tolist() == [True, True]
    assert "warm_start.plan" not in saved
    client.step(session, actions(1), [1])
    client.step(session, actions(1), [1])
    saved = state(client, session)
    assert saved["noise.step"].tolist() == [0, 2] and saved["row.age"].tolist() == [0, 2]
    assert saved["row.ended"].tolist() == [False, True] and saved["row.fresh"].tolist() == [True, False]


def test_an_ended_row_stays_ended_and_a_living_one_alive(client):
    session = client.open(rows=1, horizon=1).session_id
    alive = get(client, session)
    client.step(session, actions(1))
    ended = get(client, session)
    client.simulation.SetState(request_of(alive, session))
    client.step(session, actions(1))
    client.simulation.SetState(request_of(ended, session))
    fails(PRECONDITION, lambda: client.step(session, actions(1)), "ended")


def test_plans_of_another_length_replace_those_that_are_kept(client):
    def plan(session, horizon):
        request = simulation.PlanRequest(session_id=session)
        request.settings.horizon = horizon
        request.settings.warm_start = True
        return client.simulation.Plan(request).raw_contents

    one, other = (client.open(rows=2, seed=3).session_id for _ in range(2))
    plan(one, 4)
    saved = get(client, one)
    assert arrays(saved)["warm_start.plan"].shape == (2, 2, 4, 2)
    plan(other, 6)
    client.simulation.SetState(request_of(saved, other))
    assert get(client, other).raw_contents == saved.raw_contents
    for session in (one, other):
        client.step(session, actions(2))
    assert plan(one, 4) == plan(other, 4)


def test_a_plan_that_began_at_a_given_one_is_kept_too(client):
    session = client.open(rows=1, seed=6).session_id
    request = simulation.PlanRequest(session_id=session, settings=simulation.PlannerSettings(horizon=3, warm_start=True))
    client.simulation.Plan(put(request, plan=np.zeros((1, 3, 2), "<f4")))
    kept = arrays(get(client, session))
    assert kept["warm_start.made"].tolist() == [[True, False]] and kept["warm_start.plan"].shape == (1, 2, 3, 2)


# ---- exactly once ----


def test_setting_commits_once(client):
    session = client.open(rows=2, seed=1).session_id
    saved = get(client, session)
    client.step(session, actions(2))
    first = client.simulation.SetState(request_of(saved, session, step_id=2))
    client_state = state(client, session)
    assert client.simulation.SetState(request_of(saved, session, step_id=2)) == first
    assert latents(state(client, session)) == latents(client_state)
    other = get(client, client.open(rows=2, seed=9).session_id)
    fails(INVALID, lambda: client.simulation.SetState(request_of(other, session, step_id=2)), "another request")
    gap = fails(ABORTED, lambda: client.simulation.SetState(request_of(saved, session, step_id=9)))
    assert details(gap, "ErrorInfo").metadata["committed_step_id"] == "2"
    fails(ABORTED, lambda: get(client, session, at_step_id=1))
    assert get(client, session, at_step_id=2).committed_step_id == 2


# ---- what is refused ----


@pytest.fixture
def saved(client):
    """A session with plans, and its state."""
    session = client.open(rows=2, seed=1).session_id
    walk(client, session, 2)
    return session, get(client, session)


def change_bytes(request, name, change):
    """Changes a tensor's numbers: change(array) in place."""
    index = [t.name for t in request.tensors].index(name)
    array = arrays(request)[name].copy()
    change(array)
    request.raw_contents[index] = array.tobytes()
    return reseal(request)


def put_value(name, value, at=(0,)):
    def change(array):
        array[at] = value
    return lambda request: change_bytes(request, name, change)


def put_byte(name, byte):
    def change(request):
        index = [t.name for t in request.tensors].index(name)
        raw = request.raw_contents[index]
        request.raw_contents[index] = bytes([byte]) + raw[1:]
        reseal(request)
    return change


def drop(name):
    def change(request):
        index = [t.name for t in request.tensors].index(name)
        del request.tensors[index]
        del request.raw_contents[index]
        reseal(request)
    return change


def as_type(name, datatype, dtype):
    def change(request):
        index = [t.name for t in request.tensors].index(name)
        array = arrays(request)[name].astype(dtype)
        request.tensors[index].datatype = datatype
        request.raw_contents[index] = array.tobytes()
        reseal(request)
    return change


def reshape(name, shape):
    def change(request):
        index = [t.name for t in request.tensors].index(name)
        request.tensors[index].shape[:] = shape
    return change


def rename(old, new):
    def change(request):
        next(t for t in request.tensors if t.name == old).name = new
    return change


def more_plans(request):
    put(request, more=np.zeros(2, "<f4"))
    reseal(request)


REFUSED = {
    "a NaN": (put_value("state.deter", np.nan, (1, 3)), "state.deter"),
    "an infinity": (put_value("state.stoch", -np.inf, (0, 0)), "state.stoch"),
    "a flag of 2": (put_byte("row.ended", 2), "row.ended"),
    "a fresh of 255": (put_byte("row.fresh", 255), "row.fresh"),
    "a mode of 2": (put_value("noise.mode", 2), "noise.mode"),
    "a step past all steps": (put_value("noise.step", 2**63), "noise.step"),
    "an age past all ages": (put_value("row.age", 2**32 - 1), "row.age"),
    "a plan of NaN": (put_value("warm_start.plan", np.nan, (0, 0, 0, 0)), "warm_start.plan"),
    "a plan's step past all": (put_value("warm_start.step", 2**64 - 1, (0, 0)), "warm_start.step"),
    "a mark of 7": (put_byte("warm_start.made", 7), "warm_start.made"),
    "a missing part": (drop("state.deter"), "state.deter"),
    "a missing key": (drop("noise.seed"), "noise.seed"),
    "marks without plans": (drop("warm_start.plan"), "warm_start"),
    "plans without marks": (drop("warm_start.made"), "warm_start.made"),
    "doubles": (as_type("state.deter", "FP64", "<f8"), "state.deter"),
    "wider numbers": (as_type("row.age", "UINT64", "<u8"), "row.age"),
    "another shape": (reshape("warm_start.plan", [2, 4, 2, 2]), "warm_start"),
    "one row too many": (reshape("row.age", [3]), "row.age"),
    "a negative shape": (reshape("warm_start.plan", [2, 2, -4, -2]), "warm_start.plan"),
    "another name": (rename("row.age", "row.aged"), "row.age"),
    "something more": (more_plans, "more"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_it_refuses(client, saved, name):
    session, blob = saved
    change, word = REFUSED[name]
    before = get(client, session)
    request = request_of(blob, session)
    change(request)
    fails(INVALID, lambda: client.simulation.SetState(request), word)
    after = get(client, session)
    assert after == before


def test_rows_must_be_as_many_as_were_saved(client, saved):
    session, blob = saved
    fails(INVALID, lambda: client.simulation.SetState(request_of(blob, session, [1])), "expected [1")
    fails(INVALID, lambda: client.simulation.SetState(request_of(blob, client.open(rows=3).session_id)))


def test_changed_bytes_are_data_loss(client, saved):
    session, blob = saved
    request = request_of(blob, session)
    raw = bytearray(request.raw_contents[0])
    raw[5] ^= 1
    request.raw_contents[0] = bytes(raw)
    error = fails(DATA_LOSS, lambda: client.simulation.SetState(request), "CRC-32C")
    assert f"{blob.checksum:08x}" in error.details()
    request = request_of(blob, session)
    request.checksum ^= 1
    fails(DATA_LOSS, lambda: client.simulation.SetState(request))
    assert blob.checksum == crc32c(blob.raw_contents)


def test_a_state_of_another_checkpoint_layout_or_format_names_both(client, saved):
    session, blob = saved
    for change, words in ((dict(checkpoint="sha256:" + "0" * 64), ("0" * 64, blob.checkpoint)),
                          (dict(layout_hash="1" * 64), ("1" * 64, blob.layout_hash)),
                          (dict(format=7), ("7", "1"))):
        request = request_of(blob, session)
        for field, value in change.items():
            setattr(request, field, value)
        fails(PRECONDITION, lambda r=request: client.simulation.SetState(r), *words)


def test_anything_at_all_leaves_the_daemon_and_the_session_whole(client, saved):
    """Random damage, resealed: an answer each time, never a crash, and a refusal changes nothing."""
    session, blob = saved
    rng = np.random.default_rng(1)
    before = get(client, session)
    for _ in range(300):
        request = copy.deepcopy(request_of(blob, session))
        index = int(rng.integers(len(request.tensors)))
        raw = bytearray(request.raw_contents[index])
        for _ in range(3):
            raw[int(rng.integers(len(raw)))] = int(rng.integers(256))
        request.raw_contents[index] = bytes(raw)
        reseal(request)
        try:
            client.simulation.SetState(request)
        except grpc.RpcError as error:
            assert error.code() == INVALID
            assert get(client, session) == before
        else:
            walk(client, session, 1) if not state(client, session)["row.ended"].any() else None
            client.simulation.SetState(request_of(blob, session))
            before = get(client, session)
            assert before.raw_contents == blob.raw_contents
