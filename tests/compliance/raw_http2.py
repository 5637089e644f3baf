"""A client of single frames, by hyperframe and hpack: for what no well-behaved client would send."""

import itertools
import socket
import struct

import hpack
from hyperframe import frame as frames

MAGIC = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
CHECK = "/grpc.health.v1.Health/Check"
WATCH = "/grpc.health.v1.Health/Watch"
EMPTY = b"\0\0\0\0\0"  # a message of no bytes, as gRPC frames it

NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, SETTINGS_TIMEOUT, STREAM_CLOSED = range(6)
FRAME_SIZE_ERROR, REFUSED_STREAM, CANCEL, COMPRESSION_ERROR, CONNECT_ERROR, ENHANCE_YOUR_CALM = range(6, 12)


def request(path=CHECK, *further, method="POST"):
    """The header fields of a gRPC call."""
    return [(":method", method), (":scheme", "http"), (":authority", "test"), (":path", path),
            ("content-type", "application/grpc"), ("te", "trailers"), *further]


def raw_frame(kind, flags, stream, payload):
    """Any frame at all, also those that hyperframe refuses to build."""
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


class Ended(Exception):
    """The daemon has closed the connection."""


class Peer:
    """One connection. What is sent is up to the caller; what comes is parsed and kept in `seen`."""

    def __init__(self, daemon, preface=True, settings=None, timeout=60):
        self.sock = socket.create_connection((daemon.host, daemon.port), timeout=timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.encoder, self.decoder = hpack.Encoder(), hpack.Decoder()
        self.received, self.seen, self.ended = b"", [], False
        self.next_stream = 1
        if preface:
            self.send(MAGIC, frames.SettingsFrame(0, settings=settings or {}))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    # ---- out ----

    def send(self, *parts):
        """Bytes and frames. Ended: the daemon takes no more."""
        data = b"".join(part if isinstance(part, bytes) else part.serialize() for part in parts)
        try:
            self.sock.sendall(data)
        except (BrokenPipeError, ConnectionResetError) as error:
            raise Ended from error

    def headers(self, stream, fields, end=False, end_headers=True):
        flags = (["END_STREAM"] if end else []) + (["END_HEADERS"] if end_headers else [])
        return frames.HeadersFrame(stream, self.encoder.encode(fields), flags=flags)

    def data(self, stream, payload, end=False):
        return frames.DataFrame(stream, payload, flags=["END_STREAM"] if end else [])

    def call(self, path=CHECK, body=EMPTY, end=True, *further):
        """Begins a call with its request; the number of its stream."""
        stream, self.next_stream = self.next_stream, self.next_stream + 2
        parts = [self.headers(stream, request(path, *further), end=end and body is None)]
        if body is not None:
            parts.append(self.data(stream, body, end=end))
        self.send(*parts)
        return stream

    # ---- in ----

    def read(self):
        """The next frame. Ended: there are no more."""
        while True:
            if len(self.received) >= 9:
                head, length = frames.Frame.parse_frame_header(memoryview(self.received[:9]))
                if len(self.received) >= 9 + length:
                    head.parse_body(memoryview(self.received[9:9 + length]))
                    self.received = self.received[9 + length:]
                    if isinstance(head, frames.HeadersFrame):
                        head.fields = dict(self.decoder.decode(bytes(head.data)))
                    self.seen.append(head)
                    return head
            try:
                chunk = self.sock.recv(65536)
            except ConnectionResetError:
                chunk = b""
            if not chunk:
                self.ended = True
                raise Ended
            self.received += chunk

    def wait(self, kind, **expected):
        """Reads until a frame of that kind with those attributes comes."""
        while True:
            got = self.read()
            if isinstance(got, kind) and all(getattr(got, key) == value for key, value in expected.items()):
                return got

    def answer(self, stream):
        """All headers and trailers of a call, once its stream ends."""
        fields = {}
        for got in itertools.chain(list(self.seen), iter(self.read, None)):
            if got.stream_id != stream:
                continue
            if isinstance(got, frames.RstStreamFrame):
                return fields | {"reset": got.error_code}
            if isinstance(got, frames.HeadersFrame):
                fields |= got.fields
            if "END_STREAM" in got.flags:
                return fields

    def reset(self, stream):
        """The error code of the RST_STREAM that must come."""
        return self.wait(frames.RstStreamFrame, stream_id=stream).error_code

    def goaway(self):
        """The error code of the last GOAWAY, when the daemon has ended the connection."""
        try:
            while True:
                self.read()
        except Ended:
            codes = [got.error_code for got in self.seen if isinstance(got, frames.GoAwayFrame)]
            return codes[-1] if codes else None

    def ping(self):
        """Returns once everything sent before was dealt with."""
        self.send(frames.PingFrame(0, b"are you "))
        self.wait(frames.PingFrame, opaque_data=b"are you ")
