"""Spaces of the wire as Gymnasium's."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np

from ._proto import tensor_pb2
from .tensors import dtype_of


def _bound(values: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    array = np.asarray(values, np.float64)
    if dtype.kind == "f":
        array = array.astype(dtype)
    return np.full(shape, array[0]) if array.size == 1 else array.reshape(shape)


def _plain(message: Any) -> gymnasium.Space[Any]:
    if message.WhichOneof("kind") == "discrete":
        return gymnasium.spaces.Discrete(message.discrete.n, start=message.discrete.start)
    box = message.box
    dtype, shape = dtype_of(box.datatype), tuple(box.shape)
    return gymnasium.spaces.Box(_bound(box.low, shape, dtype).astype(dtype), _bound(box.high, shape, dtype).astype(dtype),
                                shape, dtype.type)


def read_space(message: tensor_pb2.Space) -> gymnasium.Space[Any] | None:
    """The space of ONE row; None where the message does not say one."""
    kind = message.WhichOneof("kind")
    if kind is None:
        return None
    if kind == "dict":
        return gymnasium.spaces.Dict({entry.key: _plain(entry) for entry in message.dict.entries})
    return _plain(message)
