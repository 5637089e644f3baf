"""Dreamer v1: images, Keras' GRU, a Gaussian latent, a tanh-normal or one-hot actor.

Written from a description of the published code alone.

The published checkpoints have no names: these are SCOPE/LAYER/{kernel,bias} after the code's layers. Dense kernels
[in, out], convolutions [kh, kw, in, out], transposed ones [kh, kw, out, in]; the GRU's kernels hold z, r, h in this
order, its bias [2, 3 deter] that of the input and that of the state. Parts of the state: deter, stoch.

Where the description leaves room:
* An observe draws a sample of the prior too, which nothing reads. Only the posterior's noise is an input here.
* The published mode of a tanh-normal is the likeliest of 100 draws. Here it is tanh(mean).
* action.mean and action.std are those of the normal before the tanh.
* Exploration noise belongs to the agent, not to the model: there is none.
* continue is the mean of pcont. Its target held the discount, so it does too.
* A reset zeroes the state and the action before the prior is computed.
"""

import math

import torch
import torch.nn.functional as F

import common

BASE = {
    "dialect": "dreamer1", "deter": 14, "hidden": 12, "stoch": 6, "min_std": 0.1, "std_act": "softplus", "units": 10,
    "reward_layers": 2, "value_layers": 3, "pcont_layers": 3, "actor_layers": 4, "dense_act": "elu", "cnn_act": "relu",
    "depth": 2, "encoder_kernels": [4, 4, 4, 4], "decoder_kernels": [5, 5, 6, 6], "image_output": "x / 255 - 0.5",
    "weights": "named after the code's layers",
}
VARIANTS = {
    "continuous": BASE | {"pcont": False, "observes": 3, "observations": {"image": {"shape": [64, 64, 3]}},
                          "action": {"discrete": False, "width": 3, "head": "tanh_normal"}},
    "discrete": BASE | {"pcont": True, "observations": {"image": {"shape": [64, 64, 1]}},
                        "action": {"discrete": True, "width": 4, "head": "onehot"}},
}
INIT_STD, MEAN_SCALE, ACTOR_MIN_STD = 5.0, 5.0, 1e-4


class Dreamer1:
    parts = ("deter", "stoch")

    def __init__(self, config, weights, rows, margins):
        self.config, self.weights, self.rows, self.margins = config, weights, rows, margins
        self.channels = config["observations"]["image"]["shape"][-1]

    def sites(self, verb):
        if verb == "encode":
            return {}
        found = {"observe": {"posterior": ("normal", self.config["stoch"])},
                 "step": {"prior": ("normal", self.config["stoch"])}}.get(verb, {})
        wanted = ("uniform", 1) if self.config["action"]["discrete"] else ("normal", self.config["action"]["width"])
        return found | {"action": wanted}

    def initial(self):
        return {part: torch.zeros(self.rows, self.config[part]).double() for part in self.parts}

    # ---- layers ----

    def dense(self, x, name, width):
        kernel = self.weights.kernel(f"{name}/kernel", [x.shape[-1], width])
        return x @ kernel + self.weights.bias(f"{name}/bias", [width])

    def hidden(self, x, name):
        return F.elu(self.dense(x, f"rnn/{name}", self.config["hidden"]))

    def mlp(self, x, head, layers, width):
        for i in range(layers):
            x = F.elu(self.dense(x, f"{head}/h{i}", self.config["units"]))
        return self.dense(x, f"{head}/hout", width)

    def gru(self, x, h):
        deter = h.shape[-1]
        kernel = self.weights.kernel("rnn/cell/kernel", [x.shape[-1], 3 * deter])
        recurrent = self.weights.kernel("rnn/cell/recurrent_kernel", [deter, 3 * deter])
        bias = self.weights.bias("rnn/cell/bias", [2, 3 * deter])
        xz, xr, xh = (x @ kernel + bias[0]).split(deter, -1)
        iz, ir, ih = (h @ recurrent + bias[1]).split(deter, -1)
        z, r = torch.sigmoid(xz + iz), torch.sigmoid(xr + ir)
        return z * h + (1 - z) * torch.tanh(xh + r * ih)

    def gaussian(self, x, name):
        mean, std = self.dense(x, f"rnn/{name}", 2 * self.config["stoch"]).chunk(2, -1)
        return mean, F.softplus(std) + self.config["min_std"]

    # ---- verbs ----

    def encode(self, seen, noise):
        x = seen["image"] / 255 - 0.5
        for i, size in enumerate(self.config["encoder_kernels"]):
            name, width = f"encode/h{i + 1}", self.config["depth"] * 2 ** i
            kernel = self.weights.kernel(f"{name}/kernel", [size, size, x.shape[-1], width])
            x = F.relu(common.conv(x, kernel, self.weights.bias(f"{name}/bias", [width]), stride=2))
        return {"embedding": x.flatten(1)}

    def prior(self, state, action):
        x = self.hidden(torch.cat([state["stoch"], action], -1), "img1")
        deter = self.gru(x, state["deter"])
        return deter, *self.gaussian(self.hidden(deter, "img2"), "img3")

    def observe(self, state, action, embedding, first, noise):
        state = {part: common.zero_where(first, values) for part, values in state.items()}
        deter, prior_mean, prior_std = self.prior(state, common.zero_where(first, action))
        mean, std = self.gaussian(self.hidden(torch.cat([deter, embedding], -1), "obs1"), "obs2")
        state = {"deter": deter, "stoch": common.normal(mean, std, noise["posterior"])}
        return state, {"prior.mean": prior_mean, "prior.std": prior_std, "posterior.mean": mean, "posterior.std": std}

    def step(self, state, action, noise):
        deter, mean, std = self.prior(state, action)
        state = {"deter": deter, "stoch": common.normal(mean, std, noise["prior"])}
        return state, {"prior.mean": mean, "prior.std": std}

    def heads(self, state, noise, full):
        features = torch.cat([state["stoch"], state["deter"]], -1)
        outputs = {"reward": self.mlp(features, "reward", self.config["reward_layers"], 1)[:, 0],
                   "value": self.mlp(features, "value", self.config["value_layers"], 1)[:, 0]}
        if self.config["pcont"]:
            logit = self.mlp(features, "pcont", self.config["pcont_layers"], 1)[:, 0]
            outputs |= {"continue.logit": logit, "continue": torch.sigmoid(logit)}
        outputs |= self.actor(features, noise["action"])
        if full:
            outputs["observation.image"] = self.decode(features)
        return outputs

    def actor(self, features, noise):
        width, layers = self.config["action"]["width"], self.config["actor_layers"]
        if self.config["action"]["discrete"]:
            logits = self.mlp(features, "actor", layers, width)
            best = common.mode(logits, self.margins, "action")
            drawn = best if noise is None else common.draw(logits.softmax(-1), noise[:, 0], self.margins, "action")
            return {"action": best, "action.sample": drawn, "action.logits": logits}
        mean, std = self.mlp(features, "actor", layers, 2 * width).chunk(2, -1)
        mean = MEAN_SCALE * torch.tanh(mean / MEAN_SCALE)
        std = F.softplus(std + math.log(math.exp(INIT_STD) - 1)) + ACTOR_MIN_STD
        drawn = torch.tanh(common.normal(mean, std, noise))
        return {"action": torch.tanh(mean), "action.sample": drawn, "action.mean": mean, "action.std": std}

    def decode(self, features):
        x = self.dense(features, "decode/h1", 32 * self.config["depth"])[:, None, None, :]
        widths = [self.config["depth"] * scale for scale in (4, 2, 1)] + [self.channels]
        for i, (size, width) in enumerate(zip(self.config["decoder_kernels"], widths)):
            name, inputs = f"decode/h{i + 2}", x.shape[-1]
            kernel = self.weights.kernel(f"{name}/kernel", [size, size, width, inputs], size * size * inputs // 4)
            x = common.deconv(x, kernel, self.weights.bias(f"{name}/bias", [width]))
            x = F.relu(x) if i < 3 else x
        return x


if __name__ == "__main__":
    common.run(Dreamer1, "rssm/dreamer1", VARIANTS)
