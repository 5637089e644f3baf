"""An imagined environment for anything that speaks dm_env: the public client of dm_env_rpc, nothing of dreamd.

    pip install dm-env-rpc
    python dm_env_rpc_client.py 127.0.0.1:7733
"""

import sys

import grpc
import numpy as np
from dm_env_rpc.v1 import connection, dm_env_adaptor
from dm_env_rpc.v1 import dm_env_rpc_pb2 as messages

SETTINGS = {"model": "cartpole", "seed": 7, "horizon": 500}  # "model" is all that must be said


def main(address):
    with grpc.insecure_channel(address) as channel, connection.Connection(channel) as link:
        env, world = dm_env_adaptor.create_and_join_world(link, SETTINGS, {})
        print(env.action_spec()["action"])
        rng = np.random.default_rng(0)
        for episode in range(1, 4):
            step, steps, total = env.reset(), 0, 0.0
            while not step.last():
                step = env.step({"action": rng.integers(2, dtype=np.int32)})
                steps, total = steps + 1, total + step.reward
            print(f"episode {episode}: {steps} steps, return {total:.1f}, the pole is at {step.observation['observation'][2]:+.2f} rad")
        env.close()
        link.send(messages.DestroyWorldRequest(world_name=world))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: dm_env_rpc_client.py HOST:PORT")
    main(sys.argv[1])
