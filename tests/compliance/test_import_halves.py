"""Parameters of 16 bits in files of torch.save: every such number is a float32, so they are widened."""

import subprocess
import zipfile

import numpy as np
import pytest

import test_import_tdmpc2 as tdmpc2
from test_import import MODEL_OPEN, agent_tensors, run

STORAGES = {"Half": lambda tensor: tensor.astype("<f2"), "BFloat16": lambda tensor: (np.asarray(tensor)[None].view("<u4") >> 16).astype("<u2")[0]}


def widened(kind, tensor):
    """What torch's .float() gives; integers stay."""
    if tensor.dtype.kind != "f":
        return tensor
    narrow = STORAGES[kind](tensor)
    if kind == "Half":
        return narrow.astype("<f4")
    return np.frombuffer(b"".join(b"\0\0" + value.tobytes() for value in narrow.reshape(-1)), "<f4").reshape(tensor.shape)


def narrow_file(source, target, kind, tensors):
    """The same file with the floating-point storages of another type."""
    numbers = {str(i): tensor.dtype for i, tensor in enumerate(tensors.values())}
    with zipfile.ZipFile(source) as before, zipfile.ZipFile(target, "w") as after:
        for name in before.namelist():
            data = before.read(name)
            if name.endswith("data.pkl"):
                data = data.replace(b"ctorch\nFloatStorage\n", b"ctorch\n%sStorage\n" % kind.encode())
            elif numbers.get(name.rsplit("/", 1)[-1]) == np.float32:
                data = STORAGES[kind](np.frombuffer(data, "<f4")).tobytes()
            after.writestr(name, data)


def imported(folder, result):
    assert result.returncode == 0, result.stderr
    opened = subprocess.run([MODEL_OPEN, folder], capture_output=True, text=True)
    assert opened.returncode == 0, opened.stderr
    return (folder / "weights.safetensors").read_bytes()


@pytest.mark.parametrize("kind", STORAGES)
def test_the_parameters_of_dreamerv3_torch(tmp_path, kind):
    tensors = agent_tensors()
    wide = imported(tmp_path / "wide", run(tmp_path, {name: widened(kind, tensor) for name, tensor in tensors.items()}, out="wide"))
    (tmp_path / "latest.pt").rename(tmp_path / "wide.pt")
    narrow_file(tmp_path / "wide.pt", tmp_path / "latest.pt", kind, tensors)
    assert imported(tmp_path / "out", run(tmp_path)) == wide


@pytest.mark.parametrize("kind", STORAGES)
def test_the_parameters_of_tdmpc2(tmp_path, kind):
    tensors = {name: widened(kind, tensor) for name, tensor in tdmpc2.make.published(tdmpc2.make.CONFIGS["state"]).items()}
    wide = imported(tmp_path / "wide", tdmpc2.run(tmp_path, tensors, out="wide"))
    (tmp_path / "final.pt").rename(tmp_path / "wide.pt")
    narrow_file(tmp_path / "wide.pt", tmp_path / "final.pt", kind, tensors)
    assert imported(tmp_path / "out", tdmpc2.run(tmp_path)) == wide


def test_a_storage_of_half_the_bytes(tmp_path):
    run(tmp_path, agent_tensors(), out="wide")
    (tmp_path / "latest.pt").rename(tmp_path / "wide.pt")
    with zipfile.ZipFile(tmp_path / "wide.pt") as before, zipfile.ZipFile(tmp_path / "latest.pt", "w") as after:
        for name in before.namelist():
            after.writestr(name, before.read(name).replace(b"ctorch\nFloatStorage\n", b"ctorch\nBFloat16Storage\n"))
    result = run(tmp_path)
    assert result.returncode == 1 and "x 2" in result.stderr and not (tmp_path / "out").exists()
