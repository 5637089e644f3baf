"""Reads files that torch.save wrote, without torch and without running anything of theirs.

Such a file is a zip of stored entries: NAME/data.pkl, a pickle of the nested dicts, and one entry
NAME/data/KEY a storage, raw numbers. The pickle may name a handful of constructors, listed
below; any other name ends the reading, with that name in the message.
"""

import zipfile

import numpy as np

from . import ImportFailure, pickle_reader

PICKLE_BYTES_MAX = 1 << 30
ELEMENTS_MAX = 1 << 31

_STORAGE_TYPES = {
    "FloatStorage": np.dtype("<f4"),
    "DoubleStorage": np.dtype("<f8"),
    "HalfStorage": np.dtype("<f2"),
    "BFloat16Storage": np.dtype("<u2"),  # the upper half of a float32: numpy has no such type
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
    "ShortStorage": np.dtype("<i2"),
    "CharStorage": np.dtype("i1"),
    "ByteStorage": np.dtype("u1"),
    "BoolStorage": np.dtype("?"),
}


class _Storage(pickle_reader.Constructor):
    """A storage's type by its name in the pickle; its numbers are read when a tensor needs them."""

    def __init__(self, name):
        super().__init__(f"torch.{name}", self.refuse)
        self.dtype = _STORAGE_TYPES[name]  # in the file

    def numbers(self, data):
        """As the file has them; those of 16 bits as float32, which each of them is."""
        stored = np.frombuffer(data, self.dtype)
        if self.name == "torch.BFloat16Storage":
            return (stored.astype("<u4") << 16).view("<f4")
        return stored.astype("<f4") if self.name == "torch.HalfStorage" else stored

    def refuse(self, *_):
        raise ImportFailure(f"the pickle calls {self.name}, expected it in a reference to a storage")


def _rebuild_tensor(storage, offset, size, stride, *_):
    """The view that the arguments describe, inside the storage or not at all; a copy where its numbers are not in order."""
    if not isinstance(storage, np.ndarray) or len(size) != len(stride) or offset < 0:
        raise ImportFailure("the pickle describes a tensor that is none")
    if any(n < 0 for n in size) or any(n < 0 for n in stride) or np.prod(size, dtype=object) > ELEMENTS_MAX:
        raise ImportFailure(f"the pickle describes a tensor of shape {tuple(size)}, expected 0 to {ELEMENTS_MAX} elements")
    if 0 in size:
        return np.zeros(size, storage.dtype)
    last = offset + sum((n - 1) * s for n, s in zip(size, stride))
    if last >= storage.size:
        raise ImportFailure(f"a tensor of shape {tuple(size)} reaches element {last} of a storage of {storage.size}")
    if np.prod(size, dtype=object) > storage.size:
        raise ImportFailure(f"a tensor of shape {tuple(size)} repeats elements of a storage of {storage.size}")
    bytes_apart = [s * storage.itemsize for s in stride]
    return np.asarray(np.lib.stride_tricks.as_strided(storage[offset:], tuple(size), bytes_apart, writeable=False), order="C")


_CONSTRUCTORS = pickle_reader.PLAIN | {
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): lambda tensor, *_: tensor,
    ("torch", "Size"): lambda sizes=(): tuple(sizes),
    ("torch", "device"): lambda *_: None,
}


def read(path, extra=None):
    """What torch.save was given, tensors as numpy arrays. `extra(module, name)` may give a Constructor for a
    name that is not a tensor's, or None."""
    def find(module, name):
        if module == "torch" and name in _STORAGE_TYPES:
            return _Storage(name)
        found = extra(module, name) if extra and (module, name) not in _CONSTRUCTORS else None
        return found or pickle_reader.find_constructor(_CONSTRUCTORS, module, name)

    try:
        with zipfile.ZipFile(path) as archive:
            return _read_archive(archive, find)
    except ImportFailure as failure:
        raise ImportFailure(f"{path}: {failure}") from None
    except OSError as error:
        raise ImportFailure(f"{path}: {error.strerror or error}") from None
    except Exception as error:  # zipfile answers damage with many kinds
        raise ImportFailure(f"{path}: not a whole file of torch.save ({error}); expected a zip archive") from None


def _read_archive(archive, find):
    pickles = [info for info in archive.infolist() if info.filename.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise ImportFailure(f"{len(pickles)} entries named */data.pkl, expected one")
    if pickles[0].file_size > PICKLE_BYTES_MAX:
        raise ImportFailure(f"data.pkl has {pickles[0].file_size} bytes, expected at most {PICKLE_BYTES_MAX}")
    folder = pickles[0].filename.removesuffix("data.pkl")
    entries = {}
    for info in archive.infolist():
        if info.filename in entries:
            raise ImportFailure(f"{info.filename} is there twice, expected every entry once")
        entries[info.filename] = info

    def read_entry(info):
        if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
            # torch never compresses; a bomb does
            raise ImportFailure(f"{info.filename} is compressed, expected stored bytes")
        return archive.read(info)

    order = entries.get(folder + "byteorder")
    if order is not None and read_entry(order) != b"little":
        raise ImportFailure("the numbers are big-endian, expected little-endian")

    storages = {}

    def load_persistent(pid):
        if not (isinstance(pid, tuple) and len(pid) == 5 and pid[0] == "storage" and isinstance(pid[1], _Storage)):
            raise ImportFailure(f"the pickle refers to {str(pid)[:80]!r}, expected a storage of numbers")
        _, storage, key, _, count = pid
        info = entries.get(f"{folder}data/{key}")
        if info is None:
            raise ImportFailure(f"storage data/{key} is missing")
        if not isinstance(count, int) or info.file_size != count * storage.dtype.itemsize:
            raise ImportFailure(f"storage data/{key} has {info.file_size} bytes, expected {count} x {storage.dtype.itemsize}")
        if (key, storage.name) not in storages:
            storages[key, storage.name] = storage.numbers(read_entry(info))
        return storages[key, storage.name]

    return pickle_reader.load(read_entry(pickles[0]), find, load_persistent)
