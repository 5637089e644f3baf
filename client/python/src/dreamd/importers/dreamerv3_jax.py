"""dreamerv3-jax: checkpoints of github.com/danijar/dreamerv3 as it is since 2024 to the family rssm.

FILE is agent.pkl, the folder it is in (`ckpt/TIMESTAMP`), or `ckpt`, whose file `latest` names that folder. It is a
pickle of {"params": {path: numpy array}, "counters": ...}, read without running anything of it. Served are
the paths below enc, dyn, dec, rew, con, pol and val; the optimiser's state, the slow critic and the
normalisers are left. Checkpoints of 2023 have other tensors and are refused.

The run's config.yaml has every option, but no spaces: vectors follow from the decoder's heads, square images from
its first map, the action from the policy's head. What cannot follow the config may say under `spaces`:
{key: [sizes]} or {key: {"shape": [sizes], "classes": n}}, for instance several images, or the action.
"""

import math
import mmap
import pathlib
import re

import numpy as np

from . import ImportFailure, config_file, dreamerv3_jax_spaces, pickle_reader, rssm_checkpoint
from .dreamerv3_jax_numpy import Model, Shape
from .placer import JAX_BLOCKS, JAX_CONV, JAX_LINEAR, Placer

SOURCE = "dreamerv3-jax"
CODE = "https://github.com/danijar/dreamerv3"
FILE_HELP = "agent.pkl, its folder, or the folder ckpt"
CONFIG_HELP = "the run's config.yaml; may carry \"spaces\""
FLAGS = {"verbose": "say of every tensor where it went"}
EXAMPLE = "dreamd-import dreamerv3-jax logdir/ckpt --config logdir/config.yaml --out walker"

NETWORKS = ["agent.dyn.rssm", "agent.enc.simple", "agent.dec.simple", "agent.rewhead", "agent.conhead", "agent.policy",
            "agent.value"]
SERVED = [
    ("agent.dyn.typ", ["rssm"]), ("agent.enc.typ", ["simple"]), ("agent.dec.typ", ["simple"]),
    ("agent.dyn.rssm.absolute", [False]),
    ("agent.enc.simple.outer", [False]), ("agent.enc.simple.strided", [False]),
    ("agent.dec.simple.outer", [False]), ("agent.dec.simple.strided", [False]),
    ("agent.rewhead.output", ["symexp_twohot"]), ("agent.value.output", ["symexp_twohot"]),
    ("agent.conhead.output", ["binary"]),
    ("agent.policy_dist_disc", ["categorical", "onehot"]), ("agent.policy_dist_cont", ["bounded_normal"]),
    *((f"{network}.act", ["silu", "swish"]) for network in NETWORKS),
]
LEFT = {"opt": "optimiser state", "slowval": "slow critic", "slowvalue": "slow critic", "slowval_count": "slow critic",
        "retnorm": "normalisers", "valnorm": "normalisers", "advnorm": "normalisers"}
USED = ("enc", "dyn", "dec", "rew", "con", "pol", "val")
FILE_BYTES_MAX = 1 << 36


# ---- file ----

def find_file(path):
    path = pathlib.Path(path)
    if not path.is_dir():
        return path
    latest = path / "latest"
    if not (path / "agent.pkl").exists() and latest.is_file():
        name = latest.read_text(errors="replace").strip()
        if not re.fullmatch(r"[A-Za-z0-9_.-]{1,200}", name) or name in (".", ".."):
            raise ImportFailure(f"{latest}: says {name[:80]!r}, expected the name of a folder beside it")
        path = path / name
    if (path / "agent.pkl").exists() and not (path / "done").exists():
        raise ImportFailure(f"{path}: no file done: it was not written to its end; expected another checkpoint, "
                            "or agent.pkl itself if it is known to be whole")
    if not (path / "agent.pkl").exists() and (path / "agent-0000.pkl").exists():
        raise ImportFailure(f"{path}: agent-0000.pkl and further parts: a sharded checkpoint is not served, expected agent.pkl")
    return path / "agent.pkl"


def read_pickle(path):
    constructors = pickle_reader.PLAIN | pickle_reader.numpy_constructors()
    try:
        with open(path, "rb") as file:
            size = file.seek(0, 2)
            if not 0 < size <= FILE_BYTES_MAX:
                raise ImportFailure(f"{size} bytes, expected a pickle of 1 to {FILE_BYTES_MAX}")
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            return pickle_reader.load(data, lambda module, name: pickle_reader.find_constructor(constructors, module, name))
    except ImportFailure as failure:
        raise ImportFailure(f"{path}: {failure}") from None
    except OSError as error:
        raise ImportFailure(f"{path}: {error.strerror or error}") from None


def split(path, saved):
    """The served tensors by their paths, and a count of what was left by reason."""
    if not isinstance(saved, dict):
        raise ImportFailure(f"{path}: holds no dict; expected agent.pkl with params and counters")
    keys = [str(key) for key in saved]
    if isinstance(saved.get("agent"), dict) or any(key.startswith("agent/") for key in keys):
        raise ImportFailure(f"{path}: the layout of 2023 (agent/...: dense GRU, layer norms), whose tensors are others; "
                            "expected a checkpoint of the code since 2024: agent.pkl with params")
    params = saved.get("params")
    if not isinstance(params, dict):
        raise ImportFailure(f"{path}: no params; expected agent.pkl with params and counters")
    used, left = {}, {}
    for key in keys:
        if key not in ("params", "counters"):
            raise ImportFailure(f"{path}: {key[:200]}: no place for it; expected params and counters")
    if any(str(name).startswith("agent/") or "/wm/" in str(name) for name in params):
        raise ImportFailure(f"{path}: params named as in 2023 ({next(iter(params))!s:.80}); expected those of the code since 2024")
    for name, value in params.items():
        name = str(name)
        reason = LEFT.get(name.split("/")[0])
        if reason:
            left[reason] = left.get(reason, 0) + 1
            continue
        array = value.array if isinstance(value, pickle_reader.Array) else value
        if name.split("/")[0] not in USED or not isinstance(array, np.ndarray):
            raise ImportFailure(f"{name[:200]}: no place for it; expected arrays below {', '.join(USED)}")
        used[name] = array
    if "counters" in saved:
        left["counters"] = 1
    return used, left


# ---- config ----

def norm_eps(config):
    """rms is 1e-4, rms1em6 says it; one for all is served."""
    found = None
    for network in NETWORKS:
        said = config.get(f"{network}.norm", "rms")
        match = re.fullmatch(r"rms(?:1em(\d{1,2}))?", said) if isinstance(said, str) else None
        if not match:
            config.fail(f"{network}.norm", "'rms' or 'rms1em6' and the like: RMS norms are served")
        eps = 10.0 ** -int(match[1] or 4)
        if found is not None and eps != found:
            config.fail(f"{network}.norm", "that of all other networks: one for all is served")
        found = eps
    return found


# ---- placing ----

class Layout:
    def __init__(self, p, shape):
        self.p, self.shape = p, shape

    def linear(self, theirs, ours, columns, rows=None):
        rows = rows or self.p.shape(f"{theirs}/kernel", 2)[1]
        self.p.take(f"{theirs}/kernel", f"{ours}.weight", [columns, rows], JAX_LINEAR)
        self.p.take(f"{theirs}/bias", f"{ours}.bias", [rows])
        return rows

    def norm(self, theirs, ours, width):
        self.p.take(f"{theirs}/scale", f"{ours}.norm.weight", [width])

    def hidden(self, theirs, norm, ours, columns, rows=None):
        rows = self.linear(theirs, ours, columns, rows)
        self.norm(norm, ours, rows)
        return rows

    def mlp(self, linear, norm, ours, columns):
        layers, units = 0, None
        while layers == 0 or self.p.has(linear.format(layers) + "/kernel"):
            units = columns = self.hidden(linear.format(layers), norm.format(layers), f"{ours}.mlp.{layers}", columns, units)
            layers += 1
        return {"layers": layers, "units": units}

    def blocks(self, theirs, ours, columns, rows):
        """A block-linear layer; its number of groups."""
        groups = self.p.shape(f"{theirs}/kernel", 3)[0]
        if not groups or columns % groups or rows % groups:
            raise ImportFailure(f"{theirs}/kernel: {groups} blocks, expected a divisor of {columns} and {rows}")
        self.p.take(f"{theirs}/kernel", f"{ours}.weight", [groups, columns // groups, rows // groups], JAX_BLOCKS)
        self.p.take(f"{theirs}/bias", f"{ours}.bias", [rows])
        return groups

    def conv(self, theirs, ours, columns, rows=None):
        size, _, _, found = self.p.shape(f"{theirs}/kernel", 4)
        if size % 2 == 0:
            raise ImportFailure(f"{theirs}/kernel: {size} wide, expected an odd number")
        rows = rows or found
        self.p.take(f"{theirs}/kernel", f"{ours}.weight", [size, size, columns, rows], JAX_CONV)
        self.p.take(f"{theirs}/bias", f"{ours}.bias", [rows])
        return rows

    def multiples(self, theirs, depths, kernels, depth):
        """`depth` is the config's: channels are depth times mults."""
        if any(n % depth for n in depths):
            raise ImportFailure(f"{theirs}: {depths} channels, expected multiples of the config's depth, {depth}")
        return {"depth": depth, "kernels": kernels, "mults": [n // depth for n in depths]}

    def encoder(self, depth):
        s, p, config, width = self.shape, self.p, {}, 0
        if s.vectors:
            config |= self.mlp("enc/mlp{}", "enc/mlp{}norm", "encoder", sum(s.vectors.values()))
            config["symlog"] = s.symlog_inputs
            width += config["units"]
        if s.images:
            channels, depths = sum(size[2] for size in s.images.values()), []
            while p.has(f"enc/cnn{len(depths)}/kernel"):
                i = len(depths)
                depths.append(self.conv(f"enc/cnn{i}", f"encoder.conv.{i}", (depths or [channels])[-1]))
                self.norm(f"enc/cnn{i}norm", f"encoder.conv.{i}", depths[-1])
            kernels = [p.tensors[f"enc/cnn{i}/kernel"].shape[0] for i in range(len(depths))]
            config |= self.multiples("enc/cnn*", depths, kernels, depth or math.gcd(*depths))
            height, columns, _ = next(iter(s.images.values()))
            width += (height >> len(depths)) * (columns >> len(depths)) * depths[-1]
        return config, width

    def core(self, deter, latent):
        """Around the GRU: the config's part, and the width of an action."""
        hidden = self.hidden("dyn/dynin0", "dyn/dynin0norm", "rssm.core.deter", deter)
        self.hidden("dyn/dynin1", "dyn/dynin1norm", "rssm.core.stoch", latent, hidden)
        action = self.p.shape("dyn/dynin2/kernel", 2)[0]
        self.hidden("dyn/dynin2", "dyn/dynin2norm", "rssm.core.action", action, hidden)
        groups = self.p.shape("dyn/dynhid0/kernel", 3)[0]
        layers, columns = 0, deter + 3 * hidden * groups
        while layers == 0 or self.p.has(f"dyn/dynhid{layers}/kernel"):
            self.blocks(f"dyn/dynhid{layers}", f"rssm.core.mlp.{layers}", columns, deter)
            self.norm(f"dyn/dynhid{layers}norm", f"rssm.core.mlp.{layers}", deter)
            layers, columns = layers + 1, deter
        if self.blocks("dyn/dyngru", "rssm.gru", deter, 3 * deter) != groups:
            raise ImportFailure(f"dyn/dyngru/kernel: expected {groups} blocks, as dyn/dynhid0 has")
        return {"hidden": hidden, "blocks": groups, "core_layers": layers}, action

    def logits(self, theirs, ours, columns, latent):
        config = self.mlp(f"dyn/{theirs}{{}}", f"dyn/{theirs}{{}}norm", ours, columns)
        self.linear(f"dyn/{theirs}logit", f"{ours}.logits", config["units"], latent)
        return config

    def decoder(self, deter, latent, depth):
        s, config = self.shape, {}
        if s.vectors:
            config |= self.mlp("dec/mlp/linear{}", "dec/mlp/norm{}", "decoder", latent + deter)
            config["symlog"] = s.symlog_outputs
            for key, width in s.vectors.items():
                theirs = f"dec/vec/{key}/{'logits' if key in s.discrete else 'pred'}"
                self.linear(theirs, f"decoder.observation.{key}", config["units"], width)
        if s.images:
            config |= self.decoder_images(deter, latent, depth, config.get("units"))
        return config

    def decoder_images(self, deter, latent, depth, units):
        s, p, depths, kernels = self.shape, self.p, [], []
        while p.has(f"dec/conv{len(depths)}/kernel"):
            kernel = p.shape(f"dec/conv{len(depths)}/kernel", 4)
            kernels.append(kernel[0])
            depths.append(kernel[3])
        last = p.shape("dec/spnorm/scale", 1)[0]
        size = next(iter(s.images.values()))
        cells = (size[0] >> (len(depths) + 1)) * (size[1] >> (len(depths) + 1))
        groups = self.blocks("dec/sp0", "decoder.map.deter", deter, cells * last)
        double = self.hidden("dec/sp1", "dec/sp1norm", "decoder.map.stoch.0", latent, units and 2 * units)
        if double % 2:
            raise ImportFailure(f"dec/sp1/kernel: {double} columns, expected an even number")
        p.take("dec/sp2/kernel", "decoder.map.stoch.1.weight", [double, cells * last], JAX_LINEAR)
        p.take("dec/sp2/bias", "decoder.map.stoch.1.bias", [cells * last])
        self.norm("dec/spnorm", "decoder.map", last)
        columns = last
        for i in reversed(range(len(depths))):
            ours = f"decoder.conv.{len(depths) - 1 - i}"
            self.norm(f"dec/conv{i}norm", ours, self.conv(f"dec/conv{i}", ours, columns, depths[i]))
            columns = depths[i]
        self.conv("dec/imgout", f"decoder.conv.{len(depths)}", columns, sum(size[2] for size in s.images.values()))
        kernels = kernels[::-1] + [p.tensors["dec/imgout/kernel"].shape[0]]
        depths.append(last)
        return {"units": double // 2, "blocks": groups} | self.multiples(
            "dec/conv*", depths, kernels, depth or math.gcd(*depths))

    def head(self, theirs, ours, out, feature):
        """A two-hot or binary head: its config, with its bins."""
        config = self.mlp(f"{theirs}/mlp/linear{{}}", f"{theirs}/mlp/norm{{}}", ours, feature)
        kind = "logit" if out == "logit" else "logits"
        rows = self.linear(f"{theirs}/head/{kind}", f"{ours}.{out}", config["units"], 1 if out == "logit" else None)
        if out == "logit":
            return config
        if rows < 3 or rows % 2 == 0:
            raise ImportFailure(f"{theirs}/head/logits/kernel: {rows} bins, expected an odd number from 3")
        return config | {"bins": rows}

    def actor(self, feature, action):
        s, theirs = self.shape, f"pol/head/{self.shape.action}"
        config = self.mlp("pol/mlp/linear{}", "pol/mlp/norm{}", "actor", feature)
        if s.discrete_action:
            self.linear(f"{theirs}/logits", "actor.logits", config["units"], action)
            return config | {"distribution": "onehot", "unimix": s.actor_unimix}
        self.linear(f"{theirs}/mean", "actor.mean", config["units"], action)
        self.linear(f"{theirs}/stddev", "actor.std", config["units"], action)
        return config | {"distribution": "normal", "min_std": s.min_std, "max_std": s.max_std}

    def place(self, config):
        s, p = self.shape, self.p
        deter, latent = p.shape("dyn/dynhid0/bias", 1)[0], s.stoch * s.classes
        encoder, embedding = self.encoder(config.get("agent.enc.simple.depth"))
        core, action = self.core(deter, latent)
        placed = {"dialect": "dreamer3_jax", "deter": deter, "stoch": s.stoch, "classes": s.classes, "unimix": s.unimix}
        placed |= core | {"norm_eps": s.norm_eps, "prior": self.logits("prior", "rssm.prior", deter, latent)}
        placed["posterior"] = self.logits("obs", "rssm.posterior", deter + embedding, latent)
        placed["encoder"] = encoder
        placed["decoder"] = self.decoder(deter, latent, config.get("agent.dec.simple.depth"))
        for theirs, ours, out in (("rew", "reward", "logits"), ("val", "value", "logits"), ("con", "continue", "logit")):
            if any(name.startswith(f"{theirs}/") for name in p.tensors):
                placed[ours] = self.head(theirs, ours, out, deter + latent)
        if s.action:
            placed["actor"] = self.actor(deter + latent, action)
        return placed, action


def find_shape(config, p, observations, action):
    for key, values in SERVED:
        config.must_be(key, *values)
    stoch = config.integer("agent.dyn.rssm.stoch", 1)
    classes, logits = config.integer("agent.dyn.rssm.classes", 2), "dyn/priorlogit/kernel"
    config.agree_latent("agent.dyn.rssm.stoch", "agent.dyn.rssm.classes", logits, p.shape(logits, 2)[1])
    images = {key: entry.size for key, entry in observations.items() if entry.size}
    vectors = {key: entry.classes or entry.width for key, entry in observations.items() if not entry.size}
    shape = Shape(stoch=stoch, classes=classes, vectors=vectors,
                  discrete={key for key, entry in observations.items() if entry.classes}, images=images,
                  action=action.key, discrete_action=action.discrete)
    shape.unimix = config.number("agent.dyn.rssm.unimix", 0.01, 0, 1)
    shape.norm_eps = norm_eps(config)
    shape.symlog_inputs = config.must_be("agent.enc.simple.symlog", True, False)
    shape.symlog_outputs = config.must_be("agent.dec.simple.symlog", True, False)
    shape.min_std = config.number("agent.policy.minstd", 0.1, 0, 100)
    shape.max_std = config.number("agent.policy.maxstd", 1.0, shape.min_std, 100)
    applied = config.get("agent.policy_dist_disc", "categorical") == "onehot"
    shape.actor_unimix = config.number("agent.policy.unimix", 0.01, 0, 1) if applied else 0.0
    return shape


def discount(config):
    """What a planner multiplies by: nothing where `continue` was trained to hold the discount."""
    if config.must_be("agent.contdisc", True, False):
        return 1.0
    return 1.0 - 1.0 / config.number("agent.horizon", 333, 1, 1e9)


def check_sizes(config, sizes):
    """mults and layers are compared as well: a config of another run rarely agrees in all."""
    rssm = "agent.dyn.rssm."
    said = [(f"{rssm}deter", sizes["deter"]), (f"{rssm}hidden", sizes["hidden"]), (f"{rssm}blocks", sizes["blocks"]),
            (f"{rssm}dynlayers", sizes["core_layers"]), (f"{rssm}imglayers", sizes["prior"]["layers"]),
            (f"{rssm}obslayers", sizes["posterior"]["layers"])]
    for part, key in (("encoder", "enc.simple"), ("decoder", "dec.simple"), ("reward", "rewhead"), ("continue", "conhead"),
                      ("value", "value"), ("actor", "policy")):
        found = sizes.get(part, {})
        said += [(f"agent.{key}.{name}", found[name]) for name in ("layers", "units", "mults", "bins") if name in found]
        said += [(f"agent.{key}.kernel", size) for size in found.get("kernels", [])]
    if "depth" in sizes["decoder"]:
        said.append(("agent.dec.simple.bspace", sizes["decoder"]["blocks"]))
    for key, found in said:
        config.agree(key, found)


def convert(path, config_path, out, name, say, verbose=False):
    config = config_file.read(config_path)
    path = find_file(path)
    tensors, left = split(path, read_pickle(path))
    p = Placer(tensors)
    observations, agent = dreamerv3_jax_spaces.find(p, config)
    shape = find_shape(config, p, observations, agent)
    sizes, action = Layout(p, shape).place(config)
    check_sizes(config, sizes)
    rssm_checkpoint.finish(rssm_checkpoint.Found(
        code=CODE, what="A DreamerV3 world model (2024, JAX)", config=sizes, observations=observations,
        action=action, discrete=shape.discrete_action, placer=p, model=Model(tensors, shape), left=left,
        horizon=config.integer("agent.imag_length", 1, 15), discount=discount(config),
        action_shape=agent.shape,
    ), path, out, name, say, verbose)
