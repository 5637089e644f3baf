"""A new version takes an alias while sessions are opened and stepped: nobody is refused, nobody waits for it, and
who is there stays with what was opened."""

import concurrent.futures
import contextlib
import threading
import time

import grpc
import numpy as np
import pytest

from checkpoints import copy, register
from conftest import Daemon
from dreamd_stubs import Client, arrays, make_zoo, put, registry, simulation
from test_interact import Stream

VERSIONS = 6


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    return make_zoo(tmp_path_factory.mktemp("swap"), **{f"v{i}": i for i in range(1, VERSIONS + 1)})


@pytest.fixture
def daemon(tmp_path, zoo):
    empty = tmp_path / "empty"
    empty.mkdir()
    one = Daemon(tmp_path, "--zoo", empty)
    with one.channel() as channel:
        yield one, Client(channel)
    one.stop()


def move(client, version, alias="live"):
    client.registry.SetAlias(registry.SetAliasRequest(name="tiny", alias=alias, version=version))


def checkpoint(client, model):
    return client.registry.GetModel(registry.GetModelRequest(model=model)).checkpoint


def listed(client, version):
    for model in client.registry.ListModels(registry.ListModelsRequest()).models:
        for one in model.checkpoints:
            if one.version == version:
                return one
    return None


def test_versions_change_under_load_without_an_error(daemon, zoo):
    daemon, client = daemon
    register(client, zoo / "v1", aliases=["live"])
    stop = threading.Event()
    opened, moved = [], [1]
    seen = {}

    def steps(number, channel):
        mine = Client(channel)
        session = mine.open("tiny@live", rows=4, seed=number)
        replies = []
        while not stop.is_set() or len(replies) < 20:
            action = np.full((4, 2), len(replies) % 3 - 1, "<f4")
            reply = mine.step(session.session_id, action, outputs=["reward"], step_id=len(replies) + 1)
            assert reply.checkpoint == session.checkpoint and session.model == "tiny@1"
            replies.append(reply.raw_contents[0])
        assert mine.simulation.GetSession(simulation.GetSessionRequest(
            session_id=session.session_id)).session.checkpoint == session.checkpoint
        return replies

    def pipelines(number, channel):
        """The same through one stream, some steps ahead of their answers."""
        mine, replies = Stream(Client(channel)), []
        session = mine.ask(simulation.OpenSessionRequest(model="tiny@live", rows=4, seed=number)).session
        assert session.model == "tiny@1"
        for k in range(100000):
            if stop.is_set() and k >= 20:
                break
            action = np.full((4, 2), k % 3 - 1, "<f4")
            mine.send(put(simulation.StepRequest(session_id=session.session_id, outputs=["reward"], step_id=k + 1), action=action))
            if k >= 5:
                replies.append(mine.receive())
        replies += mine.end()
        assert len(replies) == k and {reply.step.checkpoint for reply in replies} == {session.checkpoint}
        return [reply.step.raw_contents[0] for reply in replies]

    def opens(number, channel):
        mine = Client(channel)
        while not stop.is_set():
            least = moved[0]
            session = mine.open("tiny@live", rows=2)
            most = moved[0]
            version = int(session.model.split("@")[1])
            assert least <= version <= most + 1, (least, session.model, most)
            assert seen.setdefault(version, session.checkpoint) == session.checkpoint
            assert mine.step(session.session_id, np.zeros((2, 2), "<f4")).checkpoint == session.checkpoint
            mine.simulation.CloseSession(simulation.CloseSessionRequest(session_id=session.session_id))
            opened.append(version)

    with contextlib.ExitStack() as stack, concurrent.futures.ThreadPoolExecutor(6) as pool:
        channels = [stack.enter_context(daemon.channel()) for _ in range(6)]
        stepping = [pool.submit(pipelines if i == 2 else steps, i, channels[i]) for i in range(3)]
        opening = [pool.submit(opens, i, channels[3 + i]) for i in range(3)]
        try:
            for version in range(2, VERSIONS + 1):
                before = len(opened)
                while len(opened) < before + 5:  # sessions are opened between any two of them
                    time.sleep(0.005)
                    assert not [one for one in opening if one.done()], [one.exception() for one in opening if one.done()]
                aliases = ["live"] if version % 2 else []
                assert register(client, zoo / f"v{version}", aliases=aliases).checkpoint.version == version
                if not aliases:
                    move(client, version)
                moved[0] = version
                assert client.open("tiny@live").model == f"tiny@{version}"
        finally:
            stop.set()
        replies = [one.result() for one in stepping]
        for one in opening:
            one.result()
    assert len(set(seen.values())) == len(seen) and len(seen) > 1
    # Each stepped as it would have alone.
    for number, got in enumerate(replies):
        session = client.open("tiny@1", rows=4, seed=number).session_id
        for k, raw in enumerate(got):
            action = np.full((4, 2), k % 3 - 1, "<f4")
            assert client.step(session, action, outputs=["reward"]).raw_contents[0] == raw


def test_an_alias_in_use_moves_to_what_is_loaded_already(daemon, zoo):
    _, client = daemon
    register(client, zoo / "v1", aliases=["live"])
    register(client, zoo / "v2")
    assert not listed(client, 2).loaded
    move(client, 2)
    assert not listed(client, 2).loaded, "nobody uses it: nothing is loaded for it"
    client.open("tiny@live")
    register(client, zoo / "v3")
    move(client, 3)
    assert listed(client, 3).loaded
    register(client, zoo / "v4", aliases=["live"])
    assert listed(client, 4).loaded


def test_a_damaged_version_does_not_take_an_alias_that_is_in_use(daemon, zoo):
    daemon, client = daemon
    register(client, zoo / "v1", aliases=["live"])
    register(client, zoo / "v2")
    client.open("tiny@live")
    digest = listed(client, 2).checkpoint.removeprefix("sha256:")
    weights = next((daemon.folder / "data").glob(f"**/{digest}/weights.safetensors"))
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.chmod(0o644)
    weights.write_bytes(content)
    with pytest.raises(grpc.RpcError) as caught:
        move(client, 2)
    assert caught.value.code() == grpc.StatusCode.DATA_LOSS, caught.value
    assert client.open("tiny@live").model == "tiny@1"


def test_a_version_whose_probe_disagrees_is_not_there_at_all(daemon, zoo, tmp_path):
    _, client = daemon
    register(client, zoo / "v1", aliases=["live"])
    session = client.open("tiny@live").session_id

    def other_weights(header, data):
        changed = np.frombuffer(data, "<f4").copy()
        changed *= 1.5
        return header, changed.tobytes()

    folder = copy(zoo / "v2", tmp_path / "wrong", weights=other_weights)
    with pytest.raises(grpc.RpcError) as caught:
        register(client, folder, aliases=["live"])
    assert caught.value.code() == grpc.StatusCode.FAILED_PRECONDITION and "probe" in caught.value.details()
    assert listed(client, 2) is None and client.open("tiny@live").model == "tiny@1"
    assert arrays(client.step(session, [[0, 0]]))["reward"].shape == (1,)
