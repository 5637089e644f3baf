"""Models and checkpoints as any gRPC client sees them, and what survives kill -9."""

import concurrent.futures
import hashlib
import json
import random
import shutil
import signal
import subprocess
import threading
import time

import grpc
import pytest

import checkpoints
from conftest import BUILD, Daemon
from dreamd_stubs import Client, details, make_zoo, registry, simulation
from test_metrics import Scrape, until

INVALID = grpc.StatusCode.INVALID_ARGUMENT
NOT_FOUND = grpc.StatusCode.NOT_FOUND
PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION
DATA_LOSS = grpc.StatusCode.DATA_LOSS
CHUNK = 10_000


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    return make_zoo(tmp_path_factory.mktemp("zoo"), one=1, two=2, three=3)


@pytest.fixture
def daemon(tmp_path, zoo):
    empty = tmp_path / "empty"
    empty.mkdir()
    one = Daemon(tmp_path, "--zoo", empty)
    yield one
    one.stop()


@pytest.fixture
def client(daemon):
    with daemon.channel() as channel:
        yield Client(channel)


def fails(code, call, *words):
    with pytest.raises(grpc.RpcError) as caught:
        call()
    assert caught.value.code() == code, caught.value.details()
    for word in words:
        assert word in caught.value.details()
    return caught.value


def parts(folder, name="", finish=True, change=lambda messages: None, **header):
    """The messages of one RegisterCheckpoint."""
    files = sorted(f for f in folder.iterdir() if f.name != "manifest.json")
    listed = [registry.CheckpointFile(name=f.name, bytes=f.stat().st_size,
                                      sha256=hashlib.sha256(f.read_bytes()).hexdigest())
              for f in files]
    messages = [registry.RegisterCheckpointRequest(header=registry.RegisterHeader(
        manifest_json=(folder / "manifest.json").read_bytes(), name=name, files=listed, **header))]
    for file in files:
        content = file.read_bytes()
        for first in range(0, len(content), CHUNK):
            chunk = registry.RegisterChunk(name=file.name, bytes=content[first:first + CHUNK])
            messages.append(registry.RegisterCheckpointRequest(chunk=chunk))
    if finish:
        messages.append(registry.RegisterCheckpointRequest(finish=registry.RegisterFinish()))
    change(messages)
    return iter(messages)


def names(client):
    return [m.name for m in client.registry.ListModels(registry.ListModelsRequest()).models]


def test_a_registered_checkpoint_can_be_used_at_once(client, zoo):
    reply = client.registry.RegisterCheckpoint(parts(zoo / "one", aliases=["best"]))
    assert reply.created and (reply.checkpoint.name, reply.checkpoint.version) == ("tiny", 1)
    assert client.open("tiny@best").checkpoint == reply.checkpoint.checkpoint
    again = client.registry.RegisterCheckpoint(parts(zoo / "one"))
    assert not again.created and again.checkpoint.version == 1
    second = client.registry.RegisterCheckpoint(parts(zoo / "two"))
    assert second.checkpoint.version == 2
    assert client.open("tiny").model == "tiny@2"
    assert client.open("tiny@best").model == "tiny@1"
    assert client.open(f"tiny@{second.checkpoint.checkpoint}").model == "tiny@2"


def test_a_folder_of_the_daemons_machine_is_taken_over_loopback(client, zoo):
    header = registry.RegisterHeader(server_path=str(zoo / "one"), name="other")
    reply = client.registry.RegisterCheckpoint(iter([
        registry.RegisterCheckpointRequest(header=header),
        registry.RegisterCheckpointRequest(finish=registry.RegisterFinish())]))
    assert reply.created and reply.checkpoint.name == "other"
    fails(NOT_FOUND, lambda: client.registry.RegisterCheckpoint(iter([
        registry.RegisterCheckpointRequest(
            header=registry.RegisterHeader(server_path="/nowhere/at/all")),
        registry.RegisterCheckpointRequest(finish=registry.RegisterFinish())])))


def test_a_model_is_described_in_full(client, zoo):
    client.registry.RegisterCheckpoint(parts(zoo / "one"))
    reply = client.registry.GetModel(registry.GetModelRequest(model="tiny"))
    assert [c.version for c in reply.model.checkpoints] == [1]
    assert [(a.alias, a.version) for a in reply.model.aliases] == [("latest", 1)]
    one = reply.checkpoint
    assert one.family == "rssm" and one.parameters > 0 and one.row_bytes > 0
    assert json.loads(one.manifest_json)["name"] == "tiny" and one.card_markdown
    assert {f.name for f in one.files} == {
        "card.md", "manifest.json", "probe.safetensors", "weights.safetensors"}
    assert one.planning.method == "cem" and one.action_space.box.shape == [2]


def test_sizes_are_known_without_loading(client, tmp_path, zoo, start_daemon):
    def sizes(of):
        listed = of.registry.ListModels(registry.ListModelsRequest()).models[0].checkpoints[0]
        return listed.loaded, listed.parameters, listed.row_bytes, listed.session_rows_max

    uploaded = client.registry.RegisterCheckpoint(parts(zoo / "one")).checkpoint
    before = sizes(client)
    assert before == (False, uploaded.parameters, uploaded.row_bytes, uploaded.session_rows_max)
    client.registry.LoadModel(registry.LoadModelRequest(model="tiny"))
    assert sizes(client) == (True, *before[1:]) and min(before[1:]) > 0
    assert before[3] == 65536  # a row takes little
    shipped = make_zoo(tmp_path / "shipped", one=1)
    with start_daemon("--zoo", shipped).channel() as channel:
        assert sizes(Client(channel)) == before


def test_aliases_move_and_new_sessions_see_it(client, zoo):
    for name in ("one", "two"):
        client.registry.RegisterCheckpoint(parts(zoo / name))
    client.registry.SetAlias(registry.SetAliasRequest(name="tiny", alias="best", version=2))
    living = client.open("tiny@best")
    client.registry.SetAlias(registry.SetAliasRequest(name="tiny", alias="best", version=1))
    assert client.open("tiny@best").model == "tiny@1" and living.model == "tiny@2"
    client.registry.SetAlias(registry.SetAliasRequest(name="tiny", alias="best", remove=True))
    fails(NOT_FOUND, lambda: client.open("tiny@best"), "best")
    fails(NOT_FOUND, lambda: client.registry.SetAlias(
        registry.SetAliasRequest(name="tiny", alias="best", version=9)))
    fails(INVALID, lambda: client.registry.SetAlias(
        registry.SetAliasRequest(name="tiny", alias="best")), "target")


def test_a_model_in_use_is_neither_unloaded_nor_deleted(client, zoo):
    for name in ("one", "two"):
        client.registry.RegisterCheckpoint(parts(zoo / name))
    session = client.open("tiny@1").session_id
    unload = registry.UnloadModelRequest(model="tiny@1")
    error = fails(PRECONDITION, lambda: client.registry.UnloadModel(unload), "1 sessions")
    assert details(error, "ErrorInfo").reason == "MODEL_IN_USE"
    delete = registry.DeleteCheckpointRequest(model="tiny@1")
    fails(PRECONDITION, lambda: client.registry.DeleteCheckpoint(delete))
    client.step(session, [[0, 0]])
    client.simulation.CloseSession(simulation.CloseSessionRequest(session_id=session))
    assert not client.registry.UnloadModel(unload).checkpoint.loaded
    assert client.registry.LoadModel(registry.LoadModelRequest(model="tiny@1")).checkpoint.loaded
    client.registry.DeleteCheckpoint(delete)
    fails(NOT_FOUND, lambda: client.open("tiny@1"))
    assert client.open("tiny").model == "tiny@2"
    fails(INVALID, lambda: client.registry.DeleteCheckpoint(
        registry.DeleteCheckpointRequest(model="tiny")), "name@version")


def test_models_are_listed_in_pages(client, zoo):
    for name in ("a", "b", "c"):
        client.registry.RegisterCheckpoint(parts(zoo / "one", name=name))
    first = client.registry.ListModels(registry.ListModelsRequest(page_size=2))
    assert [m.name for m in first.models] == ["a", "b"]
    rest = client.registry.ListModels(
        registry.ListModelsRequest(page_size=2, page_token=first.next_page_token))
    assert [m.name for m in rest.models] == ["c"] and not rest.next_page_token


def test_the_daemon_describes_itself(client):
    info = client.registry.GetServerInfo(registry.GetServerInfoRequest())
    assert info.state == "SERVING" and "rssm" in info.families
    assert "dreamd.v1.Simulation/Step" in info.methods
    assert info.limits.session_rows_max == 65536
    assert info.limits.history_max == 4096 and info.limits.imagine_horizon_max == 1_000_000


# ---- what is wrong is refused, and nothing is kept ----


def break_weights(messages):
    chunk = messages[-2].chunk
    chunk.bytes = chunk.bytes[:-4] + b"\x00\x00\xc0\x7f"  # a NaN


def without_hashes(change):
    def both(messages):
        for file in messages[0].header.files:
            file.sha256 = ""
        change(messages)
    return both


def change_manifest(**fields):
    def change(messages):
        manifest = json.loads(messages[0].header.manifest_json)
        manifest.update(fields)
        messages[0].header.manifest_json = json.dumps(manifest).encode()
    return change


def surplus_chunk(messages):
    messages.insert(-1, registry.RegisterCheckpointRequest(
        chunk=registry.RegisterChunk(name="weights.safetensors", bytes=b"x")))


BAD = {
    "header missing": (INVALID, lambda m: m.pop(0), "header"),
    "two headers": (INVALID, lambda m: m.insert(1, m[0]), "second header"),
    "empty message": (INVALID, lambda m: m.insert(1, registry.RegisterCheckpointRequest()), "header, chunk or"),
    "no finish": (INVALID, lambda m: m.pop(), "finish"),
    "a chunk too few": (INVALID, lambda m: m.pop(-2), "not complete"),
    "a chunk too many": (INVALID, surplus_chunk, "announced"),
    "another file": (INVALID, lambda m: setattr(m[1].chunk, "name", "weights.pickle"), "weights.pickle"),
    "a path": (INVALID, lambda m: setattr(m[0].header.files[0], "name", "../x"), "../x"),
    "a file twice": (INVALID, lambda m: m[0].header.files.append(m[0].header.files[0]), "twice"),
    "huge": (INVALID, lambda m: setattr(m[0].header.files[0], "bytes", 2**62), "at most"),
    "huge together": (INVALID, lambda m: [setattr(file, "bytes", 2**32 if file.name == "weights.safetensors" else 1)
                                          for file in m[0].header.files], "checkpoint_bytes_max"),
    "no hash": (INVALID, lambda m: setattr(m[0].header.files[0], "sha256", "abc"), "sha256"),
    "another hash": (DATA_LOSS, lambda m: setattr(m[0].header.files[0], "sha256", "0" * 64), "sha256"),
    "another digest": (DATA_LOSS, lambda m: setattr(m[0].header, "expected_checkpoint", "sha256:" + "0" * 64), "0000"),
    "a name": (INVALID, lambda m: setattr(m[0].header, "name", "No Name"), "No Name"),
    "an alias": (INVALID, lambda m: m[0].header.aliases.append("A/B"), "A/B"),
    "NaN weights": (INVALID, without_hashes(break_weights), "weights"),
    "no JSON": (INVALID, lambda m: setattr(m[0].header, "manifest_json", b"{"), "manifest.json"),
    "a bomb": (INVALID, lambda m: setattr(m[0].header, "manifest_json", b"[" * 100000), "manifest.json"),
    "a key twice": (INVALID, lambda m: setattr(m[0].header, "manifest_json", b'{"format":1,"format":1}'), "format"),
    "an unknown family": (grpc.StatusCode.UNIMPLEMENTED, change_manifest(family="diffusion"), "diffusion"),
    "a newer format": (INVALID, change_manifest(format=2), "newer"),
    "another config": (INVALID, change_manifest(config={}), "config"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_wrong_checkpoint_is_refused_and_leaves_nothing(daemon, client, zoo, name):
    code, change, word = BAD[name]
    error = fails(code, lambda: client.registry.RegisterCheckpoint(parts(zoo / "one", change=change)))
    assert word in error.details(), error.details()
    assert names(client) == []
    client.registry.RegisterCheckpoint(parts(zoo / "one"))
    assert names(client) == ["tiny"]


def test_a_probe_that_disagrees_is_refused(client, zoo, tmp_path):
    mixed = tmp_path / "mixed"
    shutil.copytree(zoo / "one", mixed)
    shutil.copy(zoo / "two" / "probe.safetensors", mixed / "probe.safetensors")
    fails(PRECONDITION, lambda: client.registry.RegisterCheckpoint(parts(mixed)), "probe")
    assert names(client) == []


def test_a_client_that_leaves_in_the_middle_leaves_nothing(daemon, client, zoo):
    for seconds in (0.0, 0.01, 0.05):
        def slowly():
            yield from parts(zoo / "one", finish=False)
            time.sleep(0.3)
        call = client.registry.RegisterCheckpoint.future(slowly())
        time.sleep(seconds)
        call.cancel()
    time.sleep(0.5)
    assert names(client) == []
    assert list((daemon.folder / "data" / "incoming").iterdir()) == []


def test_no_more_models_are_loaded_than_may_be(client, zoo, tmp_path):
    """Waiting makes no room, as the daemon unloads nothing by itself: there is no RetryInfo."""
    folder = checkpoints.copy(zoo / "one", tmp_path / "one")
    for number in range(1025):
        (folder / "card.md").write_text(f"the same model as all others, number {number}")
        client.registry.RegisterCheckpoint(parts(folder))

    def load(version):
        client.registry.LoadModel(registry.LoadModelRequest(model=f"tiny@{version}"))

    for version in range(1, 1025):
        load(version)
    for call in (load, lambda version: client.open(f"tiny@{version}")):
        error = fails(grpc.StatusCode.RESOURCE_EXHAUSTED, lambda: call(1025), "1024 models", "unload one")
        assert details(error, "ErrorInfo").reason == "MODELS_FULL" and not details(error, "RetryInfo")
    load(1024)
    client.registry.UnloadModel(registry.UnloadModelRequest(model="tiny@7"))
    load(1025)


def test_uploads_that_send_nothing_make_room(start_daemon, zoo):
    """As many as there may be, each silent at another place; those behind them are not locked out for long."""
    daemon = start_daemon("--zoo", zoo, "--request-timeout", "2s")
    with daemon.channel() as channel:
        client = Client(channel)
        silence = threading.Event()

        def silent(messages):
            yield from messages
            silence.wait(60)

        try:
            some = list(parts(zoo / "one", name="silent", finish=False))
            calls = [client.registry.RegisterCheckpoint.future(silent(some[:number % 3])) for number in range(16)]
            until(lambda: Scrape(daemon).value("dreamd_open_streams") == len(calls))
            full = fails(grpc.StatusCode.RESOURCE_EXHAUSTED,
                         lambda: client.registry.RegisterCheckpoint(parts(zoo / "one", name="other")))
            assert details(full, "RetryInfo") and details(full, "ErrorInfo").reason == "UPLOADS_FULL"
            for call in calls:
                fails(grpc.StatusCode.DEADLINE_EXCEEDED, call.result, "the next request was not whole 2000 ms after")
            assert client.registry.RegisterCheckpoint(parts(zoo / "one", name="other")).created
            slow = list(parts(zoo / "two", name="slow"))

            def slowly():
                for number, message in enumerate(slow):
                    time.sleep(0.7 if number < 4 else 0)
                    yield message

            assert client.registry.RegisterCheckpoint(slowly()).created
            assert "silent" not in names(client)
            assert list((daemon.folder / "data" / "incoming").iterdir()) == []
        finally:
            silence.set()


# ---- kill -9 ----


def test_what_was_acknowledged_survives_kill_9(request, tmp_path, zoo):
    """20 times: uploads run, the daemon is killed at a random moment; the catalogue opens, fsck is
    clean, and everything that was acknowledged is there."""
    rng = random.Random(5)
    empty = tmp_path / "empty"
    empty.mkdir()
    acknowledged = {}
    for round_ in range(20):
        daemon = Daemon(tmp_path, "--zoo", empty)
        stop = threading.Event()

        def upload(lane):
            with daemon.channel() as channel:
                client = Client(channel)
                for i in range(1000):
                    if stop.is_set():
                        return
                    name = f"r{round_}-{lane}-{i}"
                    source = zoo / ("one", "two", "three")[i % 3]
                    try:
                        reply = client.registry.RegisterCheckpoint(parts(source, name=name))
                        acknowledged[name] = reply.checkpoint.checkpoint
                    except grpc.RpcError:
                        return

        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            lanes = [pool.submit(upload, lane) for lane in range(2)]
            # Counted in acknowledgements, so that a slow daemon is killed in the midst too.
            enough, give_up = len(acknowledged) + rng.randrange(5), time.monotonic() + 10
            while len(acknowledged) < enough and time.monotonic() < give_up:
                time.sleep(0.001)
            time.sleep(rng.uniform(0, 0.08))
            daemon.process.send_signal(signal.SIGKILL)
            daemon.process.wait()
            stop.set()
            for lane in lanes:
                lane.result()
        daemon.endpoint.unlink(missing_ok=True)
        daemon.log.close()
        fsck = subprocess.run([BUILD / "dreamd", "fsck", "--data", tmp_path / "data"],
                              capture_output=True, text=True)
        assert fsck.returncode == 0, fsck.stdout + fsck.stderr
    last = Daemon(tmp_path, "--zoo", empty)
    request.addfinalizer(last.stop)
    with last.channel() as channel:
        client = Client(channel)
        listed, token = {}, ""
        while True:
            page = client.registry.ListModels(registry.ListModelsRequest(page_token=token))
            listed |= {m.name: m.checkpoints[0].checkpoint for m in page.models}
            token = page.next_page_token
            if not token:
                break
        assert len(acknowledged) >= 20
        assert acknowledged.items() <= listed.items()
        for name in rng.sample(sorted(acknowledged), 10):
            session = client.open(name).session_id
            client.step(session, [[0, 0]])
