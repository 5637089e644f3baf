"""A short torture (tests/torture): what `make torture` does at length; and what it once found."""

import os
import pathlib
import socket
import subprocess
import sys

import grpc
import pytest

from conftest import BUILD
from dreamd_stubs import Client, make_zoo, registry

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/torture"))

from daemon import Daemon  # noqa: E402


@pytest.fixture
def fragile(tmp_path):
    """A daemon whose memory and disk can be made to fail."""
    one = Daemon(BUILD, tmp_path, make_zoo(tmp_path / "zoo", tiny=1), "--http-listen", "127.0.0.1:0")
    one.start()
    yield one
    assert one.stop() == 0


def test_five_thousand_operations_break_nothing():
    sanitizer = os.environ.get("DREAMD_SANITIZER", "")
    command = [sys.executable, ROOT / "tests/torture/torture.py", "--build", BUILD, "--ops", "5000", "--seed", "1"]
    done = subprocess.run([*command, "--sanitizer", sanitizer], capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert "nothing broke" in done.stdout


def test_a_connection_without_memory_is_closed_and_the_next_ones_are_served(fragile):
    """libuv stops accepting where a connection is left waiting: nobody was served ever after."""
    for _ in range(3):
        assert fragile.tell("memory 1") == "done"
        with socket.create_connection(("127.0.0.1", fragile.port), timeout=30) as peer:
            assert peer.recv(1) == b""
    with grpc.insecure_channel(fragile.address) as channel:
        assert Client(channel).registry.ListModels(registry.ListModelsRequest(), timeout=30).models


def test_whichever_allocation_of_a_call_fails_the_client_may_try_again(fragile):
    """A stream without memory was reset as an internal error."""
    failed = 0
    for nth in range(1, 40):
        with grpc.insecure_channel(fragile.address, options=[("grpc.enable_retries", 0)]) as channel:
            client = Client(channel)
            client.registry.ListModels(registry.ListModelsRequest(), timeout=30)  # connected
            fragile.tell(f"memory {nth}")
            try:
                client.registry.GetServerInfo(registry.GetServerInfoRequest(), timeout=30)
            except grpc.RpcError as error:
                failed += 1
                assert error.code() in (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE), error
        fragile.tell("memory 0")
    assert failed > 0
