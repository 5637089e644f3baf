"""From the names and layouts of a public file to ours: every tensor is checked, moved once, and none is left over."""

import re

import numpy as np

from . import ImportFailure

TORCH_CONV = (0, 2, 3, 1)  # [out, in, height, width]
TORCH_DECONV = (1, 2, 3, 0)  # [in, out, height, width]
JAX_CONV = (3, 0, 1, 2)  # [height, width, in, out]
JAX_LINEAR = (1, 0)  # [in, out]
JAX_BLOCKS = (0, 2, 1)  # [blocks, in, out]


class Placer:
    """Moves tensors to names of ours; `moved` tells which became which."""

    def __init__(self, tensors):
        self.tensors = tensors
        self.weights, self.moved = {}, {}

    def has(self, theirs):
        return theirs in self.tensors

    def shape(self, theirs, rank):
        if theirs not in self.tensors:
            raise ImportFailure(f"{theirs}: missing")
        if self.tensors[theirs].ndim != rank:
            raise ImportFailure(f"{theirs}: {self.tensors[theirs].ndim} dimensions, expected {rank}")
        return self.tensors[theirs].shape

    def take(self, theirs, ours, shape, order=None, part=None):
        """`shape` is theirs; `order` permutes it into ours; `part` is a slice of its first dimension."""
        if self.shape(theirs, len(shape)) != tuple(shape):
            raise ImportFailure(f"{theirs}: shape {self.tensors[theirs].shape}, expected {tuple(shape)}")
        tensor = self.tensors[theirs]
        if tensor.dtype.kind != "f":
            raise ImportFailure(f"{theirs}: holds {tensor.dtype.name} numbers, expected floating-point ones")
        tensor = tensor if part is None else tensor[part]
        with np.errstate(over="ignore"):  # beyond float32 becomes infinite, which is refused with the name
            self.weights[ours] = np.ascontiguousarray(tensor if order is None else tensor.transpose(order), np.float32)
        self.moved.setdefault(theirs, []).append(ours)

    def layers(self, pattern):
        """How many there are of a numbered name."""
        count = 0
        while self.has(pattern.format(count)):
            count += 1
        return count

    def finish(self):
        rest = sorted(set(self.tensors) - set(self.moved))
        if rest:
            raise ImportFailure(f"{rest[0]}: no place for it ({len(rest)} such)")
        return self.weights


def count_by_group(names):
    """{"rssm": 14, ...} of our names."""
    groups = {}
    for name in names:
        group = re.split(r"[.]", name)[0]
        groups[group] = groups.get(group, 0) + 1
    return groups
