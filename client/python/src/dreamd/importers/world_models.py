"""world-models: JSON files of github.com/hardmaru/WorldModelsExperiments to the family world_models.

The files are nested lists of integers (weights times 10,000) without names or shapes: rnn.json (4
tensors, in one order for CarRacing and in another for Doom), vae.json (22), controller.json (a flat
list and its score), initial_z.json (mean and log-variance of first latents). Which file is which is
seen in what it holds. The MDN-RNN is needed, the others may be missing: without a VAE the latent is
observed as it is.
"""

import pathlib

import numpy as np

from . import ImportFailure, checkpoint, config_file, number_lists
from .world_models_numpy import Model

SOURCE = "world-models"
CODE = "https://github.com/hardmaru/WorldModelsExperiments"
FILE_HELP = "rnn.json, vae.json, controller.json, initial_z.json in any order"
CONFIG_HELP = "JSON or YAML: controller, temperature, double_step, num_mixture, sizes"
FLAGS = {}
EXAMPLE = "dreamd-import world-models rnn.json controller.json initial_z.json --out carracing"
MANY_FILES = True
SCALE = 10000.0
MIXTURES, HIDDEN_UNITS = 5, 40  # of the published models; the tensors do not tell
TEMPERATURE = {False: 0.7, True: 1.25}  # of the published dreams: CarRacing's, Doom's
ENCODER, DECODER, PIXELS = 4, (5, 5, 6, 6), 64
PARTS = {"z": ("z",), "z_h": ("z", "h"), "z_c": ("z", "c"), "z_c_h": ("z", "c", "h"), "z_hidden": ("z",)}
PROBE_ROWS, PROBE_OBSERVES, PROBE_STEPS, PROBE_TRIES = 2, 2, 4, 12

CHOICES = ("controller", "controller_hidden", "temperature", "double_step", "num_mixture")
SIZES = ("rnn_size", "z_size", "output_seq_width", "seq_width", "input_seq_width")
OFF = ("use_layer_norm", "layer_norm")
TRAINING = ("num_steps", "max_seq_len", "batch_size", "learning_rate", "decay_rate", "min_learning_rate", "grad_clip",
            "use_recurrent_dropout", "recurrent_dropout_prob", "use_input_dropout", "input_dropout_prob",
            "use_output_dropout", "output_dropout_prob", "is_training", "kl_tolerance", "restart_factor",
            "is_train", "reuse", "gpu_mode", "steps_per_epoch", "num_epochs", "data_set")


# ---- what is what ----

def depth(value):
    return 1 + depth(value[0]) if isinstance(value, list) and value else 0


def kind_of(value, path):
    if len(value) == 2 and depth(value[0]) == 1 and not isinstance(value[1], list):
        return "controller"
    if len(value) == 2 and depth(value[0]) == depth(value[1]) == 2:
        return "initial_z"
    if len(value) in (4, 22) and all(isinstance(tensor, list) for tensor in value):
        return "rnn" if len(value) == 4 else "vae"
    if len(value) == 10:
        raise ImportFailure(f"{path}: 10 tensors, the decoder alone as the web demo has it; expected the 22 of vae.json")
    raise ImportFailure(f"{path}: a list of {len(value)}, expected the 4 tensors of rnn.json, the 22 of vae.json, "
                        "[parameters, score] of controller.json or [mean, logvar] of initial_z.json")


def read_files(paths):
    """{kind: (path, lists)}"""
    files = {}
    for path in paths:
        value = number_lists.read(path)
        kind = kind_of(value, path)
        if kind in files:
            raise ImportFailure(f"{path}: a second {kind}.json beside {files[kind][0]}; expected one")
        files[kind] = (path, value)
    if "rnn" not in files:
        raise ImportFailure(f"{', '.join(map(str, paths))}: no MDN-RNN among them; expected rnn.json, a list of 4 tensors")
    return files


def tensors_of(files, kind, ranks):
    path, value = files[kind]
    return [number_lists.array(tensor, f"{path}: tensor {i}", rank, integers=True) / SCALE
            for i, (tensor, rank) in enumerate(zip(value, ranks))]


# ---- config ----

def read_config(path):
    config = config_file.read(path) if path else config_file.Config({})
    for key in config.content:
        if key not in CHOICES + SIZES + OFF + TRAINING:
            config.fail(key, f"one of {', '.join(CHOICES + SIZES)}, or what only training reads")
    for key in OFF:
        if config.get(key, 0) not in (0, False):
            config.fail(key, "0: the published models have none")
    for key in ("num_mixture", "controller_hidden"):
        config.integer(key, 1, 1)
    config.number("temperature", 1.0, 0.01, 100)
    config.must_be("double_step", False, True)
    config.must_be("controller", *PARTS)
    return config


def check_sizes(config, sizes):
    said = {"rnn_size": sizes["hidden"], "z_size": sizes["latent"], "output_seq_width": sizes["latent"],
            "seq_width": sizes["latent"], "num_mixture": sizes["mixtures"],
            "input_seq_width": sizes["latent"] + sizes["actions"] + sizes["restart"]}
    for key, found in said.items():
        config.agree(key, found)


# ---- MDN-RNN ----

def name_rnn(path, tensors):
    """The files' two orders: the LSTM's kernel has 4 columns a unit, the output's weight a row a unit."""
    orders = {"car": ("output_w", "output_b", "kernel", "bias"), "doom": ("kernel", "bias", "output_w", "output_b")}
    fits = []
    for names in orders.values():
        rnn = dict(zip(names, tensors))
        units = rnn["output_w"].shape[0]
        if (rnn["kernel"].shape[1] == rnn["bias"].size == 4 * units and rnn["kernel"].shape[0] > units + 1
                and rnn["output_w"].shape[1] == rnn["output_b"].size):
            fits.append(rnn)
    if len(fits) != 1:
        shapes = ", ".join(str(tensor.shape) for tensor in tensors)
        raise ImportFailure(f"{path}: shapes {shapes} fit {'neither order' if not fits else 'both orders'} of tensors; expected "
                            "[H, n], [n], [in + H, 4 H], [4 H] (CarRacing) or [in + H, 4 H], [4 H], [H, n], [n] (Doom)")
    return fits[0]


def rnn_sizes(path, rnn, config, vae):
    units, outputs = rnn["output_w"].shape
    if vae is not None:
        a_component = 3 * vae[9].size
        mixtures, rest = divmod(outputs, a_component)
    else:
        mixtures = config.get("num_mixture", MIXTURES)
        rest = outputs % (3 * mixtures)
    if rest > 1 or outputs < 3 or mixtures < 1:
        raise ImportFailure(f"{path}: {outputs} outputs of the MDN-RNN, expected 3 x {mixtures or MIXTURES} mixtures for each of "
                            f"{vae[9].size if vae is not None else 'Z'} latents, and one more where done is predicted; "
                            "another number of mixtures is num_mixture of --config")
    latent = outputs // (3 * mixtures)
    sizes = {"latent": latent, "hidden": units, "mixtures": mixtures, "restart": bool(rest)}
    sizes["actions"] = rnn["kernel"].shape[0] - units - latent - rest
    if sizes["actions"] < 1:
        raise ImportFailure(f"{path}: the LSTM reads {rnn['kernel'].shape[0]} numbers: {units} of its own and {latent} latents "
                            "leave no action; expected at least one, or another number of mixtures than "
                            f"{mixtures}: num_mixture of --config")
    return sizes


def place_rnn(rnn, sizes):
    """Gates stay i, j, f, o; outputs become all logmix, all means, all logstds."""
    latent, mixtures, done = sizes["latent"], sizes["mixtures"], int(sizes["restart"])
    weight, bias = rnn["output_w"].T, rnn["output_b"]
    units = weight.shape[1]
    weights = {
        "rnn.gates.weight": rnn["kernel"].T, "rnn.gates.bias": rnn["bias"],
        "rnn.output.weight": weight[done:].reshape(latent, 3, mixtures, units).swapaxes(0, 1).reshape(-1, units),
        "rnn.output.bias": bias[done:].reshape(latent, 3, mixtures).swapaxes(0, 1).reshape(-1),
    }
    if done:
        weights |= {"rnn.done.weight": weight[:1], "rnn.done.bias": bias[:1]}
    return weights


# ---- VAE ----

def check_vae(path, vae):
    """Shapes of the 22 tensors follow from five numbers: picture channels and the four layers'."""
    picture, channels = vae[0].shape[2], [vae[2 * i].shape[3] for i in range(4)]
    latent, corner = vae[8].shape[1], 4 * channels[3]
    wanted, width = [], picture
    for out in channels:
        wanted += [(ENCODER, ENCODER, width, out), (out,)]
        width = out
    wanted += [(corner, latent), (latent,)] * 2 + [(latent, corner), (corner,)]
    width = corner
    for kernel, out in zip(DECODER, (channels[2], channels[1], channels[0], picture)):
        wanted += [(kernel, kernel, out, width), (out,)]
        width = out
    for i, (tensor, shape) in enumerate(zip(vae, wanted)):
        if tensor.shape != shape:
            raise ImportFailure(f"{path}: tensor {i}: shape {tensor.shape}, expected {shape}")
    return picture, channels


def place_vae(vae):
    weights = {}
    for i in range(4):
        weights[f"vae.encoder.conv.{i}.weight"] = vae[2 * i].transpose(3, 0, 1, 2)
        weights[f"vae.encoder.conv.{i}.bias"] = vae[2 * i + 1]
        weights[f"vae.decoder.conv.{i}.weight"] = vae[14 + 2 * i].transpose(2, 0, 1, 3)
        weights[f"vae.decoder.conv.{i}.bias"] = vae[15 + 2 * i]
    for i, name in ((8, "encoder.mean"), (10, "encoder.logvar"), (12, "decoder.input")):
        weights[f"vae.{name}.weight"], weights[f"vae.{name}.bias"] = vae[i].T, vae[i + 1]
    return weights


# ---- controller ----

def read_controller(path, params, sizes, config):
    """How the flat list is cut, found by its length: CarRacing's have biases, Doom's have none."""
    actions, fits = sizes["actions"], []
    for mode, parts in PARTS.items():
        width = sum(sizes["latent"] if part == "z" else sizes["hidden"] for part in parts)
        hidden = config.get("controller_hidden", HIDDEN_UNITS) if mode == "z_hidden" else 0
        first = hidden * (width + 1)
        for bias in (True,) if hidden else (not sizes["restart"], sizes["restart"]):
            if config.get("controller", mode) == mode and params.size == first + actions * ((hidden or width) + bias):
                fits.append({"mode": mode, "parts": parts, "bias": bias, "hidden": hidden, "params": params})
    if len(fits) > 1 and {fit["mode"] for fit in fits} == {"z_h", "z_c"}:
        fits = [fit for fit in fits if fit["mode"] == "z_h"]  # as long as z_c, and the published one
    if len(fits) != 1:
        raise ImportFailure(f"{path}: {params.size} parameters fit {len(fits)} kinds of controller of {actions} actions over "
                            f"{sizes['latent']} latents and {sizes['hidden']} units; expected one"
                            + (": say which as controller in --config" if fits else f" of {', '.join(PARTS)}"))
    fits[0]["squash"] = "car" if actions == 3 and not sizes["restart"] else "tanh"
    return fits[0]


def place_controller(how, sizes):
    weights, params = {}, how["params"]
    layers = [("hidden", how["hidden"], True)] if how["hidden"] else []
    width = sum(sizes["latent"] if part == "z" else sizes["hidden"] for part in how["parts"])
    for name, out, bias in layers + [("action", sizes["actions"], how["bias"])]:
        if bias:
            weights[f"controller.{name}.bias"], params = params[:out], params[out:]
        weights[f"controller.{name}.weight"] = params[:width * out].reshape(width, out).T
        params, width = params[width * out:], out
    return weights


# ---- probe ----

def walk(model, sizes, start, picture, observation, temperature, seed):
    """One candidate for a probe, and how close its closest choice was."""
    random = np.random.default_rng(seed)
    rows, actions, series = PROBE_ROWS, sizes["actions"], {}
    low = np.array([-1.0, 0.0, 0.0]) if actions == 3 and not sizes["restart"] else -1.0
    probe = {}
    for verb, steps in (("observe", PROBE_OBSERVES), ("step", PROBE_STEPS)):
        probe[f"{verb}.in.action"] = random.uniform(low, 1.0, (steps, rows, actions)).astype(np.float32)
    if picture:
        blocks = random.integers(0, 240, (PROBE_OBSERVES, rows, 8, 8, picture)).repeat(8, 2).repeat(8, 3)
        seen = (blocks + random.integers(0, 16, blocks.shape)).astype(np.float32)
    else:
        seen = (start + random.normal(size=(PROBE_OBSERVES, rows, start.size))).astype(np.float32)
    probe[f"observe.in.{observation}"] = seen.reshape(PROBE_OBSERVES, rows, -1)
    parts = ("z", "c", "h") + ("restart",) * sizes["restart"]

    def named(state, first):
        more = {"state.first": np.full(rows, first), "state.temperature": np.full(rows, temperature)}
        return {f"state.{part}": state[part] for part in parts} | more

    def note(verb, outputs):
        for name, value in outputs.items():
            series.setdefault(f"{verb}.out.{name}", []).append(value)

    def heads():  # pictures are large: in the last read alone
        return {name: value for name, value in model.heads(state, observation).items() if not picture or name == "action"}

    model.margin = np.inf
    state = model.initial(rows)
    probe |= {f"initial.out.{name}": value for name, value in named(state, 1.0).items()}
    for t in range(PROBE_OBSERVES):
        encoded = model.encode(seen[t].astype(np.float64))
        state = model.observe(state, probe["observe.in.action"][t].astype(np.float64), encoded["embedding"], t == 0)
        note("encode", encoded)
        note("observe", named(state, 0.0) | heads())
    for t in range(PROBE_STEPS):
        state, outputs = model.step(state, probe["step.in.action"][t].astype(np.float64))
        note("step", named(state, 0.0) | outputs | heads())
    probe |= {f"read.out.{name}": value for name, value in model.heads(state, observation).items()}
    return model.margin, probe | {name: np.stack(values) for name, values in series.items()}


# ---- all together ----

def spaces(sizes, picture):
    if picture:
        seen = {"type": "Box", "shape": [PIXELS, PIXELS, picture], "dtype": "uint8", "low": 0, "high": 255}
    else:
        seen = {"type": "Box", "shape": [sizes["latent"]], "dtype": "float32", "low": None, "high": None}
    is_car = sizes["actions"] == 3 and not sizes["restart"]
    return {"observation_space": seen,
            "action_space": {"type": "Box", "shape": [sizes["actions"]], "dtype": "float32",
                             "low": [-1, 0, 0] if is_car else -1, "high": 1}}


def card(name, files, config, sizes, picture, count):
    seen = f"pictures of 64 x 64 x {picture}" if picture else "the latent itself: there is no VAE among the files"
    controller = f"a linear controller over {config['controller']['mode']}" if "controller" in config else "no controller"
    return f"""# {name}

World Models (Ha & Schmidhuber 2018) imported from {', '.join(f'`{pathlib.Path(path).name}`' for path, _ in files.values())}
of {CODE}.

* observations: {seen}; {sizes['actions']} actions; {controller}
* latent: z {sizes['latent']}, LSTM of {sizes['hidden']} units, {sizes['mixtures']} mixtures; {count:,} weights
* heads: {'reward and continue of the dream' if sizes['restart'] else 'no reward, no continue'}
* temperature: {config['temperature']} where a session says nothing else

How it was trained and how good it is, the files do not say. Its probe was computed by an independent
version of the published equations at import.
"""


def read_starts(files, sizes):
    """Mean and log-variance [N, Z] of first latents, or None."""
    if "initial_z" not in files:
        return None
    path = files["initial_z"][0]
    mean, logvar = tensors_of(files, "initial_z", (2, 2))
    if mean.shape != logvar.shape or mean.shape[1] != sizes["latent"]:
        raise ImportFailure(f"{path}: shapes {mean.shape} and {logvar.shape}, expected twice [N, {sizes['latent']}]")
    return mean, logvar


def convert(paths, config_path, out, name, say):
    said = read_config(config_path)
    files = read_files(paths)
    rnn_path = files["rnn"][0]
    ranks = [2, 1, 2, 1]
    rnn = name_rnn(rnn_path, tensors_of(files, "rnn", ranks))
    vae, picture, channels = None, 0, None
    if "vae" in files:
        vae = tensors_of(files, "vae", [4, 1] * 4 + [2, 1] * 3 + [4, 1] * 4)
        picture, channels = check_vae(files["vae"][0], vae)
    sizes = rnn_sizes(rnn_path, rnn, said, vae)
    if vae is not None and vae[9].size != sizes["latent"]:
        raise ImportFailure(f"{files['vae'][0]}: {vae[9].size} latents, {rnn_path} has {sizes['latent']}; expected the same")
    check_sizes(said, sizes)
    sizes["double_step"] = said.get("double_step", False)
    if sizes["double_step"] and sizes["restart"]:
        said.fail("double_step", "false: only the published CarRacing dream steps twice")
    starts = read_starts(files, sizes)
    config = {key: sizes[key] for key in ("latent", "hidden", "mixtures", "restart", "double_step")}
    config |= {"temperature": said.number("temperature", TEMPERATURE[sizes["restart"]], 0.01, 100),
               "starts": 0 if starts is None else len(starts[0])}
    weights, left, how = place_rnn(rnn, sizes), [], None
    if vae is not None:
        config["vae"] = {"channels": channels}
        weights |= place_vae(vae)
    if "controller" in files:
        path, (params, score) = files["controller"]
        how = read_controller(path, number_lists.array(params, f"{path}: parameters", 1).astype(np.float64), sizes, said)
        config["controller"] = {key: how[key] for key in ("mode", "squash", "bias")}
        config["controller"] |= {"hidden": how["hidden"]} if how["hidden"] else {}
        weights |= place_controller(how, sizes)
        left.append(f"the controller's score ({score})")
    if starts is not None:
        weights |= {"initial.mean.weight": starts[0].T, "initial.logvar.weight": starts[1].T}
    weights = {key: np.ascontiguousarray(value, np.float32) for key, value in weights.items()}
    checkpoint.check_finite(weights)
    start = np.zeros(sizes["latent"]) if starts is None else starts[0][0]
    model = Model(sizes, rnn, vae, how, start)
    probe = max((walk(model, sizes, start, picture, "observation", config["temperature"], seed)
                 for seed in range(PROBE_TRIES)), key=lambda pair: pair[0])[1]
    manifest = {"format": 1, "family": "world_models", "name": name, "config": config, **spaces(sizes, picture)}
    if sizes["restart"]:
        manifest["planning"] = {"method": "cem", "horizon": 15, "candidates": 64, "iterations": 3, "elites": 8}
    manifest["source"] = {"code": CODE, "files": {pathlib.Path(path).name: checkpoint.digest(path)
                                                  for path, _ in files.values()}}
    count = sum(int(weight.size) for weight in weights.values())
    checkpoint.write(out, manifest, weights, probe, card(name, files, config, sizes, picture, count))
    used = {"rnn": "4 tensors", "vae": "22 tensors", "controller": "1 list", "initial_z": "2 tables"}
    say("used: " + ", ".join(f"{used[kind]} of {path}" for kind, (path, _) in files.items()) + f": {count:,} numbers")
    say("left: " + (", ".join(left) or "nothing"))
    say(f"written: {out}")
