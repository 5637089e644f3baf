"""Imagined worlds as Gymnasium environments.

    import gymnasium, dreamd
    envs = gymnasium.make_vec("dreamd/pendulum-v0", num_envs=64)
    observations, infos = envs.reset(seed=0)
    observations, rewards, terminations, truncations, infos = envs.step(envs.action_space.sample())

`dreamd/world-v0` takes any hosted model: `gymnasium.make("dreamd/world-v0", model="mine@best", horizon=100)`.
"""

from .vector import WorldVectorEnv
from .world import WorldEnv

__all__ = ["WorldEnv", "WorldVectorEnv"]
