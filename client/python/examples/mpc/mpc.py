"""Model-predictive control of the real Pendulum-v1 at a fixed rate: each plan has a deadline, and late ones are counted.

    make run                                            # in another shell
    python client/python/examples/mpc/mpc.py --hertz 20 --episodes 1

Every tick: observe what happened, plan with what is left of the tick as deadline, act. A plan that comes too late is
not waited for: the action before is held once more, and the daemon has stopped computing it.
"""

import argparse
import os
import time

import grpc
import gymnasium
import numpy as np

import dreamd

TOO_LATE = (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.RESOURCE_EXHAUSTED)  # the latter: the daemon sees that it will be


def episode(session, env, seed, period, settings):
    """One real episode; (return, times of the plans that came in time in s, late plans, ticks that ran over)."""
    observation, _ = env.reset(seed=seed)
    session.reset()
    action = np.zeros(env.action_space.shape, np.float32)
    total, times, late, over, done = 0.0, [], 0, 0, False
    next_tick = time.monotonic()
    while not done:
        start = time.monotonic()
        session.observe(observation, action)
        try:
            left = period - (time.monotonic() - start)
            action = session.plan(timeout=max(left, 1e-3), **settings).action[0]
            times.append(time.monotonic() - start)
        except dreamd.Error as error:
            if error.code not in TOO_LATE:
                raise
            late += 1
        observation, reward, terminated, truncated, _ = env.step(action)
        total, done = total + float(reward), terminated or truncated
        next_tick += period
        pause = next_tick - time.monotonic()
        if pause > 0:
            time.sleep(pause)
        else:
            over, next_tick = over + 1, time.monotonic()
    return total, times, late, over


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--address", default=os.environ.get("DREAMD_ADDRESS", "127.0.0.1:7733"))
    parser.add_argument("--hertz", type=float, default=20)
    parser.add_argument("--episodes", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--candidates", type=int, help="action sequences tried an iteration (the model's own default)")
    arguments = parser.parse_args()
    settings = {} if arguments.candidates is None else {"candidates": arguments.candidates}
    period = 1 / arguments.hertz
    env = gymnasium.make("Pendulum-v1")
    with dreamd.connect(arguments.address) as client, client.open("pendulum", seed=arguments.seed) as session:
        for number in range(arguments.episodes):
            total, times, late, over = episode(session, env, arguments.seed + number, period, settings)
            p50, p99 = np.percentile(times, [50, 99]) * 1e3 if times else (float("nan"), float("nan"))
            print(f"episode {number}: return {total:.1f}, {len(times) + late} plans, {late} late, {over} ticks over, "
                  f"p50 {p50:.1f} ms, p99 {p99:.1f} ms")


if __name__ == "__main__":
    main()
