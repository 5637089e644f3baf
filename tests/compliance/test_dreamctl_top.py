"""dreamctl top: a live view of the daemon, for a terminal and for scripts."""

import http.server
import json
import os
import pty
import re
import signal
import subprocess
import threading
import time

import pytest

from conftest import BUILD
from dreamd_stubs import Client, make_zoo


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    return make_zoo(tmp_path_factory.mktemp("zoo"), tiny=1)


@pytest.fixture
def busy(start_daemon, zoo):
    """A daemon with a client that steps all the time."""
    daemon = start_daemon("--zoo", zoo)
    over = threading.Event()
    with daemon.channel() as channel:
        client = Client(channel)
        session = client.open(rows=16).session_id

        def work():
            while not over.is_set():
                client.step(session, [[0, 0]] * 16)

        thread = threading.Thread(target=work)
        thread.start()
        yield daemon
        over.set()
        thread.join()


def top(*words, **options):
    return subprocess.run([BUILD / "dreamctl", "top", *words], capture_output=True, text=True, timeout=120, **options)


def test_once_for_programs(busy):
    done = top("--address", busy.address, "--once", "--json")
    assert done.returncode == 0 and done.stderr == "" and done.stdout.count("\n") == 1
    said = json.loads(done.stdout)
    assert said["state"] == "SERVING" and said["sessions"] == 1 and said["session_rows"] == 16
    assert said["requests_per_s"] > 0 and said["rows_per_s"] > 0 and said["failed_per_s"] == 0
    assert said["memory_mbytes"] > 1 and said["seconds"] >= 1
    (step,) = [one for one in said["methods"] if one["method"] == "Simulation/Step"]
    assert 0 < step["p50_ms"] <= step["p99_ms"] and step["rows_per_s"] > step["per_s"]
    classes = {one["class"]: one for one in said["classes"]}
    assert set(classes) == {"interactive", "plan", "batch"}
    assert classes["interactive"]["batch_rows"] == 16 and classes["plan"]["queue_p99_ms"] is None
    (model,) = said["models"]
    assert model["model"] == "tiny" and re.fullmatch("[0-9a-f]{12}", model["checkpoint"]) and model["sessions"] == 1


def test_once_for_people(busy):
    done = top("--http", busy.http, "--once", "--interval", "0.3")
    assert done.returncode == 0 and "\033" not in done.stdout
    for word in ("SERVING", "requests/s", "Simulation/Step", "interactive", "tiny", "queue_p99_ms"):
        assert word in done.stdout
    assert "null" not in done.stdout


def test_tables_follow_each_other_until_ctrl_c(busy):
    process = subprocess.Popen([BUILD / "dreamctl", "top", "--http", busy.http, "--interval", "0.2"],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    tables = 0
    for line in process.stdout:
        assert "\033" not in line
        tables += "SERVING" in line
        if tables == 3:
            break
    process.send_signal(signal.SIGINT)
    rest, errors = process.communicate(timeout=60)
    assert process.returncode == 0 and errors == ""


def test_a_terminal_is_drawn_anew(busy):
    ours, theirs = pty.openpty()
    process = subprocess.Popen([BUILD / "dreamctl", "top", "--http", busy.http, "--interval", "0.2"],
                               stdout=theirs, stderr=subprocess.PIPE)
    os.close(theirs)
    said = b""
    while said.count(b"\033[H\033[J") < 3:
        said += os.read(ours, 4096)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 0
    os.close(ours)


def test_it_ends_when_its_reader_leaves(busy):
    command = f"{BUILD}/dreamctl top --http {busy.http} --interval 0.2 | head -1"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60)
    assert "SERVING" in done.stdout


def test_what_is_wrong_is_said(start_daemon):
    for words, said in ((["--interval", "0"], "--interval"), (["--interval", "soon"], "interval"), (["x"], "x"),
                        (["--http", "nonsense"], "HOST:PORT")):
        done = top(*words)
        assert done.returncode == 2 and said in done.stderr, words
    done = top("--once", "--http", "127.0.0.1:1")
    assert done.returncode == 1 and "127.0.0.1:1" in done.stderr
    done = top("--once", "--address", "127.0.0.1:1", "--json")
    assert done.returncode == 1 and json.loads(done.stdout)["error"]["code"] == "UNAVAILABLE"
    daemon = start_daemon("--http-listen", "none")
    done = top("--once", "--address", daemon.address)
    assert done.returncode == 1 and "--http-listen" in done.stderr
    done = top("--once", "--http", daemon.address)  # the gRPC port
    assert done.returncode == 1 and done.stderr


PAGES = {
    "nothing": b"", "no headers": b"hello", "404": b"HTTP/1.1 404 Not Found\r\n\r\n", "empty": b"HTTP/1.1 200 OK\r\n\r\n",
    "garbage": b"HTTP/1.1 200 OK\r\n\r\n" + bytes(range(256)) * 20,
    "open braces": b'HTTP/1.1 200 OK\r\n\r\nx{a="b\nx{\nx{a="\\"} 1\n{} 1\ndreamd_state{state="' + b"y" * 3000 + b'"} 1\n',
    "odd numbers": b'HTTP/1.1 200 OK\r\n\r\ndreamd_sessions NaN\nprocess_resident_memory_bytes +Inf\ndreamd_open_streams -1e400\n',
}


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES.keys())
def test_a_page_of_another_kind_does_no_harm(page):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):  # noqa: N802
            self.wfile.write(page)

        def log_message(self, *_):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        done = top("--once", "--interval", "0.1", "--json", "--http", f"127.0.0.1:{server.server_address[1]}")
        assert done.returncode in (0, 1) and json.loads(done.stdout)
        assert ("error" in json.loads(done.stdout)) == (done.returncode == 1)
    finally:
        server.shutdown()


def test_a_page_that_does_not_come_is_given_up(busy):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        done = top("--once", "--http", f"127.0.0.1:{silent.getsockname()[1]}", "--timeout", "0.5")
        assert done.returncode == 1 and "deadline" in done.stderr and time.monotonic() - began < 60
