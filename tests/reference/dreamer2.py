"""DreamerV2: one-hot or Gaussian latents, a GRU with layer norm, three kinds of actor.

Written from a description of the published code alone.

The published checkpoints have no names: these are SCOPE/LAYER/{kernel,bias,gamma,beta} after the code's layers; a
distribution's layer has one more level (reward/out/out, actor/out/std). Dense kernels [in, out], convolutions [kh,
kw, in, out], transposed ones [kh, kw, out, in]. Parts of the state: deter, stoch.

Where the description leaves room:
* Vectors are concatenated in the order of the observations' space, each flattened.
* Where `norm` is layer, every hidden layer has one between its product and its ELU; the layer before the transposed
  convolutions and the last of them are linear, without one. Layer norms have both gamma and beta.
* A Gaussian latent is a mean, then a standard deviation 2 sigmoid(x / 2) + 0.1 as the truncated normal's: `std_act`.
* A truncated normal is drawn by its inverse CDF from a uniform number; its mode is its mean, which lies within the
  bounds, and is not clipped.
* The mode of a tanh-normal is tanh(mean); action.mean and action.std are those before the tanh. Its standard
  deviation is softplus(x) + 0.1.
* continue is the mean of the discount head, whose target held the discount.
* One member of the ensemble. No slow critic.
"""

import math

import torch
import torch.nn.functional as F

import common

BASE = {
    "dialect": "dreamer2", "deter": 14, "hidden": 12, "stoch": 4, "classes": 5, "units": 10, "layers": 2,
    "norm": "layer", "gru_norm": "layer", "norm_eps": 1e-3, "act": "elu", "unimix": 0, "discount_head": True,
    "weights": "named after the code's layers",
}
IMAGES = {"depth": 2, "encoder_kernels": [4, 4, 4, 4], "decoder_kernels": [5, 5, 6, 6], "image_output": "x / 255 - 0.5"}
VARIANTS = {
    "vector": BASE | {"layers": 4, "norm": "none", "discount_head": False,
                      "observations": {"velocity": {"shape": [3]}, "position": {"shape": [2, 2]}},
                      "action": {"discrete": False, "width": 2, "head": "trunc_normal"}},
    "image": BASE | IMAGES | {"layers": 4, "norm": "none", "observations": {"image": {"shape": [64, 64, 1]}},
                              "action": {"discrete": True, "width": 4, "head": "onehot"}},
    "mixed": BASE | IMAGES | {"observations": {"state": {"shape": [3]}, "image": {"shape": [64, 64, 1]}},
                              "action": {"discrete": True, "width": 3, "head": "onehot"}},
    "gaussian": BASE | {"stoch": 6, "classes": 0, "discount_head": False, "std_act": "sigmoid2", "min_std": 0.1,
                        "observations": {"state": {"shape": [5]}},
                        "action": {"discrete": False, "width": 3, "head": "tanh_normal"}},
}
ACTOR_MIN_STD, MEAN_SCALE, CLIP = 0.1, 5.0, 1e-6


def two_sigmoid(x):
    return 2 * torch.sigmoid(x / 2)


def cdf(x):
    return 0.5 * (1 + torch.erf(x / math.sqrt(2)))


def truncated(mean, std, uniform):
    """Of the normal within [-1, 1], by inverse CDF."""
    low, high = cdf((-1 - mean) / std), cdf((1 - mean) / std)
    return mean + std * math.sqrt(2) * torch.erfinv(2 * (low + uniform * (high - low)) - 1)


class Dreamer2:
    parts = ("deter", "stoch")

    def __init__(self, config, weights, rows, margins):
        self.config, self.weights, self.rows, self.margins = config, weights, rows, margins
        spaces = {key: space["shape"] for key, space in config["observations"].items()}
        self.vectors = {key: shape for key, shape in spaces.items() if len(shape) < 3}
        self.images = {key: shape for key, shape in spaces.items() if len(shape) == 3}
        self.discrete = bool(config["classes"])

    def sites(self, verb):
        if verb == "encode":
            return {}
        latent = ("uniform" if self.discrete else "normal", self.config["stoch"])
        found = {"observe": {"posterior": latent}, "step": {"prior": latent}}.get(verb, {})
        width = self.config["action"]["width"]
        return found | {"action": {"onehot": ("uniform", 1), "trunc_normal": ("uniform", width),
                                   "tanh_normal": ("normal", width)}[self.config["action"]["head"]]}

    def initial(self):
        stoch = [self.config["stoch"], self.config["classes"]] if self.discrete else [self.config["stoch"]]
        return {"deter": torch.zeros(self.rows, self.config["deter"]).double(),
                "stoch": torch.zeros(self.rows, *stoch).double()}

    # ---- layers ----

    def dense(self, x, name, width):
        kernel = self.weights.kernel(f"{name}/kernel", [x.shape[-1], width])
        return x @ kernel + self.weights.bias(f"{name}/bias", [width])

    def layer_norm(self, x, name):
        gamma = self.weights.scale(f"{name}/gamma", [x.shape[-1]])
        beta = self.weights.bias(f"{name}/beta", [x.shape[-1]])
        return common.layer_norm(x, gamma, beta, self.config["norm_eps"])

    def activate(self, x, norm):
        return F.elu(x if self.config["norm"] == "none" else self.layer_norm(x, norm))

    def hidden(self, x, name, norm):
        return self.activate(self.dense(x, f"rssm/{name}", self.config["hidden"]), f"rssm/{norm}")

    def mlp(self, x, scope, norm="norm"):
        for i in range(self.config["layers"]):
            x = self.activate(self.dense(x, f"{scope}/dense{i}", self.config["units"]), f"{scope}/{norm}{i}")
        return x

    def number(self, features, scope):
        return self.dense(self.mlp(features, scope), f"{scope}/out/out", 1)[:, 0]

    def gru(self, x, h):
        parts = self.dense(torch.cat([x, h], -1), "rssm/gru", 3 * h.shape[-1])
        reset, cand, update = self.layer_norm(parts, "rssm/gru_norm").chunk(3, -1)
        cand = torch.tanh(torch.sigmoid(reset) * cand)
        update = torch.sigmoid(update - 1)
        return update * cand + (1 - update) * h

    # ---- latents ----

    def latent(self, x, layer, kind):
        """The parameters of a distribution, and how it is drawn."""
        stoch, classes = self.config["stoch"], self.config["classes"]
        if self.discrete:
            logits = self.dense(x, f"rssm/{layer}", stoch * classes).reshape(-1, stoch, classes)

            def drawn(noise):
                if noise is None:
                    return common.mode(logits, self.margins, kind)
                return common.draw(logits.softmax(-1), noise, self.margins, kind)

            return {f"{kind}.logits": logits}, drawn
        mean, std = self.dense(x, f"rssm/{layer}", 2 * stoch).chunk(2, -1)
        std = two_sigmoid(std) + self.config["min_std"]
        return {f"{kind}.mean": mean, f"{kind}.std": std}, lambda noise: common.normal(mean, std, noise)

    def prior(self, state, action):
        x = self.hidden(torch.cat([state["stoch"].flatten(1), action], -1), "img_in", "img_in_norm")
        deter = self.gru(x, state["deter"])
        return deter, *self.latent(self.hidden(deter, "img_out_0", "img_out_norm_0"), "img_dist_0", "prior")

    # ---- verbs ----

    def encode(self, seen, noise):
        outputs = []
        if self.images:
            x = torch.cat([seen[key] for key in self.images], -1) / 255 - 0.5
            for i, size in enumerate(self.config["encoder_kernels"]):
                name, width = f"encoder/conv{i}", self.config["depth"] * 2 ** i
                kernel = self.weights.kernel(f"{name}/kernel", [size, size, x.shape[-1], width])
                x = common.conv(x, kernel, self.weights.bias(f"{name}/bias", [width]), stride=2)
                x = self.activate(x, f"encoder/convnorm{i}")
            outputs.append(x.flatten(1))
        if self.vectors:
            x = torch.cat([seen[key].flatten(1) for key in self.vectors], -1)
            outputs.append(self.mlp(x, "encoder", "densenorm"))
        return {"embedding": torch.cat(outputs, -1)}

    def observe(self, state, action, embedding, first, noise):
        state = {part: common.zero_where(first, values) for part, values in state.items()}
        deter, prior, _ = self.prior(state, common.zero_where(first, action))
        x = self.hidden(torch.cat([deter, embedding], -1), "obs_out", "obs_out_norm")
        posterior, drawn = self.latent(x, "obs_dist", "posterior")
        return {"deter": deter, "stoch": drawn(noise["posterior"])}, prior | posterior

    def step(self, state, action, noise):
        deter, prior, drawn = self.prior(state, action)
        return {"deter": deter, "stoch": drawn(noise["prior"])}, prior

    def heads(self, state, noise, full):
        features = torch.cat([state["stoch"].flatten(1), state["deter"]], -1)
        outputs = {"reward": self.number(features, "reward"), "value": self.number(features, "critic")}
        if self.config["discount_head"]:
            logit = self.number(features, "discount")
            outputs |= {"continue.logit": logit, "continue": torch.sigmoid(logit)}
        outputs |= self.actor(self.mlp(features, "actor"), noise["action"])
        if self.vectors:
            x = self.mlp(features, "decoder", "densenorm")
            for key, shape in self.vectors.items():
                y = self.dense(x, f"decoder/dense_{key}/out", math.prod(shape))
                outputs[f"observation.{key}"] = y.reshape(-1, *shape)
        if self.images and full:
            outputs |= self.decode(features)
        return outputs

    def actor(self, x, noise):
        width, head = self.config["action"]["width"], self.config["action"]["head"]
        out = self.dense(x, "actor/out/out", width)
        if head == "onehot":
            best = common.mode(out, self.margins, "action")
            drawn = best if noise is None else common.draw(out.softmax(-1), noise[:, 0], self.margins, "action")
            return {"action": best, "action.sample": drawn, "action.logits": out}
        std = self.dense(x, "actor/out/std", width)
        if head == "trunc_normal":
            mean, std = torch.tanh(out), two_sigmoid(std) + ACTOR_MIN_STD
            drawn = mean if noise is None else truncated(mean, std, noise).clamp(CLIP - 1, 1 - CLIP)
            return {"action": mean, "action.sample": drawn, "action.std": std}
        mean, std = MEAN_SCALE * torch.tanh(out / MEAN_SCALE), F.softplus(std) + ACTOR_MIN_STD
        drawn = torch.tanh(common.normal(mean, std, noise))
        return {"action": torch.tanh(mean), "action.sample": drawn, "action.mean": mean, "action.std": std}

    def decode(self, features):
        x = self.dense(features, "decoder/convin", 32 * self.config["depth"])[:, None, None, :]
        channels = [shape[-1] for shape in self.images.values()]
        widths = [self.config["depth"] * scale for scale in (4, 2, 1)] + [sum(channels)]
        for i, (size, width) in enumerate(zip(self.config["decoder_kernels"], widths)):
            name, inputs = f"decoder/conv{i}", x.shape[-1]
            kernel = self.weights.kernel(f"{name}/kernel", [size, size, width, inputs], size * size * inputs // 4)
            x = common.deconv(x, kernel, self.weights.bias(f"{name}/bias", [width]))
            x = self.activate(x, f"decoder/convnorm{i}") if i < 3 else x
        return {f"observation.{key}": image for key, image in zip(self.images, x.split(channels, -1))}


if __name__ == "__main__":
    common.run(Dreamer2, "rssm/dreamer2", VARIANTS)
