"""Bad input gets a clear answer: each message names the thing, what was found, what is allowed.

Through the real program alone. The words of a case are those three: in the test they must all be
in the message, whatever else it says.
"""

import json
import os
import re
import resource
import shutil
import sqlite3
import struct
import subprocess
import time

import grpc
import numpy as np
import pytest

import checkpoints
from conftest import BUILD, Daemon
from dreamd_stubs import Client, details, make_zoo, put, registry, simulation

CODE = grpc.StatusCode


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A sound checkpoint folder."""
    return make_zoo(tmp_path_factory.mktemp("source"), tiny=3) / "tiny"


def without_decoder(source, folder):
    def keep(header, data):
        kept, out = {}, b""
        for name, tensor in header.items():
            if not name.startswith("decoder."):
                first, last = tensor["data_offsets"]
                kept[name] = {**tensor, "data_offsets": [len(out), len(out) + last - first]}
                out += data[first:last]
        return kept, out

    def change(manifest):
        del manifest["config"]["decoder"]
        manifest["name"] = "blind"

    return checkpoints.copy(source, folder, manifest=change, weights=keep, probe=False)


@pytest.fixture(scope="module")
def served(tmp_path_factory, source):
    folder = tmp_path_factory.mktemp("bad-input")
    zoo = folder / "zoo"
    zoo.mkdir()
    shutil.copytree(source, zoo / "tiny")
    without_decoder(source, zoo / "blind")
    one = Daemon(folder, "--zoo", zoo, "--sessions-max", "50", "--session-bytes-max", "8MiB")
    yield one
    one.stop()


def fails(code, call, *words):
    with pytest.raises(grpc.RpcError) as caught:
        call()
    said = caught.value.details()
    print(caught.value.code().name, said)
    assert caught.value.code() == code, said
    for word in words:
        assert word in said, f"{word!r} is not in {said!r}"
    return caught.value


# ---- names, shapes, numbers ----


def plan(**settings):
    return lambda c, s: c.simulation.Plan(simulation.PlanRequest(
        session_id=s, settings=simulation.PlannerSettings(**settings)))


def step(array, name="action", outputs=(), **change):
    def call(client, session):
        request = simulation.StepRequest(session_id=session, outputs=outputs)
        put(request, **{name: np.asarray(array, "<f4")})
        for field, value in change.items():
            if field == "raw":
                request.raw_contents[0] = value
            elif field == "shape":
                request.tensors[0].shape[:] = value
            else:
                setattr(request.tensors[0], field, value)
        client.simulation.Step(request)
    return call


def observe(state, angle, **tensors):
    def call(client, session):
        request = simulation.ObserveRequest(session_id=session)
        put(request, observation__state=np.asarray(state, "<f4"),
            observation__angle=np.asarray(angle, "<f4"), **tensors)
        client.simulation.Observe(request)
    return call


def reset(**fields):
    return lambda c, s: c.simulation.Reset(simulation.ResetRequest(session_id=s, **fields))


TWO = np.zeros((2, 2))
REQUESTS = {
    "unknown model": (CODE.NOT_FOUND, lambda c, s: c.open("tinny"), "tinny", "tiny"),
    "unknown version": (CODE.NOT_FOUND, lambda c, s: c.open("tiny@7"), "tiny", "7", "newest is 1"),
    "unknown alias": (CODE.NOT_FOUND, lambda c, s: c.open("tiny@best"), "tiny", "best", "latest"),
    "unknown digest": (CODE.NOT_FOUND, lambda c, s: c.open("tiny@sha256:" + "0" * 64), "tiny", "0" * 64),
    "no reference": (CODE.INVALID_ARGUMENT, lambda c, s: c.open("tiny@"), '"tiny@"', "NAME@VERSION"),
    "unknown session": (CODE.NOT_FOUND, lambda c, s: c.step("s-nobody", TWO), "session_id", "s-nobody"),
    "unknown tensor": (CODE.INVALID_ARGUMENT, step(TWO, "acton"), '"acton"', '"action" is missing', "[2, 2]"),
    "unknown output": (CODE.INVALID_ARGUMENT, step(TWO, outputs=["rewards"]), "output", '"rewards"', "tiny", " reward,"),
    "unknown datatype": (CODE.INVALID_ARGUMENT, step(TWO, datatype="FP128"), "action", "FP128", "FP32"),
    "another datatype": (CODE.INVALID_ARGUMENT, step(TWO, datatype="INT8", raw=bytes(4)), "action", "INT8", "FP32"),
    "shape": (CODE.INVALID_ARGUMENT, step(np.zeros((2, 3))), "action", "[2, 3]", "[2, 2]"),
    "rank": (CODE.INVALID_ARGUMENT, step(np.zeros(4)), "action", "[4]", "[2, 2]"),
    "rows": (CODE.INVALID_ARGUMENT, step(np.zeros((3, 2))), "action", "[3, 2]", "[2, 2]"),
    "overflowing shape": (CODE.INVALID_ARGUMENT, step(TWO, shape=[2**40, 2**40]), "action", "1099511627776"),
    "negative shape": (CODE.INVALID_ARGUMENT, step(TWO, shape=[-2, -2]), "action", "-2", "0 or more"),
    "length": (CODE.INVALID_ARGUMENT, step(TWO, raw=bytes(15)), "action", "15", "16"),
    "NaN in an action": (CODE.INVALID_ARGUMENT, step([[0, 0], [np.nan, 0]]), "action", "element 2", "NaN", "finite"),
    "infinity in an action": (CODE.INVALID_ARGUMENT, step([[0, -np.inf], [0, 0]]), "action", "element 1", "-inf", "finite"),
    "NaN in an observation": (CODE.INVALID_ARGUMENT, observe([[0, 0, 0], [0, 0, np.nan]], [0, 0]),
                              "observation.state", "element 5", "NaN", "finite"),
    "infinity in an observation": (CODE.INVALID_ARGUMENT, observe(np.zeros((2, 3)), [0, np.inf]),
                                   "observation.angle", "element 1", "inf", "finite"),
    "missing observation": (CODE.INVALID_ARGUMENT, lambda c, s: c.simulation.Observe(put(
        simulation.ObserveRequest(session_id=s), observation__angle=np.zeros(2, "<f4"))), "observation.state", "missing", "[2, 3]"),
    "a row past the last": (CODE.INVALID_ARGUMENT, lambda c, s: c.step(s, TWO, rows=[0, 2]), "row 2", "0 to 1"),
    "planner settings": (CODE.INVALID_ARGUMENT, plan(horizon=100000), "horizon", "100000", "1000"),
    "unknown planner": (CODE.INVALID_ARGUMENT, plan(method="magic"), "method", "magic", "cem"),
    "unknown preset": (CODE.INVALID_ARGUMENT, plan(preset="magic"), "preset", "magic", "planet"),
    "a mode that is none": (CODE.INVALID_ARGUMENT, plan(latent_mode=7), "latent_mode", "7", "SAMPLE"),
    "anytime": (CODE.UNIMPLEMENTED, lambda c, s: c.simulation.Plan(
        simulation.PlanRequest(session_id=s, anytime=True)), "anytime"),
    "deviations of a plan": (CODE.UNIMPLEMENTED, lambda c, s: c.simulation.Plan(
        simulation.PlanRequest(session_id=s, outputs=["plan.std"])), "plan.std", "action, return and plan"),
    "an output of other calls": (CODE.FAILED_PRECONDITION, lambda c, s: c.simulation.Plan(
        simulation.PlanRequest(session_id=s, outputs=["action", "reward"])), '"reward"', "action, return and plan"),
    "an output of no call": (CODE.INVALID_ARGUMENT, lambda c, s: c.simulation.Plan(
        simulation.PlanRequest(session_id=s, outputs=["rewards"])), '"rewards"', "action, return and plan"),
    "an unknown ending": (CODE.INVALID_ARGUMENT, lambda c, s: c.open(
        ending=simulation.Ending(rule=9)), "rule is 9", "THRESHOLD"),
    "too many elites": (CODE.INVALID_ARGUMENT, plan(candidates=10, elites=11), "elites", "11", "10"),
    "decode without a decoder": (CODE.FAILED_PRECONDITION, lambda c, s: c.simulation.Decode(
        simulation.DecodeRequest(session_id=c.open("blind").session_id)), "blind", "decoder", "encodes"),
    "an observation without a decoder": (CODE.FAILED_PRECONDITION, lambda c, s: c.step(
        c.open("blind").session_id, [[0, 0]], outputs=["observation"]), "observation", "blind", "reward"),
    "more rows than are allowed": (CODE.INVALID_ARGUMENT, lambda c, s: c.open(rows=65537), "rows", "65537", "65536"),
    "more memory than is allowed": (CODE.INVALID_ARGUMENT, lambda c, s: c.open(rows=65536), "rows", "65536", "8388608"),
    "a life too long": (CODE.INVALID_ARGUMENT, lambda c, s: c.open(ttl_ms=10**12), "ttl_ms", "1000000000000", "604800000"),
    "starts of a file": (CODE.FAILED_PRECONDITION, reset(start_source=2), "starts.safetensors", "INITIAL"),
    "an alias to nowhere": (CODE.NOT_FOUND, lambda c, s: c.registry.SetAlias(
        registry.SetAliasRequest(name="tiny", alias="best", version=9)), "tiny", "9", "newest is 1"),
    "no word for an alias": (CODE.INVALID_ARGUMENT, lambda c, s: c.registry.SetAlias(
        registry.SetAliasRequest(name="tiny", alias="9", version=1)), "alias", '"9"', "letter"),
    "a page that is none": (CODE.INVALID_ARGUMENT, lambda c, s: c.simulation.ListSessions(
        simulation.ListSessionsRequest(page_token="9" * 100)), "page_token", "ListSessions"),
    "a way to act that is none": (CODE.INVALID_ARGUMENT, lambda c, s: list(c.simulation.Imagine(simulation.ImagineRequest(
        session_id=s, policy=simulation.IMAGINE_POLICY_RANDOM, horizon=1, action_mode=7))), "action_mode", "7", "SAMPLE"),
    "a page too long": (CODE.INVALID_ARGUMENT, lambda c, s: c.registry.ListModels(
        registry.ListModelsRequest(page_size=1001)), "page_size", "1001", "1000"),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request(client, name):
    code, call, *words = REQUESTS[name]
    session = client.open(rows=2).session_id
    try:
        fails(code, lambda: call(client, session), *words)
        assert client.simulation.GetSession(simulation.GetSessionRequest(
            session_id=session)).session.committed_step_id == 0
    finally:
        client.simulation.CloseSession(simulation.CloseSessionRequest(session_id=session))


# ---- checkpoints ----


def offsets(change):
    """change(first, second): the data_offsets of two neighbours, in place."""
    def both(header, data):
        first, second = header["rssm.initial"]["data_offsets"], header["rssm.input.norm.bias"]["data_offsets"]
        change(first, second)
        return header, data
    return both


def set_both(pair, first, last):
    pair[:] = [first, last]


def rename(old, new):
    return lambda header, data: ({new if k == old else k: v for k, v in header.items()}, data)


def surplus(header, data):
    header["rssm.extra"] = {"dtype": "F32", "shape": [1], "data_offsets": [len(data), len(data) + 4]}
    return header, data + bytes(4)


def number(value):
    def change(header, data):
        at = header["rssm.initial"]["data_offsets"][0] + 8
        return header, data[:at] + struct.pack("<f", value) + data[at + 4:]
    return change


def reshape(header, data):
    header["rssm.initial"]["shape"] = [4, 4]
    return header, data


def twice(header, data):
    text = json.dumps(header)
    return text[:-1] + ', "rssm.initial": ' + json.dumps(header["rssm.initial"]) + "}", data


def manifest(**fields):
    return dict(manifest=lambda m: m.update(fields))


def config(**fields):
    return dict(manifest=lambda m: m["config"].update(fields))


WEIGHTS = "weights.safetensors"
CHECKPOINTS = {
    "offsets past the end": (CODE.INVALID_ARGUMENT, dict(weights=offsets(
        lambda a, b: set_both(a, 10**9, 10**9 + 64))), WEIGHTS, "rssm.initial", "1000000000"),
    "overlapping offsets": (CODE.INVALID_ARGUMENT, dict(weights=offsets(
        lambda a, b: set_both(b, b[0] - 4, b[1] - 4))), WEIGHTS, "rssm.in"),
    "overflowing offsets": (CODE.INVALID_ARGUMENT, dict(weights=offsets(
        lambda a, b: set_both(a, 2**63 - 1, 2**63))), WEIGHTS, "9223372036854775808"),
    "overflowing offsets of 2^64": (CODE.INVALID_ARGUMENT, dict(weights=offsets(
        lambda a, b: set_both(a, 2**64, 2**64 + 64))), WEIGHTS, "18446744073709551616"),
    "backward offsets": (CODE.INVALID_ARGUMENT, dict(weights=offsets(
        lambda a, b: set_both(a, a[1], a[0]))), WEIGHTS, "rssm.initial"),
    "overflowing shape": (CODE.INVALID_ARGUMENT, dict(weights=lambda h, d: (
        {**h, "rssm.initial": {**h["rssm.initial"], "shape": [2**40, 2**40]}}, d)), WEIGHTS, "rssm.initial"),
    "a bomb in the weights' header": (CODE.INVALID_ARGUMENT, dict(weights=lambda h, d: ("[" * 100000, d)), WEIGHTS),
    "a key twice in the weights": (CODE.INVALID_ARGUMENT, dict(weights=twice), WEIGHTS, "rssm.initial"),
    "a missing tensor": (CODE.INVALID_ARGUMENT, dict(weights=rename("rssm.initial", "rssm.initail")),
                         "weights", "rssm.initial", "missing", "[16]"),
    "a surplus tensor": (CODE.INVALID_ARGUMENT, dict(weights=surplus), "weights", "rssm.extra", "surplus"),
    "another shape": (CODE.INVALID_ARGUMENT, dict(weights=reshape), "weights", "rssm.initial", "[4, 4]", "[16]"),
    "NaN weights": (CODE.INVALID_ARGUMENT, dict(weights=number(float("nan"))), WEIGHTS, "rssm.initial", "NaN", "index 2", "finite"),
    "infinite weights": (CODE.INVALID_ARGUMENT, dict(weights=number(float("-inf"))), WEIGHTS, "rssm.initial", "infinity", "index 2", "finite"),
    "a probe that disagrees": (CODE.FAILED_PRECONDITION, dict(weights=number(2.5)), "probe", "expected"),
    "an unknown family": (CODE.UNIMPLEMENTED, manifest(family="diffusion"), "family", "diffusion", "rssm"),
    "a newer format": (CODE.INVALID_ARGUMENT, manifest(format=9), "manifest.json", "format", "9", "1"),
    "an unknown field": (CODE.INVALID_ARGUMENT, manifest(famly="x"), "manifest.json", "famly"),
    "an unknown field of the config": (CODE.INVALID_ARGUMENT, config(detr=4), "manifest.json", "config.detr", "deter"),
    "a text for a number": (CODE.INVALID_ARGUMENT, config(deter="16"), "config.deter", '"16"', "integer"),
    "a number out of range": (CODE.INVALID_ARGUMENT, config(deter=-1), "config.deter", "-1", "1 to"),
    "a name that is none": (CODE.INVALID_ARGUMENT, manifest(name="No Name"), "name", "No Name", "a-z"),
}


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_checkpoint(client, source, tmp_path, name):
    code, changes, *words = CHECKPOINTS[name]
    folder = checkpoints.copy(source, tmp_path / "checkpoint", **changes)
    before = client.registry.ListModels(registry.ListModelsRequest())
    fails(code, lambda: checkpoints.register(client, folder, name="bad"), *words)
    assert client.registry.ListModels(registry.ListModelsRequest()) == before


@pytest.mark.parametrize("text, words", [
    ("[" * 100000, ["manifest.json", "32"]),
    ('{"a":' * 1000 + "1" + "}" * 1000, ["manifest.json", "32"]),
    ("[" + "0," * 200000 + "0]", ["manifest.json", "131072"]),
    (" " * ((4 << 20) + 1), ["manifest", "4194304"]),
    ('{"format": 1, "format": 1}', ["manifest.json", "format", "twice|duplicate"]),
    ('{"format": 1', ["manifest.json", "line 1"]),
    ('{"name": "\\u0000"}', ["manifest.json"]),
], ids=["deep", "deep objects", "many", "long", "twice", "cut", "NUL"])
def test_a_manifest(client, source, tmp_path, text, words):
    folder = checkpoints.copy(source, tmp_path / "checkpoint")
    (folder / "manifest.json").write_text(text)
    error = fails(CODE.INVALID_ARGUMENT, lambda: checkpoints.register(client, folder, name="bad"))
    for word in words:
        assert re.search(word, error.details())


def test_a_server_side_path(client, source, tmp_path):
    def from_path(path):
        header = registry.RegisterHeader(server_path=str(path))
        return client.registry.RegisterCheckpoint(iter([
            registry.RegisterCheckpointRequest(header=header),
            registry.RegisterCheckpointRequest(finish=registry.RegisterFinish())]))

    fails(CODE.NOT_FOUND, lambda: from_path("/nowhere/at/all"), "/nowhere/at/all")
    folder = checkpoints.copy(source, tmp_path / "checkpoint")
    (folder / "model.pkl").write_bytes(b"x")
    fails(CODE.INVALID_ARGUMENT, lambda: from_path(folder), "model.pkl", "weights.safetensors")
    (folder / "model.pkl").unlink()
    os.truncate(folder / "weights.safetensors", 2**32)  # its own limit: a hole, so that no disk is filled
    fails(CODE.INVALID_ARGUMENT, lambda: from_path(folder), f"manifest and files are {sum(f.stat().st_size for f in folder.iterdir())} bytes",
          "at most 4294967296", "checkpoint_bytes_max")


# ---- sessions past their limits ----


def test_sessions_past_their_number(client, served):
    opened = []
    try:
        error = fails(CODE.RESOURCE_EXHAUSTED, lambda: [opened.append(client.open()) for _ in range(60)],
                      "sessions", "50")
        assert details(error, "RetryInfo").retry_delay.ToMilliseconds() > 0
    finally:
        for session in opened:
            client.simulation.CloseSession(
                simulation.CloseSessionRequest(session_id=session.session_id))


def test_sessions_past_their_memory(client):
    opened = []
    try:
        error = fails(CODE.RESOURCE_EXHAUSTED,
                      lambda: [opened.append(client.open(rows=5000)) for _ in range(60)], "8388608")
        assert details(error, "RetryInfo").retry_delay.ToMilliseconds() > 0
    finally:
        for session in opened:
            client.simulation.CloseSession(
                simulation.CloseSessionRequest(session_id=session.session_id))


def test_the_rows_that_a_model_names_are_the_most(tmp_path, start_daemon):
    served = start_daemon("--zoo", make_zoo(tmp_path / "zoo", tiny=1), "--session-bytes-max", "8MiB")
    with served.channel() as channel:
        client = Client(channel)
        rows = client.registry.GetModel(registry.GetModelRequest(model="tiny")).checkpoint.session_rows_max
        fails(CODE.INVALID_ARGUMENT, lambda: client.open(rows=rows + 1), "rows", "8388608")
        assert client.open(rows=rows).rows == rows


def test_a_session_past_its_horizon_and_past_its_life(client):
    session = client.open(horizon=1, ttl_ms=500).session_id
    client.step(session, [[0, 0]])
    fails(CODE.FAILED_PRECONDITION, lambda: client.step(session, [[0, 0]]), "ended", "0", "Reset")
    time.sleep(0.8)
    fails(CODE.NOT_FOUND, lambda: client.step(session, [[0, 0]]), session, "expired")


# ---- starting ----


def serve(*options, data, prefix=(), timeout=20):
    """Runs a daemon that cannot start: (exit code, what it said)."""
    done = subprocess.run([*prefix, BUILD / "dreamd", "serve", "--listen", "127.0.0.1:0", "--http-listen", "none",
                           "--data", data, *options],
                          capture_output=True, text=True, timeout=timeout)
    print(done.stderr)
    return done.returncode, done.stderr


def test_a_data_folder_of_a_newer_version(tmp_path, source):
    one = Daemon(tmp_path)
    one.stop()
    file = sqlite3.connect(tmp_path / "data" / "catalogue.sqlite")
    (known,) = file.execute("PRAGMA user_version").fetchone()
    file.execute("PRAGMA user_version = 99")
    file.close()
    code, said = serve(data=tmp_path / "data")
    assert code == 1
    for word in (str(tmp_path / "data"), "99", f"up to {known}", "newer"):
        assert word in said
    done = subprocess.run([BUILD / "dreamd", "fsck", "--data", tmp_path / "data"], capture_output=True, text=True)
    assert done.returncode == 1 and "99" in done.stderr


def test_a_data_folder_in_use(served):
    code, said = serve(data=served.folder / "data")
    assert code == 1 and str(served.process.pid) in said and str(served.folder / "data") in said


def test_a_data_folder_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("x")
    code, said = serve(data=tmp_path / "file")
    assert code == 1 and str(tmp_path / "file") in said


def test_a_port_in_use(served, tmp_path):
    code, said = serve("--listen", served.address, data=tmp_path / "data")
    assert code == 1 and served.address in said and "in use" in said and "--listen" in said


@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0", "10.1.2.3:7733"])
def test_a_listener_beyond_loopback(tmp_path, address):
    code, said = serve("--listen", address, data=tmp_path / "data")
    assert code == 1 and address in said and "--insecure" in said and "127.0.0.1" in said


@pytest.mark.parametrize("options, words", [
    (["--listen", "nonsense"], ["--listen", "nonsense", "127.0.0.1:7733"]),
    (["--listen", "127.0.0.1:70000"], ["--listen", "70000", "65535"]),
    (["--log-level", "loud"], ["log", "loud", "debug"]),
    (["--log-format", "xml"], ["log", "xml", "json"]),
    (["--http-listen", "nonsense"], ["--http-listen", "nonsense", "127.0.0.1:7734"]),
    (["--http-listen", "0.0.0.0:0"], ["--http-listen", "0.0.0.0:0", "--insecure", "127.0.0.1"]),
])
def test_an_option(tmp_path, options, words):
    code, said = serve(*options, data=tmp_path / "data")
    assert code in (1, 2)
    for word in words:
        assert word in said


@pytest.mark.parametrize("options, words", [
    (["--sessions-max", "0"], ["--sessions-max", '"0"', "from 1"]),
    (["--sessions-max", "many"], ["--sessions-max", "many", "whole number"]),
    (["--message-max", "64MB"], ["--message-max", "64MB", "MiB"]),
    (["--keepalive", "-1s"], ["--keepalive", "-1s", "from 100"]),
    (["--sesions-max", "5"], ["sesions-max", "sessions-max", "--help"]),
    (["--config", "/nowhere.conf"], ["--config", "/nowhere.conf"]),
])
def test_a_wrong_option_is_wrong_usage(tmp_path, options, words):
    code, said = serve(*options, data=tmp_path / "data")
    assert code == 2
    for word in words:
        assert word in said


@pytest.mark.parametrize("command", [["serve", "--listen", "127.0.0.1:0"], ["learn", "--env", "pendulum", "--out", "out"]])
def test_an_instruction_set_that_does_not_exist(tmp_path, command):
    said = subprocess.run([str(BUILD / "dreamd"), *command], capture_output=True, text=True, timeout=10, cwd=tmp_path,
                          env={**os.environ, "DREAMD_ISA": "sse9"})
    assert said.returncode == 2 and not list(tmp_path.iterdir())
    assert 'DREAMD_ISA is "sse9", allowed are plain and avx2' in said.stderr


# ---- a full disk ----


def small_disk(folder, size):
    """Words before a command that runs it with a tmpfs of that size at `folder`."""
    words = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c",
             f'mount -t tmpfs -o size={size} none "$0" && exec "$@"', folder]
    if subprocess.run([*words, "true"], capture_output=True).returncode != 0:
        pytest.skip("no user namespaces here: a small disk cannot be made")
    return words


@pytest.mark.parametrize("size", ["16k", "32k", "64k"])
def test_a_start_on_a_full_disk(tmp_path, size):
    data = tmp_path / "data"
    data.mkdir()
    code, said = serve(data=data, prefix=small_disk(data, size))
    assert code == 1 and "disk is full" in said and str(data) in said and "RESOURCE_EXHAUSTED" in said


def test_a_checkpoint_onto_a_full_disk(tmp_path, source):
    """The disk fills while a checkpoint comes in: it is refused, and what was there goes on."""
    data, big = tmp_path / "data", tmp_path / "big"
    data.mkdir()
    empty = tmp_path / "empty"
    empty.mkdir()
    checkpoints.copy(source, big)
    (big / "card.md").write_text("x" * 900_000)
    process = subprocess.Popen(
        [*small_disk(data, "1m"), BUILD / "dreamd", "serve", "--listen", "127.0.0.1:0", "--http-listen", "none",
         "--data", data, "--zoo", empty, "--endpoint-file", tmp_path / "endpoint"], stderr=subprocess.DEVNULL)
    try:
        while not (tmp_path / "endpoint").exists():
            assert process.poll() is None
            time.sleep(0.01)
        port = json.loads((tmp_path / "endpoint").read_text())["port"]
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            client = Client(channel)
            checkpoints.register(client, source)
            error = fails(CODE.RESOURCE_EXHAUSTED, lambda: checkpoints.register(client, big, name="big"),
                          "card.md", "disk is full")
            assert details(error, "ErrorInfo") is None or details(error, "ErrorInfo").reason
            listed = client.registry.ListModels(registry.ListModelsRequest()).models
            assert [m.name for m in listed] == ["tiny"]
            session = client.open().session_id
            client.step(session, [[0, 0]])
            checkpoints.register(client, source, name="small")  # there is room again
    finally:
        process.terminate()
        assert process.wait(timeout=20) == 0


def test_a_file_that_may_not_grow(tmp_path, source):
    daemon = Daemon(tmp_path, "--zoo", tmp_path)
    try:
        resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, (30_000, 30_000))
        with daemon.channel() as channel:
            client = Client(channel)
            fails(CODE.RESOURCE_EXHAUSTED, lambda: checkpoints.register(client, source), "cannot write")
            assert client.registry.GetServerInfo(registry.GetServerInfoRequest()).state == "SERVING"
    finally:
        daemon.stop()
