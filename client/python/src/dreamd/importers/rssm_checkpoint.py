"""The last steps that all importers of the family rssm share: manifest, probe, card, and what is said."""

import dataclasses
import pathlib

from . import ImportFailure, checkpoint, placer, probe

DEFAULT_PLANNING = {"method": "cem", "candidates": 64, "iterations": 3, "elites": 8, "warm_start": True}

# As the daemon reads a manifest's spaces and the family rssm its vectors.
KEY_BYTES_MAX, KEYS_MAX, VECTOR_RANK_MAX, ACTION_RANK_MAX = 63, 64, 2, 4


# What rssm.md says holds where a config is silent.
DEFAULTS = {
    "activation": "silu", "cnn_activation": "silu", "blocks": 8, "core_layers": 1,
    "encoder": {"symlog": True}, "decoder": {"symlog": True}, "reward": {"bins": 255}, "value": {"bins": 255},
    "target_value": {"bins": 255}, "actor": {"distribution": "normal", "init_std": 2.0},
}
DIALECT_DEFAULTS = {
    "dreamer3_torch": {"norm_eps": 1e-3, "initial": "learned"},
    "sheeprl": {"norm_eps": 1e-3, "initial": "learned"},
    "dreamer3_jax": {"norm_eps": 1e-4, "initial": "zeros"},
}


def without_defaults(config, defaults):
    """A config that says what is particular, and no more."""
    short = {}
    for key, value in config.items():
        if isinstance(value, dict):
            value = without_defaults(value, defaults.get(key, {}))
        if key not in defaults or value != defaults[key]:
            short[key] = value
    return short


def shorten(config):
    defaults = DEFAULTS | DIALECT_DEFAULTS[config["dialect"]]
    prior = 2 if config["dialect"] == "dreamer3_jax" else 1
    defaults["prior"] = {"layers": prior, "units": config["hidden"]}
    defaults["posterior"] = {"layers": 1, "units": config["hidden"]}
    short = without_defaults(config, defaults)
    return {key: value for key, value in short.items() if value or key not in ("prior", "posterior")}


@dataclasses.dataclass
class Found:
    """What an importer found out: `model` computes it independently, `left` counts tensors by reason."""

    code: str  # the code base's address
    what: str  # "A DreamerV3 world model (2023, PyTorch)"
    config: dict
    observations: dict  # key: probe.Observation, in the order of the space
    action: int
    discrete: bool
    placer: placer.Placer
    model: object
    left: dict
    horizon: int
    discount: float
    action_shape: list | None = None  # of a Box, where it is another than [action]


def check_spaces(observations, action_shape):
    """What no manifest of the family may have is refused here, where nothing is written yet."""
    if len(action_shape or []) > ACTION_RANK_MAX:
        raise ImportFailure(f"an action of shape {action_shape}, expected at most {ACTION_RANK_MAX} dimensions")
    if len(observations) > KEYS_MAX:
        raise ImportFailure(f"{len(observations)} observations, expected at most {KEYS_MAX}")
    for key, entry in observations.items():
        length = len(key.encode("utf-8", "surrogatepass"))
        if not 1 <= length <= KEY_BYTES_MAX or any(c in ".\0" or "\ud800" <= c <= "\udfff" for c in key):
            raise ImportFailure(f"observation {key[:80]!r}: {length} bytes, expected a key of 1 to {KEY_BYTES_MAX} bytes without a dot "
                                "in UTF-8: a manifest may have no other")
        if len(entry.shape or []) > VECTOR_RANK_MAX:
            raise ImportFailure(f"observation {key!r}: a vector of shape {entry.shape}, expected at most {VECTOR_RANK_MAX} dimensions")


def planning(found):
    """A search over the horizon for which the model was trained to imagine, scored as its critic was."""
    settings = DEFAULT_PLANNING | {"horizon": found.horizon, "terminal_value": "value" in found.config}
    if found.discrete:
        settings |= {"min_std": 0.05, "initial_std": 0.5}
    return settings | {"discount": found.discount}


def card(name, source, found, count):
    c = found.config
    latent = f"{c['stoch']} x {c['classes']} classes" if c["classes"] else f"{c['stoch']} Gaussian"
    seen = ", ".join(f"{key} {entry.text()}" for key, entry in found.observations.items())
    action = f"one of {found.action}" if found.discrete else f"{found.action}, in -1..1"
    heads = [head for head in ("decoder", "reward", "continue", "value", "target_value", "actor") if head in c]
    return f"""# {name}

{found.what} imported from `{source['file']}` of {source['code']}.

* observations: {seen}; actions: {action}
* latent: deter {c['deter']}, {latent}; {count:,} weights
* heads: {', '.join(heads)}

How it was trained and how good it is, the file does not say. Its probe was computed by an independent
version of the published equations at import.
"""


def finish(found, path, out, name, say, verbose):
    """Writes the folder, then says what was used and what was left."""
    check_spaces(found.observations, found.action_shape)
    weights = found.placer.finish()
    checkpoint.check_finite(weights)
    source = {"code": found.code, "file": pathlib.Path(path).name, "sha256": checkpoint.digest(path)}
    action = {"type": "Discrete", "n": found.action} if found.discrete else \
        {"type": "Box", "shape": [found.action] if found.action_shape is None else found.action_shape, "dtype": "float32", "low": -1, "high": 1}
    manifest = {
        "format": 1, "family": "rssm", "name": name, "config": shorten(found.config),
        "observation_space": {"type": "Dict", "spaces": {key: entry.space() for key, entry in found.observations.items()}},
        "action_space": action, "planning": planning(found), "source": source,
    }
    count = sum(int(weight.size) for weight in weights.values())
    tensors = probe.make(found.model, found.observations, found.action, found.discrete)
    checkpoint.write(out, manifest, weights, tensors, card(name, source, found, count))
    groups = placer.count_by_group(ours for many in found.placer.moved.values() for ours in many[:1])
    listed = ", ".join(f"{group} ({n})" for group, n in groups.items())
    say(f"used: {len(found.placer.moved)} tensors, {count:,} numbers: {listed}")
    if verbose:
        for theirs, ours in found.placer.moved.items():
            say(f"  {theirs} -> {', '.join(ours)}")
    say("left: " + (", ".join(f"{reason} ({n})" for reason, n in found.left.items()) or "nothing"))
    say(f"written: {out}")
