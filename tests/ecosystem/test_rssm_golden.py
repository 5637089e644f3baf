"""The golden tensors of the rssm family are what PyTorch computes today, not what it once did."""

import json
import pathlib
import struct
import subprocess
import sys

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
GOLDEN = ROOT / "tests/golden/rssm"
NAMES = sorted(path.stem for path in GOLDEN.glob("*.safetensors"))


def load(path):
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + length])
    return {name: np.frombuffer(data, "<f4", offset=8 + length + entry["data_offsets"][0],
                                count=int(np.prod(entry["shape"]))).reshape(entry["shape"])
            for name, entry in header.items() if name != "__metadata__"}


@pytest.mark.parametrize("name", NAMES)
def test_made_again_it_is_the_same(name, tmp_path):
    folder = GOLDEN / name if (GOLDEN / name).is_dir() else ROOT / "models/zoo" / name
    subprocess.run([sys.executable, GOLDEN / "make_golden.py", folder, tmp_path / "again.safetensors"], check=True)
    committed, again = load(GOLDEN / f"{name}.safetensors"), load(tmp_path / "again.safetensors")
    assert committed.keys() == again.keys()
    for tensor, values in committed.items():
        scale = max(1.0, np.abs(values).max())
        assert np.abs(again[tensor] - values).max() <= 1e-5 * scale, tensor


def test_there_is_something_to_make():
    assert "tiny" in NAMES
