"""Many requests on their way at once: one stream, any number of sessions, answers in the order of sending.

    with client.interact() as stream:
        pending = [stream.step(session, [0.5]) for session in sessions]     # sent without waiting
        rewards = [one.result().reward for one in pending]                  # each [rows]

A blocking call waits for its answer, a message in a stream does not: requests of different sessions run at the same time
and share batches, those of one session run as if each had waited for the one before. An error belongs to its request, whose
`result()` raises it; of a session, changes that were sent behind a change that failed fail too (ABORTED), so that nothing is
done over a hole. Nothing is repeated: when the stream is lost, `session.refresh()` says how far a session came.

`dreamd.aio` has the same, with `await one` for `one.result()`; there calls of their own, gathered, share batches as well.
"""

from __future__ import annotations

import asyncio
import collections
import queue
import threading
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Generic, Self, TypeVar, Unpack

import grpc
from numpy.typing import ArrayLike

from ._flow import Call, Flow
from ._proto import simulation_pb2 as pb
from ._session import SessionCore
from ._view import SessionView
from ._wire import Wire
from .errors import Error, from_rpc, from_status, invalid
from .types import LatentMode, Observation, Plan, PlannerSettings, Reply, Start, State

T = TypeVar("T")
METHOD = "Simulation/Interact"
FIELDS = {f"Simulation/{name}": field for name, field in (
    ("Reset", "reset"), ("Observe", "observe"), ("Step", "step"), ("Encode", "encode"), ("Decode", "decode"), ("Act", "act"),
    ("Plan", "plan"), ("Fork", "fork"), ("GetState", "get_state"), ("SetState", "set_state"))}


class Pending(Generic[T]):
    """The answer to a request that was sent: `result()` waits for it, in asyncio `await` does."""

    def __init__(self, core: SessionCore, flow: Flow[T], commits: bool, receive: Callable[[Pending[Any]], None] | None) -> None:
        self.done = False
        self._core, self._flow, self._commits, self._receive = core, flow, commits, receive
        self._value: Any = None
        self._error: Error | None = None
        self._arrived = asyncio.Event() if receive is None else None

    def result(self) -> T:
        """The answer, received if it has not been yet (and with it all before it), or its Error raised."""
        if not self.done:
            if self._receive is None:
                raise invalid("result", "has not arrived yet: in asyncio, `await` what the stream gave")
            self._receive(self)
        if self._error is not None:
            raise self._error.with_traceback(None)
        value: T = self._value
        return value

    def __await__(self) -> Generator[Any, Any, T]:
        if self._arrived is not None:
            yield from self._arrived.wait().__await__()
        return self.result()

    def _settle(self, reply: Any, failure: Error | None) -> None:
        """Lets the flow go on where it waits for its reply, and end there: in a stream nothing is repeated."""
        if self._commits:
            self._core.on_their_way -= 1
        try:
            if failure is None:
                self._flow.send(reply)
            else:
                self._flow.throw(failure)
            self._error = failure
        except StopIteration as ended:
            self._value = ended.value
        except Error as error:
            self._error = error
        self._flow.close()
        self.done = True
        if self._arrived is not None:
            self._arrived.set()


class Exchange:
    """What is on its way in one stream, in order."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.lost: Error | None = None
        self._waiting: collections.deque[Pending[Any]] = collections.deque()
        self._sent = 0

    def begin(self, session: SessionView, make: Callable[[SessionCore], Flow[T]],
              receive: Callable[[Pending[Any]], None] | None) -> tuple[pb.InteractRequest, Pending[T]]:
        if not isinstance(session, SessionView):
            raise invalid("session", f"is of type {type(session).__name__}, expected what client.open gives")
        core = session._core
        if core.address != self.address:
            raise invalid("session", f"is at {core.address}, the stream at {self.address}")
        if self.lost is not None:
            raise self.lost.with_traceback(None)
        flow = make(core)
        call = next(flow)
        assert isinstance(call, Call)
        self._sent += 1
        message = pb.InteractRequest(id=self._sent, timeout_ms=min(max(round(call.timeout * 1000), 1), (1 << 32) - 1))
        getattr(message, FIELDS[call.method]).CopyFrom(call.request)
        commits = "optional_step_id" in call.request.DESCRIPTOR.oneofs_by_name and call.request.HasField("step_id")
        pending = Pending(core, flow, commits, receive)
        core.on_their_way += commits
        self._waiting.append(pending)
        return message, pending

    def answer(self, message: pb.InteractResponse) -> None:
        kind = message.WhichOneof("response")
        pending = self._waiting.popleft()
        if kind == "error":
            pending._settle(None, from_status(message.error))
        else:
            pending._settle(getattr(message, kind or ""), None)

    def end(self, failure: Error) -> None:
        """No answer comes any more."""
        self.lost = self.lost or failure
        while self._waiting:
            self._waiting.popleft()._settle(None, self.lost)


def was_closed() -> Error:
    """By who opened it."""
    return Error(grpc.StatusCode.CANCELLED, "the stream was closed: client.interact() opens another one")


def was_ended() -> Error:
    """By the daemon, in order."""
    return Error(grpc.StatusCode.UNAVAILABLE, "the daemon ended the stream: client.interact() opens another one")


class Verbs:
    """What can be sent. Arguments, shapes and units are those of `dreamd.Session`; what comes is a `Pending`."""

    def _send(self, session: SessionView, make: Callable[[SessionCore], Flow[T]]) -> Pending[T]:
        raise NotImplementedError

    def reset(self, session: SessionView, *, rows: Sequence[int] | None = None, seed: int | Sequence[int] | None = None,
              start: Start | None = None, start_indices: Sequence[int] = (), state: Mapping[str, ArrayLike] | None = None,
              outputs: Iterable[str] = (), raw: bool = False, timeout: float | None = None) -> Pending[Reply]:
        """`Session.reset`."""
        return self._send(session, lambda core: core.reset(rows, seed, start, start_indices, state, outputs, raw, timeout))

    def observe(self, session: SessionView, observation: Observation, action: ArrayLike | None = None, *,
                rows: Sequence[int] | None = None, outputs: Iterable[str] = (), raw: bool = False,
                timeout: float | None = None) -> Pending[Reply]:
        """`Session.observe`: [rows, O...], and the actions [rows, A...] that led there."""
        return self._send(session, lambda core: core.observe(observation, action, rows, outputs, raw, timeout))

    def step(self, session: SessionView, action: ArrayLike, *, rows: Sequence[int] | None = None, outputs: Iterable[str] = (),
             raw: bool = False, timeout: float | None = None) -> Pending[Reply]:
        """`Session.step`: [rows, A...] in the action space's units."""
        return self._send(session, lambda core: core.step(action, rows, outputs, raw, timeout))

    def fork_into(self, session: SessionView, into: Sequence[int], *, rows: Sequence[int] | None = None,
                  reseed: int | None = None, steps_back: int = 0, timeout: float | None = None) -> Pending[None]:
        """`Session.fork_into`."""
        return self._send(session, lambda core: core.fork_into(into, rows, reseed, steps_back, timeout))

    def set_state(self, session: SessionView, state: State, *, rows: Sequence[int] | None = None,
                  timeout: float | None = None) -> Pending[None]:
        """`Session.set_state`."""
        return self._send(session, lambda core: core.set_state(state, rows, timeout))

    def encode(self, session: SessionView, observation: Observation, *, rows: Sequence[int] | None = None,
               outputs: Iterable[str] = (), raw: bool = False, timeout: float | None = None) -> Pending[Reply]:
        """`Session.encode`: [rows, O...]."""
        return self._send(session, lambda core: core.encode(observation, rows, outputs, raw, timeout))

    def decode(self, session: SessionView, state: Mapping[str, ArrayLike] | None = None, *, rows: Sequence[int] | None = None,
               outputs: Iterable[str] = (), raw: bool = False, timeout: float | None = None) -> Pending[Reply]:
        """`Session.decode`."""
        return self._send(session, lambda core: core.decode(state, rows, outputs, raw, timeout))

    def act(self, session: SessionView, *, mode: LatentMode | None = None, rows: Sequence[int] | None = None,
            outputs: Iterable[str] = (), raw: bool = False, timeout: float | None = None) -> Pending[Reply]:
        """`Session.act`."""
        return self._send(session, lambda core: core.act(mode, rows, outputs, raw, timeout))

    def plan(self, session: SessionView, *, plan: ArrayLike | None = None, anytime: bool = False,
             rows: Sequence[int] | None = None, outputs: Iterable[str] = (), raw: bool = False, timeout: float | None = None,
             **settings: Unpack[PlannerSettings]) -> Pending[Plan]:
        """`Session.plan`."""
        return self._send(session, lambda core: core.plan(plan, anytime, rows, outputs, raw, timeout, settings))

    def get_state(self, session: SessionView, *, rows: Sequence[int] | None = None,
                  timeout: float | None = None) -> Pending[State]:
        """`Session.get_state`."""
        return self._send(session, lambda core: core.get_state(rows, timeout))


def one_address(addresses: Sequence[str]) -> str:
    """A stream is to one daemon."""
    if len(addresses) > 1:
        raise invalid("address", f"is a list of {len(addresses)}: sessions that may move make calls of their own; "
                                 "a stream is for a client of one daemon")
    return addresses[0]


class Interact(Verbs):
    """Made by `Client.interact`. Leaving the `with` block receives what is on its way; an exception cancels it.

    May be used from several threads. A session must not be called outside the stream while it has requests in it.
    """

    def __init__(self, wire: Wire, address: str) -> None:
        self._wire, self._exchange = wire, Exchange(address)
        self._requests: queue.SimpleQueue[pb.InteractRequest | None] = queue.SimpleQueue()
        self._method = wire.method(address, METHOD)
        self._replies = self._method(iter(self._requests.get, None))
        self._sending, self._receiving = threading.Lock(), threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is not None:
            self._replies.cancel()
        self.close()

    def close(self) -> None:
        """Receives what is on its way, and ends the stream."""
        self._requests.put(None)
        with self._receiving:
            while self._exchange.lost is None:
                self._read(was_closed)

    def _send(self, session: SessionView, make: Callable[[SessionCore], Flow[T]]) -> Pending[T]:
        with self._sending:
            message, pending = self._exchange.begin(session, make, self._receive)
            self._requests.put(message)
        return pending

    def _receive(self, pending: Pending[Any]) -> None:
        with self._receiving:
            while not pending.done:
                self._read(was_ended)

    def _read(self, at_end: Callable[[], Error]) -> None:
        """One answer, or the end."""
        message: pb.InteractResponse | None = None
        failure: Error | None = None
        try:
            message = next(self._replies, None)
        except grpc.RpcError as lost:
            failure = from_rpc(lost, self._exchange.address)
            if failure.code is grpc.StatusCode.UNAVAILABLE:
                self._wire.renew(self._exchange.address, self._method)
        with self._sending:
            if message is not None:
                self._exchange.answer(message)
            else:
                self._exchange.end(failure or at_end())
                self._requests.put(None)
