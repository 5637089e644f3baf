"""Reads pickles without running anything of theirs: a small machine with its own stack.

Python's own unpickler calls what a pickle names. This one calls nothing: a name becomes a Constructor
of ours or ends the reading, with the name in the message. So the worst that a hostile file can do is to be
refused. Work and memory are bounded by the file's length and the limits below: an index of the memo is a key
and no array's length, numbers are short, keys of dicts are plain (hashing a deep tuple would exhaust C's stack).
"""

import collections
import struct

import numpy as np

from . import ImportFailure

OPCODES_MAX = 5_000_000
NUMBER_BYTES_MAX = 64
NAME_BYTES_MAX = 4096


class Constructor:
    """What a name in a pickle may become: `build(*arguments)` makes the object, `name` is for messages."""

    def __init__(self, name, build):
        self.name, self.build = name, build


class StandIn:
    """An object of a class that is not here, stepped over: it keeps nothing and can do nothing."""

    __slots__ = ("name",)

    def __init__(self, name):
        self.name = name


class Array:
    """A numpy array as a pickle makes it: first empty, then given its state."""

    def __init__(self, array=None):
        self.array = array

    def set_state(self, state):
        """(version, shape, dtype, is_fortran, data) as ndarray.__reduce__ has it."""
        shape, dtype, fortran, data = state[-4:]
        self.array = plain_array(data, dtype, shape, "F" if fortran else "C")


class Dtype:
    """A numpy dtype; `dtype` is None where it is not one of plain numbers."""

    PLAIN = {"f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"}

    def __init__(self, code):
        self.dtype = np.dtype("<" + code) if code in self.PLAIN else None

    def set_state(self, state):
        """(version, byte order, ...)"""
        if self.dtype is not None and state[1] == ">":
            self.dtype = self.dtype.newbyteorder(">")


def plain_array(data, dtype, shape, order):
    if not isinstance(dtype, Dtype) or dtype.dtype is None or not isinstance(data, (bytes, memoryview)):
        raise ImportFailure("the pickle holds an array of something else than numbers")
    shape = (shape,) if isinstance(shape, int) else shape
    count = len(data) // dtype.dtype.itemsize
    if any(not isinstance(n, int) or n < 0 for n in shape) or np.prod(shape, dtype=object) != count:
        raise ImportFailure(f"the pickle holds an array of shape {shape!s:.80} in {len(data)} bytes")
    array = np.frombuffer(data, dtype.dtype, count).reshape(shape, order=order)
    return array.astype(dtype.dtype.newbyteorder("="), copy=False)


def numpy_constructors():
    """What numpy's arrays and scalars need, under the names of both its layouts of modules."""
    def latin1(text, encoding):
        if encoding not in ("latin1", "latin-1"):
            raise ImportFailure(f"the pickle asks for the encoding {encoding!s:.40}, expected latin1")
        return text.encode("latin-1")

    named = {("numpy", "ndarray"): lambda *_: Array(),
             ("numpy", "dtype"): lambda code, *_: Dtype(code),
             ("_codecs", "encode"): latin1}
    for core in ("numpy.core", "numpy._core"):
        named[f"{core}.multiarray", "_reconstruct"] = lambda *_: Array()
        named[f"{core}.multiarray", "scalar"] = lambda dtype, data=b"": (
            plain_array(data, dtype, (), "C")[()] if dtype.dtype is not None else StandIn("numpy scalar"))
        named[f"{core}.numeric", "_frombuffer"] = lambda data, dtype, shape, order: Array(
            plain_array(data, dtype, shape, order))
    return named


def find_constructor(table, module, name):
    """The entry of {(module, name): function} for a name, or a refusal."""
    if (module, name) not in table:
        raise ImportFailure(f"the pickle asks for {module}.{name}, which an importer never calls; expected tensors, "
                            "dicts, lists and numbers only")
    return Constructor(f"{module}.{name}", table[module, name])


class _Mark:
    pass


class Machine:
    """`find(module, name)` gives a Constructor or fails; `load_persistent(id)` gives what lies outside the pickle."""

    def __init__(self, data, find, load_persistent=None):
        self.data, self.at = memoryview(data), 0
        self.find, self.load_persistent = find, load_persistent
        self.stack, self.memo, self.mark = [], {}, _Mark()

    # ---- bytes ----

    def take(self, count):
        if count < 0 or count > len(self.data) - self.at:
            raise ImportFailure(f"the pickle ends after {len(self.data)} bytes, in the middle of a value")
        self.at += count
        return self.data[self.at - count:self.at]

    def number(self, form):
        return struct.unpack("<" + form, self.take(struct.calcsize("<" + form)))[0]

    def line(self):
        for limit in range(self.at, min(len(self.data), self.at + NAME_BYTES_MAX)):
            if self.data[limit] == 0x0A:
                return str(self.take(limit + 1 - self.at)[:-1], "utf-8")
        raise ImportFailure("the pickle has a name without an end")

    def text(self, form):
        return str(self.take(self.number(form)), "utf-8", "surrogatepass")

    def long(self, form):
        count = self.number(form)
        if count > NUMBER_BYTES_MAX:
            raise ImportFailure(f"the pickle has a number of {count} bytes, expected at most {NUMBER_BYTES_MAX}")
        return int.from_bytes(self.take(count), "little", signed=True)

    # ---- stack ----

    def since_mark(self):
        for first in range(len(self.stack) - 1, -1, -1):
            if self.stack[first] is self.mark:
                items = self.stack[first + 1:]
                del self.stack[first:]
                return items
        raise ImportFailure("the pickle closes what it never opened")

    def pop(self, count):
        if len(self.stack) < count:
            raise ImportFailure("the pickle takes what it never gave")
        items = self.stack[len(self.stack) - count:]
        del self.stack[len(self.stack) - count:]
        if any(item is self.mark for item in items):
            raise ImportFailure("the pickle takes what it never gave")
        return items

    def top(self, kinds):
        if not self.stack or not isinstance(self.stack[-1], kinds):
            raise ImportFailure("the pickle adds to something that holds nothing")
        return self.stack[-1]

    def name(self, module, name):
        if not isinstance(module, str) or not isinstance(name, str):
            raise ImportFailure("the pickle asks for a name that is none")
        return self.find(module[:200], name[:200])

    def call(self, constructor, arguments):
        if not isinstance(constructor, Constructor):
            raise ImportFailure("the pickle calls something that is no name")
        if not isinstance(arguments, tuple):
            raise ImportFailure(f"the pickle calls {constructor.name} without arguments")
        return constructor.build(*arguments)

    def set_items(self, pairs):
        if isinstance(target := self.top((dict, StandIn)), StandIn):
            return
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            parts = key if isinstance(key, tuple) else (key,)
            if not all(part is None or isinstance(part, (str, int, float, bytes)) for part in parts):
                raise ImportFailure("the pickle has a dict with a key that is neither text nor number")
            target[key] = value

    def add_items(self, items):
        target = self.top((list, StandIn))
        if isinstance(target, list):
            target.extend(items)

    def set_state(self, target, state):
        if isinstance(target, (Array, Dtype)):
            target.set_state(state)
        elif not isinstance(target, (StandIn, dict)):
            raise ImportFailure("the pickle gives a state to something that has none")

    # ---- opcodes ----

    def load(self):
        for _ in range(OPCODES_MAX):
            code = self.take(1)[0]
            if code == 0x2E:  # STOP
                return self.pop(1)[0]
            step = _STEPS.get(code)
            if step is None:
                raise ImportFailure(f"the pickle has the opcode {bytes([code])!r}, which no array needs")
            step(self)
        raise ImportFailure(f"the pickle has more than {OPCODES_MAX} opcodes")

    def push(self, value):
        self.stack.append(value)

    def remember(self, index):
        if not self.stack:
            raise ImportFailure("the pickle remembers what it never gave")
        self.memo[index] = self.stack[-1]

    def recall(self, index):
        if index not in self.memo:
            raise ImportFailure(f"the pickle recalls entry {index}, which it never gave")
        self.stack.append(self.memo[index])

    def reduce(self):
        self.push(self.call(*self.pop(2)))

    def new_object_ex(self):
        constructor, arguments, _ = self.pop(3)
        self.push(self.call(constructor, arguments))

    def stack_global(self):
        self.push(self.name(*self.pop(2)))

    def build(self):
        target, state = self.pop(2)
        self.set_state(target, state)
        self.push(target)

    def persistent(self):
        if self.load_persistent is None:
            raise ImportFailure("the pickle refers to something outside itself")
        self.push(self.load_persistent(self.pop(1)[0]))


def _dict(machine):
    items = machine.since_mark()
    machine.push({})
    machine.set_items(items)


_STEPS = {
    0x80: lambda m: m.take(1),  # PROTO
    0x95: lambda m: m.take(8),  # FRAME
    0x28: lambda m: m.push(m.mark),  # MARK
    0x30: lambda m: m.pop(1),  # POP
    0x31: lambda m: m.since_mark(),  # POP_MARK
    0x4E: lambda m: m.push(None),
    0x88: lambda m: m.push(True),
    0x89: lambda m: m.push(False),
    0x4A: lambda m: m.push(m.number("i")),  # BININT
    0x4B: lambda m: m.push(m.number("B")),
    0x4D: lambda m: m.push(m.number("H")),
    0x8A: lambda m: m.push(m.long("B")),  # LONG1
    0x8B: lambda m: m.push(m.long("i")),
    0x47: lambda m: m.push(struct.unpack(">d", m.take(8))[0]),  # BINFLOAT
    0x58: lambda m: m.push(m.text("I")),  # BINUNICODE
    0x8C: lambda m: m.push(m.text("B")),
    0x8D: lambda m: m.push(m.text("Q")),
    0x42: lambda m: m.push(m.take(m.number("I"))),  # BINBYTES: a view, an array may be gigabytes
    0x43: lambda m: m.push(m.take(m.number("B"))),
    0x8E: lambda m: m.push(m.take(m.number("Q"))),
    0x96: lambda m: m.push(m.take(m.number("Q"))),  # BYTEARRAY8
    0x55: lambda m: m.push(str(m.take(m.number("B")), "latin-1")),  # SHORT_BINSTRING, of Python 2
    0x29: lambda m: m.push(()),
    0x85: lambda m: m.push(tuple(m.pop(1))),
    0x86: lambda m: m.push(tuple(m.pop(2))),
    0x87: lambda m: m.push(tuple(m.pop(3))),
    0x74: lambda m: m.push(tuple(m.since_mark())),  # TUPLE
    0x5D: lambda m: m.push([]),
    0x6C: lambda m: m.push(m.since_mark()),  # LIST
    0x61: lambda m: m.add_items(m.pop(1)),  # APPEND
    0x65: lambda m: m.add_items(m.since_mark()),
    0x7D: lambda m: m.push({}),
    0x64: _dict,
    0x73: lambda m: m.set_items(m.pop(2)),  # SETITEM
    0x75: lambda m: m.set_items(m.since_mark()),
    0x8F: lambda m: m.push(StandIn("set")),  # EMPTY_SET
    0x90: lambda m: m.since_mark(),  # ADDITEMS
    0x91: lambda m: (m.since_mark(), m.push(StandIn("frozenset"))),
    0x71: lambda m: m.remember(m.number("B")),  # BINPUT
    0x72: lambda m: m.remember(m.number("I")),
    0x94: lambda m: m.remember(len(m.memo)),  # MEMOIZE
    0x68: lambda m: m.recall(m.number("B")),  # BINGET
    0x6A: lambda m: m.recall(m.number("I")),
    0x63: lambda m: m.push(m.name(m.line(), m.line())),  # GLOBAL
    0x93: Machine.stack_global,
    0x52: Machine.reduce,
    0x81: Machine.reduce,  # NEWOBJ: class and arguments, as REDUCE
    0x92: Machine.new_object_ex,
    0x62: Machine.build,
    0x51: Machine.persistent,  # BINPERSID
}


def load(data, find, load_persistent=None):
    """The pickle's object. Arrays are Array, to be unwrapped by whoever needs one; bytes are views of `data`."""
    try:
        return Machine(data, find, load_persistent).load()
    except ImportFailure:
        raise
    except Exception as error:  # a damaged pickle fails in many ways; none of them is ours
        raise ImportFailure(f"the pickle is damaged: {type(error).__name__}: {str(error)[:200]}") from None


PLAIN = {("collections", "OrderedDict"): lambda *pairs: collections.OrderedDict()}
