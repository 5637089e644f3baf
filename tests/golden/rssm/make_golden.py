"""Golden tensors of an rssm checkpoint (dialect dreamer3_torch), computed with PyTorch.

    make_golden.py CHECKPOINT OUT.safetensors

Reads manifest.json and weights.safetensors and nothing of dreamd: the equations are written here
a second time, from the published ones. Some rows are filtered with observations, then imagined
further, every latent at its mode. The file has the layout of a checkpoint's probe
(models/family/probe.c): VERB.in.NAME, VERB.out.NAME, [steps, rows, ...].
"""

import json
import math
import pathlib
import sys

import numpy as np
import torch
import torch.nn.functional as F

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "reference"))
import common

ROWS, OBSERVES, STEPS, TRIES = 2, 12, 9, 24
BYTES_MAX = 300_000


def load(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    weights, _ = common.load(folder / "weights.safetensors")
    return manifest, {name: torch.from_numpy(values) for name, values in weights.items()}


class World:
    def __init__(self, manifest, weights):
        self.config, self.w = manifest["config"], weights
        self.stoch, self.classes = self.config["stoch"], self.config["classes"]
        space = manifest["observation_space"]
        leaves = space["spaces"] if space["type"] == "Dict" else {"": space}
        self.names = {f"observation.{key}" if key else "observation": math.prod(leaf["shape"])
                      for key, leaf in leaves.items()}
        space = manifest["action_space"]
        self.discrete = space["type"] == "Discrete"  # a one-hot, taken as it is
        self.actions = space["n"] if self.discrete else math.prod(space["shape"])
        if self.discrete:
            return
        bound = lambda key: torch.full([self.actions], float(space[key])) if not isinstance(space[key], list) \
            else torch.tensor(space[key], dtype=torch.float32)
        self.low, self.high = bound("low"), bound("high")

    def linear(self, name, x):
        return F.linear(x, self.w[f"{name}.weight"], self.w.get(f"{name}.bias"))

    def normed(self, name, x):
        y = self.linear(name, x)
        return F.layer_norm(y, y.shape[-1:], self.w[f"{name}.norm.weight"], self.w[f"{name}.norm.bias"], eps=1e-3)

    def mlp(self, name, x):
        for layer in range(self.config[name]["layers"]):
            x = F.silu(self.normed(f"{name}.mlp.{layer}", x))
        return x

    def logits(self, name, x):
        x = self.linear(f"{name}.logits", F.silu(self.normed(f"{name}.mlp.0", x)))
        return x.unflatten(-1, (self.stoch, self.classes))

    def mode(self, logits):
        probs = (1 - self.config["unimix"]) * logits.softmax(-1) + self.config["unimix"] / self.classes
        return F.one_hot(probs.argmax(-1), self.classes).float()

    def initial(self):
        deter = torch.tanh(self.w["rssm.initial"]).expand(ROWS, -1)
        return deter, self.mode(self.logits("rssm.prior", deter))

    def encode(self, observations):
        x = torch.cat([observations[name] for name in self.names], -1)
        return self.mlp("encoder", torch.sign(x) * torch.log1p(torch.abs(x)))

    def own_action(self, action):
        if self.discrete:
            return action
        return (action - self.low) / (self.high - self.low) * 2 - 1

    def space_action(self, action):
        return (action + 1) / 2 * (self.high - self.low) + self.low

    def advance(self, state, action):
        deter, stoch = state
        x = F.silu(self.normed("rssm.input", torch.cat([stoch.flatten(1), action], -1)))
        reset, candidate, update = self.normed("rssm.gru", torch.cat([x, deter], -1)).chunk(3, -1)
        candidate = torch.tanh(torch.sigmoid(reset) * candidate)
        update = torch.sigmoid(update - 1)
        return update * candidate + (1 - update) * deter

    def scalar(self, name, x):
        logits = self.linear(f"{name}.logits", self.mlp(name, x))
        mean = (logits.softmax(-1) * torch.linspace(-20, 20, 255)).sum(-1)
        return {name: torch.sign(mean) * torch.expm1(torch.abs(mean)), f"{name}.logits": logits}

    def heads(self, state):
        deter, stoch = state
        feature, out = torch.cat([stoch.flatten(1), deter], -1), {}
        if "decoder" in self.config:
            x = self.mlp("decoder", feature)
            for name in self.names:
                y = self.linear(f"decoder.{name}", x)
                out[name] = torch.sign(y) * torch.expm1(torch.abs(y))
        for name in ("reward", "value"):
            if name in self.config:
                out |= self.scalar(name, feature)
        if "continue" in self.config:
            logit = self.linear("continue.logit", self.mlp("continue", feature))[..., 0]
            out |= {"continue.logit": logit, "continue": torch.sigmoid(logit)}
        if "actor" in self.config:
            actor, x = self.config["actor"], self.mlp("actor", feature)
            mode = self.space_action(torch.tanh(self.linear("actor.mean", x)))
            std = torch.sigmoid(self.linear("actor.std", x) + 2)
            std = (actor["max_std"] - actor["min_std"]) * std + actor["min_std"]
            out |= {"action": mode, "action.sample": mode, "action.std": std * (self.high - self.low) / 2}
        return out


def pendulum(random, actions):
    """What a pendulum shows under actions in -2..2: cos, sin and speed, [steps, rows, 3]."""
    angle, speed, seen = random.uniform(-np.pi, np.pi, ROWS), random.uniform(-1, 1, ROWS), []
    for torque in actions[..., 0]:
        speed = np.clip(speed + (15 * np.sin(angle) + 3 * torque) * 0.05, -8, 8)
        angle = angle + speed * 0.05
        seen.append(np.stack([np.cos(angle), np.sin(angle), speed], -1))
    return np.stack(seen)


def cartpole(random, actions):
    """What a cartpole shows under one-hot actions: place, speed, angle and spin, [steps, rows, 4]."""
    state, seen = random.uniform(-0.05, 0.05, (4, ROWS)), []
    for choice in actions.argmax(-1):
        _, speed, angle, spin = state
        push = (20 * choice - 10 + 0.05 * spin**2 * np.sin(angle)) / 1.1
        spin_change = (9.8 * np.sin(angle) - np.cos(angle) * push) / (0.5 * (4 / 3 - 0.1 * np.cos(angle)**2 / 1.1))
        speed_change = push - 0.05 * spin_change * np.cos(angle) / 1.1
        state = state + 0.02 * np.stack([speed, speed_change, spin, spin_change])
        seen.append(state.T)
    return np.stack(seen)


def draw_actions(world, random, steps):
    if world.discrete:
        return np.eye(world.actions)[random.integers(world.actions, size=(steps, ROWS))]
    return random.uniform(world.low.numpy(), world.high.numpy(), (steps, ROWS, world.actions))


def inputs(world, random):
    given = {f"{verb}.in.action": draw_actions(world, random, steps)
             for verb, steps in (("observe", OBSERVES), ("step", STEPS))}
    worlds = {3: pendulum, 4: cartpole} if world.names.keys() == {"observation"} else {3: pendulum}
    for name, width in world.names.items():
        given[f"observe.in.{name}"] = (worlds[width](random, given["observe.in.action"]) if width in worlds
                                       else random.normal(size=(OBSERVES, ROWS, width)))
    return {name: values.astype(np.float32) for name, values in given.items()}


def walk(world, seed):
    """All tensors, and the smallest distance between the two best logits of any latent."""
    given = inputs(world, np.random.default_rng(seed))
    series, margin = {}, math.inf

    def note(verb, state, first, out):
        nonlocal margin
        out = out | {"state.deter": state[0], "state.stoch": state[1], "state.first": torch.full([ROWS], first)}
        for name, value in out.items():
            series.setdefault(f"{verb}.out.{name}", []).append(value)
        for name in ("posterior.logits", "prior.logits"):
            if name in out:
                best = out[name].topk(2).values
                margin = min(margin, (best[..., 0] - best[..., 1]).min().item())

    state = world.initial()
    note("initial", state, 1.0, {})
    for t in range(OBSERVES):
        seen = {name: torch.from_numpy(given[f"observe.in.{name}"][t]) for name in world.names}
        action = world.own_action(torch.from_numpy(given["observe.in.action"][t])) * float(t > 0)
        embedding = world.encode(seen)
        series.setdefault("encode.out.embedding", []).append(embedding)
        deter = world.advance(state, action)
        posterior = world.logits("rssm.posterior", torch.cat([deter, embedding], -1))
        prior = world.logits("rssm.prior", deter)
        state = deter, world.mode(posterior)
        note("observe", state, 0.0, world.heads(state) | {"posterior.logits": posterior, "prior.logits": prior})
    for t in range(STEPS):
        deter = world.advance(state, world.own_action(torch.from_numpy(given["step.in.action"][t])))
        prior = world.logits("rssm.prior", deter)
        state = deter, world.mode(prior)
        note("step", state, 0.0, world.heads(state) | {"prior.logits": prior})
    for name, value in world.heads(state).items():
        series[f"read.out.{name}"] = [value]
    tensors = dict(given)
    for name, values in series.items():
        once = name.startswith(("initial.", "read."))
        tensors[name] = (values[0] if once else torch.stack(values)).numpy()
    return margin, tensors


def main():
    folder, out = map(pathlib.Path, sys.argv[1:])
    torch.set_num_threads(1)
    torch.manual_seed(0)
    world = World(*load(folder))
    with torch.no_grad():
        margin, tensors = max((walk(world, seed) for seed in range(TRIES)), key=lambda pair: pair[0])
    common.save(out, tensors)
    size = out.stat().st_size
    print(f"{out}: {len(tensors)} tensors, {size} bytes, closest two logits {margin:.2e}, torch {torch.__version__}")
    if size > BYTES_MAX:
        sys.exit(f"{out}: {size} bytes, expected at most {BYTES_MAX}: fewer steps")


if __name__ == "__main__":
    main()
