"""Frames of imagined worlds: what the model decodes where that is a picture, and drawings of the classic systems.

Drawn with numpy: a shape is a signed distance in pixels, and its edge is one pixel soft.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from ..errors import invalid
from ..types import Checkpoint

View = Callable[[Any], NDArray[np.uint8]]
Frame = NDArray[np.float32]

SIZE = 256  # pixels of a drawing's side
_Y, _X = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32) + 0.5
ROD, CART, POLE, DARK, LINE = (204, 77, 77), (40, 40, 40), (202, 152, 101), (0, 0, 0), (128, 128, 128)


def _paint(frame: Frame, distance: NDArray[np.float32], colour: tuple[int, int, int]) -> None:
    cover = np.clip(0.5 - distance, 0, 1)[..., np.newaxis]
    frame += cover * (np.asarray(colour, np.float32) - frame)


def _capsule(frame: Frame, start: tuple[float, float], end: tuple[float, float], radius: float,
             colour: tuple[int, int, int]) -> None:
    along = np.subtract(end, start, dtype=np.float32)
    square = float(along @ along)
    share = ((_X - start[0]) * along[0] + (_Y - start[1]) * along[1]) / square if square > 0 else np.zeros_like(_X)
    share = np.clip(share, 0, 1)
    _paint(frame, np.hypot(_X - start[0] - share * along[0], _Y - start[1] - share * along[1]) - radius, colour)


def _box(frame: Frame, centre: tuple[float, float], half: tuple[float, float], colour: tuple[int, int, int]) -> None:
    _paint(frame, np.maximum(np.abs(_X - centre[0]) - half[0], np.abs(_Y - centre[1]) - half[1]), colour)


def _blank() -> Frame:
    return np.full((SIZE, SIZE, 3), 255, np.float32)


def draw_pendulum(observation: Any) -> NDArray[np.uint8]:
    """cos, sin and velocity of Pendulum-v1: a rod that stands up at angle 0."""
    frame, middle, length = _blank(), SIZE / 2, SIZE / 4.4
    angle = float(np.arctan2(observation[1], observation[0]))
    end = (middle - length * np.sin(angle), middle - length * np.cos(angle))
    _capsule(frame, (middle, middle), end, SIZE / 44, ROD)
    _capsule(frame, (middle, middle), (middle, middle), SIZE / 88, DARK)
    return frame.astype(np.uint8)


def draw_cartpole(observation: Any) -> NDArray[np.uint8]:
    """Position, velocity, angle and its velocity of CartPole-v1."""
    frame, scale, ground = _blank(), SIZE / 4.8, SIZE * 0.75
    x, angle = SIZE / 2 + float(observation[0]) * scale, float(observation[2])
    _box(frame, (SIZE / 2, ground), (SIZE, 0.5), LINE)
    _box(frame, (x, ground), (SIZE / 24, SIZE / 40), CART)
    top = ground - SIZE / 80
    _capsule(frame, (x, top), (x + scale * np.sin(angle), top - scale * np.cos(angle)), SIZE / 100, POLE)
    _capsule(frame, (x, top), (x, top), SIZE / 120, LINE)
    return frame.astype(np.uint8)


DRAWINGS: dict[str, tuple[int, View]] = {"Pendulum-v1": (3, draw_pendulum), "CartPole-v1": (4, draw_cartpole)}
STEPS_A_SECOND = {"Pendulum-v1": 20, "CartPole-v1": 50}


def find_fps(about: Checkpoint) -> int:
    """Frames a second at which its worlds move as the real one does."""
    return STEPS_A_SECOND.get(about.manifest.get("training", {}).get("env", ""), 20)


def _picture(space: gymnasium.Space[Any]) -> bool:
    return isinstance(space, gymnasium.spaces.Box) and len(space.shape) == 3 and space.shape[2] in (1, 3)


def _to_picture(space: gymnasium.spaces.Box) -> View:
    """Whatever range a picture has: uint8 is as it is, floats are spread from their bounds to 0..255."""
    low, high = space.low.astype(np.float32), space.high.astype(np.float32)
    span = np.where(np.isfinite(high - low) & (high > low), high - low, 1).astype(np.float32)
    low = np.where(np.isfinite(low), low, 0).astype(np.float32)

    def show(observation: Any) -> NDArray[np.uint8]:
        picture = np.asarray(observation)
        if space.dtype != np.uint8:
            picture = np.clip((picture - low) / span * 255, 0, 255).astype(np.uint8)
        return np.repeat(picture, 3, axis=2) if picture.shape[2] == 1 else picture

    return show


def find_view(space: gymnasium.Space[Any], about: Checkpoint) -> View:
    """How a world of this checkpoint is shown."""
    if isinstance(space, gymnasium.spaces.Box) and _picture(space):
        return _to_picture(space)
    if isinstance(space, gymnasium.spaces.Dict):
        for key, part in space.spaces.items():
            if isinstance(part, gymnasium.spaces.Box) and _picture(part):
                show = _to_picture(part)
                return lambda observation: show(observation[key])
    width, draw = DRAWINGS.get(about.manifest.get("training", {}).get("env", ""), (0, draw_pendulum))
    if space.shape == (width,):
        return draw
    raise invalid("render_mode", f"{about.name} decodes no picture, and was not learned in one of {', '.join(DRAWINGS)}: "
                                 "there is nothing to draw")
