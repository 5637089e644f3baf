"""PlaNet: images of 5 bits with dither, a Gaussian latent, TensorFlow's GRUBlockCell.

Written from a description of the published code alone.

Names are those of the published variables without their outer scopes; dense kernels [in, out], convolutions [kh, kw,
in, out], transposed ones [kh, kw, out, in]. Parts of the state: deter (the belief, which is the GRU's state too) and
stoch.

Where the description leaves room:
* An observe runs the prior, which draws a sample that nothing reads. Only the posterior's noise is an input here.
* dither: "mean" adds the middle of the interval, 1/64; "sample" adds noise / 32 for each number of the image, in its
  order, and 1/64 at the mode.
* A reset zeroes the state and the action before the prior is computed.
* The GRU's kernels are named by what they do (w_ru gates, w_c candidate), whatever a version of TensorFlow called
  them.
* The decoded image keeps the scale of the encoder's input.
"""

import math

import torch
import torch.nn.functional as F

import common

BASE = {
    "dialect": "planet", "deter": 14, "stoch": 6, "hidden": 12, "units": 10, "reward_layers": 3,
    "min_std": 0.1, "std_act": "softplus", "act": "relu",
    "depth": 2, "encoder_kernels": [4, 4, 4, 4], "decoder_kernels": [5, 5, 6, 6],
    "image_bits": 5, "mean_dither": 1 / 64, "image_output": "x / 255 - 0.5 (5 bits)",
    "weights": "as published, without outer scopes",
    "action": {"discrete": False, "width": 3, "head": None},
}
VARIANTS = {
    "image": BASE | {"dither": "mean", "observes": 3, "observations": {"image": {"shape": [64, 64, 3]}}},
    "dither": BASE | {"dither": "sample", "observes": 3, "observations": {"image": {"shape": [64, 64, 1]}}},
}


class Planet:
    parts = ("deter", "stoch")

    def __init__(self, config, weights, rows, margins):
        self.config, self.weights, self.rows = config, weights, rows
        self.shape = config["observations"]["image"]["shape"]

    def sites(self, verb):
        stoch = ("normal", self.config["stoch"])
        found = {"observe": {"posterior": stoch}, "step": {"prior": stoch}}
        if self.config["dither"] == "sample":
            found["encode"] = {"dither": ("uniform", math.prod(self.shape))}
        return found.get(verb, {})

    def initial(self):
        return {part: torch.zeros(self.rows, self.config[part]).double() for part in self.parts}

    # ---- layers ----

    def dense(self, x, name, width):
        kernel = self.weights.kernel(f"{name}/kernel", [x.shape[-1], width])
        return x @ kernel + self.weights.bias(f"{name}/bias", [width])

    def numbered(self, name, index):
        """TensorFlow counts layers of a kind: dense, dense_1, dense_2"""
        return f"{name}_{index}" if index else name

    def gru(self, x, h):
        deter, both = h.shape[-1], x.shape[-1] + h.shape[-1]
        w_ru = self.weights.kernel("transition/gru_cell/w_ru", [both, 2 * deter])
        b_ru = self.weights.bias("transition/gru_cell/b_ru", [2 * deter], mean=1.0)
        w_c = self.weights.kernel("transition/gru_cell/w_c", [both, deter])
        b_c = self.weights.bias("transition/gru_cell/b_c", [deter])
        r, u = torch.sigmoid(torch.cat([x, h], -1) @ w_ru + b_ru).split(deter, -1)
        c = torch.tanh(torch.cat([x, r * h], -1) @ w_c + b_c)
        return (1 - u) * c + u * h

    def gaussian(self, x, scope, first):
        """Mean and standard deviation come from two layers, numbered from `first`."""
        mean = self.dense(x, self.numbered(f"{scope}/dense", first), self.config["stoch"])
        std = self.dense(x, self.numbered(f"{scope}/dense", first + 1), self.config["stoch"])
        return mean, F.softplus(std) + self.config["min_std"]

    # ---- verbs ----

    def encode(self, seen, noise):
        levels = 2 ** self.config["image_bits"]
        dither = noise.get("dither")
        dither = self.config["mean_dither"] if dither is None else dither.reshape(-1, *self.shape) / levels
        x = torch.floor(seen["image"] / (256 // levels)) / levels + dither - 0.5
        for i, size in enumerate(self.config["encoder_kernels"]):
            name, width = self.numbered("encoder/conv2d", i), self.config["depth"] * 2 ** i
            kernel = self.weights.kernel(f"{name}/kernel", [size, size, x.shape[-1], width])
            x = F.relu(common.conv(x, kernel, self.weights.bias(f"{name}/bias", [width]), stride=2))
        return {"embedding": x.flatten(1)}

    def prior(self, state, action):
        x = torch.cat([state["stoch"], action], -1)
        x = F.relu(self.dense(x, "transition/dense", self.config["hidden"]))
        deter = self.gru(x, state["deter"])
        y = F.relu(self.dense(deter, "transition/dense_1", self.config["hidden"]))
        return deter, *self.gaussian(y, "transition", 2)

    def observe(self, state, action, embedding, first, noise):
        state = {part: common.zero_where(first, values) for part, values in state.items()}
        deter, prior_mean, prior_std = self.prior(state, common.zero_where(first, action))
        y = F.relu(self.dense(torch.cat([deter, embedding], -1), "posterior/dense", self.config["hidden"]))
        mean, std = self.gaussian(y, "posterior", 1)
        state = {"deter": deter, "stoch": common.normal(mean, std, noise["posterior"])}
        return state, {"prior.mean": prior_mean, "prior.std": prior_std, "posterior.mean": mean, "posterior.std": std}

    def step(self, state, action, noise):
        deter, mean, std = self.prior(state, action)
        state = {"deter": deter, "stoch": common.normal(mean, std, noise["prior"])}
        return state, {"prior.mean": mean, "prior.std": std}

    def heads(self, state, noise, full):
        features = torch.cat([state["stoch"], state["deter"]], -1)
        x = features
        for i in range(self.config["reward_layers"]):
            x = F.relu(self.dense(x, self.numbered("head_reward/dense", i), self.config["units"]))
        reward = self.dense(x, self.numbered("head_reward/dense", self.config["reward_layers"]), 1)
        outputs = {"reward": reward[:, 0]}
        if full:
            outputs["observation.image"] = self.decode(features)
        return outputs

    def decode(self, features):
        x = self.dense(features, "head_image/dense", 32 * self.config["depth"])[:, None, None, :]
        widths = [self.config["depth"] * scale for scale in (4, 2, 1)] + [self.shape[-1]]
        for i, (size, width) in enumerate(zip(self.config["decoder_kernels"], widths)):
            name, inputs = self.numbered("head_image/conv2d_transpose", i), x.shape[-1]
            kernel = self.weights.kernel(f"{name}/kernel", [size, size, width, inputs], size * size * inputs // 4)
            x = common.deconv(x, kernel, self.weights.bias(f"{name}/bias", [width]))
            x = F.relu(x) if i < 3 else x
        return x


if __name__ == "__main__":
    common.run(Planet, "rssm/planet", VARIANTS)
