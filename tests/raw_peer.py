"""A ZeroMQ peer by its bytes (ZMTP 3.1, RFC 37, without keys), to say what no library would."""

import socket

GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)
# A frame's first byte: more follow, a command; its second is the size.
LAST, MORE, COMMAND = b"\x00", b"\x01", b"\x04"
PATIENCE_S = 20.0


def shaken_hands(port: int, kind: bytes = b"DEALER") -> socket.socket:
    """Connected to this port of this machine, the handshake done."""
    peer = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
    peer.sendall(GREETING + frame(COMMAND, b"\x05READY" + metadata(b"Socket-Type", kind) + metadata(b"Identity", b"")))
    heard = b""
    while b"READY" not in heard:
        chunk = peer.recv(1000)
        assert chunk, "hung up on in the handshake"
        heard += chunk
    return peer


def frame(first: bytes, body: bytes) -> bytes:
    """A frame of less than 256 bytes."""
    return first + bytes([len(body)]) + body


def metadata(name: bytes, value: bytes) -> bytes:
    """A property, as in READY."""
    return bytes([len(name)]) + name + len(value).to_bytes(4, "big") + value
