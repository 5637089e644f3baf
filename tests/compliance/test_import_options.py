"""Options of the public configs that change the forward pass: imported from small random checkpoints, opened by the C.

Opening computes the probe, which an independent version in numpy made at import: both must agree. And what
each importer refuses by name.
"""

import json
import pickle
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from conftest import ROOT
from test_import import CONFIG, HIDDEN, MODEL_OPEN, STOCH, UNITS, WIDTHS, agent_tensors, tensor_opcodes, text

DEPTH, SIDE = 3, 16  # two convolutions: 16 -> 4


def write_torch(path, groups, extra=b""):
    """torch.save of {group: {name: tensor}}."""
    body, at = b"", 0
    with zipfile.ZipFile(path, "w") as archive:
        for group, tensors in groups.items():
            items = b""
            for name, tensor in tensors.items():
                items += text(name) + tensor_opcodes(str(at), tensor)
                archive.writestr(f"archive/data/{at}", tensor.tobytes())
                at += 1
            body += text(group) + b"}(" + items + b"u"
        archive.writestr("archive/data.pkl", b"\x80\x02}(" + body + extra + b"u.")
        archive.writestr("archive/byteorder", b"little")


class Drawn(dict):
    """Random tensors by name, small and not alike."""

    def __init__(self, seed):
        super().__init__()
        self.random = np.random.default_rng(seed)

    def add(self, name, *shape, mean=0.0):
        fan = int(np.prod(shape[1:])) if len(shape) > 1 else 9
        self[name] = (mean + self.random.normal(size=shape) / np.sqrt(fan)).astype("<f4")

    def linear(self, name, out, width, bias=True):
        self.add(f"{name}.weight", out, width)
        if bias:
            self.add(f"{name}.bias", out)

    def norm(self, name, width):
        self.add(f"{name}.weight", width, mean=1.0)
        self.add(f"{name}.bias", width)


def run(folder, source, config, out="out", file="file"):
    (folder / "config.json").write_text(json.dumps(config))
    return subprocess.run([sys.executable, ROOT / "client/python/dreamd-import", source, folder / file, "--config",
                           folder / "config.json", "--out", folder / out], capture_output=True, text=True, timeout=120)


def expect_open(folder, result):
    assert result.returncode == 0, result.stderr
    opened = subprocess.run([MODEL_OPEN, folder / "out"], capture_output=True, text=True)
    assert opened.returncode == 0, opened.stderr
    return json.loads((folder / "out/manifest.json").read_text())


def expect_refusal(folder, result, *words):
    assert result.returncode == 1, result.stdout + result.stderr
    assert result.stderr.startswith("dreamd-import: ") and "Traceback" not in result.stderr, result.stderr
    for word in words:
        assert word in result.stderr, result.stderr
    assert not any(path.name.startswith((".out", "out")) for path in folder.iterdir())


# ---- dreamerv3-torch ----

def torch_images(tensors, vectors=True):
    """Adds an image of SIDE x SIDE x 3 to what test_import draws, or puts it in the place of the vectors."""
    drawn, latent = Drawn(1), STOCH * 4
    if not vectors:
        for name in [name for name in tensors if "encoder._mlp" in name or "decoder._mlp" in name]:
            del tensors[name]
    drawn.add("_wm.encoder._cnn.layers.0.weight", DEPTH, 3, 4, 4)
    drawn.norm("_wm.encoder._cnn.layers.1.norm", DEPTH)
    drawn.add("_wm.encoder._cnn.layers.3.weight", 2 * DEPTH, DEPTH, 4, 4)
    drawn.norm("_wm.encoder._cnn.layers.4.norm", 2 * DEPTH)
    decoder = "_wm.heads.decoder._cnn"
    drawn.linear(f"{decoder}._linear_layer", 16 * 2 * DEPTH, latent + 8)
    drawn.add(f"{decoder}.layers.0.weight", 2 * DEPTH, DEPTH, 4, 4)
    drawn.norm(f"{decoder}.layers.1.norm", DEPTH)
    drawn.add(f"{decoder}.layers.3.weight", DEPTH, 3, 4, 4)
    drawn.add(f"{decoder}.layers.3.bias", 3)
    drawn.add("_wm.dynamics._obs_out_layers.0.weight", HIDDEN, 8 + 16 * 2 * DEPTH + (UNITS if vectors else 0))
    return tensors | drawn


def torch_gaussian(tensors):
    drawn = Drawn(2)
    for name in ("_imgs_stat_layer", "_obs_stat_layer"):
        drawn.linear(f"_wm.dynamics.{name}", 2 * STOCH, HIDDEN)
    drawn.add("_wm.dynamics._img_in_layers.0.weight", HIDDEN, STOCH + 2)
    for name in ("_wm.heads.decoder._mlp.layers.Decoder", "_wm.heads.reward.layers.Reward", "_wm.heads.cont.layers.Cont",
                 "_task_behavior.actor.layers.Actor", "_task_behavior.value.layers.Value"):
        drawn.add(f"{name}_linear0.weight", UNITS, STOCH + 8)
    return tensors | drawn


def torch_onehot(tensors):
    return {name: value for name, value in tensors.items() if "actor.std_layer" not in name}


def torch_no_initial(tensors):
    return {name: value for name, value in tensors.items() if name != "_wm.dynamics.W"}


TORCH_CASES = {
    "mixed": (torch_images, {"encoder": {"mlp_keys": ".*", "cnn_keys": "image"}, "grayscale": False}, {}),
    "image": (lambda t: torch_images(t, vectors=False), {"encoder": {"cnn_depth": DEPTH}, "size": [SIDE, SIDE]}, {}),
    "sigmoid": (torch_images, {"decoder": {"cnn_sigmoid": True}}, {"decoder": {"sigmoid": True}}),
    "gaussian": (torch_gaussian, {"dyn_discrete": False}, {"classes": 0}),
    "tanh5 softplus": (torch_gaussian, {"dyn_discrete": 0, "dyn_mean_act": "tanh5", "dyn_std_act": "softplus"},
                       {"gaussian": {"mean": "tanh5", "std": "softplus", "min_std": 0.1}}),
    "abs": (torch_gaussian, {"dyn_discrete": False, "dyn_std_act": "abs", "dyn_min_std": 0.3}, {}),
    "sigmoid std": (torch_gaussian, {"dyn_discrete": False, "dyn_std_act": "sigmoid"}, {}),
    "onehot": (torch_onehot, {"actor": {"dist": "onehot", "unimix_ratio": 0.05}}, {"actor": {"unimix": 0.05}}),
    "initial zeros": (torch_no_initial, {"initial": "zeros"}, {"initial": "zeros"}),
    "without symlog": (lambda t: t, {"encoder": {"symlog_inputs": False}, "decoder": {"vector_dist": "mse"}},
                       {"encoder": {"symlog": False}, "decoder": {"symlog": False}}),
    "ELU": (torch_images, {"act": "ELU", "encoder": {"act": "ELU"}, "decoder": {"act": "ELU"}}, {"activation": "elu"}),
    "YAML's numbers": (lambda t: t, {"unimix_ratio": "2e-2"}, {"unimix": 0.02}),
    "spaces": (lambda t: t, {"spaces": {"velocity": [3], "angle": [], "is_first": []}}, {}),
}


@pytest.mark.parametrize("case", TORCH_CASES)
def test_options_of_dreamerv3_torch(tmp_path, case):
    change, options, expected = TORCH_CASES[case]
    write_torch(tmp_path / "file", {"agent_state_dict": change(agent_tensors("_orig_mod.") if case == "spaces" else agent_tensors())})
    manifest = expect_open(tmp_path, run(tmp_path, "dreamerv3-torch", CONFIG | {"encoder": {}} | options))
    for key, value in expected.items():
        found = manifest["config"][key]
        assert value.items() <= found.items() if isinstance(value, dict) else found == value
    assert ("image" in manifest["observation_space"]["spaces"]) == (change in (torch_images,) or case == "image")


@pytest.mark.parametrize("prefix", ["", "_orig_mod."])
def test_what_explores_is_no_duplicate(tmp_path, prefix):
    state = agent_tensors(prefix)
    same = {name.replace("_task_behavior", "_expl_behavior"): value for name, value in state.items() if name.startswith("_task")}
    write_torch(tmp_path / "file", {"agent_state_dict": state | same})
    result = run(tmp_path, "dreamerv3-torch", CONFIG)
    expect_open(tmp_path, result)
    assert f"duplicates ({len(same)})" in result.stdout
    (tmp_path / "out").rename(tmp_path / "before")
    other = {f"_expl_behavior.{prefix}_networks.0.mean_layer.weight": np.zeros((2, 2), "<f4")}
    write_torch(tmp_path / "file", {"agent_state_dict": state | other})
    result = run(tmp_path, "dreamerv3-torch", CONFIG)
    expect_open(tmp_path, result)
    assert "exploration (1)" in result.stdout and "duplicates" not in result.stdout


@pytest.mark.parametrize("change, options, words", [
    (lambda t: t, {"act": "GELU"}, ["act is 'GELU'"]),
    (lambda t: t, {"decoder": {"act": "ELU"}}, ["decoder.act is 'ELU'", "one activation"]),
    (lambda t: t, {"dyn_rec_depth": 2}, ["dyn_rec_depth is 2"]),
    (lambda t: t, {"actor": {"dist": "trunc_normal"}}, ["actor.dist is 'trunc_normal'"]),
    (lambda t: t, {"actor": {"dist": "normal", "std": 1.0}}, ["actor.std is 1.0"]),
    (lambda t: t, {"reward_head": {"dist": "symlog_mse"}}, ["reward_head.dist is 'symlog_mse'"]),
    (lambda t: t, {"dyn_discrete": False}, ["dyn_discrete is False"]),
    (torch_gaussian, {"dyn_discrete": False, "dyn_std_act": "exp"}, ["dyn_std_act is 'exp'"]),
    (torch_onehot, {"actor": {"dist": "normal"}}, ["actor.dist is 'normal'"]),
    (torch_images, {"size": [64, 64]}, ["size is [64, 64]", "[16, 16]"]),
    (torch_images, {"grayscale": True}, ["grayscale is True"]),
    (torch_images, {"encoder": {"kernel_size": 3}}, ["kernel_size is 3"]),
    (torch_images, {"encoder": {"cnn_depth": 4}}, ["cnn_depth is 4", "3"]),
    (torch_images, {"encoder": {"cnn_keys": "["}, "spaces": {"velocity": [3], "angle": [1], "image": [16, 16, 3]}}, ["encoder.cnn_keys", "regular expression"]),
    (torch_images, {"spaces": {"velocity": [3], "angle": [1], "image": [16, 16, 1]}}, ["spaces", "image"]),
    (lambda t: t, {"spaces": {"velocity": [3]}}, ["spaces"]),
    (lambda t: t, {"spaces": ["velocity"]}, ["spaces is"]),
])
def test_what_dreamerv3_torch_refuses(tmp_path, change, options, words):
    write_torch(tmp_path / "file", {"agent_state_dict": change(agent_tensors())})
    expect_refusal(tmp_path, run(tmp_path, "dreamerv3-torch", CONFIG | {"encoder": {}} | options), *words)


# ---- sheeprl-dreamerv3 ----

def sheeprl_groups(decoupled=False, images=True, discrete=False):
    """The smallest agent: deter 8, 3 x 4 latents, an image of 16 x 16 x 3 (two stages), vectors of 3 and 1, action of 2."""
    world, actor, critic = Drawn(3), Drawn(4), Drawn(5)

    def mlp(drawn, path, width, units=UNITS, layers=2, out=None):
        for i in range(layers):
            drawn.linear(f"{path}.{3 * i}", units, width if i == 0 else units, bias=False)
            drawn.norm(f"{path}.{3 * i + 1}", units)
        if out:
            drawn.linear(f"{path}.{3 * layers}", out, units)

    feature, embedding = 12 + 8, UNITS + (96 if images else 0)
    if images:
        cnn, decnn = "encoder.cnn_encoder.model.0._model", "observation_model.cnn_decoder.model"
        world.add(f"{cnn}.0.weight", DEPTH, 3, 4, 4)
        world.norm(f"{cnn}.1", DEPTH)
        world.add(f"{cnn}.3.weight", 2 * DEPTH, DEPTH, 4, 4)
        world.norm(f"{cnn}.4", 2 * DEPTH)
        world.linear(f"{decnn}.0", 96, feature)
        world.add(f"{decnn}.2._model.0.weight", 2 * DEPTH, DEPTH, 4, 4)
        world.norm(f"{decnn}.2._model.1", DEPTH)
        world.add(f"{decnn}.2._model.3.weight", DEPTH, 3, 4, 4)
        world.add(f"{decnn}.2._model.3.bias", 3)
    mlp(world, "encoder.mlp_encoder.model._model", 4)
    world.add("rssm.initial_recurrent_state", 8)
    mlp(world, "rssm.recurrent_model.mlp._model", 12 + 2, 6, 1)
    world.linear("rssm.recurrent_model.rnn.linear", 24, 8 + 6, bias=False)
    world.norm("rssm.recurrent_model.rnn.layer_norm", 24)
    mlp(world, "rssm.transition_model._model", 8, 5, 1, 12)
    mlp(world, "rssm.representation_model._model", embedding + (0 if decoupled else 8), 7, 1, 12)
    mlp(world, "observation_model.mlp_decoder.model._model", feature)
    for i, width in enumerate((3, 1)):
        world.linear(f"observation_model.mlp_decoder.heads.{i}", width, UNITS)
    mlp(world, "reward_model._model", feature, out=63)
    mlp(world, "continue_model._model", feature, out=1)
    mlp(actor, "model._model", feature)
    actor.linear("mlp_heads.0", 2 if discrete else 4, UNITS)
    mlp(critic, "_model", feature, out=255)
    return {"world_model": world, "actor": actor, "critic": critic}


def sheeprl_config(images=True, **options):
    config = {"algo": {"name": "dreamer_v3", "cnn_keys": {"encoder": ["rgb"] if images else [], "decoder": ["rgb"] if images else []},
                       "mlp_keys": {"encoder": ["velocity", "angle"], "decoder": ["velocity", "angle"]},
                       "world_model": {"stochastic_size": 3, "discrete_size": 4}, "actor": {}},
              "env": {"screen_size": SIDE}, "distribution": {"type": "auto"}}
    for path, value in options.items():
        *parents, key = path.split("__")
        node = config
        for parent in parents:
            node = node.setdefault(parent, {})
        node[key] = value
    return config


NORM = {"cls": "sheeprl.models.models.LayerNorm", "kw": {"eps": 0.01}}


@pytest.mark.parametrize("shape, options, expected", [
    ({}, {}, {"prior": {"units": 5}, "posterior": {"units": 7}, "reward": {"layers": 2, "units": UNITS, "bins": 63}}),
    ({"discrete": True}, {}, {"actor": {"layers": 2, "units": UNITS, "distribution": "onehot", "unimix": 0.01}}),
    ({"decoupled": True}, {"algo__world_model__decoupled_rssm": True}, {"decoupled": True}),
    ({"images": False}, {}, {"encoder": {"layers": 2, "units": UNITS}}),
    ({}, {"algo__mlp_layer_norm": NORM}, {"norm_eps": 0.01}),
    ({}, {"algo__dense_act": "torch.nn.ELU", "algo__cnn_act": "torch.nn.ReLU"}, {"activation": "elu", "cnn_activation": "relu"}),
    ({}, {"algo__actor__min_std": 0.2, "algo__actor__init_std": 1.0},
     {"actor": {"layers": 2, "units": UNITS, "min_std": 0.2, "max_std": 1.0, "init_std": 1.0}}),
])
def test_options_of_sheeprl(tmp_path, shape, options, expected):
    write_torch(tmp_path / "file", sheeprl_groups(**shape))
    config = sheeprl_config(shape.get("images", True), **options)
    manifest = expect_open(tmp_path, run(tmp_path, "sheeprl-dreamerv3", config))
    for key, value in expected.items():
        assert manifest["config"][key] == value
    if shape.get("images", True):
        assert manifest["observation_space"]["spaces"]["rgb"]["shape"] == [3, SIDE, SIDE]


def without(groups, group, name):
    del groups[group][name]


@pytest.mark.parametrize("change, options, words", [
    (None, {"algo__name": "p2e_dv3_exploration"}, ["algo.name is 'p2e_dv3_exploration'"]),
    (None, {"algo__world_model__stochastic_size": 4}, ["stochastic_size is 4", "12"]),
    (None, {"algo__world_model__recurrent_model": {"recurrent_state_size": 9}}, ["recurrent_state_size is 9", "8"]),
    (None, {"algo__world_model__decoupled_rssm": True}, ["representation_model"]),
    (None, {"algo__mlp_layer_norm": {"cls": "torch.nn.Identity"}}, ["mlp_layer_norm.cls is 'torch.nn.Identity'"]),
    (None, {"algo__dense_act": "torch.nn.GELU"}, ["dense_act is 'torch.nn.GELU'"]),
    (None, {"algo__dense_act": "torch.nn.ELU", "algo__critic": {"dense_act": "torch.nn.SiLU"}}, ["critic.dense_act", "one for all"]),
    (None, {"distribution__type": "tanh_normal"}, ["distribution.type is 'tanh_normal'"]),
    (None, {"distribution__type": "discrete"}, ["distribution.type is 'discrete'"]),
    (None, {"env__screen_size": 64}, ["screen_size is 64", "16"]),
    (None, {"algo__mlp_keys__decoder": ["velocity"]}, ["heads.1"]),
    (None, {"algo__mlp_keys__encoder": ["velocity"]}, ["mlp_keys.decoder"]),
    (None, {"algo__cnn_keys__encoder": []}, ["cnn_keys.encoder"]),
    (None, {"algo__actor__cls": "sheeprl.algos.dreamer_v3.agent.MinedojoActor"}, ["algo.actor.cls"]),
    (lambda g: g["actor"].linear("mlp_heads.1", 2, UNITS), {}, ["mlp_heads.1", "MultiDiscrete"]),
    (lambda g: without(g, "world_model", "rssm.initial_recurrent_state"), {}, ["rssm.initial_recurrent_state", "missing"]),
    (lambda g: g["world_model"].add("rssm.extra", 3), {}, ["world_model.rssm.extra", "no place"]),
    (lambda g: g["world_model"].add("reward_model._model.0.weight", UNITS, 19), {}, ["reward_model._model.0.weight", "19"]),
    (lambda g: g.update({"surprise": {}}), {}, ["surprise", "no place"]),
    (lambda g: g.pop("world_model"), {}, ["no world_model"]),
])
def test_what_sheeprl_refuses(tmp_path, change, options, words):
    groups = sheeprl_groups()
    if change:
        change(groups)
    write_torch(tmp_path / "file", groups)
    expect_refusal(tmp_path, run(tmp_path, "sheeprl-dreamerv3", sheeprl_config(**options)), *words)


def test_a_sheeprl_file_cut_short(tmp_path):
    write_torch(tmp_path / "file", sheeprl_groups())
    whole = (tmp_path / "file").read_bytes()
    for length in (0, 1, 100, len(whole) // 2, len(whole) - 1):
        (tmp_path / "file").write_bytes(whole[:length])
        expect_refusal(tmp_path, run(tmp_path, "sheeprl-dreamerv3", sheeprl_config()), "not a whole file of torch.save")


def test_a_replay_buffer_is_stepped_over_and_a_stranger_in_it_is_not(tmp_path):
    buffer = (text("rb") + b"csheeprl.data.buffers\nSequentialReplayBuffer\n)\x81}(" + text("_memmap_dir") + b"cpathlib\nPosixPath\n("
              + text("/tmp") + b"tR" + text("_rng") + b"\x8a\x10" + bytes(range(16)) + b"ub")
    write_torch(tmp_path / "file", sheeprl_groups(), buffer)
    result = run(tmp_path, "sheeprl-dreamerv3", sheeprl_config())
    expect_open(tmp_path, result)
    assert "replay buffer (1)" in result.stdout
    write_torch(tmp_path / "file", sheeprl_groups(), buffer.replace(b"cpathlib\nPosixPath", b"cos\nsystem"))
    (tmp_path / "out").rename(tmp_path / "before")
    expect_refusal(tmp_path, run(tmp_path, "sheeprl-dreamerv3", sheeprl_config()), "os.system", "never calls")


# ---- dreamerv3-jax ----

def jax_params(layers=1, images=True, discrete=False):
    """The smallest agent: deter 8 in 2 blocks, 3 x 4 latents, an image of 12 x 12 x 3 (two layers), a vector of 3, action of 2."""
    drawn = Drawn(6)

    def linear(name, width, out):
        drawn.add(f"{name}/kernel", width, out)
        drawn.add(f"{name}/bias", out)

    def hidden(name, norm, width, out):
        linear(name, width, out)
        drawn.add(f"{norm}/scale", out, mean=1.0)

    def conv(name, width, out):
        drawn.add(f"{name}/kernel", 5, 5, width, out)
        drawn[f"{name}/kernel"] *= 0.1
        drawn.add(f"{name}/bias", out)

    embedding, feature = UNITS + (3 * 3 * 6 if images else 0), 8 + 12
    hidden("enc/mlp0", "enc/mlp0norm", 3, UNITS)
    if images:
        for i, (width, out) in enumerate(((3, 4), (4, 6))):
            conv(f"enc/cnn{i}", width, out)
            drawn.add(f"enc/cnn{i}norm/scale", out, mean=1.0)
        drawn.add("dec/sp0/kernel", 2, 4, 27)
        drawn.add("dec/sp0/bias", 54)
        hidden("dec/sp1", "dec/sp1norm", 12, 2 * UNITS)
        linear("dec/sp2", 2 * UNITS, 54)
        drawn.add("dec/spnorm/scale", 6, mean=1.0)
        conv("dec/conv0", 6, 4)
        drawn.add("dec/conv0norm/scale", 4, mean=1.0)
        conv("dec/imgout", 4, 3)
    for i, width in enumerate((8, 12, 2)):
        hidden(f"dyn/dynin{i}", f"dyn/dynin{i}norm", width, HIDDEN)
    for i in range(layers):
        drawn.add(f"dyn/dynhid{i}/kernel", 2, 4 + 3 * HIDDEN if i == 0 else 4, 4)
        drawn.add(f"dyn/dynhid{i}/bias", 8)
        drawn.add(f"dyn/dynhid{i}norm/scale", 8, mean=1.0)
    drawn.add("dyn/dyngru/kernel", 2, 4, 12)
    drawn.add("dyn/dyngru/bias", 24)
    for i in range(layers):
        hidden(f"dyn/prior{i}", f"dyn/prior{i}norm", 8 if i == 0 else HIDDEN, HIDDEN)
    hidden("dyn/obs0", "dyn/obs0norm", 8 + embedding, HIDDEN)
    linear("dyn/priorlogit", HIDDEN, 12)
    linear("dyn/obslogit", HIDDEN, 12)
    for name, out in (("dec", None), ("rew", "logits"), ("con", "logit"), ("val", "logits"), ("pol", None)):
        hidden(f"{name}/mlp/linear0", f"{name}/mlp/norm0", feature, UNITS)
        if out:
            linear(f"{name}/head/{out}", UNITS, 1 if out == "logit" else 63)
    linear("dec/vec/state/pred", UNITS, 3)
    for kind in ("logits",) if discrete else ("mean", "stddev"):
        linear(f"pol/head/action/{kind}", UNITS, 2)
    return dict(drawn)


def jax_config(**options):
    config = {"agent": {"dyn": {"typ": "rssm", "rssm": {"stoch": 3, "classes": 4}}}}
    for path, value in options.items():
        *parents, key = path.split("__")
        node = config if parents[:1] == ["spaces"] or key == "spaces" else config["agent"]
        for parent in parents:
            node = node.setdefault(parent, {})
        node[key] = value
    return config


def write_jax(folder, params, **more):
    (folder / "file").write_bytes(pickle.dumps({"params": params, "counters": {"updates": 1}} | more))


@pytest.mark.parametrize("shape, options, expected", [
    ({}, {}, {"blocks": 2, "encoder": {"layers": 1, "units": UNITS, "depth": 2, "kernels": [5, 5], "mults": [2, 3]}}),
    ({"layers": 2}, {"dyn__rssm__unimix": 0.05}, {"core_layers": 2, "unimix": 0.05}),
    ({"images": False}, {"enc__simple": {"symlog": False}}, {"encoder": {"layers": 1, "units": UNITS, "symlog": False}}),
    ({"discrete": True}, {"policy_dist_disc": "onehot"}, {"actor": {"layers": 1, "units": UNITS, "distribution": "onehot", "unimix": 0.01}}),
    ({"discrete": True}, {}, {"actor": {"layers": 1, "units": UNITS, "distribution": "onehot", "unimix": 0.0}}),
    ({}, {f"{n}__norm": "rms1em6" for n in ("dyn__rssm", "enc__simple", "dec__simple", "rewhead", "conhead", "policy", "value")},
     {"norm_eps": 1e-6}),
    ({}, {"policy__minstd": 0.2, "policy__maxstd": 0.8}, {"actor": {"layers": 1, "units": UNITS, "min_std": 0.2, "max_std": 0.8}}),
    ({}, {"spaces": {"state": [3], "image": [12, 12, 3]}}, {"blocks": 2}),
])
def test_options_of_the_jax_code(tmp_path, shape, options, expected):
    write_jax(tmp_path, jax_params(**shape))
    manifest = expect_open(tmp_path, run(tmp_path, "dreamerv3-jax", jax_config(**options)))
    for key, value in expected.items():
        assert manifest["config"][key] == value
    assert manifest["planning"]["discount"] == 1.0


@pytest.mark.parametrize("change, options, words", [
    (lambda p: p.pop("dyn/dyngru/bias"), {}, ["dyn/dyngru/bias", "missing"]),
    (lambda p: p.update({"dyn/dynhid9/bias": np.zeros(3, "f4")}), {}, ["dyn/dynhid9/bias", "no place"]),
    (lambda p: p.update({"critic/x": np.zeros(3, "f4")}), {}, ["critic/x", "no place"]),
    (lambda p: p.update({"rew/head/logits/bias": np.zeros(64, "f4")}), {}, ["rew/head/logits/bias", "(64,)", "(63,)"]),
    (lambda p: p.update({"rew/head/logits/bias": np.full(63, np.inf, "f4")}), {}, ["reward.logits.bias", "infinite"]),
    (lambda p: p.update({"dyn/obslogit/bias": np.zeros(12, "i4")}), {}, ["dyn/obslogit/bias", "int32"]),
    (lambda p: p.update({"agent/wm/rssm/x": np.zeros(3, "f4")}), {}, ["2023"]),
    (lambda p: p.update({"pol/head/other/mean/kernel": np.zeros((2, 2), "f4")}), {}, ["pol/head", "expected one"]),
    (None, {"dyn__rssm__classes": 5}, ["classes is 5", "12"]),
    (None, {"dyn__rssm__deter": 16}, ["deter is 16", "8"]),
    (None, {"dyn__rssm__absolute": True}, ["absolute is True"]),
    (None, {"enc__simple__strided": True}, ["strided is True"]),
    (None, {"dec__simple__outer": True}, ["outer is True"]),
    (None, {"value__act": "gelu"}, ["agent.value.act is 'gelu'"]),
    (None, {"value__norm": "layer"}, ["agent.value.norm is 'layer'"]),
    (None, {"value__norm": "rms1em6"}, ["agent.value.norm", "one for all"]),
    (None, {"rewhead__output": "mse"}, ["rewhead.output is 'mse'"]),
    (None, {"enc__simple__depth": 3}, ["depth, 3"]),
    (None, {"enc__simple__kernel": 3}, ["agent.enc.simple.kernel is 3", "5"]),
    (None, {"dec__simple__kernel": 7}, ["agent.dec.simple.kernel is 7", "5"]),
    (None, {"contdisc": "often"}, ["agent.contdisc is 'often'"]),
    (None, {"spaces": {"state": [4], "image": [12, 12, 3]}}, ["spaces", "state"]),
    (None, {"spaces": {"state": [3], "image": [12, 12, 1]}}, ["spaces", "image"]),
    (None, {"spaces": {"state": [3], "image": [12, 12, 3], "more": [2]}}, ["more"]),
    (None, {"spaces": {"state": "wide"}}, ["spaces is"]),
])
def test_what_the_jax_importer_refuses(tmp_path, change, options, words):
    params = jax_params()
    if change:
        change(params)
    write_jax(tmp_path, params)
    expect_refusal(tmp_path, run(tmp_path, "dreamerv3-jax", jax_config(**options)), *words)


def test_without_the_discount_in_continue_a_planner_multiplies_by_it(tmp_path):
    write_jax(tmp_path, jax_params())
    manifest = expect_open(tmp_path, run(tmp_path, "dreamerv3-jax", jax_config(contdisc=False, horizon=200)))
    assert manifest["planning"]["discount"] == 1 - 1 / 200


def test_a_decoder_of_fewer_layers_than_the_encoder(tmp_path):
    params = jax_params()
    wide, drawn = 6 * 6 * 6, Drawn(7)  # the same 12 x 12 pixels, from a first map of 6 x 6 x 6
    for name, *shape in (("sp0/kernel", 2, 4, wide // 2), ("sp0/bias", wide), ("sp2/kernel", 2 * UNITS, wide), ("sp2/bias", wide),
                         ("imgout/kernel", 5, 5, 6, 3)):
        drawn.add(f"dec/{name}", *shape)
    shorter = {name: value for name, value in params.items() if not name.startswith("dec/conv0")} | drawn
    write_jax(tmp_path, shorter)
    manifest = expect_open(tmp_path, run(tmp_path, "dreamerv3-jax", jax_config()))
    assert manifest["observation_space"]["spaces"]["image"]["shape"] == [12, 12, 3]
    assert manifest["config"]["decoder"]["mults"] == [1]


def test_a_jax_file_cut_short(tmp_path):
    write_jax(tmp_path, jax_params())
    whole = (tmp_path / "file").read_bytes()
    for length in (0, 1, 100, len(whole) // 2, len(whole) - 1):
        (tmp_path / "file").write_bytes(whole[:length])
        expect_refusal(tmp_path, run(tmp_path, "dreamerv3-jax", jax_config()), "file")


def test_a_jax_folder(tmp_path):
    write_jax(tmp_path, jax_params())
    folder = tmp_path / "ckpt" / "20250101T000000"
    folder.mkdir(parents=True)
    (tmp_path / "file").rename(folder / "agent.pkl")
    (tmp_path / "ckpt" / "latest").write_text(folder.name)
    expect_refusal(tmp_path, run(tmp_path, "dreamerv3-jax", jax_config(), file="ckpt"), "no file done")
    (folder / "done").write_bytes(b"")
    expect_open(tmp_path, run(tmp_path, "dreamerv3-jax", jax_config(), file="ckpt"))
    (tmp_path / "ckpt" / "latest").write_text("../../etc")
    (tmp_path / "out").rename(tmp_path / "before")
    expect_refusal(tmp_path, run(tmp_path, "dreamerv3-jax", jax_config(), file="ckpt"), "latest")


def test_the_layout_of_2023_is_told_by_its_names(tmp_path):
    (tmp_path / "file").write_bytes(pickle.dumps({"agent": {"agent/wm/rssm/initial": np.zeros(3, "f4")}, "step": 1}))
    expect_refusal(tmp_path, run(tmp_path, "dreamerv3-jax", jax_config()), "2023", "since 2024")


@pytest.mark.parametrize("config, words", [
    ("agent: [", ["neither JSON nor YAML"]), ("- a\n- b\n", ["list"]), ("a: !!python/object/apply:os.system ['touch x']", ["YAML"]),
    ("a: &a [x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b]\nagent: {dyn: {typ: [*c,*c,*c,*c,*c,*c]}}", ["typ is"]),
    ("[" * 100_000, ["config.yaml"]), ("\xff", ["stoch"]),
])
def test_a_config_in_yaml(tmp_path, config, words):
    write_jax(tmp_path, jax_params())
    (tmp_path / "config.yaml").write_text(config)
    result = subprocess.run([sys.executable, ROOT / "client/python/dreamd-import", "dreamerv3-jax", tmp_path / "file", "--config",
                             tmp_path / "config.yaml", "--out", tmp_path / "out"], capture_output=True, text=True, timeout=60)
    if config == "\xff":
        words = ["str, expected names"]
    expect_refusal(tmp_path, result, *words)
    assert len(result.stderr) < 1000
