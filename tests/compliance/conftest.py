"""Starts a daemon on a free port for the tests of this folder.

$DREAMD_BUILD names the build folder (default: build).
"""

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import time

import grpc
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / os.environ.get("DREAMD_BUILD", "build")


class Daemon:
    """A running `dreamd serve`; `options` are further flags."""

    def __init__(self, folder, *options, program=BUILD / "dreamd"):
        self.folder = pathlib.Path(folder)
        self.endpoint = self.folder / "endpoint.json"
        self.log = open(self.folder / "log", "ab")
        command = [program, "serve", "--listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0",
                   "--endpoint-file", self.endpoint, "--data", self.folder / "data", *options]
        self.process = subprocess.Popen([str(part) for part in command], stderr=self.log)
        give_up = time.monotonic() + 60
        while not self.endpoint.exists():
            assert self.process.poll() is None, self.read_log()
            assert time.monotonic() < give_up, self.read_log()
            time.sleep(0.01)
        told = json.loads(self.endpoint.read_text())
        assert told["pid"] == self.process.pid
        self.host, self.port = told["host"], told["port"]
        self.address = f"{self.host}:{self.port}"
        self.http = f"{told['http_host']}:{told['http_port']}" if "http_port" in told else None

    def read_log(self):
        return (self.folder / "log").read_text(errors="replace")

    def channel(self, **options):
        return grpc.insecure_channel(
            self.address, options=[("grpc.use_local_subchannel_pool", 1), *options.items()])

    def stop(self):
        """Ends it as an operator would; what a sanitizer finds at the end is a failure."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout=60)
        self.log.close()
        assert code == 0, f"exit code {code}\n{self.read_log()}"


@contextlib.contextmanager
def running(folder, *options):
    """A daemon for the length of a block."""
    one = Daemon(folder, *options)
    try:
        yield one
    finally:
        one.stop()


@pytest.fixture(scope="session")
def daemon(tmp_path_factory):
    one = Daemon(tmp_path_factory.mktemp("dreamd"))
    yield one
    one.stop()


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    """What `served` serves; a file that asks for more has a `zoo` of its own."""
    from dreamd_stubs import make_zoo  # which wants BUILD from here

    return make_zoo(tmp_path_factory.mktemp("zoo"), tiny=7)


@pytest.fixture(scope="module")
def served(tmp_path_factory, zoo):
    """A daemon for the tests of one file."""
    with running(tmp_path_factory.mktemp("served"), "--zoo", zoo) as one:
        yield one


@pytest.fixture
def client(served):
    from dreamd_stubs import Client

    with served.channel() as channel:
        yield Client(channel)


@pytest.fixture
def start_daemon(tmp_path):
    """A daemon of a test's own: start_daemon("--message-max", "1MiB")."""
    started = []

    def start(*options, **named):
        folder = tmp_path / f"daemon-{len(started)}"
        folder.mkdir()
        started.append(Daemon(folder, *options, **named))
        return started[-1]

    yield start
    for one in started:
        one.stop()


@pytest.fixture
def channel(daemon):
    with daemon.channel() as open_channel:
        yield open_channel
