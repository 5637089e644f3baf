from dreamd._proto import tensor_pb2 as _tensor_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class EpisodeKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    EPISODE_KIND_UNSPECIFIED: _ClassVar[EpisodeKind]
    EPISODE_KIND_REAL: _ClassVar[EpisodeKind]
    EPISODE_KIND_IMAGINED: _ClassVar[EpisodeKind]
EPISODE_KIND_UNSPECIFIED: EpisodeKind
EPISODE_KIND_REAL: EpisodeKind
EPISODE_KIND_IMAGINED: EpisodeKind

class Tag(_message.Message):
    __slots__ = ("key", "value")
    KEY_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    key: str
    value: str
    def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...

class Episode(_message.Message):
    __slots__ = ("episode_id", "kind", "environment", "model", "checkpoint", "steps", "total_reward", "terminated", "truncated", "created_unix_ms", "bytes", "tags", "observation_space", "action_space", "seed")
    EPISODE_ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENT_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_REWARD_FIELD_NUMBER: _ClassVar[int]
    TERMINATED_FIELD_NUMBER: _ClassVar[int]
    TRUNCATED_FIELD_NUMBER: _ClassVar[int]
    CREATED_UNIX_MS_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    OBSERVATION_SPACE_FIELD_NUMBER: _ClassVar[int]
    ACTION_SPACE_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    episode_id: str
    kind: EpisodeKind
    environment: str
    model: str
    checkpoint: str
    steps: int
    total_reward: float
    terminated: bool
    truncated: bool
    created_unix_ms: int
    bytes: int
    tags: _containers.RepeatedCompositeFieldContainer[Tag]
    observation_space: _tensor_pb2.Space
    action_space: _tensor_pb2.Space
    seed: int
    def __init__(self, episode_id: _Optional[str] = ..., kind: _Optional[_Union[EpisodeKind, str]] = ..., environment: _Optional[str] = ..., model: _Optional[str] = ..., checkpoint: _Optional[str] = ..., steps: _Optional[int] = ..., total_reward: _Optional[float] = ..., terminated: bool = ..., truncated: bool = ..., created_unix_ms: _Optional[int] = ..., bytes: _Optional[int] = ..., tags: _Optional[_Iterable[_Union[Tag, _Mapping]]] = ..., observation_space: _Optional[_Union[_tensor_pb2.Space, _Mapping]] = ..., action_space: _Optional[_Union[_tensor_pb2.Space, _Mapping]] = ..., seed: _Optional[int] = ...) -> None: ...

class AppendEpisodesRequest(_message.Message):
    __slots__ = ("begin", "request_id", "tensors", "raw_contents", "end")
    BEGIN_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    TENSORS_FIELD_NUMBER: _ClassVar[int]
    RAW_CONTENTS_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    begin: Episode
    request_id: str
    tensors: _containers.RepeatedCompositeFieldContainer[_tensor_pb2.Tensor]
    raw_contents: _containers.RepeatedScalarFieldContainer[bytes]
    end: bool
    def __init__(self, begin: _Optional[_Union[Episode, _Mapping]] = ..., request_id: _Optional[str] = ..., tensors: _Optional[_Iterable[_Union[_tensor_pb2.Tensor, _Mapping]]] = ..., raw_contents: _Optional[_Iterable[bytes]] = ..., end: bool = ...) -> None: ...

class AppendEpisodesResponse(_message.Message):
    __slots__ = ("episode_ids", "steps")
    EPISODE_IDS_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    episode_ids: _containers.RepeatedScalarFieldContainer[str]
    steps: int
    def __init__(self, episode_ids: _Optional[_Iterable[str]] = ..., steps: _Optional[int] = ...) -> None: ...

class ListEpisodesRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "kind", "environment", "model", "tags")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENT_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    kind: EpisodeKind
    environment: str
    model: str
    tags: _containers.RepeatedCompositeFieldContainer[Tag]
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., kind: _Optional[_Union[EpisodeKind, str]] = ..., environment: _Optional[str] = ..., model: _Optional[str] = ..., tags: _Optional[_Iterable[_Union[Tag, _Mapping]]] = ...) -> None: ...

class ListEpisodesResponse(_message.Message):
    __slots__ = ("episodes", "next_page_token")
    EPISODES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    episodes: _containers.RepeatedCompositeFieldContainer[Episode]
    next_page_token: str
    def __init__(self, episodes: _Optional[_Iterable[_Union[Episode, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class GetEpisodeRequest(_message.Message):
    __slots__ = ("episode_id", "outputs", "first_step", "steps")
    EPISODE_ID_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    FIRST_STEP_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    episode_id: str
    outputs: _containers.RepeatedScalarFieldContainer[str]
    first_step: int
    steps: int
    def __init__(self, episode_id: _Optional[str] = ..., outputs: _Optional[_Iterable[str]] = ..., first_step: _Optional[int] = ..., steps: _Optional[int] = ...) -> None: ...

class GetEpisodeResponse(_message.Message):
    __slots__ = ("episode", "first_step", "tensors", "raw_contents", "last")
    EPISODE_FIELD_NUMBER: _ClassVar[int]
    FIRST_STEP_FIELD_NUMBER: _ClassVar[int]
    TENSORS_FIELD_NUMBER: _ClassVar[int]
    RAW_CONTENTS_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    episode: Episode
    first_step: int
    tensors: _containers.RepeatedCompositeFieldContainer[_tensor_pb2.Tensor]
    raw_contents: _containers.RepeatedScalarFieldContainer[bytes]
    last: bool
    def __init__(self, episode: _Optional[_Union[Episode, _Mapping]] = ..., first_step: _Optional[int] = ..., tensors: _Optional[_Iterable[_Union[_tensor_pb2.Tensor, _Mapping]]] = ..., raw_contents: _Optional[_Iterable[bytes]] = ..., last: bool = ...) -> None: ...

class DeleteEpisodeRequest(_message.Message):
    __slots__ = ("episode_id",)
    EPISODE_ID_FIELD_NUMBER: _ClassVar[int]
    episode_id: str
    def __init__(self, episode_id: _Optional[str] = ...) -> None: ...

class DeleteEpisodeResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
