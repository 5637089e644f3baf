"""Messages of the wire to the types of types.py and back."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from ._arguments import mapping
from ._proto import registry_pb2, simulation_pb2
from .errors import invalid
from .spaces import read_space
from .tensors import dtype_of, read
from .types import (
    Checkpoint,
    Chunk,
    Model,
    Plan,
    PlannerSettings,
    PlanStats,
    Reply,
    ServerInfo,
    SessionInfo,
    State,
    TensorSpec,
)

_PREFIXES = {"LatentMode": "LATENT_MODE_", "AutoresetMode": "AUTORESET_MODE_", "StartSource": "START_SOURCE_",
             "ImaginePolicy": "IMAGINE_POLICY_", "Rule": ""}
_PLANNER = {item.name for item in simulation_pb2.PlannerSettings.DESCRIPTOR.fields}


def enum_number(enum: Any, field: str, word: Any) -> Any:
    """"same_step" to AUTORESET_MODE_SAME_STEP; None is the enum's UNSPECIFIED."""
    if word is None:
        return 0
    prefix = _PREFIXES[enum.DESCRIPTOR.name]
    words = [value.name[len(prefix):].lower() for value in enum.DESCRIPTOR.values if value.number]
    if word not in words:
        raise invalid(field, f"is {word!r}, expected one of {', '.join(words)}")
    return enum.Value(prefix + word.upper())


def start_number(start: str | None, state: Any) -> Any:
    """Where rows start; who gives a state means to start there."""
    return enum_number(simulation_pb2.StartSource, "start", start or (None if state is None else "state"))


def fill(message: Any, prefix: str = "", /, **values: Any) -> Any:
    """Sets fields of a request; None leaves one out. A value that does not fit is an Error that names the field."""
    for field, value in values.items():
        if value is None:
            continue
        try:
            if isinstance(value, (list, tuple)):
                getattr(message, field).extend(value)
            else:
                setattr(message, field, value)
        except (TypeError, ValueError):
            expected = _what_fits(message, field)
            raise invalid(prefix + field, f"is {value!r}, expected {expected}") from None
    return message


def _what_fits(message: Any, field: str) -> str:
    item = message.DESCRIPTOR.fields_by_name[field]
    words = {item.CPPTYPE_UINT32: f"a whole number from 0 to {(1 << 32) - 1}",
             item.CPPTYPE_UINT64: f"a whole number from 0 to {(1 << 64) - 1}", item.CPPTYPE_FLOAT: "a number",
             item.CPPTYPE_DOUBLE: "a number", item.CPPTYPE_BOOL: "True or False", item.CPPTYPE_STRING: "a string"}
    what = words.get(item.cpp_type, "a whole number")
    return f"a list of which each is {what}" if hasattr(getattr(message, field), "extend") else what


def enum_word(enum: Any, number: int) -> str:
    name: str = enum.Name(number)
    return name[len(_PREFIXES[enum.DESCRIPTOR.name]):].lower() if number else ""


def write_settings(message: Any, settings: Mapping[str, Any] | None) -> None:
    for name, value in mapping("settings", settings, "a mapping of planner settings: dict(horizon=15)").items():
        if name not in _PLANNER:
            raise invalid(f"settings.{name}", f"is no setting of the planner; there are {', '.join(sorted(_PLANNER))}")
        if name == "latent_mode":
            value = enum_number(simulation_pb2.LatentMode, "settings.latent_mode", value)
        fill(message, "settings.", **{name: value})


def read_settings(message: Any) -> PlannerSettings:
    settings: Any = {item.name: value for item, value in message.ListFields()}
    if "latent_mode" in settings:
        settings["latent_mode"] = enum_word(simulation_pb2.LatentMode, settings["latent_mode"])
    found: PlannerSettings = settings
    return found


def read_specs(specs: Iterable[Any]) -> dict[str, TensorSpec]:
    return {spec.name: TensorSpec(spec.name, str(dtype_of(spec.datatype)), tuple(spec.shape)) for spec in specs}


def read_reply(message: Any, committed: int) -> Reply:
    return Reply(read(message), committed, message.checkpoint)


def read_plan(message: Any, committed: int) -> Plan:
    stats = message.stats
    return Plan(read(message), committed, message.checkpoint, read_settings(message.settings),
                PlanStats(stats.iterations, stats.row_steps, stats.queue_us / 1e6, stats.compute_us / 1e6))


def read_chunk(message: Any, committed: int) -> Chunk:
    return Chunk(read(message), committed, message.checkpoint, first_step=message.first_step, steps=message.steps,
                 first_trajectory=message.first_trajectory, trajectories=message.trajectories, last=message.last)


def read_state(message: Any, committed: int) -> State:
    return State(read(message), committed, message.checkpoint, message.format, message.layout_hash, message.checksum)


def read_session(message: simulation_pb2.Session) -> SessionInfo:
    return SessionInfo(
        session_id=message.session_id, label=message.label, busy=message.status == simulation_pb2.SESSION_STATUS_BUSY,
        model=message.model, checkpoint=message.checkpoint, rows=message.rows, seed=message.seed,
        committed_step_id=message.committed_step_id,
        latent_mode=enum_word(simulation_pb2.LatentMode, message.latent_mode),
        autoreset=enum_word(simulation_pb2.AutoresetMode, message.autoreset) or "disabled",
        horizon=message.horizon, history=message.history, ttl=message.ttl_ms / 1e3,
        time_left=message.time_left_ms / 1e3, opened=message.opened_unix_ms / 1e3, bytes=message.bytes,
        ended_rows=tuple(message.ended_rows), observation_space=read_space(message.observation_space),
        action_space=read_space(message.action_space), state=read_specs(message.state),
        outputs=read_specs(message.outputs), heads=tuple(message.heads), planning=read_settings(message.planning),
        ending=enum_word(simulation_pb2.Ending.Rule, message.ending.rule) or "never", threshold=message.ending.threshold,
        task=message.task, temperature=message.temperature if message.HasField("temperature") else None,
        start=enum_word(simulation_pb2.StartSource, message.start_source) or "initial", start_count=message.start_count,
        persist=message.persist)


def read_checkpoint(message: registry_pb2.Checkpoint) -> Checkpoint:
    return Checkpoint(
        name=message.name, version=message.version, checkpoint=message.checkpoint, family=message.family,
        parameters=message.parameters, bytes=message.bytes, row_bytes=message.row_bytes, loaded=message.loaded,
        loaded_bytes=message.loaded_bytes, sessions=message.sessions, created=message.created_unix_ms / 1e3,
        session_rows_max=message.session_rows_max, observation_space=read_space(message.observation_space),
        action_space=read_space(message.action_space), state=read_specs(message.state),
        outputs=read_specs(message.outputs), heads=tuple(message.heads), planning=read_settings(message.planning),
        manifest=json.loads(message.manifest_json) if message.manifest_json else {}, card=message.card_markdown,
        files={file.name: file.bytes for file in message.files}, tasks=tuple(message.tasks))


def read_model(message: registry_pb2.Model) -> Model:
    return Model(message.name, tuple(read_checkpoint(one) for one in message.checkpoints),
                 {one.alias: one.version for one in message.aliases})


def read_server(message: registry_pb2.GetServerInfoResponse, address: str) -> ServerInfo:
    limits = {item.name: getattr(message.limits, item.name) for item in message.limits.DESCRIPTOR.fields}
    return ServerInfo(
        address=address, version=message.version, commit=message.commit, build=message.build,
        instruction_set=message.instruction_set, precision=message.precision, compute_threads=message.compute_threads,
        uptime=message.uptime_ms / 1e3, libraries={one.name: one.version for one in message.libraries}, limits=limits,
        sessions=message.sessions, rows=message.rows, models_loaded=message.models_loaded,
        methods=tuple(message.methods), state=message.state, families=tuple(message.families),
        planner_presets=tuple(message.planner_presets), batches=message.batches, batch_rows=message.batch_rows,
        http_address=message.http_address)
