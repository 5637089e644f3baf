"""`dreamd learn` as a user meets it: a small run, its repetition, recorded episodes, mistakes."""

import json
import os
import pathlib
import signal
import subprocess
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
DREAMD = ROOT / os.environ.get("DREAMD_BUILD", "build") / "dreamd"

# So small that learning costs nothing; it proves the way, not the model.
CONFIG = {
    "dialect": "dreamer3_torch", "deter": 16, "stoch": 4, "classes": 4, "hidden": 16, "unimix": 0.01,
    "encoder": {"layers": 1, "units": 16}, "decoder": {"layers": 1, "units": 16},
    "reward": {"layers": 1, "units": 16}, "continue": {"layers": 1, "units": 16},
}
SMALL = ["--env-steps", "600", "--random-steps", "400", "--updates", "20", "--rows", "4", "--length", "8", "--evaluate", "1"]


def learn(*arguments, code=0):
    result = subprocess.run([DREAMD, "learn", *map(str, arguments)], capture_output=True, text=True, timeout=250)
    assert result.returncode == code, result.stdout + result.stderr
    return result


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(CONFIG))
    return path


def events(result):
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_a_run_estimates_reports_and_leaves_a_checkpoint(tmp_path, config):
    out = tmp_path / "made"
    told = events(learn("--env", "pendulum", "--out", out, "--model-config", config, "--json", *SMALL))
    assert [told[0]["event"], told[-1]["event"]] == ["estimate", "done"]
    assert told[0]["seconds"] > 0
    curve = [event for event in told if event["event"] == "progress"]
    assert [event["env_steps"] for event in curve][:2] == [400, 600] and curve[-1]["updates"] == 20
    assert told[-1]["episodes"] == 1 and told[-1]["mean_return"] < 0
    assert [error["horizon"] for error in told[-1]["errors_free"]] == [1, 5, 15, 50]
    assert sorted(path.name for path in out.iterdir()) == [
        "card.md", "manifest.json", "probe.safetensors", "starts.safetensors", "weights.safetensors"]
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["name"] == "pendulum" and manifest["config"] == CONFIG
    assert manifest["training"]["env_steps"] == 600 and manifest["training"]["updates"] == 20
    assert manifest["action_space"]["low"] in (-2, [-2.0])
    card = (out / "card.md").read_text()
    assert "--env-steps 600" in card and f"{manifest['training']['return_by_planning']['mean']:.1f}" in card


def test_the_same_seed_gives_the_same_checkpoint_and_another_seed_another(tmp_path, config):
    digests = []
    for name, seed in (("one", 3), ("two", 3), ("three", 4)):
        folder = tmp_path / name
        folder.mkdir()
        command = [DREAMD, "learn", "--env", "pendulum", "--out", "made", "--model-config", config, "--seed", str(seed), "--json", *SMALL]
        result = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=250)
        assert result.returncode == 0, result.stderr
        digests.append(events(result)[-1]["digest"])
    assert digests[0] == digests[1] != digests[2]


def test_recorded_episodes_are_enough_without_an_environment(tmp_path, config):
    episodes = tmp_path / "episodes"
    learn("--env", "pendulum", "--out", tmp_path / "made", "--record", episodes, "--model-config", config, *SMALL)
    assert len(list(episodes.iterdir())) == 3
    told = events(learn("--episodes", episodes, "--out", tmp_path / "again", "--model-config", config,
                        "--checkpoint-name", "swing", "--updates", "20", "--rows", "4", "--length", "8", "--json"))
    assert told[-1]["event"] == "done" and "mean_return" not in told[-1]
    assert told[-1]["env_steps"] == 400  # the last of three is kept back
    assert told[-1]["errors_free"][0]["model"] > 0
    manifest = json.loads((tmp_path / "again/manifest.json").read_text())
    assert manifest["name"] == "swing" and manifest["training"]["env"] == "Pendulum-v1"


def test_choices_and_early_ends_are_learned_from(tmp_path, config):
    episodes = tmp_path / "episodes"
    told = events(learn("--env", "cartpole", "--out", tmp_path / "made", "--record", episodes, "--model-config", config,
                        "--json", *SMALL))
    assert told[-1]["env_steps"] >= 600 and 1 <= told[-1]["mean_return"] <= 500
    assert told[-2]["continue"] > 0  # the loss of a head that has seen ends
    manifest = json.loads((tmp_path / "made/manifest.json").read_text())
    assert manifest["action_space"] == {"type": "Discrete", "n": 2, "start": 0}
    assert manifest["observation_space"]["high"][1] is None
    assert manifest["training"]["episodes"] > 10  # most are short
    told = events(learn("--episodes", episodes, "--out", tmp_path / "again", "--model-config", config,
                        "--updates", "20", "--rows", "4", "--length", "8", "--json"))
    again = json.loads((tmp_path / "again/manifest.json").read_text())
    assert again["training"]["env"] == "CartPole-v1" and again["planning"] == manifest["planning"]


def test_an_interrupted_run_leaves_a_checkpoint(tmp_path, config):
    out = tmp_path / "made"
    command = [DREAMD, "learn", "--env", "pendulum", "--out", out, "--model-config", config, "--updates", "100000000",
               "--env-steps", "400", "--random-steps", "400", "--rows", "4", "--length", "8"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert "estimate" in process.stdout.readline()
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0 and "interrupted" in errors
    assert "not measured" in (out / "card.md").read_text()


def test_a_reader_of_the_curve_may_leave(tmp_path, config):
    """Standard output is a closed pipe: the run still ends with its checkpoint, or says why not."""
    command = [DREAMD, "learn", "--env", "pendulum", "--out", tmp_path / "made", "--model-config", config, *SMALL]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert (tmp_path / "made/manifest.json").exists()


@pytest.mark.parametrize("arguments, code, words", [
    ([], 2, "--out is missing"),
    (["--out", "x"], 2, "neither --env nor --episodes"),
    (["--env", "acrobat", "--out", "x"], 1, "expected one of: pendulum"),
    (["--env", "pendulum", "--out", "x", "--updates", "0"], 2, "updates"),
    (["--env", "pendulum", "--out", "x", "--update", "5"], 2, "nearest"),
    (["--env", "pendulum", "--out", "x", "--checkpoint-name", "A b"], 2, "checkpoint-name"),
    (["--env", "pendulum", "--out", "."], 1, "is there already"),
    (["--episodes", "nowhere", "--out", "x"], 1, "no such folder"),
    (["--env", "pendulum", "--out", "x", "--model-config", "nothing.json"], 1, "nothing.json"),
    (["--env", "pendulum", "--out", "nowhere/x", *SMALL], 1, "nowhere"),
])
def test_a_mistake_is_named(tmp_path, arguments, code, words):
    result = subprocess.run([DREAMD, "learn", *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert result.returncode == code, result.stdout + result.stderr
    assert words in result.stderr and len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "x").exists()


def test_a_config_that_is_wrong_is_named_with_its_field(tmp_path, config):
    config.write_text(json.dumps(CONFIG | {"deter": 0}))
    result = learn("--env", "pendulum", "--out", tmp_path / "x", "--model-config", config, *SMALL, code=1)
    assert "config.deter" in result.stderr


def test_a_head_that_would_never_be_learned_is_refused(tmp_path, config):
    config.write_text(json.dumps(CONFIG | {"actor": {"layers": 1, "units": 16, "min_std": 0.1, "max_std": 1}}))
    result = learn("--env", "pendulum", "--out", tmp_path / "x", "--model-config", config, *SMALL, code=1)
    assert "an actor" in result.stderr and not (tmp_path / "x").exists()
