"""What both environments are made of: a session opened as an environment needs it, and how its replies are read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeVar

import gymnasium
import numpy as np

from .._arguments import mapping
from .._session import is_overtaken
from ..client import Client, Session, connect
from ..errors import Error, invalid
from ..tensors import Array
from ..types import Autoreset, Checkpoint, EndingRule, LatentMode, Reply, Start
from .render import View, find_fps, find_view

Observe = Literal["observation", "state"]
T = TypeVar("T")


class Hosted:
    """A session of `rows` worlds; `read` makes observations of replies."""

    def __init__(self, model: str, rows: int, *, address: str | Sequence[str] | None, client: Client | None, horizon: int,
                 ending: EndingRule | None, threshold: float, start: Start | None, observe: Observe | None,
                 latent_mode: LatentMode | None, autoreset: Autoreset, timeout: float, ttl: float | None,
                 render_mode: str | None) -> None:
        if render_mode not in (None, "rgb_array"):
            raise invalid("render_mode", f"is {render_mode!r}, expected None or \"rgb_array\"")
        self._owned = client is None
        self.client = client or connect(address, timeout=timeout)
        try:
            self.about: Checkpoint = self.client.model(model)
            heads = self.about.heads
            self.has_reward = "reward" in heads
            self.observes: Observe = observe or ("observation" if "observation" in heads else "state")
            self._check(model, autoreset)
            self.parts = [name for name in self.about.outputs if name.startswith("state.")]
            self.observation_space = self._space()
            self.metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": find_fps(self.about)}
            self.view: View | None = find_view(self.observation_space, self.about) if render_mode else None
            self.session: Session = self.client.open(
                model, rows=rows, autoreset=autoreset, horizon=horizon, latent_mode=latent_mode, ttl=ttl,
                ending=ending or ("threshold" if "continue" in heads else "never"), threshold=threshold,
                start=start or ("file" if "starts.safetensors" in self.about.files else "initial"), label="gymnasium")
        except BaseException:
            if self._owned:
                self.client.close()
            raise
        self.action_space = self.session.action_space
        self.step_outputs = [self.observes, "terminated", "truncated",
                             *(name for name in ("reward", "continue") if name in heads),
                             *(("final_observation",) if autoreset == "same_step" else ())]

    def _check(self, model: str, autoreset: Autoreset) -> None:
        if self.observes not in ("observation", "state"):
            raise invalid("observe", f"is {self.observes!r}, expected \"observation\" or \"state\"")
        if self.observes == "state" and autoreset == "same_step":
            raise invalid("autoreset_mode", "is SAME_STEP, which has no final state: observe=\"state\" goes with the other two")
        if self.observes == "observation" and "observation" not in self.about.heads:
            raise invalid("observe", f"is \"observation\", but {model} decodes none: use observe=\"state\"")

    def _space(self) -> gymnasium.Space[Any]:
        if self.observes == "observation":
            assert self.about.observation_space is not None
            return self.about.observation_space
        width = sum(int(np.prod(self.about.outputs[name].shape, dtype=int)) for name in self.parts)
        return gymnasium.spaces.Box(-np.inf, np.inf, (width,), np.float32)

    def read(self, reply: Reply) -> Any:
        """Observations [rows, ...] of a reply, the caller's to write into."""
        if self.observes == "state":
            return np.concatenate([reply[name].reshape(len(reply[name]), -1) for name in self.parts], axis=1, dtype=np.float32)
        return writable(reply.observation)

    def change(self, verb: Callable[..., T], *arguments: Any, **options: Any) -> T:
        """Calls a verb of the session. Where a change before was broken off (Ctrl-C), worlds go on from where it left them."""
        unsure = self.session.unsure
        try:
            return verb(*arguments, **options)
        except Error as error:
            if not (unsure and is_overtaken(error)):
                raise
        self.session.refresh()
        return verb(*arguments, **options)

    def look(self) -> Any:
        """Observations [rows, ...] of where the worlds are, as decoded."""
        return self.read(self.session.decode(outputs=[self.observes]))

    def rewards(self, reply: Reply) -> Array:
        """float64 [rows]; zeros where the checkpoint has no reward head."""
        return reply.reward.astype(np.float64) if self.has_reward else np.zeros(self.session.rows)

    def close(self) -> None:
        self.session.__exit__(None, None, None)
        if self._owned:
            self.client.close()


def read_option(options: Any, name: str) -> Any:
    """Of `reset(options=...)` there is one; a misspelt one must not be passed over."""
    others = sorted(set(mapping("options", options, f"{{\"{name}\": ...}}")) - {name})
    if others:
        raise invalid("options", f"has {others}, expected {name} alone")
    return (options or {}).get(name)


def writable(value: Any) -> Any:
    return {key: array.copy() for key, array in value.items()} if isinstance(value, Mapping) else value.copy()
