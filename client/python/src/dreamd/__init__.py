"""dreamd: imagined worlds of trained world models, from a daemon.

    import dreamd
    client = dreamd.connect("127.0.0.1:7733")
    with client.open("pendulum", rows=4, seed=7) as session:
        reply = session.step([[0.5]] * 4, outputs=["reward", "observation"])
        print(reply.reward, reply.observation)

`dreamd.aio` has the same for asyncio, `dreamd.envs` Gymnasium environments: after `import dreamd`,
`gymnasium.make("dreamd/pendulum-v0")` works. Parts are imported when first used, so that `dreamd.importers` needs numpy alone.
"""

from __future__ import annotations

import contextlib
import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import aio as aio
    from . import envs as envs
    from .client import Client as Client
    from .client import Session as Session
    from .client import connect as connect
    from .errors import Error as Error
    from .interact import Interact as Interact
    from .interact import Pending as Pending
    from .recording import record as record
    from .types import Checkpoint as Checkpoint
    from .types import Chunk as Chunk
    from .types import Imagined as Imagined
    from .types import Model as Model
    from .types import Plan as Plan
    from .types import PlannerSettings as PlannerSettings
    from .types import Registered as Registered
    from .types import Reply as Reply
    from .types import ServerInfo as ServerInfo
    from .types import SessionInfo as SessionInfo
    from .types import State as State

__version__ = "0.1.0"

_HOMES = {"client": ("Client", "Session", "connect"), "errors": ("Error",), "interact": ("Interact", "Pending"),
          "recording": ("record",),
          "types": ("Checkpoint", "Chunk", "Imagined", "Model", "Plan", "PlannerSettings", "Registered", "Reply",
                    "ServerInfo", "SessionInfo", "State")}
_HOME = {name: home for home, names in _HOMES.items() for name in names}
_MODULES = ("aio", "envs")

__all__ = [*_HOME, *_MODULES]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f".{name}", __name__)
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


with contextlib.suppress(ImportError):
    from ._registration import register_envs

    register_envs()
