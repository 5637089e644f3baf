"""The pendulum in C against Gymnasium's own Pendulum-v1, live.

Goal: twenty whole episodes from Gymnasium's own starts, random actions (some beyond the bounds),
compared number by number. Method: build/tests/env_trace behind a pipe.

    python3 -m unittest tests/compliance/test_pendulum_env.py      (DREAMD_BUILD names the build folder)
"""

import os
import subprocess
import unittest

import gymnasium
import numpy as np

BUILD = os.environ.get("DREAMD_BUILD", "build")
EPISODES = 20


class PendulumEnv(unittest.TestCase):
    def test_equals_gymnasium_step_for_step(self):
        env = gymnasium.make("Pendulum-v1")
        random = np.random.default_rng(1)
        commands, expected = [], []
        for episode in range(EPISODES):
            observation, _ = env.reset(seed=episode)
            commands.append("state {:.17g} {:.17g}".format(*env.unwrapped.state))
            expected.append(observation.tolist())
            truncated = False
            while not truncated:
                action = random.uniform(-2.5, 2.5, 1).astype(np.float32)
                observation, reward, terminated, truncated, _ = env.step(action)
                commands.append(f"step {float(action[0]):.17g}")
                expected.append([*observation.tolist(), float(reward), terminated, truncated])
        trace = subprocess.run(
            [f"{BUILD}/tests/env_trace", "pendulum"],
            input="\n".join(commands), capture_output=True, text=True, check=True,
        )
        lines = trace.stdout.splitlines()
        self.assertEqual(len(lines), len(expected))
        self.assertEqual(len(lines), EPISODES * 201)
        worst = 0.0
        for command, line, wanted in zip(commands, lines, expected):
            found = [float(word) for word in line.split()]
            self.assertEqual(len(found), len(wanted), command)
            np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-6, err_msg=command)
            worst = max(worst, max(abs(a - b) for a, b in zip(found, wanted)))
        print(f"pendulum: {len(lines)} lines, largest difference {worst:.3g}")

    def test_bounds_are_gymnasiums(self):
        env = gymnasium.make("Pendulum-v1")
        self.assertEqual(env.action_space.low.tolist(), [-2.0])
        self.assertEqual(env.action_space.high.tolist(), [2.0])
        self.assertEqual(env.observation_space.high.tolist(), [1.0, 1.0, 8.0])
        self.assertEqual(env.spec.max_episode_steps, 200)


if __name__ == "__main__":
    unittest.main()
