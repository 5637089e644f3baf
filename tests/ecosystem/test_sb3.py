"""Stable-Baselines3 on imagined worlds: its checkers, the forms it relies on, and its own PPO."""

import pathlib
import sys
import warnings

import gymnasium
import numpy as np
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "compliance"))

from python_package import zoo_daemon  # noqa: E402

import dreamd  # noqa: E402, F401  (registers the worlds)
from dreamd.sb3 import WorldVecEnv  # noqa: E402
from stable_baselines3 import PPO  # noqa: E402
from stable_baselines3.common.env_checker import check_env  # noqa: E402
from stable_baselines3.common.evaluation import evaluate_policy  # noqa: E402
from stable_baselines3.common.vec_env import VecMonitor, VecNormalize  # noqa: E402


@pytest.fixture(scope="module", autouse=True)
def address(tmp_path_factory):
    one = zoo_daemon(tmp_path_factory.mktemp("sb3"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DREAMD_ADDRESS", one.address)
        yield one.address
    one.stop()


@pytest.mark.parametrize("name", ["pendulum", "cartpole"])
def test_its_checker_finds_nothing(name):
    env = gymnasium.make(f"dreamd/{name}-v0")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*symmetric and normalized.*")  # the real space is -2 to 2, too
        warnings.simplefilter("error", append=True)
        check_env(env.unwrapped)
    env.close()


def test_what_ends_a_world_is_told_in_its_words():
    worlds = WorldVecEnv(8, model="cartpole", horizon=12)
    worlds.seed(3)
    first = worlds.reset()
    worlds.seed(3)
    assert worlds.reset().tobytes() == first.tobytes()
    seen = set()
    for turn in range(30):
        observations, rewards, ends, infos = worlds.step(np.where(np.arange(8) < 4, 0, turn % 2))  # some fall, some sway
        assert rewards.dtype == np.float32 and ends.dtype == np.bool_ and len(infos) == 8
        for row, info in enumerate(infos):
            seen.add((bool(ends[row]), info["TimeLimit.truncated"]))
            assert ("terminal_observation" in info) == ends[row]
            if ends[row]:
                assert info["terminal_observation"].tobytes() != observations[row].tobytes()
                assert info["terminal_observation"] in worlds.observation_space
    assert seen == {(False, False), (True, False), (True, True)}
    assert worlds.get_attr("num_envs", 0) == [8] and worlds.env_is_wrapped(gymnasium.Wrapper) == [False] * 8
    worlds.close()


def test_options_that_worlds_do_not_have_are_refused():
    worlds = WorldVecEnv(2, model="cartpole")
    worlds.set_options({"start_index": 3})
    with pytest.raises(dreamd.Error, match="options: is .*start_index.*, expected none"):
        worlds.reset()
    assert len(worlds.reset()) == 2  # they were of that reset alone
    worlds.close()


@pytest.mark.parametrize("model", ["cartpole", "pendulum"])
def test_its_ppo_learns_in_them(model):
    worlds = VecNormalize(VecMonitor(WorldVecEnv(16, model=model, horizon=50)))
    agent = PPO("MlpPolicy", worlds, n_steps=16, batch_size=64, n_epochs=1, seed=0, device="cpu").learn(512)
    assert agent.num_timesteps == 512
    mean, _ = evaluate_policy(agent, worlds, n_eval_episodes=4)
    assert np.isfinite(mean)
    worlds.close()
