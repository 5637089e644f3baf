"""Real episodes: recorded from Gymnasium in the form `dreamd learn` reads, and made by a hosted model that drives."""

import json
import subprocess
import sys

import gymnasium
import numpy as np
import pytest
from checkpoints import read_safetensors
from conftest import BUILD
from python_package import ROOT, zoo_daemon

import dreamd  # noqa: E402  (from the tree: python_package)
from dreamd import agent

CONFIG = {"dialect": "dreamer3_torch", "deter": 16, "stoch": 4, "classes": 4, "hidden": 16, "unimix": 0.01,
          "encoder": {"layers": 1, "units": 16}, "decoder": {"layers": 1, "units": 16},
          "reward": {"layers": 1, "units": 16}, "continue": {"layers": 1, "units": 8}}


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    one = zoo_daemon(tmp_path_factory.mktemp("drives"))
    yield one.address
    one.stop()


def walk(env, episodes, seed=0):
    env.action_space.seed(seed)
    for episode in range(episodes):
        env.reset(seed=seed + episode)
        over = False
        while not over:
            _, _, terminated, truncated, _ = env.step(env.action_space.sample())
            over = terminated or truncated


def read(path):
    header, data = read_safetensors(path)
    kinds = {"F32": "<f4", "U8": "|u1", "I64": "<i8", "F64": "<f8"}
    tensors = {name: np.frombuffer(data[slice(*one["data_offsets"])], kinds[one["dtype"]]).reshape(one["shape"])
               for name, one in header.items() if name != "__metadata__"}
    return header["__metadata__"], tensors


def learn(episodes, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    return subprocess.run([BUILD / "dreamd", "learn", "--episodes", episodes, "--out", tmp_path / "learned", "--model-config",
                           tmp_path / "config.json", "--updates", "3", "--rows", "2", "--length", "8"], capture_output=True,
                          text=True, timeout=280)


class Sights(gymnasium.Env):
    """Observations of several kinds, and a Discrete that does not begin at 0."""

    observation_space = gymnasium.spaces.Dict({"arm": gymnasium.spaces.Box(-1, np.array([1, np.inf], np.float32), (2,), np.float32),
                                               "angle": gymnasium.spaces.Box(-3, 3, (), np.float64)})
    action_space = gymnasium.spaces.Discrete(3, start=1)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.seen = {"arm": np.zeros(2, np.float32), "angle": np.float64(0)}
        return self.seen, {}

    def step(self, action):
        self.seen["arm"] += 0.1  # the same array again: a recorder must not keep it
        self.seen["angle"] = np.float64(action)
        return self.seen, action, False, bool(self.seen["arm"][0] > 1.15), {}


# ---- recording ----

def test_what_is_recorded_is_what_happened(tmp_path):
    env, twin = dreamd.record(gymnasium.make("Pendulum-v1"), tmp_path / "episodes"), gymnasium.make("Pendulum-v1")
    walk(env, 2, seed=5)
    env.close()
    paths = sorted((tmp_path / "episodes").iterdir())
    assert [path.name for path in paths] == ["00000000.safetensors", "00000001.safetensors"]
    metadata, episode = read(paths[1])
    assert metadata["env"] == "Pendulum-v1" and metadata["seed"] == "6" and metadata["kind"] == "dreamd.episode.1"
    assert json.loads(metadata["spaces"])["action_space"] == {"type": "Box", "shape": [1], "dtype": "float32", "low": -2.0, "high": 2.0}
    assert episode["observation"].shape == (201, 3) and episode["action"].shape == (200, 1)
    assert episode["truncated"].tolist() == [0] * 199 + [1] and not episode["terminated"].any()
    observation, _ = twin.reset(seed=6)
    for step in range(200):
        assert observation.tobytes() == episode["observation"][step].tobytes()
        observation, reward, *_ = twin.step(episode["action"][step])
        assert np.float32(reward) == episode["reward"][step]
    assert [path.name for path in tmp_path.iterdir()] == ["episodes"]


@pytest.mark.parametrize("name", ["Pendulum-v1", "CartPole-v1"])
def test_dreamd_learn_accepts_what_is_recorded(tmp_path, name):
    env = dreamd.record(gymnasium.make(name), tmp_path / "episodes")
    walk(env, 3)
    env.close()
    done = learn(tmp_path / "episodes", tmp_path)
    assert done.returncode == 0, done.stderr
    manifest = json.loads((tmp_path / "learned/manifest.json").read_text())
    assert 0 < manifest["training"]["episodes"] <= 3  # some are kept apart to measure errors on
    shipped = json.loads((ROOT / f"models/zoo/{name.partition('-')[0].lower()}/manifest.json").read_text())
    assert manifest["action_space"] == shipped["action_space"]


def test_dicts_and_choices_are_recorded_and_accepted(tmp_path):
    env = dreamd.record(Sights(), tmp_path / "episodes")
    walk(env, 3)
    env.close()
    metadata, episode = read(tmp_path / "episodes/00000002.safetensors")
    assert metadata["env"] == "Sights" and set(episode) == {"observation.arm", "observation.angle", "action", "reward",
                                                            "terminated", "truncated"}
    assert np.allclose(episode["observation.arm"][:, 0], np.arange(len(episode["reward"]) + 1) * 0.1, atol=1e-5)
    assert episode["action"].dtype == np.int64 and set(episode["action"]) <= {1, 2, 3}
    assert episode["observation.angle"][1:].tolist() == episode["action"].tolist()
    assert json.loads(metadata["spaces"])["observation_space"]["spaces"]["arm"]["high"] == [1.0, None]
    done = learn(tmp_path / "episodes", tmp_path)
    assert done.returncode == 0, done.stderr


def test_an_episode_that_is_cut_is_written_and_recording_goes_on_later(tmp_path):
    folder = tmp_path / "episodes"
    for count in (1, 2):
        env = dreamd.record(gymnasium.make("CartPole-v1"), folder)
        env.reset(seed=1)
        env.step(1)
        env.step(0)
        env.close()
        assert len(list(folder.iterdir())) == count
    _, episode = read(folder / "00000001.safetensors")
    assert episode["action"].tolist() == [1, 0] and not episode["terminated"].any() and not episode["truncated"].any()


def test_a_long_episode_is_cut_and_nothing_of_it_is_lost(tmp_path, monkeypatch):
    monkeypatch.setattr("dreamd.recording.BYTES_MAX", 1000)
    env = dreamd.record(gymnasium.make("Pendulum-v1"), tmp_path / "cut")
    walk(env, 1)
    env.close()
    parts = [read(path)[1] for path in sorted((tmp_path / "cut").iterdir())]
    assert len(parts) == 4 and sum(len(part["reward"]) for part in parts) == 200
    for one, following in zip(parts, parts[1:]):
        assert one["observation"][-1].tobytes() == following["observation"][0].tobytes() and not one["truncated"].any()
    assert parts[-1]["truncated"][-1] == 1


def test_the_wrapper_changes_nothing_for_its_user(tmp_path):
    from gymnasium.utils.env_checker import data_equivalence
    env, twin = dreamd.record(gymnasium.make("CartPole-v1"), tmp_path), gymnasium.make("CartPole-v1")
    assert data_equivalence(env.reset(seed=3), twin.reset(seed=3))
    assert data_equivalence(env.step(1), twin.step(1))
    assert env.spec.id == "CartPole-v1"


def test_vectors_and_foreign_spaces_are_refused(tmp_path):
    envs = gymnasium.make_vec("CartPole-v1", num_envs=2)
    with pytest.raises(dreamd.Error, match="env: is a vector of environments"):
        dreamd.record(envs, tmp_path / "a")
    many = gymnasium.Env()
    many.observation_space, many.action_space = gymnasium.spaces.Box(0, 1, (1,)), gymnasium.spaces.MultiDiscrete([2, 2])
    with pytest.raises(dreamd.Error, match="action_space: is MultiDiscrete"):
        dreamd.record(many, tmp_path / "a")
    assert not (tmp_path / "a").exists()
    envs.close()


# ---- the agent ----

def run(*arguments):
    done = subprocess.run([sys.executable, "-m", "dreamd.agent", *map(str, arguments)], capture_output=True, text=True, timeout=280,
                          env={"PYTHONPATH": str(ROOT / "client/python/src")})
    return done.returncode, done.stdout, done.stderr


def test_a_planner_stands_a_pendulum_up(address):
    code, out, err = run("--env", "Pendulum-v1", "--model", "pendulum", "--act", "plan", "--seed", 4, "--address", address,
                         "--json", "--set", "candidates=16", "--set", "iterations=2")
    assert code == 0, err
    told = json.loads(out)
    assert told["model"] == "pendulum@1" and told["episodes"] == 1
    assert told["mean_return"] > -600, told  # at random about -1200


def test_it_is_the_loop_of_a_robot(address):
    with dreamd.connect(address) as client:
        def by_hand():
            env = gymnasium.make("Pendulum-v1")
            with client.open("pendulum", seed=3) as session:
                observation, _ = env.reset(seed=3)
                session.reset()
                action, total = None, 0.0
                for _ in range(200):
                    session.observe(observation, action)
                    action = session.plan(horizon=4, candidates=8, iterations=1).action
                    observation, reward, *_ = env.step(action[0])
                    total += float(reward)
            return total

        code, out, _ = run("--env", "Pendulum-v1", "--model", "pendulum", "--seed", 3, "--address", address, "--json",
                           "--set", "horizon=4", "--set", "candidates=8", "--set", "iterations=1")
        assert code == 0 and json.loads(out)["returns"] == [by_hand()]


def test_it_prints_returns_and_records(address, tmp_path):
    code, out, err = run("--env", "CartPole-v1", "--model", "cartpole", "--episodes", 2, "--address", address,
                         "--record", tmp_path / "episodes", "--set", "candidates=8", "--set", "iterations=1")
    assert code == 0, err
    lines = out.splitlines()
    assert [line.split(":")[0] for line in lines[:2]] == ["episode 0", "episode 1"] and lines[2].startswith("mean return ")
    assert len(list((tmp_path / "episodes").iterdir())) == 2
    code, out, _ = run("--env", "Pendulum-v1", "--act", "random", "--json")
    assert code == 0 and json.loads(out)["mean_return"] < -300


def test_actions_are_mapped_where_bounds_differ(address):
    class Weak(gymnasium.ActionWrapper):
        action_space = gymnasium.spaces.Box(0, 10, (1,), np.float64)
        given = []

        def action(self, action):
            assert action.dtype == np.float64 and self.action_space.contains(action)
            self.given.append(action)
            return np.float32(action / 10 * 4 - 2)

    with dreamd.connect(address) as client:
        def returns(env, said):
            with client.open("pendulum", seed=1) as session:
                settings = dict(horizon=4, candidates=8, iterations=1)
                return list(agent.play(env, session, "plan", 1, 0, settings, said.append))

        said, unsaid = [], []
        weak = Weak(gymnasium.make("Pendulum-v1"))
        assert np.allclose(returns(weak, said), returns(gymnasium.make("Pendulum-v1"), unsaid), rtol=1e-2)
        assert said == ["actions -2..2 of the model become 0..10 of the environment"] and unsaid == []


@pytest.mark.parametrize(("arguments", "code", "words"), [
    (["--env", "Pendulum-v1"], 2, "--act plan needs --model"),
    (["--env", "Pendulum-v1", "--model", "x", "--episodes", "0"], 2, "--episodes is 0"),
    (["--env", "Pendulum-v1", "--model", "x", "--set", "horizon"], 2, "expected NAME=VALUE"),
    (["--env", "Pendulum-v1", "--model", "nobody"], 1, "NOT_FOUND"),
    (["--env", "CartPole-v1", "--model", "pendulum"], 1, "they do not fit"),
    (["--env", "Nothing-v1", "--model", "pendulum"], 1, "Nothing"),
    (["--env", "Pendulum-v1", "--model", "pendulum", "--act", "actor"], 1, "FAILED_PRECONDITION"),
    (["--env", "Pendulum-v1", "--model", "pendulum", "--set", "horizon=0"], 1, "horizon"),
])
def test_mistakes_end_in_one_sentence(address, arguments, code, words):
    found, out, err = run(*arguments, "--address", address)
    assert found == code and words in err and out == ""
    assert "Traceback" not in err
