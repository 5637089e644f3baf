"""WorldVectorEnv: many imagined worlds, one call a step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space

from .._arguments import array as to_array
from .._arguments import count
from ..client import Client
from ..errors import invalid
from ..types import Autoreset, EndingRule, LatentMode, Reply, Start, State
from ._hosted import Hosted, Observe, read_option, writable

MODES: dict[AutoresetMode, Autoreset] = {
    AutoresetMode.NEXT_STEP: "next_step", AutoresetMode.SAME_STEP: "same_step", AutoresetMode.DISABLED: "disabled"}


class WorldVectorEnv(gymnasium.vector.VectorEnv[Any, Any, Any]):
    """`num_envs` imagined worlds of a hosted model: the rows of one session, stepped and decoded by one call.

    Args:
        num_envs: worlds.
        autoreset_mode: Gymnasium's, as a member or its value; the daemon resets in the same call. DISABLED:
            `reset(options={"reset_mask": ended})`.
        max_episode_steps: the same as `horizon`, which it replaces where it is given.

    The other arguments are `WorldEnv`'s. `reset(seed=s)` seeds world i with s + i, wherever it stands in the vector.
    """

    def __init__(self, num_envs: int = 1, *, model: str, address: str | Sequence[str] | None = None,
                 client: Client | None = None, horizon: int = 0, max_episode_steps: int | None = None,
                 autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP, ending: EndingRule | None = None,
                 threshold: float = 0.5, start: Start | None = None, observe: Observe | None = None,
                 latent_mode: LatentMode | None = None, render_mode: str | None = None, timeout: float = 30.0,
                 ttl: float | None = None) -> None:
        self.autoreset_mode = _autoreset(autoreset_mode)
        num_envs = count("num_envs", num_envs, 1)
        self._hosted = Hosted(
            model, num_envs, address=address, client=client, horizon=horizon if max_episode_steps is None else max_episode_steps,
            ending=ending, threshold=threshold, start=start, observe=observe, latent_mode=latent_mode,
            autoreset=MODES[self.autoreset_mode], timeout=timeout, ttl=ttl, render_mode=render_mode)
        self.metadata = {**self._hosted.metadata, "autoreset_mode": self.autoreset_mode}
        self.render_mode = render_mode
        self.num_envs = num_envs
        self.single_observation_space = self._hosted.observation_space
        self.single_action_space = self._hosted.action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._last: Any = None

    def reset(self, *, seed: int | Sequence[int | None] | None = None,
              options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        rows = self._chosen(read_option(options, "reset_mask"))
        seeds = self._seeds(seed)
        super().reset(seed=seed if isinstance(seed, int) else None)
        # Worlds with a seed, and worlds whose noise goes on: Gymnasium lets a list hold both.
        for group in ([row for row in rows if seeds[row] is not None], [row for row in rows if seeds[row] is None]):
            if group:
                everyone = len(group) == self.num_envs
                given = [one for one in (seeds[row] for row in group) if one is not None]
                reply = self._hosted.change(self._hosted.session.reset, rows=None if everyone else group,
                                            outputs=[self._hosted.observes], seed=given or None)
                self._put(self._hosted.read(reply), None if everyone else group)
        return writable(self._last), {}

    def _chosen(self, mask: Any) -> list[int]:
        if mask is None:
            return list(range(self.num_envs))
        mask = to_array("options.reset_mask", mask, f"bool [{self.num_envs}]")
        if mask.dtype != np.bool_ or mask.shape != (self.num_envs,) or not mask.any():
            raise invalid("options.reset_mask", f"is {mask.dtype} {list(mask.shape)} with {int(np.count_nonzero(mask))} set, "
                                                f"expected bool [{self.num_envs}] with one or more set")
        return [int(row) for row in np.flatnonzero(mask)]

    def _seeds(self, seed: int | Sequence[int | None] | None) -> Sequence[int | None]:
        if seed is None:
            return [None] * self.num_envs
        if isinstance(seed, (int, np.integer)):
            return [count("seed", seed, 0) + row for row in range(self.num_envs)]
        if isinstance(seed, str) or not isinstance(seed, (Sequence, np.ndarray)):
            raise invalid("seed", f"is {seed!r}, expected a whole number, or a list of {self.num_envs}, one a world")
        if len(seed) != self.num_envs:
            raise invalid("seed", f"is a list of {len(seed)}, expected {self.num_envs}, one a world")
        return [None if one is None else count("seed", one, 0) for one in seed]

    def _put(self, observations: Any, rows: list[int] | None) -> None:
        if rows is None:
            self._last = observations
            return
        if self._last is None:  # some worlds before the first reset of all: the others are where the session began
            self._last = self._hosted.look()
        for part, new in _leaves(self._last, observations):
            part[rows] = new

    def get_state(self, rows: Sequence[int] | None = None) -> State:
        """Where these worlds are, to go on from later, here or elsewhere: the same actions give the same futures."""
        return self._hosted.session.get_state(rows=rows)

    def set_state(self, state: State, rows: Sequence[int] | None = None) -> Any:
        """Puts these worlds, as many as were saved, at saved states. Returns all observations, as decoded."""
        self._hosted.change(self._hosted.session.set_state, state, rows=rows)
        self._last = self._hosted.look()
        return writable(self._last)

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        reply = self._hosted.change(self._hosted.session.step, actions, outputs=self._hosted.step_outputs)
        self._last = self._hosted.read(reply)
        terminations, truncations = reply.terminated.copy(), reply.truncated.copy()
        return (writable(self._last), self._hosted.rewards(reply), terminations, truncations,
                self._infos(reply, terminations | truncations))

    def _infos(self, reply: Reply, ended: Any) -> dict[str, Any]:
        infos: dict[str, Any] = {}
        if "continue" in reply:
            infos.update({"continue": reply.continues.copy(), "_continue": np.ones(self.num_envs, np.bool_)})
        if self.autoreset_mode is AutoresetMode.SAME_STEP and ended.any():
            final = reply.final_observation
            observations = np.full(self.num_envs, None, dtype=object)
            for row in np.flatnonzero(ended):
                observations[row] = ({key: array[row].copy() for key, array in final.items()}
                                     if isinstance(final, Mapping) else final[row].copy())
            final_info = {key: array for key, array in infos.items() if not key.startswith("_")}
            final_info |= {f"_{key}": ended for key in final_info}
            infos.update({"final_obs": observations, "_final_obs": ended, "final_info": final_info, "_final_info": ended})
        return infos

    def render(self) -> tuple[Any, ...] | None:
        view = self._hosted.view
        if view is None or self._last is None:
            return None
        if isinstance(self._last, Mapping):
            return tuple(view({key: array[row] for key, array in self._last.items()}) for row in range(self.num_envs))
        return tuple(view(one) for one in self._last)

    def close_extras(self, **kwargs: Any) -> None:
        if hasattr(self, "_hosted"):  # Gymnasium closes vectors that were never opened, too
            self._hosted.close()


def _autoreset(value: Any) -> AutoresetMode:
    try:
        return AutoresetMode(value)
    except ValueError:
        words = ", ".join(f'"{mode.value}"' for mode in MODES)
        raise invalid("autoreset_mode", f"is {value!r}, expected one of {words}, or a gymnasium.vector.AutoresetMode") from None


def _leaves(old: Any, new: Any) -> list[tuple[Any, Any]]:
    return [(old[key], new[key]) for key in old] if isinstance(old, Mapping) else [(old, new)]
