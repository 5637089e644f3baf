"""Files that mean harm, for every importer that reads them: refused in a sentence, exit 1, nothing written, nothing obeyed."""

import json
import os
import pickle
import resource
import struct
import subprocess
import sys
import warnings
import zipfile

import numpy as np
import pytest

from conftest import ROOT
from test_import import CONFIG, agent_tensors, write_torch

MEMORY_MAX = 3 << 30  # of the command, so that a bomb is a failure and no swapping


class Call:
    """What a pickle asks to be called."""

    def __init__(self, function, *arguments):
        self.parts = function, arguments

    def __reduce__(self):
        return self.parts


def text(value):
    return b"X" + struct.pack("<I", len(value)) + value.encode()


HEAD = b"\x80\x04"
PICKLES = {
    "os.system": lambda marker: pickle.dumps({"params": Call(os.system, f"touch {marker}")}),
    "eval": lambda marker: pickle.dumps({"params": Call(eval, f"open({str(marker)!r}, 'w')")}),
    "getattr": lambda marker: HEAD + b"cbuiltins\ngetattr\n(cos\nsystem\n" + text("__call__") + b"tR(" + text(f"touch {marker}") + b"tR.",
    "stack global": lambda marker: HEAD + text("os") + text("system") + b"\x93" + text(f"touch {marker}") + b"\x85R.",
    "instance": lambda marker: HEAD + b"(" + text(f"touch {marker}") + b"ios\nsystem\n.",
    "object": lambda marker: HEAD + b"(cos\nsystem\n" + text(f"touch {marker}") + b"o.",
    "extension": lambda marker: HEAD + b"\x82\x01)R.",
    "names inside a name": lambda marker: HEAD + text("numpy") + text("ndarray.__class__.__base__") + b"\x93)R.",
    "a module that numpy has": lambda marker: HEAD + b"cnumpy.f2py.diagnose\nrun\n)R.",
    "a state for a dtype": lambda marker: HEAD + b"cnumpy\ndtype\n(" + text("O8") + b"tR}" + text("__class__") + b"Nsb.",
    "deep lists": lambda marker: HEAD + b"]" * 400_000 + b"a" * 399_999 + b".",
    "deep tuples as a key": lambda marker: HEAD + b"}" + b")" + b"\x85" * 400_000 + b"Ns.",
    "deep persistent id": lambda marker: HEAD + b")" + b"\x85" * 400_000 + b"Q.",
    "huge memo": lambda marker: HEAD + b"]r\xff\xff\xff\x7f.",
    "huge string": lambda marker: HEAD + b"\x8d" + struct.pack("<Q", 1 << 62) + b"x.",
    "huge number": lambda marker: HEAD + b"\x8b" + struct.pack("<i", 1 << 20) + b"\x7f" * (1 << 20) + b".",
    "huge frame": lambda marker: HEAD + b"\x95" + struct.pack("<Q", 1 << 62) + b"}.",
    "too many opcodes": lambda marker: HEAD + b"N0" * 3_000_000 + b"N.",
    "itself": lambda marker: HEAD + b"}q\x00" + text("params") + b"h\x00s.",
    "empty": lambda marker: b"",
    "no end": lambda marker: HEAD + b"}",
    "nothing to stop at": lambda marker: HEAD + b".",
    "another protocol": lambda marker: b"(dp0\nS'params'\np1\nI1\ns.",
    "an array of objects": lambda marker: HEAD + b"cnumpy._core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tC\x01btR("
                                                 b"K\x01(K\x01tcnumpy\ndtype\n(" + text("O8") + b"tR\x89]tb.",
    "an array without data": lambda marker: HEAD + b"cnumpy._core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tC\x01btR("
                                                   b"K\x01(J\xff\xff\xff\x7ftcnumpy\ndtype\n(" + text("f4") + b"tR\x89C\x04abcdtb.",
}


def zipped(path, data):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", data)
        archive.writestr("archive/byteorder", b"little")


def plain(path, data):
    path.write_bytes(data)


SOURCES = {"dreamerv3-torch": zipped, "sheeprl-dreamerv3": zipped, "tdmpc2": zipped, "dreamerv3-jax": plain}


# One reader serves all, so that every kind goes through one source, and a few through each.
CASES = [("dreamerv3-jax", kind) for kind in PICKLES]
CASES += [(source, kind) for source in SOURCES if source != "dreamerv3-jax" for kind in ("os.system", "getattr", "deep tuples as a key")]


@pytest.mark.parametrize("source, kind", CASES)
def test_a_hostile_pickle(tmp_path, source, kind):
    marker, file, config = tmp_path / "obeyed", tmp_path / "file", tmp_path / "config.json"
    SOURCES[source](file, PICKLES[kind](marker))
    config.write_text(json.dumps({"dyn_stoch": 2, "dyn_discrete": 2}))
    done = subprocess.run(
        [sys.executable, ROOT / "client/python/dreamd-import", source, file, "--config", config, "--out", tmp_path / "out"],
        capture_output=True, text=True, timeout=60,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (MEMORY_MAX, MEMORY_MAX)))
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stderr.startswith("dreamd-import: ") and done.stderr.count("\n") == 1, done.stderr
    assert len(done.stderr) < 1000
    assert {path.name for path in tmp_path.iterdir()} == {"file", "config.json"}


def refused(tmp_path, tensors, config, *words, change=lambda path: None):
    """Exit 1, one printable sentence with these words, nothing written."""
    write_torch(tmp_path / "latest.pt", tensors)
    change(tmp_path / "latest.pt")
    (tmp_path / "config.json").write_text(json.dumps(config))
    done = subprocess.run(
        [sys.executable, ROOT / "client/python/dreamd-import", "dreamerv3-torch", tmp_path / "latest.pt", "--config",
         tmp_path / "config.json", "--out", tmp_path / "out"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stderr.endswith("\n") and done.stderr[:-1].isprintable(), done.stderr
    for word in words:
        assert word in done.stderr, done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"latest.pt", "config.json"}


def test_an_entry_that_is_there_twice(tmp_path):
    """Of two entries of one name readers choose differently: what one program checked another would not load."""
    def again(path):
        with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(path, "a") as archive:
            name = next(name for name in archive.namelist() if name.endswith("/data/0"))
            archive.writestr(name, b"\0" * archive.getinfo(name).file_size)
    refused(tmp_path, agent_tensors(), CONFIG, "/data/0", "twice", change=again)


def test_a_name_that_moves_the_cursor(tmp_path):
    refused(tmp_path, agent_tensors() | {"_wm.x\n\x1b[2Jdreamd-import: all well": np.zeros(2, "<f4")}, CONFIG, "_wm.x\\n\\x1b[2J")


@pytest.mark.parametrize("config", [{"actor": "normal"}, {"encoder": [1]}, {"reward_head": 3}])
def test_a_section_that_is_none(tmp_path, config):
    """Earlier configs of this code base were flat: what stands there would have been passed over."""
    key, value = next(iter(config.items()))
    refused(tmp_path, agent_tensors(), CONFIG | config, f"config.json: {key} is {value!r}", "names with values")
