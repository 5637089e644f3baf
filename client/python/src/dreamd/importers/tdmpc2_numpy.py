"""The forward pass of the public TD-MPC2 in numpy, on its own tensor names.

Written from the published equations and not from dreamd's graphs, in float64: it makes the probe that an
imported checkpoint carries, so that loading compares two independent versions. `Model.q` takes the ensemble as
the newer files have it, stacked over the heads: {layer: {"weight", "bias", "ln.weight", "ln.bias"}}.
"""

import numpy as np

NORM_EPS = 1e-5
STRIDES = {2: 2, 4: 2, 6: 2, 8: 1}  # of the convolutions, by their place in the Sequential


def mish(x):
    return x * np.tanh(np.logaddexp(x, 0.0))


def softmax(x):
    weights = np.exp(x - x.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def symexp(x):
    return np.sign(x) * np.expm1(np.abs(x))


def norm(x, weight, bias):
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + NORM_EPS) * weight + bias


def convolve(x, weight, bias, stride):
    """x [rows, channels, height, width], weight [out, in, size, size], no padding."""
    size = weight.shape[-1]
    windows = np.lib.stride_tricks.sliding_window_view(x, (size, size), (2, 3))[:, :, ::stride, ::stride]
    return np.einsum("rchwij,ocij->rohw", windows, weight, optimize=True) + bias[None, :, None, None]


class Model:
    """Of one task: `task` is its row in the tables of a multi-task file, None elsewhere."""

    def __init__(self, tensors, q, sizes, task, embedding, mask):
        # Without the ensembles, most of a large file: `heads` has the one that is served.
        self.tensors = {name: value.astype(np.float64) for name, value in tensors.items() if not name.startswith(("_Qs.", "_target_Qs"))}
        self.heads = {layer: {name: value.astype(np.float64) for name, value in parts.items()} for layer, parts in q.items()}
        self.sizes, self.task = sizes, task
        self.embedding = None if embedding is None else embedding.astype(np.float64)
        self.mask = 1.0 if mask is None else mask.astype(np.float64)

    # ---- layers ----

    def with_task(self, x):
        if self.embedding is None:
            return x
        return np.concatenate([x, np.broadcast_to(self.embedding, (len(x), self.embedding.size))], -1)

    def simnorm(self, x):
        return softmax(x.reshape(len(x), -1, self.sizes["simnorm"])).reshape(len(x), -1)

    def linear(self, name, x):
        return x @ self.tensors[f"{name}.weight"].T + self.tensors[f"{name}.bias"]

    def normed(self, name, x):
        return norm(self.linear(name, x), self.tensors[f"{name}.ln.weight"], self.tensors[f"{name}.ln.bias"])

    def network(self, name, x):
        """Two hidden layers and a plain last one."""
        return self.linear(f"{name}.2", mish(self.normed(f"{name}.1", mish(self.normed(f"{name}.0", x)))))

    def number(self, logits):
        if self.sizes["bins"] == 0:
            return logits[..., 0]
        if self.sizes["bins"] == 1:
            return symexp(logits[..., 0])
        bins = np.linspace(self.sizes["bin_low"], self.sizes["bin_high"], self.sizes["bins"])
        return symexp((softmax(logits) * bins).sum(-1))

    # ---- latent ----

    def encode(self, observation):
        if "channels" in self.sizes["encoder"]:
            x = observation / 255.0 - 0.5
            for place, stride in STRIDES.items():
                x = convolve(x, self.tensors[f"_encoder.rgb.{place}.weight"], self.tensors[f"_encoder.rgb.{place}.bias"], stride)
                x = np.maximum(x, 0.0) if place < 8 else x
            return self.simnorm(x.reshape(len(x), -1))
        x = self.with_task(observation)
        last = self.sizes["encoder"]["layers"] - 1
        for layer in range(last):
            x = mish(self.normed(f"_encoder.state.{layer}", x))
        return self.simnorm(self.normed(f"_encoder.state.{last}", x))

    def next(self, z, action):
        x = np.concatenate([self.with_task(z), action], -1)
        x = mish(self.normed("_dynamics.1", mish(self.normed("_dynamics.0", x))))
        return self.simnorm(self.normed("_dynamics.2", x))

    # ---- heads ----

    def reward(self, z, action):
        logits = self.network("_reward", np.concatenate([self.with_task(z), action], -1))
        return {"reward.logits": logits, "reward": self.number(logits)}

    def q(self, z, action, name):
        """All heads at once: [heads, rows, ...] inside, [rows, heads, ...] outside."""
        x = np.concatenate([self.with_task(z), action], -1)[None]
        for layer in (0, 1):
            parts = self.heads[layer]
            x = x @ parts["weight"].swapaxes(1, 2) + parts["bias"][:, None]
            x = mish(norm(x, parts["ln.weight"][:, None], parts["ln.bias"][:, None]))
        logits = (x @ self.heads[2]["weight"].swapaxes(1, 2) + self.heads[2]["bias"][:, None]).swapaxes(0, 1)
        numbers = self.number(logits)
        return {name: numbers.mean(-1), f"{name}.heads": numbers, f"{name}.logits": logits}

    def at(self, z):
        """What dreamd reads at a latent without an action from outside."""
        net = self.network("_pi", self.with_task(z))
        mean, log_std = np.split(net, 2, -1)
        low, high = self.sizes["log_std_min"], self.sizes["log_std_max"]
        log_std = low + 0.5 * (high - low) * (np.tanh(log_std) + 1.0)
        mode = np.tanh(mean * self.mask)
        outputs = {"action": mode, "action.sample": mode, "action.log_std": log_std * self.mask, "action.parameters": net}
        outputs |= self.q(z, mode, "value")
        if "termination" in self.sizes:
            logit = -self.network("_termination", self.with_task(z))[..., 0]
            outputs |= {"continue.logit": logit, "continue": 1.0 / (1.0 + np.exp(-logit))}
        return outputs

    def state(self, z):
        parts = {"state.z": z}
        if self.task is not None:
            parts["state.task"] = np.tile(np.eye(len(self.sizes["tasks"]))[self.task], (len(z), 1))
        return parts
