"""Reads JSON of nested lists of numbers, as public code without a format of its own saves weights.

Bytes and depth are looked at before the parser sees them: only what numbers and lists consist of
may be there, so no text, no object, no NaN, and no nesting that would exhaust a stack.
"""

import json
import pathlib

import numpy as np

from . import ImportFailure

BYTES_MAX = 64 << 20
DEPTH_MAX = 6
_ALLOWED = np.zeros(256, bool)
_ALLOWED[list(b"0123456789+-.eE[], \t\r\n")] = True


def read(path):
    """Nested lists of numbers; a list outermost."""
    try:
        size = pathlib.Path(path).stat().st_size
        if size > BYTES_MAX:
            raise ImportFailure(f"{path}: {size} bytes, expected at most {BYTES_MAX}")
        data = pathlib.Path(path).read_bytes()
    except OSError as error:
        raise ImportFailure(f"{path}: {error.strerror or error}") from None
    codes = np.frombuffer(data, np.uint8)
    wrong = np.flatnonzero(~_ALLOWED[codes])
    if wrong.size:
        raise ImportFailure(f"{path}: {chr(codes[wrong[0]])!r} at byte {wrong[0]}, expected nothing but nested lists of numbers")
    depth = np.cumsum((codes == ord("[")).astype(np.int32) - (codes == ord("]")))
    if depth.size and depth.max() > DEPTH_MAX:
        raise ImportFailure(f"{path}: lists {depth.max()} deep, expected at most {DEPTH_MAX}")
    try:
        value = json.loads(data)
    except ValueError as error:
        raise ImportFailure(f"{path}: not whole JSON: {error}") from None
    if not isinstance(value, list):
        raise ImportFailure(f"{path}: one number, expected nested lists")
    return value


def array(value, where, rank, integers=False):
    """A full table of `rank` dimensions, none of them 0; `where` begins messages."""
    try:
        table = np.array(value)
    except ValueError:
        raise ImportFailure(f"{where}: lists of different lengths, expected a table of numbers") from None
    if table.ndim != rank or table.size == 0:
        raise ImportFailure(f"{where}: shape {table.shape}, expected {rank} dimensions of at least 1")
    if table.dtype.kind not in ("i" if integers else "if") or not np.isfinite(table).all():
        raise ImportFailure(f"{where}: expected {'integers below 2^63' if integers else 'finite numbers'} only")
    return table
