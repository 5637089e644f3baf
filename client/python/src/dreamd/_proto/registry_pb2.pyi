from dreamd._proto import simulation_pb2 as _simulation_pb2
from dreamd._proto import tensor_pb2 as _tensor_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Alias(_message.Message):
    __slots__ = ("alias", "version")
    ALIAS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    alias: str
    version: int
    def __init__(self, alias: _Optional[str] = ..., version: _Optional[int] = ...) -> None: ...

class Model(_message.Message):
    __slots__ = ("name", "checkpoints", "aliases")
    NAME_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINTS_FIELD_NUMBER: _ClassVar[int]
    ALIASES_FIELD_NUMBER: _ClassVar[int]
    name: str
    checkpoints: _containers.RepeatedCompositeFieldContainer[Checkpoint]
    aliases: _containers.RepeatedCompositeFieldContainer[Alias]
    def __init__(self, name: _Optional[str] = ..., checkpoints: _Optional[_Iterable[_Union[Checkpoint, _Mapping]]] = ..., aliases: _Optional[_Iterable[_Union[Alias, _Mapping]]] = ...) -> None: ...

class Checkpoint(_message.Message):
    __slots__ = ("name", "version", "checkpoint", "family", "parameters", "bytes", "row_bytes", "loaded", "loaded_bytes", "sessions", "created_unix_ms", "session_rows_max", "observation_space", "action_space", "state", "outputs", "heads", "planning", "manifest_json", "card_markdown", "files", "tasks")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    FAMILY_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    ROW_BYTES_FIELD_NUMBER: _ClassVar[int]
    LOADED_FIELD_NUMBER: _ClassVar[int]
    LOADED_BYTES_FIELD_NUMBER: _ClassVar[int]
    SESSIONS_FIELD_NUMBER: _ClassVar[int]
    CREATED_UNIX_MS_FIELD_NUMBER: _ClassVar[int]
    SESSION_ROWS_MAX_FIELD_NUMBER: _ClassVar[int]
    OBSERVATION_SPACE_FIELD_NUMBER: _ClassVar[int]
    ACTION_SPACE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    HEADS_FIELD_NUMBER: _ClassVar[int]
    PLANNING_FIELD_NUMBER: _ClassVar[int]
    MANIFEST_JSON_FIELD_NUMBER: _ClassVar[int]
    CARD_MARKDOWN_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    TASKS_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: int
    checkpoint: str
    family: str
    parameters: int
    bytes: int
    row_bytes: int
    loaded: bool
    loaded_bytes: int
    sessions: int
    created_unix_ms: int
    session_rows_max: int
    observation_space: _tensor_pb2.Space
    action_space: _tensor_pb2.Space
    state: _containers.RepeatedCompositeFieldContainer[_tensor_pb2.TensorSpec]
    outputs: _containers.RepeatedCompositeFieldContainer[_tensor_pb2.TensorSpec]
    heads: _containers.RepeatedScalarFieldContainer[str]
    planning: _simulation_pb2.PlannerSettings
    manifest_json: str
    card_markdown: str
    files: _containers.RepeatedCompositeFieldContainer[CheckpointFile]
    tasks: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., version: _Optional[int] = ..., checkpoint: _Optional[str] = ..., family: _Optional[str] = ..., parameters: _Optional[int] = ..., bytes: _Optional[int] = ..., row_bytes: _Optional[int] = ..., loaded: bool = ..., loaded_bytes: _Optional[int] = ..., sessions: _Optional[int] = ..., created_unix_ms: _Optional[int] = ..., session_rows_max: _Optional[int] = ..., observation_space: _Optional[_Union[_tensor_pb2.Space, _Mapping]] = ..., action_space: _Optional[_Union[_tensor_pb2.Space, _Mapping]] = ..., state: _Optional[_Iterable[_Union[_tensor_pb2.TensorSpec, _Mapping]]] = ..., outputs: _Optional[_Iterable[_Union[_tensor_pb2.TensorSpec, _Mapping]]] = ..., heads: _Optional[_Iterable[str]] = ..., planning: _Optional[_Union[_simulation_pb2.PlannerSettings, _Mapping]] = ..., manifest_json: _Optional[str] = ..., card_markdown: _Optional[str] = ..., files: _Optional[_Iterable[_Union[CheckpointFile, _Mapping]]] = ..., tasks: _Optional[_Iterable[str]] = ...) -> None: ...

class CheckpointFile(_message.Message):
    __slots__ = ("name", "bytes", "sha256")
    NAME_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    name: str
    bytes: int
    sha256: str
    def __init__(self, name: _Optional[str] = ..., bytes: _Optional[int] = ..., sha256: _Optional[str] = ...) -> None: ...

class ListModelsRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListModelsResponse(_message.Message):
    __slots__ = ("models", "next_page_token")
    MODELS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[Model]
    next_page_token: str
    def __init__(self, models: _Optional[_Iterable[_Union[Model, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class GetModelRequest(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: str
    def __init__(self, model: _Optional[str] = ...) -> None: ...

class GetModelResponse(_message.Message):
    __slots__ = ("model", "checkpoint")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    model: Model
    checkpoint: Checkpoint
    def __init__(self, model: _Optional[_Union[Model, _Mapping]] = ..., checkpoint: _Optional[_Union[Checkpoint, _Mapping]] = ...) -> None: ...

class RegisterCheckpointRequest(_message.Message):
    __slots__ = ("header", "chunk", "finish")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    FINISH_FIELD_NUMBER: _ClassVar[int]
    header: RegisterHeader
    chunk: RegisterChunk
    finish: RegisterFinish
    def __init__(self, header: _Optional[_Union[RegisterHeader, _Mapping]] = ..., chunk: _Optional[_Union[RegisterChunk, _Mapping]] = ..., finish: _Optional[_Union[RegisterFinish, _Mapping]] = ...) -> None: ...

class RegisterHeader(_message.Message):
    __slots__ = ("manifest_json", "name", "expected_checkpoint", "files", "aliases", "server_path")
    MANIFEST_JSON_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    ALIASES_FIELD_NUMBER: _ClassVar[int]
    SERVER_PATH_FIELD_NUMBER: _ClassVar[int]
    manifest_json: bytes
    name: str
    expected_checkpoint: str
    files: _containers.RepeatedCompositeFieldContainer[CheckpointFile]
    aliases: _containers.RepeatedScalarFieldContainer[str]
    server_path: str
    def __init__(self, manifest_json: _Optional[bytes] = ..., name: _Optional[str] = ..., expected_checkpoint: _Optional[str] = ..., files: _Optional[_Iterable[_Union[CheckpointFile, _Mapping]]] = ..., aliases: _Optional[_Iterable[str]] = ..., server_path: _Optional[str] = ...) -> None: ...

class RegisterChunk(_message.Message):
    __slots__ = ("name", "bytes")
    NAME_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    name: str
    bytes: bytes
    def __init__(self, name: _Optional[str] = ..., bytes: _Optional[bytes] = ...) -> None: ...

class RegisterFinish(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class RegisterCheckpointResponse(_message.Message):
    __slots__ = ("checkpoint", "created")
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    checkpoint: Checkpoint
    created: bool
    def __init__(self, checkpoint: _Optional[_Union[Checkpoint, _Mapping]] = ..., created: bool = ...) -> None: ...

class SetAliasRequest(_message.Message):
    __slots__ = ("name", "alias", "version", "remove")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ALIAS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    REMOVE_FIELD_NUMBER: _ClassVar[int]
    name: str
    alias: str
    version: int
    remove: bool
    def __init__(self, name: _Optional[str] = ..., alias: _Optional[str] = ..., version: _Optional[int] = ..., remove: bool = ...) -> None: ...

class SetAliasResponse(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: Model
    def __init__(self, model: _Optional[_Union[Model, _Mapping]] = ...) -> None: ...

class LoadModelRequest(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: str
    def __init__(self, model: _Optional[str] = ...) -> None: ...

class LoadModelResponse(_message.Message):
    __slots__ = ("checkpoint",)
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    checkpoint: Checkpoint
    def __init__(self, checkpoint: _Optional[_Union[Checkpoint, _Mapping]] = ...) -> None: ...

class UnloadModelRequest(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: str
    def __init__(self, model: _Optional[str] = ...) -> None: ...

class UnloadModelResponse(_message.Message):
    __slots__ = ("checkpoint",)
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    checkpoint: Checkpoint
    def __init__(self, checkpoint: _Optional[_Union[Checkpoint, _Mapping]] = ...) -> None: ...

class DeleteCheckpointRequest(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: str
    def __init__(self, model: _Optional[str] = ...) -> None: ...

class DeleteCheckpointResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetServerInfoRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetServerInfoResponse(_message.Message):
    __slots__ = ("version", "commit", "build", "instruction_set", "precision", "compute_threads", "uptime_ms", "libraries", "limits", "sessions", "rows", "models_loaded", "methods", "state", "families", "planner_presets", "batches", "batch_rows", "http_address")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    COMMIT_FIELD_NUMBER: _ClassVar[int]
    BUILD_FIELD_NUMBER: _ClassVar[int]
    INSTRUCTION_SET_FIELD_NUMBER: _ClassVar[int]
    PRECISION_FIELD_NUMBER: _ClassVar[int]
    COMPUTE_THREADS_FIELD_NUMBER: _ClassVar[int]
    UPTIME_MS_FIELD_NUMBER: _ClassVar[int]
    LIBRARIES_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    SESSIONS_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    MODELS_LOADED_FIELD_NUMBER: _ClassVar[int]
    METHODS_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    FAMILIES_FIELD_NUMBER: _ClassVar[int]
    PLANNER_PRESETS_FIELD_NUMBER: _ClassVar[int]
    BATCHES_FIELD_NUMBER: _ClassVar[int]
    BATCH_ROWS_FIELD_NUMBER: _ClassVar[int]
    HTTP_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    version: str
    commit: str
    build: str
    instruction_set: str
    precision: str
    compute_threads: int
    uptime_ms: int
    libraries: _containers.RepeatedCompositeFieldContainer[Library]
    limits: Limits
    sessions: int
    rows: int
    models_loaded: int
    methods: _containers.RepeatedScalarFieldContainer[str]
    state: str
    families: _containers.RepeatedScalarFieldContainer[str]
    planner_presets: _containers.RepeatedScalarFieldContainer[str]
    batches: int
    batch_rows: int
    http_address: str
    def __init__(self, version: _Optional[str] = ..., commit: _Optional[str] = ..., build: _Optional[str] = ..., instruction_set: _Optional[str] = ..., precision: _Optional[str] = ..., compute_threads: _Optional[int] = ..., uptime_ms: _Optional[int] = ..., libraries: _Optional[_Iterable[_Union[Library, _Mapping]]] = ..., limits: _Optional[_Union[Limits, _Mapping]] = ..., sessions: _Optional[int] = ..., rows: _Optional[int] = ..., models_loaded: _Optional[int] = ..., methods: _Optional[_Iterable[str]] = ..., state: _Optional[str] = ..., families: _Optional[_Iterable[str]] = ..., planner_presets: _Optional[_Iterable[str]] = ..., batches: _Optional[int] = ..., batch_rows: _Optional[int] = ..., http_address: _Optional[str] = ...) -> None: ...

class Library(_message.Message):
    __slots__ = ("name", "version")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ...) -> None: ...

class Limits(_message.Message):
    __slots__ = ("message_bytes_max", "sessions_max", "session_rows_max", "rows_max", "session_bytes_max", "queue_rows_max", "ttl_default_ms", "ttl_max_ms", "deadline_max_ms", "plan_horizon_max", "plan_candidates_max", "plan_iterations_max", "imagine_horizon_max", "checkpoint_bytes_max", "history_max")
    MESSAGE_BYTES_MAX_FIELD_NUMBER: _ClassVar[int]
    SESSIONS_MAX_FIELD_NUMBER: _ClassVar[int]
    SESSION_ROWS_MAX_FIELD_NUMBER: _ClassVar[int]
    ROWS_MAX_FIELD_NUMBER: _ClassVar[int]
    SESSION_BYTES_MAX_FIELD_NUMBER: _ClassVar[int]
    QUEUE_ROWS_MAX_FIELD_NUMBER: _ClassVar[int]
    TTL_DEFAULT_MS_FIELD_NUMBER: _ClassVar[int]
    TTL_MAX_MS_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_MAX_MS_FIELD_NUMBER: _ClassVar[int]
    PLAN_HORIZON_MAX_FIELD_NUMBER: _ClassVar[int]
    PLAN_CANDIDATES_MAX_FIELD_NUMBER: _ClassVar[int]
    PLAN_ITERATIONS_MAX_FIELD_NUMBER: _ClassVar[int]
    IMAGINE_HORIZON_MAX_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_BYTES_MAX_FIELD_NUMBER: _ClassVar[int]
    HISTORY_MAX_FIELD_NUMBER: _ClassVar[int]
    message_bytes_max: int
    sessions_max: int
    session_rows_max: int
    rows_max: int
    session_bytes_max: int
    queue_rows_max: int
    ttl_default_ms: int
    ttl_max_ms: int
    deadline_max_ms: int
    plan_horizon_max: int
    plan_candidates_max: int
    plan_iterations_max: int
    imagine_horizon_max: int
    checkpoint_bytes_max: int
    history_max: int
    def __init__(self, message_bytes_max: _Optional[int] = ..., sessions_max: _Optional[int] = ..., session_rows_max: _Optional[int] = ..., rows_max: _Optional[int] = ..., session_bytes_max: _Optional[int] = ..., queue_rows_max: _Optional[int] = ..., ttl_default_ms: _Optional[int] = ..., ttl_max_ms: _Optional[int] = ..., deadline_max_ms: _Optional[int] = ..., plan_horizon_max: _Optional[int] = ..., plan_candidates_max: _Optional[int] = ..., plan_iterations_max: _Optional[int] = ..., imagine_horizon_max: _Optional[int] = ..., checkpoint_bytes_max: _Optional[int] = ..., history_max: _Optional[int] = ...) -> None: ...
