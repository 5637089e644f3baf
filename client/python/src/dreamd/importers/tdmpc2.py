"""tdmpc2: checkpoints of github.com/nicklashansen/tdmpc2 (`step.pt`, `final.pt`) to the family tdmpc2.

Two layouts were published. The newer has `_Qs.params.LAYER.*`, stacked over the heads, a copy of it under
`_detach_Qs_params.*`, the target heads under `_target_Qs_params.*`, and `__batch_size` and `__device` beside
each; the older has the same tensors as `_Qs.params.0` to `.9` and knows neither action masks nor bounds of the
standard deviation, which then come from the config.

Sizes come from the tensors; the config is compared with them wherever it says something that they say too.
"""

import pathlib

import numpy as np

from . import ImportFailure, checkpoint, config_file, torch_file
from .tdmpc2_numpy import Model

SOURCE = "tdmpc2"
CODE = "https://github.com/nicklashansen/tdmpc2"
FILE_HELP = "step.pt, final.pt, of either layout"
CONFIG_HELP = "the run's config, JSON or YAML"
FLAGS = {"target-heads": "serve the target heads of Q, which follow the others slowly"}
EXAMPLE = "dreamd-import tdmpc2 walker-walk-1.pt --config config.yaml --out walker"
PARTS = ("weight", "bias", "ln.weight", "ln.bias")
KERNELS = {2: 7, 4: 5, 6: 3, 8: 3}  # of the convolutions, by their place in the Sequential
STRIDES = {2: 2, 4: 2, 6: 2, 8: 1}
PROBE_ROWS, PROBE_STEPS = 2, 3

# model_size: what it sets, whatever else the config says.
SIZES = {
    1: {"enc_dim": 256, "mlp_dim": 384, "latent_dim": 128, "num_enc_layers": 2, "num_q": 2},
    5: {"enc_dim": 256, "mlp_dim": 512, "latent_dim": 512, "num_enc_layers": 2, "num_q": 5},
    19: {"enc_dim": 1024, "mlp_dim": 1024, "latent_dim": 768, "num_enc_layers": 3, "num_q": 5},
    48: {"enc_dim": 1792, "mlp_dim": 1792, "latent_dim": 768, "num_enc_layers": 4, "num_q": 5},
    317: {"enc_dim": 4096, "mlp_dim": 4096, "latent_dim": 1376, "num_enc_layers": 5, "num_q": 8},
}


# ---- config ----

def without_gaps(value):
    """Hydra's mark for what nobody said is the same as not saying it."""
    if isinstance(value, dict):
        return {key: without_gaps(item) for key, item in value.items() if item is not None and item != "???"}
    return value


def read_config(path):
    config = config_file.read(path)
    config.content = without_gaps(config.content)
    size = config.get("model_size")
    if size is not None:
        if not isinstance(size, int) or size not in SIZES:
            config.fail("model_size", "one of " + ", ".join(map(str, SIZES)))
        config.content |= SIZES[size]
        if config.get("task") == "mt30" and size == 19:
            config.content["latent_dim"] = 512
    return config


def integers(config, key, count, lowest):
    """A list of `count` integers, or None where the config does not say."""
    value = config.get(key)
    if value is not None and not (isinstance(value, list) and len(value) == count
                                  and all(type(n) is int and lowest <= n <= 1 << 20 for n in value)):
        config.fail(key, f"{count} integers from {lowest}")
    return value


def discounts(config, tasks):
    """A task's discount by the length of its episodes, or None where the config does not say that."""
    key = "episode_lengths" if tasks else "episode_length"
    if not config.has(key):
        return None
    lengths = integers(config, key, len(tasks), 1) if tasks else [config.integer(key, 1)]
    denominator = config.number("discount_denom", 5, 1e-6, 1e6)
    low = config.number("discount_min", 0.95, 0, 1)
    high = config.number("discount_max", 0.995, low, 1)
    parts = [length / denominator for length in lengths]
    return [min(max((part - 1) / part, low), high) for part in parts]


# ---- tensors ----

def is_copy(name, state):
    """Detached heads; and in files of the newer layout's first weeks modules that hold the same parameters once more."""
    alias = name.replace("_target_Qs.params.", "_target_Qs_params.", 1)
    return name.startswith(("_detach_Qs_params.", "_detach_Qs.params.")) or alias != name and alias in state


def split(state):
    """All that is used by the name it has in the file, and a count of what was left by reason."""
    used, left, surplus = {}, {}, []
    for name, value in state.items():
        name = str(name)
        reason = None
        if name.endswith((".__batch_size", ".__device")):
            reason = "entries of tensordict"
        elif is_copy(name, state):
            reason = "duplicates"
        elif not isinstance(value, np.ndarray):
            surplus.append(name)
            continue
        if reason:
            left[reason] = left.get(reason, 0) + 1
        else:
            used[name] = value
    if surplus:
        raise ImportFailure(f"{surplus[0]}: no tensor ({len(surplus)} such); expected tensors only")
    return used, left


class Placer:
    """Hands out tensors by name, checking shapes; what is not taken in the end is an error."""

    def __init__(self, tensors):
        self.tensors, self.rest = tensors, set(tensors)
        self.weights = {}

    def get(self, name, rank):
        if name not in self.tensors:
            raise ImportFailure(f"{name}: missing")
        if self.tensors[name].ndim != rank:
            raise ImportFailure(f"{name}: {self.tensors[name].ndim} dimensions, expected {rank}")
        if self.tensors[name].dtype != np.float32 and rank > 0:
            raise ImportFailure(f"{name}: {self.tensors[name].dtype}, expected float32")
        if 0 in self.tensors[name].shape:
            raise ImportFailure(f"{name}: shape {self.tensors[name].shape}, expected no dimension of 0")
        return self.tensors[name]

    def take(self, name, *shape):
        tensor = self.get(name, len(shape))
        if tensor.shape != shape:
            raise ImportFailure(f"{name}: shape {tensor.shape}, expected {shape}")
        self.rest.discard(name)
        return tensor

    def linear(self, theirs, ours, out, width):
        self.weights[f"{ours}.weight"] = self.take(f"{theirs}.weight", out, width)
        self.weights[f"{ours}.bias"] = self.take(f"{theirs}.bias", out)

    def normed(self, theirs, ours, out, width):
        self.linear(theirs, ours, out, width)
        self.weights[f"{ours}.norm.weight"] = self.take(f"{theirs}.ln.weight", out)
        self.weights[f"{ours}.norm.bias"] = self.take(f"{theirs}.ln.bias", out)

    def network(self, theirs, ours, last, out, units, width):
        self.normed(f"{theirs}.0", f"{ours}.mlp.0", units, width)
        self.normed(f"{theirs}.1", f"{ours}.mlp.1", units, units)
        self.linear(f"{theirs}.2", f"{ours}.{last}", out, units)

    def scalar(self, name):
        value = float(self.take(name))
        if not np.isfinite(value):
            raise ImportFailure(f"{name} is {value}, expected a finite number")
        return value

    def finish(self):
        if self.rest:
            raise ImportFailure(f"{min(self.rest)}: no place for it ({len(self.rest)} such)")
        return self.weights


def ensemble_names(tensors, kind):
    """{(layer, part): name} of the heads, `kind` "_Qs" or "_target_Qs", in the layout of this file."""
    newer = any(name.startswith(("_Qs.params.0.", "_target_Qs_params.")) for name in tensors)
    places = [(layer, part) for layer in range(3) for part in PARTS if layer < 2 or not part.startswith("ln.")]
    if not newer:
        return {place: f"{kind}.params.{i}" for i, place in enumerate(places)}
    prefix = "_Qs.params" if kind == "_Qs" else "_target_Qs_params"
    return {(layer, part): f"{prefix}.{layer}.{part}" for layer, part in places}


def place_heads(p, kind, units, bins, width):
    """The heads one by one; the stacked ensemble by layer, for the probe."""
    names = ensemble_names(p.tensors, kind)
    count = p.get(names[0, "weight"], 3).shape[0]
    shapes = {"weight": {0: (units, width), 1: (units, units), 2: (bins, units)}, "bias": {0: (units,), 1: (units,), 2: (bins,)},
              "ln.weight": {0: (units,), 1: (units,)}, "ln.bias": {0: (units,), 1: (units,)}}
    stacked = {0: {}, 1: {}, 2: {}}
    for (layer, part), name in names.items():
        stacked[layer][part] = tensor = p.take(name, count, *shapes[part][layer])
        for head in range(count):
            place = "logits" if layer == 2 else f"mlp.{layer}"
            p.weights[f"q.{head}.{place}.{part.replace('ln.', 'norm.')}"] = tensor[head]
    return count, stacked


def leave_heads(p, kind, left, reason):
    for name in ensemble_names(p.tensors, kind).values():
        if name in p.rest:
            p.rest.discard(name)
            left[reason] = left.get(reason, 0) + 1


def convolved(side):
    for place, kernel in KERNELS.items():
        side = (side - kernel) // STRIDES[place] + 1
    return side


def place_pictures(p, config, latent):
    channels, frames = p.get("_encoder.rgb.2.weight", 4).shape[:2]
    width = frames
    for i, (place, kernel) in enumerate(KERNELS.items()):
        weight = p.take(f"_encoder.rgb.{place}.weight", channels, width, kernel, kernel)
        p.weights[f"encoder.conv.{i}.weight"] = np.ascontiguousarray(weight.transpose(0, 2, 3, 1))
        p.weights[f"encoder.conv.{i}.bias"] = p.take(f"_encoder.rgb.{place}.bias", channels)
        width = channels
    shape = config.get("obs_shape.rgb", [frames, 64, 64])
    if not (isinstance(shape, list) and len(shape) == 3 and all(type(n) is int and 39 <= n <= 1024 for n in shape[1:])
            and shape[0] == frames):
        config.fail("obs_shape.rgb", f"[{frames}, height, width] of 39 to 1024 pixels: the first convolution has {frames} channels")
    if channels * convolved(shape[1]) * convolved(shape[2]) != latent:
        raise ImportFailure(f"_dynamics.2.weight: a latent of {latent}, expected {channels * convolved(shape[1]) * convolved(shape[2])}: "
                            f"what the convolutions leave of {shape[1]} x {shape[2]} pixels")
    config.agree("num_channels", channels)
    return {"channels": channels}, shape


def place_vectors(p, config, latent, embedding):
    layers = 0
    while f"_encoder.state.{layers}.weight" in p.tensors:
        layers += 1
    units, width = p.get("_encoder.state.0.weight", 2).shape
    if width <= embedding:
        raise ImportFailure(f"_encoder.state.0.weight: {width} inputs, expected more than the task's embedding of {embedding}")
    ins = [width] + [units] * (layers - 1)
    for i in range(layers):
        p.normed(f"_encoder.state.{i}", f"encoder.mlp.{i}", units if i < layers - 1 else latent, ins[i])
    shape = [width - embedding]
    config.agree("obs_shape.state", shape)
    if layers > 1:
        config.agree("enc_dim", units)
    if config.has("num_enc_layers") and max(config.integer("num_enc_layers", 0) - 1, 1) + 1 != layers:
        config.fail("num_enc_layers", f"{layers}, as many as the tensors have")
    return {"layers": layers, "units": units}, shape


def place_tasks(p, config):
    """Names, embedding [tasks, width] and masks [tasks, actions] (None: not in the file); ([], None, None) of one task."""
    multitask = "_task_emb.weight" in p.tensors
    config.agree("multitask", multitask)
    if not multitask:
        return [], None, None
    count, width = p.get("_task_emb.weight", 2).shape
    table = p.take("_task_emb.weight", count, width)
    checkpoint.check_finite({"_task_emb.weight": table})
    lengths = np.sqrt((table.astype(np.float64)**2).sum(-1, keepdims=True))
    table = np.where(lengths > 1, table / (lengths + 1e-7), table).astype(np.float32)  # as look-up does
    names = config.names("tasks") or [str(i) for i in range(count)]
    if len(names) != count or len(set(names)) != count:
        raise ImportFailure(f"{config.path}: tasks has {len(names)} names, expected {count} different ones: "
                            "as many as _task_emb.weight has rows")
    if config.get("multitask"):
        config.agree("task_dim", width)
    masks = None
    if "_action_masks" in p.tensors:
        masks = p.take("_action_masks", count, p.get("_action_masks", 2).shape[1])
        if not np.isin(masks, (0, 1)).all():
            raise ImportFailure("_action_masks: other numbers than 0 and 1")
    return names, table, masks


def action_masks(config, masks, tasks, width):
    said = integers(config, "action_dims", tasks, 0)
    if masks is not None and masks.shape[1] != width:
        raise ImportFailure(f"_action_masks: shape {masks.shape}, expected {(tasks, width)}")
    if said is None and masks is None:
        raise ImportFailure(f"{config.path}: action_dims is missing, expected it: this layout has no _action_masks")
    made = None if said is None else (np.arange(width) < np.array(said)[:, None]).astype(np.float32)
    if made is not None and (max(said) > width or masks is not None and not np.array_equal(made, masks)):
        config.fail("action_dims", "what the tensors say" if masks is not None else f"at most {width} each")
    return made if masks is None else masks


def place_bounds(p, config):
    """Of the logarithm of the actor's standard deviation."""
    low = config.number("log_std_min", -10, -80, 80)
    high = config.number("log_std_max", 2, low, 80)
    if "log_std_min" in p.tensors or "log_std_dif" in p.tensors:
        found = p.scalar("log_std_min")
        found = (found, found + p.scalar("log_std_dif"))
        for key, value in zip(("log_std_min", "log_std_max"), found):
            if config.has(key) and not np.isclose(float(config.get(key)), value, atol=1e-6):
                config.fail(key, f"{value:g}, which the tensors say")
        low, high = found
    return {"log_std_min": low, "log_std_max": high}


def place(tensors, config, kind, left):
    """Everything: weights by our names, sizes for the manifest, and what the probe needs beside them."""
    p = Placer(tensors)
    tasks, embedding, masks = place_tasks(p, config)
    extra = embedding.shape[1] if tasks else 0
    latent, units = p.get("_dynamics.2.weight", 2).shape
    action = p.get("_dynamics.0.weight", 2).shape[1] - latent - extra
    if action < 1:
        raise ImportFailure(f"_dynamics.0.weight: {latent + extra + action} inputs, expected more than latent and embedding, {latent + extra}")
    out = p.get("_reward.2.weight", 2).shape[0]
    bins = config.integer("num_bins", 0, 101)
    if max(bins, 1) != out:
        config.fail("num_bins", f"{out}, as many as _reward.2.weight has rows" if out > 1 else
                    "0 (a number) or 1 (its symlog): _reward.2.weight has one row")
    p.normed("_dynamics.0", "dynamics.mlp.0", units, latent + extra + action)
    p.normed("_dynamics.1", "dynamics.mlp.1", units, units)
    p.normed("_dynamics.2", "dynamics.mlp.2", latent, units)
    p.network("_reward", "reward", "logits", out, units, latent + extra + action)
    p.network("_pi", "actor", "parameters", 2 * action, units, latent + extra)
    sizes = {"latent": latent, "simnorm": config.integer("simnorm_dim", 1, 8), "units": units}
    if latent % sizes["simnorm"]:
        config.fail("simnorm_dim", f"a divisor of the latent's width, {latent}")
    sizes["heads"], stacked = place_heads(p, kind, units, out, latent + extra + action)
    leave_heads(p, "_target_Qs" if kind == "_Qs" else "_Qs", left, "target heads" if kind == "_Qs" else "heads that learn")
    sizes["bins"] = bins
    if bins > 1:
        sizes["bin_low"] = config.number("vmin", -10, -80, 80)
        sizes["bin_high"] = config.number("vmax", 10, sizes["bin_low"] + 1e-6, 80)
    sizes |= place_bounds(p, config)
    if "_encoder.rgb.2.weight" in tensors:
        if tasks:
            raise ImportFailure("_encoder.rgb.2.weight: pictures in a multi-task model, expected vectors")
        sizes["encoder"], shape = place_pictures(p, config, latent)
    else:
        sizes["encoder"], shape = place_vectors(p, config, latent, extra)
    config.agree("obs", "rgb" if "channels" in sizes["encoder"] else "state")
    episodic = "_termination.2.weight" in tensors
    config.agree("episodic", episodic)
    if episodic:
        p.network("_termination", "termination", "logit", 1, units, latent + extra)
        sizes["termination"] = True
    for key, found in (("latent_dim", latent), ("mlp_dim", units), ("num_q", sizes["heads"]), ("action_dim", action)):
        config.agree(key, found)
    if tasks:
        masks = action_masks(config, masks, len(tasks), action)
        sizes |= {"tasks": tasks, "task_embedding": extra}
        p.weights["task.embedding"] = np.ascontiguousarray(embedding.T)
        p.weights["task.actions"] = np.ascontiguousarray(masks.T)
    gammas = discounts(config, tasks)
    if gammas:
        sizes["discount"] = True
        p.weights["discount"] = np.array([gammas], np.float32)
    weights = p.finish()
    first = (0, embedding[0], masks[0]) if tasks else (None, None, None)
    return weights, sizes, shape, action, gammas, Model(tensors, stacked, sizes, *first)


# ---- probe ----

def make_probe(model, shape, action, gammas):
    """A walk with random observations and actions; of a multi-task model, with its first task."""
    random = np.random.default_rng(0)
    steps = (1 if len(shape) == 3 else PROBE_STEPS, PROBE_ROWS)  # pictures are large
    if len(shape) == 3:
        observations = random.integers(0, 256, (*steps, *shape)).astype(np.float32)
    else:
        observations = random.normal(size=(*steps, *shape)).astype(np.float32)
    actions = random.uniform(-1, 1, (*steps, action)).astype(np.float32)
    z = np.zeros((PROBE_ROWS, model.sizes["latent"]))
    probe = {"observe.in.observation": observations, "step.in.action": actions}
    probe |= {f"initial.out.{name}": value for name, value in model.state(z).items()}
    series = {}

    def note(verb, outputs):
        for name, value in outputs.items():
            series.setdefault(f"{verb}.out.{name}", []).append(value)

    def at(z):
        return model.at(z) | ({"discount": np.full(PROBE_ROWS, gammas[0])} if gammas else {})

    for observation in observations.astype(np.float64):
        z = model.encode(observation)
        note("encode", {"embedding": z})
        note("observe", model.state(z) | at(z))
    for a in actions.astype(np.float64):
        caused = model.reward(z, a) | model.q(z, a, "q")
        z = model.next(z, a)
        note("step", caused | model.state(z) | at(z))
    probe |= {f"read.out.{name}": value for name, value in at(z).items()}
    return probe | {name: np.stack(values) for name, values in series.items()}


# ---- all together ----

def planning(config, gammas):
    """The published search is MPPI; the same numbers for a search that keeps elites."""
    candidates = config.integer("num_samples", 1, 512)
    settings = {"method": "cem", "horizon": config.integer("horizon", 1, 3), "candidates": candidates,
                "iterations": config.integer("iterations", 1, 6),
                "elites": min(config.integer("num_elites", 1, 64), candidates), "warm_start": True, "terminal_value": True}
    if gammas:
        settings["discount"] = gammas[0]
    return settings


def card(name, source, sizes, shape, action, count):
    encoder = "pictures" if "channels" in sizes["encoder"] else "vectors"
    lines = [f"* observations: {encoder} {shape}, encoded and never reconstructed; actions: {action}, in -1..1",
             f"* latent: {sizes['latent']} in groups of {sizes['simnorm']} (SimNorm); {sizes['heads']} heads of Q; {count:,} weights"]
    if "tasks" in sizes:
        lines.append(f"* tasks: {', '.join(sizes['tasks'])}")
    return f"""# {name}

A TD-MPC2 world model imported from `{source['file']}` of {source['code']}.

""" + "\n".join(lines) + """

How it was trained and how good it is, the file does not say. Its probe was computed by an independent
version of the published equations at import.
"""


def observation_space(sizes, shape):
    if "channels" in sizes["encoder"]:
        return {"type": "Box", "shape": shape, "dtype": "uint8", "low": 0, "high": 255}
    return {"type": "Box", "shape": shape, "dtype": "float32", "low": None, "high": None}


def convert(path, config_path, out, name, say, target_heads=False):
    config = read_config(config_path)
    saved = torch_file.read(path)
    state = saved.get("model", saved) if isinstance(saved, dict) else None
    if not isinstance(state, dict) or "_dynamics.0.weight" not in state:
        raise ImportFailure(f"{path}: no _dynamics.0.weight; expected what TD-MPC2 saves: its tensors, under the key model or not")
    tensors, left = split(state)
    if state is not saved:
        left |= {str(key): 1 for key in saved if key != "model"}
    kind = "_target_Qs" if target_heads else "_Qs"
    weights, sizes, shape, action, gammas, model = place(tensors, config, kind, left)
    checkpoint.check_finite(weights)
    source = {"code": CODE, "file": pathlib.Path(path).name, "sha256": checkpoint.digest(path)}
    manifest = {
        "format": 1, "family": "tdmpc2", "name": name, "config": sizes,
        "observation_space": observation_space(sizes, shape),
        "action_space": {"type": "Box", "shape": [action], "dtype": "float32", "low": -1, "high": 1},
        "planning": planning(config, gammas),
        "source": source,
    }
    count = sum(int(weight.size) for weight in weights.values())
    checkpoint.write(out, manifest, weights, make_probe(model, shape, action, gammas), card(name, source, sizes, shape, action, count))
    say(f"used: {len(tensors) - sum(left.get(reason, 0) for reason in ('target heads', 'heads that learn'))} tensors, {count:,} numbers")
    say("left: " + (", ".join(f"{reason} ({n})" for reason, n in left.items()) or "nothing"))
    if not gammas:
        say("discount: not known, the config says no episode_length")
    say(f"written: {out}")
