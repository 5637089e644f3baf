"""The forward pass of the JAX DreamerV3 of 2024 in numpy, float64, on its own tensor names.

Written from the published equations and not from dreamd's graphs: it makes the probe that an imported
checkpoint carries, so that loading compares two independent versions. Every choice is taken at its mode.
"""

import dataclasses

import numpy as np

from .layers_numpy import (bins_mean, conv, max_pool, one_hot, rms_norm, sigmoid, silu, symexp, symlog, upsample)


def bins(count):
    """In real space, symmetric, exactly 0 in the middle; `count` is odd."""
    half = symexp(np.linspace(-20.0, 0.0, count // 2 + 1))
    return np.concatenate([half, -half[:-1][::-1]])


@dataclasses.dataclass
class Shape:
    """What the tensors do not tell."""

    stoch: int
    classes: int
    vectors: dict  # key: number of floats, or of classes where the key is in `discrete`
    discrete: set
    images: dict  # key: (height, width, channels), in the order of the space
    action: str | None  # the key of the policy's head
    discrete_action: bool
    unimix: float = 0.01
    norm_eps: float = 1e-4
    symlog_inputs: bool = True
    symlog_outputs: bool = True
    min_std: float = 0.1
    max_std: float = 1.0
    actor_unimix: float = 0.0


class Model:
    def __init__(self, tensors, shape):
        self.w = {name: value.astype(np.float64) for name, value in tensors.items()}
        self.shape = shape

    def count(self, pattern):
        """How many layers of a numbered name there are."""
        layers = 0
        while pattern.format(layers) + "/kernel" in self.w:
            layers += 1
        return layers

    # ---- layers ----

    def linear(self, name, x):
        return x @ self.w[f"{name}/kernel"] + self.w[f"{name}/bias"]

    def block_linear(self, name, x):
        kernel = self.w[f"{name}/kernel"]
        y = np.einsum("...gi,gio->...go", x.reshape(*x.shape[:-1], kernel.shape[0], -1), kernel)
        return y.reshape(*x.shape[:-1], -1) + self.w[f"{name}/bias"]

    def active(self, norm, x):
        return silu(rms_norm(x, self.w[f"{norm}/scale"], self.shape.norm_eps))

    def mlp(self, linear, norm, x):
        for i in range(self.count(linear)):
            x = self.active(norm.format(i), self.linear(linear.format(i), x))
        return x

    def conv(self, name, x):
        kernel = self.w[f"{name}/kernel"]
        return conv(x, kernel, 1, kernel.shape[0] // 2) + self.w[f"{name}/bias"]

    # ---- latent ----

    def initial(self, rows):
        deter = np.zeros((rows, len(self.w["dyn/dynhid0/bias"])))
        return {"deter": deter, "stoch": np.zeros((rows, self.shape.stoch, self.shape.classes))}

    def encode(self, observation):
        """{key: values}: images in 0..255, vectors flat, a Discrete as a one-hot."""
        s, tokens = self.shape, []
        if s.vectors:
            squash = {key: symlog if s.symlog_inputs and key not in s.discrete else lambda x: x for key in s.vectors}
            x = np.concatenate([squash[key](observation[key]) for key in sorted(s.vectors)], -1)
            tokens.append(self.mlp("enc/mlp{}", "enc/mlp{}norm", x))
        if s.images:
            x = np.concatenate([observation[key] for key in sorted(s.images)], -1) / 255.0 - 0.5
            for i in range(self.count("enc/cnn{}")):
                x = self.active(f"enc/cnn{i}norm", max_pool(self.conv(f"enc/cnn{i}", x)))
            tokens.append(x.reshape(len(x), -1))
        return np.concatenate(tokens, -1)

    def advance(self, state, action):
        deter, groups = state["deter"], self.w["dyn/dynhid0/kernel"].shape[0]
        rows = len(deter)
        action = action / np.maximum(1.0, np.abs(action))
        given = np.concatenate([self.active(f"dyn/dynin{i}norm", self.linear(f"dyn/dynin{i}", x))
                                for i, x in enumerate([deter, state["stoch"].reshape(rows, -1), action])], -1)
        each = np.repeat(given[:, None], groups, 1)
        x = np.concatenate([deter.reshape(rows, groups, -1), each], -1).reshape(rows, -1)
        for i in range(self.count("dyn/dynhid{}")):
            x = self.active(f"dyn/dynhid{i}norm", self.block_linear(f"dyn/dynhid{i}", x))
        gates = self.block_linear("dyn/dyngru", x).reshape(rows, groups, 3, -1)
        reset, candidate, update = (gates[:, :, i].reshape(rows, -1) for i in range(3))
        candidate = np.tanh(sigmoid(reset) * candidate)
        update = sigmoid(update - 1.0)
        return update * candidate + (1.0 - update) * deter

    def logits(self, name, x):
        flat = self.linear(f"dyn/{name}", x)
        return flat.reshape(len(flat), self.shape.stoch, self.shape.classes)

    def prior(self, deter):
        return self.logits("priorlogit", self.mlp("dyn/prior{}", "dyn/prior{}norm", deter))

    def observe(self, state, action, embedding):
        deter = self.advance(state, action)
        x = self.mlp("dyn/obs{}", "dyn/obs{}norm", np.concatenate([deter, embedding], -1))
        logits = self.logits("obslogit", x)
        outputs = {"posterior.logits": logits, "prior.logits": self.prior(deter)}
        return {"deter": deter, "stoch": one_hot(logits)}, outputs

    def step(self, state, action):
        deter = self.advance(state, action)
        logits = self.prior(deter)
        return {"deter": deter, "stoch": one_hot(logits)}, {"prior.logits": logits}

    # ---- heads ----

    def decode_vectors(self, state):
        x = np.concatenate([state["stoch"].reshape(len(state["deter"]), -1), state["deter"]], -1)
        x, outputs = self.mlp("dec/mlp/linear{}", "dec/mlp/norm{}", x), {}
        for key in self.shape.vectors:
            if key in self.shape.discrete:
                logits = self.linear(f"dec/vec/{key}/logits", x)
                outputs |= {f"observation.{key}.logits": logits, f"observation.{key}": one_hot(logits)}
            else:
                value = self.linear(f"dec/vec/{key}/pred", x)
                outputs[f"observation.{key}"] = symexp(value) if self.shape.symlog_outputs else value
        return outputs

    def images(self, state):
        """In 0..1, by key."""
        rows, sizes = len(state["deter"]), self.shape.images
        depth = len(self.w["dec/spnorm/scale"])
        shrunk = 2 ** (self.count("dec/conv{}") + 1)
        height, width = (size // shrunk for size in next(iter(sizes.values()))[:2])
        groups = self.w["dec/sp0/kernel"].shape[0]
        x = self.block_linear("dec/sp0", state["deter"]).reshape(rows, groups, height, width, depth // groups)
        x = x.transpose(0, 2, 3, 1, 4).reshape(rows, height, width, depth)
        y = self.active("dec/sp1norm", self.linear("dec/sp1", state["stoch"].reshape(rows, -1)))
        kernel = self.w["dec/sp2/kernel"]
        y = y @ kernel.reshape(kernel.shape[0], -1) + self.w["dec/sp2/bias"].reshape(-1)
        x = self.active("dec/spnorm", x + y.reshape(rows, height, width, depth))
        for i in reversed(range(self.count("dec/conv{}"))):
            x = self.active(f"dec/conv{i}norm", self.conv(f"dec/conv{i}", upsample(x)))
        x = sigmoid(self.conv("dec/imgout", upsample(x)))
        ends = np.cumsum([size[-1] for size in sizes.values()])[:-1]
        return {f"observation.{key}": part for key, part in zip(sizes, np.split(x, ends, -1))}

    def actor(self, feature):
        s, head = self.shape, f"pol/head/{self.shape.action}"
        x = self.mlp("pol/mlp/linear{}", "pol/mlp/norm{}", feature)
        if s.discrete_action:
            logits = self.linear(f"{head}/logits", x)
            return {"action": one_hot(logits), "action.sample": one_hot(logits), "action.logits": logits}
        mean, std = np.tanh(self.linear(f"{head}/mean", x)), self.linear(f"{head}/stddev", x)
        std = (s.max_std - s.min_std) * sigmoid(std + 2.0) + s.min_std
        return {"action": mean, "action.sample": mean, "action.std": std}

    def heads(self, state, images=True):
        feature = np.concatenate([state["deter"], state["stoch"].reshape(len(state["deter"]), -1)], -1)
        outputs = self.decode_vectors(state) if self.shape.vectors else {}
        if self.shape.images and images:
            outputs |= self.images(state)
        for name, path in (("reward", "rew"), ("value", "val")):
            if f"{path}/head/logits/kernel" in self.w:
                logits = self.linear(f"{path}/head/logits", self.mlp(f"{path}/mlp/linear{{}}", f"{path}/mlp/norm{{}}", feature))
                outputs |= {f"{name}.logits": logits, name: bins_mean(logits, bins(logits.shape[-1]))}
        if "con/head/logit/kernel" in self.w:
            logit = self.linear("con/head/logit", self.mlp("con/mlp/linear{}", "con/mlp/norm{}", feature))[..., 0]
            outputs |= {"continue.logit": logit, "continue": sigmoid(logit)}
        return outputs | (self.actor(feature) if self.shape.action else {})
