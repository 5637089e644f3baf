"""The fast ones of client/python/examples, as they stand there, against a live daemon."""

import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "client/python/examples"


def run(daemon, script, *arguments):
    env = {**os.environ, "PYTHONPATH": str(ROOT / "client/python/src"), "DREAMD_ADDRESS": daemon.address, "PYTHONWARNINGS": "ignore"}
    done = subprocess.run([sys.executable, EXAMPLES / script, *arguments], env=env, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_mpc_counts_plans_that_come_too_late(daemon):
    line = r"return -?[\d.]+, (\d+) plans, (\d+) late"
    plans, late = map(int, re.search(line, run(daemon, "mpc/mpc.py", "--hertz", "20", "--candidates", "16")).groups())
    assert plans == 200 and 0 <= late <= 200
    # A plan of a minute fits into no tick: all are late, and the episode ends all the same.
    plans, late = map(int, re.search(line, run(daemon, "mpc/mpc.py", "--hertz", "200", "--candidates", "60000")).groups())
    assert plans == late == 200


def test_two_hundred_agents_share_one_loop_and_one_daemon(daemon):
    out = run(daemon, "fleet/fleet.py", "--agents", "200", "--steps", "1")
    assert out.startswith("200 agents, 200 decisions in ")


def test_every_example_has_help_and_is_listed():
    listed = (EXAMPLES / "README.md").read_text()
    scripts = sorted(EXAMPLES.glob("*/*.py"))
    assert len(scripts) >= 4
    for script in scripts:
        assert str(script.relative_to(EXAMPLES)) in listed
