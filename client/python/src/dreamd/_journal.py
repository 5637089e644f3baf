"""What it takes to make a session again on another daemon: a saved state, and what was asked of it since.

Replaying gives the same bits where the daemons are of one build and instruction set; where a replayed reply differs from
the first one, the session is not moved there.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

import grpc

from ._flow import Deadline, Flow, Patience, once, repeat
from ._proto import simulation_pb2
from .errors import Error


@dataclass(frozen=True, slots=True)
class Entry:
    method: str
    request: Any
    digest: int
    commits: bool


def digest_of(reply: Any) -> int:
    digest = 0
    for raw in getattr(reply, "raw_contents", ()):
        digest = zlib.crc32(raw, digest)
    return digest


class Journal:
    """`opened` opens the session; `save_every` is how many requests are replayed at most."""

    def __init__(self, opened: simulation_pb2.OpenSessionRequest, save_every: int) -> None:
        self.opened = opened
        self.save_every = save_every
        self.saved: list[tuple[Any, Any]] = []  # (RowSelection, GetStateResponse)
        self.entries: list[Entry] = []

    def note(self, method: str, request: Any, reply: Any, commits: bool) -> None:
        self.entries.append(Entry(method, request, digest_of(reply), commits))

    def is_due(self) -> bool:
        return len(self.entries) >= self.save_every

    def keep(self, states: list[tuple[Any, Any]]) -> None:
        self.saved = states
        self.entries.clear()

    def rebuild(self, address: str, request_id: str, deadline: Deadline, patience: Patience) -> Flow[Any]:
        """Opens the session at `address` and brings it to where it was. Returns its Session."""
        self.opened.request_id = request_id
        opened = yield from repeat(address, "Simulation/OpenSession", self.opened, deadline, patience)
        session = opened.session
        try:
            for rows, state in self.saved:
                request = restore_request(state, session.session_id, session.committed_step_id + 1)
                request.rows.CopyFrom(rows)
                reply = yield from repeat(address, "Simulation/SetState", request, deadline, patience)
                session.committed_step_id = reply.committed_step_id
            for entry in self.entries:
                yield from self._replay(entry, address, session, deadline, patience)
        except Error:
            closing = simulation_pb2.CloseSessionRequest(session_id=session.session_id)
            try:
                yield from once(address, "Simulation/CloseSession", closing, deadline)
            except Error:
                pass  # its time to live ends it
            raise
        return session

    def _replay(self, entry: Entry, address: str, session: Any, deadline: Deadline, patience: Patience) -> Flow[None]:
        entry.request.session_id = session.session_id
        if entry.commits:
            entry.request.step_id = session.committed_step_id + 1
        reply = yield from repeat(address, entry.method, entry.request, deadline, patience)
        if digest_of(reply) != entry.digest:
            raise Error(grpc.StatusCode.DATA_LOSS,
                        f"{address} computes other results than the session had so far: daemons that share sessions must be "
                        "of one build and instruction set")
        session.committed_step_id = reply.committed_step_id


def restore_request(state: Any, session_id: str, step_id: int) -> simulation_pb2.SetStateRequest:
    return simulation_pb2.SetStateRequest(
        session_id=session_id, step_id=step_id, tensors=state.tensors, raw_contents=state.raw_contents,
        format=state.format, layout_hash=state.layout_hash, checksum=state.checksum, checkpoint=state.checkpoint)
