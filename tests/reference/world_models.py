"""World Models: a VAE that sees, an LSTM with a mixture of Gaussians that dreams, a controller of one layer.

Written from a description of the published code alone.

VAE layers have the published names, without scopes; rnn/{kernel,bias,output_w,output_b} and
controller/MODE/{weight,bias} (z_hidden: weight_hidden, bias_hidden, weight_output, bias_output) are named here, where
the published files have none. Dense kernels [in, out], convolutions [kh, kw, in, out], transposed ones [kh, kw, out,
in]; the LSTM's kernel takes [input, h] and gives i, j, f, o. Parts of the state: z, c, h, and Doom's restart.

Where the description leaves room:
* A first observe sets z and zeroes c and h: the LSTM has consumed nothing. Any other consumes the z before and the
  action that led here, once, also where dreams step twice: the double step is the dream environment's.
* Doom: restart is 1 in the initial state, after a first observe and after a start; 0 after any other observe, for an
  episode that goes on was not done; in a dream it is whether the logit is above 0. An observe masks c and h by the
  restart before it.
* continue is 1 or 0, by the same threshold; the limits on frames belong to the environment.
* At the mode a component is the likeliest, z its mean; the VAE's z is mu. prior.logmix is normalised, before
  temperature.
* The double step feeds the same z and action again; mixture and state are those of the second.
* All controllers of the car squash gas and brake alike. The LSTM is fed actions as given.
* Starts are taken as numbers, not as ten-thousandths.
"""

import numpy as np
import torch
import torch.nn.functional as F

import common

BASE = {
    "family": "world_models", "z": 6, "hidden": 10, "mixtures": 5, "channels": [3, 4, 5, 6], "restart": False,
    "double_step": False, "forget_bias": 1.0, "encoder_kernels": [4, 4, 4, 4], "decoder_kernels": [5, 5, 6, 6],
    "image_output": "x / 255", "weights": "as described", "temperature": 0.7,
    "action": {"discrete": False, "width": 3, "head": "controller"},
}
CARS = {
    "carracing": BASE | {"observes": 3, "observations": {"image": {"shape": [64, 64, 3]}}, "controller": "z_h",
                         "other_controllers": ["z", "z_c", "z_c_h", "z_hidden"], "controller_hidden": 7},
    "carracing_double": BASE | {"double_step": True, "observations": {"image": {"shape": [64, 64, 1]}},
                                "controller": "z_h", "other_controllers": []},
}
DOOMS = {
    "doom": BASE | {"z": 5, "hidden": 9, "restart": True, "temperature": 1.25, "steps": 9, "observes": 3,
                    "observations": {"image": {"shape": [64, 64, 3]}}, "controller": "z_c_h", "other_controllers": [],
                    "action": {"discrete": False, "width": 1, "head": "controller"}},
}


class Car:
    parts = ("z", "c", "h")

    def __init__(self, config, weights, rows, margins):
        self.config, self.weights, self.rows, self.margins = config, weights, rows, margins

    def sites(self, verb):
        z = self.config["z"]
        return {"encode": {"z": ("normal", z)},
                "step": {"component": ("uniform", z), "z": ("normal", z)}}.get(verb, {})

    def initial(self):
        zeros = lambda width: torch.zeros(self.rows, width).double()
        return {"z": zeros(self.config["z"]), "c": zeros(self.config["hidden"]), "h": zeros(self.config["hidden"])}

    # ---- the VAE ----

    def dense(self, x, name, width):
        kernel = self.weights.kernel(f"{name}/kernel", [x.shape[-1], width])
        return x @ kernel + self.weights.bias(f"{name}/bias", [width])

    def encode(self, seen, noise):
        x = seen["image"] / 255
        for i, (size, width) in enumerate(zip(self.config["encoder_kernels"], self.config["channels"])):
            name = f"enc_conv{i + 1}"
            kernel = self.weights.kernel(f"{name}/kernel", [size, size, x.shape[-1], width])
            x = F.relu(common.conv(x, kernel, self.weights.bias(f"{name}/bias", [width]), stride=2))
        mean = self.dense(x.flatten(1), "enc_fc_mu", self.config["z"])
        logvar = self.dense(x.flatten(1), "enc_fc_log_var", self.config["z"])
        z = common.normal(mean, torch.exp(logvar / 2), noise["z"])
        return {"embedding": z, "embedding.mean": mean, "embedding.logvar": logvar}

    def decode(self, z):
        x = self.dense(z, "dec_fc", 4 * self.config["channels"][-1])[:, None, None, :]
        widths = self.config["channels"][-2::-1] + self.config["observations"]["image"]["shape"][-1:]
        for i, (size, width) in enumerate(zip(self.config["decoder_kernels"], widths)):
            name, inputs = f"dec_deconv{i + 1}", x.shape[-1]
            kernel = self.weights.kernel(f"{name}/kernel", [size, size, width, inputs], size * size * inputs // 4)
            x = common.deconv(x, kernel, self.weights.bias(f"{name}/bias", [width]))
            x = F.relu(x) if i < 3 else torch.sigmoid(x)
        return x

    # ---- the LSTM and its mixture ----

    def features(self, state, action):
        return torch.cat([state["z"], action], -1)

    def recalled(self, state):
        """c and h that the cell starts from"""
        return state["c"], state["h"]

    def advance(self, state, action):
        x, (c, h), hidden = self.features(state, action), self.recalled(state), self.config["hidden"]
        kernel = self.weights.kernel("rnn/kernel", [x.shape[-1] + hidden, 4 * hidden])
        gates = torch.cat([x, h], -1) @ kernel + self.weights.bias("rnn/bias", [4 * hidden])
        i, j, f, o = gates.split(hidden, -1)
        c = c * torch.sigmoid(f + self.config["forget_bias"]) + torch.sigmoid(i) * torch.tanh(j)
        return state | {"c": c, "h": torch.tanh(c) * torch.sigmoid(o)}

    def mixture(self, h, extra=0):
        """The first `extra` outputs, and logmix, mean, logstd [rows, z, mixtures]"""
        z, mixtures = self.config["z"], self.config["mixtures"]
        width = extra + 3 * z * mixtures
        kernel = self.weights.kernel("rnn/output_w", [h.shape[-1], width])
        y = h @ kernel + self.weights.bias("rnn/output_b", [width])
        logmix, mean, logstd = y[:, extra:].reshape(-1, z, 3 * mixtures).split(mixtures, -1)
        return y[:, :extra], logmix - logmix.logsumexp(-1, keepdim=True), mean, logstd

    def choose(self, logmix, mean, logstd, noise):
        tau = self.config["temperature"]
        if noise["component"] is None:
            return (common.mode(logmix, self.margins, "mixture") * mean).sum(-1)
        chosen = common.draw((logmix / tau).softmax(-1), noise["component"], self.margins, "mixture")
        return (chosen * mean).sum(-1) + (chosen * logstd).sum(-1).exp() * tau ** 0.5 * noise["z"]

    # ---- verbs ----

    def observe(self, state, action, embedding, first, noise):
        moved = self.advance(state, action)
        kept = {part: common.zero_where(first, moved[part]) for part in ("c", "h")}
        return kept | {"z": embedding}, {}

    def step(self, state, action, noise):
        for _ in range(2 if self.config["double_step"] else 1):
            state = self.advance(state, action)
        _, logmix, mean, logstd = self.mixture(state["h"])
        state = state | {"z": self.choose(logmix, mean, logstd, noise)}
        return state, {"prior.logmix": logmix, "prior.mean": mean, "prior.logstd": logstd}

    def heads(self, state, noise, full):
        outputs = {"action": self.controller(state, self.config["controller"])}
        for mode in self.config["other_controllers"]:
            outputs[f"action.{mode}"] = self.controller(state, mode)
        if full:
            outputs["observation.image"] = self.decode(state["z"])
        return outputs

    def controller(self, state, mode):
        width, name = self.config["action"]["width"], f"controller/{mode}"
        if mode == "z_hidden":
            hidden = self.config["controller_hidden"]
            x = state["z"] @ self.weights.kernel(f"{name}/weight_hidden", [self.config["z"], hidden])
            x = torch.tanh(x + self.weights.bias(f"{name}/bias_hidden", [hidden]))
            y = x @ self.weights.kernel(f"{name}/weight_output", [hidden, width])
            y = y + self.weights.bias(f"{name}/bias_output", [width])
        else:
            x = torch.cat([state[part] for part in mode.split("_")], -1)
            y = x @ self.weights.kernel(f"{name}/weight", [x.shape[-1], width])
            y = y + self.weights.bias(f"{name}/bias", [width])
        steering, gas, brake = torch.tanh(y).unbind(-1)
        return torch.stack([steering, (gas + 1) / 2, brake.clamp(0, 1)], -1)


class Doom(Car):
    parts = ("z", "c", "h", "restart")

    def sites(self, verb):
        return {"z": ("normal", self.config["z"])} if verb == "start" else super().sites(verb)

    def initial(self):
        return super().initial() | {"restart": torch.ones(self.rows).double()}

    @staticmethod
    def start_inputs(config, random):
        shape = [common.ROWS, config["z"]]
        return {"mean": random.normal(size=shape), "logvar": np.log(random.uniform(0.2, 1.0, shape))}

    def start(self, given, noise):
        z = common.normal(given["mean"], torch.exp(given["logvar"] / 2), noise["z"])
        return self.initial() | {"z": z}

    def features(self, state, action):
        return torch.cat([state["z"], action, state["restart"][:, None]], -1)

    def recalled(self, state):
        masked = (state["restart"] > 0.5).double()
        return common.zero_where(masked, state["c"]), common.zero_where(masked, state["h"])

    def observe(self, state, action, embedding, first, noise):
        state, outputs = super().observe(state, action, embedding, first, noise)
        return state | {"restart": first}, outputs

    def step(self, state, action, noise):
        state = self.advance(state, action)
        extra, logmix, mean, logstd = self.mixture(state["h"], extra=1)
        logit = extra[:, 0]
        self.margins.note("done logits", logit.abs())
        done = (logit > 0).double()
        state = state | {"z": self.choose(logmix, mean, logstd, noise), "restart": done}
        return state, {"prior.logmix": logmix, "prior.mean": mean, "prior.logstd": logstd,
                       "done.logit": logit, "continue": 1 - done, "reward": torch.ones(self.rows).double()}

    def controller(self, state, mode):
        x = torch.cat([state[part] for part in mode.split("_")], -1)
        return torch.tanh(x @ self.weights.kernel(f"controller/{mode}/weight", [x.shape[-1], 1]))


if __name__ == "__main__":
    common.run(Car, "world_models", CARS)
    common.run(Doom, "world_models", DOOMS)
