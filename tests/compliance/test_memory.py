"""What requests are lent comes back, whatever becomes of them."""

import contextlib
import os

import grpc
import numpy as np
import pytest

from dreamd_stubs import Client, arrays, put, simulation
from imagination import ask
from test_interact import Stream
from test_metrics import Scrape, daemon, until, zoo  # noqa: F401 (fixtures)
from test_state import get, request_of

ROWS = 4096  # so that results do not fit into what a call has of its own
ALL = ["state", "reward", "continue", "observation"]
PLAN = dict(horizon=4, candidates=64, iterations=2)


@pytest.fixture
def client(daemon):  # noqa: F811
    with daemon.channel() as channel:
        yield Client(channel)


def actions(count=ROWS, *shape):
    return np.zeros((count, *shape, 2), "<f4")


def step(session, count=ROWS, **fields):
    return put(simulation.StepRequest(session_id=session, outputs=ALL, **fields), action=actions(count))


def plan(session, rows=None, **settings):
    request = simulation.PlanRequest(session_id=session, settings=simulation.PlannerSettings(**{**PLAN, **settings}))
    request.rows.rows.extend(range(16) if rows is None else rows)
    return request


def held(client, daemon):  # noqa: F811
    """Bytes that the daemon has lent, for results, requests and answers."""
    scrape = Scrape(daemon)
    return [scrape.value(f"dreamd_{what}_bytes") for what in ("result", "receiving", "waiting_answer")]


def all_back(client, daemon):  # noqa: F811
    until(lambda: held(client, daemon) == [0, 0, 0])


def test_by_requests_that_succeed_and_that_fail(client, daemon):  # noqa: F811
    session = client.open(rows=ROWS, seed=1).session_id
    calls = client.simulation
    wrong = put(simulation.PlanRequest(session_id=session, settings=simulation.PlannerSettings(**PLAN)),
                plan=actions(ROWS, 3))
    saved = get(client, session)
    damaged = request_of(saved, session)
    damaged.checksum ^= 1
    good = [
        lambda: calls.Step(step(session)),
        lambda: calls.Reset(simulation.ResetRequest(session_id=session, outputs=["observation"])),
        lambda: calls.Decode(simulation.DecodeRequest(session_id=session, outputs=["observation"])),
        lambda: calls.Act(simulation.ActRequest(session_id=session)),
        lambda: calls.Plan(plan(session, warm_start=True), timeout=600),
        lambda: calls.SetState(request_of(get(client, session), session)),
        lambda: list(calls.Imagine(ask(session, policy="random", horizon=5, outputs=ALL))),
        lambda: list(calls.Imagine(ask(session, policy="actor", horizon=5, outputs=["return"]))),
    ]
    bad = [
        lambda: calls.Step(step(session, count=ROWS - 1)),
        lambda: calls.Step(step(session, step_id=77)),
        lambda: calls.Plan(wrong, timeout=600),
        lambda: calls.Plan(plan(session, rows=[0, 0])),
        lambda: calls.SetState(damaged),
        lambda: list(calls.Imagine(ask(session, actions(ROWS, 4), policy="given", horizon=5, outputs=ALL))),
        lambda: list(calls.Imagine(ask(session, policy="random", horizon=5, outputs=["nothing"]))),
        lambda: list(calls.Imagine(ask(session, policy="random", horizon=1_000_000, candidates=8, outputs=ALL),
                                   timeout=0.2)),
        lambda: calls.Plan(plan(session, candidates=4096, iterations=1000), timeout=0.2),
    ]
    for call in good:
        call()
    all_back(client, daemon)
    for number, call in enumerate(bad):
        with pytest.raises(grpc.RpcError):
            call()
            pytest.fail(f"call {number} was answered")
    all_back(client, daemon)


def test_by_calls_whose_client_leaves(client, daemon):  # noqa: F811
    session = client.open(rows=ROWS, seed=1).session_id
    calls = client.simulation
    for _ in range(5):
        under_way = [calls.Plan.future(plan(session, candidates=4096, iterations=1000)), calls.Step.future(step(session))]
        stream = calls.Imagine(ask(session, policy="random", horizon=1_000_000, outputs=ALL))
        next(stream)
        stream.cancel()
        for call in under_way:
            call.cancel()
    all_back(client, daemon)


def test_by_sessions_that_are_closed_meanwhile(client, daemon):  # noqa: F811
    calls = client.simulation
    for _ in range(3):
        session = client.open(rows=ROWS, seed=1).session_id
        under_way = [calls.Plan.future(plan(session, candidates=512, iterations=20)), calls.Step.future(step(session)),
                     calls.Decode.future(simulation.DecodeRequest(session_id=session, outputs=["observation"]))]
        stream = calls.Imagine(ask(session, policy="random", horizon=1_000_000, outputs=ALL))
        next(stream)
        calls.CloseSession(simulation.CloseSessionRequest(session_id=session))
        with pytest.raises(grpc.RpcError):
            list(stream)
        for call in under_way:
            with contextlib.suppress(grpc.RpcError):
                call.result(timeout=600)
    until(lambda: Scrape(daemon).value("dreamd_session_bytes") == 0)
    all_back(client, daemon)


def test_by_a_stream_that_ends_with_answers_held_back(client, daemon):  # noqa: F811
    """Steps are done long before the plan ahead of them: their answers wait, and go with the stream."""
    slow, quick = (client.open(rows=rows, seed=1).session_id for rows in (16, ROWS))
    stream = Stream(client)
    for request in (plan(slow, candidates=4096, iterations=1000), step(quick), step(quick)):
        stream.send(request)
    until(lambda: held(client, daemon)[0] > ROWS * 8)
    until(lambda: client.simulation.GetSession(
        simulation.GetSessionRequest(session_id=quick)).session.committed_step_id >= 1)
    stream.replies.cancel()
    stream.requests.put(None)
    all_back(client, daemon)
    assert arrays(client.simulation.Step(step(quick)))["reward"].shape == (ROWS,)


@pytest.mark.skipif(bool(os.environ.get("DREAMD_SANITIZER")), reason="whose own bookkeeping counts as resident")
def test_a_burst_of_large_answers_is_not_the_size_of_the_process_for_ever(client, daemon):  # noqa: F811
    def resident():
        return Scrape(daemon).value("process_resident_memory_bytes") / 2**20

    session = client.open(rows=ROWS, seed=1).session_id
    request = simulation.DecodeRequest(session_id=session, outputs=ALL)
    request.rows.rows.extend(range(2000))
    client.simulation.Decode(request)
    before, most = resident(), 0
    calls = [client.simulation.Decode.future(request) for _ in range(500)]
    while not all(call.done() for call in calls):
        most = max(most, resident())
    answer = len(calls[0].result().SerializeToString()) / 2**20
    assert 0.3 < answer and most > before + 50, (answer, before, most)
    until(lambda: resident() < before + 0.25 * (most - before))
