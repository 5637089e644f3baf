"""DreamerV3 (JAX): a block-diagonal GRU, RMS norms, one-hot latents, two-hot over bins in real space.

Written from a description of the published code alone.

Names, shapes and layouts of weights are those of the published checkpoints: linear kernels [in, out], convolutions
[kh, kw, in, out], block-linear ones [blocks, in / blocks, out / blocks]. Parts of the state: deter, stoch.

Where the description leaves room:
* An observe never evaluates the prior; here its logits are given too, from the new deter.
* logits are those of the layers. The uniform mixture enters where latents are drawn; it leaves the mode as it is.
* The mode of a bounded normal is its mean; its sample is not clipped. A discrete actor has no uniform mixture.
* continue is the probability, which held the discount.
* A decoded class is the one-hot of its largest logit; a decoded vector has symexp applied.
* The value has as many layers as the policy; reward and continue have one. No slow value.
* Blocks of the image's first layer give [block, h, w, c], which becomes [h, w, block c], blocks outermost.
"""

import math

import torch
import torch.nn.functional as F

import common

BASE = {
    "dialect": "dreamer3_jax", "deter": 32, "stoch": 4, "classes": 5, "hidden": 10, "units": 12, "blocks": 8,
    "encoder_layers": 3, "decoder_layers": 3, "policy_layers": 3, "bins": 255, "unimix": 0.01, "norm": "rms",
    "norm_eps": 1e-4, "act": "silu", "weights": "as published",
}
IMAGES = {"mults": [1, 2, 3, 4], "decoder_blocks": 4, "kernel": 5, "image_output": "x / 255"}
VARIANTS = {
    "vector": BASE | {"blocks": 4, "observations": {"velocity": {"shape": [3]}, "position": {"shape": [2, 2]}},
                      "action": {"discrete": False, "width": 2, "head": "bounded_normal", "tried": 1.5}},
    "image": BASE | IMAGES | {"encoder_layers": 2, "depth": 3,
                              "observations": {"image": {"shape": [48, 48, 3]}, "state": {"shape": [3]}},
                              "action": {"discrete": True, "width": 4, "head": "onehot"}},
    "images": BASE | IMAGES | {"policy_layers": 2, "depth": 2,
                               "observations": {"view": {"shape": [48, 48, 3]}, "depth": {"shape": [48, 48, 1]}},
                               "action": {"discrete": False, "width": 3, "head": "bounded_normal"}},
    "discrete": BASE | {"observations": {"tile": {"shape": [], "classes": 3}, "height": {"shape": []}},
                        "action": {"discrete": True, "width": 3, "head": "onehot"}},
}
STD_MIN, STD_MAX = 0.1, 1.0


def two_hot_mean(logits):
    """Symmetric bins are summed in pairs, so that equal probabilities give exactly zero."""
    half = common.symexp(torch.linspace(-20, 0, logits.shape[-1] // 2 + 1).double())
    middle = len(half) - 1
    probs = logits.softmax(-1)
    low, high = probs[..., :middle], probs[..., middle + 1:]
    pairs = (low * half[:-1]).flip(-1) + high * -half[:-1].flip(-1)
    return probs[..., middle] * half[-1] + pairs.sum(-1)


def widened(x):
    """Every pixel twice in both directions."""
    return x.repeat_interleave(2, 1).repeat_interleave(2, 2)


class Dreamer3:
    parts = ("deter", "stoch")

    def __init__(self, config, weights, rows, margins):
        self.config, self.weights, self.rows, self.margins = config, weights, rows, margins
        spaces = config["observations"]
        self.vectors = {key: space for key, space in spaces.items() if len(space["shape"]) < 3}
        self.images = {key: space["shape"] for key, space in spaces.items() if len(space["shape"]) == 3}

    def sites(self, verb):
        if verb == "encode":
            return {}
        latent, action = ("uniform", self.config["stoch"]), self.config["action"]
        found = {"observe": {"posterior": latent}, "step": {"prior": latent}}.get(verb, {})
        return found | {"action": ("uniform", 1) if action["discrete"] else ("normal", action["width"])}

    def initial(self):
        return {"deter": torch.zeros(self.rows, self.config["deter"]).double(),
                "stoch": torch.zeros(self.rows, self.config["stoch"], self.config["classes"]).double()}

    # ---- layers ----

    def linear(self, x, name, width):
        kernel = self.weights.kernel(f"{name}/kernel", [x.shape[-1], width])
        return x @ kernel + self.weights.bias(f"{name}/bias", [width])

    def block_linear(self, x, name, width):
        """x [rows, blocks, in / blocks] -> [rows, width]"""
        blocks, inputs = x.shape[1:]
        kernel = self.weights.kernel(f"{name}/kernel", [blocks, inputs, width // blocks], inputs)
        return torch.einsum("rgi,gio->rgo", x, kernel).flatten(1) + self.weights.bias(f"{name}/bias", [width])

    def convolve(self, x, name, width):
        size = self.config["kernel"]
        kernel = self.weights.kernel(f"{name}/kernel", [size, size, x.shape[-1], width])
        return common.conv(x, kernel, self.weights.bias(f"{name}/bias", [width]), pad=size // 2)

    def activate(self, x, norm):
        scale = self.weights.scale(f"{norm}/scale", [x.shape[-1]])
        return F.silu(common.rms_norm(x, scale, self.config["norm_eps"]))

    def hidden(self, x, name, width):
        return self.activate(self.linear(x, name, width), f"{name}norm")

    def mlp(self, x, scope, layers):
        for i in range(layers):
            x = self.activate(self.linear(x, f"{scope}/mlp/linear{i}", self.config["units"]), f"{scope}/mlp/norm{i}")
        return x

    # ---- dynamics ----

    def core(self, state, action):
        deter, width, blocks = state["deter"], self.config["hidden"], self.config["blocks"]
        action = action / action.abs().clamp(min=1)
        x = torch.cat([self.hidden(deter, "dyn/dynin0", width),
                       self.hidden(state["stoch"].flatten(1), "dyn/dynin1", width),
                       self.hidden(action, "dyn/dynin2", width)], -1)
        grouped = deter.reshape(self.rows, blocks, -1)
        x = torch.cat([grouped, x[:, None].expand(-1, blocks, -1)], -1)
        x = self.activate(self.block_linear(x, "dyn/dynhid0", deter.shape[-1]), "dyn/dynhid0norm")
        gates = self.block_linear(x.reshape(self.rows, blocks, -1), "dyn/dyngru", 3 * deter.shape[-1])
        reset, cand, update = gates.reshape(self.rows, blocks, -1).chunk(3, -1)
        cand, update = torch.tanh(torch.sigmoid(reset) * cand), torch.sigmoid(update - 1)
        return (update * cand + (1 - update) * grouped).flatten(1)

    def logits(self, x, name):
        stoch, classes = self.config["stoch"], self.config["classes"]
        return self.linear(x, name, stoch * classes).reshape(-1, stoch, classes)

    def prior(self, deter):
        x = self.hidden(self.hidden(deter, "dyn/prior0", self.config["hidden"]), "dyn/prior1", self.config["hidden"])
        return self.logits(x, "dyn/priorlogit")

    def latent(self, logits, noise, kind):
        if noise is None:
            return common.mode(logits, self.margins, kind)
        unimix = self.config["unimix"]
        probs = (1 - unimix) * logits.softmax(-1) + unimix / self.config["classes"]
        return common.draw(probs, noise, self.margins, kind)

    # ---- verbs ----

    def encode(self, seen, noise):
        tokens = []
        if self.vectors:
            x = torch.cat([self.numbers(seen[key], self.vectors[key]) for key in sorted(self.vectors)], -1)
            for i in range(self.config["encoder_layers"]):
                x = self.hidden(x, f"enc/mlp{i}", self.config["units"])
            tokens.append(x)
        if self.images:
            x = torch.cat([seen[key] for key in sorted(self.images)], -1) / 255 - 0.5
            for i, mult in enumerate(self.config["mults"]):
                x = self.convolve(x, f"enc/cnn{i}", self.config["depth"] * mult)
                x = F.max_pool2d(x.permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)
                x = self.activate(x, f"enc/cnn{i}norm")
            tokens.append(x.flatten(1))
        return {"embedding": torch.cat(tokens, -1)}

    def numbers(self, values, space):
        if space.get("classes"):
            return F.one_hot(values.long(), space["classes"]).double().reshape(self.rows, -1)
        return common.symlog(values).reshape(self.rows, -1)

    def observe(self, state, action, embedding, first, noise):
        state = {part: common.zero_where(first, values) for part, values in state.items()}
        deter = self.core(state, common.zero_where(first, action))
        x = self.hidden(torch.cat([deter, embedding], -1), "dyn/obs0", self.config["hidden"])
        logits = self.logits(x, "dyn/obslogit")
        state = {"deter": deter, "stoch": self.latent(logits, noise["posterior"], "posterior")}
        return state, {"posterior.logits": logits, "prior.logits": self.prior(deter)}

    def step(self, state, action, noise):
        deter = self.core(state, action)
        logits = self.prior(deter)
        return {"deter": deter, "stoch": self.latent(logits, noise["prior"], "prior")}, {"prior.logits": logits}

    def heads(self, state, noise, full):
        deter, stoch = state["deter"], state["stoch"].flatten(1)
        features = torch.cat([deter, stoch], -1)
        outputs = {}
        for name, scope, layers in (("reward", "rew", 1), ("value", "val", self.config["policy_layers"])):
            logits = self.linear(self.mlp(features, scope, layers), f"{scope}/head/logits", self.config["bins"])
            outputs[name] = two_hot_mean(logits)
            if full:
                outputs[f"{name}.logits"] = logits
        logit = self.linear(self.mlp(features, "con", 1), "con/head/logit", 1)[:, 0]
        outputs |= {"continue.logit": logit, "continue": torch.sigmoid(logit)}
        outputs |= self.actor(self.mlp(features, "pol", self.config["policy_layers"]), noise["action"])
        if self.vectors:
            x = self.mlp(torch.cat([stoch, deter], -1), "dec", self.config["decoder_layers"])
            for key, space in self.vectors.items():
                outputs |= self.decode_vector(x, key, space)
        if self.images and full:
            outputs |= self.decode_images(deter, stoch)
        return outputs

    def actor(self, x, noise):
        width = self.config["action"]["width"]
        if self.config["action"]["discrete"]:
            logits = self.linear(x, "pol/head/action/logits", width)
            best = common.mode(logits, self.margins, "action")
            drawn = best if noise is None else common.draw(logits.softmax(-1), noise[:, 0], self.margins, "action")
            return {"action": best, "action.sample": drawn, "action.logits": logits}
        mean = torch.tanh(self.linear(x, "pol/head/action/mean", width))
        std = (STD_MAX - STD_MIN) * torch.sigmoid(self.linear(x, "pol/head/action/stddev", width) + 2) + STD_MIN
        return {"action": mean, "action.sample": common.normal(mean, std, noise), "action.std": std}

    # ---- the decoder ----

    def decode_vector(self, x, key, space):
        if space.get("classes"):
            logits = self.linear(x, f"dec/vec/{key}/logits", math.prod(space["shape"]) * space["classes"])
            logits = logits.reshape(-1, *space["shape"], space["classes"])
            return {f"observation.{key}": common.mode(logits, self.margins, "observation"),
                    f"observation.{key}.logits": logits}
        y = self.linear(x, f"dec/vec/{key}/pred", math.prod(space["shape"]))
        return {f"observation.{key}": common.symexp(y).reshape(-1, *space["shape"])}

    def decode_images(self, deter, stoch):
        depth, mults, blocks = self.config["depth"], self.config["mults"], self.config["decoder_blocks"]
        channels = [shape[-1] for shape in self.images.values()]
        size, width = next(iter(self.images.values()))[0] // 2 ** len(mults), depth * mults[-1]
        count = size * size * width
        x0 = self.block_linear(deter.reshape(self.rows, blocks, -1), "dec/sp0", count)
        x0 = x0.reshape(self.rows, blocks, size, size, -1).permute(0, 2, 3, 1, 4).flatten(3)
        x1 = self.hidden(stoch, "dec/sp1", 2 * self.config["units"])
        x1 = self.linear(x1, "dec/sp2", count).reshape(self.rows, size, size, width)
        x = self.activate(x0 + x1, "dec/spnorm")
        for i in reversed(range(len(mults) - 1)):
            x = self.activate(self.convolve(widened(x), f"dec/conv{i}", depth * mults[i]), f"dec/conv{i}norm")
        x = torch.sigmoid(self.convolve(widened(x), "dec/imgout", sum(channels)))
        return {f"observation.{key}": image for key, image in zip(self.images, x.split(channels, -1))}


if __name__ == "__main__":
    common.run(Dreamer3, "rssm/dreamer3_jax", VARIANTS)
