"""Every event of the outbox to the device's own NATS server, in order, and on from there to the hub.

1. An event is read from the station's LIVE and SYNC like any other consumer's, and published; a window is under way.
2. Each names the one before it: where that was refused, this one is too, so that nothing overtakes.
3. The server says that it has it on its disk: `published` moves on. After any death publishing goes on behind that; what
   was under way comes again under the same id, which the server drops for 10 minutes and a reader for ever.
4. It is handed to the hub (carry.py), the hub stores it, and the server lets it go: `delivered` moves on, and only then may the outbox forget it.
5. A server that has lost its disk has no stream: what was published and not delivered is published again.
"""

import asyncio
import time
from collections import deque
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import structlog

from edge.client import AsyncSubscriber, Cursor, GoldlineError, Item
from edge.config import Station
from edge.fleet.answers import FULL, Refused
from edge.fleet.carry import carry_events
from edge.fleet.figures import Figures
from edge.fleet.leaf import ANSWER_S, Ended, Leaf, connected
from edge.fleet.words import Message, before, message_of, source_of, too_large
from edge.keys import own_keys
from edge.progress import Progress
from edge.worker import WorkerContext

CONSUMER = "uplink"
# Under way at once: what one flush of a slow disk (5 ms) needs at a few thousand a second; more only fills memory.
WINDOW = 64
# The loop comes round this often where nothing comes; what comes is taken at once.
TURN_S = 0.25
# How far the hub has come is asked this often.
LOOK_S = 1.0
# A server that is away is tried again after 0.5 s, then ever later.
RETRY_FIRST_S, RETRY_LAST_S = 0.5, 15.0
# A message's headers beside its body: two ids and the content type.
HEADERS_BYTES = 512


@dataclass(frozen=True)
class Places:
    """Up to where the device's server, and the hub, have everything."""

    published: Progress
    delivered: Progress

    async def write(self) -> None:
        """What is due, on a thread: a disk that hangs does not keep this loop from beating."""
        for progress in (self.published, self.delivered):
            if progress.is_due:
                await asyncio.to_thread(progress.write)


async def forward_events(context: WorkerContext) -> None:
    """Until cancelled. Raises GoldlineError: a file of the state directory is none of ours."""
    folder = context.station.state_dir / "fleet"
    places = Places(Progress(folder / "published.cursor"), Progress(folder / "delivered.cursor"))
    figures = Figures.of(context.page)
    figures.published_sequence.set(places.published.cursor.sequence)
    figures.acknowledged.set(places.delivered.cursor.sequence)
    try:
        # A queue that is full ends the one's connection, and must not end the other's, which empties it.
        await _together(_follow_on(context.station, places, figures), carry_events(context.station))
    finally:
        places.published.write()
        places.delivered.write()


async def _follow_on(station: Station, places: Places, figures: Figures) -> None:
    retry_s = RETRY_FIRST_S
    while True:
        began_s = time.monotonic()
        try:
            await _follow(station, places, figures)
        except Ended as ended:
            figures.connected.set(0)
            retry_s = RETRY_FIRST_S if time.monotonic() - began_s > RETRY_LAST_S else min(retry_s * 2, RETRY_LAST_S)
            _tell(station, ended, retry_s)
        await asyncio.sleep(retry_s)


def _tell(station: Station, ended: Ended, retry_s: float) -> None:
    assert station.fleet is not None
    structlog.get_logger().warning(
        "the fleet's server is away", server=station.fleet.server, problem=str(ended), retry_s=retry_s
    )


async def _follow(station: Station, places: Places, figures: Figures) -> None:
    """As long as the connection lasts. Raises Ended."""
    assert station.fleet is not None
    async with AsyncExitStack() as stack:
        leaf = await stack.enter_async_context(connected(station.fleet, station.station_id))
        is_there = await leaf.has_stream()
        if not is_there:
            # Before the stream is made: killed in between, the next begins here as well.
            places.published.cursor = places.delivered.cursor
            await asyncio.to_thread(places.published.write)
        await leaf.keep_stream(station.fleet.max_bytes, is_there=is_there)
        subscriber = await stack.enter_async_context(_subscriber(station, places.published.cursor))
        figures.connections.inc()
        structlog.get_logger().info("connected to the fleet's server", server=station.fleet.server)
        await Forwarder(station, leaf, subscriber, places, figures).follow()


async def _together(*ones: Coroutine[Any, Any, None]) -> None:
    """Until one of them ends, as it ends."""
    tasks = [asyncio.create_task(one) for one in ones]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _subscriber(station: Station, after: Cursor) -> AsyncSubscriber:
    return AsyncSubscriber(
        sync=station.events.sync,
        live=station.events.live,
        consumer=CONSUMER,
        after=after,
        keys=own_keys(station, "events"),
    )


@dataclass(frozen=True)
class Sent:
    """A message under way."""

    message: Message
    answer: asyncio.Future[int]
    sent_s: float


class Forwarder:
    """From the station to the server, for as long as the connection lasts."""

    def __init__(
        self, station: Station, leaf: Leaf, subscriber: AsyncSubscriber, places: Places, figures: Figures
    ) -> None:
        """Nothing is sent before `follow`."""
        self._source = source_of(station)
        self._leaf, self._subscriber, self._places, self._figures = leaf, subscriber, places, figures
        self._waiting: deque[Item] = deque()
        self._flight: deque[Sent] = deque()
        self._looked_s = 0.0

    async def follow(self) -> None:
        """Until cancelled. Raises Ended."""
        try:
            await self._turn_after_turn()
        finally:
            # What is under way is said again by the next connection; how these end is nobody's any more.
            for one in self._flight:
                _ = one.answer.cancel() or one.answer.exception()

    async def _turn_after_turn(self) -> None:
        while True:
            await self._read()
            while self._waiting and len(self._flight) < WINDOW:
                await self._publish(message_of(self._waiting.popleft(), self._source))
            await self._settle()
            # Only now: a server that refuses everything is not one that takes what it is given.
            self._figures.connected.set(1)
            if time.monotonic() - self._looked_s >= LOOK_S:
                self._looked_s = time.monotonic()
                await self._look()
            await self._places.write()

    async def _read(self) -> None:
        if self._waiting:
            return
        try:
            self._waiting.extend(await self._subscriber.take(0 if self._flight else TURN_S))
        except GoldlineError as problem:
            raise Ended(f"the station cannot be read: {problem}") from problem

    # --- publishing

    async def _publish(self, message: Message) -> None:
        if len(message.body) + HEADERS_BYTES > self._leaf.most_bytes:
            message = self._pass_over(message)
        expected = self._flight[-1].message.id if self._flight else None
        answer = await self._leaf.publish(message.subject, message.body, message.headers(expected))
        self._flight.append(Sent(message, answer, time.monotonic()))
        self._figures.published.inc()

    def _pass_over(self, message: Message) -> Message:
        """Say that this one is not said. It is kept in the outbox as long as any, and SYNC has it."""
        self._figures.too_large.inc()
        told = too_large(message, self._source, self._leaf.most_bytes)
        structlog.get_logger().error("an event is passed over", event_id=message.id, bytes=len(message.body))
        return told

    async def _settle(self) -> None:
        """Take the answers that have come, in order; wait a moment where there is nothing else to do."""
        if self._flight and (not self._waiting or len(self._flight) >= WINDOW):
            await asyncio.wait([self._flight[0].answer], timeout=TURN_S)
        while self._flight and self._flight[0].answer.done():
            self._answered(self._flight.popleft())
        if not self._leaf.is_open:
            raise Ended("connection lost")
        if self._flight and time.monotonic() - self._flight[0].sent_s > ANSWER_S:
            raise Ended(f"an event was not acknowledged within {ANSWER_S:g} s")

    def _answered(self, sent: Sent) -> None:
        if (refusal := sent.answer.exception()) is not None:
            self._figures.refused.inc()
            raise Ended(f"an event was refused: {_words(refusal)}")
        self._places.published.cursor = sent.message.cursor
        self._figures.published_sequence.set(sent.message.cursor.sequence)

    # --- how far the hub is

    async def _look(self) -> None:
        """What went from the stream is on the hub's disk."""
        # Taken before the question: all of it was in the stream by then.
        published = self._places.published.cursor
        state = (await self._leaf.state()).state
        self._figures.waiting.set(state.messages)
        if state.messages == 0:
            self._delivered(published)
        elif (first := await self._leaf.first_id(state.first_seq)) is not None and (upto := before(first)) is not None:
            self._delivered(upto)

    def _delivered(self, upto: Cursor) -> None:
        """The hub has everything up to here. Of an earlier outbox nothing is left to be acknowledged."""
        if upto == self._places.delivered.cursor:
            return
        self._places.delivered.cursor = upto
        if upto.stream == self._places.published.cursor.stream and upto.stream is not None:
            self._subscriber.acknowledge(upto)
            self._figures.acknowledged.set(upto.sequence)


def _words(refusal: BaseException) -> str:
    """What the server said, and what to do where it is full."""
    if isinstance(refusal, Refused) and refusal.code == FULL:
        return "it is full ([fleet] max_bytes): the hub has not taken events for long; they wait in the outbox"
    return str(refusal) or type(refusal).__name__
