"""Agents that learn wholly inside the hosted pendulum, then run in the real one."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "client/python/examples"
sys.path.insert(0, str(ROOT / "tests/compliance"))

from conftest import Daemon  # noqa: E402


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    one = Daemon(tmp_path_factory.mktemp("examples"))
    yield one
    one.stop()


@pytest.mark.timeout(1500)
@pytest.mark.parametrize("script, arguments", [
    ("ppo_in_a_dream/train.py", ["--seeds", "0"]),
    ("cleanrl_in_a_dream/ppo_continuous.py", ["--seed", "1"]),
])
def test_what_was_learned_in_the_dream_holds_in_the_real_pendulum(daemon, script, arguments):
    env = {**os.environ, "PYTHONPATH": str(ROOT / "client/python/src"), "DREAMD_ADDRESS": daemon.address, "PYTHONWARNINGS": "ignore"}
    done = subprocess.run([sys.executable, EXAMPLES / script, *arguments], env=env, capture_output=True, text=True, timeout=1400)
    assert done.returncode == 0, done.stderr
    returned = float(re.search(r"mean_return (-?[\d.]+)", done.stdout).group(1))
    assert returned >= -400, done.stdout  # at random about -1,200
