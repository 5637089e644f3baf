"""The Python package with what pip installs today, and with the oldest versions that it declares: its tests, in environments of
their own."""

import pathlib
import re
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
NEEDED = ["pytest", "pytest-timeout", "dm-env", "grpcio-status"]  # by the tests
TESTS = ["client", "mistakes", "aio", "envs", "given_up", "interact", "record"]


def oldest():
    """numpy>=1.26 becomes numpy==1.26."""
    listed = re.search(r"^dependencies = \[(.*?)^\]", (ROOT / "client/python/pyproject.toml").read_text(), re.S | re.M).group(1)
    return [line.replace(">=", "==") for line in re.findall(r'"(.+?)"', listed)]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("constraints", [[], oldest()], ids=["newest", "oldest"])
def test_the_package_s_tests_pass(tmp_path, constraints):
    shutil.copytree(ROOT / "client/python", tmp_path / "source", ignore=shutil.ignore_patterns("build", "*.egg-info"))
    (tmp_path / "constraints.txt").write_text("\n".join(constraints))
    python = tmp_path / "env/bin/python"
    for command in ([sys.executable, "-m", "venv", tmp_path / "env"],
                    [python, "-m", "pip", "install", "--quiet", "--constraint", tmp_path / "constraints.txt",
                     tmp_path / "source", *NEEDED],
                    [python, "-m", "pytest", "-q", "-p", "no:cacheprovider",
                     *(ROOT / f"tests/compliance/test_python_{name}.py" for name in TESTS)]):
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
