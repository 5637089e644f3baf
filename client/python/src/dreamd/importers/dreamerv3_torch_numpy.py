"""The forward pass of the public PyTorch DreamerV3 (2023) in numpy, on its own tensor names.

Written from the published code's equations and not from dreamd's graphs, in float64: it makes
the probe that an imported checkpoint carries, so that loading compares two independent
versions. Every latent is taken at its mode.
"""

import numpy as np

NORM_EPS = 1e-3
BINS = np.linspace(-20.0, 20.0, 255)


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def silu(x):
    return x * sigmoid(x)


def symlog(x):
    return np.sign(x) * np.log1p(np.abs(x))


def symexp(x):
    return np.sign(x) * np.expm1(np.abs(x))


class Model:
    """`wm` and `behavior` are the tensors below `_wm.` and `_task_behavior.`."""

    def __init__(self, wm, behavior, stoch, classes, min_std, max_std, decoder_keys):
        self.wm = {name: value.astype(np.float64) for name, value in wm.items()}
        self.behavior = {name: value.astype(np.float64) for name, value in behavior.items()}
        self.stoch, self.classes = stoch, classes
        self.min_std, self.max_std = min_std, max_std
        self.decoder_keys = decoder_keys

    def norm(self, tensors, name, x):
        centred = x - x.mean(-1, keepdims=True)
        variance = (centred**2).mean(-1, keepdims=True)
        return centred / np.sqrt(variance + NORM_EPS) * tensors[f"{name}.weight"] + tensors[f"{name}.bias"]

    def mlp(self, tensors, prefix, name, x):
        layer = 0
        while f"{prefix}.layers.{name}_linear{layer}.weight" in tensors:
            x = x @ tensors[f"{prefix}.layers.{name}_linear{layer}.weight"].T
            x = silu(self.norm(tensors, f"{prefix}.layers.{name}_norm{layer}", x))
            layer += 1
        return x

    def linear(self, tensors, name, x):
        return x @ tensors[f"{name}.weight"].T + tensors[f"{name}.bias"]

    def hidden(self, name, x):
        return silu(self.norm(self.wm, f"dynamics.{name}.1", x @ self.wm[f"dynamics.{name}.0.weight"].T))

    def logits(self, layers, stats, x):
        flat = self.linear(self.wm, f"dynamics.{stats}", self.hidden(layers, x))
        return flat.reshape(*flat.shape[:-1], self.stoch, self.classes)

    def mode(self, logits):
        return np.eye(self.classes)[logits.argmax(-1)]

    def prior(self, deter):
        return self.logits("_img_out_layers", "_imgs_stat_layer", deter)

    def initial(self, rows):
        deter = np.tanh(np.repeat(self.wm["dynamics.W"], rows, 0))
        return {"deter": deter, "stoch": self.mode(self.prior(deter))}

    def encode(self, observation):
        return self.mlp(self.wm, "encoder._mlp", "Encoder", symlog(observation))

    def advance(self, state, action):
        rows = len(action)
        x = self.hidden("_img_in_layers", np.concatenate([state["stoch"].reshape(rows, -1), action], -1))
        parts = np.concatenate([x, state["deter"]], -1) @ self.wm["dynamics._cell.layers.GRU_linear.weight"].T
        parts = self.norm(self.wm, "dynamics._cell.layers.GRU_norm", parts)
        reset, candidate, update = np.split(parts, 3, -1)
        candidate = np.tanh(sigmoid(reset) * candidate)
        update = sigmoid(update - 1.0)
        return update * candidate + (1.0 - update) * state["deter"]

    def observe(self, state, action, embedding):
        deter = self.advance(state, action)
        logits = self.logits("_obs_out_layers", "_obs_stat_layer", np.concatenate([deter, embedding], -1))
        outputs = {"posterior.logits": logits, "prior.logits": self.prior(deter)}
        return {"deter": deter, "stoch": self.mode(logits)}, outputs

    def step(self, state, action):
        deter = self.advance(state, action)
        logits = self.prior(deter)
        return {"deter": deter, "stoch": self.mode(logits)}, {"prior.logits": logits}

    def bins_mean(self, logits):
        weights = np.exp(logits - logits.max(-1, keepdims=True))
        return symexp((weights * BINS).sum(-1) / weights.sum(-1))

    def heads(self, state):
        rows = len(state["deter"])
        feature = np.concatenate([state["stoch"].reshape(rows, -1), state["deter"]], -1)
        outputs = {}
        x = self.mlp(self.wm, "heads.decoder._mlp", "Decoder", feature)
        for key in self.decoder_keys:
            outputs[f"observation.{key}"] = symexp(self.linear(self.wm, f"heads.decoder._mlp.mean_layer.{key}", x))
        reward = self.linear(self.wm, "heads.reward.mean_layer", self.mlp(self.wm, "heads.reward", "Reward", feature))
        outputs |= {"reward.logits": reward, "reward": self.bins_mean(reward)}
        goes_on = self.linear(self.wm, "heads.cont.mean_layer", self.mlp(self.wm, "heads.cont", "Cont", feature))[..., 0]
        outputs |= {"continue.logit": goes_on, "continue": sigmoid(goes_on)}
        if "value.mean_layer.weight" in self.behavior:
            value = self.linear(self.behavior, "value.mean_layer", self.mlp(self.behavior, "value", "Value", feature))
            outputs |= {"value.logits": value, "value": self.bins_mean(value)}
        if "actor.mean_layer.weight" in self.behavior:
            x = self.mlp(self.behavior, "actor", "Actor", feature)
            mean = np.tanh(self.linear(self.behavior, "actor.mean_layer", x))
            std = sigmoid(self.linear(self.behavior, "actor.std_layer", x) + 2.0)
            std = (self.max_std - self.min_std) * std + self.min_std
            outputs |= {"action": mean, "action.sample": mean, "action.std": std}
        return outputs
