"""dreamd.aio: the same surface as the blocking client, proved equal, and its own ways: tasks, cancellation."""

import asyncio
import inspect

import numpy as np
import pytest
from python_package import ZOO, Link, kill, wait_for, zoo_daemon

import dreamd  # noqa: E402  (from the tree: python_package)

from grpc import StatusCode  # noqa: E402


@pytest.fixture(scope="module")
def zoo():
    return ZOO


def connect(served, **options):
    return dreamd.aio.connect(served.address, timeout=60, **options)


def surface(thing):
    return {name: member for name, member in inspect.getmembers(thing)
            if not name.startswith("_") and (inspect.isfunction(member) or isinstance(member, property))}


@pytest.mark.parametrize("name", ["Client", "Session"])
def test_both_clients_have_the_same_names_arguments_and_words(name):
    blocking, asynchronous = surface(getattr(dreamd, name)), surface(getattr(dreamd.aio, name))
    assert list(blocking) == list(asynchronous)
    for key, member in blocking.items():
        twin = asynchronous[key]
        if isinstance(member, property):
            continue
        opens = inspect.signature(twin).return_annotation in ("Opening", "Interact")
        assert opens or inspect.iscoroutinefunction(twin) or inspect.isasyncgenfunction(twin), key
        ours, theirs = inspect.signature(member), inspect.signature(twin)
        assert ours.parameters == theirs.parameters, key
        given = str(theirs.return_annotation).replace("AsyncIterator", "Iterator").replace("Opening", "Session")
        assert str(ours.return_annotation) == given, key
        assert member.__doc__ == twin.__doc__ and member.__doc__


def test_connect_has_the_same_arguments():
    assert inspect.signature(dreamd.connect).parameters == inspect.signature(dreamd.aio.connect).parameters


def test_a_session_gives_the_same_bits_as_the_blocking_client(served):
    actions = np.random.default_rng(0).uniform(-2, 2, (4, 3, 1)).astype(np.float32)

    async def walk():
        async with connect(served) as client, client.open("pendulum", rows=3, seed=7) as session:
            await session.reset(seed=3)
            steps = [(await session.step(one, outputs=["observation"])).observation for one in actions]
            plan = await session.plan(horizon=4, candidates=8, iterations=1)
            return np.stack(steps), plan.action, session.committed_step_id

    with dreamd.connect(served.address) as client, client.open("pendulum", rows=3, seed=7) as session:
        session.reset(seed=3)
        steps = np.stack([session.step(one, outputs=["observation"]).observation for one in actions])
        action = session.plan(horizon=4, candidates=8, iterations=1).action
    seen, planned, committed = asyncio.run(walk())
    assert seen.tobytes() == steps.tobytes() and planned.tobytes() == action.tobytes() and committed == 5


def test_trajectories_come_whole_or_in_chunks(served):
    async def run():
        async with connect(served) as client, client.open("pendulum", rows=2, seed=1) as session:
            what = dict(policy="random", horizon=8, outputs=["reward"])
            whole = (await session.imagine(**what)).reward
            chunks = [chunk async for chunk in session.imagine_chunks(chunk_bytes=16, **what)]
            assert len(chunks) > 2 and whole.shape == (2, 1, 8)
            for chunk in chunks:
                first, start = chunk.first_trajectory, chunk.first_step
                part = whole[first:first + chunk.trajectories, 0, start:start + chunk.steps]
                assert part.tobytes() == chunk.reward.tobytes()

    asyncio.run(run())


def test_many_sessions_step_at_once_and_tasks_of_one_wait_for_each_other(served):
    async def run():
        async with connect(served) as client:
            sessions = await asyncio.gather(*(client.open("pendulum", rows=2, seed=seed) for seed in range(16)))
            await asyncio.gather(*(session.step(np.zeros((2, 1))) for session in sessions for _ in range(5)))
            assert [session.committed_step_id for session in sessions] == [5] * 16
            await asyncio.gather(*(session.close() for session in sessions))

    asyncio.run(run())


def test_a_session_may_be_awaited_or_entered(served):
    async def run():
        async with connect(served) as client:
            session = await client.open("pendulum", seed=1)
            async with session, session.fork(copies=2) as twins:
                assert (session.rows, twins.rows) == (1, 2)
                assert (await client.attach(session.session_id)).session_id == session.session_id
            with pytest.raises(dreamd.Error, match="NOT_FOUND"):
                await client.attach(session.session_id)

    asyncio.run(run())


def test_an_error_is_the_same_one_class(served):
    async def run():
        async with connect(served) as client:
            with pytest.raises(dreamd.Error) as caught:
                await client.open("pendulum", rows=1 << 30)
            return caught.value

    error = asyncio.run(run())
    assert (error.code, error.field) == (StatusCode.INVALID_ARGUMENT, "rows")


def test_a_client_of_another_event_loop_says_so(served):
    client = connect(served)
    assert asyncio.run(client.models())
    with pytest.raises(dreamd.Error, match="belongs to the event loop .* asyncio.run makes a new one each time"):
        asyncio.run(client.models())


def test_a_step_whose_reply_is_lost_is_made_once(served):
    link = Link(served)

    async def run():
        async with dreamd.aio.connect(link.address, timeout=60, retries=20) as client:
            async with client.open("pendulum", seed=7) as session:
                with dreamd.connect(served.address) as direct:
                    watched = direct.attach(session.session_id)
                    link.hold()
                    task = asyncio.create_task(session.step([1.0]))
                    await asyncio.to_thread(wait_for, lambda: watched.refresh().committed_step_id == 1)
                    link.cut()
                    link.release()
                    assert (await task).committed_step_id == 1 == watched.refresh().committed_step_id

    asyncio.run(run())
    link.close()


def test_a_cancelled_step_is_made_or_not_and_refresh_tells(served):
    link = Link(served)

    async def run():
        async with dreamd.aio.connect(link.address, timeout=60) as client:
            async with client.open("pendulum", seed=7) as session:
                with dreamd.connect(served.address) as direct:
                    watched = direct.attach(session.session_id)
                    link.hold()
                    task = asyncio.create_task(session.step([1.0]))
                    await asyncio.to_thread(wait_for, lambda: watched.refresh().committed_step_id == 1)
                    task.cancel()
                    with pytest.raises(asyncio.CancelledError):
                        await task
                    link.release()
                    assert (await session.refresh()).committed_step_id == session.committed_step_id == 1
                    assert (await session.step([0.5])).committed_step_id == 2

    asyncio.run(run())
    link.close()


@pytest.fixture
def replicas(tmp_path):
    both = [zoo_daemon(tmp_path / name) for name in ("a", "b")]
    yield both
    for one in both:
        if one.process.poll() is None:
            one.stop()


def test_a_session_moves_when_its_daemon_is_killed(replicas):

    async def run():
        async with dreamd.aio.connect([one.address for one in replicas], timeout=60) as client:
            one, other = [await client.open("pendulum", rows=2, seed=1) for _ in range(2)]
            home = one.address
            for number in range(6):
                if number == 3:
                    kill(next(daemon for daemon in replicas if daemon.address == home))
                first, second = [await session.step(np.full((2, 1), 0.3), outputs=["state"]) for session in (one, other)]
                assert first["state.deter"].tobytes() == second["state.deter"].tobytes()
            assert one.address == other.address != home

    asyncio.run(run())
