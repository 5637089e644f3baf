"""sheeprl-dreamerv3: checkpoints of DreamerV3 in github.com/Eclectic-Sheep/sheeprl (`ckpt_*.ckpt`) to the family rssm.

The file is torch.save of a dict: world_model, actor, critic, target_critic, and what only training needs, among it
the whole replay buffer (`rb`): pickled objects of sheeprl's classes. They are stepped over: stand-ins
take their names, keep nothing and do nothing.

The run's config.yaml (one folder above checkpoint/) has no shapes of observations and no kind of action:
both follow from the tensors. Images are [channels, height, width], as sheeprl has them. What cannot follow the config may
say under `spaces` ({key: sizes}): the channels of several images, the widths of vectors that are not decoded.
"""

import math

import numpy as np

from . import ImportFailure, config_file, dreamer3_2023, pickle_reader, rssm_checkpoint, torch_file
from .dreamer3_2023_numpy import Head, Model, Names, Shape
from .placer import Placer
from .probe import Observation

SOURCE = "sheeprl-dreamerv3"
CODE = "https://github.com/Eclectic-Sheep/sheeprl"
FILE_HELP = "checkpoint/ckpt_STEPS_RANK.ckpt"
CONFIG_HELP = "the run's config.yaml, one folder above checkpoint/; may carry \"spaces\""
FLAGS = {"verbose": "say of every tensor where it went"}
EXAMPLE = "dreamd-import sheeprl-dreamerv3 run/checkpoint/ckpt_100000_0.ckpt --config run/config.yaml --out walker"

USED = {"world_model": "world_model.", "actor": "actor.", "critic": "critic.", "target_critic": "target_critic."}
LEFT = {"world_optimizer": "optimiser state", "actor_optimizer": "optimiser state", "critic_optimizer": "optimiser state",
        "moments": "return normalisation", "rb": "replay buffer"}
COUNTERS = {"ratio", "iter_num", "update", "batch_size", "last_log", "last_checkpoint", "policy_step", "expl_decay_steps"}

# Names in a replay buffer; an object of theirs is stepped over. Of numpy what its arrays and generators are made of.
STEPPED_OVER = ("sheeprl.data.buffers", "sheeprl.utils.memmap", "pathlib", "numpy.random._pickle", "numpy.random._generator",
                "numpy.random._pcg64", "numpy.random._mt19937", "numpy.random._philox", "numpy.random._sfc64",
                "numpy.random.bit_generator")


def step_over(module, name):
    if module in STEPPED_OVER or (module, name) in (("collections", "deque"), ("tempfile", "_TemporaryFileWrapper")):
        full = f"{module}.{name}"
        return pickle_reader.Constructor(full, lambda *_: pickle_reader.StandIn(full))
    constructors = pickle_reader.numpy_constructors()
    if (module, name) in constructors:
        return pickle_reader.Constructor(f"{module}.{name}", constructors[module, name])
    return None


def split(saved):
    """The tensors under one name each, and a count of what was left by reason."""
    used, left = {}, {}
    for key, value in saved.items():
        if key in USED:
            if not isinstance(value, dict):
                raise ImportFailure(f"{key}: not a dict of tensors")
            for name, tensor in value.items():
                if not isinstance(tensor, np.ndarray):
                    raise ImportFailure(f"{key}.{str(name)[:200]}: no tensor; expected tensors alone")
                used[USED[key] + str(name).removeprefix("_forward_module.")] = tensor
        elif key in LEFT or key in COUNTERS:
            reason = LEFT.get(key, "counters")
            left[reason] = left.get(reason, 0) + 1
        else:
            raise ImportFailure(f"{str(key)[:200]}: no place for it; expected {', '.join([*USED, *LEFT])}")
    return used, left


# ---- config ----

DENSE = ["algo.dense_act", "algo.world_model.encoder.dense_act", "algo.world_model.observation_model.dense_act",
         "algo.world_model.transition_model.dense_act", "algo.world_model.representation_model.dense_act",
         "algo.world_model.reward_model.dense_act",
         "algo.world_model.discount_model.dense_act", "algo.actor.dense_act", "algo.critic.dense_act"]
CNN = ["algo.cnn_act", "algo.world_model.encoder.cnn_act", "algo.world_model.observation_model.cnn_act"]
NORMS = ["algo.mlp_layer_norm", "algo.cnn_layer_norm", *(
    f"algo.{part}.{kind}" for part, kinds in (
        ("world_model.encoder", ("mlp_layer_norm", "cnn_layer_norm")),
        ("world_model.observation_model", ("mlp_layer_norm", "cnn_layer_norm")),
        *((part, ("layer_norm",)) for part in (
            "world_model.recurrent_model", "world_model.transition_model", "world_model.representation_model",
            "world_model.reward_model", "world_model.discount_model", "actor", "critic"))) for kind in kinds)]


TORCH_NORM_EPS = 1e-5  # of a norm whose keywords say none


def one_of_all(config, keys, default, read):
    """What all options that are there say alike."""
    found, first = None, None
    for key in keys:
        if config.has(key):
            value = read(key)
            if found is not None and value != found:
                config.fail(key, f"the same as {first}, {config.get(first)!r}: one for all is served")
            found, first = value, first or key
    return default if found is None else found


def activation(config, keys):
    allowed = {f"torch.nn.{name}": ours for name, ours in dreamer3_2023.ACTIVATIONS.items()}
    return one_of_all(config, keys, "silu", lambda key: allowed[config.must_be(key, *allowed)])


def norm_eps(config):
    for key in NORMS:
        name = "LayerNormChannelLast" if "cnn" in key else "LayerNorm"
        config.must_be(f"{key}.cls", f"sheeprl.models.models.{name}", f"sheeprl.models.models.{name}FP32")
    keys = [f"{key}.kw" for key in NORMS]
    return one_of_all(config, keys, 1e-3, lambda key: config.number(f"{key}.eps", TORCH_NORM_EPS, 1e-12, 1))


def actor_unimix(config, unimix):
    """The actor is built with algo.unimix; its own option, which later code reads, has to say the same."""
    if config.number("algo.actor.unimix", unimix, 0, 1) != unimix:
        config.fail("algo.actor.unimix", f"algo.unimix, {unimix}: the code gives the actor that one, whatever its own says")
    return unimix


def read_shape(config):
    config.must_be("algo.name", "dreamer_v3")
    config.must_be("algo.actor.cls", "sheeprl.algos.dreamer_v3.agent.Actor")
    config.must_be("distribution.type", "auto", "scaled_normal", "discrete")
    config.must_be("algo.world_model.encoder.symlog_inputs", True)
    shape = Shape(stoch=config.integer("algo.world_model.stochastic_size", 1),
                  classes=config.integer("algo.world_model.discrete_size", 2), vectors={}, images={},
                  gru_state_first=True, input_activation="silu", decoder_channels_first=True, continue_mode=True)
    shape.unimix = config.number("algo.unimix", 0.01, 0, 1)
    shape.activation = activation(config, DENSE)
    shape.cnn_activation = activation(config, CNN)
    shape.norm_eps = norm_eps(config)
    decoupled = "algo.world_model.decoupled_rssm"
    shape.decoupled = config.must_be(decoupled if config.has(decoupled) else "algo.decoupled_rssm", False, True)  # as earlier runs
    shape.actor_min_std = config.number("algo.actor.min_std", 0.1, 0, 1)
    shape.actor_init_std = config.number("algo.actor.init_std", 2.0, -100, 100)
    shape.actor_unimix = actor_unimix(config, shape.unimix)
    config.must_be("algo.actor.action_clip", 1.0)
    return shape


# ---- tensors ----

def find_names(p, config):
    def mlp(path):
        """Hidden layers, each Linear, LayerNorm, activation; then perhaps a last Linear."""
        count = 0
        while p.has(f"{path}.{3 * count + 1}.weight"):
            count += 1
        return [(f"{path}.{3 * i}", f"{path}.{3 * i + 1}") for i in range(max(1, count))], f"{path}.{3 * max(1, count)}"

    def head(path):
        return Head(*mlp(path)) if any(name.startswith(f"{path}.") for name in p.tensors) else None

    world = "world_model."
    cnn, decnn = f"{world}encoder.cnn_encoder.model.0._model", f"{world}observation_model.cnn_decoder.model"
    vectors = f"{world}observation_model.mlp_decoder"
    names = Names(
        initial=f"{world}rssm.initial_recurrent_state",
        input=(f"{world}rssm.recurrent_model.mlp._model.0", f"{world}rssm.recurrent_model.mlp._model.1"),
        gru=(f"{world}rssm.recurrent_model.rnn.linear", f"{world}rssm.recurrent_model.rnn.layer_norm"),
        prior=Head(*mlp(f"{world}rssm.transition_model._model")),
        posterior=Head(*mlp(f"{world}rssm.representation_model._model")),
        reward=head(f"{world}reward_model._model"), cont=head(f"{world}continue_model._model"),
        value=head("critic._model"), target_value=head("target_critic._model"))
    if p.has(f"{cnn}.0.weight"):
        names.encoder_cnn = mlp(cnn)[0]
    if p.has(f"{world}encoder.mlp_encoder.model._model.0.weight"):
        names.encoder = mlp(f"{world}encoder.mlp_encoder.model._model")[0]
    if p.has(f"{vectors}.model._model.0.weight"):
        names.decoder = mlp(f"{vectors}.model._model")[0]
        keys = config.names("algo.mlp_keys.decoder")
        names.decoder_out = {key: f"{vectors}.heads.{i}" for i, key in enumerate(keys)}
    if p.has(f"{decnn}.0.weight"):
        layers, last = mlp(f"{decnn}.2._model")
        names.decoder_space, names.decoder_cnn = f"{decnn}.0", layers + [(last, None)]
    if any(name.startswith("actor.") for name in p.tensors):
        if p.has("actor.mlp_heads.1.weight"):
            raise ImportFailure("actor.mlp_heads.1: an action of several choices (MultiDiscrete), expected one head: "
                                "the only kind that is served")
        names.actor = Head(mlp("actor.model._model")[0], "actor.mlp_heads.0")
    return names


def find_vectors(p, config, names, spaces):
    """{key: width} in the encoder's order: widths are those of the decoder's heads, or of `spaces`."""
    key, keys = "algo.mlp_keys.encoder", config.names("algo.mlp_keys.encoder")
    if bool(keys) != bool(names.encoder):
        config.fail(key, "names where the file has an mlp_encoder, and none where it has not")
    decoded = {name: p.shape(f"{tensor}.weight", 2)[0] for name, tensor in names.decoder_out.items()}
    if surplus := [name for name in decoded if name not in keys]:
        config.fail("algo.mlp_keys.decoder", f"keys that are encoded too, {surplus[0]!r} is not")
    if not keys:
        return {}
    read = p.shape(f"{names.encoder[0][0]}.weight", 2)[1]
    if spaces is not None:
        found = {name: math.prod(shape) for name, shape in told(config, spaces, keys).items()}
        if sum(found.values()) != read or any(found[name] != width for name, width in decoded.items()):
            raise ImportFailure(f"{config.path}: spaces give the encoder {found}, its tensors read {read} numbers, the decoder's give "
                                f"{decoded}; expected the same")
        return found
    unknown = [name for name in keys if name not in decoded]
    if len(unknown) == 1 and read > sum(decoded.values()):
        decoded[unknown[0]] = read - sum(decoded.values())
    elif unknown:
        config.fail(key, f"at most one key that is not decoded: no tensor tells the widths of {unknown}; or 'spaces' in the config, {{key: sizes}}")
    if sum(decoded.values()) != read:
        config.fail(key, f"{read} numbers in all, as the encoder's tensors read; the decoder's give {decoded}")
    return {name: decoded[name] for name in keys}


def told(config, spaces, keys):
    """The encoder's of the spaces, in its order; spaces may have more."""
    if missing := [key for key in keys if key not in spaces]:
        raise ImportFailure(f"{config.path}: spaces lack {missing[0]!r}; expected all of {', '.join(keys)}")
    return {key: spaces[key] for key in keys}


def channels_by_options(config):
    """Of every image, as make_env brings all to one form before it stacks them; None where the config does not say."""
    if not config.has("env.grayscale"):
        return None
    stack = 1 if config.get("env.frame_stack") is None else config.integer("env.frame_stack", -1)
    return (1 if config.must_be("env.grayscale", False, True) else 3) * max(1, stack)


def split_channels(config, spaces, keys, side, channels):
    """{key: its channels}: the encoder reads all images as one, so its tensors tell only the sum."""
    if spaces is not None:
        shapes = told(config, spaces, keys)
        if any(len(shape) != 3 or shape[1:] != [side, side] for shape in shapes.values()) or \
                sum(shape[0] for shape in shapes.values()) != channels:
            raise ImportFailure(f"{config.path}: spaces give the encoder the images {shapes}, its tensors read {channels} channels; "
                                f"expected [channels, {side}, {side}] of every one, and as many channels in all")
        return {key: shape[0] for key, shape in shapes.items()}
    if len(keys) == 1:
        if config.get("env.frame_stack", 1) in (None, 0, 1):
            config.agree("env.grayscale", channels == 1)
        return {keys[0]: channels}
    each = channels_by_options(config)
    if each is None or each * len(keys) != channels:
        options = "env.grayscale does not either" if each is None else f"env.grayscale and env.frame_stack make it {each} each"
        config.fail("algo.cnn_keys.encoder", f"'spaces' in the config, {{key: [channels, {side}, {side}]}}: the tensors read {channels} "
                                             f"channels in all and do not tell whose; {options}")
    return dict.fromkeys(keys, each)


def find_images(p, config, names, spaces, units, decoupled):
    """{key: (height, width, channels)} in the encoder's order."""
    keys = config.names("algo.cnn_keys.encoder")
    if bool(keys) != bool(names.encoder_cnn):
        config.fail("algo.cnn_keys.encoder", "names where the file has a cnn_encoder, and none where it has not")
    decoded = config.names("algo.cnn_keys.decoder")
    if decoded != (keys if names.decoder_cnn else []) and (decoded or names.decoder_cnn):
        config.fail("algo.cnn_keys.decoder", f"the encoder's, {keys}, where the file has a cnn_decoder")
    if not keys:
        return {}
    deter = p.shape(f"{names.gru[0]}.weight", 2)[0] // 3
    side = dreamer3_2023.image_side(p, names, deter, units, decoupled)
    config.agree("env.screen_size", side)
    channels = p.shape(f"{names.encoder_cnn[0][0]}.weight", 4)[1]
    split = split_channels(config, spaces, keys, side, channels)
    return {key: (side, side, count) for key, count in split.items()}


def find_action(p, config, shape, names):
    """Whether actions are continuous: the head's rows are twice the action's columns, or as many."""
    if names.actor is None:
        shape.discrete_action = config.get("distribution.type") == "discrete"
        return
    columns = p.shape(f"{names.input[0]}.weight", 2)[1] - shape.stoch * shape.classes
    rows = p.shape(f"{names.actor.out}.weight", 2)[0]
    if columns < 1 or rows not in (columns, 2 * columns):
        raise ImportFailure(f"{names.actor.out}.weight: {rows} rows, the recurrent model has {columns} columns for an action; "
                            "expected as many (discrete) or twice as many (continuous)")
    shape.discrete_action = rows == columns
    said = config.get("distribution.type", "auto")
    if said != "auto" and (said == "discrete") != shape.discrete_action:
        config.fail("distribution.type", "'discrete'" if shape.discrete_action else "'auto' or 'scaled_normal', as the tensors say")


def check_sizes(config, sizes, shape):
    world = "algo.world_model."
    said = [(f"{world}recurrent_model.recurrent_state_size", sizes["deter"]),
            (f"{world}recurrent_model.dense_units", sizes["hidden"]),
            (f"{world}transition_model.hidden_size", sizes["prior"]["units"]),
            (f"{world}representation_model.hidden_size", sizes["posterior"]["units"])]
    for part, key in (("encoder", f"{world}encoder"), ("decoder", f"{world}observation_model")):
        found = sizes.get(part, {})
        said += [(f"{key}.mlp_layers", found["layers"]), (f"{key}.dense_units", found["units"])] if "layers" in found else []
        said += [(f"{key}.cnn_channels_multiplier", found["depth"])] if "depth" in found else []
    for part, key in (("reward", f"{world}reward_model"), ("continue", f"{world}discount_model"),
                      ("value", "algo.critic"), ("actor", "algo.actor")):
        if part in sizes:
            said += [(f"{key}.mlp_layers", sizes[part]["layers"]), (f"{key}.dense_units", sizes[part]["units"])]
            said += [(f"{key}.bins", sizes[part]["bins"])] if "bins" in sizes[part] else []
    for key, found in said:
        config.agree(key, found)


def convert(path, config_path, out, name, say, verbose=False):
    config = config_file.read(config_path)
    saved = torch_file.read(path, step_over)
    if not isinstance(saved, dict) or not isinstance(saved.get("world_model"), dict):
        raise ImportFailure(f"{path}: no world_model; expected a checkpoint of sheeprl's DreamerV3")
    tensors, left = split(saved)
    p, shape, spaces = Placer(tensors), read_shape(config), config.spaces()
    names = find_names(p, config)
    world, stats = "algo.world_model.", f"{names.prior.out}.weight"
    config.agree_latent(f"{world}stochastic_size", f"{world}discrete_size", stats, p.shape(stats, 2)[0])
    shape.vectors = find_vectors(p, config, names, spaces)
    units = p.shape(f"{names.encoder[-1][0]}.weight", 2)[0] if names.encoder else 0
    shape.images = find_images(p, config, names, spaces, units, shape.decoupled)
    find_action(p, config, shape, names)
    sizes, action = dreamer3_2023.Layout(p, names, shape).place("sheeprl")
    check_sizes(config, sizes, shape)
    observations = {key: Observation(size=size, channels_first=True) for key, size in shape.images.items()}
    observations |= {key: Observation(width=width, shape=(spaces or {}).get(key)) for key, width in shape.vectors.items()}
    rssm_checkpoint.finish(rssm_checkpoint.Found(
        code=CODE, what="A DreamerV3 world model (2023, sheeprl)", config=sizes, observations=observations,
        action=action, discrete=shape.discrete_action, placer=p, model=Model(tensors, names, shape), left=left,
        horizon=config.integer("algo.horizon", 1, 15), discount=config.number("algo.gamma", 1 - 1 / 333, 0, 1),
    ), path, out, name, say, verbose)
