"""dreamerv3-torch: checkpoints of github.com/NM512/dreamerv3-torch (`latest.pt`) to the family rssm.

The file holds the agent's tensors under `_wm.` (the world model) and `_task_behavior.` (actor and
critic), with `_orig_mod.` in between where the modules were compiled. The same tensors appear
again under `_task_behavior._world_model.` and `_expl_behavior.`; those are left.

Sizes come from the tensors; the run's config is needed for the split of the latent and is
compared with the tensors wherever it says something that they say too. A run does not save its observation space:
vectors are taken in the order of the decoder's layers, or in that of `spaces` ({key: shape}) in the config.
"""

import math
import re

import numpy as np

from . import ImportFailure, config_file, dreamer3_2023, rssm_checkpoint, torch_file
from .dreamer3_2023_numpy import MEANS, STDS, Head, Model, Names, Shape
from .placer import Placer
from .probe import Observation

SOURCE = "dreamerv3-torch"
CODE = "https://github.com/NM512/dreamerv3-torch"
FILE_HELP = "latest.pt"
CONFIG_HELP = "the run's options (configs.yaml with the run's choices applied), JSON or YAML; may carry \"spaces\""
FLAGS = {"verbose": "say of every tensor where it went"}
EXAMPLE = "dreamd-import dreamerv3-torch logdir/latest.pt --config config.json --out walker"

# What is served of the options that change the forward pass: (path in the config, the values that it may have).
SERVED = [
    ("dyn_rec_depth", [1]),
    ("norm", [True]),
    ("encoder.norm", [True]),
    ("encoder.kernel_size", [4]),
    ("decoder.norm", [True]),
    ("decoder.kernel_size", [4]),
    ("decoder.image_dist", ["mse", "normal"]),
    ("decoder.vector_dist", ["symlog_mse", "mse"]),
    ("actor.dist", ["normal", "onehot"]),
    ("actor.std", ["learned"]),
    ("critic.dist", ["symlog_disc"]),
    ("reward_head.dist", ["symlog_disc"]),
]


def check_served(config):
    for key, values in SERVED:
        config.must_be(key, *values)
    activation = config.must_be("act", "SiLU", *dreamer3_2023.ACTIVATIONS)
    for key in ("encoder.act", "decoder.act"):
        if config.get(key, activation) != activation:
            config.fail(key, f"{activation!r}, that of act: one activation for all is served")
    return dreamer3_2023.ACTIVATIONS[activation]


# ---- which tensors there are ----

EXPLORATION = "_expl_behavior."  # the same object as _task_behavior. in most runs, another where the run explores by plan
LEFT = [("_task_behavior._world_model.", "duplicates"),
        ("_task_behavior._slow_value.", "target critic"), ("_task_behavior.ema_vals", "return normalisation")]


def split(state):
    """The tensors of world model and behaviour without `_orig_mod.`, and a count of what was left by reason."""
    used, left, surplus = {}, {}, []
    names = {str(full).replace("_orig_mod.", "") for full in state}
    for full, tensor in state.items():
        name = str(full).replace("_orig_mod.", "")
        reason = next((reason for prefix, reason in LEFT if name.startswith(prefix)), None)
        if name.startswith(EXPLORATION):
            same = name.replace(EXPLORATION, "_task_behavior.", 1)
            reason = "duplicates" if same in names or "._world_model." in name else "exploration"
        if reason:
            left[reason] = left.get(reason, 0) + 1
        elif not name.startswith(("_wm.", "_task_behavior.")) or not isinstance(tensor, np.ndarray):
            surplus.append(str(full)[:200])
        elif name in used:
            raise ImportFailure(f"{full}: there twice, with and without _orig_mod.")
        else:
            used[name] = tensor
    if surplus:
        raise ImportFailure(f"{surplus[0]}: no place for it ({len(surplus)} such); expected _wm.* and _task_behavior.*")
    initial = used.get("_wm.dynamics.W")
    if initial is not None and initial.ndim == 2 and len(initial) == 1:
        used["_wm.dynamics.W"] = initial[0]
    return used, left


def find_names(p, keys):
    """Where a file keeps what; `keys` are those of the decoder's vectors."""
    def mlp(path, name):
        return [(f"{path}.layers.{name}_linear{i}", f"{path}.layers.{name}_norm{i}")
                for i in range(max(1, p.layers(f"{path}.layers.{name}_linear{{}}.weight")))]

    def head(path, name):
        present = any(tensor.startswith(f"{path}.") for tensor in p.tensors)
        return Head(mlp(path, name), f"{path}.mean_layer") if present else None

    def convolutions(path):
        count = 0
        while p.has(f"{path}.layers.{3 * count}.weight"):
            count += 1
        return [(f"{path}.layers.{3 * i}", f"{path}.layers.{3 * i + 1}.norm") for i in range(count)]

    def hidden(name):
        return f"_wm.dynamics.{name}.0", f"_wm.dynamics.{name}.1"

    decoder_cnn = convolutions("_wm.heads.decoder._cnn")
    names = Names(
        initial="_wm.dynamics.W", input=hidden("_img_in_layers"),
        gru=("_wm.dynamics._cell.layers.GRU_linear", "_wm.dynamics._cell.layers.GRU_norm"),
        prior=Head([hidden("_img_out_layers")], "_wm.dynamics._imgs_stat_layer"),
        posterior=Head([hidden("_obs_out_layers")], "_wm.dynamics._obs_stat_layer"),
        encoder_cnn=convolutions("_wm.encoder._cnn"),
        decoder_out={key: f"_wm.heads.decoder._mlp.mean_layer.{key}" for key in keys},
        reward=head("_wm.heads.reward", "Reward"), cont=head("_wm.heads.cont", "Cont"),
        value=head("_task_behavior.value", "Value"), actor=head("_task_behavior.actor", "Actor"))
    if p.has("_wm.encoder._mlp.layers.Encoder_linear0.weight"):
        names.encoder = mlp("_wm.encoder._mlp", "Encoder")
    if keys:
        names.decoder = mlp("_wm.heads.decoder._mlp", "Decoder")
    if decoder_cnn:
        names.decoder_space = "_wm.heads.decoder._cnn._linear_layer"
        names.decoder_cnn = decoder_cnn[:-1] + [(decoder_cnn[-1][0], None)]
    if p.has("_task_behavior.actor.std_layer.weight"):
        names.actor_std = "_task_behavior.actor.std_layer"
    return names


# ---- observations ----

def matching(config, key, spaces, ranks):
    """The names in `spaces` that one of the code base's regular expressions chooses, in their order; all without one."""
    pattern = config.get(key, ".*")
    try:
        return [name for name, shape in spaces.items() if len(shape) in ranks and re.match(str(pattern)[:1000], name)
                and name not in ("is_first", "is_last", "is_terminal", "reward") and not name.startswith("log_")]
    except re.error as error:
        config.fail(key, f"a regular expression ({error})")


def find_vectors(p, config, spaces):
    """{key: width} of the encoder in its order, and which of them the decoder has. The decoder's layers are in the order
    of the observation space."""
    head = "_wm.heads.decoder._mlp.mean_layer."
    decoded = {name.removeprefix(head).removesuffix(".weight"): tensor.shape[0]
               for name, tensor in p.tensors.items() if name.startswith(head) and name.endswith(".weight") and tensor.ndim}
    read = 0
    if p.has("_wm.encoder._mlp.layers.Encoder_linear0.weight"):
        read = p.shape("_wm.encoder._mlp.layers.Encoder_linear0.weight", 2)[1]
    seen = decoded
    if spaces is not None:
        chosen = matching(config, "encoder.mlp_keys", spaces, (1, 2) if config.has("encoder.mlp_keys") else (0, 1, 2))
        seen = {key: math.prod(spaces[key]) for key in chosen}
        for key, width in decoded.items():
            if seen.get(key, width) != width:
                raise ImportFailure(f"{config.path}: spaces say {key} has {seen[key]} numbers, the decoder's tensors "
                                    f"{width}; expected the same")
        if sum(seen.values()) != read:
            raise ImportFailure(f"{config.path}: spaces give the encoder {seen}, its tensors read {read} numbers; "
                                "expected the same")
    missing = [key for key in decoded if key not in seen]
    if missing or not read and decoded:
        raise ImportFailure(f"{head}{next(iter(missing or decoded))}: decoded, but not encoded; expected every decoded "
                            "observation among the encoded ones")
    if sum(seen.values()) != read:
        raise ImportFailure(f"_wm.encoder._mlp.layers.Encoder_linear0.weight: reads {read} numbers, the decoder gives "
                            f"{seen}; expected \"spaces\" in the config, naming every vector in order")
    return seen, [key for key in seen if key in decoded]


def find_images(p, config, names, spaces, units):
    """Only the key `image` is scaled by the code base, so it is the only one."""
    if not names.encoder_cnn:
        if names.decoder_cnn:
            raise ImportFailure(f"{names.decoder_space}: decodes an image that no encoder reads; expected both or none")
        return {}
    deter = p.shape(f"{names.gru[0]}.weight", 2)[0] // 3
    side = dreamer3_2023.image_side(p, names, deter, units)
    channels = p.shape(f"{names.encoder_cnn[0][0]}.weight", 4)[1]
    if spaces is not None:
        keys = matching(config, "encoder.cnn_keys", spaces, (3,))
        if keys != ["image"] or spaces["image"] != [side, side, channels]:
            raise ImportFailure(f"{config.path}: spaces give the encoder the images { {key: spaces[key] for key in keys} }, "
                                f"the tensors read {[side, side, channels]}; expected that one alone, under the key image")
    config.agree("size", [side, side])
    config.agree("grayscale", channels == 1)
    return {"image": (side, side, channels)}


# ---- config ----

def find_shape(config, p):
    if config.get("dyn_discrete") in (False, 0):
        classes = 0
    else:
        classes = config.integer("dyn_discrete", 2)
    shape = Shape(stoch=config.integer("dyn_stoch", 1), classes=classes, vectors={}, images={})
    shape.activation = shape.cnn_activation = check_served(config)
    shape.unimix = config.number("unimix_ratio", 0.01, 0, 1)
    shape.mean_act = config.must_be("dyn_mean_act", "none", *MEANS)
    shape.std_act = config.must_be("dyn_std_act", "sigmoid2", *STDS)
    shape.min_std = config.number("dyn_min_std", 0.1, 0, 100)
    shape.symlog_inputs = config.must_be("encoder.symlog_inputs", True, False)
    shape.symlog_outputs = config.get("decoder.vector_dist", "symlog_mse") == "symlog_mse"
    shape.image_output = "sigmoid" if config.must_be("decoder.cnn_sigmoid", False, True) else "offset"
    shape.actor_min_std = config.number("actor.min_std", 0.1, 0, 100)
    shape.actor_max_std = config.number("actor.max_std", 1.0, shape.actor_min_std, 100)
    shape.actor_unimix = config.number("actor.unimix_ratio", 0.01, 0, 1)
    has_actor = p.has("_task_behavior.actor.mean_layer.weight")
    has_std = p.has("_task_behavior.actor.std_layer.weight")
    shape.discrete_action = config.get("actor.dist", "onehot" if has_actor and not has_std else "normal") == "onehot"
    if has_actor and shape.discrete_action == has_std:
        config.fail("actor.dist", "'normal' with _task_behavior.actor.std_layer, 'onehot' without; the file has it "
                                  + ("" if has_std else "not"))
    return shape


def check_sizes(config, sizes, action):
    said = [("dyn_deter", sizes["deter"]), ("dyn_hidden", sizes["hidden"]), ("num_actions", action)]
    for part in ("encoder", "decoder"):
        if "layers" in sizes.get(part, {}):
            said += [(f"{part}.mlp_layers", sizes[part]["layers"]), (f"{part}.mlp_units", sizes[part]["units"])]
        if "depth" in sizes.get(part, {}):
            said.append((f"{part}.cnn_depth", sizes[part]["depth"]))
    for part, key in (("reward", "reward_head"), ("continue", "cont_head"), ("value", "critic"), ("actor", "actor")):
        if part in sizes:
            said += [(f"{key}.layers", sizes[part]["layers"]), ("units", sizes[part]["units"])]
    for key, found in said:
        config.agree(key, found)


def convert(path, config_path, out, name, say, verbose=False):
    config = config_file.read(config_path)
    saved = torch_file.read(path)
    if not isinstance(saved, dict) or not isinstance(saved.get("agent_state_dict"), dict):
        raise ImportFailure(f"{path}: no agent_state_dict; expected what {SOURCE} saves as latest.pt")
    tensors, left = split(saved["agent_state_dict"])
    for key in saved:
        if key == "optims_state_dict":
            left["optimiser state"] = 1
        elif key != "agent_state_dict":
            raise ImportFailure(f"{str(key)[:200]}: no place for it; expected agent_state_dict and optims_state_dict")
    p, spaces = Placer(tensors), config.spaces()
    shape = find_shape(config, p)
    shape.vectors, decoded = find_vectors(p, config, spaces)
    names = find_names(p, decoded)
    stats = f"{names.prior.out}.weight"
    config.agree_latent("dyn_stoch", "dyn_discrete", stats, p.shape(stats, 2)[0])
    if config.must_be("initial", "learned", "zeros") == "zeros":
        names.initial = None
    units = p.shape(f"{names.encoder[-1][0]}.weight", 2)[0] if names.encoder else 0
    shape.images = find_images(p, config, names, spaces, units)
    if not shape.vectors and not shape.images:
        raise ImportFailure("_wm.encoder.*: missing; expected _cnn, _mlp or both")
    sizes, action = dreamer3_2023.Layout(p, names, shape).place("dreamer3_torch")
    check_sizes(config, sizes, action)
    observations = {key: Observation(size=size) for key, size in shape.images.items()}
    observations |= {key: Observation(width=width, shape=(spaces or {}).get(key)) for key, width in shape.vectors.items()}
    rssm_checkpoint.finish(rssm_checkpoint.Found(
        code=CODE, what="A DreamerV3 world model (2023, PyTorch)", config=sizes, observations=observations,
        action=action, discrete=shape.discrete_action, placer=p, model=Model(tensors, names, shape), left=left,
        horizon=config.integer("imag_horizon", 1, 15), discount=config.number("discount", 0.997, 0, 1),
    ), path, out, name, say, verbose)
