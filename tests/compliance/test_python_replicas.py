"""Several daemons behind one client: sessions go where there is room, and live on when their daemon dies."""

import signal
import threading

import fake_daemon
import numpy as np
import pytest
from python_package import ROOT, Link, kill, wait_for, zoo_daemon

import dreamd  # noqa: E402  (from the tree: python_package)
from dreamd.envs import WorldVectorEnv

from grpc import StatusCode  # noqa: E402

OUTPUTS = ["observation", "reward", "state"]


@pytest.fixture
def replicas(tmp_path):
    """Two daemons that a test may kill."""
    both = [zoo_daemon(tmp_path / name) for name in ("a", "b")]
    yield both
    for one in both:
        if one.process.poll() is None:
            one.stop()


def connect(replicas, **options):
    return dreamd.connect([one.address for one in replicas], timeout=60, **options)


def on(session, replicas):
    return next(one for one in replicas if one.address == session.address)


def walk(session, numbers):
    """A life with all that changes a session, and plans, whose warm start is part of it."""
    random = np.random.default_rng(5)
    actions = random.uniform(-2, 2, (100, session.rows, 1)).astype(np.float32)
    observations = random.uniform(-1, 1, (100, session.rows, 3)).astype(np.float32)
    for number in numbers:
        if number % 7 == 3:
            yield session.reset(rows=[0], outputs=["state"])
        elif number % 3 == 1:
            yield session.plan(horizon=4, candidates=8, iterations=2)
            yield session.observe(observations[number], actions[number], outputs=["state"])
        else:
            yield session.step(actions[number], outputs=OUTPUTS)


def same(one, other):
    assert list(one) == list(other) and one.committed_step_id == other.committed_step_id
    for name in one:
        assert one[name].tobytes() == other[name].tobytes(), name


def test_sessions_open_where_there_are_fewest_rows(replicas):
    with connect(replicas) as client:
        first = client.open("pendulum", rows=100)
        second = client.open("pendulum", rows=10)
        third = client.open("pendulum", rows=10)
        assert first.address != second.address == third.address
        assert len(client.sessions()) == 3


class StillOpening(fake_daemon.Simulation):
    """The first attempt at a session is lost on the way, and opens it all the same: `asked` times more it is not there yet."""

    def __init__(self, asked):
        super().__init__()
        self.asked = asked

    def OpenSession(self, request, context):
        if not self.log:
            self.fail_next = (StatusCode.UNAVAILABLE, "lost", [])
        elif len(self.log) <= self.asked:
            self.fail_next = (StatusCode.UNAVAILABLE, "opening", [fake_daemon.error_info("SESSION_OPENING"), fake_daemon.retry_info(0)])
        return super().OpenSession(request, context)


@pytest.fixture
def opening():
    """Two daemons that may be long in opening."""
    both = [fake_daemon.start(simulation=StillOpening(0)) for _ in range(2)]
    yield [(address, simulation) for _, address, simulation, _ in both]
    for server, *_ in both:
        server.stop(None).wait()


def test_a_session_that_is_still_opening_is_waited_for_where_it_opens(opening):
    (first, slow), (second, idle) = opening
    slow.asked = 3
    with dreamd.connect([first, second], timeout=60) as client:
        assert client.open("pendulum").address == first
    assert len(slow.log) == 5 and len({request.request_id for request in slow.log}) == 1 and not idle.log


def test_a_session_that_is_not_open_in_time_is_not_opened_elsewhere_too(opening):
    (first, slow), (second, idle) = opening
    slow.asked = 1000
    with dreamd.connect([first, second], timeout=1) as client, pytest.raises(dreamd.Error) as caught:
        client.open("pendulum")
    assert (caught.value.code, caught.value.reason) == (StatusCode.UNAVAILABLE, "SESSION_OPENING") and not idle.log


@pytest.mark.parametrize("save_every", [1, 4, 1000])
def test_a_session_lives_on_bit_identically_when_its_daemon_is_killed(replicas, save_every):
    with connect(replicas, save_every=save_every) as client:
        session = client.open("pendulum", rows=2, seed=3)
        undisturbed = client.open("pendulum", rows=2, seed=3)
        assert session.address != undisturbed.address
        for number in range(18):
            if number == 11:
                kill(on(session, replicas))
            for reply, expected in zip(walk(session, [number]), walk(undisturbed, [number]), strict=True):
                same(reply, expected)
        assert session.address == undisturbed.address
        assert session.committed_step_id == session.refresh().committed_step_id + session._core._ahead
        session.close()
        assert [one.session_id for one in dreamd.connect(undisturbed.address).sessions()] == [undisturbed.session_id]


def test_forks_and_what_they_start_from_move_too(replicas):
    with connect(replicas) as client:
        with client.open("pendulum", rows=2, seed=8) as source:
            list(walk(source, range(2)))
            starts = source.decode(outputs=["state"]).state
        parent = client.open("pendulum", rows=2, seed=3, start="state", state=starts, history=2)
        list(walk(parent, range(3)))
        parent.fork_into([0], rows=[1], steps_back=1)
        twins = [parent.fork(rows=[1, 0], copies=2) for _ in range(2)]
        numbers = range(3, 12)
        undisturbed = list(walk(twins[0], numbers))
        for number in numbers:
            if number == 6:
                kill(on(twins[1], replicas))
            for reply in walk(twins[1], [number]):
                same(reply, undisturbed.pop(0))
        assert twins[0].address != twins[1].address and parent.step(np.zeros((2, 1))).committed_step_id == 5


def test_a_daemon_that_is_told_to_leave_is_left_in_time(replicas):
    with connect(replicas, save_every=3) as client:
        session, undisturbed = (client.open("pendulum", rows=2, seed=3) for _ in range(2))
        for number in range(12):
            if number == 5:
                on(session, replicas).process.terminate()
            for reply, expected in zip(walk(session, [number]), walk(undisturbed, [number]), strict=True):
                same(reply, expected)
        wait_for(lambda: len([one for one in replicas if one.process.poll() is None]) == 1)
        assert session.step(np.zeros((2, 1))) and session.address == undisturbed.address


class Life:
    """Everything that may be asked of a session, drawn from a seed; the same seed asks the same of another session."""

    def __init__(self, session, seed):
        self.session, self.random = session, np.random.default_rng(seed)
        self.state = None

    def some(self):
        chosen = np.flatnonzero(self.random.random(self.session.rows) < 0.6)
        return chosen if len(chosen) else np.array([0])

    def live(self):
        session, rows = self.session, self.some()
        actions = self.random.uniform(-2, 2, (session.rows, 1)).astype(np.float32)
        observations = self.random.uniform(-1, 1, (session.rows, 3)).astype(np.float32)
        kind = self.random.integers(0, 9)
        if kind == 0:
            return session.reset(rows=rows, outputs=["state"], seed=int(self.random.integers(100)) if len(rows) % 2 else None)
        if kind == 1:
            session.fork_into(rows[1:], rows=rows[:1], steps_back=0, reseed=7) if len(rows) > 1 else None
        elif kind == 2:
            self.state = session.get_state(rows=[0])
        elif kind == 3 and self.state is not None:
            session.set_state(self.state, rows=rows[:1])
        elif kind == 4:
            return session.plan(rows=rows, horizon=3, candidates=6, iterations=2)
        elif kind == 5:
            return session.observe(observations[rows], actions[rows], rows=rows, outputs=["state", "posterior.logits"])
        elif kind == 6:
            return session.imagine(policy="random", horizon=3, candidates=2, outputs=["reward", "observation"])
        return session.step(actions[rows], rows=rows, outputs=[*OUTPUTS, "terminated", "truncated"])


@pytest.mark.parametrize("seed", range(3))
def test_whatever_is_asked_and_whoever_dies_the_bits_are_the_same(replicas, tmp_path, seed):
    random = np.random.default_rng(1000 + seed)
    with connect(replicas, save_every=int(random.integers(1, 12))) as client, dreamd.connect(
            replicas[1].address, timeout=60) as steady:
        options = dict(rows=3, seed=seed, horizon=40, autoreset="next_step", start="file", history=3)
        steady_life = Life(steady.open("pendulum", **options), seed)
        moving_life = Life(client.open("pendulum", **options), seed)
        deaths, lives = 0, set()
        for number in range(70):
            if random.random() < 0.1 and on(moving_life.session, replicas) is replicas[0]:
                kill(replicas[0])
                deaths += 1
            if random.random() < 0.1:  # away from the one that lives: to the other, which may be new
                if replicas[0].process.poll() is not None:
                    replicas[0] = zoo_daemon(tmp_path / f"again-{number}", "--listen", replicas[0].address)
                if on(moving_life.session, replicas) is replicas[1]:
                    dreamd.connect(replicas[1].address).attach(moving_life.session.session_id).close()
            reply, expected = moving_life.live(), steady_life.live()
            assert type(reply) is type(expected)
            if expected is not None:
                same(reply, expected)
            lives.add(moving_life.session.session_id)
        assert deaths > 0 and len(lives) > 3


def test_a_large_session_is_saved_and_moved_in_parts(replicas, monkeypatch):
    monkeypatch.setattr("dreamd._session.SAVE_BYTES", 20_000)
    with connect(replicas, save_every=3) as client:
        session, undisturbed = (client.open("pendulum", rows=50, seed=3) for _ in range(2))
        for number in range(10):
            if number == 7:
                assert len(session._core.journal.saved) > 5
                kill(on(session, replicas))
            for reply, expected in zip(walk(session, [number]), walk(undisturbed, [number]), strict=True):
                same(reply, expected)


def test_worlds_outlive_their_daemon(replicas):
    """A vector environment, whose daemon resets rows by itself, goes on to the bit on another one."""
    with connect(replicas, save_every=5) as client:
        moved, undisturbed = (WorldVectorEnv(6, model="cartpole", horizon=9, client=client) for _ in range(2))
        assert moved._hosted.session.address != undisturbed._hosted.session.address
        firsts = [envs.reset(seed=2)[0].tobytes() for envs in (moved, undisturbed)]
        assert firsts[0] == firsts[1]
        for number, action in enumerate(np.random.default_rng(0).integers(0, 2, (25, 6))):
            if number == 12:
                kill(on(moved._hosted.session, replicas))
            for mine, theirs in zip(moved.step(action)[:4], undisturbed.step(action)[:4], strict=True):
                assert mine.tobytes() == theirs.tobytes()
        assert moved._hosted.session.address == undisturbed._hosted.session.address


def test_a_session_without_a_seed_goes_on_with_the_seed_that_its_daemon_chose(replicas):
    with connect(replicas) as client:
        session = client.open("pendulum", rows=2)
        list(walk(session, range(4)))
        kill(on(session, replicas))
        moved = list(walk(session, range(4, 8)))
        with client.open("pendulum", rows=2, seed=session.seed) as again:
            list(walk(again, range(4)))
            for reply, expected in zip(moved, walk(again, range(4, 8)), strict=True):
                same(reply, expected)


def test_a_daemon_that_does_not_answer_any_more_is_left(replicas):
    link = Link(replicas[0])
    with dreamd.connect([link.address, replicas[1].address], timeout=60, attempt_timeout=1) as client:
        filler = dreamd.connect(replicas[1].address).open("pendulum", rows=50)
        session = client.open("pendulum", rows=2, seed=3)
        assert session.address == link.address != filler.address
        list(walk(session, range(3)))
        link.hold()
        list(walk(session, range(3, 6)))
        assert session.address == replicas[1].address
    link.close()


def test_a_daemon_that_forgot_its_sessions_takes_them_back(replicas, tmp_path):
    with connect(replicas) as client:
        session = client.open("pendulum", rows=2, seed=3)
        list(walk(session, range(5)))
        dreamd.connect(session.address).attach(session.session_id).close()
        replies = list(walk(session, range(5, 8)))
        with client.open("pendulum", rows=2, seed=3) as again:
            for reply, expected in zip(replies, list(walk(again, range(8)))[-len(replies):], strict=True):
                same(reply, expected)


def test_without_any_daemon_left_the_error_says_so_and_the_session_goes_on_later(replicas, tmp_path):
    with dreamd.connect([one.address for one in replicas], timeout=5) as client:
        session = client.open("pendulum", rows=2, seed=3)
        list(walk(session, range(3)))
        for one in replicas:
            kill(one)
        with pytest.raises(dreamd.Error) as caught:
            session.step(np.zeros((2, 1)))
        assert caught.value.code is StatusCode.UNAVAILABLE and "no daemon answers at" in str(caught.value)
        replicas[0] = zoo_daemon(tmp_path / "again", "--listen", replicas[0].address)
        assert session.step(np.zeros((2, 1)), timeout=60).committed_step_id == session.committed_step_id


def test_what_a_daemon_refuses_once_it_is_back_is_said_as_it_says_it(replicas):
    with dreamd.connect([one.address for one in replicas], timeout=60, attempt_timeout=0.3) as client:
        session = client.open("pendulum", rows=2, seed=3)
        home = on(session, replicas)
        kill(next(one for one in replicas if one is not home))
        home.process.send_signal(signal.SIGSTOP)
        waking = threading.Timer(2, home.process.send_signal, [signal.SIGCONT])
        waking.start()
        with pytest.raises(dreamd.Error, match="1e\\+30, expected") as caught:
            session.step(np.full((2, 1), 1e30))
        waking.join()
        assert caught.value.code is StatusCode.INVALID_ARGUMENT and not session.unsure
        assert session.step(np.zeros((2, 1))).committed_step_id == 1


def test_what_changes_models_is_done_on_every_daemon(replicas):
    with connect(replicas) as client:
        client.register(ROOT / "models/zoo/pendulum", name="mine", aliases=["best"])
        for one in replicas:
            assert dreamd.connect(one.address).model("mine@best").version == 1
        kill(replicas[0])
        assert client.model("mine").version == 1 and client.sessions() == []
        with pytest.raises(dreamd.Error, match=replicas[0].address):
            client.delete("mine@1")
