"""dreamerv3-torch: checkpoints of github.com/NM512/dreamerv3-torch (`latest.pt`) to the family rssm.

The file holds the agent's tensors under `_wm.` (the world model) and `_task_behavior.` (actor and
critic), with `_orig_mod.` in between where the modules were compiled. The same tensors appear
again under `_task_behavior._world_model.` and `_expl_behavior.`; those are left.

Sizes come from the tensors; the run's config is needed for the split of the latent and is
compared with the tensors wherever it says something that they say too.
"""

import hashlib
import json
import pathlib

import numpy as np

from . import ImportFailure, checkpoint, torch_file
from .dreamerv3_torch_numpy import Model

CODE = "https://github.com/NM512/dreamerv3-torch"
PROBE_ROWS, PROBE_STEPS, PROBE_TRIES = 2, 4, 16

# What this version serves of the code base's options: (path in the config, value that it must have).
SERVED = [
    ("dyn_rec_depth", 1),
    ("norm", True),
    ("act", "SiLU"),
    ("initial", "learned"),
    ("encoder.act", "SiLU"),
    ("encoder.norm", True),
    ("encoder.symlog_inputs", True),
    ("decoder.act", "SiLU"),
    ("decoder.norm", True),
    ("decoder.vector_dist", "symlog_mse"),
    ("actor.dist", "normal"),
    ("actor.std", "learned"),
    ("critic.dist", "symlog_disc"),
    ("reward_head.dist", "symlog_disc"),
]


def find(config, path, default=None):
    for part in path.split("."):
        if not isinstance(config, dict) or part not in config:
            return default
        config = config[part]
    return config


def read_config(path):
    try:
        config = json.loads(pathlib.Path(path).read_text())
    except OSError as error:
        raise ImportFailure(f"{path}: {error.strerror or error}") from None
    except ValueError as error:
        raise ImportFailure(f"{path}: not JSON: {error}") from None
    if not isinstance(config, dict):
        raise ImportFailure(f"{path}: a {type(config).__name__}, expected an object")
    for key, value in SERVED:
        if find(config, key, value) != value:
            raise ImportFailure(f"{path}: {key} is {find(config, key)!r}, expected {value!r}: "
                                "the only one that is served in this version")
    for key, lowest in (("dyn_stoch", 1), ("dyn_discrete", 2)):
        value = config.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or value < lowest:
            raise ImportFailure(f"{path}: {key} is {value!r}, expected an integer from {lowest}")
    return config


# ---- which tensors there are ----

def split(state):
    """The tensors of world model and behaviour by their own names, and a count of what was left by reason."""
    groups = {"_wm.": {}, "_task_behavior.": {}}
    left, surplus = {}, []
    for full, tensor in state.items():
        name = str(full).replace("_orig_mod.", "")
        group = next((prefix for prefix in groups if name.startswith(prefix)), None)
        rest = name.removeprefix(group) if group else name
        reason = None
        if name.startswith("_expl_behavior.") or group == "_task_behavior." and rest.startswith("_world_model."):
            reason = "duplicates"
        elif group == "_task_behavior." and rest.startswith("_slow_value."):
            reason = "target critic"
        elif group == "_task_behavior." and rest == "ema_vals":
            reason = "return normalisation"
        elif group is None or not isinstance(tensor, np.ndarray):
            surplus.append(str(full))
            continue
        if reason:
            left[reason] = left.get(reason, 0) + 1
        elif rest in groups[group]:
            raise ImportFailure(f"{full}: there twice, with and without _orig_mod.")
        else:
            groups[group][rest] = tensor
    if surplus:
        raise ImportFailure(f"{surplus[0]}: no place for it ({len(surplus)} such); expected _wm.* and _task_behavior.*")
    return groups["_wm."], groups["_task_behavior."], left


class Placer:
    """Moves tensors to names of ours, checking shapes; what is not taken in the end is an error."""

    def __init__(self, tensors, prefix):
        self.tensors, self.prefix = tensors, prefix
        self.rest = set(tensors)
        self.weights = {}

    def take(self, theirs, ours, shape):
        if theirs not in self.tensors:
            raise ImportFailure(f"{self.prefix}{theirs}: missing")
        tensor = self.tensors[theirs]
        if tensor.shape != tuple(shape):
            raise ImportFailure(f"{self.prefix}{theirs}: shape {tensor.shape}, expected {tuple(shape)}")
        self.rest.discard(theirs)
        self.weights[ours] = tensor.reshape(-1) if ours == "rssm.initial" else tensor

    def shape(self, theirs, rank):
        if theirs not in self.tensors:
            raise ImportFailure(f"{self.prefix}{theirs}: missing")
        if self.tensors[theirs].ndim != rank:
            raise ImportFailure(f"{self.prefix}{theirs}: {self.tensors[theirs].ndim} dimensions, expected {rank}")
        return self.tensors[theirs].shape

    def norm(self, theirs, ours, width):
        self.take(f"{theirs}.weight", f"{ours}.weight", [width])
        self.take(f"{theirs}.bias", f"{ours}.bias", [width])

    def linear(self, theirs, ours, width_out, width_in):
        self.take(f"{theirs}.weight", f"{ours}.weight", [width_out, width_in])
        self.take(f"{theirs}.bias", f"{ours}.bias", [width_out])

    def hidden(self, theirs, ours, width_out, width_in):
        self.take(f"{theirs}.0.weight", f"{ours}.weight", [width_out, width_in])
        self.norm(f"{theirs}.1", f"{ours}.norm", width_out)

    def mlp(self, theirs, name, ours, width_in):
        """As many layers as there are: {"layers", "units"}."""
        units = self.shape(f"{theirs}.layers.{name}_linear0.weight", 2)[0]
        layers = 0
        while f"{theirs}.layers.{name}_linear{layers}.weight" in self.tensors:
            self.take(f"{theirs}.layers.{name}_linear{layers}.weight", f"{ours}.mlp.{layers}.weight", [units, width_in])
            self.norm(f"{theirs}.layers.{name}_norm{layers}", f"{ours}.mlp.{layers}.norm", units)
            width_in, layers = units, layers + 1
        return {"layers": layers, "units": units}

    def finish(self):
        if self.rest:
            raise ImportFailure(f"{self.prefix}{min(self.rest)}: no place for it ({len(self.rest)} such)")
        return self.weights


def observation_widths(wm, config):
    """Vector keys in the order in which the encoder concatenates them: the order of the decoder's layers."""
    head = "heads.decoder._mlp.mean_layer."
    widths = {name.removeprefix(head).removesuffix(".weight"): tensor.shape[0]
              for name, tensor in wm.items() if name.startswith(head) and name.endswith(".weight")}
    if not widths:
        raise ImportFailure(f"_wm.{head}*: missing; expected vector observations: images are not served in this version")
    spaces = config.get("spaces")
    if isinstance(spaces, dict):
        said = {key: int(np.prod(shape)) for key, shape in spaces.items()}
        if said != widths:
            raise ImportFailure(f"config: spaces say {said}, the decoder's tensors {widths}; expected the same")
    return widths


def place_world_model(wm, config, widths):
    p = Placer(wm, "_wm.")
    if any(name.startswith("encoder._cnn.") for name in wm):
        raise ImportFailure("_wm.encoder._cnn.*: images are not served in this version; expected vectors only")
    stoch, classes = config["dyn_stoch"], config["dyn_discrete"]
    latent = stoch * classes
    deter = p.shape("dynamics.W", 2)[1]
    hidden, input_width = p.shape("dynamics._img_in_layers.0.weight", 2)
    action = input_width - latent
    if action < 1:
        raise ImportFailure(f"config: dyn_stoch * dyn_discrete is {latent}, the tensors leave room for less than "
                            f"{input_width}; expected an action beside the latent")
    encoder = p.mlp("encoder._mlp", "Encoder", "encoder", sum(widths.values()))
    p.take("dynamics.W", "rssm.initial", [1, deter])
    p.hidden("dynamics._img_in_layers", "rssm.input", hidden, latent + action)
    p.take("dynamics._cell.layers.GRU_linear.weight", "rssm.gru.weight", [3 * deter, hidden + deter])
    p.norm("dynamics._cell.layers.GRU_norm", "rssm.gru.norm", 3 * deter)
    p.hidden("dynamics._img_out_layers", "rssm.prior.mlp.0", hidden, deter)
    p.linear("dynamics._imgs_stat_layer", "rssm.prior.logits", latent, hidden)
    p.hidden("dynamics._obs_out_layers", "rssm.posterior.mlp.0", hidden, deter + encoder["units"])
    p.linear("dynamics._obs_stat_layer", "rssm.posterior.logits", latent, hidden)
    feature = latent + deter
    decoder = p.mlp("heads.decoder._mlp", "Decoder", "decoder", feature)
    for key, width in widths.items():
        p.linear(f"heads.decoder._mlp.mean_layer.{key}", f"decoder.observation.{key}", width, decoder["units"])
    reward = p.mlp("heads.reward", "Reward", "reward", feature)
    p.linear("heads.reward.mean_layer", "reward.logits", 255, reward["units"])
    goes_on = p.mlp("heads.cont", "Cont", "continue", feature)
    p.linear("heads.cont.mean_layer", "continue.logit", 1, goes_on["units"])
    sizes = {"dialect": "dreamer3_torch", "deter": deter, "stoch": stoch, "classes": classes, "hidden": hidden,
             "unimix": find(config, "unimix_ratio", 0.01), "encoder": encoder, "decoder": decoder, "reward": reward,
             "continue": goes_on}
    return p.finish(), sizes, action


def place_behavior(behavior, config, feature, action):
    """Value and actor, where the file has them."""
    p, heads = Placer(behavior, "_task_behavior."), {}
    if "value.mean_layer.weight" in behavior:
        heads["value"] = p.mlp("value", "Value", "value", feature)
        p.linear("value.mean_layer", "value.logits", 255, heads["value"]["units"])
    if "actor.mean_layer.weight" in behavior:
        heads["actor"] = p.mlp("actor", "Actor", "actor", feature)
        p.linear("actor.mean_layer", "actor.mean", action, heads["actor"]["units"])
        p.linear("actor.std_layer", "actor.std", action, heads["actor"]["units"])
        heads["actor"]["min_std"] = find(config, "actor.min_std", 0.1)
        heads["actor"]["max_std"] = find(config, "actor.max_std", 1.0)
    return p.finish(), heads


def check_sizes(config, sizes, action):
    """Wherever config and tensors speak of the same thing they must agree."""
    said = [("dyn_deter", sizes["deter"]), ("dyn_hidden", sizes["hidden"]), ("num_actions", action),
            ("encoder.mlp_layers", sizes["encoder"]["layers"]), ("encoder.mlp_units", sizes["encoder"]["units"]),
            ("decoder.mlp_layers", sizes["decoder"]["layers"]), ("decoder.mlp_units", sizes["decoder"]["units"]),
            ("reward_head.layers", sizes["reward"]["layers"]), ("cont_head.layers", sizes["continue"]["layers"]),
            ("units", sizes["reward"]["units"])]
    if "value" in sizes:
        said.append(("critic.layers", sizes["value"]["layers"]))
    if "actor" in sizes:
        said.append(("actor.layers", sizes["actor"]["layers"]))
    for key, found in said:
        if find(config, key, found) != found:
            raise ImportFailure(f"config: {key} is {find(config, key)!r}, the tensors say {found}; expected the same")


# ---- probe ----

def walk(model, widths, action, seed):
    """One candidate for a probe, and how close its closest argmax was."""
    random = np.random.default_rng(seed)
    shape = (PROBE_STEPS, PROBE_ROWS)
    observations = {key: random.normal(size=(*shape, width)).astype(np.float32) for key, width in widths.items()}
    actions = {verb: random.uniform(-1, 1, (*shape, action)).astype(np.float32) for verb in ("observe", "step")}
    probe = {f"{verb}.in.action": value for verb, value in actions.items()}
    probe |= {f"observe.in.observation.{key}": value for key, value in observations.items()}
    series, margin = {}, np.inf

    def note(verb, state, outputs):
        nonlocal margin
        named = {f"state.{part}": value for part, value in state.items()} | outputs
        for name, value in named.items():
            series.setdefault(f"{verb}.out.{name}", []).append(value)
            if name in ("posterior.logits", "prior.logits"):
                two = np.sort(value, -1)[..., -2:]
                margin = min(margin, (two[..., 1] - two[..., 0]).min())

    state = model.initial(PROBE_ROWS)
    once = {f"initial.out.state.{part}": value for part, value in state.items()}
    once["initial.out.state.first"] = np.ones(PROBE_ROWS)
    gone = {"state.first": np.zeros(PROBE_ROWS)}
    for t in range(PROBE_STEPS):
        embedding = model.encode(np.concatenate([observations[key][t] for key in widths], -1).astype(np.float64))
        consumed = actions["observe"][t].astype(np.float64) * (t > 0)  # a row that was just reset ignores its action
        state, outputs = model.observe(state, consumed, embedding)
        note("observe", state, outputs | model.heads(state) | gone)
        series.setdefault("encode.out.embedding", []).append(embedding)
    for t in range(PROBE_STEPS):
        state, outputs = model.step(state, actions["step"][t].astype(np.float64))
        note("step", state, outputs | model.heads(state) | gone)
    once |= {f"read.out.{name}": value for name, value in model.heads(state).items()}
    probe |= {name: np.stack(values) for name, values in series.items()} | once
    return margin, probe


def make_probe(model, widths, action):
    """Of some random walks the one whose argmaxes are clearest, so that no machine's rounding flips one."""
    return max((walk(model, widths, action, seed) for seed in range(PROBE_TRIES)), key=lambda pair: pair[0])[1]


# ---- all together ----


def planning(config, has_value):
    """A search over the horizon for which the model was trained to imagine, scored as its critic was."""
    settings = {"method": "cem", "horizon": find(config, "imag_horizon", 15), "candidates": 64, "iterations": 3,
                "elites": 8, "warm_start": True, "terminal_value": has_value}
    if has_value:
        settings["discount"] = find(config, "discount", 0.997)
    return settings


def card(name, source, sizes, widths, action, count):
    return f"""# {name}

A DreamerV3 world model (2023, PyTorch) imported from `{source['file']}` of {source['code']}.

* observations: {', '.join(f'{key} [{width}]' for key, width in widths.items())}; actions: {action}, in -1..1
* latent: deter {sizes['deter']}, {sizes['stoch']} x {sizes['classes']} classes; {count:,} weights
* heads: {', '.join(head for head in ('decoder', 'reward', 'continue', 'value', 'actor') if head in sizes)}

How it was trained and how good it is, the file does not say. Its probe was computed by an independent
version of the published equations at import.
"""


def convert(path, config_path, out, name, say):
    config = read_config(config_path)
    saved = torch_file.read(path)
    if not isinstance(saved, dict) or not isinstance(saved.get("agent_state_dict"), dict):
        raise ImportFailure(f"{path}: no agent_state_dict; expected what dreamerv3-torch saves as latest.pt")
    wm, behavior, left = split(saved["agent_state_dict"])
    for key in saved:
        if key != "agent_state_dict":
            left[str(key)] = 1
    widths = observation_widths(wm, config)
    weights, sizes, action = place_world_model(wm, config, widths)
    feature = sizes["stoch"] * sizes["classes"] + sizes["deter"]
    more, heads = place_behavior(behavior, config, feature, action)
    sizes |= heads
    weights |= more
    check_sizes(config, sizes, action)
    checkpoint.check_finite(weights)
    actor = sizes.get("actor", {"min_std": 0.1, "max_std": 1.0})
    model = Model(wm, behavior, sizes["stoch"], sizes["classes"], actor["min_std"], actor["max_std"], list(widths))
    source = {"code": CODE, "file": pathlib.Path(path).name,
              "sha256": hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()}
    manifest = {
        "format": 1, "family": "rssm", "name": name, "config": sizes,
        "observation_space": {"type": "Dict", "spaces": {
            key: {"type": "Box", "shape": [width], "dtype": "float32", "low": None, "high": None}
            for key, width in widths.items()}},
        "action_space": {"type": "Box", "shape": [action], "dtype": "float32", "low": -1, "high": 1},
        "planning": planning(config, "value" in sizes),
        "source": source,
    }
    count = sum(int(weight.size) for weight in weights.values())
    text = card(name, source, sizes, widths, action, count)
    checkpoint.write(out, manifest, weights, make_probe(model, widths, action), text)
    say(f"used: {len(weights)} tensors, {count:,} numbers")
    say("left: " + (", ".join(f"{reason} ({n})" for reason, n in left.items()) or "nothing"))
    say(f"written: {out}")
