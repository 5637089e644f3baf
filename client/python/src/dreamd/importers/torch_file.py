"""Reads files that torch.save wrote, without torch and without running anything of theirs.

Such a file is a zip of stored entries: NAME/data.pkl, a pickle of the nested dicts, and one entry
NAME/data/KEY a storage, raw numbers. The pickle may name a handful of constructors, listed
below; any other name ends the reading, with that name in the message.
"""

import collections
import io
import pickle
import zipfile

import numpy as np

from . import ImportFailure

PICKLE_BYTES_MAX = 64 << 20
ELEMENTS_MAX = 1 << 31

_STORAGE_TYPES = {
    "FloatStorage": np.dtype("<f4"),
    "DoubleStorage": np.dtype("<f8"),
    "HalfStorage": np.dtype("<f2"),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
    "ShortStorage": np.dtype("<i2"),
    "CharStorage": np.dtype("i1"),
    "ByteStorage": np.dtype("u1"),
    "BoolStorage": np.dtype("?"),
}


class _Storage:
    """A storage's type by its name in the pickle; its numbers are read when a tensor needs them."""

    def __init__(self, dtype):
        self.dtype = dtype


class _Unpickler(pickle.Unpickler):
    def __init__(self, data, read_storage):
        super().__init__(io.BytesIO(data))
        self._read_storage = read_storage

    def find_class(self, module, name):
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild_tensor
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return lambda tensor, *_: tensor
        if (module, name) == ("torch", "Size"):
            return lambda sizes=(): tuple(sizes)
        if (module, name) == ("torch", "device"):
            return lambda *_: None
        if module == "torch" and name in _STORAGE_TYPES:
            return _Storage(_STORAGE_TYPES[name])
        raise ImportFailure(f"the pickle asks for {module}.{name}, which an importer never calls; expected tensors, "
                            "dicts, lists and numbers only")

    def persistent_load(self, pid):
        if not (isinstance(pid, tuple) and len(pid) == 5 and pid[0] == "storage" and isinstance(pid[1], _Storage)):
            raise ImportFailure(f"the pickle refers to {str(pid)[:80]!r}, expected a storage of numbers")
        _, storage, key, _, count = pid
        return self._read_storage(str(key), storage.dtype, count)


def _rebuild_tensor(storage, offset, size, stride, *_):
    """A copy of the view that the arguments describe, inside the storage or not at all."""
    if not isinstance(storage, np.ndarray) or len(size) != len(stride) or offset < 0:
        raise ImportFailure("the pickle describes a tensor that is none")
    if any(n < 0 for n in size) or any(n < 0 for n in stride) or np.prod(size, dtype=object) > ELEMENTS_MAX:
        raise ImportFailure(f"the pickle describes a tensor of shape {tuple(size)}, expected 0 to {ELEMENTS_MAX} elements")
    if 0 in size:
        return np.zeros(size, storage.dtype)
    last = offset + sum((n - 1) * s for n, s in zip(size, stride))
    if last >= storage.size:
        raise ImportFailure(f"a tensor of shape {tuple(size)} reaches element {last} of a storage of {storage.size}")
    bytes_apart = [s * storage.itemsize for s in stride]
    return np.lib.stride_tricks.as_strided(storage[offset:], tuple(size), bytes_apart).copy()


def read(path):
    """What torch.save was given, tensors as numpy arrays."""
    try:
        with zipfile.ZipFile(path) as archive:
            return _read_archive(archive)
    except ImportFailure as failure:
        raise ImportFailure(f"{path}: {failure}") from None
    except zipfile.BadZipFile as error:
        raise ImportFailure(f"{path}: not a whole file of torch.save ({error}); expected a zip archive") from None
    except OSError as error:
        raise ImportFailure(f"{path}: {error.strerror or error}") from None


def _read_archive(archive):
    pickles = [info for info in archive.infolist() if info.filename.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise ImportFailure(f"{len(pickles)} entries named */data.pkl, expected one")
    if pickles[0].file_size > PICKLE_BYTES_MAX:
        raise ImportFailure(f"data.pkl has {pickles[0].file_size} bytes, expected at most {PICKLE_BYTES_MAX}")
    folder = pickles[0].filename.removesuffix("data.pkl")
    entries = {info.filename: info for info in archive.infolist()}

    def read_entry(info):
        if info.compress_type != zipfile.ZIP_STORED:  # torch never compresses; a bomb does
            raise ImportFailure(f"{info.filename} is compressed, expected stored bytes")
        return archive.read(info)

    order = entries.get(folder + "byteorder")
    if order is not None and read_entry(order) != b"little":
        raise ImportFailure("the numbers are big-endian, expected little-endian")

    storages = {}

    def read_storage(key, dtype, count):
        info = entries.get(f"{folder}data/{key}")
        if info is None:
            raise ImportFailure(f"storage data/{key} is missing")
        if not isinstance(count, int) or info.file_size != count * dtype.itemsize:
            raise ImportFailure(f"storage data/{key} has {info.file_size} bytes, expected {count} x {dtype.itemsize}")
        if (key, dtype) not in storages:
            storages[key, dtype] = np.frombuffer(read_entry(info), dtype)
        return storages[key, dtype]

    try:
        return _Unpickler(read_entry(pickles[0]), read_storage).load()
    except (ImportFailure, zipfile.BadZipFile):
        raise
    except Exception as error:  # a damaged pickle fails in many ways; none of them is ours
        raise ImportFailure(f"data.pkl is damaged: {type(error).__name__}: {error}") from None
