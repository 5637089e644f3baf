"""The transport as any gRPC client sees it: health, reflection, deadlines, limits, drain.

Public clients only: grpcio, grpcio-health-checking, grpcio-reflection, and h2 where a
well-behaved client could not misbehave.
"""

import random
import resource
import signal
import socket
import subprocess
import time

import grpc
import h2.config
import h2.connection
import hpack
import pytest
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

from conftest import BUILD

CHECK = "/grpc.health.v1.Health/Check"
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
SERVICE_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


def unary(channel, path, message=b"", **options):
    """A call on raw bytes."""
    return channel.unary_unary(path, lambda m: m, lambda m: m)(message, **options)


# ---- health ----


def test_health_check_says_serving(channel):
    stub = health_pb2_grpc.HealthStub(channel)
    assert stub.Check(health_pb2.HealthCheckRequest()).status == SERVING
    named = health_pb2.HealthCheckRequest(service="grpc.health.v1.Health")
    assert stub.Check(named).status == SERVING


def test_health_check_of_an_unknown_service_is_not_found(channel):
    with pytest.raises(grpc.RpcError) as caught:
        health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service="no.such"))
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND
    assert "no.such" in caught.value.details()
    details = dict(caught.value.trailing_metadata())["grpc-status-details-bin"]
    assert b"google.rpc.ResourceInfo" in details


def test_health_list_names_every_service(channel):
    reply = unary(channel, "/grpc.health.v1.Health/List")
    assert b"grpc.reflection.v1.ServerReflection" in reply


def test_health_watch_begins_with_the_state_of_now(channel):
    stub = health_pb2_grpc.HealthStub(channel)
    for service, expected in (("", SERVING), ("no.such", SERVICE_UNKNOWN)):
        watch = stub.Watch(health_pb2.HealthCheckRequest(service=service))
        assert next(watch).status == expected
        watch.cancel()


# ---- reflection ----


def list_methods(channel):
    """Every method of every service, found through reflection: (path, streams in, streams out)."""
    database = ProtoReflectionDescriptorDatabase(channel)
    pool = DescriptorPool(database)
    return [
        (f"/{service}/{method.name}", method.client_streaming, method.server_streaming)
        for service in database.get_services()
        for method in pool.FindServiceByName(service).methods
    ]


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
def test_reflection_lists_and_describes_every_service(channel, version):
    paths = [path for path, _, _ in list_methods(channel)]
    assert CHECK in paths
    info = channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        reflection_pb2.ServerReflectionRequest.SerializeToString,
        reflection_pb2.ServerReflectionResponse.FromString,
    )
    request = reflection_pb2.ServerReflectionRequest
    questions = [
        request(list_services=""),
        request(file_containing_symbol="grpc.health.v1.Health.Watch"),
        request(file_by_filename="google/rpc/status.proto"),
        request(all_extension_numbers_of_type="google.rpc.Status"),
        request(file_containing_symbol="no.such.Symbol"),
        request(file_by_filename="no_such.proto"),
        request(file_containing_extension=reflection_pb2.ExtensionRequest(
            containing_type="google.rpc.Status", extension_number=1)),
        request(),
    ]
    answers = list(info(iter(questions), timeout=20))
    assert [a.original_request for a in answers] == questions
    names = [s.name for s in answers[0].list_services_response.service]
    assert f"grpc.reflection.{version}.ServerReflection" in names
    files = [descriptor_pb2.FileDescriptorProto.FromString(b)
             for b in answers[1].file_descriptor_response.file_descriptor_proto]
    assert [f.name for f in files] == ["grpc/health/v1/health.proto"]
    files = [descriptor_pb2.FileDescriptorProto.FromString(b).name
             for b in answers[2].file_descriptor_response.file_descriptor_proto]
    assert files == ["google/rpc/status.proto", "google/protobuf/any.proto"]
    numbers = answers[3].all_extension_numbers_response
    assert (numbers.base_type_name, list(numbers.extension_number)) == ("google.rpc.Status", [])
    codes = [a.error_response.error_code for a in answers[4:]]
    assert codes == [5, 5, 5, 3]


# ---- deadlines and cancelling ----


def open_call(daemon, headers=(), path=CHECK, method="POST", content_type="application/grpc",
              end=False):
    """A connection of raw HTTP/2 frames with one call begun on it."""
    sock = socket.create_connection((daemon.host, daemon.port), timeout=20)
    connection = h2.connection.H2Connection(
        h2.config.H2Configuration(header_encoding="utf-8", validate_outbound_headers=False))
    connection.initiate_connection()
    connection.send_headers(1, [
        (":method", method), (":scheme", "http"), (":authority", "test"), (":path", path),
        ("content-type", content_type), ("te", "trailers"), *headers], end_stream=end)
    sock.sendall(connection.data_to_send())
    return sock, connection


def send_body(sock, connection, body, end=True):
    connection.send_data(1, body, end_stream=end)
    sock.sendall(connection.data_to_send())


def read_answer(sock, until_closed=False):
    """Headers and trailers as a dict; also `data` and `goaways`. By hand: h2 takes nothing
    after a GOAWAY."""
    decoder, seen, received = hpack.Decoder(), {"data": b"", "goaways": 0}, b""
    while chunk := sock.recv(65536):
        received += chunk
        while len(received) >= 9 and len(received) >= 9 + int.from_bytes(received[:3], "big"):
            length, kind, flags = int.from_bytes(received[:3], "big"), received[3], received[4]
            payload, received = received[9:9 + length], received[9 + length:]
            seen["goaways"] += kind == 7
            if kind == 0:
                seen["data"] += payload
            if kind == 1:
                seen.update(decoder.decode(payload))
            if kind in (0, 1) and flags & 1 and not until_closed:
                return seen
    return seen


def raw_call(daemon, headers=(), body=b"", end=True, **options):
    sock, connection = open_call(daemon, headers, end=end and not body, **options)
    with sock:
        if body:
            send_body(sock, connection, body, end)
        return read_answer(sock)


def test_a_deadline_in_the_past_is_answered_without_the_service(daemon, channel):
    with pytest.raises(grpc.RpcError) as caught:
        unary(channel, CHECK, timeout=-1)
    assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert raw_call(daemon, [("grpc-timeout", "0m")], b"\0\0\0\0\0")["grpc-status"] == "4"


def test_a_deadline_ends_a_call_that_waits(daemon):
    begun = time.monotonic()
    answer = raw_call(daemon, [("grpc-timeout", "100m")], b"\0\0\0", end=False)
    assert answer["grpc-status"] == "4"
    assert 0.09 < time.monotonic() - begun < 5


@pytest.mark.parametrize("timeout", ["", "1", "S", "123456789S", "1x", "-1S", "1 S"])
def test_a_bad_timeout_is_invalid(daemon, timeout):
    answer = raw_call(daemon, [("grpc-timeout", timeout)], b"\0\0\0\0\0")
    assert answer["grpc-status"] == "3"
    assert "grpc-timeout" in answer["grpc-message"]


def test_a_cancelled_watch_leaves_the_daemon_well(channel):
    stub = health_pb2_grpc.HealthStub(channel)
    for _ in range(200):
        watch = stub.Watch(health_pb2.HealthCheckRequest())
        next(watch)
        watch.cancel()
    assert stub.Check(health_pb2.HealthCheckRequest()).status == SERVING


def test_a_call_cancelled_before_it_was_sent_does_not_end_its_neighbours(daemon):
    """gRPC's C core resets such a stream though it never opened it."""
    sock, connection = open_call(daemon)
    with sock:
        send_body(sock, connection, b"\0\0", end=False)
        for stream in (3, 5, 9):
            sock.sendall(b"\0\0\4\3\0" + stream.to_bytes(4, "big") + (8).to_bytes(4, "big"))
        send_body(sock, connection, b"\0\0\0")
        answer = read_answer(sock)
    assert answer["grpc-status"] == "0" and answer["goaways"] == 0


def test_calls_cancelled_at_once_leave_the_connection_well(daemon):
    with daemon.channel() as own:
        watch = own.unary_stream("/grpc.health.v1.Health/Watch", lambda m: m, lambda m: m)
        for _ in range(20):
            calls = [watch(b"", timeout=20) for _ in range(50)]
            for call in calls:
                call.cancel()
            assert {call.code() for call in calls} == {grpc.StatusCode.CANCELLED}
            assert unary(own, CHECK) == b"\x08\x01"


# ---- what is refused ----


def test_an_unknown_method_is_unimplemented(channel):
    for path in ("/dreamd.v1.Simulation/Fly", "/no.such.Service/Check", "/x", "/" + "y" * 1000):
        with pytest.raises(grpc.RpcError) as caught:
            unary(channel, path)
        assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED
        assert path[:200] in caught.value.details()


def test_a_message_cut_short_is_invalid(daemon):
    for body in (b"\0\0", b"\0\0\0\0\x05abc"):
        answer = raw_call(daemon, body=body)
        assert answer["grpc-status"] == "3"
        assert "inside a message" in answer["grpc-message"]


def test_one_request_means_one(daemon):
    assert raw_call(daemon)["grpc-status"] == "12"
    assert raw_call(daemon, body=b"\0\0\0\0\0" * 2)["grpc-status"] == "12"


def test_garbage_names_the_message_type(daemon):
    answer = raw_call(daemon, body=b"\0\0\0\0\x03\xff\xff\xff")
    assert answer["grpc-status"] == "3"
    assert "grpc.health.v1.HealthCheckRequest" in answer["grpc-message"]


@pytest.mark.parametrize("text", [b"\xff", b"a\0b", b"\xed\xa0\x80", b"\xc3"])
def test_strings_must_be_utf8_without_nul(daemon, text):
    message = b"\x0a" + bytes([len(text)]) + text
    answer = raw_call(daemon, body=b"\0\0\0\0" + bytes([len(message)]) + message)
    assert answer["grpc-status"] == "3"
    assert "service" in answer["grpc-message"]
    assert "grpc-status-details-bin" in answer


def test_compressed_messages_are_taken_in_two_encodings(daemon, channel):
    for compression in (grpc.Compression.Gzip, grpc.Compression.Deflate):
        with pytest.raises(grpc.RpcError) as caught:
            unary(channel, CHECK, b"\x0a\xe8\x07" + b"a" * 1000, compression=compression)
        assert caught.value.code() == grpc.StatusCode.NOT_FOUND  # it was read: there is no such service
        assert "aaaa" in caught.value.details()
    answer = raw_call(daemon, [("grpc-encoding", "snappy")], b"\1\0\0\0\1x")
    assert answer["grpc-status"] == "12"
    assert answer["grpc-accept-encoding"] == "identity,gzip,deflate"
    assert raw_call(daemon, body=b"\1\0\0\0\1x")["grpc-status"] == "3"
    answer = raw_call(daemon, [("grpc-encoding", "gzip")], b"\1\0\0\0\1x")
    assert answer["grpc-status"] == "3" and "compressed" in answer["grpc-message"]


def test_what_is_not_grpc_gets_an_http_status(daemon):
    assert raw_call(daemon, content_type="application/json")[":status"] == "415"
    assert raw_call(daemon, method="GET")[":status"] == "405"
    for good in ("application/grpc+proto", "application/grpc;charset=utf-8"):
        assert raw_call(daemon, body=b"\0\0\0\0\0", content_type=good)["grpc-status"] == "0"


def test_too_much_metadata_is_refused(daemon):
    many = [(f"x-{i}", "v") for i in range(200)]
    assert raw_call(daemon, many, b"\0\0\0\0\0")["grpc-status"] == "8"
    large = [("x-large", "v" * 20000)]
    assert raw_call(daemon, large, b"\0\0\0\0\0")["grpc-status"] == "8"


def test_an_oversize_message_is_refused_by_its_length_alone(start_daemon):
    small = start_daemon("--message-max", "1MiB")
    with small.channel() as channel:
        with pytest.raises(grpc.RpcError) as caught:
            unary(channel, CHECK, b"\x12" + b"\x80\x80\x40" + b"a" * (1 << 20))
        assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "1048576" in caught.value.details()
        fits = b"\x0a\x80\x80\x30" + b"a" * 786432
        with pytest.raises(grpc.RpcError) as caught:
            unary(channel, CHECK, fits)
        assert caught.value.code() == grpc.StatusCode.NOT_FOUND


def test_hostile_bytes_do_not_ask_for_much_memory(daemon, channel):
    with pytest.raises(grpc.RpcError) as caught:
        unary(channel, CHECK, b"\x10\x01" * 2_000_000, timeout=60)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    with open(f"/proc/{daemon.process.pid}/status") as status:
        peak = [line for line in status if line.startswith("VmHWM")]
    if "address" not in str(BUILD):
        assert int(peak[0].split()[1]) < 256 * 1024  # kB


def drain(stream):
    try:
        for _ in stream:
            pass
    except grpc.RpcError:
        pass


def test_a_thousand_random_messages_a_method(daemon, channel):
    """Every answer is a status of the daemon's choice, never a broken connection."""
    for path, streams_in, streams_out in list_methods(channel):
        # A connection of its own: a thousand cancelled calls are most of what one may cancel.
        with grpc.insecure_channel(f"{daemon.host}:{daemon.port}",
                                   options=[("grpc.use_local_subchannel_pool", 1)]) as own:
            send_random_messages(own, path, streams_in, streams_out)
    assert health_pb2_grpc.HealthStub(channel).Check(
        health_pb2.HealthCheckRequest()).status == SERVING


def send_random_messages(channel, path, streams_in, streams_out):
    draw = random.Random(path)
    seen = set()
    for first in range(0, 1000, 50):
        messages = [draw.randbytes(draw.choice((0, 1, 2, 5, 20, 100, 1000)))
                    for _ in range(50)]
        kind = ("stream" if streams_in else "unary") + "_" + ("stream" if streams_out else "unary")
        call = getattr(channel, kind)(path, lambda m: m, lambda m: m)
        calls = []
        for message in messages:
            argument = iter([message]) if streams_in else message
            if streams_out:
                calls.append(call(argument, timeout=20))
            else:
                calls.append(call.future(argument, timeout=20))
        for pending in calls:
            if path == "/grpc.health.v1.Health/Watch":
                pending.cancel()  # an answered one never ends
            elif streams_out:
                drain(pending)
            seen.add(pending.code())
    assert grpc.StatusCode.UNAVAILABLE not in seen, path
    assert grpc.StatusCode.INTERNAL not in seen, path
    assert grpc.StatusCode.UNKNOWN not in seen, path
    assert grpc.StatusCode.DEADLINE_EXCEEDED not in seen, path


def test_random_bytes_instead_of_http2(daemon, channel):
    draw = random.Random(11)
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"
    for i in range(100):
        with socket.create_connection((daemon.host, daemon.port), timeout=20) as sock:
            sock.sendall((preface if i % 2 else b"") + draw.randbytes(200))
            sock.shutdown(socket.SHUT_WR)
            try:
                while sock.recv(65536):
                    pass
            except ConnectionResetError:
                pass
    assert health_pb2_grpc.HealthStub(channel).Check(
        health_pb2.HealthCheckRequest()).status == SERVING


def test_many_calls_at_once_are_all_answered(channel):
    call = channel.unary_unary(CHECK, lambda m: m, lambda m: m)
    pending = [call.future(b"", timeout=60) for _ in range(3000)]
    assert all(future.result() == b"\x08\x01" for future in pending)


def test_running_out_of_descriptors_is_survived(start_daemon):
    daemon = start_daemon()
    resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE, (40, 40))
    crowd = [socket.create_connection((daemon.host, daemon.port)) for _ in range(100)]
    time.sleep(0.2)
    assert daemon.process.poll() is None
    for sock in crowd:
        sock.close()
    with daemon.channel() as channel:
        assert unary(channel, CHECK, timeout=20, wait_for_ready=True) == b"\x08\x01"


def test_more_connections_than_allowed_are_closed(start_daemon):
    daemon = start_daemon("--connections-max", "2")
    kept = [socket.create_connection((daemon.host, daemon.port), timeout=20) for _ in range(2)]
    for sock in kept:
        assert sock.recv(9)[3] == 4  # its SETTINGS
    with socket.create_connection((daemon.host, daemon.port), timeout=20) as refused:
        assert refused.recv(9) == b""
    for sock in kept:
        sock.close()


# ---- starting and leaving ----


def run(*arguments):
    return subprocess.run([BUILD / "dreamd", *arguments], capture_output=True, text=True, timeout=60)


def test_a_port_in_use_is_said(daemon):
    done = run("serve", "--listen", daemon.address, "--data", str(daemon.folder / "other"))
    assert done.returncode == 1
    assert "in use" in done.stderr and str(daemon.port) in done.stderr


def test_beyond_loopback_needs_insecure(start_daemon):
    done = run("serve", "--listen", "0.0.0.0:0")
    assert done.returncode == 1
    assert "--insecure" in done.stderr
    open_to_all = start_daemon("--listen", "0.0.0.0:0", "--insecure")
    assert "INSECURE" in open_to_all.read_log()


def test_ipv6_loopback(start_daemon):
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    daemon = start_daemon("--listen", "[::1]:0")
    with grpc.insecure_channel(f"[::1]:{daemon.port}") as channel:
        assert unary(channel, CHECK) == b"\x08\x01"


def test_wrong_usage_is_explained():
    for arguments, said in ((["serve", "--lisen", "x"], "listen"), (["serv"], "serv"),
                            (["serve", "x"], "unexpected"), (["serve", "--listen"], "value"),
                            (["serve", "--keepalive", "soon"], "30s")):
        done = run(*arguments)
        assert done.returncode == 2, arguments
        assert said in done.stderr
    assert run("--version").returncode == 0
    assert "commit" in run("serve", "--version").stdout
    assert "listen = 127.0.0.1:1 ; flag" in run(
        "serve", "--listen", "127.0.0.1:1", "--print-config").stdout


def test_sigterm_tells_watchers_and_leaves(start_daemon):
    daemon = start_daemon()
    with daemon.channel() as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        assert next(watch).status == SERVING
        daemon.process.send_signal(signal.SIGTERM)
        assert next(watch).status == NOT_SERVING
        with pytest.raises(grpc.RpcError) as caught:
            next(watch)
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
        assert daemon.process.wait(timeout=20) == 0
    assert not daemon.endpoint.exists()


def test_sigterm_lets_a_call_in_flight_finish(start_daemon):
    """A request of which one half comes after SIGTERM is still answered."""
    daemon = start_daemon()
    sock, connection = open_call(daemon)
    send_body(sock, connection, b"\0\0\0", end=False)
    time.sleep(0.3)
    daemon.process.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    assert daemon.process.poll() is None
    send_body(sock, connection, b"\0\0")
    answer = read_answer(sock, until_closed=True)
    assert answer["data"] == b"\0\0\0\0\2\x08\x02"  # NOT_SERVING
    assert answer["grpc-status"] == "0"
    assert answer["goaways"] == 2
    assert daemon.process.wait(timeout=20) == 0


def test_the_grace_ends(start_daemon):
    daemon = start_daemon("--drain-grace", "200ms")
    sock, connection = open_call(daemon)
    send_body(sock, connection, b"\0\0\0", end=False)
    time.sleep(0.3)
    daemon.process.send_signal(signal.SIGTERM)
    assert read_answer(sock)["grpc-status"] == "14"
    assert daemon.process.wait(timeout=20) == 0


def test_a_second_signal_ends_at_once(start_daemon):
    daemon = start_daemon("--drain-grace", "1h")
    with open_call(daemon)[0]:
        time.sleep(0.3)
        daemon.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        assert daemon.process.poll() is None
        daemon.process.send_signal(signal.SIGINT)
        assert daemon.process.wait(timeout=5) == 1
    daemon.process.returncode = 0  # as meant


def test_silent_connections_are_closed(start_daemon):
    daemon = start_daemon("--keepalive", "100ms")
    with socket.create_connection((daemon.host, daemon.port), timeout=30) as sock:
        sock.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0")
        seen = b""
        while b"\0\0\x08\x06\0\0\0\0\0" not in seen:  # its ping
            seen += sock.recv(65536)
