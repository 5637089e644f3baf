"""The probe of an imported rssm checkpoint, from an independent forward pass in numpy.

A walk from the initial state: observes, steps, one read. Choices are argmaxes, so of some random walks
the one is kept whose closest choice is clearest: no machine's rounding flips it.
"""

import dataclasses

import numpy as np

ROWS, STEPS, TRIES, IMAGE_TRIES = 2, 4, 16, 4
CLEAR = 0.005  # of two logits: a hundred times what float32 rounds


@dataclasses.dataclass
class Observation:
    """One entry of the observation space: a vector of `width`, an image of `size` (height, width, channels), or one of `classes`."""

    width: int = 0
    shape: list | None = None  # of a vector, where it is another than [width]
    size: tuple = ()
    classes: int = 0
    channels_first: bool = False

    def space(self):
        if self.classes:
            return {"type": "Discrete", "n": self.classes}
        if not self.size:
            shape = [self.width] if self.shape is None else self.shape
            return {"type": "Box", "shape": shape, "dtype": "float32", "low": None, "high": None}
        height, width, channels = self.size
        shape = [channels, height, width] if self.channels_first else [height, width, channels]
        return {"type": "Box", "shape": shape, "dtype": "uint8", "low": 0, "high": 255}

    def text(self):
        if self.classes:
            return f"one of {self.classes}"
        return "image " + " x ".join(map(str, self.size)) if self.size else f"[{self.width}]"

    def draw(self, random, leading):
        """As the model sees it: vectors flat, images [height, width, channels] in 0..255, a choice as a one-hot."""
        if self.classes:
            return np.eye(self.classes, dtype=np.float32)[random.integers(self.classes, size=leading)]
        if self.size:
            return random.integers(0, 256, (*leading, *self.size)).astype(np.float32)
        return random.normal(size=(*leading, self.width)).astype(np.float32)

    def outside(self, values):
        """What the model sees or gives, flat in the space's own layout; a choice stays a one-hot."""
        if self.size:
            values = np.moveaxis(values, -1, -3) if self.channels_first else values
            return values.reshape(*values.shape[:-3], -1)
        return values


def draw_actions(random, width, discrete):
    if discrete:
        return np.eye(width, dtype=np.float32)[random.integers(width, size=(STEPS, ROWS))]
    return random.uniform(-1, 1, (STEPS, ROWS, width)).astype(np.float32)


class _Walk:
    """One candidate for a probe, and how close its closest choice was."""

    def __init__(self, model, observations, action, discrete, seed):
        self.model, self.observations = model, observations
        random = np.random.default_rng(seed)
        self.seen = {key: entry.draw(random, (STEPS, ROWS)) for key, entry in observations.items()}
        self.actions = {verb: draw_actions(random, action, discrete) for verb in ("observe", "step")}
        self.series, self.margin = {}, np.inf
        self.walk()

    def note(self, verb, outputs):
        for name, value in outputs.items():
            self.series.setdefault(f"{verb}.out.{name}", []).append(value)
            if name.endswith(".logits") and not name.startswith(("reward", "value")):
                two = np.sort(value, -1)[..., -2:]
                self.margin = min(self.margin, (two[..., 1] - two[..., 0]).min())
            if name == "continue.logit":
                self.margin = min(self.margin, np.abs(value).min())

    def outside(self, outputs):
        """Decoded observations in the space's units and layout."""
        found = {}
        for name, value in outputs.items():
            entry = self.observations.get(name.removeprefix("observation."))
            if not name.startswith("observation.") or not entry:
                found[name] = value
            elif not entry.classes:  # a choice is told by its logits
                found[name] = entry.outside(value * 255.0 if entry.size else value)
        return found

    def walk(self):
        model = self.model
        state = model.initial(ROWS)
        self.initial = {f"initial.out.state.{part}": value for part, value in state.items()}
        self.initial["initial.out.state.first"] = np.ones(ROWS)
        for t in range(STEPS):
            embedding = model.encode({key: values[t].astype(np.float64) for key, values in self.seen.items()})
            consumed = self.actions["observe"][t].astype(np.float64) * (t > 0)  # a row just reset ignores its action
            state, outputs = model.observe(state, consumed, embedding)
            self.note("encode", {"embedding": embedding})
            self.note_state("observe", state, outputs)
        for t in range(STEPS):
            state, outputs = model.step(state, self.actions["step"][t].astype(np.float64))
            self.note_state("step", state, outputs)
        self.state = state

    def note_state(self, verb, state, outputs):
        parts = {f"state.{part}": value for part, value in state.items()} | {"state.first": np.zeros(ROWS)}
        self.note(verb, parts | outputs | self.outside(self.model.heads(state, images=False)))

    def tensors(self):
        probe = {f"{verb}.in.action": values for verb, values in self.actions.items()}
        probe |= {f"observe.in.observation.{key}": entry.outside(self.seen[key])
                  for key, entry in self.observations.items()}
        probe |= {name: np.stack(values) for name, values in self.series.items()} | self.initial
        return probe | {f"read.out.{name}": value for name, value in self.outside(self.model.heads(self.state)).items()}


def make(model, observations, action, discrete):
    """Images are decoded once, at the end: that is the costly part."""
    best = None
    for seed in range(IMAGE_TRIES if any(entry.size for entry in observations.values()) else TRIES):
        walk = _Walk(model, observations, action, discrete, seed)
        if best is None or walk.margin > best.margin:
            best = walk
        if best.margin >= CLEAR:
            break
    return best.tensors()
