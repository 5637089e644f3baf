"""WorldEnv: one imagined world."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np

from .._arguments import array as to_array
from ..client import Client
from ..types import EndingRule, LatentMode, Start, State
from ._hosted import Hosted, Observe, read_option, writable


class WorldEnv(gymnasium.Env[Any, Any]):
    """An imagined world of a hosted model as a Gymnasium environment.

    Args:
        model: "name", "name@3", "name@best".
        address: of the daemon, or of several; None is $DREAMD_ADDRESS, or 127.0.0.1:7733.
        client: one that is connected already, instead of `address`; it stays open.
        horizon: steps after which an episode is truncated; 0 is never.
        ending: when the continue head terminates: "threshold" (default where there is such a head), "sampled" or "never".
        threshold: of continue, 0 to 1.
        start: "file", the recorded first observations (default where the checkpoint has some), or "initial".
        observe: "observation" as decoded (default), or "state": the latent, flat, for agents that learn on it.
        latent_mode: "sample" (default) or "mode": no randomness in the model.
        render_mode: None or "rgb_array".
        timeout: seconds a call may take.
        ttl: seconds the world lives without a call; None is the daemon's default.

    `reset(options={"start_index": 3})` begins at that recorded observation. `get_state` and `set_state` (of `env.unwrapped`)
    go back to where a world was.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 20}  # noqa: RUF012  (Gymnasium's own form)

    def __init__(self, model: str, *, address: str | Sequence[str] | None = None, client: Client | None = None,
                 horizon: int = 0, ending: EndingRule | None = None, threshold: float = 0.5, start: Start | None = None,
                 observe: Observe | None = None, latent_mode: LatentMode | None = None, render_mode: str | None = None,
                 timeout: float = 30.0, ttl: float | None = None) -> None:
        self._hosted = Hosted(
            model, 1, address=address, client=client, horizon=horizon, ending=ending, threshold=threshold, start=start,
            observe=observe, latent_mode=latent_mode, autoreset="disabled", timeout=timeout, ttl=ttl, render_mode=render_mode)
        self.metadata = self._hosted.metadata
        self.render_mode = render_mode
        self.observation_space = self._hosted.observation_space
        self.action_space = self._hosted.action_space
        self._last: Any = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        index = read_option(options, "start_index")
        reply = self._hosted.change(self._hosted.session.reset, seed=seed, outputs=[self._hosted.observes],
                                    start="file" if index is not None else None,
                                    start_indices=[] if index is None else [index])
        self._last = _first(self._hosted.read(reply))
        return writable(self._last), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        action = to_array("action", action, f"a value of {self.action_space}")
        reply = self._hosted.change(self._hosted.session.step, action[np.newaxis], outputs=self._hosted.step_outputs)
        self._last = _first(self._hosted.read(reply))
        info = {"continue": float(reply.continues[0])} if "continue" in reply else {}
        return (writable(self._last), float(self._hosted.rewards(reply)[0]), bool(reply.terminated[0]),
                bool(reply.truncated[0]), info)

    def get_state(self) -> State:
        """Where this world is, to go on from later, here or in another one: the same actions give the same future."""
        return self._hosted.session.get_state()

    def set_state(self, state: State) -> Any:
        """Goes back to a saved state. Returns its observation, as decoded."""
        self._hosted.change(self._hosted.session.set_state, state)
        self._last = _first(self._hosted.look())
        return writable(self._last)

    def render(self) -> Any:
        return None if self._hosted.view is None or self._last is None else self._hosted.view(self._last)

    def close(self) -> None:
        self._hosted.close()


def _first(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _first(array) for key, array in value.items()}
    return value[0, ...]  # an array also where the space has no dimensions
