"""DreamerV2 as danijar/dreamerv2 has it (TensorFlow, Keras layers).

Written from a description of it (repository at 07d906e9), not run against it; of its source the standard
deviation of Gaussian latents and the names of norm layers were read before this was written. Its checkpoints have no
names; weights here are named after the layers of its code (common/nets.py) and have Keras' layouts:
Dense kernel [in, out], Conv2D [kh, kw, in, out], Conv2DTranspose [kh, kw, out, in], LayerNormalization
gamma and beta. An output layer is out/out, and out/std where its distribution has one.

Variants: `vector` (two vectors, discrete latents, trunc_normal actions, norm none: dmc_proprio), `image`
(a gray image, discrete actions, discount head: atari), `mixed` (image and vector, norm layer, discrete
actions: crafter), `gaussian` (a vector, Gaussian latents, norm layer, tanh_normal actions).

Where the description leaves room (* marks what the published common/nets.py decided or confirmed):
* `norm: layer` means Dense or Conv, with bias, then LayerNormalization (eps 1e-3, Keras' default), then ELU; in
  convolutions over channels; not after convin, nor the last deconvolution *. The regular expression
  of crafter sets it in every network, actor and critic included.
* Names of norms: img_in_norm, img_out_norm_0, obs_out_norm, convnorm0, densenorm0, in heads norm0 *.
* Gaussian latents: one layer gives mean | std; std = f(std) + 0.1 with f of config.std_act: softplus, sigmoid or
  sigmoid2, 2 sigmoid(std / 2) * (the published config has sigmoid2). The mode is the mean. The latent is deter and
  stoch: mean and std, which the original carries along, are outputs here.
* Vectors are concatenated in the order of the observation space ("concatenated vectors", no order given) and
  are taken as they are.
* Images go in as x / 255 - 0.5 and come out on that scale.
* Nothing is drawn from the prior while observing: the original draws a prior sample there, and drops it.
* mode of trunc_normal: its mean, tanh(out), which lies inside the bounds. A sample is taken by inverse CDF of one uniform
  (the distribution is theirs, the way of drawing ours), clipped to 1 - 1e-6.
* mode of tanh_normal: tanh of the mean; the original takes the most likely of 100 draws.
* value is the critic; the slow target critic is for training only. continue is the discount head: it includes gamma.
* ensemble 1: one prior network.
"""

import math

import torch
import torch.nn.functional as F

import common

EPS = 1e-3
KERNELS = (5, 5, 6, 6)
STD = {"softplus": F.softplus, "sigmoid": torch.sigmoid, "sigmoid2": lambda x: 2 * torch.sigmoid(x / 2)}


class Dreamer2:
    parts = ("deter", "stoch")

    def __init__(self, config, weights, rows, margins):
        self.config, self.w, self.rows, self.margins = config, weights, rows, margins
        self.discrete = config["classes"] > 0
        spaces = config["observations"]
        self.images = [key for key, space in spaces.items() if len(space["shape"]) == 3]
        self.vectors = [key for key in spaces if key not in self.images]

    def sites(self, verb):
        latent = ("uniform" if self.discrete else "normal", self.config["stoch"])
        sites = {"observe": {"posterior": latent}, "step": {"prior": latent}}.get(verb, {})
        if verb == "encode":
            return sites
        head, width = self.config["action"]["head"], self.config["action"]["width"]
        return sites | {"action": {"onehot": ("uniform", 1), "trunc_normal": ("uniform", width),
                                   "tanh_normal": ("normal", width)}[head]}

    # ---- layers ----

    def dense(self, name, x, out):
        return x @ self.w.kernel(f"{name}/kernel", [x.shape[-1], out]) + self.w.bias(f"{name}/bias", [out])

    def layer_norm(self, name, x):
        return common.layer_norm(x, self.w.scale(f"{name}/gamma", [x.shape[-1]]), self.w.bias(f"{name}/beta", [x.shape[-1]]), EPS)

    def act(self, norm, x):
        return F.elu(self.layer_norm(norm, x) if self.config["norm"] == "layer" else x)

    def mlp(self, name, x, norm="norm"):
        for i in range(self.config["layers"]):
            x = self.act(f"{name}/{norm}{i}", self.dense(f"{name}/dense{i}", x, self.config["units"]))
        return x

    # ---- latent ----

    def stats(self, name, x):
        c = self.config
        if self.discrete:
            return {"logits": self.dense(name, x, c["stoch"] * c["classes"]).unflatten(-1, (c["stoch"], c["classes"]))}
        mean, std = self.dense(name, x, 2 * c["stoch"]).chunk(2, -1)
        return {"mean": mean, "std": STD[c["std_act"]](std) + c["min_std"]}

    def latent(self, deter, stats, noise, kind):
        if not self.discrete:
            return {"deter": deter, "stoch": common.normal(stats["mean"], stats["std"], noise)}
        logits = stats["logits"]
        stoch = common.mode(logits, self.margins, kind) if noise is None \
            else common.draw(logits.softmax(-1), noise, self.margins, kind)
        return {"deter": deter, "stoch": stoch}

    def initial(self):
        c = self.config
        stoch = [c["stoch"], c["classes"]] if self.discrete else [c["stoch"]]
        return {"deter": torch.zeros(self.rows, c["deter"], dtype=torch.float64),
                "stoch": torch.zeros(self.rows, *stoch, dtype=torch.float64)}

    def encode(self, seen, noise):
        del noise
        parts = []
        if self.images:
            x = torch.cat([seen[key] for key in self.images], -1) / 255 - 0.5
            for i in range(4):
                out = self.config["depth"] * 2 ** i
                kernel = self.w.kernel(f"encoder/conv{i}/kernel", [4, 4, x.shape[-1], out])
                x = common.conv(x, kernel, self.w.bias(f"encoder/conv{i}/bias", [out]), stride=2)
                x = self.act(f"encoder/convnorm{i}", x)
            parts.append(x.flatten(1))
        if self.vectors:
            x = torch.cat([seen[key].reshape(self.rows, -1) for key in self.vectors], -1)
            parts.append(self.mlp("encoder", x, "densenorm"))
        return {"embedding": torch.cat(parts, -1)}

    def gru(self, x, deter):
        parts = self.dense("rssm/gru", torch.cat([x, deter], -1), 3 * self.config["deter"])
        reset, candidate, update = self.layer_norm("rssm/gru_norm", parts).chunk(3, -1)
        candidate = torch.tanh(torch.sigmoid(reset) * candidate)
        update = torch.sigmoid(update - 1)
        return update * candidate + (1 - update) * deter

    def prior(self, state, action):
        x = torch.cat([state["stoch"].flatten(1), action], -1)
        x = self.act("rssm/img_in_norm", self.dense("rssm/img_in", x, self.config["hidden"]))
        deter = self.gru(x, state["deter"])
        x = self.act("rssm/img_out_norm_0", self.dense("rssm/img_out_0", deter, self.config["hidden"]))
        return deter, self.stats("rssm/img_dist_0", x)

    def observe(self, state, action, embedding, first, noise):
        state = {part: common.zero_where(first, values) for part, values in state.items()}
        deter, prior = self.prior(state, common.zero_where(first, action))
        x = self.dense("rssm/obs_out", torch.cat([deter, embedding], -1), self.config["hidden"])
        posterior = self.stats("rssm/obs_dist", self.act("rssm/obs_out_norm", x))
        out = {f"prior.{name}": value for name, value in prior.items()}
        out |= {f"posterior.{name}": value for name, value in posterior.items()}
        return self.latent(deter, posterior, noise["posterior"], "posterior"), out

    def step(self, state, action, noise):
        deter, prior = self.prior(state, action)
        out = {f"prior.{name}": value for name, value in prior.items()}
        return self.latent(deter, prior, noise["prior"], "prior"), out

    # ---- heads ----

    def trunc_normal(self, mean, std, uniform):
        """Normal(mean, std) inside -1..1, by inverse CDF."""
        low, high = (torch.special.ndtr((bound - mean) / std) for bound in (-1, 1))
        drawn = mean + std * torch.special.ndtri(low + uniform * (high - low))
        return drawn.clamp(-1 + 1e-6, 1 - 1e-6)

    def actor(self, feature, noise):
        head, width = self.config["action"]["head"], self.config["action"]["width"]
        x = self.mlp("actor", feature)
        out = self.dense("actor/out/out", x, width)
        if head == "onehot":
            mode = common.mode(out, self.margins, "action")
            sample = mode if noise is None else common.draw(out.softmax(-1), noise[:, 0], self.margins, "action")
            return {"action": mode, "action.logits": out, "action.sample": sample}
        std = self.dense("actor/out/std", x, width)
        if head == "trunc_normal":
            mean, std = torch.tanh(out), 2 * torch.sigmoid(std / 2) + 0.1
            sample = mean if noise is None else self.trunc_normal(mean, std, noise)
            return {"action": mean, "action.std": std, "action.sample": sample}
        mean, std = 5 * torch.tanh(out / 5), F.softplus(std) + 0.1
        sample = torch.tanh(common.normal(mean, std, noise))
        return {"action": torch.tanh(mean), "action.mean": mean, "action.std": std, "action.sample": sample}

    def decode_images(self, feature):
        depth = self.config["depth"]
        channels = [self.config["observations"][key]["shape"][-1] for key in self.images]
        x = self.dense("decoder/convin", feature, 32 * depth)[:, None, None]
        for i, (size, out) in enumerate(zip(KERNELS, (4 * depth, 2 * depth, depth, sum(channels)))):
            kernel = self.w.kernel(f"decoder/conv{i}/kernel", [size, size, out, x.shape[-1]],
                                   inputs=size * size * x.shape[-1] / (25 if i == 0 else 4))
            x = common.deconv(x, kernel, self.w.bias(f"decoder/conv{i}/bias", [out]))
            x = x if i == 3 else self.act(f"decoder/convnorm{i}", x)
        return {f"observation.{key}": part for key, part in zip(self.images, x.split(channels, -1))}

    def heads(self, state, noise, full):
        feature, out = torch.cat([state["stoch"].flatten(1), state["deter"]], -1), {}
        if self.vectors:
            x = self.mlp("decoder", feature, "densenorm")
            for key in self.vectors:
                shape = self.config["observations"][key]["shape"]
                out[f"observation.{key}"] = self.dense(f"decoder/dense_{key}/out", x, math.prod(shape)).reshape(-1, *shape)
        if self.images and full:
            out |= self.decode_images(feature)
        out["reward"] = self.dense("reward/out/out", self.mlp("reward", feature), 1)[..., 0]
        out["value"] = self.dense("critic/out/out", self.mlp("critic", feature), 1)[..., 0]
        if self.config["discount_head"]:
            logit = self.dense("discount/out/out", self.mlp("discount", feature), 1)[..., 0]
            out |= {"continue.logit": logit, "continue": torch.sigmoid(logit)}
        return out | self.actor(feature, noise["action"])


SIZES = {"dialect": "dreamer2", "deter": 14, "hidden": 12, "stoch": 4, "classes": 5, "units": 10, "layers": 4,
         "norm": "none", "gru_norm": "layer", "norm_eps": EPS, "act": "elu", "unimix": 0, "discount_head": False,
         "weights": "named after the code's layers"}
IMAGE = {"depth": 2, "encoder_kernels": [4, 4, 4, 4], "decoder_kernels": list(KERNELS), "image_output": "x / 255 - 0.5"}
VARIANTS = {
    "vector": SIZES | {"observations": {"velocity": {"shape": [3]}, "position": {"shape": [2, 2]}},
                       "action": {"discrete": False, "width": 2, "head": "trunc_normal"}},
    "image": SIZES | IMAGE | {"discount_head": True, "observations": {"image": {"shape": [64, 64, 1]}},
                              "action": {"discrete": True, "width": 4, "head": "onehot"}},
    "mixed": SIZES | IMAGE | {"norm": "layer", "discount_head": True, "layers": 2,
                              "observations": {"state": {"shape": [3]}, "image": {"shape": [64, 64, 1]}},
                              "action": {"discrete": True, "width": 3, "head": "onehot"}},
    "gaussian": SIZES | {"norm": "layer", "classes": 0, "stoch": 6, "std_act": "sigmoid2", "min_std": 0.1, "layers": 2,
                         "observations": {"state": {"shape": [5]}},
                         "action": {"discrete": False, "width": 3, "head": "tanh_normal"}},
}

if __name__ == "__main__":
    common.run(Dreamer2, "rssm/dreamer2", VARIANTS)
