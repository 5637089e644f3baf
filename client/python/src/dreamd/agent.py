"""A hosted model drives a Gymnasium environment, and prints its returns.

    python -m dreamd.agent --env Pendulum-v1 --model pendulum --act plan --episodes 3 --seed 0
    python -m dreamd.agent --env Pendulum-v1 --model pendulum --set horizon=15 --set candidates=128
    python -m dreamd.agent --env Pendulum-v1 --act random --episodes 20 --json       what no model at all is worth
    python -m dreamd.agent --env module:Mine-v0 --model mine@best --act actor        an environment of one's own
    python -m dreamd.agent --env Pendulum-v1 --act random --episodes 30 --record episodes
    dreamd learn --episodes episodes --out mine                                      and a model of what was recorded

At each step the model sees what really happened (Observe: the observation and the action that led to it) and says what to
do next: `plan` searches in the model, `actor` asks its action head, `random` asks nothing and is the figure to compare with.
Where the bounds of the model's action space and the environment's differ, actions are mapped linearly, and that is said.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

import gymnasium
import numpy as np

from .client import Session, connect
from .errors import Error, invalid
from .recording import record

Say = Callable[[str], None]


def fit_spaces(session: Session, env: gymnasium.Env[Any, Any]) -> None:
    """Raises an Error where the model does not see and do what the environment shows and takes."""
    for what, ours, theirs in (("observation", session.observation_space, env.observation_space),
                               ("action", session.action_space, env.action_space)):
        if _form(ours) != _form(theirs):
            raise invalid(f"{what}_space", f"model {session.model} has {ours}, the environment {theirs}: they do not fit")


def _form(space: gymnasium.Space[Any]) -> Any:
    if isinstance(space, gymnasium.spaces.Dict):
        return {key: _form(part) for key, part in space.spaces.items()}
    return ("choices", int(space.n)) if isinstance(space, gymnasium.spaces.Discrete) else ("box", space.shape)


class Border:
    """The model's action in the environment's units, and the words that say how it is mapped ("" where it is not)."""

    def __init__(self, model: gymnasium.Space[Any], env: gymnasium.Space[Any]) -> None:
        self.words = ""
        self._map: Callable[[Any], Any] = lambda action: action
        if isinstance(model, gymnasium.spaces.Discrete) and isinstance(env, gymnasium.spaces.Discrete):
            shift = int(env.start) - int(model.start)
            self._map = lambda action: int(action) + shift
            self.words = f"actions {model.start}.. of the model are {env.start}.. of the environment" if shift else ""
        elif isinstance(model, gymnasium.spaces.Box) and isinstance(env, gymnasium.spaces.Box):
            self._map_boxes(model, env)

    def _map_boxes(self, model: gymnasium.spaces.Box, env: gymnasium.spaces.Box) -> None:
        low, high = model.low.astype(np.float64), model.high.astype(np.float64)
        env_low, env_high = env.low.astype(np.float64), env.high.astype(np.float64)
        bounded = np.isfinite([low, high, env_low, env_high]).all(axis=0) & (high > low)
        differ = bounded & ((low != env_low) | (high != env_high))
        dtype = np.dtype(env.dtype)
        if not differ.any():
            self._map = lambda action: action.astype(dtype)
            return
        span = np.where(differ, high - low, 1)
        factor = np.where(differ, (env_high - env_low) / span, 1)
        offset = np.where(differ, env_low - low * factor, 0)
        self._map = lambda action: (action * factor + offset).astype(dtype)
        self.words = f"actions {_range(low, high)} of the model become {_range(env_low, env_high)} of the environment"

    def __call__(self, action: Any) -> Any:
        return self._map(action)


def _range(low: Any, high: Any) -> str:
    return f"{low.min():g}..{high.max():g}"


def play(env: gymnasium.Env[Any, Any], session: Session | None, act: str, episodes: int, seed: int,
         settings: dict[str, Any], say: Say = lambda words: None) -> Iterator[float]:
    """The returns of `episodes`; the environment's episode e is reset with seed + e. `session` None acts at random."""
    border = Border(session.action_space, env.action_space) if session else None
    if border and border.words:
        say(border.words)
    env.action_space.seed(seed)
    for episode in range(episodes):
        observation, _ = env.reset(seed=seed + episode)
        if session:
            session.reset()
        action, total, over = None, 0.0, False
        while not over:
            if session and border:
                session.observe(_batch(observation), action)
                action = (session.plan(**settings) if act == "plan" else session.act()).action
                taken = border(action[0])
            else:
                taken = env.action_space.sample()
            observation, reward, terminated, truncated, _ = env.step(taken)
            total += float(reward)
            over = terminated or truncated
        yield total


def _batch(observation: Any) -> Any:
    if isinstance(observation, dict):
        return {key: np.asarray(part)[np.newaxis] for key, part in observation.items()}
    return np.asarray(observation)[np.newaxis]


def _setting(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r}: expected NAME=VALUE, for example horizon=15")
    with contextlib.suppress(ValueError):
        return name, json.loads(value)
    return name, value


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m dreamd.agent", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", required=True, metavar="ID", help="of Gymnasium, \"Pendulum-v1\" or \"module:Mine-v0\"")
    parser.add_argument("--model", metavar="NAME", help="name[@version|@alias] of the hosted model")
    parser.add_argument("--act", choices=("plan", "actor", "random"), default="plan", help="default: plan")
    parser.add_argument("--episodes", type=int, default=1, metavar="N", help="default: 1")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the session; episode e starts with N + e (0)")
    parser.add_argument("--set", type=_setting, action="append", default=[], metavar="NAME=VALUE", help="a planner setting")
    parser.add_argument("--mode", action="store_true", help="latents at their mode, no randomness")
    parser.add_argument("--record", metavar="DIR", help="write the episodes there, for dreamd learn --episodes")
    parser.add_argument("--address", metavar="HOST:PORT", help="default: $DREAMD_ADDRESS, or 127.0.0.1:7733")
    parser.add_argument("--json", action="store_true", help="print one JSON object in the end")
    options = parser.parse_args(arguments)
    if options.act != "random" and not options.model:
        parser.error(f"--act {options.act} needs --model")
    if options.episodes < 1:
        parser.error(f"--episodes is {options.episodes}, expected 1 or more")
    if options.seed < 0:
        parser.error(f"--seed is {options.seed}, expected 0 or more")
    return options


def _run(options: argparse.Namespace) -> dict[str, Any]:
    with contextlib.ExitStack() as stack:
        env = stack.enter_context(contextlib.closing(gymnasium.make(options.env)))
        if options.record:
            env = stack.enter_context(contextlib.closing(record(env, options.record)))
        session = None
        if options.act != "random":
            client = stack.enter_context(connect(options.address))
            session = stack.enter_context(client.open(options.model, seed=options.seed, label="dreamd.agent",
                                                      latent_mode="mode" if options.mode else None))
            fit_spaces(session, env)

        def say(words: str) -> None:
            print(words, file=sys.stderr if options.json else sys.stdout, flush=True)

        returns: list[float] = []
        for total in play(env, session, options.act, options.episodes, options.seed, dict(options.set), say):
            returns.append(total)
            if not options.json:
                say(f"episode {len(returns) - 1}: return {total:.6g}")
        return {"mean_return": float(np.mean(returns)), "std_return": float(np.std(returns, ddof=1)) if len(returns) > 1 else 0.0,
                "min_return": min(returns), "max_return": max(returns), "episodes": len(returns), "env": options.env,
                "act": options.act, "seed": options.seed, "model": session.model if session else None,
                "checkpoint": session.checkpoint if session else None, "returns": returns}


def main(arguments: list[str] | None = None) -> int:
    """Exit codes: 0 done, 1 failed with one sentence, 2 wrong usage."""
    options = _parse(arguments)
    try:
        result = _run(options)
    except (Error, gymnasium.error.Error, ImportError) as error:
        print(f"dreamd.agent: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 1
    if options.json:
        print(json.dumps(result))
    else:
        print(f"mean return {result['mean_return']:.6g} over {result['episodes']} episodes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
