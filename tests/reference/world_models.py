"""World Models as hardmaru/WorldModelsExperiments has it (VAE, MDN-RNN, controller; TensorFlow 1).

Written from a description of it (repository at fd982b96), not run against it; stored copies of its
source were read before this was written, so it depends on both. Weights of the VAE and the MDN-RNN have
the names and layouts of the description: conv2d [kh, kw, in, out], conv2d_transpose [kh, kw, out, in], kernel
[in + hidden, 4 hidden] with gates i, j, f, o. Controllers are flat lists in the original: here controller/MODE/bias
and controller/MODE/weight [features, actions] (z_hidden: bias_hidden, weight_hidden, bias_output, weight_output).

Variants: `carracing` (colour VAE, all controllers), `carracing_double` (gray; the published dream, which steps its LSTM
twice a frame), `doom` (restart is predicted, is an input and zeroes the LSTM; steps begin at a start).

Verbs. The latent is z, c, h, and for Doom restart. encode: z of a frame, its mode the mean. observe: c and h advance with the z,
action (and restart) of before, then z is that of the frame; a row just reset keeps c = h = 0. step: c and h advance with
(z, action, restart), z is drawn from the mixture. read: decoded image and controllers. The controller at t sees z of t, and
c and h that have consumed z and action of t - 1.

Where the description leaves room (* marks what the published files decided):
* initial: z = c = h = 0, restart 1. The originals have no latent before the first frame or start: z 0 is ours.
* start (Doom): z = mean + exp(logvar / 2) * noise of a row of initial_z, c = h = 0, restart 1; its mode is the mean. Which
  row is drawn uniformly, and not part of this: mean and logvar are inputs here, after the division by 10,000.
* restart is 1 after an observe of a row just reset, 0 after any other: within an episode the real environment is not done *.
* The mode of a step takes the mean of the most likely component of each dimension; temperature does not change it.
* Temperature divides logmix and multiplies std by its square root; it is config.temperature.
* logmix is normalised over the components, before temperature.
* A uniform chooses the first component whose cumulative probability reaches it, one uniform a dimension.
* done is restart logit > 0, never drawn. reward is 1 a step, the last included; continue is 1 - done. Limits of frames (2100, 1200)
  are the environment's, not here. CarRacing's dream has no reward and no done: they are absent.
* The published CarRacing dream: the agent advances its state with (z, action) as it chooses the action, then the dream advances that
  state with the same (z, action) again, and z comes of the second output.
* Actions are given, not the controller's: any closed loop can be built of step and read. CarRacing's lie in -1..1, 0..1, 0..1.
* z_hidden reads z alone *. `action` is that of config.controller, action.MODE that of the other controllers.
* Sizes are small (the original: channels 32 64 128 256, hidden 256 or 512, z 32 or 64, 40 hidden units).
"""

import torch
import torch.nn.functional as F

import common

KERNELS = (5, 5, 6, 6)
FEATURES = {"z": "z", "z_h": "zh", "z_c": "zc", "z_c_h": "zch"}


class WorldModels:
    def __init__(self, config, weights, rows, margins):
        self.config, self.w, self.rows, self.margins = config, weights, rows, margins
        self.parts = ("z", "c", "h")

    def sites(self, verb):
        width = self.config["z"]
        return {"encode": {"z": ("normal", width)},
                "step": {"component": ("uniform", width), "z": ("normal", width)}}.get(verb, {})

    def dense(self, name, x, out):
        return x @ self.w.kernel(f"{name}/kernel", [x.shape[-1], out]) + self.w.bias(f"{name}/bias", [out])

    # ---- VAE ----

    def encode(self, seen, noise):
        x = seen["image"] / 255
        for i, out in enumerate(self.config["channels"], 1):
            kernel = self.w.kernel(f"enc_conv{i}/kernel", [4, 4, x.shape[-1], out])
            x = F.relu(common.conv(x, kernel, self.w.bias(f"enc_conv{i}/bias", [out]), stride=2))
        x = x.flatten(1)
        mean, logvar = self.dense("enc_fc_mu", x, self.config["z"]), self.dense("enc_fc_log_var", x, self.config["z"])
        z = common.normal(mean, torch.exp(logvar / 2), noise["z"])
        return {"embedding": z, "embedding.mean": mean, "embedding.logvar": logvar}

    def decode(self, z):
        """In 0..1; the pixel is round(255 y)."""
        a, b, c, d = self.config["channels"]
        x = self.dense("dec_fc", z, 4 * d)[:, None, None]
        channels = self.config["observations"]["image"]["shape"][-1]
        for i, (size, out) in enumerate(zip(KERNELS, (c, b, a, channels)), 1):
            taps = size * size * x.shape[-1] / (25 if i == 1 else 4)
            kernel = self.w.kernel(f"dec_deconv{i}/kernel", [size, size, out, x.shape[-1]], inputs=taps)
            x = common.deconv(x, kernel, self.w.bias(f"dec_deconv{i}/bias", [out]))
            x = torch.sigmoid(x) if i == 4 else F.relu(x)
        return x

    # ---- MDN-RNN ----

    def lstm(self, x, c, h):
        gates = torch.cat([x, h], -1)
        units = self.config["hidden"]
        gates = gates @ self.w.kernel("rnn/kernel", [gates.shape[-1], 4 * units]) + self.w.bias("rnn/bias", [4 * units])
        i, j, f, o = gates.chunk(4, -1)
        c = c * torch.sigmoid(f + 1.0) + torch.sigmoid(i) * torch.tanh(j)
        return c, torch.tanh(c) * torch.sigmoid(o)

    def advance(self, state, action):
        return self.lstm(torch.cat([state["z"], action], -1), state["c"], state["h"])

    def output(self, h, extra=0):
        width = 3 * self.config["mixtures"] * self.config["z"] + extra
        return h @ self.w.kernel("rnn/output_w", [h.shape[-1], width]) + self.w.bias("rnn/output_b", [width])

    def mixture(self, y):
        logmix, mean, logstd = y.unflatten(-1, (self.config["z"], 3, -1)).unbind(-2)
        return logmix.log_softmax(-1), mean, logstd

    def drawn(self, logmix, mean, logstd, noise):
        if noise["z"] is None:
            return (common.mode(logmix, self.margins, "mixture") * mean).sum(-1)
        temperature = self.config["temperature"]
        probs = (logmix / temperature).softmax(-1)
        chosen = common.draw(probs, noise["component"], self.margins, "mixture")
        mean, logstd = (chosen * mean).sum(-1), (chosen * logstd).sum(-1)
        return mean + torch.exp(logstd) * temperature ** 0.5 * noise["z"]

    # ---- verbs ----

    def initial(self):
        widths = {"z": self.config["z"], "c": self.config["hidden"], "h": self.config["hidden"]}
        return {part: torch.zeros(self.rows, width, dtype=torch.float64) for part, width in widths.items()}

    def observe(self, state, action, embedding, first, noise):
        del noise
        c, h = (common.zero_where(first, values) for values in self.advance(state, action))
        return {"z": embedding, "c": c, "h": h}, {}

    def step(self, state, action, noise):
        c, h = self.advance(state, action)
        if self.config["double_step"]:
            c, h = self.advance({"z": state["z"], "c": c, "h": h}, action)
        logmix, mean, logstd = self.mixture(self.output(h))
        out = {"prior.logmix": logmix, "prior.mean": mean, "prior.logstd": logstd}
        return {"z": self.drawn(logmix, mean, logstd, noise), "c": c, "h": h}, out

    def controller(self, mode, state):
        name, actions = f"controller/{mode}", self.config["action"]["width"]
        if mode == "z_hidden":
            units = self.config["controller_hidden"]
            x = state["z"] @ self.w.kernel(f"{name}/weight_hidden", [self.config["z"], units])
            x = torch.tanh(x + self.w.bias(f"{name}/bias_hidden", [units]))
            y = x @ self.w.kernel(f"{name}/weight_output", [units, actions]) + self.w.bias(f"{name}/bias_output", [actions])
        else:
            x = torch.cat([state[part] for part in FEATURES[mode]], -1)
            y = x @ self.w.kernel(f"{name}/weight", [x.shape[-1], actions]) + self.w.bias(f"{name}/bias", [actions])
        steer, gas, brake = torch.tanh(y).unbind(-1)
        return torch.stack([steer, (gas + 1) / 2, brake.clamp(0, 1)], -1)

    def heads(self, state, noise, full):
        del noise
        out = {"action": self.controller(self.config["controller"], state)}
        out |= {f"action.{mode}": self.controller(mode, state) for mode in self.config["other_controllers"]}
        return out | {"observation.image": self.decode(state["z"])} if full else out


class Doom(WorldModels):
    def __init__(self, *args):
        super().__init__(*args)
        self.parts = ("z", "c", "h", "restart")

    def sites(self, verb):
        return {"z": ("normal", self.config["z"])} if verb == "start" else super().sites(verb)

    @staticmethod
    def start_inputs(config, random):
        shape = (common.ROWS, config["z"])
        return {"mean": random.normal(size=shape), "logvar": random.normal(-1, 0.5, shape)}

    def initial(self):
        return super().initial() | {"restart": torch.ones(self.rows, dtype=torch.float64)}

    def start(self, given, noise):
        return self.initial() | {"z": common.normal(given["mean"], torch.exp(given["logvar"] / 2), noise["z"])}

    def advance(self, state, action):
        restart = state["restart"]
        x = torch.cat([state["z"], action, restart[:, None]], -1)
        return self.lstm(x, common.zero_where(restart, state["c"]), common.zero_where(restart, state["h"]))

    def observe(self, state, action, embedding, first, noise):
        state, out = super().observe(state, action, embedding, first, noise)
        return state | {"restart": first}, out

    def step(self, state, action, noise):
        c, h = self.advance(state, action)
        y = self.output(h, extra=1)
        logit, (logmix, mean, logstd) = y[:, 0], self.mixture(y[:, 1:])
        self.margins.note("done logits", logit.abs())
        done = (logit > 0).double()
        out = {"prior.logmix": logmix, "prior.mean": mean, "prior.logstd": logstd, "done.logit": logit,
               "continue": 1 - done, "reward": torch.ones(self.rows)}
        return {"z": self.drawn(logmix, mean, logstd, noise), "c": c, "h": h, "restart": done}, out

    def controller(self, mode, state):
        x = torch.cat([state[part] for part in FEATURES[mode]], -1)
        return torch.tanh(x @ self.w.kernel(f"controller/{mode}/weight", [x.shape[-1], 1]))


def build(config, *args):
    return (Doom if config["restart"] else WorldModels)(config, *args)


SIZES = {"family": "world_models", "z": 6, "hidden": 10, "mixtures": 5, "channels": [3, 4, 5, 6], "restart": False,
         "double_step": False, "forget_bias": 1.0, "encoder_kernels": [4, 4, 4, 4], "decoder_kernels": list(KERNELS),
         "image_output": "x / 255", "weights": "as described"}
CAR = SIZES | {"temperature": 0.7, "action": {"discrete": False, "width": 3, "head": "controller"}}
VARIANTS = {
    "carracing": CAR | {"observes": 3, "observations": {"image": {"shape": [64, 64, 3]}}, "controller": "z_h",
                        "other_controllers": ["z", "z_c", "z_c_h", "z_hidden"], "controller_hidden": 7},
    "carracing_double": CAR | {"double_step": True, "observations": {"image": {"shape": [64, 64, 1]}},
                               "controller": "z_h", "other_controllers": []},
    "doom": SIZES | {"temperature": 1.25, "restart": True, "steps": 9, "z": 5, "hidden": 9, "observes": 3,
                     "observations": {"image": {"shape": [64, 64, 3]}}, "controller": "z_c_h", "other_controllers": [],
                     "action": {"discrete": False, "width": 1, "head": "controller"}},
}

if __name__ == "__main__":
    build.start_inputs = lambda config, random: Doom.start_inputs(config, random) if config["restart"] else {}
    common.run(build, "world_models", VARIANTS)
