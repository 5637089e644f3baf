"""HTTP/2 spoken badly. Each test is called after the section of RFC 9113 that is broken or abused.

Around every test another client steps its session on the same daemon. Whatever is sent here, the
daemon lives, that client's steps go on, and memory stays bounded; where the RFC has an error code
for it, that code is what the abusive connection or stream ends with.
"""

import contextlib
import gzip
import struct
import threading
import time

import grpc
import numpy as np
import pytest
from grpc_reflection.v1alpha import reflection_pb2
from hyperframe import frame as frames

from conftest import BUILD, Daemon
from dreamd_stubs import Client, make_zoo, simulation
from raw_http2 import (
    CANCEL, CHECK, COMPRESSION_ERROR, EMPTY, ENHANCE_YOUR_CALM, FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR, MAGIC, NO_ERROR,
    PROTOCOL_ERROR, REFUSED_STREAM, STREAM_CLOSED, WATCH, Ended, Peer, raw_frame, request,
)

MIB = 1 << 20
GROWTH_MAX = 96 * MIB  # of the daemon's resident memory during one test


class Bystander:
    """A client that steps for as long as the tests run."""

    def __init__(self, daemon):
        self.channel = daemon.channel()
        self.client = Client(self.channel)
        self.session = self.client.open("tiny", rows=2, seed=1).session_id
        self.steps, self.error, self.leaving = 0, None, False
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        try:
            while not self.leaving:
                self.client.step(self.session, np.zeros((2, 2), "<f4"))
                self.steps += 1
                time.sleep(0.002)
        except grpc.RpcError as error:
            self.error = error

    def goes_on(self, steps=20):
        """Waits for that many more steps."""
        goal, give_up = self.steps + steps, time.monotonic() + 120
        while self.steps < goal:
            assert self.error is None, self.error
            assert time.monotonic() < give_up, "the other client is held up"
            time.sleep(0.01)

    def stop(self):
        self.leaving = True
        self.thread.join()
        self.channel.close()


def memory(daemon, what="VmRSS"):
    with open(f"/proc/{daemon.process.pid}/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith(what))


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    folder = tmp_path_factory.mktemp("abused")
    one = Daemon(folder, "--zoo", make_zoo(folder / "zoo", tiny=1), "--message-max", "4MiB",
                 "--received-max", "32MiB", "--answers-max", "32MiB", "--frame-timeout", "2s", "--request-timeout", "3s")
    yield one
    one.stop()


@pytest.fixture(scope="module")
def bystander(host):
    one = Bystander(host)
    one.goes_on()
    yield one
    one.stop()


@pytest.fixture(autouse=True)
def unharmed(host, bystander):
    """What holds around every test."""
    with open(f"/proc/{host.process.pid}/clear_refs", "w") as peak:
        peak.write("5")  # the peak begins anew
    before = memory(host)
    yield
    bystander.goes_on()
    assert host.process.poll() is None
    if "address" not in str(BUILD) and "thread" not in str(BUILD):
        assert memory(host, "VmHWM") - before < GROWTH_MAX


@pytest.fixture
def peer(host):
    with Peer(host) as one:
        yield one


def flood(peer, piece, times):
    """Sends it again and again without reading; how the connection ended then."""
    peer.sock.settimeout(20)
    with contextlib.suppress(Ended, TimeoutError):
        for _ in range(times):
            peer.send(piece)
    return peer.goaway()


CALM = (ENHANCE_YOUR_CALM, None)  # None: it ended, and the last word was lost in what was still sent


# ---- 3.4, 4, 5: preface, frames, streams ----


@pytest.mark.parametrize("preface", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", MAGIC[:-1] + b"x", b"\0" * 64,
                                     MAGIC + raw_frame(6, 0, 0, b"12345678")], ids=["http1", "cut", "zeros", "no settings"])
def test_3_4_a_wrong_preface_ends_the_connection(host, preface):
    with Peer(host, preface=False) as peer:
        peer.send(preface)
        assert peer.goaway() in (PROTOCOL_ERROR, None)


def test_4_2_a_frame_larger_than_allowed_is_frame_size_error(peer):
    stream = peer.call(body=None, end=False)
    peer.send(raw_frame(0, 0, stream, bytes(16385)))
    assert peer.goaway() == FRAME_SIZE_ERROR


@pytest.mark.parametrize("kind, stream, length", [(6, 0, 7), (8, 0, 3), (4, 0, 5), (3, 1, 3), (2, 1, 4)])
def test_4_2_frames_of_a_wrong_size_are_frame_size_errors(peer, kind, stream, length):
    peer.call(body=None, end=False)
    peer.send(raw_frame(kind, 0, stream, bytes(length)))
    assert peer.goaway() == FRAME_SIZE_ERROR


def test_4_3_a_header_block_that_does_not_decompress_is_compression_error(peer):
    peer.send(raw_frame(1, 4, 1, b"\xff\xff\xff\xff\xff\xff\xff\xff"))
    assert peer.goaway() == COMPRESSION_ERROR


def test_4_3_a_table_larger_than_announced_is_compression_error(peer):
    peer.send(raw_frame(1, 4, 1, b"\x3f\xff\xff\x03" + peer.encoder.encode(request())))
    assert peer.goaway() == COMPRESSION_ERROR


def test_4_3_a_table_that_grows_and_shrinks_forever_costs_nothing(peer, bystander):
    shrink_and_grow = b"\x20\x3f\xe1\x1f"
    peer.encoder.header_table_size = 4096
    for i in range(200):
        block = shrink_and_grow + b"".join(
            b"\x40" + bytes([1]) + b"x" + bytes([100]) + bytes([97 + i % 26]) * 100 for _ in range(30))
        peer.send(raw_frame(1, 5, 2 * i + 1, block))
    bystander.goes_on()


def test_4_3_a_header_bomb_of_references_is_refused(peer):
    """One field of 4,000 bytes, named 12,000 times by a byte each: 48 MB of metadata."""
    first = b"\x40\x01x" + b"\x7f\xa1\x1e" + b"v" * 4000
    fields = peer.encoder.encode(request())
    block = fields + first + b"\xbe" * 12000
    peer.send(raw_frame(1, 1, 1, block[:16000]), raw_frame(9, 4, 1, block[16000:]))
    answer = peer.answer(1)
    assert answer["grpc-status"] == "8"


@pytest.mark.parametrize("stream", [2, 4])
def test_5_1_1_even_streams_are_protocol_errors(peer, stream):
    peer.send(peer.headers(stream, request(), end=True))
    assert peer.goaway() == PROTOCOL_ERROR


def test_5_1_1_streams_that_go_backwards_are_not_served(peer):
    """Ignored rather than an error: such HEADERS may be trailers of a stream that was just reset."""
    peer.send(peer.headers(5, request(), end=True))
    peer.answer(5)
    peer.send(peer.headers(3, request(), end=True))
    peer.next_stream = 7
    assert peer.answer(peer.call())["grpc-status"] == "0"
    assert not [got for got in peer.seen if got.stream_id == 3]


def test_5_1_1_stream_0_takes_no_headers_and_no_data(host):
    for frame in (raw_frame(0, 0, 0, b"x"), raw_frame(1, 4, 0, b"\x82")):
        with Peer(host) as peer:
            peer.send(frame)
            assert peer.goaway() == PROTOCOL_ERROR


def test_5_1_2_streams_beyond_the_limit_are_refused(peer, bystander):
    settings = peer.wait(frames.SettingsFrame)
    most = settings.settings[frames.SettingsFrame.MAX_CONCURRENT_STREAMS]
    for _ in range(most + 50):
        peer.call(body=None, end=False)
    refused = [peer.wait(frames.RstStreamFrame).error_code for _ in range(50)]
    assert refused == [REFUSED_STREAM] * 50
    bystander.goes_on()


def test_5_1_data_on_an_idle_stream_is_protocol_error(peer):
    peer.send(peer.data(7, b"x"))
    assert peer.goaway() == PROTOCOL_ERROR


def test_5_1_data_after_the_end_of_a_stream_is_stream_closed(peer):
    stream = peer.call(WATCH)
    peer.wait(frames.DataFrame, stream_id=stream)  # it is answered, and stays
    peer.send(peer.data(stream, b"more"))
    assert peer.goaway() == STREAM_CLOSED


def test_5_1_data_for_closed_streams_is_counted_and_harms_nobody(peer, bystander):
    """The connection's window must not leak away with what is thrown away."""
    peer.wait(frames.SettingsFrame)
    for _ in range(40):
        stream = peer.call(WATCH, EMPTY, False)
        peer.send(frames.RstStreamFrame(stream, error_code=CANCEL))
        peer.send(*[peer.data(stream, bytes(16384)) for _ in range(2)])
    with contextlib.suppress(Ended):
        stream = peer.call()
        assert peer.answer(stream)["grpc-status"] == "0"


# ---- 6: single frames ----


def test_6_1_data_padded_beyond_its_frame_is_protocol_error(peer):
    stream = peer.call(body=None, end=False)
    peer.send(raw_frame(0, 8, stream, b"\xff\0\0"))
    assert peer.goaway() == PROTOCOL_ERROR


def test_6_1_padding_counts_for_the_window_and_is_no_message(peer):
    stream = peer.call(body=None, end=False)
    for _ in range(300):  # 4.6 MB of padding: more than the stream's window
        peer.send(raw_frame(0, 8, stream, b"\xff" + bytes(255)))
    peer.send(raw_frame(0, 9, stream, b"\x03" + EMPTY + bytes(3)))
    assert peer.answer(stream)["grpc-status"] == "0"


def test_6_1_a_flood_of_empty_data_ends_the_connection(peer, bystander):
    stream = peer.call(WATCH, EMPTY, False)
    assert flood(peer, raw_frame(0, 0, stream, b"") * 1000, 2000) in CALM
    bystander.goes_on()


def test_6_2_headers_in_the_middle_of_headers_are_protocol_errors(peer):
    peer.send(peer.headers(1, request(), end_headers=False), raw_frame(6, 0, 0, b"12345678"))
    assert peer.goaway() == PROTOCOL_ERROR


def test_6_3_a_flood_of_priorities_ends_the_connection(peer, bystander):
    assert flood(peer, b"".join(raw_frame(2, 0, 2 * i + 1, b"\0\0\0\0\x10") for i in range(1000)), 1000) in CALM
    bystander.goes_on()


def test_6_4_a_reset_of_stream_0_is_protocol_error(peer):
    peer.send(raw_frame(3, 0, 0, struct.pack(">I", CANCEL)))
    assert peer.goaway() == PROTOCOL_ERROR


def test_6_4_rapid_reset_ends_the_connection(peer, bystander):
    """CVE-2023-44487."""
    with contextlib.suppress(Ended):
        for _ in range(20000):
            stream, peer.next_stream = peer.next_stream, peer.next_stream + 2
            peer.send(peer.headers(stream, request(), end=True), frames.RstStreamFrame(stream, error_code=CANCEL))
    assert peer.goaway() in CALM
    bystander.goes_on()


def test_6_4_resets_that_the_daemon_is_made_to_send_end_the_connection_too(peer, bystander):
    """A window of 2^31 on each stream: FLOW_CONTROL_ERROR, sent by the daemon, again and again."""
    with contextlib.suppress(Ended):
        for _ in range(20000):
            stream, peer.next_stream = peer.next_stream, peer.next_stream + 2
            peer.send(peer.headers(stream, request(WATCH)), raw_frame(8, 0, stream, struct.pack(">I", 2**31 - 1)))
    assert peer.goaway() in CALM
    bystander.goes_on()


@pytest.mark.parametrize("identifier, value, error", [(2, 2, PROTOCOL_ERROR), (4, 2**31, FLOW_CONTROL_ERROR),
                                                      (5, 16383, PROTOCOL_ERROR), (5, 2**24, PROTOCOL_ERROR)])
def test_6_5_2_settings_out_of_range(peer, identifier, value, error):
    peer.send(raw_frame(4, 0, 0, struct.pack(">HI", identifier, value)))
    assert peer.goaway() == error


def test_6_5_a_settings_acknowledgement_with_a_payload_is_frame_size_error(peer):
    peer.send(raw_frame(4, 1, 0, bytes(6)))
    assert peer.goaway() == FRAME_SIZE_ERROR


def test_6_5_a_flood_of_settings_ends_the_connection(peer, bystander):
    assert flood(peer, raw_frame(4, 0, 0, b"") * 1000, 2000) in CALM
    bystander.goes_on()


def test_6_5_3_settings_that_are_never_acknowledged_harm_nobody(peer, bystander):
    stream = peer.call()
    assert peer.answer(stream)["grpc-status"] == "0"
    bystander.goes_on()


def test_6_6_a_push_promise_from_a_client_is_protocol_error(peer):
    peer.call(WATCH, EMPTY, False)
    peer.send(raw_frame(5, 4, 1, b"\0\0\0\2" + peer.encoder.encode(request())))
    assert peer.goaway() == PROTOCOL_ERROR


def test_6_7_a_flood_of_pings_ends_the_connection(peer, bystander):
    assert flood(peer, raw_frame(6, 0, 0, b"12345678") * 1000, 2000) in CALM
    bystander.goes_on()


def test_6_7_a_flood_of_pings_whose_answers_are_read_ends_the_connection(peer, bystander):
    ends = []
    reader = threading.Thread(target=lambda: ends.append(peer.goaway()))
    reader.start()
    with contextlib.suppress(Ended):
        for _ in range(2000):
            peer.send(raw_frame(6, 0, 0, b"12345678") * 1000)
    reader.join()
    assert ends[0] in CALM
    bystander.goes_on()


def test_6_7_pings_are_answered(peer):
    for _ in range(100):
        peer.ping()


def test_6_8_goaway_from_a_client_lets_its_calls_finish(peer):
    stream = peer.call(body=b"\0\0", end=False)
    peer.send(frames.GoAwayFrame(0, 0, NO_ERROR))
    peer.send(peer.data(stream, b"\0\0\0", end=True))
    assert peer.answer(stream)["grpc-status"] == "0"


@pytest.mark.parametrize("on_stream", [True, False])
def test_6_9_a_window_update_of_0_is_an_error(peer, on_stream):
    stream = peer.call(WATCH, EMPTY, False)
    peer.send(raw_frame(8, 0, stream if on_stream else 0, bytes(4)))
    assert peer.goaway() == PROTOCOL_ERROR  # a stream's error too may be taken as the connection's


@pytest.mark.parametrize("on_stream", [True, False])
def test_6_9_1_a_window_past_2_31_is_flow_control_error(peer, on_stream):
    stream = peer.call(WATCH, EMPTY, False)
    peer.send(raw_frame(8, 0, stream if on_stream else 0, struct.pack(">I", 2**31 - 1)))
    assert (peer.reset(stream) if on_stream else peer.goaway()) == FLOW_CONTROL_ERROR


def test_6_9_more_than_the_window_is_flow_control_error(host):
    """A stream that is held because its answers are not fetched, and sends all the same."""
    question = reflection_pb2.ServerReflectionRequest(file_by_filename="dreamd/v1/simulation.proto").SerializeToString()
    question = b"\0" + len(question).to_bytes(4, "big") + question
    with Peer(host, settings={frames.SettingsFrame.INITIAL_WINDOW_SIZE: 0}) as peer:
        stream = peer.call("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", question * 100, False)
        with contextlib.suppress(Ended):
            for _ in range(200):
                peer.send(peer.data(stream, bytes(16384)))
        assert peer.answer(stream)["reset"] == FLOW_CONTROL_ERROR


def test_6_9_2_answers_that_are_never_fetched_are_bounded(host, bystander):
    """Windows of 0 on every connection, and hundreds of answers for each."""
    client = Client(bystander.channel)
    large = client.open("tiny", rows=8192, seed=3)
    body = simulation.DecodeRequest(session_id=large.session_id, outputs=["state"]).SerializeToString()
    body = b"\0" + len(body).to_bytes(4, "big") + body
    with contextlib.ExitStack() as stack:
        peers = [stack.enter_context(Peer(host, settings={frames.SettingsFrame.INITIAL_WINDOW_SIZE: 0}))
                 for _ in range(4)]
        refused = 0
        for _ in range(60):
            for one in peers:
                stream = one.call("/dreamd.v1.Simulation/Decode", body)
                fields = one.wait(frames.HeadersFrame, stream_id=stream).fields
                assert fields.get("grpc-status", "8") == "8"  # the answer begins, or there is no room for it
                refused += "grpc-status" in fields
        assert refused > 100
        bystander.goes_on(50)
        for one in peers:  # fetched after all, each is whole
            one.send(frames.SettingsFrame(0, settings={4: 2**24}), frames.WindowUpdateFrame(0, window_increment=2**30))
            assert one.answer(1)["grpc-status"] == "0"
    client.simulation.CloseSession(simulation.CloseSessionRequest(session_id=large.session_id))


def test_6_9_2_an_answer_that_is_not_fetched_is_dropped(host):
    with Peer(host, settings={frames.SettingsFrame.INITIAL_WINDOW_SIZE: 0}) as peer:
        stream = peer.call()
        assert peer.answer(stream)["reset"] == CANCEL
        slow = peer.call()
        for _ in range(7):  # a byte a second is fetched: longer than a request may take, and allowed
            time.sleep(0.7)
            peer.send(frames.WindowUpdateFrame(slow, window_increment=1))
        assert peer.answer(slow)["grpc-status"] == "0"


def test_6_9_2_a_window_that_shrinks_below_zero_and_grows_again(peer):
    peer.send(frames.SettingsFrame(0, settings={4: 3}))
    stream = peer.call()
    peer.ping()
    peer.send(frames.SettingsFrame(0, settings={4: 0}))
    peer.ping()
    peer.send(frames.WindowUpdateFrame(stream, window_increment=1))
    peer.send(frames.SettingsFrame(0, settings={4: 65535}))
    assert peer.answer(stream)["grpc-status"] == "0"
    assert b"".join(got.data for got in peer.seen if isinstance(got, frames.DataFrame)) == b"\0\0\0\0\2\x08\x01"


def test_6_9_windows_opened_byte_by_byte(peer):
    peer.send(frames.SettingsFrame(0, settings={4: 0}))
    peer.ping()
    stream = peer.call()
    for _ in range(7):
        peer.send(frames.WindowUpdateFrame(stream, window_increment=1))
        peer.ping()
    assert peer.answer(stream)["grpc-status"] == "0"


def test_6_10_a_continuation_flood_ends_the_connection(peer, bystander):
    """CVE-2024-27316 and its kind: a header block without an end."""
    peer.send(peer.headers(1, request(), end_headers=False))
    block = peer.encoder.encode([("x-more", "y" * 1000)])
    assert flood(peer, raw_frame(9, 0, 1, block * 10), 5000) in CALM
    bystander.goes_on()


def test_6_10_a_flood_of_empty_continuations_ends_the_connection(peer, bystander):
    peer.send(peer.headers(1, request(), end_headers=False))
    assert flood(peer, raw_frame(9, 0, 1, b"") * 1000, 2000) in CALM
    bystander.goes_on()


def test_6_10_a_continuation_of_nothing_is_protocol_error(peer):
    peer.send(raw_frame(9, 4, 1, peer.encoder.encode(request())))
    assert peer.goaway() == PROTOCOL_ERROR


def test_5_5_unknown_frames_are_ignored_and_a_flood_of_them_ends_the_connection(peer, bystander):
    peer.send(raw_frame(0xfa, 0xff, 0, b"anything"), raw_frame(0xfb, 0, 77, bytes(1000)))
    assert peer.answer(peer.call())["grpc-status"] == "0"
    assert flood(peer, raw_frame(0xfa, 0, 0, b"") * 1000, 2000) in CALM
    bystander.goes_on()


# ---- 8: requests ----


def without(*names):
    return [(name, value) for name, value in request() if name not in names]


@pytest.mark.parametrize("fields", [
    without(":method"), without(":path"), without(":scheme"), [*request(), (":path", CHECK)],
    [*request(), (":status", "200")], [*request(), (":unknown", "x")], [*request()[4:], *request()[:4]],
    request(CHECK, ("Upper-Case", "x")), request(CHECK, ("connection", "close")),
    request(CHECK, ("transfer-encoding", "chunked")), request(CHECK, ("keep-alive", "1")),
    request(CHECK, ("upgrade", "h2c")), [*without("te"), ("te", "gzip")], request(CHECK, ("content-length", "7")),
    request(CHECK, ("x", "a\r\nb")), request(CHECK, ("x\n", "a")), request(CHECK, ("x y", "a")),
    request(CHECK, ("x", "a\0b")), request(""),
], ids=lambda fields: str(len(fields)))
def test_8_1_1_malformed_requests_are_protocol_errors_of_their_stream(peer, fields):
    peer.send(raw_frame(1, 4, 1, peer.encoder.encode(fields)), raw_frame(0, 1, 1, EMPTY))
    answer = peer.answer(1)
    assert answer.get("reset") == PROTOCOL_ERROR or answer.get("grpc-status") != "0", answer
    assert peer.answer(_again(peer))["grpc-status"] == "0"  # the connection goes on


def _again(peer):
    peer.next_stream = 3
    return peer.call()


def test_8_1_trailers_that_do_not_end_the_stream_are_an_error(peer):
    peer.call(body=b"\0\0", end=False)
    peer.send(peer.headers(1, [("x-trailer", "1")], end=False))
    answer = peer.answer(1)
    assert answer.get("reset") == PROTOCOL_ERROR, answer


def test_8_1_trailers_of_a_request_are_allowed(peer):
    peer.call(body=EMPTY, end=False)
    peer.send(peer.headers(1, [("x-trailer", "1")], end=True))
    assert peer.answer(1)["grpc-status"] == "0"


@pytest.mark.parametrize("length", [20000, 60000, 120000])
def test_8_2_headers_larger_than_the_limit_are_refused(peer, length):
    block = peer.encoder.encode([*request(), *((f"x-{i}", "X" * 990) for i in range(length // 1000))])
    first, rest = block[:16000], block[16000:]
    peer.send(raw_frame(1, 5 if not rest else 1, 1, first))
    with contextlib.suppress(Ended):
        while rest:
            piece, rest = rest[:16000], rest[16000:]
            peer.send(raw_frame(9, 0 if rest else 4, 1, piece))
    try:
        answer = peer.answer(1)
        assert answer["grpc-status"] == "8"
    except Ended:
        assert length > 100000  # more than 8 CONTINUATION frames: the connection


def test_8_3_other_methods_and_schemes_are_answered(peer):
    peer.send(peer.headers(1, request(method="GET"), end=True))
    assert peer.answer(1)[":status"] == "405"
    peer.send(peer.headers(3, [(":method", "CONNECT"), (":authority", "x")], end=True))
    answer = peer.answer(3)
    assert answer.get(":status") == "405" or "reset" in answer


# ---- 10.5: slowness and size ----


def dribble(peer, data, seconds=30):
    """A byte now and then. True: the daemon did not wait for the end."""
    give_up = time.monotonic() + seconds
    try:
        for i in range(len(data)):
            peer.send(data[i:i + 1])
            peer.sock.settimeout(0.2)
            with contextlib.suppress(TimeoutError):
                while True:
                    peer.read()
            if time.monotonic() > give_up:
                return False
    except Ended:
        return True
    return False


def test_10_5_a_dribbled_preface_ends_the_connection(host):
    with Peer(host, preface=False) as peer:
        assert dribble(peer, MAGIC + raw_frame(4, 0, 0, b"") + bytes(100))


def test_10_5_dribbled_headers_end_the_connection(peer):
    assert dribble(peer, raw_frame(1, 5, 1, peer.encoder.encode(request() + [("x", "y" * 1000)])))


def test_10_5_dribbled_continuations_end_the_connection(peer):
    peer.send(peer.headers(1, request(), end_headers=False))
    give_up = time.monotonic() + 30
    with pytest.raises(Ended):
        while time.monotonic() < give_up:
            peer.send(raw_frame(9, 0, 1, b""))
            peer.sock.settimeout(0.5)
            with contextlib.suppress(TimeoutError):
                while True:
                    peer.read()


def test_10_5_a_dribbled_frame_of_data_ends_the_connection(peer):
    stream = peer.call(body=None, end=False)
    assert dribble(peer, raw_frame(0, 0, stream, bytes(10000)))


@pytest.mark.parametrize("path", [CHECK, "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"])
def test_10_5_a_dribbled_request_ends_the_call_and_not_the_connection(peer, path):
    stream = peer.call(path, b"\0\0\0\xff\xff", False)
    give_up, answer = time.monotonic() + 30, {}
    while not answer and time.monotonic() < give_up:
        peer.send(peer.data(stream, b"x"))
        peer.sock.settimeout(0.2)
        with contextlib.suppress(TimeoutError):
            answer = peer.answer(stream)
    assert answer["grpc-status"] == "4" and "request" in answer["grpc-message"]
    peer.sock.settimeout(60)
    assert peer.answer(peer.call())["grpc-status"] == "0"


def test_10_5_a_stream_whose_messages_are_always_cut_goes_on(peer):
    """There is never a moment without half a message, and each comes soon enough."""
    question = b"\0\0\0\0\2\x3a\0"
    stream = peer.call("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", question[:3], False)
    for _ in range(10):
        time.sleep(0.5)
        peer.send(peer.data(stream, question[3:] + question[:3]))
    peer.send(peer.data(stream, question[3:], end=True))
    assert peer.answer(stream)["grpc-status"] == "0"


def test_10_5_an_idle_stream_of_requests_may_stay(peer):
    stream = peer.call("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", None, False)
    time.sleep(4)  # longer than the time a request may take
    peer.send(peer.data(stream, b"\0\0\0\0\2\x3a\0", end=True))
    assert peer.answer(stream)["grpc-status"] == "0"


def test_10_5_requests_that_never_end_are_bounded_together(host, bystander):
    """Each holds all but its last byte; the others must not starve."""
    with contextlib.ExitStack() as stack:
        for _ in range(8):
            peer = stack.enter_context(Peer(host))
            with contextlib.suppress(Ended):
                for _ in range(6):
                    stream = peer.call(body=b"\0\0\x3f\xff\xff", end=False)
                    for _ in range(63):
                        peer.send(peer.data(stream, bytes(16384)))
                peer.ping()
        bystander.goes_on(100)


def test_10_5_open_calls_with_much_metadata_are_bounded_together(host, bystander):
    """14 KB of metadata each, on as many streams as there may be, on several connections."""
    def string(text):
        length = len(text)
        return (bytes([length]) if length < 127 else b"\x7f" + _integer(length - 127)) + text.encode()

    fields = request(WATCH, *((f"x-{i}", "v" * 900) for i in range(15)))
    block = b"".join(b"\0" + string(name) + string(value) for name, value in fields)
    assert len(block) < 16384
    refused = []
    with contextlib.ExitStack() as stack:
        for _ in range(10):
            peer = stack.enter_context(Peer(host))
            peer.send(*[raw_frame(1, 4, 2 * i + 1, block) for i in range(1000)])
            peer.ping()
            refused += [got for got in peer.seen if isinstance(got, frames.HeadersFrame)]
        codes = [got.fields["grpc-status"] for got in refused]
        assert codes.count("8") > 1000 and set(codes) <= {"8", "4"}  # 4: of one that was taken, and sent no request
        bystander.goes_on(50)


def _integer(value):
    """The rest of an HPACK integer, past its prefix."""
    rest = b""
    while value >= 128:
        rest, value = rest + bytes([value % 128 + 128]), value // 128
    return rest + bytes([value])


def test_10_5_an_oversize_message_is_refused_by_its_prefix(peer):
    stream = peer.call(body=b"\0\x7f\xff\xff\xff", end=False)
    assert peer.answer(stream)["grpc-status"] == "8"


def test_10_5_compressed_bombs_are_refused(host, bystander):
    """1 GiB of zeros in 1 MB, on many streams at once."""
    bomb = gzip.compress(bytes(256 * MIB), 9)
    assert len(bomb) < 512 * 1024
    body = b"\1" + len(bomb).to_bytes(4, "big") + bomb
    with Peer(host, settings={4: 2**24}) as peer:
        streams = []
        for _ in range(8):
            stream = peer.call(CHECK, None, False, ("grpc-encoding", "gzip"))
            for at in range(0, len(body), 16384):
                peer.send(peer.data(stream, body[at:at + 16384], end=at + 16384 >= len(body)))
            streams.append(stream)
        ends = {}
        while len(ends) < len(streams):
            got = peer.read()
            if isinstance(got, frames.HeadersFrame) and "END_STREAM" in got.flags:
                ends[got.stream_id] = got.fields["grpc-status"]
        assert set(ends.values()) == {"8"}
        bystander.goes_on()
        assert peer.answer(peer.call())["grpc-status"] == "0"


def test_10_5_floods_of_small_calls_are_all_answered(peer):
    for _ in range(20):
        streams = {peer.call() for _ in range(100)}
        while streams:
            got = peer.read()
            if isinstance(got, frames.HeadersFrame) and "END_STREAM" in got.flags:
                assert got.fields["grpc-status"] == "0"
                streams.discard(got.stream_id)
