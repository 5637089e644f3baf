"""The C library (tests/tools/client_script.c) against a daemon made of the public grpcio."""

import os
import subprocess
import time

import grpc
import pytest

import fake_daemon

BUILD = os.environ.get("DREAMD_BUILD", "build")


class Script:
    """client_script behind a pipe: one command, one line of answer."""

    def __init__(self, address, timeout_ms=2000):
        self.process = subprocess.Popen([f"{BUILD}/tests/client_script", address, str(timeout_ms)], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __call__(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def end(self):
        self.process.stdin.close()
        assert self.process.wait(10) == 0  # a leak would be an exit code of its own


@pytest.fixture
def daemon():
    server, address, simulation, _ = fake_daemon.start()
    simulation.server, simulation.address = server, address
    yield simulation
    simulation.server.stop(0).wait()


@pytest.fixture
def script(daemon):
    script = Script(daemon.address)
    yield script
    script.end()


def test_health_names_what_does_not_serve(script):
    assert script("health") == "OK"
    assert script("health model/pendulum").startswith("UNAVAILABLE")
    assert script("health nothing").startswith("NOT_FOUND")


def test_a_session_through_its_life(daemon, script):
    assert script("open pendulum 2") == "OK s0 rows=2 committed=0 observation=3 action=1"
    assert script("observe 1 0 0 1 0 0") == "OK s0 rows=2 committed=1 observation=3 action=1"
    assert script("step 0.5 -1") == "OK 0.5 -1 s0 rows=2 committed=2 observation=3 action=1"
    assert script("plan horizon=5") == "OK 0.5 0.5 s0 rows=2 committed=2 observation=3 action=1"
    assert daemon.log[-1].settings.horizon == 5
    assert script("act").startswith("UNIMPLEMENTED") and script("decode").startswith("UNIMPLEMENTED")
    assert script("close") == "OK" and daemon.closed == ["s0"]
    assert script("attach s0").startswith("NOT_FOUND")


def test_a_step_whose_answer_was_lost_is_done_once(daemon):
    script = Script(daemon.address, timeout_ms=300)
    script("open pendulum 1")
    daemon.delay_after_commit_s = 0.6
    assert script("step 0.5").startswith("DEADLINE_EXCEEDED")
    assert daemon.sessions["s0"].committed_step_id == 1
    assert script("step 0.5") == "OK 0.5 s0 rows=1 committed=1 observation=3 action=1"
    assert [r.step_id for r in daemon.log if hasattr(r, "step_id")] == [1, 1]
    assert script("step 0.25") == "OK 0.25 s0 rows=1 committed=2 observation=3 action=1"
    script.end()


def test_refresh_forgets_a_step_whose_answer_was_lost(daemon):
    script = Script(daemon.address, timeout_ms=300)
    script("open pendulum 1")
    daemon.delay_after_commit_s = 0.6
    assert script("step 0.5").startswith("DEADLINE_EXCEEDED")
    assert script("step 0.75").startswith("ABORTED")  # another request under the same id
    assert script("refresh").startswith("OK s0 rows=1 committed=1")
    assert script("step 0.75") == "OK 0.75 s0 rows=1 committed=2 observation=3 action=1"
    script.end()


def test_a_daemon_that_comes_back_is_found_again(daemon, script):
    script("open pendulum 1")
    assert script("step 1").startswith("OK")
    daemon.server.stop(0).wait()
    assert script("step 1").startswith("UNAVAILABLE")
    for _ in range(50):  # the port may be held for a moment
        try:
            daemon.server, *_ = fake_daemon.start(daemon.address, daemon)
            break
        except RuntimeError:
            time.sleep(0.1)
    assert script("step 1") == "OK 1 s0 rows=1 committed=2 observation=3 action=1"


def test_a_thousand_calls_share_one_connection(daemon, script):
    script("open pendulum 1")
    for i in range(1, 1001):
        assert f"committed={i} " in script("step 0.5")


def test_trajectories_come_chunk_by_chunk(daemon, script):
    assert script("open pendulum 2").startswith("OK")
    assert script("imagine 3") == "0 0  1 1  2 2 last OK s0 rows=2 committed=0 observation=3 action=1"
    assert script("next").startswith("FAILED_PRECONDITION nothing is imagined")
    daemon.fail_next = (grpc.StatusCode.RESOURCE_EXHAUSTED, "full", [])
    assert script("imagine 3") == "RESOURCE_EXHAUSTED full"


def test_the_deadline_is_a_chunks_not_the_streams(daemon):
    script = Script(daemon.address, timeout_ms=1000)
    script("open pendulum 1")
    daemon.delay_s = 0.3
    assert script("imagine 6").startswith("0  1  2  3  4  5 last OK")
    daemon.delay_s = 3
    assert script("imagine 6").startswith("DEADLINE_EXCEEDED")
    daemon.delay_s = 0
    script.end()


def test_another_call_ends_what_is_imagined(daemon, script):
    script("open pendulum 1")
    daemon.delay_s = 0.01
    assert script("next 100000").startswith("OK 0 s0")
    assert script("next").startswith("OK 1 s0")
    assert script("refresh").startswith("OK s0")
    assert script("next").startswith("FAILED_PRECONDITION")
    give_up, sent = time.monotonic() + 60, -1
    while sent != daemon.chunks_sent:
        assert time.monotonic() < give_up, "the daemon was not told"
        sent = daemon.chunks_sent
        time.sleep(0.5)
    assert script("next 2").startswith("OK 0 s0") and script("close") == "OK"
