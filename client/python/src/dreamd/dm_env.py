"""dm_env: an imagined world as its Environment (the extra `dm_env` of the package).

    from dreamd.dm_env import WorldEnvironment
    environment = WorldEnvironment("cartpole")
    timestep = environment.reset()
    timestep = environment.step(0)
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np

from .envs import WorldEnv

try:
    import dm_env
    from dm_env import specs
except ImportError as missing:
    raise ImportError("dreamd.dm_env needs dm_env: pip install dm-env") from missing


class WorldEnvironment(dm_env.Environment):
    """`WorldEnv` as a dm_env.Environment; takes its arguments.

    Args:
        seed: of the first episode; later ones go on with its noise.
        expected_discount: the discount of a step is the model's probability that the episode goes on, not 1.

    What the continue head ends has discount 0; what the horizon ends keeps its discount, as dm_env's truncation does.
    """

    def __init__(self, model: str, *, seed: int | None = None, expected_discount: bool = False, **options: Any) -> None:
        self._env = WorldEnv(model, **options)
        self._seed = seed
        self._expected = expected_discount
        self._over = True

    def reset(self) -> dm_env.TimeStep:
        observation, _ = self._env.reset(seed=self._seed)
        self._seed, self._over = None, False
        return dm_env.restart(observation)

    def step(self, action: Any) -> dm_env.TimeStep:
        if self._over:
            return self.reset()
        observation, reward, terminated, truncated, info = self._env.step(action)
        self._over = terminated or truncated
        discount = info.get("continue", 1.0) if self._expected else 1.0
        if terminated:
            return dm_env.termination(reward, observation)
        if truncated:
            return dm_env.truncation(reward, observation, discount)
        return dm_env.transition(reward, observation, discount)

    def observation_spec(self) -> Any:
        return _spec(self._env.observation_space, "observation")

    def action_spec(self) -> Any:
        return _spec(self._env.action_space, "action")

    def reward_spec(self) -> Any:
        return specs.Array((), float, "reward")

    def close(self) -> None:
        self._env.close()


def _spec(space: gymnasium.Space[Any], name: str) -> Any:
    if isinstance(space, gymnasium.spaces.Dict):
        return {key: _spec(part, key) for key, part in space.spaces.items()}
    if isinstance(space, gymnasium.spaces.Discrete):
        if space.start == 0:
            return specs.DiscreteArray(int(space.n), np.int64, name)
        return specs.BoundedArray((), np.int64, int(space.start), int(space.start) + int(space.n) - 1, name)
    assert isinstance(space, gymnasium.spaces.Box)
    return specs.BoundedArray(space.shape, space.dtype, space.low, space.high, name)


__all__ = ["WorldEnvironment"]
