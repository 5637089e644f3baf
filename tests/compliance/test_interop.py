"""gRPC's public interoperability cases: grpcio against the daemon's server library.

build/tests/interop_server is grpc.testing.TestService on that library. Each case is called what
gRPC's own descriptions call it, and asks for what they ask.
"""

import gzip
import importlib
import subprocess
import sys
import threading

import grpc
import pytest
from grpc_tools import protoc
from hyperframe.frame import DataFrame

from conftest import BUILD, ROOT
from raw_http2 import Peer

LARGE = 271828


@pytest.fixture(scope="module")
def messages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stubs")
    source = ROOT / "tests/interop/grpc/testing"
    assert protoc.main(["protoc", f"-I{source}", f"--python_out={folder}", f"{source}/test.proto"]) == 0
    sys.path.insert(0, str(folder))
    yield importlib.import_module("test_pb2")
    sys.path.remove(str(folder))


class Server:
    def __init__(self):
        self.process = subprocess.Popen([BUILD / "tests/interop_server"], stdout=subprocess.PIPE, text=True)
        self.host, self.port = "127.0.0.1", int(self.process.stdout.readline().split()[1])

    def stop(self):
        self.process.terminate()
        assert self.process.wait(timeout=60) == 0


@pytest.fixture(scope="module")
def server():
    one = Server()
    yield one
    one.stop()


def open_channel(server, compression=None):
    return grpc.insecure_channel(f"{server.host}:{server.port}", compression=compression,
                                 options=[("grpc.use_local_subchannel_pool", 1)])


@pytest.fixture
def plain(server, messages):
    with open_channel(server) as channel:
        yield Stub(channel, messages)


@pytest.fixture(params=["channel", "compressing channel"])
def stub(request, server, messages):
    """The cases also on a channel that compresses all it sends."""
    with open_channel(server, grpc.Compression.Gzip if request.param != "channel" else None) as channel:
        yield Stub(channel, messages)


class Stub:
    """The service's methods by their names, made of the descriptor."""

    def __init__(self, channel, messages):
        for service in messages.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                kind = ("stream_" if method.client_streaming else "unary_") + (
                    "stream" if method.server_streaming else "unary")
                request = getattr(messages, method.input_type.name)
                reply = getattr(messages, method.output_type.name)
                setattr(self, f"{service.name}_{method.name}", getattr(channel, kind)(
                    f"/{service.full_name}/{method.name}", request.SerializeToString, reply.FromString))

    def __getattr__(self, name):
        return self.__dict__[f"TestService_{name}"]


def payload(messages, size):
    return messages.Payload(body=bytes(size))


def outputs(messages, *sizes, body=None, **fields):
    return messages.StreamingOutputCallRequest(
        response_parameters=[messages.ResponseParameters(size=size) for size in sizes],
        payload=payload(messages, body) if body is not None else None, **fields)


def sizes(replies):
    assert all(reply.payload.body.strip(b"\0") == b"" for reply in replies)
    return [len(reply.payload.body) for reply in replies]


# ---- messages ----


def test_empty_unary(stub, messages):
    assert stub.EmptyCall(messages.Empty(), timeout=60) == messages.Empty()


def test_large_unary(stub, messages):
    reply = stub.UnaryCall(messages.SimpleRequest(response_size=314159, payload=payload(messages, LARGE)),
                           timeout=60)
    assert reply.payload == messages.Payload(body=bytes(314159))


def test_client_streaming(stub, messages):
    requests = [messages.StreamingInputCallRequest(payload=payload(messages, size))
                for size in (27182, 8, 1828, 45904)]
    assert stub.StreamingInputCall(iter(requests), timeout=60).aggregated_payload_size == 74922


def test_server_streaming(stub, messages):
    replies = list(stub.StreamingOutputCall(outputs(messages, 31415, 9, 2653, 58979), timeout=60))
    assert sizes(replies) == [31415, 9, 2653, 58979]


class Turns:
    """Requests that are sent one by one, as a test says."""

    def __init__(self):
        self.given, self.ended = [], False
        self.more = threading.Condition()

    def send(self, request):
        with self.more:
            self.given.append(request)
            self.more.notify()

    def end(self):
        with self.more:
            self.ended = True
            self.more.notify()

    def __iter__(self):
        return self

    def __next__(self):
        with self.more:
            self.more.wait_for(lambda: self.given or self.ended)
            if not self.given:
                raise StopIteration
            return self.given.pop(0)


def test_ping_pong(stub, messages):
    turns = Turns()
    call = stub.FullDuplexCall(turns, timeout=60)
    for wanted, body in ((31415, 27182), (9, 8), (2653, 1828), (58979, 45904)):
        turns.send(outputs(messages, wanted, body=body))
        assert sizes([next(call)]) == [wanted]
    turns.end()
    assert list(call) == []
    assert call.code() == grpc.StatusCode.OK


def test_empty_stream(stub):
    call = stub.FullDuplexCall(iter(()), timeout=60)
    assert list(call) == []
    assert call.code() == grpc.StatusCode.OK


def test_half_duplex(stub, messages):
    turns = Turns()
    call = stub.HalfDuplexCall(turns, timeout=60)
    turns.send(outputs(messages, 7, 8))
    turns.send(outputs(messages, 9))
    turns.end()
    assert sizes(list(call)) == [7, 8, 9]


def test_answers_come_at_their_intervals(stub, messages):
    request = messages.StreamingOutputCallRequest(response_parameters=[
        messages.ResponseParameters(size=i, interval_us=20000) for i in (1, 2, 3)])
    assert sizes(list(stub.StreamingOutputCall(request, timeout=60))) == [1, 2, 3]


def test_concurrent_large_unary(stub, messages):
    """1,000 at once on one channel."""
    request = messages.SimpleRequest(response_size=3141, payload=payload(messages, LARGE))
    calls = [stub.UnaryCall.future(request, timeout=240) for _ in range(1000)]
    assert {len(call.result().payload.body) for call in calls} == {3141}


def test_answers_far_beyond_the_window_wait_for_their_reader(stub, messages):
    request = outputs(messages, *[1 << 20] * 40)
    call = stub.StreamingOutputCall(request, timeout=120)
    assert sum(len(reply.payload.body) for reply in call) == 40 << 20


# ---- compression ----


def unary_expecting(stub, messages, expected, compression):
    request = messages.SimpleRequest(expect_compressed=messages.BoolValue(value=expected), response_size=314159,
                                     payload=payload(messages, LARGE))
    return stub.UnaryCall(request, timeout=60, compression=compression)


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.Deflate])
def test_client_compressed_unary(plain, messages, compression):
    with pytest.raises(grpc.RpcError) as caught:
        unary_expecting(plain, messages, True, grpc.Compression.NoCompression)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert len(unary_expecting(plain, messages, True, compression).payload.body) == 314159
    assert len(unary_expecting(plain, messages, False, grpc.Compression.NoCompression).payload.body) == 314159


def test_client_compressed_streaming(plain, messages):
    def requests(*expected):
        return iter([messages.StreamingInputCallRequest(
            expect_compressed=messages.BoolValue(value=value), payload=payload(messages, size))
            for value, size in expected])
    with pytest.raises(grpc.RpcError) as caught:
        plain.StreamingInputCall(requests((True, 27182)), timeout=60,
                                compression=grpc.Compression.NoCompression)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    # grpcio compresses all messages of a call or none; each way is a call of its own here.
    total = plain.StreamingInputCall(requests((True, 27182), (True, 45904)), timeout=60,
                                    compression=grpc.Compression.Gzip)
    assert total.aggregated_payload_size == 73086
    total = plain.StreamingInputCall(requests((False, 27182), (False, 45904)), timeout=60,
                                    compression=grpc.Compression.NoCompression)
    assert total.aggregated_payload_size == 73086


def test_client_compressed_streaming_with_both_in_one_call(server, messages):
    """By frames of our own, as the description has it: one message compressed, the next not."""
    parts = []
    for value, size in ((True, 27182), (False, 45904)):
        body = messages.StreamingInputCallRequest(
            expect_compressed=messages.BoolValue(value=value),
            payload=payload(messages, size)).SerializeToString()
        body = gzip.compress(body) if value else body
        parts.append(bytes([value]) + len(body).to_bytes(4, "big") + body)
    with Peer(server) as peer:
        stream = peer.call("/grpc.testing.TestService/StreamingInputCall", parts[0], False,
                           ("grpc-encoding", "gzip"))
        for at in range(0, len(parts[1]), 16384):
            peer.send(peer.data(stream, parts[1][at:at + 16384]))
        peer.send(peer.data(stream, b"", end=True))
        answer = peer.answer(stream)
        assert answer["grpc-status"] == "0", answer
        got = b"".join(frame.data for frame in peer.seen if isinstance(frame, DataFrame))
        reply = messages.StreamingInputCallResponse.FromString(got[5:])
        assert reply.aggregated_payload_size == 73086


def flags_of(server, path, message, accepts):
    """The compressed flag of every answer, and the answer's grpc-encoding."""
    body = message.SerializeToString()
    with Peer(server, settings={4: 1 << 24}) as peer:
        stream = peer.call(path, b"\0" + len(body).to_bytes(4, "big") + body, True,
                           ("grpc-accept-encoding", accepts))
        answer = peer.answer(stream)
        assert answer["grpc-status"] == "0"
        got, flags = b"".join(frame.data for frame in peer.seen if isinstance(frame, DataFrame)), []
        while got:
            flags.append(got[0])
            got = got[5 + int.from_bytes(got[1:5], "big"):]
        return flags, answer.get("grpc-encoding")


@pytest.mark.parametrize("wanted", [True, False])
def test_server_compressed_unary(server, plain, messages, wanted):
    request = messages.SimpleRequest(response_compressed=messages.BoolValue(value=wanted), response_size=31415)
    assert len(plain.UnaryCall(request, timeout=60).payload.body) == 31415
    path = "/grpc.testing.TestService/UnaryCall"
    assert flags_of(server, path, request, "identity, deflate, gzip") == ([wanted], "gzip" if wanted else None)
    assert flags_of(server, path, request, "identity,deflate") == ([0], None)


def test_server_compressed_streaming(server, plain, messages):
    request = messages.StreamingOutputCallRequest(response_parameters=[
        messages.ResponseParameters(size=size, compressed=messages.BoolValue(value=value))
        for size, value in ((31415, True), (9265, False), (35, True))])
    assert sizes(list(plain.StreamingOutputCall(request, timeout=60))) == [31415, 9265, 35]
    path = "/grpc.testing.TestService/StreamingOutputCall"
    assert flags_of(server, path, request, "gzip") == ([1, 0, 1], "gzip")
    assert flags_of(server, path, request, "identity") == ([0, 0, 0], None)


# ---- ends ----


def test_cancel_after_begin(stub):
    turns = Turns()
    call = stub.StreamingInputCall.future(turns)
    call.cancel()
    turns.end()
    assert call.cancelled() and call.code() == grpc.StatusCode.CANCELLED


def test_cancel_after_first_response(stub, messages):
    turns = Turns()
    call = stub.FullDuplexCall(turns, timeout=60)
    turns.send(outputs(messages, 31415, body=27182))
    assert sizes([next(call)]) == [31415]
    call.cancel()
    turns.end()
    with pytest.raises(grpc.RpcError) as caught:
        next(call)
    assert caught.value.code() == grpc.StatusCode.CANCELLED


def test_timeout_on_sleeping_server(stub, messages):
    turns = Turns()
    turns.send(outputs(messages, body=27182))
    call = stub.FullDuplexCall(turns, timeout=0.001)
    with pytest.raises(grpc.RpcError) as caught:
        next(call)
    turns.end()
    assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED


SPECIAL = "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n"


@pytest.mark.parametrize("code, text", [(2, "test status message"), (2, SPECIAL), (2, ""), (5, "100% of %41"),
                                        (16, "a" * 300), (8, "Grüße")])
def test_status_code_and_message_and_special_status_message(stub, messages, code, text):
    status = messages.EchoStatus(code=code, message=text)
    with pytest.raises(grpc.RpcError) as caught:
        stub.UnaryCall(messages.SimpleRequest(response_status=status), timeout=60)
    assert (caught.value.code().value[0], caught.value.details()) == (code, text)
    call = stub.FullDuplexCall(iter([messages.StreamingOutputCallRequest(response_status=status)]), timeout=60)
    with pytest.raises(grpc.RpcError) as caught:
        list(call)
    assert (caught.value.code().value[0], caught.value.details()) == (code, text)


@pytest.mark.parametrize("name", ["UnimplementedCall", "UnimplementedService_UnimplementedCall"])
def test_unimplemented_method_and_service(stub, messages, name):
    call = getattr(stub, name) if name == "UnimplementedCall" else stub.__dict__[name]
    with pytest.raises(grpc.RpcError) as caught:
        call(messages.Empty(), timeout=60)
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("binary", [b"\xab\xab\xab", b"", b"\0", bytes(range(256))])
def test_custom_metadata(stub, messages, binary):
    initial, trailing = "x-grpc-test-echo-initial", "x-grpc-test-echo-trailing-bin"
    metadata = ((initial, "test_initial_metadata_value"), (trailing, binary))
    _, call = stub.UnaryCall.with_call(
        messages.SimpleRequest(response_size=314159, payload=payload(messages, LARGE)),
        metadata=metadata, timeout=60)
    assert dict(call.initial_metadata())[initial] == "test_initial_metadata_value"
    assert dict(call.trailing_metadata())[trailing] == binary
    call = stub.FullDuplexCall(iter([outputs(messages, 314159, body=LARGE)]), metadata=metadata, timeout=60)
    assert sizes(list(call)) == [314159]
    assert dict(call.initial_metadata())[initial] == "test_initial_metadata_value"
    assert dict(call.trailing_metadata())[trailing] == binary


def test_custom_metadata_of_a_call_that_fails(stub, messages):
    metadata = (("x-grpc-test-echo-initial", "first"), ("x-grpc-test-echo-trailing-bin", b"\xab"))
    request = messages.SimpleRequest(response_status=messages.EchoStatus(code=9, message="no"))
    with pytest.raises(grpc.RpcError) as caught:
        stub.UnaryCall(request, metadata=metadata, timeout=60)
    assert caught.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert dict(caught.value.initial_metadata())["x-grpc-test-echo-initial"] == "first"
    assert dict(caught.value.trailing_metadata())["x-grpc-test-echo-trailing-bin"] == b"\xab"
