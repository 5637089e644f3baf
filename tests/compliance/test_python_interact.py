"""Interact from Python: pipelined, in order, errors in band; what a stream gives is what calls of their own give."""

import asyncio
import threading

import numpy as np
import pytest
from python_package import ZOO, kill, zoo_daemon

import dreamd  # noqa: E402  (from the tree: python_package)

from grpc import StatusCode  # noqa: E402

SEEN = ["observation", "reward"]


@pytest.fixture(scope="module")
def zoo():
    return ZOO


@pytest.fixture
def client(served):
    with dreamd.connect(served.address, timeout=60) as one:
        yield one


def actions(steps, rows, seed=0):
    return np.random.default_rng(seed).uniform(-2, 2, (steps, rows, 1)).astype(np.float32)


def bits(reply):
    return {name: array.tobytes() for name, array in reply.items()}


def test_a_stream_gives_the_bits_of_calls_of_their_own(client):
    sessions, twins = ([client.open("pendulum", rows=3, seed=seed) for seed in range(8)] for _ in range(2))
    with client.interact() as stream:
        pending = [stream.step(session, action, outputs=SEEN) for action in actions(10, 3) for session in sessions]
    assert all(one.done for one in pending)  # leaving the block received them
    expected = [twin.step(action, outputs=SEEN) for action in actions(10, 3) for twin in twins]
    assert [bits(one.result()) for one in pending] == [bits(one) for one in expected]
    assert [one.result().committed_step_id for one in pending] == [step + 1 for step in range(10) for _ in sessions]
    assert [bits(one.step(actions(1, 3)[0])) for one in sessions] == [bits(one.step(actions(1, 3)[0])) for one in twins]
    for one in (*sessions, *twins):
        one.close()


def test_every_verb_goes_through(client):
    def story(session, ask):
        saved = ask("get_state", session)
        yield bits(saved.tensors)
        yield bits(ask("reset", session, seed=3, outputs=["observation"]))
        yield bits(ask("observe", session, [[1, 0, 0]] * 2, outputs=["state"]))
        yield bits(ask("plan", session, horizon=3, candidates=8, iterations=1))
        yield bits(ask("step", session, [[0.5]] * 2, outputs=SEEN))
        ask("fork_into", session, [1], rows=[0])
        yield bits(ask("decode", session, outputs=SEEN))
        yield bits(ask("encode", session, [[1, 0, 0]] * 2))
        ask("set_state", session, saved)
        yield bits(ask("decode", session, outputs=["state"]))

    with client.open("pendulum", rows=2, seed=5) as one, client.open("pendulum", rows=2, seed=5) as other:
        with client.interact() as stream:
            streamed = list(story(one, lambda verb, *given, **named: getattr(stream, verb)(*given, **named).result()))
        called = list(story(other, lambda verb, session, *given, **named: getattr(session, verb)(*given, **named)))
        assert streamed == called and one.committed_step_id == other.committed_step_id == 5
        with client.interact() as stream, pytest.raises(dreamd.Error, match="has no actor"):
            stream.act(one).result()


def test_the_example_of_the_page_runs(client):
    from python_package import ROOT
    text = (ROOT / "client/python/README.md").read_text()
    example = text[text.index("with client.interact()"):]
    sessions = [client.open("pendulum", seed=seed) for seed in range(3)]
    names = {"client": client, "sessions": sessions}
    exec(example[:example.index("```")], names)
    assert [reward.shape for reward in names["rewards"]] == [(1,)] * 3
    for session in sessions:
        session.close()


def test_answers_may_be_taken_in_any_order(client):
    with client.open("pendulum", seed=1) as session, client.interact() as stream:
        first, middle, last = (stream.step(session, [action]) for action in (0.0, 0.5, 1.0))
        assert not first.done
        assert last.result().committed_step_id == 3 and first.done and middle.done
        assert first.result().committed_step_id == 1 and last.result() is last.result()


def test_an_error_belongs_to_its_request_and_nothing_is_done_over_a_hole(client):
    with client.open("pendulum", seed=1) as hurt, client.open("pendulum", seed=2) as well, client.interact() as stream:
        before = stream.step(hurt, [0.1])
        wrong = stream.step(hurt, [np.nan])
        behind = stream.step(hurt, [0.2])
        looked = stream.decode(hurt, outputs=["reward"])
        beside = stream.step(well, [0.1])
        with pytest.raises(dreamd.Error, match="element 0 is NaN") as caught:
            wrong.result()
        assert caught.value.field and caught.value.code is StatusCode.INVALID_ARGUMENT
        with pytest.raises(dreamd.Error) as caught:
            behind.result()
        assert caught.value.code is StatusCode.ABORTED and caught.value.committed_step_id == 1
        assert before.result().committed_step_id == 1 == beside.result().committed_step_id and len(looked.result()) == 1
        assert stream.step(hurt, [0.2]).result().committed_step_id == 2 == hurt.refresh().committed_step_id
        with pytest.raises(dreamd.Error, match="action: is None, expected an array"):
            stream.step(hurt, None)  # never sent
        assert stream.step(hurt, [0.3]).result().committed_step_id == 3


def test_a_deadline_is_the_request_s_own(client):
    with client.open("pendulum", rows=64, seed=1) as session, client.interact() as stream:
        late = stream.plan(session, horizon=500, candidates=4096, iterations=50, timeout=0.05)
        fine = stream.step(session, np.zeros((64, 1)))
        with pytest.raises(dreamd.Error) as caught:
            late.result()
        assert caught.value.code is StatusCode.DEADLINE_EXCEEDED and fine.result().committed_step_id == 1


def test_an_exception_in_the_block_cancels_what_is_on_its_way(client):
    with client.open("pendulum", rows=64, seed=1) as session:
        with pytest.raises(KeyError), client.interact() as stream:
            slow = stream.plan(session, horizon=500, candidates=4096, iterations=50)
            raise KeyError
        with pytest.raises(dreamd.Error) as caught:
            slow.result()
        assert caught.value.code is StatusCode.CANCELLED
        with pytest.raises(dreamd.Error):
            stream.step(session, np.zeros((64, 1)))
        assert session.step(np.zeros((64, 1))).committed_step_id == 1


def test_a_killed_daemon_fails_what_is_on_its_way(tmp_path):
    daemon = zoo_daemon(tmp_path)
    with dreamd.connect(daemon.address, timeout=60) as client:
        session = client.open("pendulum", rows=64, seed=1)
        with client.interact() as stream:
            assert stream.step(session, np.zeros((64, 1))).result().committed_step_id == 1
            slow = stream.plan(session, horizon=500, candidates=4096, iterations=50)
            kill(daemon)
            with pytest.raises(dreamd.Error) as caught:
                slow.result()
            assert caught.value.code is StatusCode.UNAVAILABLE
            with pytest.raises(dreamd.Error) as caught:
                stream.decode(session)
            assert caught.value.code is StatusCode.UNAVAILABLE


def test_what_does_not_belong_into_a_stream_is_refused(client, served):
    with client.interact() as stream, pytest.raises(dreamd.Error, match="session: is of type str, expected what client.open"):
        stream.step("mine", [0.0])
    with dreamd.connect([served.address, "127.0.0.1:1"]) as many, pytest.raises(dreamd.Error, match="is a list of 2"):
        many.interact()
    elsewhere = served.address.replace("127.0.0.1", "localhost")
    with dreamd.connect(elsewhere) as other, client.open("pendulum") as session, other.interact() as stream:
        with pytest.raises(dreamd.Error, match=f"session: is at {served.address}, the stream at localhost"):
            stream.step(session, [0.0])


def test_one_thread_sends_while_another_receives(client):
    with client.open("pendulum", seed=1) as session, client.open("pendulum", seed=1) as twin:
        sent, room = [], threading.Semaphore(0)

        def receive():
            for number in range(300):
                room.acquire()
                assert sent[number].result().committed_step_id == number + 1

        with client.interact() as stream:
            thread = threading.Thread(target=receive)
            thread.start()
            for action in actions(300, 1):
                sent.append(stream.step(session, action))
                room.release()
            thread.join(60)
            assert not thread.is_alive()
        for action in actions(300, 1):
            twin.step(action)
        assert bits(session.decode(outputs=["state"])) == bits(twin.decode(outputs=["state"]))


def test_asyncio_awaits_the_same(served, client):
    async def fleet():
        async with dreamd.aio.connect(served.address, timeout=60) as there:
            sessions = [await there.open("pendulum", seed=seed) for seed in range(20)]
            async with there.interact() as stream:
                async def agent(session):
                    return [bits(await stream.step(session, action, outputs=SEEN)) for action in actions(10, 1)]

                waiting = asyncio.create_task(agent(sessions[-1]))
                await asyncio.sleep(0)
                waiting.cancel()  # who stops waiting does not stop the stream
                stories = await asyncio.gather(*map(agent, sessions[:-1]))
                bad, behind = stream.step(sessions[0], [np.nan]), stream.step(sessions[0], [0.0])
                for one, code in ((bad, StatusCode.INVALID_ARGUMENT), (behind, StatusCode.ABORTED)):
                    with pytest.raises(dreamd.Error) as caught:
                        await one
                    assert caught.value.code is code
                left = stream.step(sessions[0], [0.0])
                with pytest.raises(dreamd.Error, match="in asyncio, `await`"):
                    left.result()
            assert left.result().committed_step_id == 11  # leaving the block received it
            with pytest.raises(dreamd.Error, match="the stream was closed"):
                stream.step(sessions[0], [0.0])
            with pytest.raises(dreamd.Error, match="is not open: `async with"):
                there.interact().step(sessions[0], [0.0])
            for session in sessions:
                await session.close()
            return stories

    stories = asyncio.run(fleet())
    for seed, story in enumerate(stories):
        with client.open("pendulum", seed=seed) as session:
            assert [bits(session.step(action, outputs=SEEN)) for action in actions(10, 1)] == story


def test_asyncio_cancels_what_is_on_its_way(served):
    async def leave():
        async with dreamd.aio.connect(served.address, timeout=60) as there, there.open("pendulum", rows=64) as session:
            with pytest.raises(KeyError):
                async with there.interact() as stream:
                    slow = stream.plan(session, horizon=500, candidates=4096, iterations=50)
                    await asyncio.sleep(0.05)
                    raise KeyError
            with pytest.raises(dreamd.Error) as caught:
                await slow
            assert caught.value.code is StatusCode.CANCELLED
            assert (await session.step(np.zeros((64, 1)))).committed_step_id == 1

    asyncio.run(leave())
