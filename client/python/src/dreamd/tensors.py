"""numpy arrays to tensors on the wire and back, with the one copy that a message needs.

Arrays that come back are views of the received bytes: read-only. `array.copy()` makes one's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._arguments import array as to_array
from ._arguments import mapping
from .errors import invalid

Array = NDArray[Any]

_TYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype("?"), "UINT8": np.dtype("u1"), "INT8": np.dtype("i1"), "UINT16": np.dtype("<u2"),
    "INT16": np.dtype("<i2"), "UINT32": np.dtype("<u4"), "INT32": np.dtype("<i4"), "UINT64": np.dtype("<u8"),
    "INT64": np.dtype("<i8"), "FP16": np.dtype("<f2"), "FP32": np.dtype("<f4"), "FP64": np.dtype("<f8")}
_NAMES = {dtype: name for name, dtype in _TYPES.items()}
_BFLOAT16 = "bfloat16"  # the name of ml_dtypes' type, which numpy does not have


def dtype_of(datatype: str) -> np.dtype[Any]:
    """The dtype in which arrays of a wire type arrive; BF16 arrives widened to float32."""
    return _TYPES["FP32" if datatype == "BF16" else datatype]


def _read_one(datatype: str, shape: Iterable[int], raw: bytes) -> Array:
    if datatype == "BF16":
        wide = np.frombuffer(raw, "<u2").astype("<u4") << 16
        return wide.view("<f4").reshape(tuple(shape))
    return np.frombuffer(raw, _TYPES[datatype]).reshape(tuple(shape))


def read(message: Any) -> dict[str, Array]:
    """The tensors of a reply by name; views of its bytes."""
    return {tensor.name: _read_one(tensor.datatype, tensor.shape, raw)
            for tensor, raw in zip(message.tensors, message.raw_contents, strict=True)}


def write(message: Any, name: str, array: Array) -> None:
    """Adds an array to a request. Strides and byte order are put right in the copy that is made anyway."""
    datatype = _NAMES.get(array.dtype)
    if datatype is None:
        if array.dtype.name == _BFLOAT16:
            datatype = "BF16"
        else:
            array = array.astype(array.dtype.newbyteorder("<"), copy=False)
            datatype = _NAMES.get(array.dtype)
    if datatype is None:
        raise invalid(name, f"is of dtype {array.dtype}, expected numbers: bool, int8 to uint64, float16 to float64 or bfloat16")
    message.tensors.add(name=name, datatype=datatype, shape=array.shape)
    message.raw_contents.append(array.tobytes())


def write_value(message: Any, name: str, space: gymnasium.Space[Any], value: Any, rows: int) -> None:
    """Adds a value of `space` with a leading dimension of rows; for one row that dimension may be missing."""
    if isinstance(space, gymnasium.spaces.Dict):
        if not isinstance(value, Mapping) or set(value) != set(space.spaces):
            found = sorted(value) if isinstance(value, Mapping) else type(value).__name__
            raise invalid(name, f"is {found}, expected a mapping with the keys {sorted(space.spaces)}")
        for key, part in space.spaces.items():
            write_value(message, f"{name}.{key}", part, value[key], rows)
        return
    array = value if type(value) is np.ndarray else to_array(
        name, value, f"an array {[rows, *(space.shape or ())]} of {space.dtype}")
    if array.dtype.kind in "biu" and space.dtype is not None and space.dtype.kind == "f":
        array = array.astype(np.float32)
    if rows == 1 and array.shape == space.shape:
        array = array[np.newaxis]
    write(message, name, array)


def write_state(message: Any, state: Mapping[str, ArrayLike] | None) -> None:
    """Adds parts of a latent, {"deter": [N, ...], ...}; the prefix "state." may be there already."""
    for part, value in mapping("state", state, "{part: array [rows, ...]}").items():
        name = part if part.startswith("state.") else f"state.{part}"
        write(message, name, to_array(name, value, "an array, rows first"))
