"""dreamctl and the C library against a daemon made of the public grpcio (fake_daemon.py)."""

import http.server
import json
import os
import pty
import signal
import socket
import subprocess
import threading
import time

import grpc
import numpy as np
import pytest

import fake_daemon
from google.rpc import error_details_pb2

BUILD = os.environ.get("DREAMD_BUILD", "build")


@pytest.fixture
def daemon():
    server, address, simulation, registry = fake_daemon.start()
    simulation.address, simulation.registry = address, registry
    yield simulation
    server.stop(0).wait()


def ctl(address, *words, timeout=30, env=None):
    """(exit code, stdout, stderr)"""
    run = subprocess.run([f"{BUILD}/dreamctl", *words], capture_output=True, text=True, timeout=timeout,
                         env={**os.environ, "DREAMD_ADDRESS": address, **(env or {})})
    return run.returncode, run.stdout, run.stderr


def ok(daemon, *words):
    code, out, err = ctl(daemon.address, *words, "--json")
    assert code == 0, out + err
    return json.loads(out)


def fails(daemon, *words):
    code, out, err = ctl(daemon.address, *words, "--json")
    assert code == 1, out + err
    return json.loads(out)["error"]


def test_a_session_is_opened_stepped_and_closed(daemon):
    session = ok(daemon, "session", "open", "--model", "pendulum", "--rows", "2", "--seed", "0")
    assert session["rows"] == 2 and session["action_space"]["box"]["low"] == [-1]
    assert session["observation_space"]["box"]["high"] == [1, 1, "Infinity"]
    request = daemon.log[0]
    assert request.HasField("seed") and request.seed == 0
    step = ok(daemon, "step", "s0", "--action", "0.5,-0.25")
    assert step["tensors"] == {"reward": [0.5, -0.25]} and step["committed_step_id"] == 1
    step = ok(daemon, "step", "s0", "--action", "0.125")
    assert step["tensors"]["reward"] == [0.125, 0.125] and step["committed_step_id"] == 2
    assert ok(daemon, "session", "close", "s0") == {"closed": "s0"}
    assert daemon.closed == ["s0"]


def test_plan_settings_travel_by_name(daemon):
    ok(daemon, "session", "open", "--model", "pendulum")
    reply = ok(daemon, "plan", "s0", "--set", "horizon=7 warm_start=false preset=planet latent_mode=mode discount=0.5")
    sent = daemon.log[-1].settings
    assert sent.horizon == 7 and sent.HasField("warm_start") and not sent.warm_start
    assert sent.preset == "planet" and sent.latent_mode == 2 and sent.discount == 0.5
    assert not sent.HasField("candidates")
    assert reply["tensors"]["action"] == [[0.5]] and reply["stats"]["iterations"] == 3
    error = fails(daemon, "plan", "s0", "--set", "horizont=7")
    assert error["code"] == "INVALID_ARGUMENT" and "horizont" in error["message"] and "candidates" in error["message"]
    assert "whole number" in fails(daemon, "plan", "s0", "--set", "horizon=-1")["message"]


def test_details_of_an_error_arrive(daemon):
    ok(daemon, "session", "open", "--model", "pendulum")
    info = error_details_pb2.ErrorInfo(reason="STEP_ID_GAP", domain="dreamd", metadata={"committed_step_id": "41"})
    field = error_details_pb2.BadRequest(field_violations=[{"field": "step_id", "description": "x"}])
    daemon.fail_next = (grpc.StatusCode.ABORTED, 'gap: 100 % "ü"', [info, field, fake_daemon.retry_info(2)])
    error = fails(daemon, "step", "s0", "--action", "1")
    assert error == {"code": "ABORTED", "message": 'gap: 100 % "ü"', "reason": "STEP_ID_GAP", "field": "step_id",
                     "committed_step_id": 41, "retry_after_ms": 2000}


def test_unknown_model_and_method(daemon):
    assert fails(daemon, "session", "open", "--model", "x")["code"] == "NOT_FOUND"
    assert fails(daemon, "models", "show", "pendulum")["code"] == "UNIMPLEMENTED"


def test_a_slow_answer_meets_the_deadline(daemon):
    ok(daemon, "session", "open", "--model", "pendulum")
    daemon.delay_s = 3
    start = time.monotonic()
    error = fails(daemon, "step", "s0", "--action", "1", "--timeout", "0.3")
    assert error["code"] == "DEADLINE_EXCEEDED" and time.monotonic() - start < 2


def test_an_answer_of_megabytes_arrives_whole(daemon):
    ok(daemon, "session", "open", "--model", "pendulum")
    big = ok(daemon, "step", "s0", "--action", "1", "--outputs", "big")["tensors"]["big"]
    assert len(big) == 3_000_000 and big[2_999_999] == 2_999_999


def test_lists_are_read_over_all_pages(daemon):
    for _ in range(5):
        ok(daemon, "session", "open", "--model", "pendulum")
    assert [s["session_id"] for s in ok(daemon, "session", "list")] == ["s0", "s1", "s2", "s3", "s4"]
    code, out, _ = ctl(daemon.address, "session", "list")
    assert code == 0 and len(out.splitlines()) == 6 and out.startswith("session_id")
    models = ok(daemon, "models", "list")
    assert [(m["version"], m["aliases"]) for m in models] == [(2, "latest"), (1, "")]


def write_checkpoint(folder, bytes_of_weights):
    (folder / "manifest.json").write_text('{"format": 1}')
    weights = np.random.default_rng(0).bytes(bytes_of_weights)
    (folder / "weights.safetensors").write_bytes(weights)
    (folder / "card.md").write_text("# card")
    (folder / "secret.txt").write_text("stays here")
    return weights


def test_a_checkpoint_folder_is_sent_file_by_file(daemon, tmp_path):
    weights = write_checkpoint(tmp_path, 20_000_001)
    reply = ok(daemon, "models", "register", str(tmp_path), "--name", "mine", "--alias", "best")
    assert reply["created"] is True and reply["version"] == 4
    registry = daemon.registry
    assert registry.header.manifest_json == b'{"format": 1}' and registry.header.name == "mine"
    assert [(f.name, f.bytes) for f in registry.header.files] == [("weights.safetensors", 20_000_001), ("card.md", 6)]
    assert list(registry.header.aliases) == ["best"]
    assert registry.files == {"weights.safetensors": weights, "card.md": b"# card"}


def test_a_refused_checkpoint_says_why_before_all_is_sent(daemon, tmp_path):
    write_checkpoint(tmp_path, 30_000_000)
    daemon.registry.refuse_after = "header"
    error = fails(daemon, "models", "register", str(tmp_path))
    assert error["code"] == "INVALID_ARGUMENT" and "family" in error["message"]


def test_a_folder_without_weights_is_not_sent(daemon, tmp_path):
    (tmp_path / "manifest.json").write_text("{}")
    error = fails(daemon, "models", "register", str(tmp_path))
    assert "weights.safetensors" in error["message"] and daemon.registry.header is None


def test_the_agent_observes_plans_and_maps_actions(daemon):
    out = ok(daemon, "agent", "--model", "pendulum", "--env", "pendulum", "--episodes", "2", "--seed", "3")
    assert out["episodes"] == 2 and out["env_steps"] == 400 and len(out["returns"]) == 2
    assert out["settings"]["method"] == "cem" and out["checkpoint"] == fake_daemon.CHECKPOINT
    assert out["plan_ms_p50"] <= out["plan_ms_p99"] and out["min_return"] <= out["mean_return"] <= out["max_return"]
    observes = [r for r in daemon.log if type(r).__name__ == "ObserveRequest"]
    assert len(observes) == 400
    # The first Observe of an episode has no action; later ones carry the one that led there, in the model's units.
    assert fake_daemon.read(observes[0], "action") is None and fake_daemon.read(observes[200], "action") is None
    assert fake_daemon.read(observes[1], "action").tolist() == [[0.5]]
    # The model's [-1, 1] is the environment's [-2, 2]: torque 1 for 0.5.
    cos, sin, speed = fake_daemon.read(observes[0], "observation")[0].astype(float)
    assert fake_daemon.read(observes[1], "observation")[0][2] == pytest.approx(
        np.clip(speed + (15 * sin + 3 * 1.0) * 0.05, -8, 8), abs=1e-5)
    assert daemon.closed == ["s0"]
    code, text, _ = ctl(daemon.address, "agent", "--env", "pendulum", "--act", "random", "--episodes", "20", "--json")
    assert code == 0 and -1500 < json.loads(text)["mean_return"] < -900


def test_ctrl_c_closes_the_session(daemon):
    daemon.delay_s = 0.02
    run = subprocess.Popen([f"{BUILD}/dreamctl", "agent", "--model", "pendulum", "--env", "pendulum", "--episodes", "50"],
                           env={**os.environ, "DREAMD_ADDRESS": daemon.address}, stderr=subprocess.PIPE)
    while len(daemon.log) < 10:
        time.sleep(0.02)
    run.send_signal(signal.SIGINT)
    assert run.wait(10) == 1 and b"CANCELLED" in run.stderr.read()
    assert daemon.closed == ["s0"]


def test_a_terminal_sees_a_bar_and_a_pipe_does_not(daemon):
    master, slave = pty.openpty()
    words = [f"{BUILD}/dreamctl", "agent", "--env", "pendulum", "--act", "random", "--episodes", "3", "--json"]
    run = subprocess.run(words, stderr=slave, stdout=subprocess.PIPE, timeout=20)
    os.close(slave)
    assert run.returncode == 0 and json.loads(run.stdout)["episodes"] == 3
    assert b"playing [" in os.read(master, 65536)
    os.close(master)
    assert subprocess.run(words, capture_output=True, timeout=20).stderr == b""


def test_wrong_usage_is_exit_2_with_a_sentence():
    for words, part in [
        ([], "dreamctl models list"), (["fly"], "fly"), (["step"], "--model"), (["step", "s0"], "--action"),
        (["session", "open"], "--model"), (["session", "open", "--model", "m", "--rows", "x"], '"x"'),
        (["models", "alias", "a@b"], "VERSION"), (["agent", "--env", "x", "--model", "m"], "pendulum"),
        (["agent", "--env", "pendulum", "--model", "m", "--act", "x"], "actor"), (["plan"], "ID"),
        (["info", "--timeout", "-1"], "seconds"), (["info", "--jsn"], "--jsn"), (["models", "show"], "MODEL"),
    ]:
        code, out, err = ctl("127.0.0.1:1", *words)
        assert (code, out) == (2, "") and part in err, (words, err)


def test_wrong_usage_is_json_for_those_who_ask_for_it():
    for words in (["fly"], ["step"], ["models", "show"], ["info", "--jsn"], ["agent", "--env", "x", "--act", "random"]):
        code, out, err = ctl("127.0.0.1:1", *words, "--json")
        error = json.loads(out)["error"]
        assert (code, err) == (2, "") and (error["code"], error["reason"]) == ("INVALID_ARGUMENT", "USAGE")
        assert error["message"].startswith("dreamctl")


def test_its_version_is_the_daemons():
    code, out, _ = ctl("127.0.0.1:1", "--version")
    daemons = subprocess.run([f"{BUILD}/dreamd", "--version"], capture_output=True, text=True, check=True).stdout
    assert code == 0 and out.split()[1] == daemons.split()[1]


def test_help_is_exit_0_and_teaches_by_example():
    for words in (["--help"], ["models", "--help"], ["session", "--help"], ["step", "--help"], ["plan", "--help"],
                  ["agent", "--help"], ["info", "--help"]):
        code, out, err = ctl("127.0.0.1:1", *words)
        assert code == 0 and err == "" and f"dreamctl {words[0].strip('-') if len(words) > 1 else 'models'}" in out


def test_nobody_there_and_bad_addresses():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = "127.0.0.1:%d" % unused.getsockname()[1]
    code, out, err = ctl(address, "info")
    assert code == 1 and address in err and "dreamd serve" in err
    for address in ("127.0.0.1:0", "127.0.0.1:99999", "a:b", "::1:7733", "[::1"):
        code, out, err = ctl(address, "info")
        assert code == 1 and "HOST:PORT" in err, address


def test_a_port_that_speaks_http_1_is_recognised():
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    code, out, err = ctl("127.0.0.1:%d" % server.server_port, "info", "--timeout", "5")
    server.shutdown()
    assert code == 1 and "gRPC port" in err, err


def test_a_silent_port_meets_the_deadline():
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        code, out, err = ctl("127.0.0.1:%d" % silent.getsockname()[1], "info", "--timeout", "0.5", timeout=5)
    assert code == 1 and "DEADLINE_EXCEEDED" in err


def test_a_connection_cut_in_the_middle_is_unavailable():
    with socket.socket() as cutter:
        cutter.bind(("127.0.0.1", 0))
        cutter.listen()

        def cut():
            peer, _ = cutter.accept()
            peer.recv(100)
            peer.close()

        threading.Thread(target=cut, daemon=True).start()
        code, out, err = ctl("127.0.0.1:%d" % cutter.getsockname()[1], "info", "--timeout", "5")
    assert code == 1 and "UNAVAILABLE" in err and "lost" in err, err
