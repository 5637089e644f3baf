"""dreamd-import on files that a test makes itself: what it takes, and how it refuses.

The files have the bytes of torch.save without torch: a zip of a pickle, written here opcode by opcode,
and of raw storages.
"""

import json
import os
import pathlib
import pickle
import struct
import subprocess
import sys
import zipfile

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
MODEL_OPEN = pathlib.Path(os.environ.get("DREAMD_BUILD", ROOT / "build")) / "tests" / "model_open"

STOCH, CLASSES, DETER, HIDDEN, UNITS, ACTION = 3, 4, 8, 6, 10, 2
WIDTHS = {"velocity": 3, "angle": 1}  # not sorted: the order of the file counts


def text(value):
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def tensor_opcodes(key, tensor):
    number = lambda value: b"J" + struct.pack("<i", value)
    strides = [s // tensor.itemsize for s in tensor.strides]
    storage = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text(key) + text("cpu") + number(tensor.size) + b"tQ"
    return (b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + number(0)
            + b"(" + b"".join(map(number, tensor.shape)) + b"t(" + b"".join(map(number, strides)) + b"t"
            + b"\x89ccollections\nOrderedDict\n)R" + b"tR")


def write_torch(path, tensors, extra=b"", compression=zipfile.ZIP_STORED):
    """{"agent_state_dict": tensors}; `extra` are opcodes of more members."""
    items = b"".join(text(name) + tensor_opcodes(str(i), tensor) for i, (name, tensor) in enumerate(tensors.items()))
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("latest/data.pkl", b"\x80\x02}(" + text("agent_state_dict") + b"}(" + items + b"u" + extra + b"u.")
        archive.writestr("latest/byteorder", b"little")
        for i, tensor in enumerate(tensors.values()):
            archive.writestr(f"latest/data/{i}", tensor.tobytes())


def agent_tensors(prefix=""):
    random = np.random.default_rng(0)
    tensors = {}

    def add(name, *shape):
        base, rest = name.split(".", 1)
        value = random.normal(size=shape) / np.sqrt(shape[-1] if len(shape) > 1 else 9)
        tensors[f"{base}.{prefix}{rest}"] = (value + (".1.weight" in name or "norm" in name and "weight" in name)).astype("<f4")

    def linear(name, out, width):
        add(f"{name}.weight", out, width)
        add(f"{name}.bias", out)

    def hidden(name, out, width):
        add(f"{name}.0.weight", out, width)
        add(f"{name}.1.weight", out)
        add(f"{name}.1.bias", out)

    def mlp(name, layer, width, layers=2):
        for i in range(layers):
            add(f"{name}.layers.{layer}_linear{i}.weight", UNITS, width if i == 0 else UNITS)
            add(f"{name}.layers.{layer}_norm{i}.weight", UNITS)
            add(f"{name}.layers.{layer}_norm{i}.bias", UNITS)

    latent, feature = STOCH * CLASSES, STOCH * CLASSES + DETER
    mlp("_wm.encoder._mlp", "Encoder", sum(WIDTHS.values()))
    hidden("_wm.dynamics._img_in_layers", HIDDEN, latent + ACTION)
    add("_wm.dynamics._cell.layers.GRU_linear.weight", 3 * DETER, HIDDEN + DETER)
    add("_wm.dynamics._cell.layers.GRU_norm.weight", 3 * DETER)
    add("_wm.dynamics._cell.layers.GRU_norm.bias", 3 * DETER)
    hidden("_wm.dynamics._img_out_layers", HIDDEN, DETER)
    hidden("_wm.dynamics._obs_out_layers", HIDDEN, DETER + UNITS)
    linear("_wm.dynamics._imgs_stat_layer", latent, HIDDEN)
    linear("_wm.dynamics._obs_stat_layer", latent, HIDDEN)
    add("_wm.dynamics.W", 1, DETER)
    mlp("_wm.heads.decoder._mlp", "Decoder", feature, 1)
    for key, width in WIDTHS.items():
        linear(f"_wm.heads.decoder._mlp.mean_layer.{key}", width, UNITS)
    mlp("_wm.heads.reward", "Reward", feature)
    linear("_wm.heads.reward.mean_layer", 255, UNITS)
    mlp("_wm.heads.cont", "Cont", feature)
    linear("_wm.heads.cont.mean_layer", 1, UNITS)
    mlp("_task_behavior.actor", "Actor", feature)
    linear("_task_behavior.actor.mean_layer", ACTION, UNITS)
    linear("_task_behavior.actor.std_layer", ACTION, UNITS)
    mlp("_task_behavior.value", "Value", feature)
    linear("_task_behavior.value.mean_layer", 255, UNITS)
    return tensors


CONFIG = {"dyn_stoch": STOCH, "dyn_discrete": CLASSES, "dyn_deter": DETER, "unimix_ratio": 0.02,
          "encoder": {"mlp_layers": 2, "mlp_units": UNITS}, "actor": {"dist": "normal", "min_std": 0.2, "max_std": 0.9}}


def run(folder, tensors=None, config=CONFIG, out="out", **options):
    if tensors is not None:
        write_torch(folder / "latest.pt", tensors, **options)
    (folder / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
    command = [sys.executable, str(ROOT / "client/python/dreamd-import"), "dreamerv3-torch", str(folder / "latest.pt"),
               "--config", str(folder / "config.json"), "--out", str(folder / out)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def expect_refusal(folder, result, *words):
    assert result.returncode == 1, result.stdout + result.stderr
    assert result.stderr.startswith("dreamd-import: ") and "Traceback" not in result.stderr, result.stderr
    for word in words:
        assert word in result.stderr, result.stderr
    assert {path.name for path in folder.iterdir()} <= {"latest.pt", "config.json"}


@pytest.mark.parametrize("prefix", ["", "_orig_mod."])
def test_an_imported_checkpoint_opens_and_its_probe_agrees(tmp_path, prefix):
    tensors = agent_tensors(prefix)
    tensors |= {name.replace("_wm.", "_task_behavior._world_model."): value for name, value in tensors.items() if name[:3] == "_wm"}
    tensors["_task_behavior.ema_vals"] = np.zeros(2, "<f4")
    result = run(tmp_path, tensors)
    assert result.returncode == 0, result.stderr
    assert "left:" in result.stdout and "duplicates (" in result.stdout and "return normalisation (1)" in result.stdout
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert list(manifest["observation_space"]["spaces"]) == list(WIDTHS)
    assert manifest["config"]["actor"] == {"layers": 2, "units": UNITS, "min_std": 0.2, "max_std": 0.9}
    assert manifest["config"]["unimix"] == 0.02
    opened = subprocess.run([MODEL_OPEN, tmp_path / "out"], capture_output=True, text=True)
    assert opened.returncode == 0, opened.stderr
    assert opened.stdout.startswith("out: ")


def test_a_world_model_without_actor_and_critic_is_enough(tmp_path):
    result = run(tmp_path, {name: value for name, value in agent_tensors().items() if name.startswith("_wm.")})
    assert result.returncode == 0, result.stderr
    opened = subprocess.run([MODEL_OPEN, tmp_path / "out"], capture_output=True, text=True)
    assert opened.returncode == 0, opened.stderr


def test_a_transposed_view_is_read_by_its_strides(tmp_path):
    tensors = agent_tensors()
    name = "_wm.dynamics._img_in_layers.0.weight"
    tensors[name] = np.asfortranarray(tensors[name])
    opcodes = tensor_opcodes("0", tensors[name])
    assert opcodes != tensor_opcodes("0", np.ascontiguousarray(tensors[name]))
    straight = run(tmp_path, {**tensors, name: np.ascontiguousarray(tensors[name])}, out="straight")
    assert straight.returncode == 0, straight.stderr
    with zipfile.ZipFile(tmp_path / "latest.pt", "w") as archive:
        items = b"".join(text(n) + tensor_opcodes(str(i), t) for i, (n, t) in enumerate(tensors.items()))
        archive.writestr("latest/data.pkl", b"\x80\x02}(" + text("agent_state_dict") + b"}(" + items + b"uu.")
        for i, (n, t) in enumerate(tensors.items()):
            archive.writestr(f"latest/data/{i}", t.T.tobytes() if n == name else t.tobytes())
    assert run(tmp_path).returncode == 0
    weights = [(tmp_path / out / "weights.safetensors").read_bytes() for out in ("straight", "out")]
    assert weights[0] == weights[1]


def test_a_truncated_file(tmp_path):
    write_torch(tmp_path / "latest.pt", agent_tensors())
    whole = (tmp_path / "latest.pt").read_bytes()
    for length in (0, 10, len(whole) // 2, len(whole) - 1):
        (tmp_path / "latest.pt").write_bytes(whole[:length])
        expect_refusal(tmp_path, run(tmp_path), "latest.pt", "not a whole file of torch.save")


def test_damaged_bytes_inside(tmp_path):
    write_torch(tmp_path / "latest.pt", agent_tensors())
    data = bytearray((tmp_path / "latest.pt").read_bytes())
    at = data.index(b"_rebuild_tensor_v2")
    data[at] ^= 0x20
    (tmp_path / "latest.pt").write_bytes(data)
    expect_refusal(tmp_path, run(tmp_path), "latest.pt")


def test_no_file(tmp_path):
    expect_refusal(tmp_path, run(tmp_path), "latest.pt", "No such file")


def changed(change):
    tensors = agent_tensors()
    change(tensors)
    return tensors


@pytest.mark.parametrize("change, words", [
    (lambda t: t.update({"_wm.dynamics.V": t.pop("_wm.dynamics.W")}), ["_wm.dynamics.W", "missing"]),
    (lambda t: t.update({"_wm.dynamics.V": t["_wm.dynamics.W"]}), ["_wm.dynamics.V", "no place"]),
    (lambda t: t.update({"_critic.weight": t["_wm.dynamics.W"]}), ["_critic.weight", "no place"]),
    (lambda t: t.update({"_task_behavior.actor.extra": t["_wm.dynamics.W"]}), ["_task_behavior.actor.extra", "no place"]),
    (lambda t: t.update({"_wm.heads.reward.mean_layer.bias": np.zeros(254, "<f4")}), ["reward.mean_layer.bias", "(254,)", "(255,)"]),
    (lambda t: t.update({"_wm.dynamics.W": np.zeros((1, 7), "<f4")}), ["shape", "expected"]),
    (lambda t: t.update({"_wm.dynamics.W": np.full((1, DETER), np.nan, "<f4")}), ["rssm.initial", "NaN"]),
    (lambda t: t.pop("_wm.heads.decoder._mlp.mean_layer.angle.bias"), ["mean_layer.angle.bias", "missing"]),
    (lambda t: t.update({"_wm._orig_mod.dynamics.W": t["_wm.dynamics.W"]}), ["twice"]),
])
def test_a_wrong_tensor(tmp_path, change, words):
    expect_refusal(tmp_path, run(tmp_path, changed(change)), *words)


@pytest.mark.parametrize("change, words", [
    ({"dyn_deter": 9}, ["dyn_deter is 9", "8"]),
    ({"dyn_stoch": 30}, ["dyn_stoch"]),
    ({"dyn_stoch": None}, ["dyn_stoch is None"]),
    ({"dyn_discrete": 0}, ["dyn_discrete is 0"]),
    ({"norm": False}, ["norm is False", "True"]),
    ({"actor": {"dist": "onehot"}}, ["actor.dist is 'onehot'"]),
    ({"encoder": {"mlp_layers": 5}}, ["encoder.mlp_layers is 5", "2"]),
    ({"spaces": {"angle": [2], "velocity": [3]}}, ["spaces"]),
    ({"num_actions": 3}, ["num_actions is 3", "2"]),
])
def test_a_config_that_disagrees(tmp_path, change, words):
    expect_refusal(tmp_path, run(tmp_path, agent_tensors(), {**CONFIG, **change}), *words)


@pytest.mark.parametrize("config", ["", "{", "[]", "3"])
def test_a_config_that_is_none(tmp_path, config):
    expect_refusal(tmp_path, run(tmp_path, agent_tensors(), config), "config.json")


class Hostile:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


def test_a_hostile_pickle_is_not_obeyed(tmp_path):
    marker = tmp_path / "obeyed"
    with zipfile.ZipFile(tmp_path / "latest.pt", "w") as archive:
        archive.writestr("latest/data.pkl", pickle.dumps({"agent_state_dict": Hostile(marker)}, 2))
    result = run(tmp_path)
    expect_refusal(tmp_path, result, "system", "never calls")
    assert not marker.exists()


@pytest.mark.parametrize("module, name", [("builtins", "eval"), ("torch", "load"), ("os", "system"), ("numpy", "load"),
                                          ("torch._utils", "_rebuild_tensor")])
def test_names_that_a_pickle_may_not_use(tmp_path, module, name):
    extra = text("x") + f"c{module}\n{name}\n".encode()
    expect_refusal(tmp_path, run(tmp_path, agent_tensors(), extra=extra), f"{module}.{name}")


def test_a_compressed_entry_is_refused_before_it_is_unpacked(tmp_path):
    expect_refusal(tmp_path, run(tmp_path, agent_tensors(), compression=zipfile.ZIP_DEFLATED), "compressed")


def test_a_tensor_outside_its_storage(tmp_path):
    opcodes = tensor_opcodes("0", np.zeros(7, "<f4")).replace(b"J\x07\x00\x00\x00tQ", b"J\x08\x00\x00\x00tQ")
    tensors = {"_wm.dynamics.W": np.zeros((1, 8), "<f4")}
    extra = text("a") + opcodes.replace(b"(J\x07\x00\x00\x00t", b"(J\x09\x00\x00\x00t", 1)
    expect_refusal(tmp_path, run(tmp_path, tensors, extra=extra), "storage of 8")


def test_a_folder_that_exists_stays(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("mine")
    result = run(tmp_path, agent_tensors())
    assert result.returncode == 1 and "exists already" in result.stderr
    assert (tmp_path / "out" / "mine").read_text() == "mine"


def test_wrong_usage_is_exit_code_2():
    command = [sys.executable, str(ROOT / "client/python/dreamd-import")]
    for arguments, words in (([], "no source given; there are world-models, "), (["keras", "x"], "unknown source 'keras'"),
                             (["dreamerv3-troch", "x"], "did you mean dreamerv3-torch?"), (["dreamer", "x"], "there are world-models"),
                             (["dreamerv3-torch", "x"], "required: --config, --out")):
        result = subprocess.run(command + arguments, capture_output=True, text=True)
        assert result.returncode == 2 and words in result.stderr, (arguments, result.stderr)
        assert result.stderr.startswith("dreamd-import") and result.stderr.count("\n") == 1 and "--help" in result.stderr


def test_without_numpy_a_sentence_says_what_to_install():
    command = [sys.executable, "-S", str(ROOT / "client/python/dreamd-import"), "tdmpc2", "x"]  # -S: no installed packages
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 1 and result.stderr.count("\n") == 1 and "python3-numpy" in result.stderr, result.stderr
