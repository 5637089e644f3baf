"""Writes trajectories.txt: what Gymnasium's CartPole-v1 does, for tests/unit/client/envs/cartpole.c.

    python3 tests/golden/cartpole_env/make.py > tests/golden/cartpole_env/trajectories.txt

Lines: "state X V ANGLE SPIN X V ANGLE SPIN" begins an episode in a given state (doubles) and what is
seen of it (floats), "step ACTION X V ANGLE SPIN REWARD TERMINATED TRUNCATED" is one transition. "at" is
the state (doubles, then floats) in mid-episode, every STRETCH steps: an upright pole makes a last bit of
difference ten times larger in half a second, so comparing begins anew there; the time limit does not.
Made with gymnasium 1.2.3, numpy 2.4.6.
"""
import gymnasium
import numpy as np

STRETCH = 25


def show(word, state):
    print(word, *(f"{x:.17g}" for x in (*state, *np.array(state, dtype=np.float32).tolist())))


def write_episode(env, state, choose):
    env.reset(seed=0)
    env.unwrapped.state = np.array(state, dtype=np.float64)
    show("state", state)
    steps, terminated, truncated = 0, False, False
    while not (terminated or truncated):
        if steps and steps % STRETCH == 0:
            show("at", env.unwrapped.state)
        steps += 1
        action = int(choose(env.unwrapped.state))
        observation, reward, terminated, truncated, _ = env.step(action)
        print("step", action, *(f"{x:.17g}" for x in (*observation.tolist(), reward)), int(terminated), int(truncated))


def main():
    env = gymnasium.make("CartPole-v1")
    random = np.random.default_rng(7)
    write_episode(env, (0.01, -0.02, 0.03, 0.04), lambda state: random.integers(2))
    write_episode(env, (0.0, 0.0, 0.0, 0.0), lambda state: 1)  # the pole falls to the left
    write_episode(env, (2.3, 1.0, -0.1, 0.0), lambda state: state[2] + state[3] > 0)  # leaves on the right
    write_episode(env, (-2.35, -1.5, 0.1, -0.5), lambda state: 0)  # and on the left
    balance = lambda state: state @ [0.05, 0.2, 1.0, 0.4] > 0  # until the time limit
    write_episode(env, (0.02, 0.01, -0.04, 0.0), balance)


main()
