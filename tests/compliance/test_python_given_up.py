"""Calls that are given up before their answer comes: Ctrl-C in a notebook, a cancelled task, a deadline. What goes on after them."""

import asyncio
import os
import signal
import threading

import gymnasium
import numpy as np
import pytest
from python_package import ZOO, Link, wait_for

import dreamd  # noqa: E402  (from the tree: python_package)

from grpc import StatusCode  # noqa: E402


@pytest.fixture(scope="module")
def zoo():
    return ZOO


@pytest.fixture
def link(served):
    one = Link(served)
    yield one
    one.close()


def press_ctrl_c(served, link, session, call):
    """While `call` waits for its answer, after the daemon has done what it asks for."""
    step_id = session.committed_step_id + 1

    def press():
        with dreamd.connect(served.address) as direct:
            wait_for(lambda: direct.attach(session.session_id).committed_step_id == step_id)
        os.kill(os.getpid(), signal.SIGINT)

    # What a shell starts in the background has SIGINT ignored, and Python leaves it so.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    link.hold()
    thread = threading.Thread(target=press)
    thread.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            call()
    finally:
        thread.join()
        link.release()
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("make", [
    lambda address: gymnasium.make("dreamd/pendulum-v0", address=address),
    lambda address: gymnasium.make_vec("dreamd/pendulum-v0", num_envs=3, address=address)], ids=["one", "vector"])
def test_worlds_go_on_after_ctrl_c(served, link, make):
    env = make(link.address)
    session = env.unwrapped._hosted.session
    push = np.full(env.action_space.shape, 0.5, np.float32)
    env.reset(seed=1)
    press_ctrl_c(served, link, session, lambda: env.step(push))
    env.step(-push)
    assert session.committed_step_id == 3, "the step that was broken off was made, and this one after it"
    press_ctrl_c(served, link, session, lambda: env.step(push))
    again, _ = env.reset(seed=1)
    assert session.committed_step_id == 5 and not session.unsure
    env.close()
    fresh = make(served.address)
    assert fresh.reset(seed=1)[0].tobytes() == again.tobytes()
    fresh.close()


def test_a_session_says_that_what_was_given_up_was_made(served, link):
    with dreamd.connect(link.address, timeout=60) as client, client.open("pendulum", seed=7) as session:
        press_ctrl_c(served, link, session, lambda: session.step([0.5]))
        assert session.unsure
        for _ in range(2):
            with pytest.raises(dreamd.Error, match="was given up, and was made all the same: `refresh\\(\\)`") as caught:
                session.step([1.0])
            assert (caught.value.code, caught.value.field) == (StatusCode.INVALID_ARGUMENT, "step_id")
        assert session.step([0.5]).committed_step_id == 1 and not session.unsure
        press_ctrl_c(served, link, session, lambda: session.step([0.5]))
        assert session.refresh().committed_step_id == 2 and not session.unsure
        assert session.step([1.0]).committed_step_id == 3


def test_what_another_client_did_is_never_passed_over(served):
    """Worlds that nobody broke off do not go on from somebody else's step."""
    env = gymnasium.make("dreamd/pendulum-v0", address=served.address)
    env.reset(seed=1)
    with dreamd.connect(served.address) as client:
        client.attach(env.unwrapped._hosted.session.session_id).step([0.5])
    with pytest.raises(dreamd.Error, match="step_id"):
        env.step(np.array([-0.5], np.float32))
    env.close()


def test_after_cancelled_tasks_a_session_waits_for_what_is_still_being_made(served):
    async def run():
        async with dreamd.aio.connect(served.address, timeout=60) as client, client.open("pendulum", rows=4096) as session:
            push = np.zeros((4096, 1), np.float32)
            for turn in range(30):
                task = asyncio.create_task(session.step(push))
                await asyncio.sleep(turn * 1e-4)
                task.cancel()
                await asyncio.wait([task])
                if turn % 2:
                    assert not (await session.refresh()).busy and not session.unsure
            await session.refresh()
            return session.committed_step_id, (await session.step(push + 1)).committed_step_id

    before, after = asyncio.run(run())
    assert after == before + 1


def test_a_deadline_says_who_did_not_answer_and_how_long_was_waited(served, link):
    with dreamd.connect(link.address, timeout=60) as client, client.open("pendulum", seed=7) as session:
        link.hold()
        with pytest.raises(dreamd.Error, match=f"no answer from {link.address} within 0.2 s: give it more `timeout=`") as caught:
            session.step([1.0], timeout=0.2)
        assert caught.value.code is StatusCode.DEADLINE_EXCEEDED and session.unsure
        link.release()
