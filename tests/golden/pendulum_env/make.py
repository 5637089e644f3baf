"""Writes trajectories.txt: what Gymnasium's Pendulum-v1 does, for tests/unit/client/envs/pendulum.c.

    python3 tests/golden/pendulum_env/make.py > tests/golden/pendulum_env/trajectories.txt

Lines: "state ANGLE SPEED COS SIN SPEED" begins an episode in a given state,
"step ACTION COS SIN SPEED REWARD TRUNCATED" is one transition. Made with gymnasium 1.2.3, numpy 2.4.6.
"""
import gymnasium
import numpy as np


def write_episode(env, state, actions):
    env.reset(seed=0)
    env.unwrapped.state = np.array(state, dtype=np.float64)
    observation = env.unwrapped._get_obs()
    print("state", *(f"{x:.17g}" for x in (*state, *observation.tolist())))
    for action in actions:
        observation, reward, terminated, truncated, _ = env.step(np.array([action], dtype=np.float32))
        assert not terminated
        numbers = (float(action), *observation.tolist(), float(reward))
        print("step", *(f"{x:.17g}" for x in numbers), int(truncated))


def main():
    env = gymnasium.make("Pendulum-v1")
    random = np.random.default_rng(7)
    draw = lambda n, high: random.uniform(-high, high, n).astype(np.float32)
    write_episode(env, (np.pi, 0.0), draw(200, 2.0))
    write_episode(env, (-2.5, 7.5), draw(40, 6.0))  # beyond the bounds: clipped
    write_episode(env, (31.0, -8.0), [-2.0] * 40)  # many turns, top speed
    write_episode(env, (-np.pi, 0.0), [0.0] * 5)


main()
