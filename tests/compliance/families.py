"""What tests of imported checkpoints share: golden files, importing as a user does, a daemon that serves the result."""

import json
import os
import pathlib
import struct
import subprocess
import sys

import numpy as np
import pytest

from conftest import BUILD, ROOT

TYPES = {"F32": "<f4", "F64": "<f8", "I64": "<i8", "I32": "<i4", "U8": "u1", "BOOL": "?"}


def fixture_folder(name):
    folder = pathlib.Path(os.environ.get("DREAMD_FIXTURES", ROOT / "../shared/fixtures")) / name
    if not folder.is_dir():
        pytest.skip(f"{name}: not below DREAMD_FIXTURES")
    return folder


def read_golden(path):
    data = path.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + length])
    header.pop("__metadata__", None)
    return {name: np.frombuffer(data, TYPES[entry["dtype"]], int(np.prod(entry["shape"])), 8 + length + entry["data_offsets"][0])
            .reshape(entry["shape"]) for name, entry in header.items()}


def import_checkpoint(out, *words):
    command = [sys.executable, ROOT / "client/python/dreamd-import", *words, "--out", out]
    result = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return out


def register(daemon, folder):
    """With dreamctl, as a user does."""
    command = [BUILD / "dreamctl", "models", "register", folder, "--address", daemon.address]
    result = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


def close(name, found, wanted):
    """The numerics contract for one tensor."""
    found, wanted = np.asarray(found, "f8"), np.asarray(wanted, "f8")
    assert found.shape == wanted.shape, (name, found.shape, wanted.shape)
    error, scale = np.abs(found - wanted), max(1.0, np.abs(wanted).max())
    assert error.max() <= 1e-4 * scale, f"{name}: {error.max():.3g} at {np.unravel_index(error.argmax(), error.shape)}, scale {scale:.3g}"
