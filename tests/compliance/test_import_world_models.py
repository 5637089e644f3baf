"""dreamd-import world-models on files that a test makes: small weights in the layouts of the published JSON files."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
MODEL_OPEN = pathlib.Path(os.environ.get("DREAMD_BUILD", ROOT / "build")) / "tests" / "model_open"
LATENT, UNITS = 3, 8


def whole(random, *shape, scale=4000):
    return (random.normal(size=shape) * scale).astype(int).tolist()


def rnn(actions, restart, doom_order, mixtures=5, latent=LATENT):
    random = np.random.default_rng(1)
    kernel = whole(random, latent + actions + restart + UNITS, 4 * UNITS), whole(random, 4 * UNITS)
    output = whole(random, UNITS, 3 * mixtures * latent + restart), whole(random, 3 * mixtures * latent + restart)
    return [*kernel, *output] if doom_order else [*output, *kernel]


def vae(latent=LATENT, channels=(2, 3, 4, 5), picture=3):
    random, width, tensors = np.random.default_rng(2), picture, []
    for out in channels:
        tensors += [whole(random, 4, 4, width, out, scale=1500), whole(random, out)]
        width = out
    corner = 4 * width
    tensors += [whole(random, corner, latent), whole(random, latent), whole(random, corner, latent, scale=900), whole(random, latent)]
    tensors += [whole(random, latent, corner), whole(random, corner)]
    width = corner
    for kernel, out in zip((5, 5, 6, 6), (channels[2], channels[1], channels[0], picture)):
        tensors += [whole(random, kernel, kernel, out, width, scale=1500), whole(random, out)]
        width = out
    return tensors


def controller(count):
    return [np.round(np.random.default_rng(3).normal(size=count) / 2, 4).tolist(), 1.5]


def doom_files():
    """Done is predicted, one action, five starts far apart, a controller over z, c, h without a bias."""
    means = [[10000 * 2 * i] + [0] * (LATENT - 1) for i in range(5)]
    return {"rnn": rnn(1, 1, True), "controller": controller(LATENT + 2 * UNITS),
            "initial_z": [means, [[-60000] * LATENT] * 5]}


def car_files():
    return {"rnn": rnn(3, 0, False), "vae": vae(), "controller": controller(3 * (LATENT + UNITS + 1)),
            "initial_z": [whole(np.random.default_rng(4), 1, LATENT), whole(np.random.default_rng(5), 1, LATENT)]}


def write_files(folder, files):
    paths = []
    for name, value in files.items():
        paths.append(folder / f"{name}.json")
        paths[-1].write_text(value if isinstance(value, str) else json.dumps(value))
    return paths


def run(folder, files, config=None, out="out"):
    command = [sys.executable, ROOT / "client/python/dreamd-import", "world-models", *write_files(folder, files),
               "--out", folder / out]
    if config is not None:
        (folder / "config.yaml").write_text(json.dumps(config))
        command += ["--config", folder / "config.yaml"]
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=120)


def opens(folder, result):
    assert result.returncode == 0, result.stderr
    opened = subprocess.run([MODEL_OPEN, folder / "out"], capture_output=True, text=True)
    assert opened.returncode == 0, opened.stderr
    return json.loads((folder / "out" / "manifest.json").read_text())


def expect_refusal(folder, result, *words):
    assert result.returncode == 1, result.stdout + result.stderr
    assert result.stderr.startswith("dreamd-import: ") and "Traceback" not in result.stderr, result.stderr
    for word in words:
        assert word in result.stderr, result.stderr
    assert not [path.name for path in folder.iterdir() if path.suffix not in (".json", ".yaml")]


# ---- what it takes; opening compares with an independent computation ----


def test_carracing_with_everything(tmp_path):
    result = run(tmp_path, car_files())
    manifest = opens(tmp_path, result)
    assert "22 tensors of" in result.stdout and "score (1.5)" in result.stdout
    assert manifest["config"]["vae"] == {"channels": [2, 3, 4, 5]} and manifest["config"]["temperature"] == 0.7
    assert manifest["config"]["controller"] == {"mode": "z_h", "squash": "car", "bias": True}
    assert manifest["observation_space"]["shape"] == [64, 64, 3] and manifest["action_space"]["low"] == [-1, 0, 0]


def test_doom_with_everything(tmp_path):
    manifest = opens(tmp_path, run(tmp_path, doom_files() | {"vae": vae(picture=1)}))
    config = manifest["config"]
    assert config["restart"] is True and config["starts"] == 5 and config["temperature"] == 1.25
    assert config["controller"] == {"mode": "z_c_h", "squash": "tanh", "bias": False}
    assert manifest["planning"]["method"] == "cem"


def test_an_rnn_alone_observes_its_latent(tmp_path):
    result = run(tmp_path, {"rnn": rnn(2, 0, False)})
    manifest = opens(tmp_path, result)
    assert manifest["observation_space"]["shape"] == [LATENT] and "controller" not in manifest["config"]
    assert "left: nothing" in result.stdout


@pytest.mark.parametrize("restart, doom_order", [(1, False), (0, True)])
def test_the_order_of_tensors_is_seen_in_their_shapes(tmp_path, restart, doom_order):
    manifest = opens(tmp_path, run(tmp_path, {"rnn": rnn(1, restart, doom_order)}))
    assert manifest["config"]["restart"] == bool(restart)


@pytest.mark.parametrize("count, config, mode", [
    (3 * (LATENT + 1), {}, "z"), (3 * (LATENT + 2 * UNITS + 1), {}, "z_c_h"), (3 * (LATENT + UNITS + 1), {}, "z_h"),
    (3 * (LATENT + UNITS + 1), {"controller": "z_c"}, "z_c"), (40 * (LATENT + 1) + 3 * 41, {}, "z_hidden"),
    (6 * (LATENT + 1) + 3 * 7, {"controller_hidden": 6}, "z_hidden"),
])
def test_every_kind_of_controller(tmp_path, count, config, mode):
    files = {"rnn": rnn(3, 0, False), "controller": controller(count)}
    assert opens(tmp_path, run(tmp_path, files, config))["config"]["controller"]["mode"] == mode


def test_a_config_says_what_files_do_not(tmp_path):
    said = {"temperature": 0.9, "double_step": True, "num_mixture": 4, "rnn_size": UNITS, "batch_size": 100}
    config = opens(tmp_path, run(tmp_path, {"rnn": rnn(3, 0, False, mixtures=4)}, said))["config"]
    assert config["temperature"] == 0.9 and config["double_step"] is True and config["mixtures"] == 4


def test_a_vae_tells_the_number_of_mixtures(tmp_path):
    files = {"rnn": rnn(3, 0, False, mixtures=2), "vae": vae()}
    assert opens(tmp_path, run(tmp_path, files))["config"]["mixtures"] == 2


# ---- what it refuses ----


def test_a_truncated_file(tmp_path):
    for name, value in car_files().items():
        text = json.dumps(value)
        for length in (0, 1, len(text) // 2, len(text) - 1):
            expect_refusal(tmp_path, run(tmp_path, car_files() | {name: text[:length]}), f"{name}.json", "not whole JSON")


def changed(name, change):
    files = car_files()
    files[name] = change(files[name])
    return files


def at(index, change):
    return lambda value: [change(one) if i == index else one for i, one in enumerate(value)]


@pytest.mark.parametrize("name, change, words", [
    ("rnn", lambda t: t[:3], ["a list of 3", "4 tensors"]),
    ("rnn", lambda t: [t[1], t[0], t[2], t[3]], ["tensor 0", "dimensions"]),
    ("rnn", at(1, lambda v: v[:-1]), ["fit neither order"]),
    ("rnn", at(2, lambda v: v[:UNITS]), ["fit neither order"]),
    ("rnn", at(0, lambda v: [v[0][:-1], *v[1:]]), ["tensor 0", "different lengths"]),
    ("rnn", at(1, lambda v: [0.5, *v[1:]]), ["tensor 1", "integers"]),
    ("rnn", at(1, lambda v: [10**30, *v[1:]]), ["tensor 1", "integers"]),
    ("rnn", lambda t: [[row[:-2] for row in t[0]], t[1][:-2], *t[2:]], ["outputs", "num_mixture"]),
    ("vae", lambda t: t[:21], ["a list of 21"]),
    ("vae", lambda t: t[12:], ["10 tensors", "decoder alone"]),
    ("vae", at(3, lambda v: v[:-1]), ["tensor 3", "shape (2,)", "expected (3,)"]),
    ("vae", lambda t: [t[0], t[1], t[4], t[3], t[2], *t[5:]], ["tensor 2", "shape"]),
    ("vae", lambda t: vae(latent=4), ["outputs", "latents"]),
    ("controller", lambda c: [c[0][:-1], c[1]], ["35 parameters", "fit 0 kinds"]),
    ("controller", lambda c: [[*c[0][:-1], 1e999], c[1]], ["controller.json"]),
    ("initial_z", lambda z: [z[0], [row[:-1] for row in z[1]]], ["initial_z.json", "(1, 2)"]),
    ("initial_z", lambda z: [z[0], z[1], z[1]], ["a list of 3"]),
])
def test_a_file_that_is_wrong(tmp_path, name, change, words):
    expect_refusal(tmp_path, run(tmp_path, changed(name, change)), *words)


@pytest.mark.parametrize("text, words", [
    ('[["a"]]', ["'\"' at byte 2", "numbers"]), ("{}", ["'{'"]), ("[NaN]", ["'N'"]), ("[true]", ["'t'"]), ("17", ["one number"]),
    ("[1, 2", ["not whole JSON"]), ("[]", ["a list of 0"]), ("[[], 1]", ["a list of 2"]),
])
def test_json_that_is_no_weights(tmp_path, text, words):
    expect_refusal(tmp_path, run(tmp_path, car_files() | {"rnn": text}), *words)


def test_a_pickle_is_no_json_and_nothing_of_it_is_called(tmp_path):
    harm = b"\x80\x04cos\nsystem\n(X" + len(f"touch {tmp_path}/obeyed").to_bytes(4, "little") + f"touch {tmp_path}/obeyed".encode() + b"tR."
    for name in ("rnn", "vae", "controller", "initial_z"):
        for file, value in car_files().items():
            (tmp_path / f"{file}.json").write_text(json.dumps(value))
        (tmp_path / f"{name}.json").write_bytes(harm)
        files = sorted(tmp_path.glob("*.json"))
        command = [sys.executable, ROOT / "client/python/dreamd-import", "world-models", *files, "--out", tmp_path / "out"]
        expect_refusal(tmp_path, subprocess.run(command, capture_output=True, text=True), f"{name}.json")


def test_lists_too_deep_and_numbers_too_long(tmp_path):
    expect_refusal(tmp_path, run(tmp_path, {"rnn": "[" * 100000 + "]" * 100000}), "100000 deep", "at most 6")
    expect_refusal(tmp_path, run(tmp_path, {"rnn": "[" + "9" * 5000 + "]"}), "rnn.json")


def test_a_file_beyond_the_limit(tmp_path):
    with open(tmp_path / "vae.json", "wb") as file:
        file.truncate((64 << 20) + 1)
    command = [sys.executable, ROOT / "client/python/dreamd-import", "world-models", tmp_path / "vae.json", "--out", tmp_path / "out"]
    expect_refusal(tmp_path, subprocess.run(command, capture_output=True, text=True), "at most 67108864")


def test_files_that_are_missing_or_twice(tmp_path):
    files = car_files()
    expect_refusal(tmp_path, run(tmp_path, {"vae": files["vae"]}), "no MDN-RNN", "rnn.json")
    expect_refusal(tmp_path, run(tmp_path, {"rnn": files["rnn"], "more": files["rnn"]}), "a second rnn.json")
    command = [sys.executable, ROOT / "client/python/dreamd-import", "world-models", tmp_path / "none.json", "--out", tmp_path / "out"]
    expect_refusal(tmp_path, subprocess.run(command, capture_output=True, text=True), "No such file")


@pytest.mark.parametrize("config, words", [
    ({"rnn_size": 9}, ["rnn_size is 9", "8"]), ({"z_size": 4}, ["z_size is 4", "3"]), ({"input_seq_width": 9}, ["input_seq_width"]),
    ({"num_mixture": 3}, ["num_mixture is 3", "5"]), ({"num_mixture": 0}, ["num_mixture is 0"]), ({"temperature": "warm"}, ["temperature"]),
    ({"temperature": 0}, ["temperature is 0"]), ({"double_step": 3}, ["double_step is 3"]), ({"controller": "h"}, ["controller is 'h'"]),
    ({"controller": "z_c_h"}, ["36 parameters", "fit 0"]), ({"use_layer_norm": 1}, ["use_layer_norm is 1"]), ({"warmth": 1}, ["warmth"]),
    ([], ["config.yaml"]),
])
def test_a_config_that_disagrees(tmp_path, config, words):
    expect_refusal(tmp_path, run(tmp_path, car_files(), config), *words)


def test_doom_cannot_step_twice(tmp_path):
    expect_refusal(tmp_path, run(tmp_path, doom_files(), {"double_step": True}), "double_step is True")


def test_a_folder_that_exists_stays(tmp_path):
    (tmp_path / "out").mkdir()
    result = run(tmp_path, car_files())
    assert result.returncode == 1 and "exists already" in result.stderr and not list((tmp_path / "out").iterdir())
