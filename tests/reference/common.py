"""What the reference programs share: files, weights, noise, layers, and the walk over the verbs.

A program describes one dialect as a class and gives it to run(). The class has

    parts                           names of the latent's parts, as in state.<part>
    sites(verb)                     {site: (kind, width)} of the noise that a verb draws
    initial()                       state: {part: [rows, ...]}
    encode(seen, noise)             {"embedding": [rows, E], ...}
    observe(state, action, embedding, first, noise)    state, outputs
    step(state, action, noise)      state, outputs
    start_inputs(random), start(given, noise)    of a dialect whose steps do not go on from the observes, but from a
                                    start of their own: tables by name, state
    heads(state, noise, full)       outputs; what is large (decoded images, 255 logits) only if `full`: when read
                                    at the mode

and is made with (config, weights, rows, margins). Everything is computed in float64 from weights
and inputs that are exact in float32, and kept in float32: what is left is the rounding of the
program under test alone.

A golden file (README.md) has the weights, and two closed loops from the initial state: one at the
mode of every sampling site, one sampled with noise that the file holds. A choice between
discrete things is only worth comparing if rounding cannot flip it, so every choice notes by how
much it was made (Margins), and seeds are tried until none is close.
"""

import argparse
import json
import math
import pathlib
import struct
import sys
import zlib

import numpy as np
import torch
import torch.nn.functional as F

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "golden"
ROWS, OBSERVES, STEPS, TRIES = 2, 4, 5, 60
BYTES_MAX = 300_000
TOLERANCE = 1e-6  # of a check: the same computation again, perhaps by another build of torch
DTYPES = {"F32": "<f4", "U8": "|u1"}


# ---- files ----


def save(path, tensors, metadata=None):
    """safetensors: float32, and uint8 where the tensor is; metadata {string: string}."""
    header, blobs, offset = {}, [], 0
    if metadata:
        header["__metadata__"] = metadata
    for name in sorted(tensors):
        values = np.asarray(tensors[name])
        dtype = "U8" if values.dtype == np.uint8 else "F32"
        blob = np.ascontiguousarray(values, DTYPES[dtype]).tobytes()
        header[name] = {"dtype": dtype, "shape": list(values.shape), "data_offsets": [offset, offset + len(blob)]}
        blobs.append(blob)
        offset += len(blob)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(len(text) + 8) % 64)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(blobs))


def load(path):
    """{name: array}, metadata"""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + length])
    metadata, tensors = header.pop("__metadata__", {}), {}
    for name, entry in header.items():
        first, limit = (8 + length + offset for offset in entry["data_offsets"])
        tensors[name] = np.frombuffer(data[first:limit], DTYPES[entry["dtype"]]).reshape(entry["shape"]).copy()
    return tensors, metadata


# ---- weights ----


class Weights:
    """Drawn when first asked for, each from (seed, name) alone; or those of a file."""

    def __init__(self, seed=None, tensors=None):
        self.seed, self.tensors, self.used = seed, tensors, {}

    def get(self, name, shape, mean=0.0, std=1.0):
        if name not in self.used:
            if self.tensors is not None:
                values = self.tensors[name]
                assert values.shape == tuple(shape), f"{name} is {values.shape}, expected {tuple(shape)}"
            else:
                random = np.random.default_rng([self.seed, zlib.crc32(name.encode())])
                values = (mean + std * random.normal(size=shape)).astype(np.float32)
            self.used[name] = values
        return torch.from_numpy(self.used[name].astype(np.float64))

    def kernel(self, name, shape, inputs=None):
        """`inputs`: how many numbers one output sums, if not all dimensions but the last."""
        return self.get(name, shape, std=1.7 / math.sqrt(inputs or math.prod(shape[:-1])))

    def bias(self, name, shape, mean=0.0):
        return self.get(name, shape, mean=mean, std=0.3)

    def scale(self, name, shape):
        return self.get(name, shape, mean=1.0, std=0.3)


# ---- choices ----


class Margins:
    """The closest that any choice of a kind came to being another."""

    def __init__(self):
        self.least = {}

    def note(self, kind, values):
        self.least[kind] = min(self.least.get(kind, math.inf), float(values.min()))


def mode(logits, margins, kind):
    """One-hot of the largest logit of the last axis (torch or float64)."""
    best = logits.topk(2).values
    margins.note(f"{kind} logits", best[..., 0] - best[..., 1])
    return F.one_hot(logits.argmax(-1), logits.shape[-1]).double()


def draw(probs, uniform, margins, kind):
    """One-hot by inverse CDF: the first class whose cumulative probability reaches the uniform."""
    cumulative = probs.cumsum(-1)
    margins.note(f"{kind} uniforms", (cumulative[..., :-1] - uniform[..., None]).abs())
    index = (cumulative[..., :-1] < uniform[..., None]).sum(-1)
    return F.one_hot(index, probs.shape[-1]).double()


def normal(mean, std, noise):
    return mean if noise is None else mean + std * noise


# ---- layers: shapes as Keras and JAX keep them ----


def layer_norm(x, scale, shift, eps):
    mean = x.mean(-1, keepdim=True)
    variance = ((x - mean) ** 2).mean(-1, keepdim=True)
    return (x - mean) / torch.sqrt(variance + eps) * scale + shift


def rms_norm(x, scale, eps):
    return x / torch.sqrt((x * x).mean(-1, keepdim=True) + eps) * scale


def conv(x, kernel, bias, stride=1, pad=0):
    """x [n, h, w, in], kernel [kh, kw, in, out]"""
    y = F.conv2d(x.permute(0, 3, 1, 2), kernel.permute(3, 2, 0, 1), bias, stride, pad)
    return y.permute(0, 2, 3, 1)


def deconv(x, kernel, bias, stride=2):
    """out[s i + u, s j + v, o] += x[i, j, c] kernel[u, v, o, c]; kernel [kh, kw, out, in]"""
    y = F.conv_transpose2d(x.permute(0, 3, 1, 2), kernel.permute(3, 2, 0, 1), bias, stride)
    return y.permute(0, 2, 3, 1)


def symlog(x):
    return torch.sign(x) * torch.log1p(torch.abs(x))


def symexp(x):
    return torch.sign(x) * torch.expm1(torch.abs(x))


# ---- the walk ----


def image(random, shape):
    """uint8 blocks with a little noise: something to see, and it packs well."""
    height, width, channels = shape
    blocks = random.integers(0, 240, (height // 8, width // 8, channels))
    blocks = blocks.repeat(8, 0).repeat(8, 1)
    return (blocks + random.integers(0, 16, (height, width, 1))).astype(np.uint8)


def observation(random, space):
    if len(space["shape"]) == 3:
        return image(random, space["shape"])
    if space.get("classes"):
        return np.float32(random.integers(space["classes"]))
    return random.normal(size=space["shape"]).astype(np.float32) * np.float32(2)


def action(random, config):
    width = config["action"]["width"]
    if config["action"]["discrete"]:
        return np.eye(width, dtype=np.float32)[random.integers(width)]
    limit = config["action"].get("tried", 1.0)
    return random.uniform(-limit, limit, width).astype(np.float32)


def observe_count(config):
    """Fewer where images are large."""
    return config.get("observes", OBSERVES)


def step_count(config):
    return config.get("steps", STEPS)


def inputs(config, seed):
    random = np.random.default_rng(seed)
    table = lambda steps, one: np.stack([np.stack([one() for _ in range(ROWS)]) for _ in range(steps)])
    observes = observe_count(config)
    given = {"observe.in.action": table(observes, lambda: action(random, config)),
             "step.in.action": table(step_count(config), lambda: action(random, config))}
    for key, space in config["observations"].items():
        given[f"observe.in.observation.{key}"] = table(observes, lambda: observation(random, space))
    return given


def start_inputs(build, config, seed):
    """VERB start, if the dialect has it."""
    if not hasattr(build, "start_inputs"):
        return {}
    named = build.start_inputs(config, np.random.default_rng([*seed, 1]))
    return {f"start.in.{name}": values.astype(np.float32) for name, values in named.items()}


def noises(model, seed):
    """Of the sampled loop, in which row 1 is reset before its third observe."""
    random = np.random.default_rng(seed)
    observes = observe_count(model.config)
    is_first = np.zeros((observes, ROWS), np.float32)
    is_first[0] = is_first[2, 1] = 1
    given = {"sampled.observe.in.is_first": is_first}
    leadings = {"start": [], "encode": [observes], "observe": [observes], "step": [step_count(model.config)], "read": []}
    for verb, leading in leadings.items():
        for site, (kind, width) in model.sites(verb).items():
            shape = [*leading, ROWS, width]
            values = random.normal(size=shape) if kind == "normal" else random.uniform(1e-3, 1 - 1e-3, shape)
            given[f"sampled.{verb}.in.noise.{site}"] = values.astype(np.float32)
    return given


def walk(model, given, sampled):
    """{name: array} of everything that the verbs give, from the initial state on."""
    prefix = "sampled." if sampled else ""
    series = {}

    def note(verb, outputs):
        for name, value in outputs.items():
            series.setdefault(f"{prefix}{verb}.out.{name}", []).append(value.numpy())

    def states(state, first):
        named = {f"state.{part}": state[part] for part in model.parts}
        return named | {"state.first": torch.full([ROWS], first)}

    def noise_of(verb, t=None):
        if not sampled:
            return {site: None for site in model.sites(verb)}
        tables = {site: torch.from_numpy(given[f"sampled.{verb}.in.noise.{site}"].astype(np.float64))
                  for site in model.sites(verb)}
        return {site: table if t is None else table[t] for site, table in tables.items()}

    state = model.initial()
    note("initial", states(state, 1.0))
    for t in range(observe_count(model.config)):
        noise = noise_of("observe", t) | noise_of("encode", t)
        seen = {key: torch.from_numpy(given[f"observe.in.observation.{key}"][t].astype(np.float64))
                for key in model.config["observations"]}
        first = torch.from_numpy(given["sampled.observe.in.is_first"][t]).double() if sampled \
            else torch.full([ROWS], float(t == 0), dtype=torch.float64)
        encoded = model.encode(seen, noise)
        state, outputs = model.observe(state, torch.from_numpy(given["observe.in.action"][t]).double(),
                                       encoded["embedding"], first, noise)
        if not sampled or model.sites("encode"):
            note("encode", encoded)
        note("observe", states(state, 0.0) | outputs | model.heads(state, noise, full=False))
    if hasattr(model, "start"):
        tables = {name.removeprefix("start.in."): torch.from_numpy(values).double()
                  for name, values in given.items() if name.startswith("start.in.")}
        state = model.start(tables, noise_of("start"))
        note("start", states(state, 1.0))
    for t in range(step_count(model.config)):
        noise = noise_of("step", t)
        state, outputs = model.step(state, torch.from_numpy(given["step.in.action"][t]).double(), noise)
        note("step", states(state, 0.0) | outputs | model.heads(state, noise, full=False))
    note("read", model.heads(state, noise_of("read"), full=not sampled))
    once = (f"{prefix}initial.", f"{prefix}start.", f"{prefix}read.")
    return {name: (values[0] if name.startswith(once) else np.stack(values)).astype(np.float32)
            for name, values in series.items()}


# ---- programs ----


def zero_where(first, values):
    """values [rows, ...], zero in rows where first [rows] is 1"""
    return values * (1 - first).reshape([-1] + [1] * (values.dim() - 1))


def compute(build, config, weights, given, sampled, margins):
    with torch.no_grad():
        return walk(build(config, weights, ROWS, margins), given, sampled)


def best(seeds, attempt):
    """attempt(seed) -> (margins, result): the result whose closest choice is least close."""
    found = None
    for seed in seeds:
        margins, result = attempt(seed)
        least = min(margins.least.values(), default=math.inf)
        if found is None or least > found[0]:
            found = least, seed, margins, result
        if least == math.inf:
            break
    return found[1:]


def make(build, config, path, seed):
    weights = Weights(seed)

    def at_mode(trial):
        margins, given = Margins(), inputs(config, [seed, 1, trial]) | start_inputs(build, config, [seed, 1, trial])
        return margins, (given, compute(build, config, weights, given, False, margins))

    first, margins, (given, outputs) = best(range(TRIES), at_mode)
    model = build(config, weights, ROWS, Margins())

    def sampled(trial):
        found, noise = Margins(), noises(model, [seed, 2, trial])
        return found, (noise, compute(build, config, weights, given | noise, True, found))

    second, found, (noise, drawn) = best(range(TRIES), sampled)
    margins.least |= {f"sampled: {kind}": value for kind, value in found.least.items()}
    tensors = given | noise | outputs | drawn
    tensors |= {f"weight.{name}": values for name, values in weights.used.items()}
    least = {kind: float(f"{value:.3g}") for kind, value in margins.least.items()}
    save(path, tensors, {"config": json.dumps(config), "margins": json.dumps(least),
                         "made": f"seed {seed}, inputs {first}, noise {second}; "
                                 f"torch {torch.__version__}, numpy {np.__version__}, float64"})


def check(build, config, path):
    """The largest difference, relative to max(1, max|y|) of its tensor."""
    tensors, metadata = load(path)
    if json.loads(metadata["config"]) != config:
        sys.exit(f"{path}: config is another than the program's: make it again")
    prefix = "weight."
    weights = Weights(tensors={name[len(prefix):]: values for name, values in tensors.items()
                               if name.startswith(prefix)})
    wanted = {name: values for name, values in tensors.items() if ".out." in name}
    found = {}
    for sampled in (False, True):
        found |= compute(build, config, weights, tensors, sampled, Margins())
    if set(found) != set(wanted):
        sys.exit(f"{path}: holds other outputs: {sorted(set(found) ^ set(wanted))}")
    if set(weights.used) != set(weights.tensors):
        sys.exit(f"{path}: weights unused: {sorted(set(weights.tensors) - set(weights.used))}")
    worst = 0.0
    for name, values in wanted.items():
        error = np.abs(found[name].astype(np.float64) - values).max() / max(1, np.abs(values).max())
        if not error <= TOLERANCE:
            sys.exit(f"{path}: {name} differs by {error:.3g}, at most {TOLERANCE:g}")
        worst = max(worst, error)
    return worst, len(wanted), metadata


def run(build, folder, variants):
    """The program: make every golden of a dialect, or check those that are there."""
    parser = argparse.ArgumentParser(description=sys.modules[build.__module__].__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="compute again and compare with the committed files")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for seed, (name, config) in enumerate(variants.items(), 1):
        path = GOLDEN / folder / f"{name}.safetensors"
        if not options.check:
            make(build, config, path, seed)
        worst, count, metadata = check(build, config, path)
        size = path.stat().st_size
        print(f"{folder}/{name}: {count} outputs, {size} bytes, differs by {worst:.1e}, {metadata['margins']}")
        if size > BYTES_MAX:
            sys.exit(f"{path}: {size} bytes, at most {BYTES_MAX}")
