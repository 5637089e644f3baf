from dreamd._proto import tensor_pb2 as _tensor_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class LatentMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LATENT_MODE_UNSPECIFIED: _ClassVar[LatentMode]
    LATENT_MODE_SAMPLE: _ClassVar[LatentMode]
    LATENT_MODE_MODE: _ClassVar[LatentMode]

class AutoresetMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    AUTORESET_MODE_UNSPECIFIED: _ClassVar[AutoresetMode]
    AUTORESET_MODE_DISABLED: _ClassVar[AutoresetMode]
    AUTORESET_MODE_NEXT_STEP: _ClassVar[AutoresetMode]
    AUTORESET_MODE_SAME_STEP: _ClassVar[AutoresetMode]

class StartSource(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    START_SOURCE_UNSPECIFIED: _ClassVar[StartSource]
    START_SOURCE_INITIAL: _ClassVar[StartSource]
    START_SOURCE_FILE: _ClassVar[StartSource]
    START_SOURCE_STATE: _ClassVar[StartSource]

class SessionStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SESSION_STATUS_UNSPECIFIED: _ClassVar[SessionStatus]
    SESSION_STATUS_READY: _ClassVar[SessionStatus]
    SESSION_STATUS_BUSY: _ClassVar[SessionStatus]

class ImaginePolicy(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    IMAGINE_POLICY_UNSPECIFIED: _ClassVar[ImaginePolicy]
    IMAGINE_POLICY_ACTOR: _ClassVar[ImaginePolicy]
    IMAGINE_POLICY_GIVEN: _ClassVar[ImaginePolicy]
    IMAGINE_POLICY_RANDOM: _ClassVar[ImaginePolicy]
    IMAGINE_POLICY_PLAN: _ClassVar[ImaginePolicy]
LATENT_MODE_UNSPECIFIED: LatentMode
LATENT_MODE_SAMPLE: LatentMode
LATENT_MODE_MODE: LatentMode
AUTORESET_MODE_UNSPECIFIED: AutoresetMode
AUTORESET_MODE_DISABLED: AutoresetMode
AUTORESET_MODE_NEXT_STEP: AutoresetMode
AUTORESET_MODE_SAME_STEP: AutoresetMode
START_SOURCE_UNSPECIFIED: StartSource
START_SOURCE_INITIAL: StartSource
START_SOURCE_FILE: StartSource
START_SOURCE_STATE: StartSource
SESSION_STATUS_UNSPECIFIED: SessionStatus
SESSION_STATUS_READY: SessionStatus
SESSION_STATUS_BUSY: SessionStatus
IMAGINE_POLICY_UNSPECIFIED: ImaginePolicy
IMAGINE_POLICY_ACTOR: ImaginePolicy
IMAGINE_POLICY_GIVEN: ImaginePolicy
IMAGINE_POLICY_RANDOM: ImaginePolicy
IMAGINE_POLICY_PLAN: ImaginePolicy

class Ending(_message.Message):
    __slots__ = ("rule", "threshold")
    class Rule(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        RULE_UNSPECIFIED: _ClassVar[Ending.Rule]
        NEVER: _ClassVar[Ending.Rule]
        THRESHOLD: _ClassVar[Ending.Rule]
        SAMPLED: _ClassVar[Ending.Rule]
    RULE_UNSPECIFIED: Ending.Rule
    NEVER: Ending.Rule
    THRESHOLD: Ending.Rule
    SAMPLED: Ending.Rule
    RULE_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    rule: Ending.Rule
    threshold: float
    def __init__(self, rule: _Optional[_Union[Ending.Rule, str]] = ..., threshold: _Optional[float] = ...) -> None: ...

class OpenSessionRequest(_message.Message):
    __slots__ = ("model", "rows", "seed", "latent_mode", "temperature", "autoreset", "ttl_ms", "request_id", "label", "horizon", "ending", "history", "persist", "task", "start_source", "tensors", "raw_contents")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    LATENT_MODE_FIELD_NUMBER: _ClassVar[int]
    TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    AUTORESET_FIELD_NUMBER: _ClassVar[int]
    TTL_MS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    HORIZON_FIELD_NUMBER: _ClassVar[int]
    ENDING_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    PERSIST_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    START_SOURCE_FIELD_NUMBER: _ClassVar[int]
    TENSORS_FIELD_NUMBER: _ClassVar[int]
    RAW_CONTENTS_FIELD_NUMBER: _ClassVar[int]
    model: str
    rows: int
    seed: int
    latent_mode: LatentMode
    temperature: float
    autoreset: AutoresetMode
    ttl_ms: int
    request_id: str
    label: str
    horizon: int
    ending: Ending
    history: int
    persist: bool
    task: str
    start_source: StartSource
    tensors: _containers.RepeatedCompositeFieldContainer[_tensor_pb2.Tensor]
    raw_contents: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, model: _Optional[str] = ..., rows: _Optional[int] = ..., seed: _Optional[int] = ..., latent_mode: _Optional[_Union[LatentMode, str]] = ..., temperature: _Optional[float] = ..., autoreset: _Optional[_Union[AutoresetMode, str]] = ..., ttl_ms: _Optional[int] = ..., request_id: _Optional[str] = ..., label: _Optional[str] = ..., horizon: _Optional[int] = ..., ending: _Optional[_Union[Ending, _Mapping]] = ..., history: _Optional[int] = ..., persist: bool = ..., task: _Optional[str] = ..., start_source: _Optional[_Union[StartSource, str]] = ..., tensors: _Optional[_Iterable[_Union[_tensor_pb2.Tensor, _Mapping]]] = ..., raw_contents: _Optional[_Iterable[bytes]] = ...) -> None: ...

class OpenSessionResponse(_message.Message):
    __slots__ = ("session",)
    SESSION_FIELD_NUMBER: _ClassVar[int]
    session: Session
    def __init__(self, session: _Optional[_Union[Session, _Mapping]] = ...) -> None: ...

class Session(_message.Message):
    __slots__ = ("session_id", "label", "status", "model", "checkpoint", "rows", "seed", "committed_step_id", "latent_mode", "autoreset", "horizon", "history", "ttl_ms", "time_left_ms", "opened_unix_ms", "bytes", "ended_rows", "observation_space", "action_space", "state", "outputs", "heads", "planning", "ending", "task", "temperature", "start_source", "start_count", "persist")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    COMMITTED_STEP_ID_FIELD_NUMBER: _ClassVar[int]
    LATENT_MODE_FIELD_NUMBER: _ClassVar[int]
    AUTORESET_FIELD_NUMBER: _ClassVar[int]
    HORIZON_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    TTL_MS_FIELD_NUMBER: _ClassVar[int]
    TIME_LEFT_MS_FIELD_NUMBER: _ClassVar[int]
    OPENED_UNIX_MS_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    ENDED_ROWS_FIELD_NUMBER: _ClassVar[int]
    OBSERVATION_SPACE_FIELD_NUMBER: _ClassVar[int]
    ACTION_SPACE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    HEADS_FIELD_NUMBER: _ClassVar[int]
    PLANNING_FIELD_NUMBER: _ClassVar[int]
    ENDING_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    START_SOURCE_FIELD_NUMBER: _ClassVar[int]
    START_COUNT_FIELD_NUMBER: _ClassVar[int]
    PERSIST_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    label: str
    status: SessionStatus
    model: str
    checkpoint: str
    rows: int
    seed: int
    committed_step_id: int
    latent_mode: LatentMode
    autoreset: AutoresetMode
    horizon: int
    history: int
    ttl_ms: int
    time_left_ms: int
    opened_unix_ms: int
    bytes: int
    ended_rows: _containers.RepeatedScalarFieldContainer[int]
    observation_space: _tensor_pb2.Space
    action_space: _tensor_pb2.Space
    state: _containers.RepeatedCompositeFieldContainer[_tensor_pb2.TensorSpec]
    outputs: _containers.RepeatedCompositeFieldContainer[_tensor_pb2.TensorSpec]
    heads: _containers.RepeatedScalarFieldContainer[str]
    planning: PlannerSettings
    ending: Ending
    task: str
    temperature: float
    start_source: StartSource
    start_count: int
    persist: bool
    def __init__(self, session_id: _Optional[str] = ..., label: _Optional[str] = ..., status: _Optional[_Union[SessionStatus, str]] = ..., model: _Optional[str] = ..., checkpoint: _Optional[str] = ..., rows: _Optional[int] = ..., seed: _Optional[int] = ..., committed_step_id: _Optional[int] = ..., latent_mode: _Optional[_Union[LatentMode, str]] = ..., autoreset: _Optional[_Union[AutoresetMode, str]] = ..., horizon: _Optional[int] = ..., history: _Optional[int] = ..., ttl_ms: _Optional[int] = ..., time_left_ms: _Optional[int] = ..., opened_unix_ms: _Optional[int] = ..., bytes: _Optional[int] = ..., ended_rows: _Optional[_Iterable[int]] = ..., observation_space: _Optional[_Union[_tensor_pb2.Space, _Mapping]] = ..., action_space: _Optional[_Union[_tensor_pb2.Space, _Mapping]] = ..., state: _Optional[_Iterable[_Union[_tensor_pb2.TensorSpec, _Mapping]]] = ..., outputs: _Optional[_Iterable[_Union[_tensor_pb2.TensorSpec, _Mapping]]] = ..., heads: _Optional[_Iterable[str]] = ..., planning: _Optional[_Union[PlannerSettings, _Mapping]] = ..., ending: _Optional[_Union[Ending, _Mapping]] = ..., task: _Optional[str] = ..., temperature: _Optional[float] = ..., start_source: _Optional[_Union[StartSource, str]] = ..., start_count: _Optional[int] = ..., persist: bool = ...) -> None: ...

class GetSessionRequest(_message.Message):
    __slots__ = ("session_id",)
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    def __init__(self, session_id: _Optional[str] = ...) -> None: ...

class GetSessionResponse(_message.Message):
    __slots__ = ("session",)
    SESSION_FIELD_NUMBER: _ClassVar[int]
    session: Session
    def __init__(self, session: _Optional[_Union[Session, _Mapping]] = ...) -> None: ...

class ListSessionsRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "model")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    model: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., model: _Optional[str] = ...) -> None: ...

class ListSessionsResponse(_message.Message):
    __slots__ = ("sessions", "next_page_token")
    SESSIONS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    sessions: _containers.RepeatedCompositeFieldContainer[Session]
    next_page_token: str
    def __init__(self, sessions: _Optional[_Iterable[_Union[Session, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class CloseSessionRequest(_message.Message):
    __slots__ = ("session_id",)
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    def __init__(self, session_id: _Optional[str] = ...) -> None: ...

class CloseSessionResponse(_message.Message):
    __slots__ = ("committed_step_id",)
    COMMITTED_STEP_ID_FIELD_NUMBER: _ClassVar[int]
    committed_step_id: int
    def __init__(self, committed_step_id: _Optional[int] = ...) -> None: ...

class ResetRequest(_message.Message):
    __slots__ = ("session_id", "step_id", "rows", "outputs", "tensors", "raw_contents", "raw", "seeds", "start_source", "start_indices")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    STEP_ID_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    TENSORS_FIELD_NUMBER: _ClassVar[int]
    RAW_CONTENTS_FIELD_NUMBER: _ClassVar[int]
    RAW_FIELD_NUMBER: _ClassVar[int]
    SEEDS_FIELD_NUMBER: _ClassVar[int]
    START_SOURCE_FIELD_NUMBER: _ClassVar[int]
    START_INDICES_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    step_id: int
    rows: _tensor_pb2.RowSelection
    outputs: _containers.RepeatedScalarFieldContainer[str]
    tensors: _containers.RepeatedCompositeFieldContainer[_tensor_pb2.Tensor]
    raw_contents: _containers.RepeatedScalarFieldContainer[bytes]
    raw: bool
    seeds: _containers.RepeatedScalarFieldContainer[int]
    start_source: StartSource
    start_indices: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, session_id: _Optional[str] = ..., step_id: _Optional[int] = ..., rows: _Optional[_Union[_tensor_pb2.RowSelection, _Mapping]] = ..., outputs: _Optional[_Iterable[str]] = ..., tensors: _Optional[_Iterable[_Union[_tensor_pb2.Tensor, _Mapping]]] = ..., raw_contents: _Optional[_Iterable[bytes]] = ..., raw: bool = ..., seeds: _Optional[_Iterable[int]] = ..., start_source: _Optional[_Union[StartSource, str]] = ..., start_indices: _Optional[_Iterable[int]] = ...) -> None: ...

class ResetResponse(_message.Message):
    __slots__ = ("committed_step_id", "checkpoint", "tensors", "raw_contents")
    COMMITTED_STEP_ID_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    TENSORS_FIELD_NUMBER: _ClassVar[int]
    RAW_CONTENTS_FIELD_NUMBER: _ClassVar[int]
    committed_step_id: int
    checkpoint: str
    tensors: _containers.RepeatedCompositeFieldContainer[_tensor_pb2.Tensor]
    raw_contents: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, committed_step_id: _Optional[int] = ..., checkpoint: _Optional[str] = ..., tensors: _Optional[_Iterable[_Union[_tensor_pb2.Tensor, _Mapping]]] = ..., raw_contents: _Optional[_Iterable[bytes]] = ...) -> None: ...

class ObserveRequest(_message.Message):
    __slots__ = ("session_id", "step_id", "rows", "outputs", "tensors", "raw_contents", "raw")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    STEP_ID_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    TENSORS_FIELD_NUMBER: _ClassVar[int]
    RAW_CONTENTS_FIELD_NUMBER: _ClassVar[int]
    RAW_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    step_id: int
    rows: _tensor_pb2.RowSelection
    outputs: _containers.RepeatedScalarFieldContainer[str]
    tensors: _containers.RepeatedCompositeFieldContainer[_tensor_pb2.Tensor]
    raw_contents: _containers.RepeatedScalarFieldContainer[bytes]
    raw: bool
    def __init__(self, session_id: _Optional[str] = ..., step_id: _Optional[int] = ..., rows: _Optional[_Union[_tensor_pb2.RowSelection, _Mapping]] = ..., outputs: _Optional[_Iterable[str]] = ..., tensors: _Optional[_Iterable[_Union[_tensor_pb2.Tensor, _Mapping]]] = ..., raw_contents: _Optional[_Iterable[bytes]] = ..., raw: bool = ...) -> None: ...

class ObserveResponse(_message.Message):
    __slots__ = ("committed_step_id", "checkpoint", "tensors", "raw_contents")
    COMMITTED_STEP_ID_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    TENSORS_FIELD_NUMBER: _ClassVar[int]
    RAW_CONTENTS_FIELD_NUMBER: _ClassVar[int]
    committed_step_id: int
    checkpoint: str
    tensors: _containers.RepeatedCompositeFieldContainer[_tensor_pb2.Tensor]
    raw_contents: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, committed_step_id: _Optional[int] = ..., checkpoint: _Optional[str] = ..., tensors: _Optional[_Iterable[_Union[_tensor_pb2.Tensor, _Mapping]]] = ..., raw_contents: _Optional[_Iterable[bytes]] = ...) -> None: ...

class StepRequest(_message.Message):
    __slots__ = ("session_id", "step_id", "rows", "outputs", "tensors", "raw_contents", "raw")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    STEP_ID_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    TENSORS_FIELD_NUMBER: _ClassVar[int]
    RAW_CONTENTS_FIELD_NUMBER: _ClassVar[int]
    RAW_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    step_id: int
    rows: _tensor_pb2.RowSelection
    outputs: _containers.RepeatedScalarFieldContainer[str]
    tensors: _containers.RepeatedCompositeFieldContainer[_tensor_pb2.Tensor]
    raw_contents: _containers.RepeatedScalarFieldContainer[bytes]
    raw: bool
    def __init__(self, session_id: _Optional[str] = ..., step_id: _Optional[int] = ..., rows: _Optional[_Union[_tensor_pb2.RowSelection, _Mapping]] = ..., outputs: _Optional[_Iterable[str]] = ..., tensors: _Optional[_Iterable[_Union[_tensor_pb2.Tensor, _Mapping]]] = ..., raw_contents: _Optional[_Iterable[bytes]] = ..., raw: bool = ...) -> None: ...

class StepResponse(_message.Message):
    __slots__ = ("committed_step_id", "checkpoint", "tensors", "raw_contents")
    COMMITTED_STEP_ID_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    TENSORS_FIELD_NUMBER: _ClassVar[int]
    RAW_CONTENTS_FIELD_NUMBER: _ClassVar[int]
    committed_step_id: int
    checkpoint: str
    tensors: _containers.RepeatedCompositeFieldContainer[_tensor_pb2.Tensor]
    raw_contents: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, committed_step_id: _Optional[int] = ..., checkpoint: _Optional[str] = ..., tensors: _Optional[_Iterable[_Union[_tensor_pb2.Tensor, _Mapping]]] = ..., raw_contents: _Optional[_Iterable[bytes]] = ...) -> None: ...

class EncodeRequest(_message.Message):
    __slots__ = ("session_id", "at_step_id", "rows", "outputs", "tensors", "raw_contents", "raw")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    AT_STEP_ID_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    TENSORS_FIELD_NUMBER: _ClassVar[int]
    RAW_CONTENTS_FIELD_NUMBER: _ClassVar[int]
    RAW_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    at_step_id: int
    rows: _tensor_pb2.RowSelection
    outputs: _containers.RepeatedScalarFieldContainer[str]
    tensors: _containers.RepeatedCompositeFieldContainer[_tensor_pb2.Tensor]
    raw_contents: _containers.RepeatedScalarFieldContainer[bytes]
    raw: bool
    def __init__(self, session_id: _Optional[str] = ..., at_step_id: _Optional[int] = ..., rows: _Optional[_Union[_tensor_pb2.RowSelection, _Mapping]] = ..., outputs: _Optional[_Iterable[str]] = ..., tensors: _Optional[_Iterable[_Union[_tensor_pb2.Tensor, _Mapping]]] = ..., raw_contents: _Optional[_Iterable[bytes]] = ..., raw: bool = ...) -> None: ...

class EncodeResponse(_message.Message):
    __slots__ = ("committed_step_id", "checkpoint", "tensors", "raw_contents")
    COMMITTED_STEP_ID_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    TENSORS_FIELD_NUMBER: _ClassVar[int]
    RAW_CONTENTS_FIELD_NUMBER: _ClassVar[int]
    committed_step_id: int
    checkpoint: str
    tensors: _containers.RepeatedCompositeFieldContainer[_tensor_pb2.Tensor]
    raw_contents: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, committed_step_id: _Optional[int] = ..., checkpoint: _Optional[str] = ..., tensors: _Optional[_Iterable[_Union[_tensor_pb2.Tensor, _Mapping]]] = ..., raw_contents: _Optional[_Iterable[bytes]] = ...) -> None: ...

class DecodeRequest(_message.Message):
    __slots__ = ("session_id", "at_step_id", "rows", "outputs", "tensors", "raw_contents", "raw")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    AT_STEP_ID_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    TENSORS_FIELD_NUMBER: _ClassVar[int]
    RAW_CONTENTS_FIELD_NUMBER: _ClassVar[int]
    RAW_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    at_step_id: int
    rows: _tensor_pb2.RowSelection
    outputs: _containers.RepeatedScalarFieldContainer[str]
    tensors: _containers.RepeatedCompositeFieldContainer[_tensor_pb2.Tensor]
    raw_contents: _containers.RepeatedScalarFieldContainer[bytes]
    raw: bool
    def __init__(self, session_id: _Optional[str] = ..., at_step_id: _Optional[int] = ..., rows: _Optional[_Union[_tensor_pb2.RowSelection, _Mapping]] = ..., outputs: _Optional[_Iterable[str]] = ..., tensors: _Optional[_Iterable[_Union[_tensor_pb2.Tensor, _Mapping]]] = ..., raw_contents: _Optional[_Iterable[bytes]] = ..., raw: bool = ...) -> None: ...

class DecodeResponse(_message.Message):
    __slots__ = ("committed_step_id", "checkpoint", "tensors", "raw_contents")
    COMMITTED_STEP_ID_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    TENSORS_FIELD_NUMBER: _ClassVar[int]
    RAW_CONTENTS_FIELD_NUMBER: _ClassVar[int]
    committed_step_id: int
    checkpoint: str
    tensors: _containers.RepeatedCompositeFieldContainer[_tensor_pb2.Tensor]
    raw_contents: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, committed_step_id: _Optional[int] = ..., checkpoint: _Optional[str] = ..., tensors: _Optional[_Iterable[_Union[_tensor_pb2.Tensor, _Mapping]]] = ..., raw_contents: _Optional[_Iterable[bytes]] = ...) -> None: ...

class ActRequest(_message.Message):
    __slots__ = ("session_id", "at_step_id", "rows", "outputs", "tensors", "raw_contents", "raw", "action_mode")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    AT_STEP_ID_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    TENSORS_FIELD_NUMBER: _ClassVar[int]
    RAW_CONTENTS_FIELD_NUMBER: _ClassVar[int]
    RAW_FIELD_NUMBER: _ClassVar[int]
    ACTION_MODE_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    at_step_id: int
    rows: _tensor_pb2.RowSelection
    outputs: _containers.RepeatedScalarFieldContainer[str]
    tensors: _containers.RepeatedCompositeFieldContainer[_tensor_pb2.Tensor]
    raw_contents: _containers.RepeatedScalarFieldContainer[bytes]
    raw: bool
    action_mode: LatentMode
    def __init__(self, session_id: _Optional[str] = ..., at_step_id: _Optional[int] = ..., rows: _Optional[_Union[_tensor_pb2.RowSelection, _Mapping]] = ..., outputs: _Optional[_Iterable[str]] = ..., tensors: _Optional[_Iterable[_Union[_tensor_pb2.Tensor, _Mapping]]] = ..., raw_contents: _Optional[_Iterable[bytes]] = ..., raw: bool = ..., action_mode: _Optional[_Union[LatentMode, str]] = ...) -> None: ...

class ActResponse(_message.Message):
    __slots__ = ("committed_step_id", "checkpoint", "tensors", "raw_contents")
    COMMITTED_STEP_ID_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    TENSORS_FIELD_NUMBER: _ClassVar[int]
    RAW_CONTENTS_FIELD_NUMBER: _ClassVar[int]
    committed_step_id: int
    checkpoint: str
    tensors: _containers.RepeatedCompositeFieldContainer[_tensor_pb2.Tensor]
    raw_contents: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, committed_step_id: _Optional[int] = ..., checkpoint: _Optional[str] = ..., tensors: _Optional[_Iterable[_Union[_tensor_pb2.Tensor, _Mapping]]] = ..., raw_contents: _Optional[_Iterable[bytes]] = ...) -> None: ...

class PlannerSettings(_message.Message):
    __slots__ = ("preset", "method", "horizon", "candidates", "iterations", "elites", "discount", "warm_start", "terminal_value", "action_noise", "seed", "initial_std", "min_std", "max_std", "temperature", "momentum", "noise_beta", "keep_elites", "shift_elites", "decay", "actor_candidates", "latent_mode", "choose", "action_repeat")
    PRESET_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    HORIZON_FIELD_NUMBER: _ClassVar[int]
    CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    ITERATIONS_FIELD_NUMBER: _ClassVar[int]
    ELITES_FIELD_NUMBER: _ClassVar[int]
    DISCOUNT_FIELD_NUMBER: _ClassVar[int]
    WARM_START_FIELD_NUMBER: _ClassVar[int]
    TERMINAL_VALUE_FIELD_NUMBER: _ClassVar[int]
    ACTION_NOISE_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    INITIAL_STD_FIELD_NUMBER: _ClassVar[int]
    MIN_STD_FIELD_NUMBER: _ClassVar[int]
    MAX_STD_FIELD_NUMBER: _ClassVar[int]
    TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    MOMENTUM_FIELD_NUMBER: _ClassVar[int]
    NOISE_BETA_FIELD_NUMBER: _ClassVar[int]
    KEEP_ELITES_FIELD_NUMBER: _ClassVar[int]
    SHIFT_ELITES_FIELD_NUMBER: _ClassVar[int]
    DECAY_FIELD_NUMBER: _ClassVar[int]
    ACTOR_CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    LATENT_MODE_FIELD_NUMBER: _ClassVar[int]
    CHOOSE_FIELD_NUMBER: _ClassVar[int]
    ACTION_REPEAT_FIELD_NUMBER: _ClassVar[int]
    preset: str
    method: str
    horizon: int
    candidates: int
    iterations: int
    elites: int
    discount: float
    warm_start: bool
    terminal_value: bool
    action_noise: float
    seed: int
    initial_std: float
    min_std: float
    max_std: float
    temperature: float
    momentum: float
    noise_beta: float
    keep_elites: float
    shift_elites: float
    decay: float
    actor_candidates: int
    latent_mode: LatentMode
    choose: str
    action_repeat: int
    def __init__(self, preset: _Optional[str] = ..., method: _Optional[str] = ..., horizon: _Optional[int] = ..., candidates: _Optional[int] = ..., iterations: _Optional[int] = ..., elites: _Optional[int] = ..., discount: _Optional[float] = ..., warm_start: bool = ..., terminal_value: bool = ..., action_noise: _Optional[float] = ..., seed: _Optional[int] = ..., initial_std: _Optional[float] = ..., min_std: _Optional[float] = ..., max_std: _Optional[float] = ..., temperature: _Optional[float] = ..., momentum: _Optional[float] = ..., noise_beta: _Optional[float] = ..., keep_elites: _Optional[float] = ..., shift_elites: _Optional[float] = ..., decay: _Optional[float] = ..., actor_candidates: _Optional[int] = ..., latent_mode: _Optional[_Union[LatentMode, str]] = ..., choose: _Optional[str] = ..., action_repeat: _Optional[int] = ...) -> None: ...

class PlanRequest(_message.Message):
    __slots__ = ("session_id", "at_step_id", "rows", "outputs", "tensors", "raw_contents", "raw", "settings", "anytime")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    AT_STEP_ID_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    TENSORS_FIELD_NUMBER: _ClassVar[int]
    RAW_CONTENTS_FIELD_NUMBER: _ClassVar[int]
    RAW_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    ANYTIME_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    at_step_id: int
    rows: _tensor_pb2.RowSelection
    outputs: _containers.RepeatedScalarFieldContainer[str]
    tensors: _containers.RepeatedCompositeFieldContainer[_tensor_pb2.Tensor]
    raw_contents: _containers.RepeatedScalarFieldContainer[bytes]
    raw: bool
    settings: PlannerSettings
    anytime: bool
    def __init__(self, session_id: _Optional[str] = ..., at_step_id: _Optional[int] = ..., rows: _Optional[_Union[_tensor_pb2.RowSelection, _Mapping]] = ..., outputs: _Optional[_Iterable[str]] = ..., tensors: _Optional[_Iterable[_Union[_tensor_pb2.Tensor, _Mapping]]] = ..., raw_contents: _Optional[_Iterable[bytes]] = ..., raw: bool = ..., settings: _Optional[_Union[PlannerSettings, _Mapping]] = ..., anytime: bool = ...) -> None: ...

class PlanResponse(_message.Message):
    __slots__ = ("committed_step_id", "checkpoint", "tensors", "raw_contents", "stats", "settings")
    COMMITTED_STEP_ID_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    TENSORS_FIELD_NUMBER: _ClassVar[int]
    RAW_CONTENTS_FIELD_NUMBER: _ClassVar[int]
    STATS_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    committed_step_id: int
    checkpoint: str
    tensors: _containers.RepeatedCompositeFieldContainer[_tensor_pb2.Tensor]
    raw_contents: _containers.RepeatedScalarFieldContainer[bytes]
    stats: PlanStats
    settings: PlannerSettings
    def __init__(self, committed_step_id: _Optional[int] = ..., checkpoint: _Optional[str] = ..., tensors: _Optional[_Iterable[_Union[_tensor_pb2.Tensor, _Mapping]]] = ..., raw_contents: _Optional[_Iterable[bytes]] = ..., stats: _Optional[_Union[PlanStats, _Mapping]] = ..., settings: _Optional[_Union[PlannerSettings, _Mapping]] = ...) -> None: ...

class PlanStats(_message.Message):
    __slots__ = ("iterations", "row_steps", "queue_us", "compute_us")
    ITERATIONS_FIELD_NUMBER: _ClassVar[int]
    ROW_STEPS_FIELD_NUMBER: _ClassVar[int]
    QUEUE_US_FIELD_NUMBER: _ClassVar[int]
    COMPUTE_US_FIELD_NUMBER: _ClassVar[int]
    iterations: int
    row_steps: int
    queue_us: int
    compute_us: int
    def __init__(self, iterations: _Optional[int] = ..., row_steps: _Optional[int] = ..., queue_us: _Optional[int] = ..., compute_us: _Optional[int] = ...) -> None: ...

class ForkRequest(_message.Message):
    __slots__ = ("session_id", "step_id", "rows", "into", "copies", "steps_back", "reseed", "label", "ttl_ms", "request_id")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    STEP_ID_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    INTO_FIELD_NUMBER: _ClassVar[int]
    COPIES_FIELD_NUMBER: _ClassVar[int]
    STEPS_BACK_FIELD_NUMBER: _ClassVar[int]
    RESEED_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    TTL_MS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    step_id: int
    rows: _tensor_pb2.RowSelection
    into: _tensor_pb2.RowSelection
    copies: int
    steps_back: int
    reseed: int
    label: str
    ttl_ms: int
    request_id: str
    def __init__(self, session_id: _Optional[str] = ..., step_id: _Optional[int] = ..., rows: _Optional[_Union[_tensor_pb2.RowSelection, _Mapping]] = ..., into: _Optional[_Union[_tensor_pb2.RowSelection, _Mapping]] = ..., copies: _Optional[int] = ..., steps_back: _Optional[int] = ..., reseed: _Optional[int] = ..., label: _Optional[str] = ..., ttl_ms: _Optional[int] = ..., request_id: _Optional[str] = ...) -> None: ...

class ForkResponse(_message.Message):
    __slots__ = ("committed_step_id", "checkpoint", "session")
    COMMITTED_STEP_ID_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    committed_step_id: int
    checkpoint: str
    session: Session
    def __init__(self, committed_step_id: _Optional[int] = ..., checkpoint: _Optional[str] = ..., session: _Optional[_Union[Session, _Mapping]] = ...) -> None: ...

class GetStateRequest(_message.Message):
    __slots__ = ("session_id", "at_step_id", "rows")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    AT_STEP_ID_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    at_step_id: int
    rows: _tensor_pb2.RowSelection
    def __init__(self, session_id: _Optional[str] = ..., at_step_id: _Optional[int] = ..., rows: _Optional[_Union[_tensor_pb2.RowSelection, _Mapping]] = ...) -> None: ...

class GetStateResponse(_message.Message):
    __slots__ = ("committed_step_id", "checkpoint", "tensors", "raw_contents", "format", "layout_hash", "checksum")
    COMMITTED_STEP_ID_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    TENSORS_FIELD_NUMBER: _ClassVar[int]
    RAW_CONTENTS_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    LAYOUT_HASH_FIELD_NUMBER: _ClassVar[int]
    CHECKSUM_FIELD_NUMBER: _ClassVar[int]
    committed_step_id: int
    checkpoint: str
    tensors: _containers.RepeatedCompositeFieldContainer[_tensor_pb2.Tensor]
    raw_contents: _containers.RepeatedScalarFieldContainer[bytes]
    format: int
    layout_hash: str
    checksum: int
    def __init__(self, committed_step_id: _Optional[int] = ..., checkpoint: _Optional[str] = ..., tensors: _Optional[_Iterable[_Union[_tensor_pb2.Tensor, _Mapping]]] = ..., raw_contents: _Optional[_Iterable[bytes]] = ..., format: _Optional[int] = ..., layout_hash: _Optional[str] = ..., checksum: _Optional[int] = ...) -> None: ...

class SetStateRequest(_message.Message):
    __slots__ = ("session_id", "step_id", "rows", "tensors", "raw_contents", "format", "layout_hash", "checksum", "checkpoint")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    STEP_ID_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    TENSORS_FIELD_NUMBER: _ClassVar[int]
    RAW_CONTENTS_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    LAYOUT_HASH_FIELD_NUMBER: _ClassVar[int]
    CHECKSUM_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    step_id: int
    rows: _tensor_pb2.RowSelection
    tensors: _containers.RepeatedCompositeFieldContainer[_tensor_pb2.Tensor]
    raw_contents: _containers.RepeatedScalarFieldContainer[bytes]
    format: int
    layout_hash: str
    checksum: int
    checkpoint: str
    def __init__(self, session_id: _Optional[str] = ..., step_id: _Optional[int] = ..., rows: _Optional[_Union[_tensor_pb2.RowSelection, _Mapping]] = ..., tensors: _Optional[_Iterable[_Union[_tensor_pb2.Tensor, _Mapping]]] = ..., raw_contents: _Optional[_Iterable[bytes]] = ..., format: _Optional[int] = ..., layout_hash: _Optional[str] = ..., checksum: _Optional[int] = ..., checkpoint: _Optional[str] = ...) -> None: ...

class SetStateResponse(_message.Message):
    __slots__ = ("committed_step_id", "checkpoint")
    COMMITTED_STEP_ID_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    committed_step_id: int
    checkpoint: str
    def __init__(self, committed_step_id: _Optional[int] = ..., checkpoint: _Optional[str] = ...) -> None: ...

class ImagineRequest(_message.Message):
    __slots__ = ("session_id", "at_step_id", "rows", "outputs", "tensors", "raw_contents", "raw", "policy", "horizon", "candidates", "action_mode", "settings", "seed", "chunk_bytes")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    AT_STEP_ID_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    TENSORS_FIELD_NUMBER: _ClassVar[int]
    RAW_CONTENTS_FIELD_NUMBER: _ClassVar[int]
    RAW_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    HORIZON_FIELD_NUMBER: _ClassVar[int]
    CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    ACTION_MODE_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    CHUNK_BYTES_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    at_step_id: int
    rows: _tensor_pb2.RowSelection
    outputs: _containers.RepeatedScalarFieldContainer[str]
    tensors: _containers.RepeatedCompositeFieldContainer[_tensor_pb2.Tensor]
    raw_contents: _containers.RepeatedScalarFieldContainer[bytes]
    raw: bool
    policy: ImaginePolicy
    horizon: int
    candidates: int
    action_mode: LatentMode
    settings: PlannerSettings
    seed: int
    chunk_bytes: int
    def __init__(self, session_id: _Optional[str] = ..., at_step_id: _Optional[int] = ..., rows: _Optional[_Union[_tensor_pb2.RowSelection, _Mapping]] = ..., outputs: _Optional[_Iterable[str]] = ..., tensors: _Optional[_Iterable[_Union[_tensor_pb2.Tensor, _Mapping]]] = ..., raw_contents: _Optional[_Iterable[bytes]] = ..., raw: bool = ..., policy: _Optional[_Union[ImaginePolicy, str]] = ..., horizon: _Optional[int] = ..., candidates: _Optional[int] = ..., action_mode: _Optional[_Union[LatentMode, str]] = ..., settings: _Optional[_Union[PlannerSettings, _Mapping]] = ..., seed: _Optional[int] = ..., chunk_bytes: _Optional[int] = ...) -> None: ...

class ImagineResponse(_message.Message):
    __slots__ = ("committed_step_id", "checkpoint", "tensors", "raw_contents", "first_step", "steps", "first_trajectory", "trajectories", "last", "digest")
    COMMITTED_STEP_ID_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    TENSORS_FIELD_NUMBER: _ClassVar[int]
    RAW_CONTENTS_FIELD_NUMBER: _ClassVar[int]
    FIRST_STEP_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    FIRST_TRAJECTORY_FIELD_NUMBER: _ClassVar[int]
    TRAJECTORIES_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    committed_step_id: int
    checkpoint: str
    tensors: _containers.RepeatedCompositeFieldContainer[_tensor_pb2.Tensor]
    raw_contents: _containers.RepeatedScalarFieldContainer[bytes]
    first_step: int
    steps: int
    first_trajectory: int
    trajectories: int
    last: bool
    digest: str
    def __init__(self, committed_step_id: _Optional[int] = ..., checkpoint: _Optional[str] = ..., tensors: _Optional[_Iterable[_Union[_tensor_pb2.Tensor, _Mapping]]] = ..., raw_contents: _Optional[_Iterable[bytes]] = ..., first_step: _Optional[int] = ..., steps: _Optional[int] = ..., first_trajectory: _Optional[int] = ..., trajectories: _Optional[int] = ..., last: bool = ..., digest: _Optional[str] = ...) -> None: ...

class InteractRequest(_message.Message):
    __slots__ = ("id", "timeout_ms", "open_session", "get_session", "close_session", "reset", "observe", "step", "encode", "decode", "act", "plan", "fork", "get_state", "set_state")
    ID_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    OPEN_SESSION_FIELD_NUMBER: _ClassVar[int]
    GET_SESSION_FIELD_NUMBER: _ClassVar[int]
    CLOSE_SESSION_FIELD_NUMBER: _ClassVar[int]
    RESET_FIELD_NUMBER: _ClassVar[int]
    OBSERVE_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    ENCODE_FIELD_NUMBER: _ClassVar[int]
    DECODE_FIELD_NUMBER: _ClassVar[int]
    ACT_FIELD_NUMBER: _ClassVar[int]
    PLAN_FIELD_NUMBER: _ClassVar[int]
    FORK_FIELD_NUMBER: _ClassVar[int]
    GET_STATE_FIELD_NUMBER: _ClassVar[int]
    SET_STATE_FIELD_NUMBER: _ClassVar[int]
    id: int
    timeout_ms: int
    open_session: OpenSessionRequest
    get_session: GetSessionRequest
    close_session: CloseSessionRequest
    reset: ResetRequest
    observe: ObserveRequest
    step: StepRequest
    encode: EncodeRequest
    decode: DecodeRequest
    act: ActRequest
    plan: PlanRequest
    fork: ForkRequest
    get_state: GetStateRequest
    set_state: SetStateRequest
    def __init__(self, id: _Optional[int] = ..., timeout_ms: _Optional[int] = ..., open_session: _Optional[_Union[OpenSessionRequest, _Mapping]] = ..., get_session: _Optional[_Union[GetSessionRequest, _Mapping]] = ..., close_session: _Optional[_Union[CloseSessionRequest, _Mapping]] = ..., reset: _Optional[_Union[ResetRequest, _Mapping]] = ..., observe: _Optional[_Union[ObserveRequest, _Mapping]] = ..., step: _Optional[_Union[StepRequest, _Mapping]] = ..., encode: _Optional[_Union[EncodeRequest, _Mapping]] = ..., decode: _Optional[_Union[DecodeRequest, _Mapping]] = ..., act: _Optional[_Union[ActRequest, _Mapping]] = ..., plan: _Optional[_Union[PlanRequest, _Mapping]] = ..., fork: _Optional[_Union[ForkRequest, _Mapping]] = ..., get_state: _Optional[_Union[GetStateRequest, _Mapping]] = ..., set_state: _Optional[_Union[SetStateRequest, _Mapping]] = ...) -> None: ...

class InteractResponse(_message.Message):
    __slots__ = ("id", "error", "open_session", "get_session", "close_session", "reset", "observe", "step", "encode", "decode", "act", "plan", "fork", "get_state", "set_state")
    ID_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    OPEN_SESSION_FIELD_NUMBER: _ClassVar[int]
    GET_SESSION_FIELD_NUMBER: _ClassVar[int]
    CLOSE_SESSION_FIELD_NUMBER: _ClassVar[int]
    RESET_FIELD_NUMBER: _ClassVar[int]
    OBSERVE_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    ENCODE_FIELD_NUMBER: _ClassVar[int]
    DECODE_FIELD_NUMBER: _ClassVar[int]
    ACT_FIELD_NUMBER: _ClassVar[int]
    PLAN_FIELD_NUMBER: _ClassVar[int]
    FORK_FIELD_NUMBER: _ClassVar[int]
    GET_STATE_FIELD_NUMBER: _ClassVar[int]
    SET_STATE_FIELD_NUMBER: _ClassVar[int]
    id: int
    error: _tensor_pb2.Status
    open_session: OpenSessionResponse
    get_session: GetSessionResponse
    close_session: CloseSessionResponse
    reset: ResetResponse
    observe: ObserveResponse
    step: StepResponse
    encode: EncodeResponse
    decode: DecodeResponse
    act: ActResponse
    plan: PlanResponse
    fork: ForkResponse
    get_state: GetStateResponse
    set_state: SetStateResponse
    def __init__(self, id: _Optional[int] = ..., error: _Optional[_Union[_tensor_pb2.Status, _Mapping]] = ..., open_session: _Optional[_Union[OpenSessionResponse, _Mapping]] = ..., get_session: _Optional[_Union[GetSessionResponse, _Mapping]] = ..., close_session: _Optional[_Union[CloseSessionResponse, _Mapping]] = ..., reset: _Optional[_Union[ResetResponse, _Mapping]] = ..., observe: _Optional[_Union[ObserveResponse, _Mapping]] = ..., step: _Optional[_Union[StepResponse, _Mapping]] = ..., encode: _Optional[_Union[EncodeResponse, _Mapping]] = ..., decode: _Optional[_Union[DecodeResponse, _Mapping]] = ..., act: _Optional[_Union[ActResponse, _Mapping]] = ..., plan: _Optional[_Union[PlanResponse, _Mapping]] = ..., fork: _Optional[_Union[ForkResponse, _Mapping]] = ..., get_state: _Optional[_Union[GetStateResponse, _Mapping]] = ..., set_state: _Optional[_Union[SetStateResponse, _Mapping]] = ...) -> None: ...
