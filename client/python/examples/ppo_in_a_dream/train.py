"""Trains Stable-Baselines3's PPO wholly inside the hosted pendulum model, then runs it in the real Pendulum-v1.

    make run                                            # in another shell
    pip install './client/python[sb3]'
    python client/python/examples/ppo_in_a_dream/train.py --seeds 0 1 2
"""

import argparse
import json
import os
import time

import gymnasium
import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback

from dreamd.sb3 import WorldVecEnv


class Progress(BaseCallback):
    """A line whenever a tenth is done; with `episodes`, how the agent does in the real world by then."""

    def __init__(self, steps, episodes):
        super().__init__()
        self.steps, self.episodes, self.next, self.curve = steps, episodes, 0.1, []

    def _on_step(self):
        if self.num_timesteps >= self.next * self.steps:
            self.next += 0.1
            line = f"  {self.num_timesteps:,} imagined steps"
            if self.episodes:  # only looked at: nothing of it is learned from
                mean = float(np.mean(evaluate(act_of(self.model), self.episodes)))
                self.curve.append([self.num_timesteps, round(mean, 1)])
                line += f", real return {mean:.1f}"
            print(line, flush=True)
        return True


def act_of(agent):
    return lambda _, observation: agent.predict(observation, deterministic=True)[0]


def train(address, seed, steps, worlds, curve_episodes):
    """Nothing real is seen: only the model's decoded observations and rewards, 200 steps an episode."""
    env = WorldVecEnv(worlds, model="pendulum", address=address, horizon=200)
    env.seed(seed)
    # Those of RL Baselines3 Zoo for Pendulum-v1, with more worlds, shorter rollouts and a falling learning rate.
    agent = PPO("MlpPolicy", env, seed=seed, n_steps=64, batch_size=1024, n_epochs=10, gamma=0.9, gae_lambda=0.95,
                learning_rate=lambda left: 1e-3 * left, use_sde=True, sde_sample_freq=4, device="cpu")
    progress = Progress(steps, curve_episodes)
    agent.learn(steps, callback=progress)
    env.close()
    return agent, progress.curve


def evaluate(policy, episodes, first_seed=1000):
    """Returns of episodes in the real environment."""
    env, returns = gymnasium.make("Pendulum-v1"), []
    for episode in range(episodes):
        observation, _ = env.reset(seed=first_seed + episode)
        env.action_space.seed(first_seed + episode)
        total, done = 0.0, False
        while not done:
            observation, reward, terminated, truncated, _ = env.step(policy(env, observation))
            total, done = total + float(reward), terminated or truncated
        returns.append(total)
    env.close()
    return returns


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--address", default=os.environ.get("DREAMD_ADDRESS", "127.0.0.1:7733"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--steps", type=int, default=500_000, help="imagined steps a seed (500000)")
    parser.add_argument("--worlds", type=int, default=64, help="imagined worlds at a time (64)")
    parser.add_argument("--episodes", type=int, default=20, help="real episodes to measure with (20)")
    parser.add_argument("--curve", type=int, default=0, metavar="N", help="measure with N real episodes at every tenth, too (0)")
    parser.add_argument("--save", help="write the last agent there (.zip)")
    parser.add_argument("--report", help="write the figures there as JSON")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    random_return = float(np.mean(evaluate(lambda env, _: env.action_space.sample(), arguments.episodes)))
    rows = []
    for seed in arguments.seeds:
        print(f"seed {seed}", flush=True)
        start = time.monotonic()
        agent, curve = train(arguments.address, seed, arguments.steps, arguments.worlds, arguments.curve)
        seconds = time.monotonic() - start
        returns = evaluate(act_of(agent), arguments.episodes)
        rows.append({"seed": seed, "return": round(float(np.mean(returns)), 1), "least": round(float(np.min(returns)), 1),
                     "median": round(float(np.median(returns)), 1), "seconds": round(seconds), "curve": curve})
        print(f"  real Pendulum-v1: mean {rows[-1]['return']}, median {rows[-1]['median']}, least {rows[-1]['least']} over "
              f"{arguments.episodes} episodes; trained in {seconds:.0f} s", flush=True)
        if arguments.save:
            agent.save(arguments.save)
    mean = float(np.mean([row["return"] for row in rows]))
    print(f"mean_return {mean:.1f} over {len(rows)} seeds; random {random_return:.1f}; nothing real was seen in training")
    if arguments.report:
        command = ("client/python/examples/ppo_in_a_dream/train.py "
                   f"--seeds {' '.join(map(str, arguments.seeds))} --steps {arguments.steps} "
                   f"--worlds {arguments.worlds} --curve {arguments.curve}")
        with open(arguments.report, "w") as file:
            json.dump({"command": command, "episodes": arguments.episodes, "random_return": round(random_return, 1),
                       "mean_return": round(mean, 1), "seeds": rows}, file, indent=1)
            file.write("\n")


if __name__ == "__main__":
    main()
