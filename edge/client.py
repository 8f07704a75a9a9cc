"""What another program imports to hear a station: `subscribe`, a typed iterator over its events.

It hears what is said while it listens. What was said before, or was lost on the way, it reports by number and cannot
fetch yet.
"""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import zmq

from edge import events, header
from edge.errors import GoldlineError
from edge.events import Event
from edge.header import VERSION, Flag, Header

# The station's heartbeat interval is at most 10 s; nothing for longer means that nobody is there.
SILENCE_S = 15.0
RECONNECT_MS, RECONNECT_MAX_MS = 100, 5000
HEARTBEAT_INTERVAL_MS, HEARTBEAT_TIMEOUT_MS = 500, 1500

Lost = Callable[[int, int], None]


def subscribe(
    address: str, lost: Lost, *, joined: Callable[[], None] | None = None, silence_s: float = SILENCE_S
) -> Iterator[Event]:
    """Every event from now on, in order, each once.

    `lost(first, last)` is called with sequence numbers that did not arrive; `joined()` once, when the station is
    heard: from then on nothing is missed unnoticed. Raises GoldlineError when nothing, not even a heartbeat, was
    heard for `silence_s`.
    """
    with zmq.Context[zmq.Socket[bytes]]() as context, context.socket(zmq.SUB) as socket:
        socket.setsockopt(zmq.LINGER, 0)
        # Nothing is dropped on this side: what the reader cannot keep up with waits in its memory.
        socket.setsockopt(zmq.RCVHWM, 0)
        socket.setsockopt(zmq.RECONNECT_IVL, RECONNECT_MS)
        socket.setsockopt(zmq.RECONNECT_IVL_MAX, RECONNECT_MAX_MS)
        socket.setsockopt(zmq.HEARTBEAT_IVL, HEARTBEAT_INTERVAL_MS)
        socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, HEARTBEAT_TIMEOUT_MS)
        socket.setsockopt(zmq.SUBSCRIBE, f"goldline.v{VERSION}.".encode())
        socket.connect(address)
        order = Order(lost)
        while True:
            if not socket.poll(int(silence_s * 1000)):
                raise GoldlineError(f"{address}: no heartbeat for {silence_s:g} s: is the station running?")
            _, head, body = socket.recv_multipart()
            if joined is not None and not order.has_begun:
                joined()
            if order.is_news(header.decode(head)):
                yield events.decode(body)


class Order:
    """Which sequence number comes next, and which are missing. Pure."""

    def __init__(self, lost: Lost) -> None:
        """Nothing heard yet."""
        self._lost = lost
        self._stream: object = None
        self._last = 0

    @property
    def has_begun(self) -> bool:
        """A message was heard."""
        return self._stream is not None

    def is_news(self, head: Header) -> bool:
        """Whether this message is an event that was not seen yet; reports what is missing before it."""
        is_event = bool(head.flags & Flag.DURABLE)
        if head.stream != self._stream:
            self._stream = head.stream
            self._last = head.sequence - is_event
        # An event says that all before it were sent, a heartbeat that it was sent itself.
        newest_before = head.sequence - is_event
        if newest_before > self._last:
            self._lost(self._last + 1, newest_before)
        if head.sequence <= self._last:
            return False
        self._last = head.sequence
        return is_event


def ask(address: str, order: dict[str, Any], timeout_s: float = 2.0) -> dict[str, Any]:
    """Send one order to the command socket and return the answer. Raises GoldlineError when none comes."""
    with zmq.Context[zmq.Socket[bytes]]() as context, context.socket(zmq.REQ) as socket:
        socket.setsockopt(zmq.LINGER, 0)
        socket.connect(address)
        socket.send(msgspec.json.encode(order))
        if not socket.poll(int(timeout_s * 1000)):
            raise GoldlineError(f"{address}: no answer within {timeout_s:g} s: is the station running?")
        return msgspec.json.decode(socket.recv(), type=dict[str, Any])
