"""Arguments that are looked at before anything is sent: each that does not fit is an Error that names it."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from .errors import invalid

ADDRESS = "\"host:port\", or a list of them"


def addresses(value: Any) -> tuple[str, ...]:
    """One address or several. What gRPC itself could read (dns:///host:port, unix:path) goes through."""
    given = (value,) if isinstance(value, str) or not isinstance(value, Iterable) else tuple(value)
    if not given:
        raise invalid("address", f"is {value!r}, expected {ADDRESS}")
    for one in given:
        if not isinstance(one, str) or not one:
            raise invalid("address", f"is {value!r}, expected {ADDRESS}")
        if "," in one:
            raise invalid("address", f"is {one!r}, expected one address a string: {[part.strip() for part in one.split(',')]}")
        if one.startswith(("http://", "https://")):
            raise invalid("address", f"is {one!r}, expected it without the scheme: {one.partition('://')[2].strip('/')!r}")
        _, colon, port = one.rpartition(":")
        if not one.startswith("unix") and not (colon and port.isdecimal() and 0 < int(port) < 65536):
            raise invalid("address", f"is {one!r}, expected \"host:port\" with a port from 1 to 65535, for example "
                                     "\"127.0.0.1:7733\"")
    return given


def seconds(field: str, value: Any, least: str = "more than 0") -> float:
    """A time, more than 0 (or "0 or more")."""
    if isinstance(value, numbers.Real) and not isinstance(value, bool):
        time = float(value)
        if math.isfinite(time) and (time > 0 or (time == 0 and least != "more than 0")):
            return time
    raise invalid(field, f"is {value!r}, expected seconds, {least}")


def milliseconds(field: str, value: Any) -> int:
    """Seconds as the wire has them; None is 0, which stands for the daemon's default."""
    time = 0.0 if value is None else seconds(field, value, "0 or more")
    return max(round(time * 1000), 1 if time else 0)


def count(field: str, value: Any, least: int) -> int:
    """A whole number, as Python or numpy has it."""
    if not isinstance(value, numbers.Integral) or isinstance(value, bool) or value < least:
        raise invalid(field, f"is {value!r}, expected a whole number, {least} or more")
    return int(value)


def whole_numbers(field: str, values: Any, what: str) -> list[int]:
    """A sequence of whole numbers, 0 or more; a number alone counts as one."""
    found = array(field, values, what)
    if found.ndim > 1 or (found.size and (found.dtype.kind not in "iu" or (found.dtype.kind == "i" and found.min() < 0))):
        raise invalid(field, f"is {values!r}, expected {what}")
    return [int(value) for value in np.atleast_1d(found)]


def row_indices(field: str, rows: Any, count_: int) -> list[int]:
    """A selection among `count_` rows: indices, or a mask of bools."""
    found = array(field, rows, "indices of rows, from 0, or a mask")
    if found.dtype == np.bool_ and found.ndim == 1:
        if len(found) != count_:
            raise invalid(field, f"is a mask of {len(found)}, expected {count_}, one a row of the session")
        return [int(row) for row in np.flatnonzero(found)]
    if found.ndim != 1:
        raise invalid(field, f"is {rows!r}, expected indices of rows, from 0, or a mask")
    return whole_numbers(field, rows, "indices of rows, from 0, or a mask")


def array(field: str, value: Any, what: str) -> np.ndarray[Any, Any]:
    """What numpy makes of it; `what` says what would be right."""
    if value is None or isinstance(value, Mapping):
        found = "None" if value is None else f"a mapping with the keys {sorted(map(str, value))}"
        raise invalid(field, f"is {found}, expected {what}")
    try:
        return np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as wrong:
        ragged = "inhomogeneous" in str(wrong)
        found = "is ragged" if ragged else f"is of type {type(value).__name__}, which numpy cannot read ({wrong})"
        raise invalid(field, f"{found}, expected {what}") from None


def mapping(field: str, value: Any, what: str) -> Mapping[str, Any]:
    """A mapping; None is an empty one."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise invalid(field, f"is of type {type(value).__name__}, expected {what}")
    return value
