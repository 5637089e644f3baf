"""What PyTorch and Gymnasium say is computed again and compared with what is committed.

`make check` reads small golden files; here their makers run once more, so that a golden file can
neither rot nor be edited by hand.
"""

import json
import pathlib
import struct
import subprocess
import sys

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
GOLDEN = ROOT / "tests/golden"


def run(*command):
    result = subprocess.run([sys.executable, *map(str, command)], cwd=ROOT, capture_output=True, text=True, timeout=900)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def read(path):
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    kinds = {"F32": "<f4", "F64": "<f8", "I64": "<i8", "I32": "<i4", "U8": "u1"}
    header = json.loads(data[8:8 + length])
    return {name: np.frombuffer(data[8 + length:][slice(*entry["data_offsets"])], kinds[entry["dtype"]]).reshape(entry["shape"])
            for name, entry in header.items() if name != "__metadata__"}


def test_the_zoo_pendulum_is_what_pytorch_says(tmp_path):
    committed = GOLDEN / "rssm/zoo_pendulum.safetensors"
    again = tmp_path / "again.safetensors"
    run(GOLDEN / "rssm/make_golden.py", ROOT / "models/zoo/pendulum", again)
    old, new = read(committed), read(again)
    assert old.keys() == new.keys()
    for name in old:
        scale = max(1.0, float(np.abs(new[name]).max(initial=0)))
        assert np.abs(old[name] - new[name]).max(initial=0) <= 1e-5 * scale, name
    assert committed.stat().st_size <= 300_000


def test_the_curve_of_20_updates_is_what_pytorch_says():
    run(GOLDEN / "learner/make.py", "--check")


REFERENCES = sorted((ROOT / "tests/reference").glob("*.py"))


@pytest.mark.parametrize("script", [path for path in REFERENCES if path.stem != "common"], ids=lambda path: path.stem)
def test_a_reference_still_says_what_is_committed(script):
    run(script, "--check")
