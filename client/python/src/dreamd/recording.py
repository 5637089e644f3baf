"""Real episodes, written as `dreamd learn --episodes` reads them.

    env = dreamd.record(gymnasium.make("Pendulum-v1"), "episodes")
    ...                                  # whatever acts in it
    env.close()                          # then: dreamd learn --episodes episodes --out mine

One safetensors file an episode; models/learner/README.md has the table of tensors.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import struct
import tempfile
from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np

from .errors import invalid

KIND = "dreamd.episode.1"
STEPS_MAX = 1 << 20
BYTES_MAX = 192 << 20  # of a file; a longer episode is cut in two
ENV_BYTES_MAX = 63
_DTYPES = {"f4": "F32", "f8": "F64", "f2": "F16", "u1": "U8", "i1": "I8", "i2": "I16", "i4": "I32", "i8": "I64"}


class Recorder(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Made by `record`: writes each episode into the folder when it ends, is reset, or is closed."""

    def __init__(self, env: gymnasium.Env[Any, Any], folder: str | os.PathLike[str]) -> None:
        if isinstance(env, gymnasium.vector.VectorEnv):
            raise invalid("env", "is a vector of environments, whose episodes end at different times: record each one, "
                                 "`make_vec(..., vectorization_mode=\"sync\", wrappers=[lambda e: dreamd.record(e, folder)])`")
        if not isinstance(env, gymnasium.Env):
            raise invalid("env", f"is {env!r}, expected an environment, as gymnasium.make gives it")
        super().__init__(env)
        self.folder = pathlib.Path(folder)
        self._spaces = json.dumps({"observation_space": space_json(env.observation_space, "observation_space"),
                                   "action_space": space_json(env.action_space, "action_space", nested=False)})
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as failure:
            raise invalid("folder", f"is {str(folder)!r}, where no folder can be made: {failure.strerror}") from None
        self._seed = ""
        self._clear()

    def _clear(self) -> None:
        self._observations: list[Any] = []
        self._actions: list[Any] = []
        self._rewards: list[float] = []
        self._ends: list[tuple[bool, bool]] = []
        self._bytes = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        self._write()
        observation, info = self.env.reset(seed=seed, options=options)
        self._seed = "" if seed is None else str(seed)
        self._observations = [_copy(observation)]
        return observation, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        if self._observations:
            self._actions.append(np.array(action))
            self._rewards.append(float(reward))
            self._ends.append((bool(terminated), bool(truncated)))
            self._observations.append(_copy(observation))
            self._bytes += _size(self._observations[-1]) + self._actions[-1].nbytes
            if terminated or truncated:
                self._write()
            elif len(self._actions) == STEPS_MAX or self._bytes > BYTES_MAX:
                last = self._observations[-1]
                self._write()
                self._observations = [last]
        return observation, reward, terminated, truncated, info

    def close(self) -> None:
        self._write()
        super().close()

    def _write(self) -> None:
        """What was recorded becomes a file, whole or not at all; what follows an end is not of that episode."""
        if self._actions:
            discrete = isinstance(self.env.action_space, gymnasium.spaces.Discrete)
            ends = np.array(self._ends, np.uint8)
            tensors = {**self._stack(), "action": np.array(self._actions, np.int64 if discrete else np.float32),
                       "reward": np.array(self._rewards, np.float32), "terminated": ends[:, 0], "truncated": ends[:, 1]}
            name = (self.env.spec.id if self.env.spec else type(self.env.unwrapped).__name__).encode()[:ENV_BYTES_MAX]
            metadata = {"kind": KIND, "spaces": self._spaces, "env": name.decode(errors="ignore"), "seed": self._seed}
            _save(self.folder, _safetensors(tensors, metadata))
        self._clear()

    def _stack(self) -> dict[str, Any]:
        if isinstance(self.env.observation_space, gymnasium.spaces.Dict):
            return {f"observation.{key}": np.array([one[key] for one in self._observations])
                    for key in self.env.observation_space.spaces}
        return {"observation": np.array(self._observations)}


def record(env: gymnasium.Env[Any, Any], folder: str | os.PathLike[str]) -> Recorder:
    """Wraps an environment so that its episodes are written into `folder`, numbered after those that are there.

    An episode that is cut (reset or closed before its end) is written too: it counts as one that would have gone on.
    """
    return Recorder(env, folder)


def _copy(value: Any) -> Any:
    return {key: np.array(part) for key, part in value.items()} if isinstance(value, Mapping) else np.array(value)


def _size(value: Any) -> int:
    return sum(int(part.nbytes) for part in value.values()) if isinstance(value, Mapping) else int(value.nbytes)


def space_json(space: gymnasium.Space[Any], field: str, nested: bool = True) -> dict[str, Any]:
    """A space as manifest.json has it."""
    if isinstance(space, gymnasium.spaces.Discrete):
        return {"type": "Discrete", "n": int(space.n), "start": int(space.start)}
    if isinstance(space, gymnasium.spaces.Box):
        return {"type": "Box", "shape": list(space.shape), "dtype": str(space.dtype), "low": _bounds(space.low),
                "high": _bounds(space.high)}
    if isinstance(space, gymnasium.spaces.Dict) and nested:
        return {"type": "Dict", "spaces": {key: space_json(part, f"{field}.{key}", False) for key, part in space.spaces.items()}}
    raise invalid(field, f"is {space}, expected Box{', Discrete or a Dict of these' if nested else ' or Discrete'}")


def _bounds(bound: Any) -> Any:
    """One number where all are the same; null where there is no bound."""
    values = [float(one) if np.isfinite(one) else None for one in np.ravel(bound)]
    return values[0] if len(set(values)) == 1 else values


def _safetensors(tensors: Mapping[str, Any], metadata: Mapping[str, str]) -> list[bytes]:
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    parts, offset = [], 0
    for name in sorted(tensors, key=lambda name: -tensors[name].dtype.itemsize):  # widest first: each is aligned
        array = np.ascontiguousarray(tensors[name])
        if array.dtype.str[1:] not in _DTYPES:
            array = array.astype("<f4")
        array = array.astype(array.dtype.newbyteorder("<"), copy=False)
        header[name] = {"dtype": _DTYPES[array.dtype.str[1:]], "shape": list(array.shape),
                        "data_offsets": [offset, offset + array.nbytes]}
        offset += array.nbytes
        parts.append(array.tobytes())
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(len(text) + 8) % 64)
    return [struct.pack("<Q", len(text)), text, *parts]


def _save(folder: pathlib.Path, parts: list[bytes]) -> None:
    """Under the next free number, beside which only episodes may be: it is filled elsewhere, then linked."""
    handle, partial = tempfile.mkstemp(prefix=f".{folder.name}.", dir=folder.resolve().parent)
    try:
        with open(handle, "wb") as file:
            file.writelines(parts)
        os.chmod(partial, 0o644)
        numbers = [int(path.stem) for path in folder.glob("*.safetensors") if path.stem.isdecimal()]
        number = max(numbers, default=-1) + 1
        while True:
            with contextlib.suppress(FileExistsError):
                os.link(partial, folder / f"{number:08}.safetensors")
                return
            number += 1
    finally:
        os.unlink(partial)
