"""Checkpoint folders as one does not write them: safetensors by hand, and RegisterCheckpoint."""

import json
import pathlib
import shutil
import struct

import numpy as np

from dreamd_stubs import registry


def read_safetensors(path):
    """(header, data) as they are in the file."""
    content = pathlib.Path(path).read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8:8 + length]), content[8 + length:]


def write_safetensors(path, header, data):
    """`header` may be text, for headers that no JSON library writes."""
    text = header if isinstance(header, str) else json.dumps(header)
    text += " " * (-len(text) % 8)
    pathlib.Path(path).write_bytes(struct.pack("<Q", len(text)) + text.encode() + data)


def copy(source, folder, manifest=None, weights=None, probe=True):
    """A copy of a checkpoint folder. manifest(dict) changes it in place; weights(header, data)
    gives another pair."""
    shutil.copytree(source, folder)
    if not probe:
        (folder / "probe.safetensors").unlink()
    if manifest:
        file = folder / "manifest.json"
        content = json.loads(file.read_text())
        manifest(content)
        file.write_text(json.dumps(content))
    if weights:
        file = folder / "weights.safetensors"
        write_safetensors(file, *weights(*read_safetensors(file)))
    return folder


def register(client, folder, **header):
    """Sends a folder as it is."""
    files = sorted(f for f in folder.iterdir() if f.name != "manifest.json")
    messages = [registry.RegisterCheckpointRequest(header=registry.RegisterHeader(
        manifest_json=(folder / "manifest.json").read_bytes(),
        files=[registry.CheckpointFile(name=f.name, bytes=f.stat().st_size) for f in files],
        **header))]
    for file in files:
        content = file.read_bytes()
        for first in range(0, len(content), 1 << 20):
            messages.append(registry.RegisterCheckpointRequest(chunk=registry.RegisterChunk(
                name=file.name, bytes=content[first:first + (1 << 20)])))
    messages.append(registry.RegisterCheckpointRequest(finish=registry.RegisterFinish()))
    return client.registry.RegisterCheckpoint(iter(messages))


def write_starts(folder, **tensors):
    """starts.safetensors of float32 arrays; `observation__state` is the tensor observation.state."""
    header, data = {}, b""
    for name, array in tensors.items():
        raw = np.asarray(array, "<f4").tobytes()
        header[name.replace("__", ".")] = {"dtype": "F32", "shape": list(np.shape(array)),
                                           "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    write_safetensors(folder / "starts.safetensors", header, data)
