"""What a call does, apart from how it is carried out.

A flow is a generator: it yields Call, Collect and Sleep, is sent what they give, and returns the result. client.py
carries flows out blocking, aio.py on asyncio's loop; so retries, step ids and moving between daemons are written once.
"""

from __future__ import annotations

import random
import time
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, TypeVar

import grpc

from ._arguments import seconds
from .errors import Error

T = TypeVar("T")


@dataclass(slots=True)
class Call:
    """A unary reply; `request` is a message, or an iterator of messages."""

    address: str
    method: str  # "Simulation/Step"
    request: Any
    timeout: float


@dataclass(slots=True)
class Collect:
    """All replies of a server stream, as a list."""

    address: str
    method: str
    request: Any
    timeout: float


@dataclass(slots=True)
class Sleep:
    seconds: float


Flow = Generator[Call | Collect | Sleep, Any, T]

UNREACHABLE = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
BACK_OFF_FIRST, BACK_OFF_MOST = 0.05, 2.0  # seconds


class Deadline:
    """The end of a call: repeats and pauses included."""

    def __init__(self, timeout: float) -> None:
        self.end = time.monotonic() + timeout

    def left(self) -> float:
        """Seconds, never below a millisecond, so that what is late is late at the daemon."""
        return max(self.end - time.monotonic(), 0.001)

    def passed(self) -> bool:
        return time.monotonic() >= self.end


@dataclass(frozen=True, slots=True)
class Patience:
    """How long and how often: see `dreamd.connect`."""

    timeout: float
    attempt_timeout: float | None
    retries: int

    def deadline(self, timeout: float | None) -> Deadline:
        return Deadline(self.timeout if timeout is None else seconds("timeout", timeout))

    def attempt(self, deadline: Deadline) -> float:
        left = deadline.left()
        return left if self.attempt_timeout is None else min(left, self.attempt_timeout)


def once(address: str, method: str, request: Any, deadline: Deadline) -> Flow[Any]:
    """For what must not be repeated."""
    return (yield Call(address, method, request, deadline.left()))


def repeat(address: str, method: str, request: Any, deadline: Deadline, patience: Patience,
           effect: type[Call] | type[Collect] = Call, unsure: bool = False) -> Flow[Any]:
    """For what may be repeated: reads, and changes that carry a step id or a request id.

    Repeats after UNAVAILABLE and after an attempt's own DEADLINE_EXCEEDED, and while a repeat finds the first attempt
    still running (`unsure`: or a change before it, which was given up); the pauses double, with jitter, and are at least
    what the daemon asks for. A session that is still opening is on its way: waiting for it is none of the retries.
    """
    pause, retries = BACK_OFF_FIRST, 0
    while True:
        try:
            return (yield effect(address, method, request, patience.attempt(deadline)))
        except Error as error:
            opening = is_opening(error)
            transient = error.code in UNREACHABLE or ((unsure or retries > 0) and error.reason == "SESSION_BUSY")
            wait = max(error.retry_after or 0.0, pause * random.uniform(0.5, 1.0))
            if not transient or (retries == patience.retries and not opening) or wait >= deadline.left():
                raise
            retries += not opening
        yield Sleep(wait)
        pause = min(2 * pause, BACK_OFF_MOST)


def is_opening(error: Error) -> bool:
    """An earlier attempt with this request id is at work there, so another daemon would open a second session."""
    return error.code is grpc.StatusCode.UNAVAILABLE and error.reason == "SESSION_OPENING"
