"""dreamd-import tdmpc2 on files that a test makes itself: both layouts, and how it refuses."""

import importlib.util
import json
import os
import pickle
import struct
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from test_import import MODEL_OPEN, ROOT, Hostile, text

spec = importlib.util.spec_from_file_location("make_tdmpc2", ROOT / "tests/golden/tdmpc2/make.py")
make = importlib.util.module_from_spec(spec)
spec.loader.exec_module(make)

NONE = b"N"
SIZE = b"ctorch\nSize\n((J\x02\x00\x00\x00ttR"
DEVICE = b"ctorch\ndevice\n(" + text("cuda") + b"J\x00\x00\x00\x00tR"


def number(value):
    return b"J" + struct.pack("<i", value)


def opcodes(key, tensor):
    """A tensor as torch.save writes it, of float32 or int64, its storage tagged cuda:0."""
    strides = [s // tensor.itemsize for s in tensor.strides]
    kind = {"<f4": b"Float", "<i8": b"Long"}[tensor.dtype.str]
    storage = b"(" + text("storage") + b"ctorch\n" + kind + b"Storage\n" + text(key) + text("cuda:0") + number(tensor.size) + b"tQ"
    return (b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + number(0)
            + b"(" + b"".join(map(number, tensor.shape)) + b"t(" + b"".join(map(number, strides)) + b"t"
            + b"\x89ccollections\nOrderedDict\n)R" + b"tR")


def write(path, tensors, extra=b"", wrapped=True):
    """{"model": tensors}, or the tensors alone; what is bytes already are the opcodes of a value."""
    items = b"".join(text(name) + (value if isinstance(value, bytes) else opcodes(str(i), value))
                     for i, (name, value) in enumerate(tensors.items()))
    with zipfile.ZipFile(path, "w") as archive:
        whole = b"}(" + items + extra + b"u"
        archive.writestr("final/data.pkl", b"\x80\x02" + (b"}(" + text("model") + whole + b"u" if wrapped else whole) + b".")
        for i, value in enumerate(tensors.values()):
            if not isinstance(value, bytes):
                archive.writestr(f"final/data/{i}", value.tobytes())


def newer(name):
    """With what the newer files have beside the tensors: copies, and entries of tensordict."""
    tensors = make.published(make.CONFIGS[name])
    copies = {key.replace("_Qs.params", "_detach_Qs_params"): value for key, value in tensors.items() if key.startswith("_Qs.")}
    beside = {f"{prefix}.{key}": value for prefix, device in (("_Qs.params", NONE), ("_detach_Qs_params", DEVICE), ("_target_Qs_params", NONE))
              for key, value in (("__batch_size", SIZE), ("__device", device))}
    return tensors | copies | beside


def run(folder, tensors=None, config=make.CONFIGS["state"], out="out", flags=(), **options):
    if tensors is not None:
        write(folder / "final.pt", tensors, **options)
    (folder / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
    command = [sys.executable, str(ROOT / "client/python/dreamd-import"), "tdmpc2", str(folder / "final.pt"),
               "--config", str(folder / "config.json"), "--out", str(folder / out), *flags]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def expect_refusal(folder, result, *words):
    assert result.returncode == 1, result.stdout + result.stderr
    assert result.stderr.startswith("dreamd-import: ") and "Traceback" not in result.stderr, result.stderr
    for word in words:
        assert word in result.stderr, result.stderr
    assert {path.name for path in folder.iterdir()} <= {"final.pt", "config.json"}


def weights(folder):
    return (folder / "weights.safetensors").read_bytes()


@pytest.mark.parametrize("name", list(make.CONFIGS))
def test_both_layouts_give_the_same_weights_and_their_probe_agrees(tmp_path, name):
    config = make.CONFIGS[name]
    result = run(tmp_path, newer(name), config)
    assert result.returncode == 0, result.stderr
    assert "duplicates (10), entries of tensordict (6), target heads (10)" in result.stdout
    opened = subprocess.run([MODEL_OPEN, tmp_path / "out"], capture_output=True, text=True)
    assert opened.returncode == 0, opened.stderr
    result = run(tmp_path, make.older(make.published(config)), config, out="old", wrapped=False)
    assert result.returncode == 0, result.stderr
    assert weights(tmp_path / "out") == weights(tmp_path / "old")
    assert weights(tmp_path / "out") == weights(ROOT / "tests/golden/tdmpc2" / name)


def test_one_row_is_a_number_or_its_symlog_and_the_config_says_which(tmp_path):
    tensors = newer("state")
    for name, value in tensors.items():
        if isinstance(value, np.ndarray) and value.ndim and name.split(".", 1)[0] in ("_reward", "_Qs", "_detach_Qs_params", "_target_Qs_params") \
                and ".2." in name:
            rows = [slice(None)] * (value.ndim - (2 if name.endswith("weight") else 1)) + [slice(1)]
            tensors[name] = np.ascontiguousarray(value[tuple(rows)])
    config = {key: value for key, value in make.CONFIGS["state"].items() if key not in ("num_bins", "vmin", "vmax")}
    expect_refusal(tmp_path, run(tmp_path, tensors, config), "num_bins is None", "0 (a number) or 1")
    for bins in (0, 1):
        result = run(tmp_path, tensors, config | {"num_bins": bins}, out=f"out{bins}")
        assert result.returncode == 0, result.stderr
        assert json.loads((tmp_path / f"out{bins}" / "manifest.json").read_text())["config"]["bins"] == bins
        assert subprocess.run([MODEL_OPEN, tmp_path / f"out{bins}"]).returncode == 0


def test_modules_that_hold_the_heads_once_more_are_copies(tmp_path):
    """So the newer layout was in its first weeks: `_detach_Qs.params.*` and `_target_Qs.params.*` beside `_..._Qs_params.*`."""
    tensors = newer("state")
    again = {name.replace("Qs_params", "Qs.params"): value for name, value in tensors.items() if "Qs_params" in name}
    result = run(tmp_path, tensors | again)
    assert result.returncode == 0, result.stderr
    assert "duplicates (30)" in result.stdout and "entries of tensordict (10)" in result.stdout
    alone = {name: value for name, value in again.items() if name.startswith("_target")}  # of something that is not there
    stray = {name: value for name, value in tensors.items() if not name.startswith("_target")} | alone
    (tmp_path / "out").rename(tmp_path.parent / f"{tmp_path.name}.before")
    expect_refusal(tmp_path, run(tmp_path, stray), "_target_Qs.params.0", "no place")


def test_the_target_heads_are_other_weights(tmp_path):
    assert run(tmp_path, newer("state")).returncode == 0
    result = run(tmp_path, out="target", flags=["--target-heads"])
    assert result.returncode == 0, result.stderr
    assert "heads that learn (10)" in result.stdout
    assert weights(tmp_path / "out") != weights(tmp_path / "target")


def test_what_nobody_said_is_not_asked_for(tmp_path):
    """Hydra's config before the run has filled it in."""
    config = make.CONFIGS["state"] | dict.fromkeys(["obs_shape", "action_dim", "episode_length", "tasks", "model_size"], "???")
    result = run(tmp_path, newer("state"), config)
    assert result.returncode == 0, result.stderr
    assert "discount: not known" in result.stdout
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert "discount" not in manifest["config"] and "discount" not in manifest["planning"]
    opened = subprocess.run([MODEL_OPEN, tmp_path / "out"], capture_output=True, text=True)
    assert opened.returncode == 0, opened.stderr


@pytest.mark.parametrize("length, denominator, discount", [(100, 5, 0.95), (300, 5, 59 / 60), (500, 5, 0.99), (1000, 5, 0.995), (300, 10, 29 / 30)])
def test_the_discount_follows_the_length_of_episodes(tmp_path, length, denominator, discount):
    config = make.CONFIGS["state"] | {"episode_length": length, "discount_denom": denominator, "discount_max": 0.995}
    config["discount_min"] = min(0.95, discount)
    assert run(tmp_path, newer("state"), config).returncode == 0
    assert json.loads((tmp_path / "out/manifest.json").read_text())["planning"]["discount"] == pytest.approx(discount)


def test_tensors_in_a_truncated_file(tmp_path):
    write(tmp_path / "final.pt", newer("state"))
    whole = (tmp_path / "final.pt").read_bytes()
    for length in (0, 10, len(whole) // 2, len(whole) - 1):
        (tmp_path / "final.pt").write_bytes(whole[:length])
        expect_refusal(tmp_path, run(tmp_path), "final.pt", "not a whole file of torch.save")


@pytest.mark.parametrize("change, words", [
    (lambda t: t.update({"_pi.3.weight": t.pop("_pi.2.weight")}), ["_pi.2.weight", "missing"]),
    (lambda t: t.update({"_pi.3.weight": t["_pi.2.weight"]}), ["_pi.3.weight", "no place"]),
    (lambda t: t.update({"_encoder.state.2.weight": t["_pi.0.weight"]}), ["_encoder.state."]),
    (lambda t: t.update({"_critic.weight": t["_pi.2.weight"]}), ["_critic.weight", "no place"]),
    (lambda t: t.pop("_Qs.params.1.ln.bias"), ["_Qs.params.1.ln.bias", "missing"]),
    (lambda t: t.update({"_Qs.params.1.weight": t["_Qs.params.1.weight"][:1]}), ["_Qs.params.1.weight", "(1, 12, 12)", "(2, 12, 12)"]),
    (lambda t: t.update({"_reward.2.bias": np.zeros(10, "<f4")}), ["_reward.2.bias", "(10,)", "(11,)"]),
    (lambda t: t.update({"_dynamics.2.weight": np.zeros(8, "<f4")}), ["_dynamics.2.weight", "1 dimensions, expected 2"]),
    (lambda t: t.update({"_dynamics.0.weight": np.zeros((12, 8), "<f4")}), ["_dynamics.0.weight", "8 inputs"]),
    (lambda t: t.update({"_pi.0.bias": np.full(12, np.nan, "<f4")}), ["actor.mlp.0.bias", "NaN"]),
    (lambda t: t.update({"_pi.0.bias": np.zeros(12, "<i8")}), ["_pi.0.bias", "int64"]),
    (lambda t: t.pop("_dynamics.0.weight"), ["no _dynamics.0.weight"]),
    (lambda t: t.pop("log_std_dif"), ["log_std_dif", "missing"]),
    (lambda t: t.pop("_termination.2.weight"), ["episodic is True"]),
    (lambda t: t.update({"_pi.0.bias": NONE}), ["_pi.0.bias", "no tensor"]),
])
def test_a_wrong_tensor(tmp_path, change, words):
    tensors = newer("state")
    change(tensors)
    expect_refusal(tmp_path, run(tmp_path, tensors), *words)


@pytest.mark.parametrize("name, change, words", [
    ("state", {"latent_dim": 9}, ["latent_dim is 9", "8"]),
    ("state", {"mlp_dim": 13}, ["mlp_dim is 13", "12"]),
    ("state", {"enc_dim": 9}, ["enc_dim is 9", "10"]),
    ("state", {"num_enc_layers": 4}, ["num_enc_layers is 4", "2"]),
    ("state", {"num_q": 5}, ["num_q is 5", "2"]),
    ("state", {"num_bins": 101}, ["num_bins is 101", "11"]),
    ("state", {"num_bins": None}, ["num_bins is", "11"]),
    ("state", {"simnorm_dim": 3}, ["simnorm_dim is 3", "divisor"]),
    ("state", {"vmax": -4}, ["vmax is -4"]),
    ("state", {"episodic": False}, ["episodic is False", "True"]),
    ("state", {"multitask": True}, ["multitask is True", "False"]),
    ("state", {"action_dim": 3}, ["action_dim is 3", "2"]),
    ("state", {"obs": "rgb"}, ["obs is 'rgb'", "'state'"]),
    ("state", {"obs_shape": {"state": [6]}}, ["obs_shape.state is [6]", "[5]"]),
    ("state", {"log_std_min": -4}, ["log_std_min is -4", "-5"]),
    ("state", {"log_std_max": 2}, ["log_std_max is 2", "1"]),
    ("state", {"episode_length": "long"}, ["episode_length is 'long'"]),
    ("state", {"model_size": 5}, ["enc_dim is 256", "10"]),
    ("state", {"model_size": 6}, ["model_size is 6", "317"]),
    ("tasks", {"tasks": ["a", "b"]}, ["2 names", "expected 3"]),
    ("tasks", {"task_dim": 7}, ["task_dim is 7", "6"]),
    ("tasks", {"action_dims": [3, 2, 1]}, ["action_dims is [3, 2, 1]", "what the tensors say"]),
    ("tasks", {"action_dims": [3, 1]}, ["action_dims is [3, 1]", "3 integers"]),
    ("tasks", {"episode_lengths": [100]}, ["episode_lengths is [100]", "3 integers"]),
    ("pictures", {"num_channels": 4}, ["num_channels is 4", "8"]),
    ("pictures", {"obs_shape": {"rgb": [3, 64, 64]}}, ["latent of 8", "64 x 64"]),
    ("pictures", {"obs_shape": {"rgb": [9, 39, 41]}}, ["obs_shape.rgb is [9, 39, 41]", "3 channels"]),
])
def test_a_config_that_disagrees(tmp_path, name, change, words):
    expect_refusal(tmp_path, run(tmp_path, newer(name), make.CONFIGS[name] | change), *words)


def test_the_older_layout_needs_the_actions_of_each_task(tmp_path):
    config = {key: value for key, value in make.CONFIGS["tasks"].items() if key != "action_dims"}
    expect_refusal(tmp_path, run(tmp_path, make.older(make.published(make.CONFIGS["tasks"])), config), "action_dims is missing")


@pytest.mark.parametrize("config", ["", "{", "[]", "3"])
def test_a_config_that_is_none(tmp_path, config):
    expect_refusal(tmp_path, run(tmp_path, newer("state"), config), "config.json")


def test_a_hostile_pickle_is_not_obeyed(tmp_path):
    marker = tmp_path / "obeyed"
    with zipfile.ZipFile(tmp_path / "final.pt", "w") as archive:
        archive.writestr("final/data.pkl", pickle.dumps({"model": Hostile(marker)}, 2))
    expect_refusal(tmp_path, run(tmp_path), "system")
    assert not marker.exists()


@pytest.mark.parametrize("module, name", [("builtins", "eval"), ("torch", "load"), ("os", "system"), ("tensordict", "TensorDict")])
def test_names_that_a_pickle_may_not_use(tmp_path, module, name):
    extra = text("x") + f"c{module}\n{name}\n".encode()
    expect_refusal(tmp_path, run(tmp_path, newer("state"), extra=extra), f"{module}.{name}")
