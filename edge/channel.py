"""Messages between the station's processes: one msgpack-encoded message a packet of a Unix SEQPACKET socket.

Packets keep message boundaries, and the death of the peer is an end of file. Nothing here blocks.
"""

import socket
from collections.abc import Callable, Iterator
from typing import TypeVar

import msgspec

from edge.messages import AnyMessage

# The largest message is a verdict with its defects, about 4 KiB.
MAX_MESSAGE_BYTES = 65_536

Read = TypeVar("Read")
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(AnyMessage).decode


class ChannelFull(Exception):
    """The peer does not keep up: its socket buffer is full."""


class ChannelClosed(Exception):
    """The peer has gone."""


class MessageTooLarge(Exception):
    """More than MAX_MESSAGE_BYTES: the peer could not read it whole."""


def pair() -> tuple[socket.socket, socket.socket]:
    """A fresh pair of connected sockets, for one incarnation of each side."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


class Channel:
    """One end of a pair; owns its socket. Sending is safe from several threads, receiving from one."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._socket = sock

    def fileno(self) -> int:
        """For epoll."""
        return self._socket.fileno()

    def send(self, message: AnyMessage, *, descriptor: int | None = None) -> None:
        """Send one message, and a file descriptor with it. Raises MessageTooLarge, ChannelFull or ChannelClosed."""
        descriptors = [] if descriptor is None else [descriptor]
        packet = _encode(message)
        if len(packet) > MAX_MESSAGE_BYTES:
            raise MessageTooLarge(f"{type(message).__name__} of {len(packet)} bytes")
        try:
            socket.send_fds(self._socket, [packet], descriptors)
        except BlockingIOError:
            raise ChannelFull from None
        except OSError:  # the peer has gone, or another thread closed this end
            raise ChannelClosed from None

    def receive(self) -> AnyMessage | None:
        """The next message, or None when there is none now. Raises ChannelClosed at the end."""
        try:
            packet = _after_reset(lambda: self._socket.recv(MAX_MESSAGE_BYTES))
        except BlockingIOError:
            return None
        except ConnectionError:
            raise ChannelClosed from None
        return _decoded(packet)

    def receive_with_descriptor(self) -> tuple[AnyMessage, int | None] | None:
        """Like `receive`, with the file descriptor that came along; the caller owns it."""
        try:
            packet, descriptors, _, _ = _after_reset(lambda: socket.recv_fds(self._socket, MAX_MESSAGE_BYTES, 1))
        except BlockingIOError:
            return None
        except ConnectionError:
            raise ChannelClosed from None
        return _decoded(packet), descriptors[0] if descriptors else None

    def drain(self) -> Iterator[AnyMessage]:
        """Every message that is here now. Raises ChannelClosed once the last of a dead peer is read."""
        while (message := self.receive()) is not None:
            yield message

    def close(self) -> None:
        """Let the peer see the end. Safe to call twice."""
        self._socket.close()


def _after_reset(read: Callable[[], Read]) -> Read:
    """A peer that dies with words of ours unread leaves one error in front of its own last words."""
    try:
        return read()
    except ConnectionResetError:
        return read()


def _decoded(packet: bytes) -> AnyMessage:
    if not packet:
        raise ChannelClosed
    return _decode(packet)
