"""Draws the pictures of the project's README: a real pendulum beside the one that its model imagines, and how well
an agent that learned in the dream does outside of it.

    make pictures           # starts a daemon, writes client/python/examples/pictures/*.png

Needs matplotlib, and for the second picture the figures that ppo_in_a_dream/train.py --report wrote.
"""

import argparse
import json
import os
import pathlib

import gymnasium
import matplotlib
import numpy as np

import dreamd
from dreamd.envs.render import draw_pendulum

matplotlib.use("agg")
from matplotlib import pyplot

SEEN, IMAGINED, EVERY = 10, 40, 4  # steps filtered, steps imagined blindly, steps between two frames


def record(seed, steps):
    """A real episode under random actions; (observations [steps + 1, 3], actions [steps, 1])."""
    env = gymnasium.make("Pendulum-v1")
    observations, actions = [env.reset(seed=seed)[0]], []
    env.action_space.seed(seed)
    for _ in range(steps):
        actions.append(env.action_space.sample())
        observations.append(env.step(actions[-1])[0])
    env.close()
    return np.array(observations), np.array(actions)


def imagine(session, observations, actions):
    """Filters the first SEEN observations, then steps with the recorded actions alone; [IMAGINED, 3]."""
    for t in range(SEEN + 1):
        session.observe(observations[t], actions[t - 1] if t else None)
    steps = [session.step(actions[SEEN + t], outputs=["observation"]) for t in range(IMAGINED)]
    return np.array([step.observation[0] for step in steps])


def draw_dream(address, path):
    with dreamd.connect(address) as client, client.open("pendulum", seed=0) as session:
        observations, actions = record(0, SEEN + IMAGINED)
        dreamed = imagine(session, observations, actions)
    times = range(0, IMAGINED, EVERY)
    figure, rows = pyplot.subplots(2, len(times), figsize=(1.1 * len(times), 2.6))
    for column, t in enumerate(times):
        for row, frame in enumerate([observations[SEEN + 1 + t], dreamed[t]]):
            axes = rows[row][column]
            axes.imshow(draw_pendulum(frame))
            axes.set_xticks([])
            axes.set_yticks([])
        rows[0][column].set_title(f"{t + 1}", fontsize=9)
    rows[0][0].set_ylabel("real")
    rows[1][0].set_ylabel("imagined")
    figure.suptitle(f"{SEEN} steps seen, then {IMAGINED} imagined with the same random actions (steps since the last one seen)",
                    fontsize=10)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def draw_learning(report, path):
    told = json.loads(report.read_text())
    figure, axes = pyplot.subplots(figsize=(6.4, 3.2))
    for row in told["seeds"]:
        steps, returns = zip(*row["curve"], strict=True)
        axes.plot(np.array(steps) / 1000, returns, marker=".", label=f"seed {row['seed']}: {row['return']:.0f} in the end")
    axes.axhline(told["random_return"], color="grey", linestyle=":", label=f"random: {told['random_return']:.0f}")
    axes.set_xlabel("thousand imagined steps; no real one")
    axes.set_ylabel("return in the real Pendulum-v1")
    axes.legend(fontsize=8, loc="lower right")
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    here = pathlib.Path(__file__).resolve().parent
    parser.add_argument("--address", default=os.environ.get("DREAMD_ADDRESS", "127.0.0.1:7733"))
    parser.add_argument("--out", type=pathlib.Path, default=here)
    parser.add_argument("--report", type=pathlib.Path, default=here.parents[3] / "reports/ppo_in_a_dream.json")
    arguments = parser.parse_args()
    draw_dream(arguments.address, arguments.out / "dream.png")
    if arguments.report.exists():
        draw_learning(arguments.report, arguments.out / "learning.png")


if __name__ == "__main__":
    main()
