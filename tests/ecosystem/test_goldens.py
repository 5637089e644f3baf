"""What PyTorch says in the other golden files is computed again by the scripts beside them."""

import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
REFERENCES = sorted(path for path in (ROOT / "tests/reference").glob("*.py") if path.stem != "common")
SCRIPTS = [ROOT / "tests/golden/learner/make.py", *REFERENCES]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_made_again_it_is_the_same(script):
    result = subprocess.run([sys.executable, str(script), "--check"], cwd=ROOT, capture_output=True, text=True, timeout=900)
    assert result.returncode == 0, result.stdout + result.stderr
