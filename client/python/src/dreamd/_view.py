"""What a session says about itself without asking; the same for blocking and asyncio."""

from __future__ import annotations

from typing import Any

import gymnasium

from ._session import SessionCore
from .types import SessionInfo


class SessionView:
    """Read-only attributes of a session."""

    def __init__(self, core: SessionCore) -> None:
        self._core = core

    def __repr__(self) -> str:
        return (f"<{type(self).__module__}.{type(self).__name__} {self.session_id} of {self.model}, {self.rows} rows, "
                f"at step {self.committed_step_id}>")

    @property
    def info(self) -> SessionInfo:
        """As it was when opened, refreshed or moved last."""
        return self._core.info

    @property
    def unsure(self) -> bool:
        """A change was given up before its answer came (Ctrl-C, a deadline): `refresh` tells whether it was made."""
        return self._core.unsure

    @property
    def session_id(self) -> str:
        return self._core.info.session_id

    @property
    def address(self) -> str:
        """The daemon on which it lives now."""
        return self._core.address

    @property
    def model(self) -> str:
        """"name@version"."""
        return self._core.info.model

    @property
    def checkpoint(self) -> str:
        return self._core.info.checkpoint

    @property
    def rows(self) -> int:
        return self._core.info.rows

    @property
    def seed(self) -> int:
        return self._core.info.seed

    @property
    def committed_step_id(self) -> int:
        """Changes made so far."""
        return self._core.committed

    @property
    def observation_space(self) -> gymnasium.Space[Any]:
        """Of one row."""
        assert self._core.info.observation_space is not None
        return self._core.info.observation_space

    @property
    def action_space(self) -> gymnasium.Space[Any]:
        """Of one row."""
        assert self._core.info.action_space is not None
        return self._core.info.action_space
