"""The forward pass of World Models (TensorFlow, 2018) in numpy, on its own tensors.

Written from the published code's equations and not from dreamd's graphs, in float64: it makes the
probe that an imported checkpoint carries, so that loading compares two independent versions. Every
draw is at its mode.
"""

import numpy as np


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def log_softmax(x):
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def conv(x, kernel, bias):
    """x [n, h, w, in], kernel [k, k, in, out], stride 2, no padding"""
    size = kernel.shape[0]
    windows = np.lib.stride_tricks.sliding_window_view(x, (size, size), (1, 2))[:, ::2, ::2]
    return np.einsum("nijcuv,uvco->nijo", windows, kernel, optimize=True) + bias


def deconv(x, kernel, bias):
    """x [n, h, w, in], kernel [k, k, out, in], stride 2, no padding"""
    rows, height, width, _ = x.shape
    size, _, out, _ = kernel.shape
    y = np.zeros((rows, 2 * (height - 1) + size, 2 * (width - 1) + size, out))
    for i in range(height):
        for j in range(width):
            y[:, 2 * i:2 * i + size, 2 * j:2 * j + size] += np.tensordot(x[:, i, j], kernel, ([1], [3]))
    return y + bias


class Model:
    """`rnn` has kernel, bias, output_w, output_b; `vae` the 22 tensors in the file's order, or None; `controller` the
    flat parameters and how they are read, or None; `start` the mean of z at first [Z]."""

    def __init__(self, sizes, rnn, vae, controller, start):
        self.sizes, self.rnn, self.vae, self.controller, self.start = sizes, rnn, vae, controller, start
        self.margin = np.inf  # by which the closest choice was made

    def initial(self, rows):
        zeros = np.zeros((rows, self.sizes["hidden"]))
        return {"z": np.repeat(self.start[None], rows, 0), "c": zeros, "h": zeros, "restart": np.ones(rows)}

    def encode(self, seen):
        """Pictures in 0..255, or latents as they are."""
        if self.vae is None:
            return {"embedding": seen}
        x = seen / 255.0
        for i in range(4):
            x = np.maximum(conv(x, self.vae[2 * i], self.vae[2 * i + 1]), 0.0)
        x = x.reshape(len(x), -1)
        mean, logvar = x @ self.vae[8] + self.vae[9], x @ self.vae[10] + self.vae[11]
        return {"embedding": mean, "embedding.mean": mean, "embedding.logvar": logvar}

    def decode(self, z):
        if self.vae is None:
            return z
        x = (z @ self.vae[12] + self.vae[13])[:, None, None]
        for i in range(4):
            x = deconv(x, self.vae[14 + 2 * i], self.vae[15 + 2 * i])
            x = sigmoid(x) if i == 3 else np.maximum(x, 0.0)
        return 255.0 * x

    def advance(self, state, action):
        c, h, inputs = state["c"], state["h"], [state["z"], action]
        if self.sizes["restart"]:
            keep = 1.0 - state["restart"][:, None]
            c, h = c * keep, h * keep
            inputs.append(state["restart"][:, None])
        i, j, f, o = np.split(np.concatenate(inputs + [h], -1) @ self.rnn["kernel"] + self.rnn["bias"], 4, -1)
        c = c * sigmoid(f + 1.0) + sigmoid(i) * np.tanh(j)
        return {**state, "c": c, "h": np.tanh(c) * sigmoid(o)}

    def observe(self, state, action, embedding, first):
        state = self.advance(state, action)
        if first:
            state = {**state, "c": 0.0 * state["c"], "h": 0.0 * state["h"]}
        return {**state, "z": embedding, "restart": np.full(len(action), float(first))}

    def step(self, state, action):
        state = self.advance(state, action)
        if self.sizes["double_step"]:
            state = self.advance(state, action)
        y, outputs = state["h"] @ self.rnn["output_w"] + self.rnn["output_b"], {}
        if self.sizes["restart"]:
            logit, y = y[:, 0], y[:, 1:]
            self.margin = min(self.margin, np.abs(logit).min())
            state["restart"] = (logit > 0.0) * 1.0
            outputs = {"done.logit": logit, "continue": 1.0 - state["restart"], "reward": np.ones(len(y))}
        y = y.reshape(len(y), self.sizes["latent"], 3, self.sizes["mixtures"])
        logmix, mean, logstd = log_softmax(y[:, :, 0]), y[:, :, 1], y[:, :, 2]
        if self.sizes["mixtures"] > 1:
            best = np.sort(logmix, -1)
            self.margin = min(self.margin, (best[..., -1] - best[..., -2]).min())
        state["z"] = np.take_along_axis(mean, logmix.argmax(-1)[..., None], -1)[..., 0]
        return state, outputs | {"prior.logmix": logmix, "prior.mean": mean, "prior.logstd": logstd}

    def act(self, state):
        """The flat list of the controller's file, as the published code slices it."""
        how, params, actions = self.controller, self.controller["params"], self.sizes["actions"]
        x = np.concatenate([state[part] for part in how["parts"]], -1)
        if how["hidden"]:
            bias, params = np.split(params, [how["hidden"]])
            weight, params = np.split(params, [x.shape[1] * how["hidden"]])
            x = np.tanh(x @ weight.reshape(x.shape[1], how["hidden"]) + bias)
        bias, params = np.split(params, [actions if how["bias"] else 0])
        y = np.tanh(x @ params.reshape(x.shape[1], actions) + (bias if how["bias"] else 0.0))
        if how["squash"] == "car":
            y[:, 1], y[:, 2] = (y[:, 1] + 1.0) / 2.0, np.clip(y[:, 2], 0.0, 1.0)
        return y

    def heads(self, state, observation):
        outputs = {observation: self.decode(state["z"]).reshape(len(state["z"]), -1)}
        return outputs | ({"action": self.act(state)} if self.controller else {})
