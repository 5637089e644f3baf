"""Ids of the shipped models; imported with `dreamd`, so it imports nothing heavy."""

from __future__ import annotations

from gymnasium.envs.registration import register, registry

# The horizons are those of the environments that the models were learned from.
SHIPPED = {"dreamd/pendulum-v0": {"model": "pendulum", "horizon": 200},
           "dreamd/cartpole-v0": {"model": "cartpole", "horizon": 500},
           "dreamd/world-v0": {}}


def register_envs() -> None:
    for name, arguments in SHIPPED.items():
        if name not in registry:
            register(id=name, entry_point="dreamd.envs:WorldEnv", vector_entry_point="dreamd.envs:WorldVectorEnv",
                     kwargs=dict(arguments))
