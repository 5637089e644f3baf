"""200 agents in one asyncio loop: each has a session of its own, filters real observations and acts on a short plan.

    make run                                            # in another shell
    python client/python/examples/fleet/fleet.py --agents 200 --steps 20
"""

import argparse
import asyncio
import os
import time

import grpc
import gymnasium
import numpy as np

import dreamd


async def patiently(ask):
    """Asks again when a full daemon says that there will be room."""
    while True:
        try:
            return await ask()
        except dreamd.Error as error:
            if error.code != grpc.StatusCode.RESOURCE_EXHAUSTED or error.retry_after is None:
                raise
            await asyncio.sleep(error.retry_after)


async def live(client, number, steps, latencies):
    """One agent with a real pendulum of its own; the return of its steps."""
    env = gymnasium.make("Pendulum-v1")
    observation, _ = env.reset(seed=number)
    action, total = np.zeros(1, np.float32), 0.0
    async with client.open("pendulum", seed=number) as session:
        for _ in range(steps):
            start = time.monotonic()
            await session.observe(observation, action)
            reply = await patiently(lambda: session.plan(horizon=10, candidates=64, iterations=3, elites=8))
            latencies.append(time.monotonic() - start)
            action = reply.action[0]
            observation, reward, _, _, _ = env.step(action)
            total += float(reward)
    env.close()
    return total


async def run(arguments):
    latencies = []
    async with dreamd.aio.connect(arguments.address, timeout=120) as client:
        start = time.monotonic()
        returns = await asyncio.gather(*(live(client, n, arguments.steps, latencies) for n in range(arguments.agents)))
        seconds = time.monotonic() - start
    p50, p99 = np.percentile(latencies, [50, 99]) * 1e3
    print(f"{arguments.agents} agents, {len(latencies)} decisions in {seconds:.1f} s: {len(latencies) / seconds:.0f} a second, "
          f"p50 {p50:.1f} ms, p99 {p99:.1f} ms, mean return of {arguments.steps} steps {np.mean(returns):.1f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--address", default=os.environ.get("DREAMD_ADDRESS", "127.0.0.1:7733"))
    parser.add_argument("--agents", type=int, default=200)
    parser.add_argument("--steps", type=int, default=20)
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
