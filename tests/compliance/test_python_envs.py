"""Imagined worlds as Gymnasium and dm_env environments: their own checkers, and equality with the session below."""

import gc
import os
import pathlib
import re
import subprocess
import sys
import warnings

import dm_env
import gymnasium
import numpy as np
import pytest
from checkpoints import read_safetensors
from dreamd_stubs import make_zoo
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode
from python_package import ROOT, zoo_daemon

import dreamd  # noqa: E402  (from the tree: python_package)
from dreamd.dm_env import WorldEnvironment
from dreamd.envs import WorldEnv, WorldVectorEnv

from grpc import StatusCode  # noqa: E402

MODES = list(AutoresetMode)
FIXTURES = pathlib.Path(os.environ.get("DREAMD_FIXTURES", ROOT / "../shared/fixtures"))


@pytest.fixture(scope="module", autouse=True)
def address(tmp_path_factory):
    """$DREAMD_ADDRESS is how environments find their daemon."""
    one = zoo_daemon(tmp_path_factory.mktemp("envs"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DREAMD_ADDRESS", one.address)
        yield one.address
    one.stop()


@pytest.fixture
def make(request):
    """Environments that are closed at the end."""
    made = []

    def make_one(kind, *arguments, **options):
        made.append(kind(*arguments, **options))
        return made[-1]

    yield make_one
    for one in made:
        one.close()


@pytest.mark.parametrize("name", ["pendulum", "cartpole"])
def test_gymnasium_s_checker_finds_nothing(name):
    env = gymnasium.make(f"dreamd/{name}-v0")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*(symmetric and normalized|infinity).*")  # the real spaces are so, too
        warnings.simplefilter("error", append=True)
        check_env(env.unwrapped)
    env.close()


@pytest.mark.parametrize(("name", "real"), [("pendulum", "Pendulum-v1"), ("cartpole", "CartPole-v1")])
def test_what_learns_in_a_dream_fits_the_real_world(name, real):
    dreamed, awake = gymnasium.make(f"dreamd/{name}-v0"), gymnasium.make(real, render_mode="rgb_array")
    assert dreamed.observation_space == awake.observation_space and dreamed.action_space == awake.action_space
    spec = gymnasium.spec(f"dreamd/{name}-v0")
    assert spec.kwargs["horizon"] == awake.spec.max_episode_steps
    many = gymnasium.make_vec(spec, num_envs=2)
    assert dreamed.metadata["render_fps"] == many.metadata["render_fps"] == {"pendulum": 20, "cartpole": 50}[name]
    dreamed.close()
    many.close()


@pytest.mark.parametrize("observe", ["observation", "state"])
def test_any_hosted_model_is_a_world(start_daemon, tmp_path, observe):
    daemon = start_daemon("--zoo", make_zoo(tmp_path / "zoo", tiny=1))
    env = gymnasium.make("dreamd/world-v0", model="tiny@1", address=daemon.address, horizon=3, observe=observe)
    observation, _ = env.reset(seed=1)
    assert observation in env.observation_space and isinstance(observation, dict if observe == "observation" else np.ndarray)
    for step in range(3):
        observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
    assert truncated and observation in env.observation_space and isinstance(reward, float)
    env.close()


def test_a_world_ends_sessions_when_it_is_closed(address):
    with dreamd.connect(address) as client:
        before = len(client.sessions())
        env = gymnasium.make("dreamd/pendulum-v0")
        assert len(client.sessions()) == before + 1
        env.close()
        with pytest.raises(dreamd.Error, match="observe: is 'pixels', expected"):
            gymnasium.make("dreamd/pendulum-v0", observe="pixels")
        assert len(client.sessions()) == before


@pytest.mark.filterwarnings("error")  # also of what is destroyed
def test_a_world_that_cannot_be_made_leaves_nothing_behind():
    for make in (gymnasium.make, gymnasium.make_vec):
        with pytest.raises(dreamd.Error, match="NOT_FOUND"):
            make("dreamd/world-v0", model="nobody")
    gc.collect()


def test_without_a_daemon_the_error_says_how_to_start_one():
    with pytest.raises(dreamd.Error, match="no daemon answers at 127.0.0.1:1; `dreamd serve --listen 127.0.0.1:1` starts one") as caught:
        gymnasium.make("dreamd/pendulum-v0", address="127.0.0.1:1")
    assert caught.value.code is StatusCode.UNAVAILABLE


# ---- starts, seeds ----

@pytest.mark.parametrize("name", ["pendulum", "cartpole"])
def test_episodes_begin_at_recorded_first_observations(name, make):
    header, data = read_safetensors(ROOT / f"models/zoo/{name}/starts.safetensors")
    recorded = np.frombuffer(data, "<f4").reshape(header["observation"]["shape"])
    envs = make(gymnasium.make_vec, f"dreamd/{name}-v0", num_envs=16)
    first, _ = envs.reset(seed=0)
    assert all(one.tobytes() in {start.tobytes() for start in recorded} for one in first)
    assert len({one.tobytes() for one in first}) > 3
    env = make(gymnasium.make, f"dreamd/{name}-v0")
    observation, _ = env.reset(options={"start_index": 5})
    assert observation.tobytes() == recorded[5].tobytes()


def test_a_number_seeds_world_i_with_the_number_plus_i(make):
    envs = make(gymnasium.make_vec, "dreamd/pendulum-v0", num_envs=3)
    env = make(gymnasium.make, "dreamd/pendulum-v0")
    first, _ = envs.reset(seed=40)
    actions = np.linspace(-2, 2, 15).reshape(5, 3, 1).astype(np.float32)
    steps = [envs.step(action)[:2] for action in actions]
    for row in range(3):
        alone, _ = env.reset(seed=40 + row)
        assert alone.tobytes() == first[row].tobytes()
        for action, (observations, rewards) in zip(actions, steps, strict=True):
            observation, reward, *_ = env.step(action[row])
            assert observation.tobytes() == observations[row].tobytes() and reward == rewards[row]
    again, _ = envs.reset(seed=[42, None, 40])
    assert again[0].tobytes() == first[2].tobytes() and again[2].tobytes() == first[0].tobytes()
    other, _ = envs.reset()
    assert other.tobytes() != first.tobytes()
    with pytest.raises(dreamd.Error, match="seed: is a list of 2, expected 3"):
        envs.reset(seed=[1, 2])


# ---- many worlds ----

@pytest.mark.parametrize("mode", MODES)
def test_make_vec_gives_worlds_that_declare_their_autoreset(mode, make):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        envs = make(gymnasium.make_vec, "dreamd/pendulum-v0", num_envs=5, autoreset_mode=mode, max_episode_steps=7)
    assert isinstance(envs.unwrapped, WorldVectorEnv) and envs.metadata["autoreset_mode"] is mode
    observations, _ = envs.reset(seed=0)
    assert observations in envs.observation_space and observations.flags.writeable
    observations, rewards, terminations, truncations, infos = envs.step(envs.action_space.sample())
    assert observations in envs.observation_space
    assert (rewards.dtype, rewards.shape) == (np.float64, (5,))
    assert terminations.dtype == truncations.dtype == np.bool_ and not terminations.any() and not truncations.any()
    assert infos["continue"].shape == (5,) and infos["_continue"].all()


def test_all_autoreset_modes_tell_one_story(make):
    """The same actions: NEXT_STEP shows what SAME_STEP shows, a step later; DISABLED with masks is SAME_STEP by hand."""
    options = dict(num_envs=8, horizon=13)
    same, later, by_hand = (make(gymnasium.make_vec, "dreamd/cartpole-v0", autoreset_mode=mode, **options)
                            for mode in (AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP, AutoresetMode.DISABLED))
    firsts = [envs.reset(seed=1)[0] for envs in (same, later, by_hand)]
    assert firsts[0].tobytes() == firsts[1].tobytes() == firsts[2].tobytes()
    actions = np.random.default_rng(2).integers(0, 2, (40, 8))
    rows = range(8)
    same_story, later_story, ends = [[] for _ in rows], [[] for _ in rows], 0
    waits = np.zeros(8, bool)
    pending = [list(actions[:, row]) for row in rows]
    for _ in range(len(actions)):
        given = np.array([pending[row][0] for row in rows])
        observations, rewards, terminations, truncations, _ = later.step(given)
        for row in rows:
            if waits[row]:
                assert rewards[row] == 0 and not terminations[row] and not truncations[row]
                later_story[row].append(observations[row].tobytes())
            else:
                pending[row].pop(0)
                later_story[row].append((observations[row].tobytes(), rewards[row], terminations[row], truncations[row]))
        waits = terminations | truncations
    for action in actions:
        observations, rewards, terminations, truncations, infos = same.step(action)
        hand, hand_rewards, hand_terminations, hand_truncations, _ = by_hand.step(action)
        ended = terminations | truncations
        assert rewards.tobytes() == hand_rewards.tobytes() and terminations.tobytes() == hand_terminations.tobytes()
        assert truncations.tobytes() == hand_truncations.tobytes()
        if ended.any():
            ends += int(ended.sum())
            assert infos["_final_obs"].tolist() == ended.tolist() == infos["_final_info"].tolist()
            assert "_continue" in infos["final_info"]
            before = hand.copy()
            hand, _ = by_hand.reset(options={"reset_mask": ended})
            for row in np.flatnonzero(ended):
                assert infos["final_obs"][row].tobytes() == before[row].tobytes()
        assert hand.tobytes() == observations.tobytes()
        for row in rows:
            shown = infos["final_obs"][row] if ended[row] else observations[row]
            same_story[row].append((shown.tobytes(), rewards[row], terminations[row], truncations[row]))
            if ended[row]:
                same_story[row].append(observations[row].tobytes())
    assert ends > 8
    for row in rows:
        assert later_story[row] == same_story[row][:len(later_story[row])] and len(later_story[row]) > 13


def test_a_mask_resets_some_worlds_and_bad_masks_are_refused(make):
    envs = make(gymnasium.make_vec, "dreamd/cartpole-v0", num_envs=3, horizon=1, autoreset_mode=AutoresetMode.DISABLED)
    before, _ = envs.reset(seed=0)
    observations, *_ = envs.step([0, 1, 0])
    with pytest.raises(dreamd.Error, match="rows have ended"):
        envs.step([0, 1, 0])
    after, _ = envs.reset(seed=0, options={"reset_mask": np.array([False, True, False])})
    assert after[1].tobytes() == before[1].tobytes() and after[[0, 2]].tobytes() == observations[[0, 2]].tobytes()
    for mask in (np.zeros(3, bool), np.zeros(3), np.ones(2, bool)):
        with pytest.raises(dreamd.Error, match="options.reset_mask: is"):
            envs.reset(options={"reset_mask": mask})


def test_one_call_a_step(make, address):
    with dreamd.connect(address) as client:
        envs = make(WorldVectorEnv, 16, model="pendulum", client=client)
        calls = []
        perform = client._runner._perform
        client._runner._perform = lambda effect: (calls.append(effect.method), perform(effect))[1]
        envs.reset(seed=0)
        for _ in range(3):
            envs.step(np.zeros((16, 1), np.float32))
        assert calls == ["Simulation/Reset"] + ["Simulation/Step"] * 3
        envs.close()
        client.server_info()  # what was given stays open


def test_endings_are_by_threshold_or_drawn_or_never(make):
    def ends(**options):
        envs = make(gymnasium.make_vec, "dreamd/cartpole-v0", num_envs=64, autoreset_mode="SameStep", **options)
        envs.reset(seed=0)
        return sum(envs.step(np.zeros(64, np.int64))[2].sum() for _ in range(30))

    by_threshold, strict, drawn, never = ends(), ends(threshold=0.0), ends(ending="sampled"), ends(ending="never")
    assert by_threshold > 0 and drawn > 0 and strict == 0 == never


def test_what_a_world_shows_is_not_what_it_keeps(make):
    envs = make(WorldVectorEnv, 2, model="cartpole", horizon=5, autoreset_mode=AutoresetMode.DISABLED)
    first, _ = envs.reset(seed=0)
    kept = first.copy()
    first += 100
    masked, _ = envs.reset(seed=9, options={"reset_mask": np.array([True, False])})
    assert masked[1].tobytes() == kept[1].tobytes()
    env = make(gymnasium.make, "dreamd/pendulum-v0", render_mode="rgb_array").unwrapped
    for observation in (env.reset(seed=0)[0], env.step(np.zeros(1, np.float32))[0], env.set_state(env.get_state())):
        frame = env.render()
        observation[:] = 0, 1, 0
        assert env.render().tobytes() == frame.tobytes()


def test_a_world_goes_back_to_where_it_was(make):
    env = make(gymnasium.make, "dreamd/cartpole-v0", horizon=12)
    env.reset(seed=1)
    env.step(0)

    def future():
        story = []
        while not story or not (story[-1][2] or story[-1][3]):
            observation, reward, terminated, truncated, _ = env.step(len(story) % 2)
            story.append((observation.tobytes(), reward, terminated, truncated))
        return story

    saved = env.unwrapped.get_state()
    first = future()
    assert env.unwrapped.set_state(saved) in env.observation_space and future() == first
    envs = make(gymnasium.make_vec, "dreamd/cartpole-v0", num_envs=3, autoreset_mode=AutoresetMode.DISABLED, horizon=12)
    envs.reset(seed=9)
    for row in (0, 2):
        envs.unwrapped.set_state(saved, rows=[row])
    observations = envs.step([0, 1, 0])[0]
    assert observations[0].tobytes() == observations[2].tobytes() == first[0][0] != observations[1].tobytes()


# ---- pictures ----

@pytest.mark.parametrize("name", ["pendulum", "cartpole"])
def test_worlds_are_drawn(name, make):
    env = make(gymnasium.make, f"dreamd/{name}-v0", render_mode="rgb_array")
    env.reset(seed=0)
    frames = [env.render()]
    for _ in range(5):
        env.step(env.action_space.high if name == "pendulum" else 1)
        frames.append(env.render())
    assert all(frame.shape == (256, 256, 3) and frame.dtype == np.uint8 for frame in frames)
    assert len({frame.tobytes() for frame in frames}) == 6
    envs = make(gymnasium.make_vec, f"dreamd/{name}-v0", num_envs=3, render_mode="rgb_array")
    envs.reset(seed=0)
    assert len(envs.render()) == 3 and envs.render()[0].tobytes() == frames[0].tobytes()


def test_the_drawn_pendulum_points_where_it_should():
    from dreamd.envs.render import draw_pendulum
    for angle, (row, column) in {0.0: (80, 128), np.pi: (176, 128), np.pi / 2: (128, 80), -np.pi / 2: (128, 176)}.items():
        frame = draw_pendulum([np.cos(angle), np.sin(angle), 0])
        assert frame[row, column].tolist() == [204, 77, 77] and (frame[:, :, 1] < 255).mean() < 0.05


def test_decoded_pictures_are_frames_and_other_worlds_have_none():
    from dreamd.envs.render import find_view
    from dreamd.types import Checkpoint
    about = Checkpoint("mine", 1, "", "rssm", 0, 0, 0, False, 0, 0, 0.0, 0)
    picture = gymnasium.spaces.Box(0, 1, (4, 5, 1), np.float32)
    frame = find_view(picture, about)(np.full((4, 5, 1), 0.5, np.float32))
    assert frame.shape == (4, 5, 3) and set(frame.flat) == {127}
    byte = gymnasium.spaces.Box(0, 255, (4, 5, 3), np.uint8)
    both = gymnasium.spaces.Dict({"arm": gymnasium.spaces.Box(-1, 1, (2,)), "image": byte})
    seen = {"arm": np.zeros(2), "image": np.full((4, 5, 3), 9, np.uint8)}
    assert find_view(both, about)(seen).tobytes() == seen["image"].tobytes()
    with pytest.raises(dreamd.Error, match="render_mode: mine decodes no picture"):
        find_view(gymnasium.spaces.Box(-1, 1, (3,)), about)


def test_a_world_of_pictures_is_a_world_like_any_other(make, address, tmp_path):
    """A public code base's checkpoint with pictures in a Dict: imported, hosted, checked, seeded, reset in all three ways."""
    fixture = FIXTURES / "dreamerv3_torch_image"
    if not fixture.exists():
        pytest.skip(f"SKIPPED: no such folder: {fixture} (DREAMD_FIXTURES names the folder)")
    subprocess.run([sys.executable, ROOT / "client/python/dreamd-import", "dreamerv3-torch", fixture / "latest.pt", "--config",
                    fixture / "config.json", "--out", tmp_path / "seen"], check=True, capture_output=True)
    with dreamd.connect(address) as client:
        client.register(tmp_path / "seen", name="seen")
    env = make(gymnasium.make, "dreamd/world-v0", model="seen", horizon=4, render_mode="rgb_array")
    image = env.observation_space["image"]
    assert (image.shape, image.dtype) == ((64, 64, 3), np.uint8)
    check_env(env.unwrapped)
    observation, _ = env.reset(seed=7)
    assert env.render().tobytes() == observation["image"].tobytes()
    for mode in MODES:
        envs = make(gymnasium.make_vec, "dreamd/world-v0", num_envs=2, model="seen", horizon=3, ending="never",
                    autoreset_mode=mode, render_mode="rgb_array")
        observations, _ = envs.reset(seed=7)
        assert observations in envs.observation_space
        assert observations["image"][0].tobytes() == observation["image"].tobytes() == envs.render()[0].tobytes()
        for _ in range(3):
            observations, _, _, truncations, infos = envs.step(envs.action_space.sample())
        assert truncations.all() and observations in envs.observation_space
        if mode is AutoresetMode.SAME_STEP:
            assert infos["final_obs"][1]["image"].shape == (64, 64, 3)
            assert infos["final_obs"][1]["image"].tobytes() != observations["image"][1].tobytes()


# ---- dm_env ----

def test_a_world_is_a_dm_env(make):
    environment = make(WorldEnvironment, "cartpole", seed=3, horizon=9)
    spec = environment.action_spec()
    assert spec.num_values == 2
    episodes, step = 0, environment.reset()
    assert step.first() and step.reward is None
    for number in range(60):
        environment.observation_spec().validate(step.observation)
        step = environment.step(spec.validate(np.int64(number % 2)))
        if step.first():
            continue
        environment.reward_spec().validate(np.float64(step.reward))
        if step.last():
            episodes += 1
            assert step.discount in (0.0, 1.0)
            assert environment.step(0).first()
        else:
            assert step.mid() and step.discount == 1.0
    assert episodes >= 5 and isinstance(environment, dm_env.Environment)


def test_a_dm_env_may_have_the_expected_discount(make):
    environment = make(WorldEnvironment, "cartpole", seed=3, expected_discount=True)
    environment.reset()
    assert 0.5 < environment.step(0).discount < 1


def test_both_kinds_of_worlds_are_the_same_world(make):
    alone, many = make(WorldEnv, "pendulum"), make(WorldVectorEnv, 1, model="pendulum")
    assert alone.observation_space == many.single_observation_space
    assert alone.reset(seed=5)[0].tobytes() == many.reset(seed=5)[0][0].tobytes()


# ---- the pages ----

@pytest.mark.parametrize("page", ["environments.md", "driving.md", "README.md"])
def test_the_pages_examples_run(page, tmp_path, monkeypatch, address):
    monkeypatch.chdir(tmp_path)
    text = re.search(r"```python\n(.*?)```", (ROOT / "client/python" / page).read_text(), re.S).group(1)
    names = {"dreamd": dreamd, "gymnasium": gymnasium}
    exec(text.replace("127.0.0.1:7733", address), names)
    for name in ("env", "envs"):
        if name in names:
            names[name].close()


def test_the_front_page_s_example_runs(address):
    """The one of the newcomer's path; the whole path is walked in ecosystem/test_first_ten_minutes.py."""
    text = re.search(r"bin/python -c '\n(.*?)'\n", (ROOT / "README.md").read_text(), re.S).group(1)
    names = {}
    exec(text, names)
    names["envs"].close()


def test_the_daemon_s_worlds_go_through_gymnasium_s_own_vectors_and_wrappers(address):
    envs = gymnasium.wrappers.vector.RecordEpisodeStatistics(gymnasium.make_vec("dreamd/cartpole-v0", num_envs=4, horizon=6))
    envs.reset(seed=0)
    told = [envs.step(np.zeros(4, np.int64))[4] for _ in range(7)]
    assert told[5]["episode"]["l"].tolist() == [6] * 4
    envs.close()
    envs = gymnasium.make_vec("dreamd/pendulum-v0", num_envs=2, vectorization_mode="async", address=address,
                              vector_kwargs={"context": "spawn"})  # gRPC does not outlive a fork
    first, _ = envs.reset(seed=3)
    assert first.shape == (2, 3) and envs.step(envs.action_space.sample())[1].shape == (2,)
    envs.close()
