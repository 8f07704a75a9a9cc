"""What another program imports to hear a station and to give it orders.

    with Subscriber(sync="tcp://…:5558", live="tcp://…:5556", consumer="mes", after=last_id) as subscriber:
        for event in subscriber:
            store(event)                    # and event.id with it, in one transaction
            subscriber.acknowledge(event)   # the station may let go of it

Every event comes once and in order, whatever was lost on the way and whoever was restarted. What cannot be had any more
is said (`Gone`), and so is another outbox (`NewStream`): to `notify`, or else raised, and reading goes on behind it.
"""

import logging
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import msgspec
import zmq
import zmq.asyncio

from edge import session
from edge.catch_up import CatchUp
from edge.errors import GoldlineError
from edge.events import Event
from edge.heard import Arrived, Cursor, Gone, Item, NewStream
from edge.keys import ClientKeys, load_client_keys
from edge.session import Session
from edge.sync_protocol import CONSUMER_NAME

# What a program needs from here; the rest is how it works.
__all__ = [
    "Arrived",
    "AsyncSubscriber",
    "ClientKeys",
    "Cursor",
    "Event",
    "EventsGone",
    "GoldlineError",
    "Gone",
    "Item",
    "NewStream",
    "Notify",
    "StreamChanged",
    "Subscriber",
    "ask",
    "load_client_keys",
]

# Timers are looked at this often while nothing comes.
TURN_MS = 100
# A station's heart beats every 10 s at the slowest: one that is silent for longer is away, or not there at all.
TELL_SILENCE_S = 15.0
WHY_SILENT = "is the station running? does it know the key? is each address the right one?"


class EventsGone(GoldlineError):
    """Events that cannot be had any more, and nobody to tell of it."""

    def __init__(self, gone: Gone) -> None:
        super().__init__(f"events {gone.first} to {gone.last} are gone: the station has let them go")
        self.gone = gone


class StreamChanged(GoldlineError):
    """The station has another outbox, and nobody to tell of it."""

    def __init__(self, new: NewStream) -> None:
        super().__init__(f"the station has a new outbox, {new.stream}; of {new.before}, event {new.heard} was the last")
        self.new_stream = new


@dataclass(frozen=True, kw_only=True)
class Notify:
    """Who is told what is no event. `begun`: where reading begins; `state`: how the station stands, as it changes."""

    gone: Callable[[Gone], None] | None = None
    new_stream: Callable[[NewStream], None] | None = None
    state: Callable[[dict[str, Any]], None] | None = None
    begun: Callable[[Cursor], None] | None = None


class _Reader:
    """What both subscribers are: a session, and what is made of what it brings."""

    def __init__(
        self,
        *,
        sync: str,
        live: str | None = None,
        consumer: str | None = None,
        after: Cursor | str | int | None = None,
        keys: ClientKeys | None = None,
        silence_s: float | None = None,
        notify: Notify | None = None,
    ) -> None:
        """`after`: the id of the last event that was read, or its number (0: from the first on); None: from now on.

        Without `live`, SYNC alone is asked, which is slower by some 25 ms. A `consumer`'s events are kept until it has
        acknowledged them. With `silence_s`, GoldlineError is raised when nothing was heard of the station for so long;
        without, it is waited for, and the `logging` module is told of it once. Raises GoldlineError for what is no
        address, no cursor and no name.
        """
        if consumer is not None and not re.fullmatch(CONSUMER_NAME, consumer):
            raise GoldlineError(f"consumer {consumer!r}: must be a letter or digit, then up to 63 of these and . _ -")
        self._consumer = consumer
        self._notify = notify or Notify()
        start = after if isinstance(after, Cursor) or after is None else Cursor.parse(str(after))
        self._session = Session(CatchUp(start, consumer, has_live=live is not None), sync, live, keys)
        self._silence_s, self._addresses = silence_s, " and ".join(filter(None, (live, sync)))
        if self._notify.state is not None:
            self._session.on_state = self._on_state
        self._has_begun = self._is_silence_told = False
        self._pumped_ns = 0

    @property
    def cursor(self) -> Cursor:
        """Up to here everything has come, and what was handed out may be behind it."""
        return self._session.reading.cursor

    @property
    def is_level(self) -> bool:
        """Nothing that the station is known to have is missing or at hand."""
        return self._session.reading.is_level

    def acknowledge(self, event: Event | Cursor) -> None:
        """The consumer has this event and all before it, on its own disk. Raises GoldlineError where there is none."""
        if self._consumer is None:
            raise GoldlineError("nothing is acknowledged without a name: Subscriber(consumer=…)")
        self._session.acknowledge(event if isinstance(event, Cursor) else Cursor.parse(event.id))

    def close(self) -> None:
        """Send what is acknowledged, and close the sockets."""
        self._session.close()

    def _pump(self) -> None:
        """What is here, and what is wanted. Raises GoldlineError where reading cannot go on, or nothing is heard."""
        self._session.pump()
        self._pumped_ns = time.monotonic_ns()
        reading = self._session.reading
        if reading.has_begun and not self._has_begun:
            self._has_begun = True
            if self._notify.begun is not None:
                self._notify.begun(reading.cursor)
        if not reading.items and reading.problem is not None:
            raise GoldlineError(f"{self._addresses}: {reading.problem}")
        if not reading.items:
            self._mind_silence((time.monotonic_ns() - self._session.heard_ns) / 1e9)

    def _mind_silence(self, silent_s: float) -> None:
        if self._silence_s is not None and silent_s > self._silence_s:
            raise GoldlineError(f"{self._addresses}: nothing heard for {self._silence_s:g} s: {WHY_SILENT}")
        if silent_s <= TELL_SILENCE_S:
            self._is_silence_told = False
        elif not self._is_silence_told:
            self._is_silence_told = True
            logging.getLogger(__name__).warning("%s: nothing heard for %g s: %s", self._addresses, silent_s, WHY_SILENT)

    def _pump_if_due(self) -> None:
        """While much is at hand, acknowledgements go out and LIVE is read all the same."""
        if time.monotonic_ns() > self._pumped_ns + TURN_MS * 1_000_000:
            self._pump()

    def _next_event(self) -> Event | None:
        """The next event at hand; what is told before it is told, or raised."""
        items = self._session.reading.items
        while items:
            match items.popleft():
                case Arrived() as arrived:
                    return arrived.event()
                case Gone() as gone if self._notify.gone is not None:
                    self._notify.gone(gone)
                case Gone() as gone:
                    raise EventsGone(gone)
                case NewStream() as new if self._notify.new_stream is not None:
                    self._notify.new_stream(new)
                case NewStream() as new:
                    raise StreamChanged(new)
        return None

    def _take(self) -> list[Item]:
        items = self._session.reading.items
        return [items.popleft() for _ in range(len(items))]

    def _on_state(self, body: bytes) -> None:
        assert self._notify.state is not None
        self._notify.state(msgspec.json.decode(body, type=dict[str, Any]))


class Subscriber(_Reader):
    """Every event, once and in order. Iterate, or `take`. For one thread."""

    def __enter__(self) -> Self:
        """Closed on exit."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def __iter__(self) -> Self:
        """Itself: reading goes on where it stopped."""
        return self

    def __next__(self) -> Event:
        """Wait for the next event. Raises EventsGone and StreamChanged where `notify` does not want them."""
        self._pump_if_due()
        while (event := self._next_event()) is None:
            self._pump()
            if not self._session.reading.items:
                self._wait(TURN_MS)
        return event

    def take(self, wait_s: float) -> list[Item]:
        """All that is at hand, in order; waits for the first of it up to `wait_s`. [] when nothing came."""
        until = time.monotonic() + wait_s
        self._pump()
        while not self._session.reading.items and (left_s := until - time.monotonic()) > 0:
            self._wait(min(TURN_MS, left_s * 1000))
            self._pump()
        return self._take()

    def _wait(self, timeout_ms: float) -> None:
        poller = zmq.Poller()
        for socket in self._session.sockets:
            poller.register(socket, zmq.POLLIN)
        poller.poll(int(timeout_ms))


class AsyncSubscriber(_Reader):
    """The same for asyncio: `async for event in subscriber`. For one task."""

    async def __aenter__(self) -> Self:
        """Closed on exit."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def __aiter__(self) -> Self:
        """Itself: reading goes on where it stopped."""
        return self

    async def __anext__(self) -> Event:
        """Wait for the next event. Raises EventsGone and StreamChanged where `notify` does not want them."""
        self._pump_if_due()
        while (event := self._next_event()) is None:
            self._pump()
            if not self._session.reading.items:
                await self._wait(TURN_MS)
        return event

    async def take(self, wait_s: float) -> list[Item]:
        """All that is at hand, in order; waits for the first of it up to `wait_s`. [] when nothing came."""
        until = time.monotonic() + wait_s
        self._pump()
        while not self._session.reading.items and (left_s := until - time.monotonic()) > 0:
            await self._wait(min(TURN_MS, left_s * 1000))
            self._pump()
        return self._take()

    async def _wait(self, timeout_ms: float) -> None:
        poller = zmq.asyncio.Poller()
        for socket in self._session.sockets:
            poller.register(socket, zmq.POLLIN)
        await poller.poll(int(timeout_ms))


def ask(address: str, order: dict[str, Any], timeout_s: float = 2.0, keys: ClientKeys | None = None) -> dict[str, Any]:
    """Send one order to the command socket and return the answer. Raises GoldlineError when none comes in time."""
    until_s = time.monotonic() + timeout_s
    with zmq.Context[zmq.Socket[bytes]]() as context, session.connect(context, zmq.REQ, address, keys) as socket:
        socket.setsockopt(zmq.LINGER, 0)
        if _is_there(socket, zmq.POLLOUT, until_s):
            socket.send(msgspec.json.encode(order))
            if _is_there(socket, zmq.POLLIN, until_s):
                return _answer(address, socket.recv_multipart())
    raise GoldlineError(f"{address}: no answer within {timeout_s:g} s: {WHY_SILENT}")


def _is_there(socket: zmq.Socket[bytes], what: int, until_s: float) -> bool:
    return bool(socket.poll(max(0, int((until_s - time.monotonic()) * 1000)), what))


def _answer(address: str, frames: list[bytes]) -> dict[str, Any]:
    try:
        (body,) = frames
        return msgspec.json.decode(body, type=dict[str, Any])
    except (ValueError, msgspec.DecodeError):
        raise GoldlineError(f"{address}: what answers there takes no orders: is it the command socket?") from None
