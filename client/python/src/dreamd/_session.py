"""A session as a client sees it: its step id, the requests it makes, and where it lives. No input or output here."""

from __future__ import annotations

import uuid
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import grpc
import numpy as np

from . import _arguments as arguments
from . import _messages as messages
from ._flow import BACK_OFF_FIRST, BACK_OFF_MOST, UNREACHABLE, Call, Collect, Deadline, Flow, Sleep, repeat
from ._journal import Journal, restore_request
from ._proto import simulation_pb2 as pb
from ._stream import StreamCheck, assemble
from .errors import Error, invalid
from .tensors import read, write, write_state, write_value
from .types import Imagined, Plan, Reply, SessionInfo, State

if TYPE_CHECKING:
    from ._client import ClientCore

R = TypeVar("R")
Rows = Sequence[int] | None
SAVE_BYTES = 8 << 20  # of a session, in one message
ROUNDS = 64  # of looking for a daemon that takes a session; the deadline ends most sooner


class SessionCore:
    """Flows of one session; `reach` repeats what is lost, and moves the session where its daemon is gone."""

    def __init__(self, client: ClientCore, address: str, session: pb.Session, opened: pb.OpenSessionRequest) -> None:
        self.client = client
        self.address = address
        self.info: SessionInfo = messages.read_session(session)
        self.committed: int = session.committed_step_id
        self.closed = False
        self.unsure = False  # a change was given up before its answer came: it was made, or not, or still is
        self.journal: Journal | None = None
        self.on_their_way = 0  # changes in a stream whose answers have not come
        self._ahead = 0  # what the daemon now there has committed plus this is `committed`
        if client.save_every:
            pinned = pb.OpenSessionRequest()
            pinned.CopyFrom(opened)
            pinned.model = f"{self.info.model.partition('@')[0]}@{self.info.checkpoint}"
            pinned.seed = self.info.seed
            self.journal = Journal(pinned, client.save_every)

    # ---- carrying requests ----

    def _reach(self, method: str, request: Any, deadline: Deadline, commits: bool = False,
               effect: type[Call] | type[Collect] = Call, unsure: bool = False) -> Flow[Any]:
        if self.closed:
            raise Error(grpc.StatusCode.NOT_FOUND, "the session was closed by this client", field="session_id")
        lost: Error | None = None
        moved = True
        for round_ in range(ROUNDS):
            request.session_id = self.info.session_id
            if commits:
                request.step_id = self.committed - self._ahead + 1 + self.on_their_way
            try:
                return (yield from repeat(self.address, method, request, deadline, self.client.session_patience, effect, unsure))
            except Error as error:
                if self.journal is None or not _is_lost(error) or deadline.passed() or round_ == ROUNDS - 1:
                    if lost is not None and (error.code is grpc.StatusCode.DEADLINE_EXCEEDED or
                                             (not moved and _is_lost(error))):
                        raise lost from error  # why there was no time left says more than that there was none
                    raise
                lost = error
            moved = yield from self._move(lost, deadline)
            if not moved:  # nobody is there: perhaps its daemon comes back
                lost = self.client.nowhere(lost)
                yield Sleep(min(BACK_OFF_FIRST * 2 ** min(round_, 6), BACK_OFF_MOST, deadline.left()))
        raise AssertionError("a loop that returns or raises")

    def _move(self, lost: Error, deadline: Deadline) -> Flow[bool]:
        """Makes the session again on another daemon, where one takes it."""
        assert self.journal is not None
        dead = self.address if lost.code in UNREACHABLE else ""  # a daemon that was started again may take it back
        refused: Error | None = None
        others = yield from self.client.by_load(deadline, dead)
        for address in others:
            try:
                session = yield from self.journal.rebuild(address, uuid.uuid4().hex, deadline, self.client.patience)
            except Error as error:
                refused = error
                continue
            self.address = address
            self.info = messages.read_session(session)
            self._ahead = self.committed - session.committed_step_id
            return True
        if refused is not None and refused.code not in UNREACHABLE:
            raise refused
        return False

    def _save(self, deadline: Deadline) -> Flow[None]:
        """In parts of rows, so that a large session fits into messages."""
        assert self.journal is not None
        part = max(SAVE_BYTES * self.info.rows // max(self.info.bytes, 1), 1)
        states = []
        for first in range(0, self.info.rows, part):
            request = pb.GetStateRequest()
            messages.fill(request.rows, rows=list(range(first, min(first + part, self.info.rows))))
            states.append((request.rows, (yield from self._reach("Simulation/GetState", request, deadline))))
        self.journal.keep(states)

    def _save_if_possible(self, deadline: Deadline) -> Flow[None]:
        """After a change that is made: whether it can be saved too must not change its result."""
        try:
            yield from self._save(deadline)
        except Error as error:
            if error.code not in UNREACHABLE:  # otherwise the journal is longer until a later save succeeds
                warnings.warn(f"session {self.info.session_id} cannot be saved and will not move: {error}", RuntimeWarning,
                              stacklevel=2)
                self.journal = None

    def start_saved(self, timeout: float | None) -> Flow[None]:
        """For a session that opening alone does not make again: one that was forked, or found."""
        if self.journal is not None:
            yield from self._save(self.client.patience.deadline(timeout))

    def commit(self, method: str, request: Any, timeout: float | None, save: bool = False) -> Flow[Any]:
        """A change: once, whatever is lost on the way."""
        deadline = self.client.patience.deadline(timeout)
        unsure, self.unsure = self.unsure, True
        try:
            reply = yield from self._reach(f"Simulation/{method}", request, deadline, commits=True, unsure=unsure)
        except Error as error:
            self.unsure = unsure or error.code in UNREACHABLE
            if unsure and is_overtaken(error):
                raise Error(error.code, "a change before this one was given up, and was made all the same: `refresh()` goes on "
                                        "after it; the very same call again gets its answer",
                            reason=error.reason, field=error.field, committed_step_id=error.committed_step_id) from error
            raise
        self.unsure = False
        self.committed = reply.committed_step_id + self._ahead
        if self.journal is not None:
            self.journal.note(f"Simulation/{method}", request, reply, commits=True)
            if save or self.journal.is_due():
                yield from self._save_if_possible(deadline)
        return reply

    def _change(self, method: str, request: Any, timeout: float | None) -> Flow[Reply]:
        reply = yield from self.commit(method, request, timeout)
        return messages.read_reply(reply, self.committed)

    def _look(self, method: str, request: Any, timeout: float | None, read_as: Callable[[Any, int], R]) -> Flow[R]:
        deadline = self.client.patience.deadline(timeout)
        reply = yield from self._reach(f"Simulation/{method}", request, deadline)
        if method == "Plan" and self.journal is not None:  # its warm start belongs to the session
            self.journal.note("Simulation/Plan", request, reply, commits=False)
            if self.journal.is_due() or request.anytime:  # how far such a search came, no replay can tell
                yield from self._save_if_possible(deadline)
        return read_as(reply, self.committed)

    # ---- requests ----

    def _select(self, request: Any, rows: Rows, outputs: Iterable[str], raw: bool = False) -> int:
        """Fills what requests have in common. Returns how many rows are meant."""
        if outputs:
            messages.fill(request, outputs=[outputs] if isinstance(outputs, str) else list(outputs))
        if raw:
            request.raw = True
        return self.info.rows if rows is None else self._rows(request.rows, "rows", rows)

    def _rows(self, selection: Any, field: str, rows: Rows) -> int:
        if rows is None:
            return self.info.rows
        chosen = arguments.row_indices(field, rows, self.info.rows)
        messages.fill(selection, rows=chosen)
        selection.SetInParent()
        return len(chosen)

    def _observation(self, request: Any, observation: Any, count: int) -> None:
        assert self.info.observation_space is not None
        write_value(request, "observation", self.info.observation_space, observation, count)

    def _action(self, request: Any, action: Any, count: int) -> None:
        assert self.info.action_space is not None
        write_value(request, "action", self.info.action_space, action, count)

    def reset(self, rows: Rows, seed: int | Sequence[int] | None, start: str | None, start_indices: Sequence[int],
              state: Mapping[str, Any] | None, outputs: Iterable[str], raw: bool, timeout: float | None) -> Flow[Reply]:
        request = pb.ResetRequest(start_source=messages.start_number(start, state))
        self._select(request, rows, outputs, raw)
        if seed is not None:
            request.seeds.extend(arguments.whole_numbers("seed", seed, f"whole numbers from 0 to {(1 << 64) - 1}"))
        request.start_indices.extend(arguments.whole_numbers("start_indices", start_indices, "indices of starts, from 0"))
        write_state(request, state)
        return (yield from self._change("Reset", request, timeout))

    def observe(self, observation: Any, action: Any, rows: Rows, outputs: Iterable[str], raw: bool,
                timeout: float | None) -> Flow[Reply]:
        request = pb.ObserveRequest()
        count = self._select(request, rows, outputs, raw)
        self._observation(request, observation, count)
        if action is not None:
            self._action(request, action, count)
        return (yield from self._change("Observe", request, timeout))

    def step(self, action: Any, rows: Rows, outputs: Iterable[str], raw: bool, timeout: float | None) -> Flow[Reply]:
        request = pb.StepRequest()
        self._action(request, action, self._select(request, rows, outputs, raw))
        return (yield from self._change("Step", request, timeout))

    def encode(self, observation: Any, rows: Rows, outputs: Iterable[str], raw: bool, timeout: float | None) -> Flow[Reply]:
        request = pb.EncodeRequest()
        self._observation(request, observation, self._select(request, rows, outputs, raw))
        return (yield from self._look("Encode", request, timeout, messages.read_reply))

    def decode(self, state: Mapping[str, Any] | None, rows: Rows, outputs: Iterable[str], raw: bool,
               timeout: float | None) -> Flow[Reply]:
        request = pb.DecodeRequest()
        self._select(request, rows, outputs, raw)
        write_state(request, state)
        return (yield from self._look("Decode", request, timeout, messages.read_reply))

    def act(self, mode: str | None, rows: Rows, outputs: Iterable[str], raw: bool, timeout: float | None) -> Flow[Reply]:
        request = pb.ActRequest(action_mode=messages.enum_number(pb.LatentMode, "mode", mode))
        self._select(request, rows, outputs, raw)
        return (yield from self._look("Act", request, timeout, messages.read_reply))

    def plan(self, plan: Any, anytime: bool, rows: Rows, outputs: Iterable[str], raw: bool, timeout: float | None,
             settings: Mapping[str, Any]) -> Flow[Plan]:
        request = pb.PlanRequest(anytime=anytime)
        self._select(request, rows, outputs, raw)
        if settings:
            messages.write_settings(request.settings, settings)
        if plan is not None:
            write(request, "plan", self._sequences("plan", plan))
        return (yield from self._look("Plan", request, timeout, messages.read_plan))

    def _sequences(self, field: str, value: Any) -> Any:
        """Actions along time, as the action space has them on the wire."""
        assert self.info.action_space is not None and self.info.action_space.dtype is not None
        array = arguments.array(field, value, "an array of actions: [rows, ..., steps, A...]")
        return array.astype(np.float32) if self.info.action_space.dtype.kind == "f" and array.dtype.kind in "biu" else array

    def fork(self, rows: Rows, copies: int, reseed: int | None, steps_back: int, label: str, ttl: float | None,
             timeout: float | None) -> Flow[SessionCore]:
        request = messages.fill(pb.ForkRequest(request_id=uuid.uuid4().hex), copies=copies, steps_back=steps_back, label=label,
                                ttl_ms=arguments.milliseconds("ttl", ttl), reseed=reseed)
        self._rows(request.rows, "rows", rows)
        reply = yield from self._reach("Simulation/Fork", request, self.client.patience.deadline(timeout))
        opened = pb.OpenSessionRequest()
        if self.journal is not None:
            opened.CopyFrom(self.journal.opened)
            opened.rows = reply.session.rows
            opened.ClearField("tensors")
            opened.ClearField("raw_contents")
            for name, starts in read(self.journal.opened).items():  # each row's own start goes with it
                chosen = starts if rows is None else starts[list(request.rows.rows)]
                write(opened, name, np.repeat(chosen, max(copies, 1), axis=0))
        twin = SessionCore(self.client, self.address, reply.session, opened)
        yield from twin.start_saved(timeout)
        return twin

    def fork_into(self, into: Sequence[int], rows: Rows, reseed: int | None, steps_back: int,
                  timeout: float | None) -> Flow[None]:
        request = messages.fill(pb.ForkRequest(), steps_back=steps_back, reseed=reseed)
        self._rows(request.into, "into", into)
        self._rows(request.rows, "rows", rows)
        yield from self.commit("Fork", request, timeout, save=True)

    def get_state(self, rows: Rows, timeout: float | None) -> Flow[State]:
        request = pb.GetStateRequest()
        self._rows(request.rows, "rows", rows)
        return (yield from self._look("GetState", request, timeout, messages.read_state))

    def set_state(self, state: State, rows: Rows, timeout: float | None) -> Flow[None]:
        if not isinstance(state, State):
            raise invalid("state", f"is of type {type(state).__name__}, expected a State, as get_state gives it")
        source = pb.GetStateResponse(format=state.format, layout_hash=state.layout_hash, checksum=state.checksum,
                                     checkpoint=state.checkpoint)
        for name, array in state.tensors.items():
            write(source, name, np.asarray(array))
        request = restore_request(source, "", 0)
        self._rows(request.rows, "rows", rows)
        yield from self.commit("SetState", request, timeout)

    def imagine_request(self, action: Any, policy: str | None, horizon: int, candidates: int, mode: str | None,
                        seed: int | None, rows: Rows, outputs: Iterable[str], raw: bool, chunk_bytes: int,
                        settings: Mapping[str, Any] | None) -> pb.ImagineRequest:
        request: pb.ImagineRequest = messages.fill(
            pb.ImagineRequest(session_id=self.info.session_id), horizon=horizon, candidates=candidates, seed=seed,
            chunk_bytes=chunk_bytes, policy=messages.enum_number(pb.ImaginePolicy, "policy", policy),
            action_mode=messages.enum_number(pb.LatentMode, "mode", mode))
        self._select(request, rows, outputs, raw)
        if action is not None:
            write(request, "action", self._sequences("action", action))
        if settings:
            messages.write_settings(request.settings, settings)
        return request

    def imagine(self, request: pb.ImagineRequest, timeout: float | None) -> Flow[Imagined]:
        deadline = self.client.patience.deadline(timeout)
        replies = yield from self._reach("Simulation/Imagine", request, deadline, effect=Collect)
        check = StreamCheck()
        chunks = [check.read(reply, self.committed) for reply in replies]
        check.finish()
        count = len(request.rows.rows) if request.HasField("rows") else self.info.rows
        return assemble(chunks, count, self.committed)

    def get(self, timeout: float | None) -> Flow[SessionInfo]:
        """Where the session stands; adopts the committed step id. A change that was given up and still runs is waited for."""
        deadline = self.client.patience.deadline(timeout)
        while True:
            reply = yield from self._reach("Simulation/GetSession", pb.GetSessionRequest(), deadline)
            self.info = messages.read_session(reply.session)
            if not (self.unsure and self.info.busy) or deadline.passed():
                break
            yield Sleep(min(BACK_OFF_FIRST, deadline.left()))
        self.unsure = self.unsure and self.info.busy
        moved = self.committed != self.info.committed_step_id + self._ahead
        self.committed = self.info.committed_step_id + self._ahead
        if moved and self.journal is not None:
            yield from self._save(deadline)
        return self.info

    def close(self, timeout: float | None) -> Flow[None]:
        """Of a session that is gone already: nothing."""
        if self.closed:
            return
        self.closed = True
        request = pb.CloseSessionRequest(session_id=self.info.session_id)
        try:
            yield from repeat(self.address, "Simulation/CloseSession", request, self.client.patience.deadline(timeout),
                              self.client.patience)
        except Error as error:
            if error.code is not grpc.StatusCode.NOT_FOUND:
                raise


def is_overtaken(error: Error) -> bool:
    """The session has committed another change than this client knows of."""
    return error.reason == "STEP_ID_GAP" or (error.field == "step_id" and error.code is grpc.StatusCode.INVALID_ARGUMENT)


def _is_lost(error: Error) -> bool:
    gone = error.code is grpc.StatusCode.NOT_FOUND and error.field == "session_id" and error.reason != "SESSION_EXPIRED"
    return gone or error.code in UNREACHABLE
