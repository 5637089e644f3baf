"""Connections as nobody should make them: cut, half-open, silent, garbage, resets."""

import random
import socket
import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def call_headers(path=b"/dreamd.v1.Simulation/Step"):
    """HPACK without its tables: literals, never indexed."""
    fields = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", path), (b"te", b"trailers"),
              (b"content-type", b"application/grpc")]
    return b"".join(b"\x10" + bytes([len(name)]) + name + bytes([len(value)]) + value for name, value in fields)


def torment(port, rng: random.Random, kept):
    """One hostile connection. `kept` holds sockets that stay half-open for a while."""
    peer = socket.create_connection(("127.0.0.1", port), timeout=5)
    settings, headers = frame(4, 0, 0), frame(1, 4, 1, call_headers())
    sent = rng.choice([
        b"",
        rng.randbytes(rng.randrange(1, 400)),
        PREFACE[:rng.randrange(1, len(PREFACE))],
        PREFACE + settings + headers[:rng.randrange(1, len(headers))],
        PREFACE + settings + headers + frame(0, 0, 1, b"\0\0\0\1\0" + rng.randbytes(40)),
        PREFACE + settings + b"".join(frame(1, 4, 1 + 2 * i, call_headers()) + frame(3, 0, 1 + 2 * i, struct.pack(">I", 8))
                                      for i in range(rng.randrange(1, 200))),
        PREFACE + settings + headers + frame(0, 1, 1, b"\0\xff\xff\xff\xff" + rng.randbytes(20)),
    ])
    try:
        peer.sendall(sent)
        if rng.random() < 0.3:
            peer.settimeout(0.05)
            peer.recv(4096)
    except OSError:
        pass
    if rng.random() < 0.3:
        kept.append(peer)  # half-open: nothing more is said
        if len(kept) > 20:
            kept.pop(0).close()
        return
    if rng.random() < 0.5:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # RST instead of FIN
    peer.close()
