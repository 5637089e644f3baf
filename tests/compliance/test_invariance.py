"""Batch invariance under load: 200 sessions, each run alone, and all of them together among others, cancels,
lost streams, forks, plans, a hot swap, kill -9 and a restart: to the last bit the same answers and the same state."""

import collections
import concurrent.futures
import contextlib
import os
import random
import threading

import grpc
import numpy as np
import pytest

from checkpoints import register
from conftest import ROOT, Daemon
from dreamd_stubs import Client, make_zoo, put, registry, simulation
from imagination import ask
from players import Calls, Streams, failure, play
from stories import CHAPTERS, Story

# 200 take a sanitizer's build more than three minutes; that every method is told often is checked of 60 as well.
SESSIONS = 60 if os.environ.get("DREAMD_SANITIZER") else 200
KEPT = SESSIONS * 3 // 10  # of them are opened with `persist` where sessions are
VERSIONS = 4
LONG = simulation.PlannerSettings(horizon=50, candidates=1000, iterations=500)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    make_zoo(folder, **{f"v{i}": i for i in range(1, VERSIONS + 1)})
    zoo = folder / "zoo"
    zoo.mkdir()
    (zoo / "pendulum").symlink_to(ROOT / "models/zoo/pendulum")
    return folder


class House:
    """A daemon that may be killed and started again, with `tiny@live` being version 1."""

    def __init__(self, folder, models, *options):
        self.folder, self.models, self.options = folder, models, ["--zoo", models / "zoo", *options]
        self.start()
        with self.daemon.channel() as channel:
            register(Client(channel), models / "v1", aliases=["live"])

    def start(self):
        self.daemon = Daemon(self.folder, *self.options)

    def kill(self):
        self.daemon.process.kill()
        self.daemon.process.wait(timeout=60)
        self.daemon.endpoint.unlink()
        self.daemon.log.close()
        self.start()

    def restart(self):
        self.daemon.stop()
        self.start()

    def end(self):
        if self.daemon.process.returncode is None:
            self.daemon.stop()


@pytest.fixture
def house(tmp_path, models):
    opened = []

    def build(*options):
        opened.append(House(tmp_path, models, *options))
        return opened[-1]

    yield build
    for one in opened:
        one.end()


def stories(count=SESSIONS, kept=0):
    return [Story(number, ["tiny@live", "tiny@live", "tiny@live", "pendulum"], persist=number < kept) for number in range(count)]


def alone(daemon, count):
    """One after the other, one request at a time."""
    told = stories(count)
    with daemon.channel() as channel, contextlib.closing(Calls(channel)) as way:
        for story in told:
            life = story.life()
            for _ in range(CHAPTERS + 1):
                play([life], way)
    return told


@pytest.fixture(scope="module")
def wanted(tmp_path_factory, models):
    one = House(tmp_path_factory.mktemp("alone"), models, "--compute-threads", "1")
    try:
        seen = [story.seen for story in alone(one.daemon, SESSIONS)]
    finally:
        one.end()
    told = collections.Counter((method, code) for story in seen for method, code, _ in story)
    print(told)
    for method in ("Step", "Observe", "Reset", "Plan", "Imagine", "Fork", "SetState", "GetState", "Encode", "Act"):
        assert told[method, "OK"] > 20, told
    assert sum(count for (_, code), count in told.items() if code != "OK") < sum(told.values()) / 10, told
    return seen


def together(house, lives, version):
    """A chapter of each, with all that may disturb them."""
    stop = threading.Event()
    with contextlib.ExitStack() as stack, concurrent.futures.ThreadPoolExecutor(16) as pool:
        def players(kind, mine, **how):
            way = stack.enter_context(contextlib.closing(kind(stack.enter_context(house.daemon.channel()))))
            return pool.submit(play, mine, way, **how)

        rest = [pool.submit(crowd, house, stop, version * 10 + i) for i in range(2)]
        rest += [pool.submit(swap, house, stop, version)]
        try:
            playing = [
                players(Calls, lives[0::4], hasty=0.1, broken_off=0.1, seed=version),
                players(Streams, lives[1::4], ahead=True),
                players(Streams, lives[2::4], ahead=True, hasty=0.1, seed=version),
                players(Streams, lives[3::4], broken_off=0.03, seed=version),
            ]
            again = [one.result() for one in playing]
        finally:
            stop.set()
        for one in rest:
            one.result()
    assert sum(again), "nothing was broken off or came too late"


def crowd(house, stop, seed):
    """Others: sessions of any size that step, plan, imagine and break off, some in the midst of it for good."""
    dice = random.Random(seed)
    while not stop.is_set():
        with house.daemon.channel() as channel:
            client = Client(channel)
            for _ in range(3):
                visit(client, dice, stop)


def visit(client, dice, stop):
    rows = dice.choice([1, 1, 3, 17, 200])
    session = client.open(dice.choice(["tiny", "pendulum"]), rows=rows)
    name, shape = session.session_id, session.action_space.box.shape
    spoil(client, name)
    calls = [client.simulation.Plan.future(simulation.PlanRequest(session_id=name, settings=LONG), timeout=dice.choice([0.005, 0.05]))]
    dreams = client.simulation.Imagine(ask(name, policy="random", horizon=500, candidates=20, chunk_bytes=10000, outputs=["state", "return"]))
    for number in range(dice.randrange(1, 30)):
        action = np.full((rows, *shape), dice.uniform(-1, 1), "<f4")
        calls.append(client.simulation.Step.future(put(simulation.StepRequest(session_id=name), action=action),
                                                   timeout=dice.choice([None, None, 0.002])))
        if dice.random() < 0.2:
            calls[-1].cancel()
        if number % 8 == 3:
            next(dreams, None)
        if number % 8 == 5:
            calls.append(client.simulation.Fork.future(simulation.ForkRequest(session_id=name, copies=2, ttl_ms=1000)))
        stop.wait(0.003)
    dreams.cancel()
    if dice.random() < 0.5:
        client.simulation.CloseSession(simulation.CloseSessionRequest(session_id=name))
    for call in calls:
        with contextlib.suppress(grpc.FutureCancelledError):
            error = call.exception()
            assert error is None or failure(error).code not in ("INTERNAL", "UNKNOWN", "INVALID_ARGUMENT"), error


def spoil(client, session):
    """One row becomes infinities and what is no number, sooner or later."""
    state = {name: np.array(array) for name, array in client.state(session).items()}
    state["state.deter"][0, ::2] = 3e38
    state["state.deter"][0, 1::2] = -3e38
    reset = simulation.ResetRequest(session_id=session, start_source=simulation.START_SOURCE_STATE)
    reset.rows.rows.append(0)
    client.simulation.Reset(put(reset, **{name.replace(".", "__"): array[:1] for name, array in state.items()}))


def swap(house, stop, version):
    """Another version is loaded and becomes live, again and again; in the end the first is as it was."""
    with house.daemon.channel() as channel:
        client = Client(channel)
        register(client, house.models / f"v{version}", aliases=["live"])
        while True:
            session = client.open("tiny@live", rows=3)
            assert session.model == f"tiny@{version}"
            for _ in range(3):
                assert client.step(session.session_id, np.zeros((3, 2), "<f4")).checkpoint == session.checkpoint
            client.simulation.CloseSession(simulation.CloseSessionRequest(session_id=session.session_id))
            for target in (1, version):
                client.registry.SetAlias(registry.SetAliasRequest(name="tiny", alias="live", version=target))
            if stop.wait(0.02):
                break
        client.registry.SetAlias(registry.SetAliasRequest(name="tiny", alias="live", version=1))


def opened(house, lives):
    """The first chapter, before another version is live."""
    with house.daemon.channel() as channel, contextlib.closing(Calls(channel)) as way:
        play(lives, way)


def same(told, wanted):
    for story, expected in zip(told, wanted):
        for place, (mine, other) in enumerate(zip(story.seen, expected)):
            assert mine == other, f"story {story.number}, request {place} of {len(expected)}, a session of {story.opening}"
        assert len(story.seen) == len(expected)


def test_alone_with_two_compute_threads_all_is_the_same(house, wanted):
    same(alone(house("--compute-threads", "2").daemon, SESSIONS // 4), wanted)


def test_together_with_others_all_is_the_same(house, wanted):
    one = house("--compute-threads", "1")
    told = stories()
    lives = [story.life() for story in told]
    opened(one, lives)
    for version in range(2, 2 + CHAPTERS - 1):
        together(one, lives, version)
    with one.daemon.channel() as channel, contextlib.closing(Streams(channel)) as way:
        play(lives, way)
    same(told, wanted)


def test_with_two_compute_threads_kill_9_and_a_restart_all_is_the_same(house, wanted):
    """Those that are kept live a chapter, and through kill -9; then all live on, and through a restart."""
    one = house("--compute-threads", "2", "--persist-sessions")
    told = stories(kept=KEPT)
    lives = [story.life() for story in told]
    opened(one, lives[:KEPT])
    together(one, lives[:KEPT], 2)
    one.kill()
    opened(one, lives[KEPT:])
    together(one, lives[KEPT:], 3)
    together(one, lives, 4)
    one.restart()
    together(one, lives, 2)
    with one.daemon.channel() as channel, contextlib.closing(Streams(channel)) as way:
        play(lives, way)
    same(told, wanted)
