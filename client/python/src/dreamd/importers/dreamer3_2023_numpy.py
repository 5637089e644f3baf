"""The forward pass of the DreamerV3 of 2023 in numpy, for the two PyTorch code bases that have it.

Written from the published equations and not from dreamd's graphs, in float64, on the tensors as their
file has them: it makes the probe that an imported checkpoint carries, so that loading compares two
independent versions. Every latent is taken at its mode.

Where the two differ `Shape` says so; `Names` is where their files keep each tensor.
"""

import dataclasses

import numpy as np

from .layers_numpy import (ACTIVATIONS, bins_mean, conv, deconv, layer_norm, one_hot, sigmoid, softplus, symexp, symlog)

MEANS = {"none": lambda x: x, "tanh5": lambda x: 5.0 * np.tanh(x / 5.0)}
STDS = {"softplus": softplus, "abs": lambda x: np.abs(x + 1.0), "sigmoid": sigmoid,
        "sigmoid2": lambda x: 2.0 * sigmoid(x / 2.0)}


@dataclasses.dataclass
class Head:
    """A network: hidden layers (linear, norm), and the layer behind them."""

    hidden: list
    out: str


@dataclasses.dataclass
class Names:
    """Where a file keeps the tensors. Lists are empty and names None where the model has no such part."""

    initial: str | None
    input: tuple  # linear, norm
    gru: tuple
    prior: Head
    posterior: Head
    encoder: list = dataclasses.field(default_factory=list)  # (linear, norm)
    encoder_cnn: list = dataclasses.field(default_factory=list)  # (conv, norm)
    decoder: list = dataclasses.field(default_factory=list)
    decoder_out: dict = dataclasses.field(default_factory=dict)  # key: linear
    decoder_space: str | None = None  # the linear layer before the first deconvolution
    decoder_cnn: list = dataclasses.field(default_factory=list)  # (deconv, norm), the last norm None
    reward: Head | None = None
    cont: Head | None = None
    value: Head | None = None
    target_value: Head | None = None
    actor: Head | None = None
    actor_std: str | None = None  # a layer of its own; otherwise actor.out gives mean | std


@dataclasses.dataclass
class Shape:
    """What the tensors do not tell."""

    stoch: int
    classes: int  # 0: Gaussian latents
    vectors: dict  # key: width, in the order of concatenation
    images: dict  # key: (height, width, channels), in the order of concatenation
    unimix: float = 0.01
    activation: str = "silu"
    cnn_activation: str = "silu"
    input_activation: str | None = None  # of the layer before the GRU, where it is not `activation`
    norm_eps: float = 1e-3
    decoupled: bool = False  # the posterior sees the embedding alone
    symlog_inputs: bool = True
    symlog_outputs: bool = True
    gru_state_first: bool = False
    decoder_channels_first: bool = False  # the small image before the deconvolutions
    image_output: str = "offset"  # offset: 0.5 is added; sigmoid
    mean_act: str = "none"
    std_act: str = "sigmoid2"
    min_std: float = 0.1
    discrete_action: bool = False
    actor_min_std: float = 0.1
    actor_max_std: float = 1.0
    actor_init_std: float = 2.0
    actor_unimix: float = 0.01
    continue_mode: bool = False  # imagination goes on where the chance is above one half


class Model:
    def __init__(self, tensors, names, shape):
        self.w = {name: value.astype(np.float64) for name, value in tensors.items()}
        self.names, self.shape = names, shape
        self.activate, self.activate_cnn = ACTIVATIONS[shape.activation], ACTIVATIONS[shape.cnn_activation]
        self.activate_input = ACTIVATIONS[shape.input_activation or shape.activation]

    # ---- layers ----

    def linear(self, name, x):
        y = x @ self.w[f"{name}.weight"].T
        return y + self.w[f"{name}.bias"] if f"{name}.bias" in self.w else y

    def norm(self, name, x):
        return layer_norm(x, self.w[f"{name}.weight"], self.w[f"{name}.bias"], self.shape.norm_eps)

    def mlp(self, layers, x):
        for linear, norm in layers:
            x = self.activate(self.norm(norm, self.linear(linear, x)))
        return x

    def head(self, head, x):
        return self.linear(head.out, self.mlp(head.hidden, x))

    # ---- latent ----

    def distribution(self, head, x):
        """Its parameters by their names, and its mode."""
        flat, s = self.head(head, x), self.shape
        if s.classes:
            logits = flat.reshape(*flat.shape[:-1], s.stoch, s.classes)
            return {"logits": logits}, one_hot(logits)
        mean, std = np.split(flat, 2, -1)
        mean = MEANS[s.mean_act](mean)
        return {"mean": mean, "std": STDS[s.std_act](std) + s.min_std}, mean

    def initial(self, rows):
        deter = np.zeros((rows, self.w[f"{self.names.gru[0]}.weight"].shape[0] // 3))
        if self.names.initial is None:
            size = (self.shape.stoch, self.shape.classes) if self.shape.classes else (self.shape.stoch,)
            return {"deter": deter, "stoch": np.zeros((rows, *size))}
        deter = deter + np.tanh(self.w[self.names.initial].reshape(-1))
        return {"deter": deter, "stoch": self.distribution(self.names.prior, deter)[1]}

    def encode(self, observation):
        """{key: values}: images in 0..255, height x width x channels; vectors flat."""
        s, parts = self.shape, []
        if s.images:
            x = np.concatenate([observation[key] for key in s.images], -1) / 255.0 - 0.5
            for name, norm in self.names.encoder_cnn:
                x = conv(x, self.w[f"{name}.weight"].transpose(2, 3, 1, 0), 2, 1)
                x = self.activate_cnn(self.norm(norm, x))
            parts.append(x.transpose(0, 3, 1, 2).reshape(len(x), -1))
        if s.vectors:
            x = np.concatenate([observation[key] for key in s.vectors], -1)
            parts.append(self.mlp(self.names.encoder, symlog(x) if s.symlog_inputs else x))
        return np.concatenate(parts, -1)

    def advance(self, state, action):
        deter = state["deter"]
        linear, norm = self.names.input
        x = np.concatenate([state["stoch"].reshape(len(deter), -1), action], -1)
        x = self.activate_input(self.norm(norm, self.linear(linear, x)))
        linear, norm = self.names.gru
        both = [deter, x] if self.shape.gru_state_first else [x, deter]
        reset, candidate, update = np.split(self.norm(norm, self.linear(linear, np.concatenate(both, -1))), 3, -1)
        candidate = np.tanh(sigmoid(reset) * candidate)
        update = sigmoid(update - 1.0)
        return update * candidate + (1.0 - update) * deter

    def observe(self, state, action, embedding):
        deter = self.advance(state, action)
        seen = embedding if self.shape.decoupled else np.concatenate([deter, embedding], -1)
        posterior, stoch = self.distribution(self.names.posterior, seen)
        prior, _ = self.distribution(self.names.prior, deter)
        outputs = {f"posterior.{name}": value for name, value in posterior.items()}
        return {"deter": deter, "stoch": stoch}, outputs | {f"prior.{name}": value for name, value in prior.items()}

    def step(self, state, action):
        deter = self.advance(state, action)
        prior, stoch = self.distribution(self.names.prior, deter)
        return {"deter": deter, "stoch": stoch}, {f"prior.{name}": value for name, value in prior.items()}

    # ---- heads ----

    def feature(self, state):
        return np.concatenate([state["stoch"].reshape(len(state["deter"]), -1), state["deter"]], -1)

    def images(self, feature):
        """In 0..1, [rows, height, width, channels] by key."""
        s, x = self.shape, self.linear(self.names.decoder_space, feature)
        channels = self.w[f"{self.names.decoder_cnn[0][0]}.weight"].shape[0]
        side = int(np.sqrt(x.shape[-1] // channels))
        if s.decoder_channels_first:
            x = x.reshape(len(x), channels, side, side).transpose(0, 2, 3, 1)
        else:
            x = x.reshape(len(x), side, side, channels)
        for name, norm in self.names.decoder_cnn:
            x = deconv(x, self.w[f"{name}.weight"].transpose(2, 3, 0, 1), 2, 1)
            x = self.activate_cnn(self.norm(norm, x)) if norm else x + self.w[f"{name}.bias"]
        x = sigmoid(x) if s.image_output == "sigmoid" else x + 0.5
        ends = np.cumsum([size[-1] for size in s.images.values()])[:-1]
        return dict(zip(s.images, np.split(x, ends, -1)))

    def actor(self, feature):
        s, flat = self.shape, self.head(self.names.actor, feature)
        if s.discrete_action:
            mode = one_hot(flat)  # a uniform mixture moves no argmax
            return {"action": mode, "action.sample": mode, "action.logits": flat}
        if self.names.actor_std:
            mean, std = flat, self.linear(self.names.actor_std, self.mlp(self.names.actor.hidden, feature))
        else:
            mean, std = np.split(flat, 2, -1)
        std = (s.actor_max_std - s.actor_min_std) * sigmoid(std + s.actor_init_std) + s.actor_min_std
        return {"action": np.tanh(mean), "action.sample": np.tanh(mean), "action.std": std}

    def heads(self, state, images=True):
        names, feature, outputs = self.names, self.feature(state), {}
        x = self.mlp(names.decoder, feature)
        for key, name in names.decoder_out.items():
            value = self.linear(name, x)
            outputs[f"observation.{key}"] = symexp(value) if self.shape.symlog_outputs else value
        if names.decoder_cnn and images:
            outputs |= {f"observation.{key}": value for key, value in self.images(feature).items()}
        for name, head in (("reward", names.reward), ("value", names.value), ("value.target", names.target_value)):
            if head is not None:
                logits = self.head(head, feature)
                bins = np.linspace(-20.0, 20.0, logits.shape[-1])
                outputs |= {f"{name}.logits": logits, name: symexp(bins_mean(logits, bins))}
        if names.cont is not None:
            logit = self.head(names.cont, feature)[..., 0]
            outputs |= {"continue.logit": logit, "continue": sigmoid(logit)}
            if self.shape.continue_mode:
                outputs["continue.mode"] = (logit > 0).astype(np.float64)
        return outputs | (self.actor(feature) if names.actor is not None else {})
