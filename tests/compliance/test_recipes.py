"""The recipes of client/recipes, as they stand there, against a live daemon."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
RECIPES = ROOT / "client/recipes"
BUILD = (ROOT / os.environ.get("DREAMD_BUILD", "build")).resolve()


def run(*command, **env):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=120,
                          env={**os.environ, **env})
    return done.returncode, done.stdout, done.stderr


def rewards(text):
    """Rows of `step [reward reward]`."""
    rows = re.findall(r"^(\d+) \[\s*(\S+)\s+(\S+?)\s*\]$", text, re.M)
    return [(int(step), float(first), float(second)) for step, first, second in rows]


def test_grpcio_with_reflection_alone_lists_the_services_and_steps(daemon):
    code, out, err = run(sys.executable, RECIPES / "reflection.py", daemon.address)
    assert code == 0, err
    assert "dreamd.v1.Simulation" in out and "grpc.health.v1.Health" in out
    rows = rewards(out)
    assert [row[0] for row in rows] == list(range(1, 11))
    assert all(first != second for _, first, second in rows)


def test_the_asyncio_client_runs_ten_agents_at_once(daemon):
    command = sys.executable, RECIPES / "asyncio_client.py", daemon.address
    code, out, err = run(*command, PYTHONPATH=str(ROOT / "client/python/src"))
    assert code == 0, err
    assert len(re.findall(r"^agent \d: -\d+\.\d\d$", out, re.M)) == 10
    assert run(*command, PYTHONPATH=str(ROOT / "client/python/src"))[1] == out  # seeds decide, not company


def test_the_public_client_of_dm_env_rpc_plays_episodes(daemon):
    code, out, err = run(sys.executable, RECIPES / "dm_env_rpc_client.py", daemon.address)
    assert code == 0, err
    assert "DiscreteArray" in out
    episodes = re.findall(r"^episode (\d): (\d+) steps, return (\d+\.\d), the pole is at ([+-]\d\.\d\d) rad$", out, re.M)
    assert [row[0] for row in episodes] == ["1", "2", "3"]
    assert all(1 < int(steps) < 500 and abs(float(total) - int(steps)) < int(steps) / 5 for _, steps, total, _ in episodes)


def test_curl_makes_a_raw_call(daemon):
    code, out, err = run(RECIPES / "curl.sh", daemon.address)
    assert code == 0, err
    assert "grpc-status: 0" in out
    assert 'model: "pendulum@1"' in out and "rows: 2" in out


def test_curl_says_what_the_trailers_say(daemon, tmp_path):
    there = tmp_path / "client/recipes"
    there.mkdir(parents=True)
    (tmp_path / "proto").symlink_to(ROOT / "proto")
    (there / "curl.sh").write_text((RECIPES / "curl.sh").read_text().replace("pendulum", "nothing"))
    code, out, _ = run("sh", there / "curl.sh", daemon.address)
    assert code == 1 and "grpc-status: 5" in out and "grpc-message: " in out


@pytest.mark.skipif(bool(os.environ.get("DREAMD_SANITIZER")), reason="links as a user does, without a sanitizer")
def test_the_c_library_plans_in_five_lines(daemon, tmp_path):
    program = tmp_path / "five_lines"
    subprocess.run(["cc", "-Wall", "-Wextra", "-Werror", f"-I{ROOT}/client/c", RECIPES / "five_lines.c", f"-L{BUILD}", "-ldreamd",
                    "-lnghttp2", "-lprotobuf-c", "-o", program], check=True)
    code, out, err = run(program, daemon.address)
    assert code == 0, err
    assert -2 <= float(out.removeprefix("torque ")) <= 2
    code, _, err = run(program, "127.0.0.1:1")
    assert code == 1 and "UNAVAILABLE" in err
