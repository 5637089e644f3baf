"""Dreamer v1 as danijar/dreamer has it (TensorFlow, Keras layers).

Written from a description of it (repository at 56d4d444), not run against it; stored copies of its
source were read before this was written, so it depends on both. Its checkpoints have no
names; weights here are named after the layers of its code (models.py) and have Keras' layouts: Dense
kernel [in, out], Conv2D [kh, kw, in, out], Conv2DTranspose [kh, kw, out, in], GRUCell kernel [in, 3 units],
recurrent_kernel [units, 3 units], bias [2, 3 units], gates in the order update, reset, candidate.

Variants: `continuous` (colour images, tanh_normal actions), `discrete` (gray images, one-hot actions, pcont
head). The original encodes images only; latents are Gaussian.

Where the description leaves room (* marks what the published models.py decided):
* Keras' GRUCell is meant with its TensorFlow 2 default reset_after, whose equations are Keras', not in that repository.
* img3 and obs2 give mean | std in this order *; std = softplus(std) + 0.1.
* Images go in as x / 255 - 0.5 and come out on that scale.
* Nothing is drawn from the prior while observing: the original draws a prior sample there, and drops it.
* mode of tanh_normal: tanh of the mean; the original takes the most likely of 100 draws.
* Its mean is 5 tanh(mean / 5), its std softplus(std + log(exp(5) - 1)) + 1e-4; samples are tanh(mean + std * noise). No
  exploration noise is added.
* value is a plain number; continue is the pcont head, which includes gamma; absent where the config has none.
* The latent is deter and stoch: mean and std, which the original carries along, are outputs here.
"""

import math

import torch
import torch.nn.functional as F

import common

KERNELS = (5, 5, 6, 6)
RAW_STD = math.log(math.exp(5) - 1)


class Dreamer1:
    parts = ("deter", "stoch")

    def __init__(self, config, weights, rows, margins):
        self.config, self.w, self.rows, self.margins = config, weights, rows, margins
        (self.image,) = config["observations"]

    def sites(self, verb):
        latent = ("normal", self.config["stoch"])
        sites = {"observe": {"posterior": latent}, "step": {"prior": latent}}.get(verb, {})
        if verb == "encode":
            return sites
        action = self.config["action"]
        return sites | {"action": ("uniform", 1) if action["discrete"] else ("normal", action["width"])}

    # ---- layers ----

    def dense(self, name, x, out):
        return x @ self.w.kernel(f"{name}/kernel", [x.shape[-1], out]) + self.w.bias(f"{name}/bias", [out])

    def mlp(self, name, x, layers, out):
        for i in range(layers):
            x = F.elu(self.dense(f"{name}/h{i}", x, self.config["units"]))
        return self.dense(f"{name}/hout", x, out)

    # ---- latent ----

    def gru(self, x, h):
        units = self.config["deter"]
        bias = self.w.bias("rnn/cell/bias", [2, 3 * units])
        from_x = x @ self.w.kernel("rnn/cell/kernel", [x.shape[-1], 3 * units]) + bias[0]
        from_h = h @ self.w.kernel("rnn/cell/recurrent_kernel", [units, 3 * units]) + bias[1]
        (xz, xr, xc), (hz, hr, hc) = from_x.chunk(3, -1), from_h.chunk(3, -1)
        update, reset = torch.sigmoid(xz + hz), torch.sigmoid(xr + hr)
        candidate = torch.tanh(xc + reset * hc)
        return update * h + (1 - update) * candidate

    def stats(self, name, x):
        mean, std = self.dense(name, x, 2 * self.config["stoch"]).chunk(2, -1)
        return mean, F.softplus(std) + 0.1

    def prior(self, state, action):
        hidden = self.config["hidden"]
        x = F.elu(self.dense("rnn/img1", torch.cat([state["stoch"], action], -1), hidden))
        deter = self.gru(x, state["deter"])
        return deter, self.stats("rnn/img3", F.elu(self.dense("rnn/img2", deter, hidden)))

    def initial(self):
        return {part: torch.zeros(self.rows, self.config[part], dtype=torch.float64) for part in self.parts}

    def encode(self, seen, noise):
        del noise
        x = seen[self.image] / 255 - 0.5
        for i in range(4):
            out = self.config["depth"] * 2 ** i
            kernel = self.w.kernel(f"encode/h{i + 1}/kernel", [4, 4, x.shape[-1], out])
            x = F.relu(common.conv(x, kernel, self.w.bias(f"encode/h{i + 1}/bias", [out]), stride=2))
        return {"embedding": x.flatten(1)}

    def observe(self, state, action, embedding, first, noise):
        state = {part: common.zero_where(first, values) for part, values in state.items()}
        deter, prior = self.prior(state, common.zero_where(first, action))
        x = F.elu(self.dense("rnn/obs1", torch.cat([deter, embedding], -1), self.config["hidden"]))
        mean, std = self.stats("rnn/obs2", x)
        out = {"posterior.mean": mean, "posterior.std": std, "prior.mean": prior[0], "prior.std": prior[1]}
        return {"deter": deter, "stoch": common.normal(mean, std, noise["posterior"])}, out

    def step(self, state, action, noise):
        deter, (mean, std) = self.prior(state, action)
        out = {"prior.mean": mean, "prior.std": std}
        return {"deter": deter, "stoch": common.normal(mean, std, noise["prior"])}, out

    # ---- heads ----

    def actor(self, feature, noise):
        action = self.config["action"]
        if action["discrete"]:
            logits = self.mlp("actor", feature, 4, action["width"])
            mode = common.mode(logits, self.margins, "action")
            sample = mode if noise is None else common.draw(logits.softmax(-1), noise[:, 0], self.margins, "action")
            return {"action": mode, "action.logits": logits, "action.sample": sample}
        mean, std = self.mlp("actor", feature, 4, 2 * action["width"]).chunk(2, -1)
        mean, std = 5 * torch.tanh(mean / 5), F.softplus(std + RAW_STD) + 1e-4
        sample = torch.tanh(common.normal(mean, std, noise))
        return {"action": torch.tanh(mean), "action.mean": mean, "action.std": std, "action.sample": sample}

    def decode(self, feature):
        depth, channels = self.config["depth"], self.config["observations"][self.image]["shape"][-1]
        x = self.dense("decode/h1", feature, 32 * depth)[:, None, None]
        for i, (size, out) in enumerate(zip(KERNELS, (4 * depth, 2 * depth, depth, channels))):
            name, taps = f"decode/h{i + 2}", size * size * x.shape[-1] / (25 if i == 0 else 4)
            kernel = self.w.kernel(f"{name}/kernel", [size, size, out, x.shape[-1]], inputs=taps)
            x = common.deconv(x, kernel, self.w.bias(f"{name}/bias", [out]))
            x = x if i == 3 else F.relu(x)
        return x

    def heads(self, state, noise, full):
        feature = torch.cat([state["stoch"], state["deter"]], -1)
        out = {f"observation.{self.image}": self.decode(feature)} if full else {}
        out["reward"] = self.mlp("reward", feature, 2, 1)[..., 0]
        out["value"] = self.mlp("value", feature, 3, 1)[..., 0]
        if self.config["pcont"]:
            logit = self.mlp("pcont", feature, 3, 1)[..., 0]
            out |= {"continue.logit": logit, "continue": torch.sigmoid(logit)}
        return out | self.actor(feature, noise["action"])


SIZES = {"dialect": "dreamer1", "deter": 14, "hidden": 12, "stoch": 6, "min_std": 0.1, "std_act": "softplus", "units": 10,
         "reward_layers": 2, "value_layers": 3, "pcont_layers": 3, "actor_layers": 4, "dense_act": "elu", "cnn_act": "relu",
         "depth": 2, "encoder_kernels": [4, 4, 4, 4], "decoder_kernels": list(KERNELS), "image_output": "x / 255 - 0.5",
         "weights": "named after the code's layers"}
VARIANTS = {
    "continuous": SIZES | {"pcont": False, "observes": 3, "observations": {"image": {"shape": [64, 64, 3]}},
                           "action": {"discrete": False, "width": 3, "head": "tanh_normal"}},
    "discrete": SIZES | {"pcont": True, "observations": {"image": {"shape": [64, 64, 1]}},
                         "action": {"discrete": True, "width": 4, "head": "onehot"}},
}

if __name__ == "__main__":
    common.run(Dreamer1, "rssm/dreamer1", VARIANTS)
