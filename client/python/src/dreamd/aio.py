"""The client for asyncio: the names and arguments of `dreamd.client`, awaited.

    client = dreamd.aio.connect("127.0.0.1:7733")
    async with client.open("pendulum", seed=7) as session:
        await session.observe(observation)
        action = (await session.plan()).action[0]

`dreamd.Client` and `dreamd.Session` say what each call does.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

import grpc
import grpc.aio
from numpy.typing import ArrayLike

from . import client as blocking
from ._client import ClientCore
from ._flow import Call, Collect, Flow, Sleep
from ._proto import simulation_pb2 as pb
from ._session import SessionCore
from ._stream import StreamCheck
from ._view import SessionView
from ._wire import Wire
from .client import CLOSE_TIMEOUT, REGISTER_TIMEOUT, default_address
from .errors import Error, from_rpc, invalid
from .interact import METHOD, Exchange, Pending, Verbs, one_address, was_closed, was_ended
from .types import (
    Autoreset,
    Checkpoint,
    Chunk,
    EndingRule,
    Imagined,
    LatentMode,
    Model,
    Observation,
    Plan,
    PlannerSettings,
    Policy,
    Registered,
    Reply,
    ServerInfo,
    SessionInfo,
    Start,
    State,
)

T = TypeVar("T")


def connect(address: str | Sequence[str] | None = None, *, timeout: float = 10.0, attempt_timeout: float | None = None,
            retries: int | None = None, save_every: int = 64,
            credentials: grpc.ChannelCredentials | None = None) -> Client:
    return Client(ClientCore(default_address() if address is None else address, timeout, attempt_timeout, retries,
                             save_every), Wire(grpc.aio, credentials))


class _Runner:
    """Carries flows out on the event loop."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self._loop: asyncio.AbstractEventLoop | None = None

    async def run(self, flow: Flow[T]) -> T:
        loop = asyncio.get_running_loop()
        self._loop = self._loop or loop
        if self._loop is not loop:
            raise Error(grpc.StatusCode.FAILED_PRECONDITION, "this client belongs to the event loop in which it was first used, "
                        "and asyncio.run makes a new one each time: connect in the loop that makes the calls")
        try:
            effect = next(flow)
            while True:
                try:
                    result, failure = await self._perform(effect), None
                except grpc.aio.AioRpcError as error:
                    assert not isinstance(effect, Sleep)
                    failure = from_rpc(error, effect.address, effect.timeout)
                effect = flow.send(result) if failure is None else flow.throw(failure)
        except StopIteration as done:
            value: T = done.value
            return value

    async def _perform(self, effect: Call | Collect | Sleep) -> Any:
        if isinstance(effect, Sleep):
            await asyncio.sleep(effect.seconds)
            return None
        reply = self.wire.method(effect.address, effect.method)(effect.request, timeout=effect.timeout)
        return [one async for one in reply] if isinstance(effect, Collect) else await reply


class Opening:
    """A session that is being opened: `await` it, or enter it with `async with`, which closes it in the end."""

    def __init__(self, opening: Coroutine[Any, Any, Session]) -> None:
        self._opening = opening
        self._session: Session | None = None

    def __await__(self) -> Generator[Any, Any, Session]:
        return self._opening.__await__()

    async def __aenter__(self) -> Session:
        self._session = await self._opening
        return self._session

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None,
                        trace: TracebackType | None) -> None:
        if self._session is not None:
            await self._session.__aexit__(kind, error, trace)


class Client:
    """Made by `connect`; belongs to the event loop in which it is first used."""

    def __init__(self, core: ClientCore, wire: Wire) -> None:
        self._core = core
        self._runner = _Runner(wire)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<dreamd.Client of {', '.join(self.addresses)}>"

    @property
    def addresses(self) -> tuple[str, ...]:
        return self._core.addresses

    async def close(self) -> None:
        for channel in self._runner.wire.take_channels():
            await channel.close()

    # ---- sessions ----

    def open(self, model: str, *, rows: int = 1, seed: int | None = None, latent_mode: LatentMode | None = None,
             temperature: float | None = None, autoreset: Autoreset | None = None, horizon: int = 0,
             ending: EndingRule | None = None, threshold: float | None = None, start: Start | None = None,
             state: Mapping[str, ArrayLike] | None = None, history: int = 0, persist: bool = False, task: str = "",
             ttl: float | None = None, label: str = "", timeout: float | None = None) -> Opening:
        return Opening(self._make(self._core.open(
            model, rows, seed, latent_mode, temperature, autoreset, horizon, ending, threshold, start, state, history,
            persist, task, ttl, label, timeout)))

    def attach(self, session_id: str, *, timeout: float | None = None) -> Opening:
        return Opening(self._make(self._core.attach(session_id, timeout)))

    async def _make(self, flow: Flow[SessionCore]) -> Session:
        return Session(await self._runner.run(flow), self._runner)

    async def sessions(self, *, model: str = "", timeout: float | None = None) -> list[SessionInfo]:
        return await self._runner.run(self._core.sessions(model, timeout))

    def interact(self) -> Interact:
        return Interact(self._runner.wire, one_address(self.addresses))

    # ---- models ----

    async def models(self, *, timeout: float | None = None) -> list[Model]:
        return await self._runner.run(self._core.models(timeout))

    async def model(self, model: str, *, timeout: float | None = None) -> Checkpoint:
        return await self._runner.run(self._core.model(model, timeout))

    async def register(self, folder: str | os.PathLike[str], *, name: str = "", aliases: Iterable[str] = (), expected: str = "",
                       on_server: bool = False, timeout: float = REGISTER_TIMEOUT) -> Registered:
        return await self._runner.run(self._core.register(folder, name, aliases, expected, on_server, timeout))

    async def set_alias(self, name: str, alias: str, version: int | None, *, timeout: float | None = None) -> Model:
        return await self._runner.run(self._core.set_alias(name, alias, version, timeout))

    async def load(self, model: str, *, timeout: float | None = None) -> Checkpoint:
        return await self._runner.run(self._core.load(model, timeout))

    async def unload(self, model: str, *, timeout: float | None = None) -> Checkpoint:
        return await self._runner.run(self._core.unload(model, timeout))

    async def delete(self, model: str, *, timeout: float | None = None) -> None:
        await self._runner.run(self._core.delete(model, timeout))

    async def server_info(self, address: str | None = None, *, timeout: float | None = None) -> ServerInfo:
        return await self._runner.run(self._core.server_info(address, timeout))


class Session(SessionView):
    """`dreamd.Session` for asyncio: `async with client.open(...) as session`.

    Calls from several tasks wait for each other. A task that is cancelled in a change leaves it made or not: `refresh()`.
    """

    def __init__(self, core: SessionCore, runner: _Runner) -> None:
        super().__init__(core)
        self._runner = runner
        self._lock = asyncio.Lock()

    async def _run(self, make: Callable[[], Flow[T]]) -> T:
        async with self._lock:
            return await self._runner.run(make())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            await self.close(timeout=CLOSE_TIMEOUT)
        except Exception:
            pass  # a daemon that is gone has no session to close; one that is busy ends it by its time to live

    # ---- changes ----

    async def reset(self, *, rows: Sequence[int] | None = None, seed: int | Sequence[int] | None = None,
                    start: Start | None = None, start_indices: Sequence[int] = (), state: Mapping[str, ArrayLike] | None = None,
                    outputs: Iterable[str] = (), raw: bool = False, timeout: float | None = None) -> Reply:
        return await self._run(lambda: self._core.reset(rows, seed, start, start_indices, state, outputs, raw, timeout))

    async def observe(self, observation: Observation, action: ArrayLike | None = None, *, rows: Sequence[int] | None = None,
                      outputs: Iterable[str] = (), raw: bool = False, timeout: float | None = None) -> Reply:
        return await self._run(lambda: self._core.observe(observation, action, rows, outputs, raw, timeout))

    async def step(self, action: ArrayLike, *, rows: Sequence[int] | None = None, outputs: Iterable[str] = (), raw: bool = False,
                   timeout: float | None = None) -> Reply:
        return await self._run(lambda: self._core.step(action, rows, outputs, raw, timeout))

    async def fork_into(self, into: Sequence[int], *, rows: Sequence[int] | None = None, reseed: int | None = None,
                        steps_back: int = 0, timeout: float | None = None) -> None:
        await self._run(lambda: self._core.fork_into(into, rows, reseed, steps_back, timeout))

    async def set_state(self, state: State, *, rows: Sequence[int] | None = None, timeout: float | None = None) -> None:
        await self._run(lambda: self._core.set_state(state, rows, timeout))

    # ---- reads ----

    async def encode(self, observation: Observation, *, rows: Sequence[int] | None = None, outputs: Iterable[str] = (),
                     raw: bool = False, timeout: float | None = None) -> Reply:
        return await self._run(lambda: self._core.encode(observation, rows, outputs, raw, timeout))

    async def decode(self, state: Mapping[str, ArrayLike] | None = None, *, rows: Sequence[int] | None = None,
                     outputs: Iterable[str] = (), raw: bool = False, timeout: float | None = None) -> Reply:
        return await self._run(lambda: self._core.decode(state, rows, outputs, raw, timeout))

    async def act(self, *, mode: LatentMode | None = None, rows: Sequence[int] | None = None, outputs: Iterable[str] = (),
                  raw: bool = False, timeout: float | None = None) -> Reply:
        return await self._run(lambda: self._core.act(mode, rows, outputs, raw, timeout))

    async def plan(self, *, plan: ArrayLike | None = None, anytime: bool = False, rows: Sequence[int] | None = None,
                   outputs: Iterable[str] = (), raw: bool = False, timeout: float | None = None,
                   **settings: Unpack[PlannerSettings]) -> Plan:
        return await self._run(lambda: self._core.plan(plan, anytime, rows, outputs, raw, timeout, settings))

    async def imagine(self, action: ArrayLike | None = None, *, policy: Policy | None = None, horizon: int = 0,
                      candidates: int = 0, mode: LatentMode | None = None, seed: int | None = None,
                      rows: Sequence[int] | None = None, outputs: Iterable[str] = (), raw: bool = False,
                      settings: PlannerSettings | None = None, timeout: float | None = None) -> Imagined:
        return await self._run(lambda: self._core.imagine(self._core.imagine_request(
            action, policy, horizon, candidates, mode, seed, rows, outputs, raw, 0, settings), timeout))

    async def imagine_chunks(self, action: ArrayLike | None = None, *, policy: Policy | None = None, horizon: int = 0,
                             candidates: int = 0, mode: LatentMode | None = None, seed: int | None = None,
                             rows: Sequence[int] | None = None, outputs: Iterable[str] = (), raw: bool = False,
                             chunk_bytes: int = 0, settings: PlannerSettings | None = None,
                             timeout: float | None = None) -> AsyncIterator[Chunk]:
        core = self._core
        request = core.imagine_request(action, policy, horizon, candidates, mode, seed, rows, outputs, raw, chunk_bytes,
                                       settings)
        method = self._runner.wire.method(core.address, "Simulation/Imagine")
        stream = method(request, timeout=core.client.patience.deadline(timeout).left())
        check = StreamCheck()
        try:
            async for message in stream:
                yield check.read(message, core.committed)
            check.finish()
        except grpc.aio.AioRpcError as error:
            raise from_rpc(error, core.address) from None
        finally:
            stream.cancel()

    async def get_state(self, *, rows: Sequence[int] | None = None, timeout: float | None = None) -> State:
        return await self._run(lambda: self._core.get_state(rows, timeout))

    def fork(self, *, rows: Sequence[int] | None = None, copies: int = 1, reseed: int | None = None, steps_back: int = 0,
             label: str = "", ttl: float | None = None, timeout: float | None = None) -> Opening:
        return Opening(self._fork(rows, copies, reseed, steps_back, label, ttl, timeout))

    async def _fork(self, rows: Sequence[int] | None, copies: int, reseed: int | None, steps_back: int, label: str,
                    ttl: float | None, timeout: float | None) -> Session:
        twin = await self._run(lambda: self._core.fork(rows, copies, reseed, steps_back, label, ttl, timeout))
        return Session(twin, self._runner)

    async def refresh(self, *, timeout: float | None = None) -> SessionInfo:
        return await self._run(lambda: self._core.get(timeout))

    async def close(self, *, timeout: float | None = None) -> None:
        await self._run(lambda: self._core.close(timeout))


class Interact(Verbs):
    """`dreamd.interact.Interact` for asyncio: `async with client.interact() as stream`, `await stream.step(...)`."""

    def __init__(self, wire: Wire, address: str) -> None:
        self._exchange = Exchange(address)
        self._requests: asyncio.Queue[pb.InteractRequest | None] = asyncio.Queue()
        self._wire = wire
        self._reader: asyncio.Task[None] | None = None
        self._closing = False

    async def __aenter__(self) -> Self:
        self._reader = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is not None and self._reader is not None:
            self._reader.cancel()
        await self.close()

    async def close(self) -> None:
        """Receives what is on its way, and ends the stream."""
        self._closing = True
        self._requests.put_nowait(None)
        if self._reader is not None:
            await asyncio.wait([self._reader])
        self._exchange.end(was_closed())

    def _send(self, session: SessionView, make: Callable[[SessionCore], Flow[T]]) -> Pending[T]:
        if self._reader is None:
            raise invalid("stream", "is not open: `async with client.interact() as stream`")
        message, pending = self._exchange.begin(session, make, None)
        self._requests.put_nowait(message)
        return pending

    async def _requests_in_turn(self) -> AsyncIterator[pb.InteractRequest]:
        while (message := await self._requests.get()) is not None:
            yield message

    async def _read(self) -> None:
        address = self._exchange.address
        stream = self._wire.method(address, METHOD)(self._requests_in_turn())
        try:
            async for message in stream:
                self._exchange.answer(message)
            self._exchange.end(was_closed() if self._closing else was_ended())
        except grpc.aio.AioRpcError as lost:
            self._exchange.end(from_rpc(lost, address))
        finally:
            stream.cancel()
            self._exchange.end(was_closed())


def _document() -> None:
    """The blocking classes' words hold here too."""
    connect.__doc__ = blocking.connect.__doc__
    for ours, theirs in ((Client, blocking.Client), (Session, blocking.Session)):
        for name, method in vars(theirs).items():
            if not name.startswith("_") and not isinstance(method, property):
                vars(ours)[name].__doc__ = method.__doc__


_document()
