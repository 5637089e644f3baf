"""Streams of imagined trajectories: proved whole, and put together."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import grpc
import numpy as np

from . import _messages as messages
from .errors import Error
from .types import Chunk, Imagined


class StreamCheck:
    """Reads the chunks of a stream and proves that they are all and whole."""

    def __init__(self) -> None:
        self._sha = hashlib.sha256()
        self._last: Any = None

    def read(self, message: Any, committed: int) -> Chunk:
        for raw in message.raw_contents:
            self._sha.update(raw)
        self._last = message
        return messages.read_chunk(message, committed)

    def finish(self) -> None:
        if self._last is None or not self._last.last or self._last.digest != self._sha.hexdigest():
            raise Error(grpc.StatusCode.DATA_LOSS, "the stream of imagined trajectories ended early, or was changed on its way")


def assemble(chunks: Sequence[Chunk], rows: int, committed: int) -> Imagined:
    """Chunks to arrays [rows, candidates, steps, ...]; "return" is [rows, candidates]."""
    count = max(chunk.first_trajectory + chunk.trajectories for chunk in chunks)
    steps = max(chunk.first_step + chunk.steps for chunk in chunks)
    whole: dict[str, Any] = {}
    for chunk in chunks:
        first, start = chunk.first_trajectory, chunk.first_step
        for name, part in chunk.items():
            if name == "return":
                continue
            if name not in whole:
                whole[name] = np.empty((count, steps, *part.shape[2:]), part.dtype)
            whole[name][first:first + chunk.trajectories, start:start + chunk.steps] = part
    shaped = {name: array.reshape(rows, -1, *array.shape[1:]) for name, array in whole.items()}
    returns = [chunk["return"] for chunk in chunks if "return" in chunk]
    if returns:
        shaped["return"] = np.concatenate(returns)
    return Imagined(shaped, committed, chunks[0].checkpoint)
