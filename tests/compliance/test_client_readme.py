"""The examples of client/README.md, as they stand there, against a daemon made of the public grpcio."""

import os
import pathlib
import re
import subprocess

import numpy as np
import pytest

import fake_daemon
import dreamd

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = (ROOT / os.environ.get("DREAMD_BUILD", "build")).resolve()


@pytest.fixture
def daemon():
    server, address, simulation, _ = fake_daemon.start()
    simulation.address = address
    yield simulation
    server.stop(0).wait()


def example(language, daemon):
    text = re.search(rf"```{language}\n(.*?)```", (ROOT / "client/README.md").read_text(), re.S).group(1)
    assert text.count("127.0.0.1:7733") <= 1
    return text.replace("127.0.0.1:7733", daemon.address)


def was_driven(daemon):
    kinds = [type(request).__name__ for request in daemon.log if type(request).__name__ != "CloseSessionRequest"]
    assert kinds == ["OpenSessionRequest", "ObserveRequest", "PlanRequest"]


def test_the_python_example_runs(daemon):
    names = dict(dreamd=dreamd, observation=np.array([1, 0, 0], np.float32))
    exec(example("python", daemon), names)
    assert names["action"].tolist() == [[0.5]]
    was_driven(daemon)


@pytest.mark.skipif(bool(os.environ.get("DREAMD_SANITIZER")), reason="links as a user does, without a sanitizer")
def test_the_c_example_builds_with_libc_alone_in_its_header_and_runs(daemon, tmp_path):
    program = f"""
#include <stdio.h>
#include "dreamd.h"
int main(void)
{{
    float observation[3] = {{1, 0, 0}}, *previous_action = NULL;
    {example("c", daemon)}
    printf("%g\\n", (double)dreamd_floats(session, "action", NULL)[0]);
    dreamd_session_close(session, NULL);
    dreamd_disconnect(client);
    return 0;
}}
"""
    source = tmp_path / "example.c"
    source.write_text(program)
    subprocess.run(["cc", "-Wall", "-Werror", f"-I{ROOT}/client/c", str(source), f"-L{BUILD}", "-ldreamd", "-lnghttp2",
                    "-lprotobuf-c", "-o", str(tmp_path / "example")], check=True)
    assert subprocess.run([tmp_path / "example"], check=True, capture_output=True, text=True).stdout == "0.5\n"
    was_driven(daemon)


def test_the_shell_example_runs(daemon):
    script = "set -e\n" + example("sh", daemon)
    env = {**os.environ, "DREAMD_ADDRESS": daemon.address, "PATH": f"{BUILD}:{os.environ['PATH']}"}
    done = subprocess.run(["sh", "-c", script], env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "mean_return" in done.stdout and "pendulum" in done.stdout
