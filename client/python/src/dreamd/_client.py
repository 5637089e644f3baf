"""A client as flows: opening sessions on the least loaded daemon, models, the daemon itself."""

from __future__ import annotations

import os
import pathlib
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import grpc

from . import _arguments as arguments
from . import _messages as messages
from ._flow import UNREACHABLE, Deadline, Flow, Patience, is_opening, once, repeat
from ._proto import registry_pb2 as reg
from ._proto import simulation_pb2 as pb
from ._session import SessionCore
from .errors import Error, invalid
from .tensors import write_state
from .types import Checkpoint, Model, Registered, ServerInfo, SessionInfo

PAGE, CHUNK_BYTES, LOAD_TIMEOUT = 1000, 1 << 20, 2.0
RETRIES, SESSION_RETRIES = 4, 8


class ClientCore:
    """Flows over one address or several. `save_every` is 0 where there is only one: a session stays where it is."""

    def __init__(self, addresses: str | Sequence[str], timeout: float, attempt_timeout: float | None, retries: int | None,
                 save_every: int) -> None:
        self.addresses = arguments.addresses(addresses)
        many = len(self.addresses) > 1
        timeout = arguments.seconds("timeout", timeout)
        attempt = timeout / 3 if many else None
        if attempt_timeout is not None:
            attempt = arguments.seconds("attempt_timeout", attempt_timeout)
        again = None if retries is None else arguments.count("retries", retries, 0)
        save_every = arguments.count("save_every", save_every, 1)
        self.save_every = save_every if many else 0
        self.patience = Patience(timeout, attempt, again if again is not None else 1 if many else RETRIES)
        # Who has a session waits for a daemon that is just started again; who has none may have the wrong address.
        self.session_patience = Patience(timeout, attempt, again if again is not None else 1 if many else SESSION_RETRIES)

    # ---- daemons ----

    def server_info(self, address: str | None, timeout: float | None) -> Flow[ServerInfo]:
        chosen = self.addresses if address is None else arguments.addresses(address)
        return (yield from self._server_info(chosen[0], self.patience.deadline(timeout)))

    def _server_info(self, address: str, deadline: Deadline) -> Flow[ServerInfo]:
        reply = yield from repeat(address, "Registry/GetServerInfo", reg.GetServerInfoRequest(), deadline, self.patience)
        return messages.read_server(reply, address)

    def by_load(self, deadline: Deadline, without: str = "") -> Flow[list[str]]:
        """Addresses that answer, the one with the fewest rows first; those that drain come last."""
        loads = []
        for address in self.addresses:
            if address == without:
                continue
            try:
                info = yield from self._server_info(address, Deadline(min(LOAD_TIMEOUT, deadline.left())))
            except Error as error:
                if error.code not in UNREACHABLE:
                    raise
                continue
            loads.append(((info.state != "SERVING", info.rows, info.sessions), address))
        return [address for _, address in sorted(loads, key=lambda load: load[0])]

    def _first(self, method: str, request: Any, timeout: float | None) -> Flow[Any]:
        """A question that any daemon answers: the first that is there."""
        deadline = self.patience.deadline(timeout)
        for address in self.addresses:
            try:
                return (yield from repeat(address, method, request, deadline, self.patience))
            except Error as error:
                if error.code not in UNREACHABLE:
                    raise
                lost = error
        raise self.nowhere(lost)

    def nowhere(self, last: Error) -> Error:
        """The failure of the address that was asked last, said of all."""
        if len(self.addresses) == 1 or last.code not in UNREACHABLE:
            return last
        return Error(last.code, f"none of {', '.join(self.addresses)} takes the call; the last one: {last.details}",
                     reason=last.reason, field=last.field, retry_after=last.retry_after)

    def _everywhere(self, method: str, request: Any, timeout: float | None, again: bool) -> Flow[Any]:
        """A change that all daemons must make. Returns the first one's answer."""
        deadline = self.patience.deadline(timeout)
        replies = []
        for address in self.addresses:
            try:
                replies.append((yield from repeat(address, method, request, deadline, self.patience) if again
                                else once(address, method, request, deadline)))
            except Error as error:
                if len(self.addresses) > 1:
                    error.details = f"{address}: {error.details}"
                    error.args = (f"{error.code.name}: {error.details}",)
                raise
        return replies[0]

    # ---- sessions ----

    def open(self, model: str, rows: int, seed: int | None, latent_mode: str | None, temperature: float | None,
             autoreset: str | None, horizon: int, ending: str | None, threshold: float | None, start: str | None,
             state: Mapping[str, Any] | None, history: int, persist: bool, task: str, ttl: float | None, label: str,
             timeout: float | None) -> Flow[SessionCore]:
        request = messages.fill(
            pb.OpenSessionRequest(), model=model, rows=arguments.count("rows", rows, 1), seed=seed,
            temperature=temperature, horizon=horizon, history=history, persist=persist, task=task, label=label,
            ttl_ms=arguments.milliseconds("ttl", ttl),
            latent_mode=messages.enum_number(pb.LatentMode, "latent_mode", latent_mode),
            autoreset=messages.enum_number(pb.AutoresetMode, "autoreset", autoreset),
            start_source=messages.start_number(start, state))
        if ending is not None or threshold is not None:
            messages.fill(request.ending, rule=messages.enum_number(pb.Ending.Rule, "ending", ending or "threshold"),
                          threshold=threshold)
        write_state(request, state)
        return (yield from self._open(request, self.patience.deadline(timeout)))

    def _open(self, request: pb.OpenSessionRequest, deadline: Deadline) -> Flow[SessionCore]:
        request.request_id = uuid.uuid4().hex
        addresses = list(self.addresses)
        if len(addresses) > 1:
            addresses = (yield from self.by_load(deadline)) or addresses
        for address in addresses:
            try:
                reply = yield from repeat(address, "Simulation/OpenSession", request, deadline, self.patience)
                return SessionCore(self, address, reply.session, request)
            except Error as error:
                if is_opening(error) or error.code not in (*UNREACHABLE, grpc.StatusCode.RESOURCE_EXHAUSTED):
                    raise
                refused = error
        raise self.nowhere(refused)

    def attach(self, session_id: str, timeout: float | None) -> Flow[SessionCore]:
        deadline = self.patience.deadline(timeout)
        missing: Error | None = None
        for address in self.addresses:
            try:
                request = messages.fill(pb.GetSessionRequest(), session_id=session_id)
                reply = yield from repeat(address, "Simulation/GetSession", request, deadline, self.patience)
            except Error as error:
                if error.code not in (*UNREACHABLE, grpc.StatusCode.NOT_FOUND):
                    raise
                missing = error
                continue
            core = SessionCore(self, address, reply.session, reopening(reply.session))
            yield from core.start_saved(timeout)
            return core
        assert missing is not None
        raise self.nowhere(missing)

    def sessions(self, model: str, timeout: float | None) -> Flow[list[SessionInfo]]:
        """Of all daemons that answer."""
        found: list[SessionInfo] = []
        lost: list[Error] = []
        deadline = self.patience.deadline(timeout)
        for address in self.addresses:
            try:
                found += yield from self._sessions(address, model, deadline)
            except Error as error:
                if error.code not in UNREACHABLE:
                    raise
                lost.append(error)
        if len(lost) == len(self.addresses):
            raise self.nowhere(lost[-1])
        return found

    def _sessions(self, address: str, model: str, deadline: Deadline) -> Flow[list[SessionInfo]]:
        found: list[SessionInfo] = []
        request = messages.fill(pb.ListSessionsRequest(page_size=PAGE), model=model)
        while True:
            page = yield from repeat(address, "Simulation/ListSessions", request, deadline, self.patience)
            found += [messages.read_session(one) for one in page.sessions]
            if not page.next_page_token:
                return found
            request.page_token = page.next_page_token

    # ---- models ----

    def models(self, timeout: float | None) -> Flow[list[Model]]:
        found: list[Model] = []
        request = reg.ListModelsRequest(page_size=PAGE)
        while True:
            page = yield from self._first("Registry/ListModels", request, timeout)
            found += [messages.read_model(one) for one in page.models]
            if not page.next_page_token:
                return found
            request.page_token = page.next_page_token

    def model(self, model: str, timeout: float | None) -> Flow[Checkpoint]:
        reply = yield from self._first("Registry/GetModel", messages.fill(reg.GetModelRequest(), model=model), timeout)
        return messages.read_checkpoint(reply.checkpoint)

    def set_alias(self, name: str, alias: str, version: int | None, timeout: float | None) -> Flow[Model]:
        request = messages.fill(reg.SetAliasRequest(), name=name, alias=alias, version=version)
        if version is None:
            request.remove = True
        reply = yield from self._everywhere("Registry/SetAlias", request, timeout, again=version is not None)
        return messages.read_model(reply.model)

    def load(self, model: str, timeout: float | None) -> Flow[Checkpoint]:
        request = messages.fill(reg.LoadModelRequest(), model=model)
        reply = yield from self._everywhere("Registry/LoadModel", request, timeout, again=True)
        return messages.read_checkpoint(reply.checkpoint)

    def unload(self, model: str, timeout: float | None) -> Flow[Checkpoint]:
        request = messages.fill(reg.UnloadModelRequest(), model=model)
        reply = yield from self._everywhere("Registry/UnloadModel", request, timeout, again=True)
        return messages.read_checkpoint(reply.checkpoint)

    def delete(self, model: str, timeout: float | None) -> Flow[None]:
        request = messages.fill(reg.DeleteCheckpointRequest(), model=model)
        yield from self._everywhere("Registry/DeleteCheckpoint", request, timeout, again=False)

    def register(self, folder: Any, name: str, aliases: Iterable[str], expected: str, on_server: bool,
                 timeout: float) -> Flow[Registered]:
        header = messages.fill(reg.RegisterHeader(), name=name, expected_checkpoint=expected,
                               aliases=[aliases] if isinstance(aliases, str) else list(aliases))
        if not isinstance(folder, (str, os.PathLike)):
            raise invalid("folder", f"is {folder!r}, expected the path of a checkpoint folder")
        path = pathlib.Path(folder)
        paths: list[pathlib.Path] = []
        if on_server:
            header.server_path = str(folder)
        else:
            manifest = path / "manifest.json"
            if not manifest.is_file():
                raise invalid("folder", f"{path} has no manifest.json: expected a checkpoint folder")
            header.manifest_json = manifest.read_bytes()
            paths = sorted(one for one in path.iterdir() if one.is_file() and one != manifest and not one.name.startswith("."))
            for one in paths:
                header.files.add(name=one.name, bytes=one.stat().st_size)
        deadline = self.patience.deadline(timeout)
        replies = []
        for address in self.addresses:
            replies.append((yield from once(address, "Registry/RegisterCheckpoint", _parts(header, paths), deadline)))
        return Registered(messages.read_checkpoint(replies[0].checkpoint), replies[0].created)


def _parts(header: reg.RegisterHeader, paths: Sequence[pathlib.Path]) -> Iterator[reg.RegisterCheckpointRequest]:
    yield reg.RegisterCheckpointRequest(header=header)
    for path in paths:
        with open(path, "rb") as file:
            while part := file.read(CHUNK_BYTES):
                yield reg.RegisterCheckpointRequest(chunk=reg.RegisterChunk(name=path.name, bytes=part))
    yield reg.RegisterCheckpointRequest(finish=reg.RegisterFinish())


def reopening(session: pb.Session) -> pb.OpenSessionRequest:
    """A request that opens another session like this one."""
    request = pb.OpenSessionRequest(
        model=session.model, rows=session.rows, seed=session.seed, latent_mode=session.latent_mode,
        autoreset=session.autoreset, ttl_ms=session.ttl_ms, label=session.label, horizon=session.horizon,
        history=session.history, task=session.task, persist=session.persist)
    if session.start_source != pb.START_SOURCE_STATE:  # what that begins at, nobody but its opener knows
        request.start_source = session.start_source
    if session.HasField("ending"):
        request.ending.CopyFrom(session.ending)
    if session.HasField("temperature"):
        request.temperature = session.temperature
    return request
