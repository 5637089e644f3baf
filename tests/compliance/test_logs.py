"""What an operator finds in the log, and a client in its trailers: request ids tie the two."""

import json
import re
import time

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2

from dreamd_stubs import Client, make_zoo, put, simulation

CHECK = "/grpc.health.v1.Health/Check"
PAIR = re.compile(r'([a-z_]+)=("(?:[^"\\]|\\.)*"|\S+)')


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    return make_zoo(tmp_path_factory.mktemp("zoo"), tiny=1)


def check(channel, *metadata):
    """A call; its trailers."""
    _, call = channel.unary_unary(CHECK).with_call(
        health_pb2.HealthCheckRequest().SerializeToString(), metadata=metadata, timeout=60)
    return call.trailing_metadata()


def request_id(trailers):
    (found,) = (value for name, value in trailers if name == "x-request-id")
    return found


def lines(daemon, event, **pairs):
    """Lines of that event in a text log, as dictionaries."""
    found = []
    for line in daemon.read_log().splitlines():
        time_, level, rest = line.split(" ", 2)
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", time_), line
        if rest == event or rest.startswith(f"{event} "):
            fields = {name: value.strip('"') for name, value in PAIR.findall(rest)}
            if fields | pairs == fields:
                found.append({"level": level, **fields})
    return found


def line(daemon, event, **pairs):
    (found,) = lines(daemon, event, **pairs)
    return found


# ---- request ids ----


@pytest.mark.parametrize("given", ["abc-123", "0af7651916cd43dd8448eb211c80319c", "a/b:c=d+e@f_g.h", "x" * 64])
def test_a_clients_id_comes_back(channel, given):
    assert request_id(check(channel, ("x-request-id", given))) == given


@pytest.mark.parametrize("given", ["", "x" * 65, "two words", 'quote"d', "x;y", "{x}", "x\\y"])
def test_an_id_that_is_not_clean_is_replaced(channel, given):
    assert re.fullmatch("[0-9a-f]{16}", request_id(check(channel, ("x-request-id", given))))


def test_of_two_ids_the_first_clean_one_holds(channel):
    assert request_id(check(channel, ("x-request-id", "a b"), ("x-request-id", "one"), ("x-request-id", "two"))) == "one"


def test_ids_that_are_made_differ(channel):
    made = [request_id(check(channel)) for _ in range(200)]
    assert len(set(made)) == 200 and all(re.fullmatch("[0-9a-f]{16}", one) for one in made)


def test_errors_have_an_id_too(channel):
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/no/such")(b"", metadata=[("x-request-id", "mine")], timeout=60)
    assert request_id(caught.value.trailing_metadata()) == "mine"
    with pytest.raises(grpc.RpcError) as caught:
        Client(channel).simulation.GetSession(simulation.GetSessionRequest(session_id="x"))
    assert re.fullmatch("[0-9a-f]{16}", request_id(caught.value.trailing_metadata()))


# ---- lines ----


def test_every_request_has_a_line_where_that_is_wanted(start_daemon, zoo):
    daemon = start_daemon("--zoo", zoo, "--log-requests")
    with daemon.channel() as channel:
        client = Client(channel)
        session = client.open(rows=2).session_id
        request = put(simulation.StepRequest(session_id=session), action=np.zeros((2, 2), "<f4"))
        client.simulation.Step(request, metadata=[("x-request-id", "good")])
        with pytest.raises(grpc.RpcError):
            client.simulation.Step(simulation.StepRequest(session_id="nobody"), metadata=[("x-request-id", "bad")])
    good = line(daemon, "request", request_id="good")
    assert good["level"] == "info" and good["method"] == "dreamd.v1.Simulation/Step" and good["code"] == "OK"
    assert good["session"] == session and re.fullmatch(r"127\.0\.0\.1:\d+", good["peer"])
    assert 0 < int(good["compute_us"]) and int(good["queue_us"]) + int(good["compute_us"]) <= int(good["total_us"])
    bad = line(daemon, "request", request_id="bad")
    assert bad["code"] == "NOT_FOUND" and "session" not in bad and "nobody" in bad["message"]
    assert len(lines(daemon, "request")) == 3


def test_lines_of_all_methods_name_their_session(start_daemon, zoo):
    daemon = start_daemon("--zoo", zoo, "--log-requests")
    with daemon.channel() as channel:
        client = Client(channel)
        session = client.open(rows=2).session_id
        kept = client.simulation.GetState(simulation.GetStateRequest(session_id=session))
        client.simulation.SetState(simulation.SetStateRequest(
            session_id=session, tensors=kept.tensors, raw_contents=kept.raw_contents, format=kept.format,
            layout_hash=kept.layout_hash, checksum=kept.checksum, checkpoint=kept.checkpoint))
        client.simulation.Fork(simulation.ForkRequest(session_id=session))
        client.simulation.GetSession(simulation.GetSessionRequest(session_id=session))
        list(client.simulation.Imagine(simulation.ImagineRequest(session_id=session, horizon=2)))
        client.simulation.Plan(simulation.PlanRequest(session_id=session), timeout=600)
        client.simulation.CloseSession(simulation.CloseSessionRequest(session_id=session))
    said = {one["method"].split("/")[1] for one in lines(daemon, "request", session=session, code="OK")}
    assert said >= {"OpenSession", "GetState", "SetState", "Fork", "GetSession", "Imagine", "Plan", "CloseSession"}


def test_a_quiet_log_has_no_line_for_a_request(start_daemon, zoo):
    daemon = start_daemon("--zoo", zoo)
    with daemon.channel() as channel:
        Client(channel).open(rows=1)
        with pytest.raises(grpc.RpcError):
            channel.unary_unary("/no/such")(b"", timeout=60)
    assert lines(daemon, "request") == []


def test_slow_requests_are_told_of(start_daemon, zoo):
    daemon = start_daemon("--zoo", zoo, "--log-slow", "1ms")
    with daemon.channel() as channel:
        client = Client(channel)
        session = client.open(rows=200).session_id
        plan = simulation.PlanRequest(session_id=session)
        client.simulation.Plan(plan, metadata=[("x-request-id", "long")], timeout=600)
    slow = line(daemon, "slow request", request_id="long")
    assert slow["level"] == "warn" and slow["session"] == session and int(slow["total_us"]) >= 1000


def test_a_log_of_json_is_json(start_daemon, zoo):
    daemon = start_daemon("--zoo", zoo, "--log-format", "json", "--log-level", "debug")
    nasty = 'quote" back\\slash \u00fc'
    with daemon.channel() as channel:
        client = Client(channel)
        session = client.open(rows=1).session_id
        client.step(session, [[0, 0]])
        with pytest.raises(grpc.RpcError):
            client.simulation.GetSession(simulation.GetSessionRequest(session_id=nasty))
    daemon.stop()
    said = [json.loads(one) for one in (daemon.folder / "log").read_text().splitlines()]
    assert all({"time", "level", "event"} <= set(one) for one in said)
    events = [one["event"] for one in said]
    assert events.count("serving") == 1 and events[-1] == "left"
    assert next(one for one in said if one["event"] == "serving")["port"] == daemon.port
    step = next(one for one in said if one.get("method") == "dreamd.v1.Simulation/Step")
    assert step["code"] == "OK" and isinstance(step["total_us"], int) and step["session"] == session
    failed = next(one for one in said if one.get("code") == "NOT_FOUND")
    assert 'quote" back\\slash' in failed["message"]


def test_a_flood_of_warnings_is_cut(start_daemon):
    daemon = start_daemon("--connections-max", "1")
    with daemon.channel() as channel:
        check(channel)
        began = time.monotonic()
        for _ in range(300):
            with daemon.channel() as another, pytest.raises(grpc.RpcError):
                check(another)
            if time.monotonic() - began > 60:
                break
    windows = 2 + (time.monotonic() - began) // 10
    assert 20 <= len(lines(daemon, "connection refused")) <= 20 * windows
