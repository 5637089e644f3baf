"""Writes a checkpoint folder: manifest.json, weights.safetensors, probe.safetensors, card.md."""

import hashlib
import json
import os
import pathlib
import shutil
import struct
import tempfile

import numpy as np

from . import ImportFailure


def safetensors_bytes(tensors):
    """The file of float32 tensors: header (a multiple of 64 bytes with its length), then data in the header's order."""
    header, offset = {}, 0
    for name in sorted(tensors):
        size = tensors[name].size * 4
        header[name] = {"dtype": "F32", "shape": list(tensors[name].shape), "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(len(text) + 8) % 64)
    data = b"".join(np.ascontiguousarray(tensors[name], "<f4").tobytes() for name in sorted(tensors))
    return struct.pack("<Q", len(text)) + text + data


def digest(path):
    sha256 = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            sha256.update(block)
    return sha256.hexdigest()


def check_finite(tensors):
    for name, tensor in tensors.items():
        if not np.isfinite(tensor).all():
            raise ImportFailure(f"{name} holds NaN or infinite numbers, expected finite ones")


def write(folder, manifest, weights, probe, card):
    """All files or nothing: a folder beside the final one is filled, then renamed."""
    folder = pathlib.Path(folder)
    if folder.exists():
        raise ImportFailure(f"{folder}: exists already; expected a new folder")
    check_finite(weights)
    files = {
        "manifest.json": (json.dumps(manifest, indent=2) + "\n").encode(),
        "weights.safetensors": safetensors_bytes(weights),
        "probe.safetensors": safetensors_bytes(probe),
        "card.md": card.encode(),
    }
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent)
        try:
            for name, data in files.items():
                with open(os.path.join(partial, name), "xb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
            os.chmod(partial, 0o755)
            os.rename(partial, folder)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
    except OSError as error:
        raise ImportFailure(f"{folder}: cannot be written: {error.strerror or error}") from None
