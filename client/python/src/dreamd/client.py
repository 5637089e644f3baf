"""The blocking client: `connect` gives a Client, `Client.open` a Session. `dreamd.aio` has the same names.

    client = dreamd.connect("127.0.0.1:7733")
    with client.open("pendulum", seed=7) as session:
        session.observe(observation)                          # [3], or [rows, 3] of a session of rows
        action = session.plan().action[0]                     # in the action space's units
        session.step(action, outputs=["reward", "observation"]).reward

Every call takes `timeout`, in seconds, for all of it: repeats and pauses too.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

import grpc
from numpy.typing import ArrayLike

from ._client import ClientCore
from ._flow import Call, Collect, Flow, Sleep
from ._session import SessionCore
from ._stream import StreamCheck
from ._view import SessionView
from ._wire import Wire
from .errors import from_rpc
from .interact import Interact, one_address
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
ADDRESS = "127.0.0.1:7733"
CLOSE_TIMEOUT = 2.0
REGISTER_TIMEOUT = 600.0


def default_address() -> str:
    """$DREAMD_ADDRESS, or the address that `dreamd serve` listens at when nothing else is said."""
    return os.environ.get("DREAMD_ADDRESS") or ADDRESS


def connect(address: str | Sequence[str] | None = None, *, timeout: float = 10.0, attempt_timeout: float | None = None,
            retries: int | None = None, save_every: int = 64,
            credentials: grpc.ChannelCredentials | None = None) -> Client:
    """A client of one daemon, or of several that host the same models. Connects when first used.

    With several addresses a session is opened on the daemon with the fewest rows and stays there. When that daemon is
    gone, the session is made again on another one from its last saved state and the requests since, and goes on with
    the same bits.

    Args:
        address: "host:port", or a list of them; None is $DREAMD_ADDRESS, or 127.0.0.1:7733.
        timeout: seconds a call may take, repeats and pauses included; every call can say its own.
        attempt_timeout: seconds one attempt of a call may take, after which it is repeated; None is `timeout`, with
            several addresses a third of it.
        retries: repeats of a call that found no daemon or was late, with pauses that double up to 2 s. None is 4, on a
            session 8 (some 7 s: a daemon may be just started again), with several addresses 1 before the session moves.
            Only what is safe is repeated: reads, and changes that carry a step id. A session that a lost attempt is
            opening all the same is waited for within `timeout`, whatever `retries` is.
        save_every: with several addresses, the state is saved after so many changes and plans.
        credentials: for TLS (`grpc.ssl_channel_credentials()`); None is plain.
    """
    return Client(ClientCore(default_address() if address is None else address, timeout, attempt_timeout, retries,
                             save_every), Wire(grpc, credentials))


class _Runner:
    """Carries flows out, blocking."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self._pause = threading.Event()

    def run(self, flow: Flow[T]) -> T:
        try:
            effect = next(flow)
            while True:
                try:
                    result, failure = self._perform(effect), None
                except grpc.RpcError as error:
                    assert not isinstance(effect, Sleep)
                    failure = from_rpc(error, effect.address, effect.timeout)
                effect = flow.send(result) if failure is None else flow.throw(failure)
        except StopIteration as done:
            value: T = done.value
            return value

    def _perform(self, effect: Call | Collect | Sleep) -> Any:
        if isinstance(effect, Sleep):
            self._pause.wait(effect.seconds)
            return None
        method = self.wire.method(effect.address, effect.method)
        try:
            reply = method(effect.request, timeout=effect.timeout)
            return list(reply) if isinstance(effect, Collect) else reply
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.UNAVAILABLE:
                self.wire.renew(effect.address, method)
            raise


class Client:
    """Made by `connect`. May be used from several threads."""

    def __init__(self, core: ClientCore, wire: Wire) -> None:
        self._core = core
        self._runner = _Runner(wire)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<dreamd.Client of {', '.join(self.addresses)}>"

    @property
    def addresses(self) -> tuple[str, ...]:
        """As given to `connect`."""
        return self._core.addresses

    def close(self) -> None:
        """Closes connections. Sessions that were not closed live on until their time to live ends."""
        for channel in self._runner.wire.take_channels():
            channel.close()

    # ---- sessions ----

    def open(self, model: str, *, rows: int = 1, seed: int | None = None, latent_mode: LatentMode | None = None,
             temperature: float | None = None, autoreset: Autoreset | None = None, horizon: int = 0,
             ending: EndingRule | None = None, threshold: float | None = None, start: Start | None = None,
             state: Mapping[str, ArrayLike] | None = None, history: int = 0, persist: bool = False, task: str = "",
             ttl: float | None = None, label: str = "", timeout: float | None = None) -> Session:
        """Opens a session: `rows` independent imagined worlds of one model. Use it as a context manager.

        Args:
            model: "name", "name@3", "name@best" or "name@sha256:...".
            rows: latent states in the session.
            seed: key of all its noise; None lets the daemon choose (`session.seed` says).
            latent_mode: "sample" (default), or "mode": no randomness.
            temperature: where the family has one.
            autoreset: what happens to a row that ended: "disabled" (default), "next_step" or "same_step".
            horizon: steps after which a row is truncated; 0 is never.
            ending: when the continue head ends a row: "never" (default), "threshold" or "sampled".
            threshold: of continue, 0 to 1; default 0.5.
            start: where rows start when reset: "initial" (default), "file" (the checkpoint's recorded starts), "state".
            state: {part: [rows, ...]}, all parts, for start="state".
            history: recent latents kept for `fork(steps_back=...)`.
            persist: lives through a restart of a daemon that has --persist-sessions, even through kill -9.
            task: of a multi-task model.
            ttl: seconds it lives without any request; None is the daemon's default.
            label: for people, shown in lists.
        """
        return Session(self._runner.run(self._core.open(
            model, rows, seed, latent_mode, temperature, autoreset, horizon, ending, threshold, start, state, history,
            persist, task, ttl, label, timeout)), self._runner)

    def attach(self, session_id: str, *, timeout: float | None = None) -> Session:
        """A session that is open already, by its id."""
        return Session(self._runner.run(self._core.attach(session_id, timeout)), self._runner)

    def sessions(self, *, model: str = "", timeout: float | None = None) -> list[SessionInfo]:
        """Sessions that are open, in order of opening; of one model, or of all."""
        return self._runner.run(self._core.sessions(model, timeout))

    def interact(self) -> Interact:
        """A stream for many requests at once, of any of this daemon's sessions: `dreamd.interact` has an example."""
        return Interact(self._runner.wire, one_address(self.addresses))

    # ---- models ----

    def models(self, *, timeout: float | None = None) -> list[Model]:
        """All models with their versions and aliases, in order of name."""
        return self._runner.run(self._core.models(timeout))

    def model(self, model: str, *, timeout: float | None = None) -> Checkpoint:
        """One checkpoint in full: spaces, heads, manifest, card."""
        return self._runner.run(self._core.model(model, timeout))

    def register(self, folder: str | os.PathLike[str], *, name: str = "", aliases: Iterable[str] = (), expected: str = "",
                 on_server: bool = False, timeout: float = REGISTER_TIMEOUT) -> Registered:
        """Stores a checkpoint folder, with several addresses on every one of them.

        Args:
            folder: holds manifest.json and the files beside it.
            name: instead of the manifest's.
            aliases: to point at the new version.
            expected: "sha256:..." that the checkpoint must have.
            on_server: `folder` is a path on the daemon's machine (allowed over loopback only).
        """
        return self._runner.run(self._core.register(folder, name, aliases, expected, on_server, timeout))

    def set_alias(self, name: str, alias: str, version: int | None, *, timeout: float | None = None) -> Model:
        """Points an alias at a version; None removes it."""
        return self._runner.run(self._core.set_alias(name, alias, version, timeout))

    def load(self, model: str, *, timeout: float | None = None) -> Checkpoint:
        """Loads a checkpoint before it is asked for."""
        return self._runner.run(self._core.load(model, timeout))

    def unload(self, model: str, *, timeout: float | None = None) -> Checkpoint:
        """Frees its memory; FAILED_PRECONDITION while sessions use it."""
        return self._runner.run(self._core.unload(model, timeout))

    def delete(self, model: str, *, timeout: float | None = None) -> None:
        """Deletes one version, "name@3", from catalogue and disk. Never repeated behind your back."""
        self._runner.run(self._core.delete(model, timeout))

    def server_info(self, address: str | None = None, *, timeout: float | None = None) -> ServerInfo:
        """A daemon's version, build, limits and load; None is the first address."""
        return self._runner.run(self._core.server_info(address, timeout))


class Session(SessionView):
    """Rows of latent state in a daemon; `Client.open` makes one, leaving the `with` block closes it.

    Arrays have rows as their first dimension; a session of one row (or a selection of one) takes them without it too.
    `rows=[...]` selects some rows, by index or with a mask; `outputs=[...]` names what to return (a prefix names all below
    it); `raw=True` is the model's float32, not clamped to its space.

    A change (reset, observe, step, set_state, fork_into) is made once, whatever is lost on the way: after UNAVAILABLE,
    DEADLINE_EXCEEDED or Ctrl-C (`unsure`) make the same call again, or `refresh()` to see whether it was made. Calls from
    several threads wait for each other.
    """

    def __init__(self, core: SessionCore, runner: _Runner) -> None:
        super().__init__(core)
        self._runner = runner
        self._lock = threading.Lock()

    def _run(self, make: Callable[[], Flow[T]]) -> T:
        with self._lock:
            return self._runner.run(make())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self.close(timeout=CLOSE_TIMEOUT)
        except Exception:
            pass  # a daemon that is gone has no session to close; one that is busy ends it by its time to live

    # ---- changes ----

    def reset(self, *, rows: Sequence[int] | None = None, seed: int | Sequence[int] | None = None,
              start: Start | None = None, start_indices: Sequence[int] = (), state: Mapping[str, ArrayLike] | None = None,
              outputs: Iterable[str] = (), raw: bool = False, timeout: float | None = None) -> Reply:
        """Puts rows at a start. Returns no tensors unless `outputs` names some.

        Args:
            seed: s gives row i of the selection the key s + i; a list gives one each; None lets the noise go on.
            start: "initial", "file" or "state"; None is as the session was opened.
            start_indices: which recorded starts (start="file"); empty draws them with the rows' noise.
            state: {part: [rows, ...]}, all parts, for start="state".
        """
        return self._run(lambda: self._core.reset(rows, seed, start, start_indices, state, outputs, raw, timeout))

    def observe(self, observation: Observation, action: ArrayLike | None = None, *, rows: Sequence[int] | None = None,
                outputs: Iterable[str] = (), raw: bool = False, timeout: float | None = None) -> Reply:
        """Filters a real observation a row into its latent. Returns no tensors unless `outputs` names some.

        Args:
            observation: [rows, O...], or {key: [rows, ...]} where the space is a Dict.
            action: [rows, A...] that led to it; None for rows that were just reset.
        """
        return self._run(lambda: self._core.observe(observation, action, rows, outputs, raw, timeout))

    def step(self, action: ArrayLike, *, rows: Sequence[int] | None = None, outputs: Iterable[str] = (), raw: bool = False,
             timeout: float | None = None) -> Reply:
        """Imagines one step a row. Returns reward, continue, terminated, truncated, or what `outputs` names.

        Args:
            action: [rows, A...] in the action space's units; of a Discrete whole numbers [rows].
        """
        return self._run(lambda: self._core.step(action, rows, outputs, raw, timeout))

    def fork_into(self, into: Sequence[int], *, rows: Sequence[int] | None = None, reseed: int | None = None,
                  steps_back: int = 0, timeout: float | None = None) -> None:
        """Copies `rows` over the rows `into`, one to one, or one row to all of them."""
        self._run(lambda: self._core.fork_into(into, rows, reseed, steps_back, timeout))

    def set_state(self, state: State, *, rows: Sequence[int] | None = None, timeout: float | None = None) -> None:
        """Writes rows that `get_state` saved, here or elsewhere; they go on bit-identically."""
        self._run(lambda: self._core.set_state(state, rows, timeout))

    # ---- reads ----

    def encode(self, observation: Observation, *, rows: Sequence[int] | None = None, outputs: Iterable[str] = (),
               raw: bool = False, timeout: float | None = None) -> Reply:
        """Observations [rows, O...] to the family's `embedding`; the session stays as it is."""
        return self._run(lambda: self._core.encode(observation, rows, outputs, raw, timeout))

    def decode(self, state: Mapping[str, ArrayLike] | None = None, *, rows: Sequence[int] | None = None,
               outputs: Iterable[str] = (), raw: bool = False, timeout: float | None = None) -> Reply:
        """Latents to `observation` (or reward, continue, value, state): the session's own, or {part: [N, ...]}."""
        return self._run(lambda: self._core.decode(state, rows, outputs, raw, timeout))

    def act(self, *, mode: LatentMode | None = None, rows: Sequence[int] | None = None, outputs: Iterable[str] = (),
            raw: bool = False, timeout: float | None = None) -> Reply:
        """The `action` [rows, A...] of the checkpoint's actor: its "mode" (default), or a "sample"."""
        return self._run(lambda: self._core.act(mode, rows, outputs, raw, timeout))

    def plan(self, *, plan: ArrayLike | None = None, anytime: bool = False, rows: Sequence[int] | None = None,
             outputs: Iterable[str] = (), raw: bool = False, timeout: float | None = None,
             **settings: Unpack[PlannerSettings]) -> Plan:
        """Chooses an `action` [rows, A...] by search in the model: `session.plan(horizon=15, candidates=128)`.

        Args:
            plan: [rows, horizon, A...] where the search begins, instead of the plan kept from the last step.
            anytime: the best plan found when the deadline comes near, instead of DEADLINE_EXCEEDED.
            settings: `PlannerSettings`; what is absent is the checkpoint's.
        """
        return self._run(lambda: self._core.plan(plan, anytime, rows, outputs, raw, timeout, settings))

    def imagine(self, action: ArrayLike | None = None, *, policy: Policy | None = None, horizon: int = 0,
                candidates: int = 0, mode: LatentMode | None = None, seed: int | None = None,
                rows: Sequence[int] | None = None, outputs: Iterable[str] = (), raw: bool = False,
                settings: PlannerSettings | None = None, timeout: float | None = None) -> Imagined:
        """Whole trajectories from the session's latents, which stay as they are. Tensors are [rows, candidates, steps, ...].

        Args:
            action: given sequences [rows, candidates, steps, A...] or [rows, steps, A...].
            policy: "actor", "given", "random" or "plan"; None is "given" with `action`, else "actor".
            horizon: steps; with `action` 0 is its length.
            candidates: trajectories a row; 0 is those of `action`, or 1.
            mode: how the actor acts, "sample" (default) or "mode".
            seed: of the noise; None goes on with the rows' own: candidate 0 does what the row itself would.
            outputs: default action, reward, continue; "return" alone scores sequences: [rows, candidates].
            settings: for policy="plan", and the discount and terminal_value of "return".
        """
        return self._run(lambda: self._core.imagine(self._core.imagine_request(
            action, policy, horizon, candidates, mode, seed, rows, outputs, raw, 0, settings), timeout))

    def imagine_chunks(self, action: ArrayLike | None = None, *, policy: Policy | None = None, horizon: int = 0,
                       candidates: int = 0, mode: LatentMode | None = None, seed: int | None = None,
                       rows: Sequence[int] | None = None, outputs: Iterable[str] = (), raw: bool = False,
                       chunk_bytes: int = 0, settings: PlannerSettings | None = None,
                       timeout: float | None = None) -> Iterator[Chunk]:
        """`imagine` as it is computed, in chunks of at most `chunk_bytes` (0 is 1 MiB). Leaving the loop cancels it.

        Other than `imagine`, it is not repeated when the link breaks.
        """
        core = self._core
        request = core.imagine_request(action, policy, horizon, candidates, mode, seed, rows, outputs, raw, chunk_bytes,
                                       settings)
        method = self._runner.wire.method(core.address, "Simulation/Imagine")
        stream = method(request, timeout=core.client.patience.deadline(timeout).left())
        check = StreamCheck()
        try:
            for message in stream:
                yield check.read(message, core.committed)
            check.finish()
        except grpc.RpcError as error:
            raise from_rpc(error, core.address) from None
        finally:
            stream.cancel()

    def get_state(self, *, rows: Sequence[int] | None = None, timeout: float | None = None) -> State:
        """Everything of some rows that matters, to go on from with `set_state`."""
        return self._run(lambda: self._core.get_state(rows, timeout))

    def fork(self, *, rows: Sequence[int] | None = None, copies: int = 1, reseed: int | None = None, steps_back: int = 0,
             label: str = "", ttl: float | None = None, timeout: float | None = None) -> Session:
        """A new session with `copies` of each row, next to each other; the same actions give the same future.

        Args:
            reseed: another future: the new key of the copies' noise.
            steps_back: how far to go back, at most the session's history.
        """
        twin = self._run(lambda: self._core.fork(rows, copies, reseed, steps_back, label, ttl, timeout))
        return Session(twin, self._runner)

    def refresh(self, *, timeout: float | None = None) -> SessionInfo:
        """Where the session stands at the daemon; adopts its committed step id, and renews its time to live."""
        return self._run(lambda: self._core.get(timeout))

    def close(self, *, timeout: float | None = None) -> None:
        """Frees the session. One that is gone already is closed."""
        self._run(lambda: self._core.close(timeout))
