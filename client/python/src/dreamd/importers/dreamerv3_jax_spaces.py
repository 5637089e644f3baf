"""What a checkpoint of dreamerv3-jax sees and does: from its tensors, and from what the config adds under `spaces`.

Tensors tell widths. That of a choice is its classes, times its shape where it has one, and tells neither.
"""

import dataclasses
import math
import re

from . import ImportFailure
from .probe import Observation


def read_spaces(config):
    """{key: (shape, classes)} or None."""
    spaces = config.get("spaces")
    if spaces is None:
        return None
    found = {}
    for key, said in spaces.items() if isinstance(spaces, dict) else [(None, None)]:
        said = {"shape": said} if isinstance(said, list) else said
        shape = said.get("shape", []) if isinstance(said, dict) else None
        classes = said.get("classes", 0) if isinstance(said, dict) else None
        sizes = [*shape, classes + 1] if isinstance(shape, list) and isinstance(classes, int) else [None]
        if not all(isinstance(n, int) and not isinstance(n, bool) and 0 < n <= 1 << 20 for n in sizes):
            config.fail("spaces", "{key: [sizes]} or {key: {\"shape\": [sizes], \"classes\": n}}")
        found[str(key)] = (shape, classes)
    return found


def find_vectors(p):
    """{key: (numbers, is a choice)} of the decoder's heads; encoder and decoder have the same observations."""
    found = {}
    for name in p.tensors:
        if match := re.fullmatch(r"dec/vec/(.+)/(pred|logits)/kernel", name):
            key, kind = match.groups()
            width = math.prod(p.tensors[name].shape[1:])
            if key in found:
                raise ImportFailure(f"{name}: a second head for {key}")
            found[key] = (width, kind == "logits")
    return dict(sorted(found.items()))


def find_images(p, config, spaces):
    """{key: (height, width, channels)} in the order of the space."""
    if not p.has("enc/cnn0/kernel"):
        return {}
    # A decoder's first map tells the size: it has a layer more than those that are numbered, imgout.
    layers, channels = p.layers("dec/conv{}/kernel") + 1, p.shape("enc/cnn0/kernel", 4)[2]
    depth = len(p.tensors.get("dec/spnorm/scale", ()))
    cells = p.tensors["dec/sp0/bias"].size // max(1, depth) if p.has("dec/sp0/bias") else 0
    if not cells:
        raise ImportFailure("dec/sp0/bias, dec/spnorm/scale: missing; expected them beside enc/cnn0 (bspace above 0)")
    if spaces is not None and (images := {key: shape for key, (shape, _) in spaces.items() if len(shape) == 3}):
        if sum(shape[2] for shape in images.values()) != channels or any(
                (shape[0] >> layers) * (shape[1] >> layers) != cells or shape[:2] != next(iter(images.values()))[:2]
                for shape in images.values()):
            raise ImportFailure(f"{config.path}: spaces have the images {images}, the tensors read {channels} channels and "
                                f"{cells} x {4 ** layers} pixels; expected the same")
        found = {key: tuple(shape) for key, shape in images.items()}
    else:
        side = math.isqrt(cells)
        if side * side != cells or channels not in (1, 3):
            raise ImportFailure(f"{config.path}: no spaces, and the tensors tell {channels} channels and {cells} x "
                                f"{4 ** layers} pixels, which is not one square image; expected \"spaces\" with every image")
        found = {"image": (side << layers, side << layers, channels)}
    if any(height != width for height, width, _ in found.values()):
        raise ImportFailure(f"images of {next(iter(found.values()))[:2]}: expected square ones, the only ones that are served")
    return found


def find_observations(p, config, spaces):
    """{key: Observation} in the order of `spaces`, or of the tensors."""
    vectors, images = find_vectors(p), find_images(p, config, spaces)
    found = {key: Observation(size=size) for key, size in images.items()}
    for key, (width, choice) in vectors.items():
        found[key] = Observation(classes=width) if choice else Observation(width=width)
    if not found:
        raise ImportFailure("dec/vec/*, enc/cnn0: missing; expected an observation")
    if spaces is None:
        return found
    for key, (shape, classes) in spaces.items():
        entry = found.get(key)
        if entry is None:
            raise ImportFailure(f"{config.path}: spaces have {key}, the decoder has no head for it; expected {', '.join(found)}")
        if classes and (shape or classes != entry.classes) or not classes and entry.classes or \
                not entry.size and not classes and math.prod(shape) != entry.width:
            raise ImportFailure(f"{config.path}: spaces say {key} has shape {shape} and {classes} classes, the tensors "
                                f"{entry.text()}; expected the same, and a choice to be one")
    if missing := [key for key in found if key not in spaces]:
        raise ImportFailure(f"{config.path}: spaces lack {missing[0]}; expected all of {', '.join(found)}")
    for key, (shape, _) in spaces.items():
        if found[key].width:
            found[key].shape = shape
    return {key: found[key] for key in spaces}


@dataclasses.dataclass
class Action:
    key: str | None  # of the policy's head; None without a policy
    discrete: bool
    shape: list | None = None  # of a Box, where `spaces` say it


def find_action(p, config, spaces):
    """The policy's, compared with what `spaces` say under its key, which is taken out of them."""
    heads = {match.groups() for name in p.tensors if (match := re.fullmatch(r"pol/head/(.+)/(mean|logits)/kernel", name))}
    if len(heads) > 1:
        raise ImportFailure(f"pol/head/*: actions {', '.join(sorted(key for key, _ in heads))}, expected one: "
                            "the only kind that is served")
    key, kind = next(iter(heads), (None, None))
    action = Action(key, kind == "logits")
    if key not in (spaces or {}) or key in find_vectors(p):
        return action
    shape, classes = spaces.pop(key)
    width = p.shape("dyn/dynin2/kernel", 2)[0]
    if shape or classes != width if action.discrete else classes or math.prod(shape) != width:
        found = f"one of {width}" if action.discrete else f"[{width}]"
        raise ImportFailure(f"{config.path}: spaces say {key}, the action, has shape {shape} and {classes} classes, the tensors {found}; "
                            "expected the same, and a choice to be one")
    action.shape = None if action.discrete else shape
    return action


def find(p, config):
    """Observations in the order of the space, and the Action."""
    spaces = read_spaces(config)
    action = find_action(p, config, spaces)
    return find_observations(p, config, spaces), action
