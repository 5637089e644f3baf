"""The Go client of client/recipes/go, built from Debian's packages, against a live daemon."""

import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/compliance"))

from conftest import Daemon  # noqa: E402


def test_the_go_client_steps_two_rows_and_hears_errors(tmp_path):
    program = tmp_path / "dream"
    subprocess.run([ROOT / "client/recipes/go/build.sh", program], check=True, timeout=600)
    (tmp_path / "daemon").mkdir()
    daemon = Daemon(tmp_path / "daemon")
    try:
        done = subprocess.run([program, daemon.address], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        rows = re.findall(r"^(\d+) \[(-?\S+) (-?\S+)\]$", done.stdout, re.M)
        assert [int(row[0]) for row in rows] == list(range(1, 11))
        again = subprocess.run([program, daemon.address], capture_output=True, text=True, timeout=60)
        assert again.stdout == done.stdout  # the seed decides
        usage = subprocess.run([program], capture_output=True, text=True, timeout=60)
        assert usage.returncode == 2 and "usage" in usage.stderr
    finally:
        daemon.stop()
    gone = subprocess.run([program, daemon.address], capture_output=True, text=True, timeout=60, env=dict(os.environ))
    assert gone.returncode == 1 and "Unavailable" in gone.stderr
