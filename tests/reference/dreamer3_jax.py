"""DreamerV3 as danijar/dreamerv3 has it since 2024 (JAX; block-diagonal GRU, RMS norms).

Written from a description of it (repository at e3f02248), not run against it. Weights have the names
and layouts of its checkpoints (ninjax paths): kernels [in, out], convolutions [kh, kw, in, out],
block-linear [blocks, in / blocks, out / blocks].

Variants: `vector` (two vectors, continuous actions beyond 1, 4 blocks), `image` (an image and a
vector, discrete actions), `images` (two images, continuous actions), `discrete` (a Discrete
observation and a scalar, discrete actions).

Where the description leaves room (* marks what was looked up afterwards in the published dreamerv3/rssm.py):
* Modes: the agent always samples. The mode of bounded_normal is its mean, of a categorical its argmax.
* A sampled action is mean + std * noise, not clipped: the environment clips ("NOT clipped in the agent").
* The categorical policy has no uniform mixture, although the config says unimix ("NOT applied").
* logits are as the layer gives them; latents are drawn from 0.99 softmax + 0.01 / classes.
* Sizes that the published presets fix (32 latents, 8 blocks, 3 layers, mults 2 3 4 4) are options here; reward and continue
  have 1 layer in the presets.
* The discrete decoder's weights are dec/vec/KEY/logits/{kernel,bias}: the description gives the path alone. Its mode
  is given as a one-hot, its logits beside it. A Discrete observation comes as its number.
* Images of the decoder: split in the order of the space; of the encoder: sorted by name *. `config.observations` is
  in the space's order. Vectors have a head each, so their order matters in the encoder alone.
* A Box of shape () counts as one number.
* Images are 48 x 48: their code wants the smallest map at least 3 wide *.
* The decoder's own blocks (bspace) are config.decoder_blocks, those of the dynamics config.blocks *.
"""

import math

import torch
import torch.nn.functional as F

import common

EPS, UNIMIX, BINS = 1e-4, 0.01, 255


def bins():
    """255 values in real space, symmetric, exactly 0 in the middle."""
    half = common.symexp(torch.linspace(-20, 0, (BINS - 1) // 2 + 1, dtype=torch.float64))
    return torch.cat([half, -half[:-1].flip(0)])


class Dreamer3Jax:
    parts = ("deter", "stoch")

    def __init__(self, config, weights, rows, margins):
        self.config, self.w, self.rows, self.margins = config, weights, rows, margins
        spaces = config["observations"]
        self.images = [key for key, space in spaces.items() if len(space["shape"]) == 3]
        self.vectors = [key for key in spaces if key not in self.images]

    def sites(self, verb):
        sites = {"posterior": ("uniform", self.config["stoch"])} if verb == "observe" else {}
        if verb == "step":
            sites["prior"] = ("uniform", self.config["stoch"])
        if verb == "encode":
            return {}
        discrete = self.config["action"]["discrete"]
        return sites | {"action": ("uniform", 1) if discrete else ("normal", self.config["action"]["width"])}

    # ---- layers ----

    def linear(self, name, x, out, mean=0.0):
        bias = self.w.bias(f"{name}/bias", [out]) + mean
        return x @ self.w.kernel(f"{name}/kernel", [x.shape[-1], out]) + bias

    def block_linear(self, name, x, out, blocks):
        inner = x.shape[-1] // blocks
        kernel = self.w.kernel(f"{name}/kernel", [blocks, inner, out // blocks], inputs=inner)
        y = torch.einsum("rgi,gio->rgo", x.unflatten(-1, (blocks, inner)), kernel)
        return y.flatten(1) + self.w.bias(f"{name}/bias", [out])

    def norm(self, name, x):
        return common.rms_norm(x, self.w.scale(f"{name}/scale", [x.shape[-1]]), EPS)

    def hidden(self, name, norm, x, out):
        return F.silu(self.norm(norm, self.linear(name, x, out)))

    def mlp(self, name, x, layers):
        for i in range(layers):
            x = self.hidden(f"{name}/linear{i}", f"{name}/norm{i}", x, self.config["units"])
        return x

    # ---- latent ----

    def initial(self):
        c = self.config
        return {"deter": torch.zeros(self.rows, c["deter"], dtype=torch.float64),
                "stoch": torch.zeros(self.rows, c["stoch"], c["classes"], dtype=torch.float64)}

    def encode(self, seen, noise):
        del noise
        tokens = []
        if self.vectors:
            parts = []
            for key in sorted(self.vectors):
                classes = self.config["observations"][key].get("classes")
                flat = F.one_hot(seen[key].long(), classes).double() if classes else common.symlog(seen[key])
                parts.append(flat.reshape(self.rows, -1))
            x = torch.cat(parts, -1)
            for i in range(self.config["encoder_layers"]):
                x = self.hidden(f"enc/mlp{i}", f"enc/mlp{i}norm", x, self.config["units"])
            tokens.append(x)
        if self.images:
            x = torch.cat([seen[key] for key in sorted(self.images)], -1) / 255 - 0.5
            for i, mult in enumerate(self.config["mults"]):
                out = self.config["depth"] * mult
                kernel = self.w.kernel(f"enc/cnn{i}/kernel", [5, 5, x.shape[-1], out])
                x = common.conv(x, kernel, self.w.bias(f"enc/cnn{i}/bias", [out]), pad=2)
                x = F.max_pool2d(x.permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)
                x = F.silu(self.norm(f"enc/cnn{i}norm", x))
            tokens.append(x.flatten(1))
        return {"embedding": torch.cat(tokens, -1)}

    def core(self, state, action):
        c = self.config
        deter, g = state["deter"], c["blocks"]
        action = action / action.abs().clamp(min=1)
        x = torch.cat([self.hidden("dyn/dynin0", "dyn/dynin0norm", deter, c["hidden"]),
                       self.hidden("dyn/dynin1", "dyn/dynin1norm", state["stoch"].flatten(1), c["hidden"]),
                       self.hidden("dyn/dynin2", "dyn/dynin2norm", action, c["hidden"])], -1)
        x = torch.cat([deter.unflatten(-1, (g, -1)), x[:, None].expand(-1, g, -1)], -1).flatten(1)
        x = F.silu(self.norm("dyn/dynhid0norm", self.block_linear("dyn/dynhid0", x, c["deter"], g)))
        gates = self.block_linear("dyn/dyngru", x, 3 * c["deter"], g).unflatten(-1, (g, 3, -1))
        reset, candidate, update = (gates[:, :, i].flatten(1) for i in range(3))
        candidate = torch.tanh(torch.sigmoid(reset) * candidate)
        update = torch.sigmoid(update - 1)
        return update * candidate + (1 - update) * deter

    def latent(self, logits, uniform, kind):
        if uniform is None:
            return common.mode(logits, self.margins, kind)
        probs = (1 - UNIMIX) * logits.softmax(-1) + UNIMIX / logits.shape[-1]
        return common.draw(probs, uniform, self.margins, kind)

    def logits(self, name, x):
        c = self.config
        return self.linear(f"dyn/{name}logit", x, c["stoch"] * c["classes"]).unflatten(-1, (c["stoch"], c["classes"]))

    def prior(self, deter):
        x = self.hidden("dyn/prior0", "dyn/prior0norm", deter, self.config["hidden"])
        return self.logits("prior", self.hidden("dyn/prior1", "dyn/prior1norm", x, self.config["hidden"]))

    def observe(self, state, action, embedding, first, noise):
        state = {part: common.zero_where(first, values) for part, values in state.items()}
        deter = self.core(state, common.zero_where(first, action))
        x = torch.cat([deter, embedding], -1)
        posterior = self.logits("obs", self.hidden("dyn/obs0", "dyn/obs0norm", x, self.config["hidden"]))
        state = {"deter": deter, "stoch": self.latent(posterior, noise["posterior"], "posterior")}
        return state, {"posterior.logits": posterior, "prior.logits": self.prior(deter)}

    def step(self, state, action, noise):
        deter = self.core(state, action)
        prior = self.prior(deter)
        return {"deter": deter, "stoch": self.latent(prior, noise["prior"], "prior")}, {"prior.logits": prior}

    # ---- heads ----

    def twohot(self, name, x, head, full):
        """Bins near zero are made likely: the outermost are worth 5e8 and would hide all others."""
        away = torch.linspace(-1, 1, BINS, dtype=torch.float64).abs()
        bias = self.w.get(f"{head}/head/logits/bias", [BINS], mean=(-40 * away).numpy(), std=0.3)
        logits = x @ self.w.kernel(f"{head}/head/logits/kernel", [x.shape[-1], BINS]) + bias
        weighted, middle = logits.softmax(-1) * bins(), BINS // 2
        pairs = weighted[..., :middle].flip(-1) + weighted[..., middle + 1:]
        mean = {name: weighted[..., middle] + pairs.sum(-1)}
        return mean | {f"{name}.logits": logits} if full else mean

    def actor(self, feature, noise):
        action, x = self.config["action"], self.mlp("pol/mlp", feature, self.config["policy_layers"])
        if action["discrete"]:
            logits = self.linear("pol/head/action/logits", x, action["width"])
            mode = common.mode(logits, self.margins, "action")
            sample = mode if noise is None else common.draw(logits.softmax(-1), noise[:, 0], self.margins, "action")
            return {"action": mode, "action.logits": logits, "action.sample": sample}
        mean = torch.tanh(self.linear("pol/head/action/mean", x, action["width"]))
        std = self.linear("pol/head/action/stddev", x, action["width"])
        std = (1.0 - 0.1) * torch.sigmoid(std + 2.0) + 0.1
        return {"action": mean, "action.std": std, "action.sample": common.normal(mean, std, noise)}

    def decode_vectors(self, state):
        x, out = torch.cat([state["stoch"].flatten(1), state["deter"]], -1), {}
        x = self.mlp("dec/mlp", x, self.config["decoder_layers"])
        for key in self.vectors:
            space = self.config["observations"][key]
            if space.get("classes"):
                logits = self.linear(f"dec/vec/{key}/logits", x, space["classes"])
                out[f"observation.{key}.logits"] = logits
                out[f"observation.{key}"] = common.mode(logits, self.margins, "observation")
            else:
                y = self.linear(f"dec/vec/{key}/pred", x, math.prod(space["shape"]))
                out[f"observation.{key}"] = common.symexp(y).reshape(-1, *space["shape"])
        return out

    def decode_images(self, state):
        """In 0..1: the target is the pixel / 255."""
        c = self.config
        height, width, _ = (size // 16 for size in c["observations"][self.images[0]]["shape"])
        depths = [c["depth"] * mult for mult in c["mults"]]
        g, units = c["decoder_blocks"], height * width * depths[-1]
        x0 = self.block_linear("dec/sp0", state["deter"], units, g)
        x0 = x0.unflatten(-1, (g, height, width, depths[-1] // g)).permute(0, 2, 3, 1, 4).flatten(3)
        x1 = self.hidden("dec/sp1", "dec/sp1norm", state["stoch"].flatten(1), 2 * c["units"])
        x1 = self.linear("dec/sp2", x1, units).unflatten(-1, (height, width, depths[-1]))
        x = F.silu(self.norm("dec/spnorm", x0 + x1))
        for i in (2, 1, 0):
            x = self.upsampled(f"dec/conv{i}", x, depths[i])
            x = F.silu(self.norm(f"dec/conv{i}norm", x))
        channels = [c["observations"][key]["shape"][-1] for key in self.images]
        x = torch.sigmoid(self.upsampled("dec/imgout", x, sum(channels)))
        return {f"observation.{key}": part for key, part in zip(self.images, x.split(channels, -1))}

    def upsampled(self, name, x, out):
        x = x.repeat_interleave(2, 1).repeat_interleave(2, 2)
        kernel = self.w.kernel(f"{name}/kernel", [5, 5, x.shape[-1], out])
        return common.conv(x, kernel, self.w.bias(f"{name}/bias", [out]), pad=2)

    def heads(self, state, noise, full):
        feature = torch.cat([state["deter"], state["stoch"].flatten(1)], -1)
        out = self.decode_vectors(state) if self.vectors else {}
        if full and self.images:
            out |= self.decode_images(state)
        out |= self.twohot("reward", self.mlp("rew/mlp", feature, 1), "rew", full)
        out |= self.twohot("value", self.mlp("val/mlp", feature, self.config["policy_layers"]), "val", full)
        logit = self.linear("con/head/logit", self.mlp("con/mlp", feature, 1), 1)[..., 0]
        return out | {"continue.logit": logit, "continue": torch.sigmoid(logit)} | self.actor(feature, noise["action"])


SIZES = {"dialect": "dreamer3_jax", "deter": 32, "stoch": 4, "classes": 5, "hidden": 10, "units": 12, "blocks": 8,
         "encoder_layers": 3, "decoder_layers": 3, "policy_layers": 3, "bins": BINS, "unimix": UNIMIX,
         "norm": "rms", "norm_eps": EPS, "act": "silu", "weights": "as published"}
IMAGES = SIZES | {"depth": 4, "mults": [1, 2, 3, 4], "decoder_blocks": 8, "kernel": 5, "image_output": "x / 255"}
VARIANTS = {
    "vector": SIZES | {"blocks": 4, "observations": {"velocity": {"shape": [3]}, "position": {"shape": [2, 2]}},
                       "action": {"discrete": False, "width": 2, "head": "bounded_normal", "tried": 1.5}},
    "image": IMAGES | {"encoder_layers": 2, "depth": 3, "decoder_blocks": 4,
                       "observations": {"image": {"shape": [48, 48, 3]}, "state": {"shape": [3]}},
                       "action": {"discrete": True, "width": 4, "head": "onehot"}},
    "images": IMAGES | {"policy_layers": 2, "depth": 2, "decoder_blocks": 4,
                        "observations": {"view": {"shape": [48, 48, 3]}, "depth": {"shape": [48, 48, 1]}},
                        "action": {"discrete": False, "width": 3, "head": "bounded_normal"}},
    "discrete": SIZES | {"observations": {"tile": {"shape": [], "classes": 3}, "height": {"shape": []}},
                         "action": {"discrete": True, "width": 3, "head": "onehot"}},
}

if __name__ == "__main__":
    common.run(Dreamer3Jax, "rssm/dreamer3_jax", VARIANTS)
