"""Leaving: what SIGTERM and SIGINT do to whoever is connected, by gRPC and by HTTP."""

import http.client
import json
import signal
import socket
import threading
import time

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from dreamd_stubs import Client, make_zoo, put, registry, simulation

CODE = grpc.StatusCode


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    return make_zoo(tmp_path_factory.mktemp("zoo"), tiny=1)


@pytest.fixture
def daemon(start_daemon, zoo):
    return start_daemon("--zoo", zoo, "--drain-grace", "1h")


def until(condition, seconds=60):
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.01)


def get(daemon, path):
    connection = http.client.HTTPConnection(daemon.http, timeout=60)
    connection.request("GET", path)
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def raw(address):
    host, port = address.split(":")
    return socket.create_connection((host, int(port)), timeout=60)


def left(daemon, code=0):
    assert daemon.process.wait(timeout=60) == code, daemon.read_log()
    daemon.process.returncode = 0  # as meant
    return True


def draining(daemon):
    return "draining" in daemon.read_log()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_leaves_with_nobody_there(daemon, number):
    daemon.process.send_signal(number)
    assert left(daemon)
    assert not daemon.endpoint.exists() and '"' not in daemon.read_log().splitlines()[-1]
    assert daemon.read_log().endswith("info left\n")


def test_idle_and_half_open_connections_do_not_hold_it(daemon):
    """Connections that say nothing, half a preface, half a frame, half an HTTP request, and idle ones."""
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    sockets = []
    for said in (b"", preface[:7], preface, preface + b"\0\0\0\4\0\0\0\0\0", preface + b"\0\0\x10\1"):
        sockets.append(raw(daemon.address))
        sockets[-1].sendall(said)
    for said in (b"", b"GET /metr", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"POST / HTTP/1.1\r\nContent-Length: 99\r\n\r\nx"):
        sockets.append(raw(daemon.http))
        sockets[-1].sendall(said)
    with daemon.channel() as channel:
        Client(channel).open(rows=1)
        until(lambda: "\ndreamd_open_connections 6\n" in get(daemon, "/metrics")[1])
        daemon.process.send_signal(signal.SIGTERM)
        assert left(daemon)
    for sock in sockets:
        sock.close()


def test_an_open_stream_of_answers_ends(daemon):
    with daemon.channel() as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        next(watch)
        daemon.process.send_signal(signal.SIGTERM)
        assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
        with pytest.raises(grpc.RpcError) as caught:
            next(watch)
        assert caught.value.code() == CODE.UNAVAILABLE
        assert left(daemon)


def test_trajectories_that_were_begun_come_to_their_end(daemon):
    """A stream that began before the signal is work: the grace is its own."""
    with daemon.channel() as channel:
        client = Client(channel)
        rows, horizon = 256, 2000
        session = client.open(rows=rows).session_id
        request = simulation.ImagineRequest(session_id=session, horizon=horizon)
        stream = client.simulation.Imagine(put(request, action=np.zeros((rows, horizon, 2), "<f4")))
        first = next(stream)
        daemon.process.send_signal(signal.SIGTERM)
        until(lambda: draining(daemon))
        messages = [first, *stream]
        assert messages[-1].last and sum(m.steps * m.trajectories for m in messages) == rows * horizon
        assert left(daemon)


def test_calls_in_flight_are_answered(daemon):
    """Plans of many clients that run while the signal comes."""
    with daemon.channel() as channel:
        client = Client(channel)
        sessions = [client.open(rows=20).session_id for _ in range(4)]
        futures = [client.simulation.Plan.future(simulation.PlanRequest(session_id=one), timeout=600) for one in sessions]
        until(lambda: 'dreamd_sessions{state="busy"} 4' in get(daemon, "/metrics")[1]
              or any(f.done() for f in futures))
        daemon.process.send_signal(signal.SIGTERM)
        for future in futures:
            assert len(future.result().tensors) == 2
        assert left(daemon)


def test_new_calls_and_connections_are_refused_meanwhile(daemon):
    with daemon.channel() as channel, raw(daemon.address) as held:
        hold_a_call(held)
        client = Client(channel)
        session = client.open(rows=1).session_id
        daemon.process.send_signal(signal.SIGTERM)
        until(lambda: draining(daemon))
        until(lambda: fails(lambda: client.step(session, [[0, 0]])) == CODE.UNAVAILABLE)
        with pytest.raises(OSError):
            raw(daemon.address).sendall(b"x")
        # Who looks from outside sees it alive, and not ready.
        assert get(daemon, "/healthz") == (200, "ok\n")
        assert get(daemon, "/readyz") == (503, "DRAINING\n")
        assert 'dreamd_state{state="DRAINING"} 1' in get(daemon, "/metrics")[1]
        held.close()
        assert left(daemon)


def fails(call):
    try:
        call()
    except grpc.RpcError as error:
        return error.code()
    return None


def hold_a_call(sock):
    """Begins a call whose request never becomes complete."""
    import h2.connection

    connection = h2.connection.H2Connection()
    connection.initiate_connection()
    connection.send_headers(1, [(":method", "POST"), (":scheme", "http"), (":authority", "x"),
                                (":path", "/grpc.health.v1.Health/Check"), ("content-type", "application/grpc"),
                                ("te", "trailers")])
    connection.send_data(1, b"\0\0\0")
    sock.sendall(connection.data_to_send())


def test_the_grace_ends_and_so_does_the_daemon(start_daemon, zoo):
    daemon = start_daemon("--zoo", zoo, "--drain-grace", "300ms")
    with raw(daemon.address) as held:
        hold_a_call(held)
        until(lambda: "\ndreamd_open_streams 1\n" in get(daemon, "/metrics")[1])
        daemon.process.send_signal(signal.SIGTERM)
        assert left(daemon)
    assert "unfinished_calls=1" in daemon.read_log()


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_at_once(daemon, second):
    with raw(daemon.address) as held:
        hold_a_call(held)
        until(lambda: "\ndreamd_open_streams 1\n" in get(daemon, "/metrics")[1])
        daemon.process.send_signal(signal.SIGTERM)
        until(lambda: draining(daemon))
        daemon.process.send_signal(second)
        assert left(daemon, 1)
    assert "leaving at once" in daemon.read_log()


def test_a_signal_while_uploads_and_loads_are_under_way(daemon, zoo):
    with daemon.channel() as channel:
        client = Client(channel)
        manifest = (zoo / "tiny/manifest.json").read_bytes()
        begun = threading.Event()

        def half():
            yield registry.RegisterCheckpointRequest(header=registry.RegisterHeader(
                manifest_json=manifest, files=[registry.CheckpointFile(name="weights.safetensors", bytes=1000)]))
            begun.set()
            until(lambda: daemon.process.poll() is not None or draining(daemon))

        call = client.registry.RegisterCheckpoint.future(half())
        load = client.registry.LoadModel.future(registry.LoadModelRequest(model="tiny"))
        assert begun.wait(60)
        daemon.process.send_signal(signal.SIGTERM)
        assert load.exception(60) is None or load.code() == CODE.UNAVAILABLE
        assert call.code() in (CODE.INVALID_ARGUMENT, CODE.UNAVAILABLE)
        assert left(daemon)


def test_what_was_written_at_the_end_is_json_and_gone(daemon):
    told = json.loads(daemon.endpoint.read_text())
    assert set(told) == {"host", "port", "http_host", "http_port", "pid"}
    daemon.process.send_signal(signal.SIGTERM)
    assert left(daemon) and not daemon.endpoint.exists()
