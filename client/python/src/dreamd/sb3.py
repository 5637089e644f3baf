"""Stable-Baselines3: imagined worlds as its VecEnv (the extra `sb3` of the package).

    from dreamd.sb3 import WorldVecEnv
    model = stable_baselines3.PPO("MlpPolicy", WorldVecEnv(64, model="pendulum"))
    model.learn(100_000)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode

from .envs import WorldVectorEnv
from .errors import invalid

try:
    from stable_baselines3.common.vec_env import VecEnv
except ImportError as missing:
    raise ImportError("dreamd.sb3 needs Stable-Baselines3: pip install stable-baselines3") from missing


class WorldVecEnv(VecEnv):
    """`WorldVectorEnv` in Stable-Baselines3's form; takes its arguments but the autoreset mode, which is theirs.

    A world that ends is reset in the same call: `infos[i]["terminal_observation"]` is what was there before, and
    `infos[i]["TimeLimit.truncated"]` says that the horizon ended it.
    """

    def __init__(self, num_envs: int = 1, *, model: str, **options: Any) -> None:
        self.worlds = WorldVectorEnv(num_envs, model=model, autoreset_mode=AutoresetMode.SAME_STEP, **options)
        self.render_mode = self.worlds.render_mode
        self.metadata = self.worlds.metadata
        super().__init__(num_envs, self.worlds.single_observation_space, self.worlds.single_action_space)
        self._actions: Any = None

    def reset(self) -> Any:
        seeds = self._seeds if any(seed is not None for seed in self._seeds) else None
        options = self._options
        self._reset_options()  # of one reset, refused or not
        if any(options):
            raise invalid("options", f"is {options}, expected none: all worlds of a VecEnv are reset alike")
        observations, _ = self.worlds.reset(seed=seeds)
        self.reset_infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        self._reset_seeds()
        return observations

    def step_async(self, actions: Any) -> None:
        self._actions = actions

    def step_wait(self) -> tuple[Any, Any, Any, list[dict[str, Any]]]:
        observations, rewards, terminations, truncations, found = self.worlds.step(self._actions)
        ended = terminations | truncations
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        for row, info in enumerate(infos):
            info["TimeLimit.truncated"] = bool(truncations[row] and not terminations[row])
            if ended[row]:
                info["terminal_observation"] = found["final_obs"][row]
            if "continue" in found:
                info["continue"] = float(found["continue"][row])
        return observations, rewards.astype(np.float32), ended, infos

    def close(self) -> None:
        self.worlds.close()

    def get_images(self) -> Sequence[Any]:
        return self.worlds.render() or [None] * self.num_envs

    def has_attr(self, attr_name: str) -> bool:
        return hasattr(self.worlds, attr_name)

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        return [getattr(self.worlds, attr_name) for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        if len(list(self._get_indices(indices))) != self.num_envs:
            raise ValueError(f"{attr_name}: the worlds are rows of one session, so what is set is set for all of them")
        setattr(self.worlds, attr_name, value)

    def env_method(self, method_name: str, *arguments: Any, indices: Any = None, **options: Any) -> list[Any]:
        """Called once: the worlds are rows of one session."""
        result = getattr(self.worlds, method_name)(*arguments, **options)
        return [result for _ in self._get_indices(indices)]

    def env_is_wrapped(self, wrapper_class: type[Any], indices: Any = None) -> list[bool]:
        return [False for _ in self._get_indices(indices)]


__all__ = ["WorldVecEnv"]
