"""PlaNet as google-research/planet has it (TensorFlow 1).

Written from a description of it (repository at c04226b6), not run against it; stored copies of its
source were read before this was written, so it depends on both. Weights have the names that
tf.layers gives in creation order (transition/dense, dense_1 ...; the enclosing scopes are left out) and its
layouts: dense kernel [in, out], conv2d [kh, kw, in, out], conv2d_transpose [kh, kw, out, in]; GRUBlockCell's
w_ru [in + units, 2 units], b_ru, w_c [in + units, units], b_c, by what they do, not by the swapped names of some versions.

Variants: `image` (colour images), `dither` (gray images; its sampled loop draws the dither too). It has a reward
head and nothing else: no actor, no value, no continue.

Where the description leaves room (* marks what the published models/rssm.py decided):
* The latent is deter (belief, which equals rnn_state) and stoch (sample); mean and std are outputs here.
* y = relu(dense(belief)): what their config calls future_rnn *.
* mean and std come of two layers, mean first in creation order *; std = softplus + 0.1.
* Pixels lose three bits, floor(x / 8) / 32 - 0.5, and gain a dither of U[0, 1/32), also when serving. At the mode
  the dither is its mean, 1/64, which the description offers as the deterministic choice; sampled it is u / 32 with u the
  noise of the site `dither`, one a pixel and channel. `image` takes 1/64 in both loops (config.dither: mean).
* Decoded images are on the -0.5..0.5 scale; a pixel is floor(32 (y + 0.5)) * 8, clipped to 0..255.
* The original draws a prior sample while observing, and drops it: nothing is drawn for it here.
"""

import math

import torch
import torch.nn.functional as F

import common

KERNELS = (5, 5, 6, 6)
MEAN_DITHER = 1 / 64


class Planet:
    parts = ("deter", "stoch")

    def __init__(self, config, weights, rows, margins):
        self.config, self.w, self.rows, self.margins = config, weights, rows, margins
        (self.image,) = config["observations"]

    def sites(self, verb):
        latent = ("normal", self.config["stoch"])
        pixels = math.prod(self.config["observations"][self.image]["shape"])
        if verb == "encode" and self.config["dither"] == "sample":
            return {"dither": ("uniform", pixels)}
        return {"observe": {"posterior": latent}, "step": {"prior": latent}}.get(verb, {})

    # ---- layers ----

    def dense(self, name, x, out):
        return x @ self.w.kernel(f"{name}/kernel", [x.shape[-1], out]) + self.w.bias(f"{name}/bias", [out])

    def gru(self, x, h):
        units = self.config["deter"]
        both = torch.cat([x, h], -1)
        width = both.shape[-1]
        gates = both @ self.w.kernel("transition/gru_cell/w_ru", [width, 2 * units])
        reset, update = torch.sigmoid(gates + self.w.bias("transition/gru_cell/b_ru", [2 * units], mean=1.0)).chunk(2, -1)
        candidate = torch.cat([x, reset * h], -1) @ self.w.kernel("transition/gru_cell/w_c", [width, units])
        candidate = torch.tanh(candidate + self.w.bias("transition/gru_cell/b_c", [units]))
        return (1 - update) * candidate + update * h

    # ---- latent ----

    def initial(self):
        return {part: torch.zeros(self.rows, self.config[part], dtype=torch.float64) for part in self.parts}

    def stats(self, mean, std, x):
        return self.dense(mean, x, self.config["stoch"]), F.softplus(self.dense(std, x, self.config["stoch"])) + 0.1

    def prior(self, state, action):
        hidden = self.config["hidden"]
        x = F.relu(self.dense("transition/dense", torch.cat([state["stoch"], action], -1), hidden))
        deter = self.gru(x, state["deter"])
        x = F.relu(self.dense("transition/dense_1", deter, hidden))
        return deter, self.stats("transition/dense_2", "transition/dense_3", x)

    def encode(self, seen, noise):
        dither = noise.get("dither")
        dither = MEAN_DITHER if dither is None else dither.reshape(seen[self.image].shape) / 32
        x = torch.floor(seen[self.image] / 8) / 32 + dither - 0.5
        for i in range(4):
            out, name = self.config["depth"] * 2 ** i, f"encoder/conv2d{f'_{i}' if i else ''}"
            kernel = self.w.kernel(f"{name}/kernel", [4, 4, x.shape[-1], out])
            x = F.relu(common.conv(x, kernel, self.w.bias(f"{name}/bias", [out]), stride=2))
        return {"embedding": x.flatten(1)}

    def observe(self, state, action, embedding, first, noise):
        state = {part: common.zero_where(first, values) for part, values in state.items()}
        deter, prior = self.prior(state, common.zero_where(first, action))
        x = F.relu(self.dense("posterior/dense", torch.cat([deter, embedding], -1), self.config["hidden"]))
        mean, std = self.stats("posterior/dense_1", "posterior/dense_2", x)
        out = {"posterior.mean": mean, "posterior.std": std, "prior.mean": prior[0], "prior.std": prior[1]}
        return {"deter": deter, "stoch": common.normal(mean, std, noise["posterior"])}, out

    def step(self, state, action, noise):
        deter, (mean, std) = self.prior(state, action)
        out = {"prior.mean": mean, "prior.std": std}
        return {"deter": deter, "stoch": common.normal(mean, std, noise["prior"])}, out

    # ---- heads ----

    def decode(self, feature):
        depth, channels = self.config["depth"], self.config["observations"][self.image]["shape"][-1]
        x = self.dense("head_image/dense", feature, 32 * depth)[:, None, None]
        for i, (size, out) in enumerate(zip(KERNELS, (4 * depth, 2 * depth, depth, channels))):
            name = f"head_image/conv2d_transpose{f'_{i}' if i else ''}"
            taps = size * size * x.shape[-1] / (25 if i == 0 else 4)
            kernel = self.w.kernel(f"{name}/kernel", [size, size, out, x.shape[-1]], inputs=taps)
            x = common.deconv(x, kernel, self.w.bias(f"{name}/bias", [out]))
            x = x if i == 3 else F.relu(x)
        return x

    def heads(self, state, noise, full):
        del noise
        x = feature = torch.cat([state["stoch"], state["deter"]], -1)
        for name in ("dense", "dense_1", "dense_2"):
            x = F.relu(self.dense(f"head_reward/{name}", x, self.config["units"]))
        out = {"reward": self.dense("head_reward/dense_3", x, 1)[..., 0]}
        return out | {f"observation.{self.image}": self.decode(feature)} if full else out


SIZES = {"dialect": "planet", "deter": 14, "stoch": 6, "hidden": 12, "units": 10, "reward_layers": 3, "min_std": 0.1,
         "std_act": "softplus", "act": "relu", "depth": 2, "encoder_kernels": [4, 4, 4, 4], "decoder_kernels": list(KERNELS),
         "image_bits": 5, "mean_dither": MEAN_DITHER, "image_output": "x / 255 - 0.5 (5 bits)",
         "weights": "as published, without outer scopes", "action": {"discrete": False, "width": 3, "head": None}}
VARIANTS = {
    "image": SIZES | {"dither": "mean", "observes": 3, "observations": {"image": {"shape": [64, 64, 3]}}},
    "dither": SIZES | {"dither": "sample", "observes": 3, "observations": {"image": {"shape": [64, 64, 1]}}},
}

if __name__ == "__main__":
    common.run(Planet, "rssm/planet", VARIANTS)
