"""The cartpole in C against Gymnasium's own CartPole-v1, live.

Goal: forty whole episodes from Gymnasium's own starts, half with random actions, half with a pole
that is mostly held up, compared number by number. Method: build/tests/env_trace behind a pipe;
every 25 steps it is put into Gymnasium's state again, because an upright pole makes the last bit
of a difference grow without end.

    python3 -m unittest tests/compliance/test_cartpole_env.py      (DREAMD_BUILD names the build folder)
"""

import os
import subprocess
import unittest

import gymnasium
import numpy as np

BUILD = os.environ.get("DREAMD_BUILD", "build")
EPISODES, STRETCH = 40, 25


class CartpoleEnv(unittest.TestCase):
    def test_equals_gymnasium_step_for_step(self):
        env = gymnasium.make("CartPole-v1")
        random = np.random.default_rng(1)
        commands, expected, ends = [], [], 0
        for episode in range(EPISODES):
            observation, _ = env.reset(seed=episode)
            steps, terminated, truncated = 0, False, False
            while not (terminated or truncated):
                if steps % STRETCH == 0:
                    commands.append("state {:.17g} {:.17g} {:.17g} {:.17g}".format(*env.unwrapped.state))
                    expected.append(observation.tolist())
                held = episode % 2 and random.random() < 0.7
                action = int(observation[2] + observation[3] > 0) if held else int(random.integers(2))
                observation, reward, terminated, truncated, _ = env.step(action)
                commands.append(f"step {action}")
                expected.append([*observation.tolist(), float(reward), terminated, False])
                steps += 1
            ends += terminated
        trace = subprocess.run(
            [f"{BUILD}/tests/env_trace", "cartpole"],
            input="\n".join(commands), capture_output=True, text=True, check=True,
        )
        lines = trace.stdout.splitlines()
        self.assertEqual(len(lines), len(expected))
        self.assertGreater(ends, EPISODES / 2)
        worst = 0.0
        for command, line, wanted in zip(commands, lines, expected):
            found = [float(word) for word in line.split()]
            self.assertEqual(len(found), len(wanted), command)
            np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-6, err_msg=command)
            worst = max(worst, max(abs(a - b) for a, b in zip(found, wanted)))
        print(f"cartpole: {len(lines)} lines, {ends} early ends, largest difference {worst:.3g}")

    def test_spaces_and_time_limit_are_gymnasiums(self):
        env = gymnasium.make("CartPole-v1")
        self.assertEqual(env.action_space, gymnasium.spaces.Discrete(2))
        np.testing.assert_allclose(env.observation_space.high, [4.8, np.inf, 0.41887903, np.inf])
        self.assertEqual(env.spec.max_episode_steps, 500)


if __name__ == "__main__":
    unittest.main()
