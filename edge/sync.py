"""PROCESS: what was said before, for whoever was away: reads the outbox, never writes it.

One loop: what the supervisor and publish say, requests (a bounded number a turn, ZeroMQ takes them from the clients in
turn), those who wait for news. Sending never waits: a client that does not read loses its answer and asks again.
"""

import socket
import time

import structlog
import zmq

from edge import border
from edge.channel import Channel, ChannelClosed, ChannelFull
from edge.guard import Guard, client_name, tend
from edge.inbox import Inbox
from edge.messages import Abandon, Acknowledged, Commit, Link, Offer, Stop
from edge.metrics import Page, State
from edge.outbox_reader import OutboxReader
from edge.sync_desk import Envelope, SyncDesk
from edge.takeover import Takeover
from edge.worker import WorkerContext

# The loop comes round at least this often, to beat; and this often while somebody waits for news.
TURN_MS, NEWS_MS = 250, 25
# A request takes up to 10 ms (a full BATCH): after so many it is the others' turn.
REQUESTS_A_TURN = 32
# Answers that one client may leave unread. It asks once at a time; more than a few are those it does not wait for.
ANSWERS_UNREAD = 8
OUTBOX = "outbox.sqlite3"


def run(context: WorkerContext) -> None:
    """Answer until told to stop."""
    reader = OutboxReader(context.station.state_dir / OUTBOX)
    address = context.station.events.sync
    # What is sent to a client that has gone is an error to count, not silence.
    options = dict[int, int]({zmq.ROUTER_MANDATORY: 1, zmq.SNDHWM: ANSWERS_UNREAD, zmq.LINGER: 0})
    refused = context.page.counter("goldline_sync_peers_refused_total")
    with (
        zmq.Context[zmq.Socket[bytes]]() as zmq_context,
        Guard(zmq_context, context.station, lambda _: refused.inc()) as guard,
    ):
        bound = border.bind(
            zmq_context, zmq.ROUTER, "events.sync", address, security=guard, zone="events", options=options
        )
        with bound as router:
            service = Service(context, router, SyncDesk(reader, context.page))
            while not service.is_stopping:
                service.turn()
    reader.close()


class Service:
    """The loop's state: the socket, the desk, and the link to publish."""

    def __init__(self, context: WorkerContext, router: zmq.Socket[bytes], desk: SyncDesk) -> None:
        """Nothing is read before the first `turn`."""
        self._control, self._page, self._router, self._desk = context.control, context.page, router, desk
        self._writer, self._inbox = Writer(desk), Inbox(router)
        # All that is live for it is what every worker takes over.
        self._takeover = Takeover(context.control)
        self._unsent = context.page.counter("goldline_sync_unsent_total")
        self.is_stopping = False

    def turn(self) -> None:
        """One round of the loop."""
        _beat(self._page, is_busy=self._desk.is_waited_for)
        self._wait()
        self._hear_control()
        tend(self._router)
        for _ in range(REQUESTS_A_TURN):
            if (parts := self._inbox.receive()) is None:
                break
            self._serve(parts)
        for envelope, frames in self._desk.news(time.monotonic_ns()):
            self._send(envelope, frames)
        self._writer.tell()

    def _wait(self) -> None:
        poller = zmq.Poller()
        poller.register(self._control.fileno(), zmq.POLLIN)
        poller.register(self._router, zmq.POLLIN)
        if (descriptor := self._writer.fileno()) is not None:
            poller.register(descriptor, zmq.POLLIN)
        poller.poll(NEWS_MS if self._desk.is_waited_for or self._writer.is_behind else TURN_MS)

    def _serve(self, parts: list[zmq.Frame]) -> None:
        frames = [part.bytes for part in parts]
        # A REQ socket puts an empty frame before what it says, and expects one before the answer.
        length = 2 if len(frames) > 1 and not frames[1] else 1
        envelope: Envelope = tuple(frames[:length])
        answer = self._desk.answer(envelope, frames[length:], client_name(parts[-1]), time.monotonic_ns())
        if answer is not None:
            self._send(envelope, answer)

    def _send(self, envelope: Envelope, frames: list[bytes]) -> None:
        try:
            self._router.send_multipart([*envelope, *frames], zmq.DONTWAIT)
        except zmq.ZMQError as problem:
            if problem.errno not in (zmq.EAGAIN, zmq.EHOSTUNREACH):
                raise
            self._unsent.inc()

    def _hear_control(self) -> None:
        try:
            while (received := self._control.receive_with_descriptor()) is not None:
                match received:
                    case Stop(), _:
                        self.is_stopping = True
                    case Link(), int(descriptor):
                        self._writer.link(descriptor)
                    case (Offer() | Commit() | Abandon()) as said, descriptor:
                        self._takeover.hear(said, descriptor)
                    case message, _:
                        structlog.get_logger().error("unexpected message", message=type(message).__name__)
        except ChannelClosed:
            self.is_stopping = True


class Writer:
    """The way to the one process that writes: tells publish what consumers acknowledged, and again after its death."""

    def __init__(self, desk: SyncDesk) -> None:
        """Not linked yet."""
        self._desk = desk
        self._channel: Channel | None = None
        self._told: dict[str, Acknowledged] = {}

    @property
    def is_behind(self) -> bool:
        """Publish is there, and was not told everything."""
        told = self._told
        return self._channel is not None and any(told.get(one) != word for one, word in self._desk.acknowledged.items())

    def fileno(self) -> int | None:
        """Readable at publish's end; None while it is away."""
        return None if self._channel is None else self._channel.fileno()

    def link(self, descriptor: int) -> None:
        """A new incarnation of publish: what the one before was told may not have been written down."""
        self._unlink()
        self._desk.let_go()
        self._channel = Channel(socket.socket(fileno=descriptor))

    def tell(self) -> None:
        """What it was not told, the newest of each consumer. What its socket has no room for waits."""
        if self._channel is None:
            return
        try:
            for _ in self._channel.drain():
                continue
            for consumer, word in self._desk.acknowledged.items():
                if self._told.get(consumer) != word:
                    self._channel.send(word)
                    self._told[consumer] = word
        except ChannelFull:
            return
        except ChannelClosed:
            self._unlink()

    def _unlink(self) -> None:
        if self._channel is not None:
            self._channel.close()
        self._channel = None
        self._told.clear()


def _beat(page: Page, *, is_busy: bool) -> None:
    page.beat(State.BUSY if is_busy else State.IDLE, time.monotonic_ns())
