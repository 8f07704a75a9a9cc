"""What a lane has of its station: a link to publish, the log of what is decided, and whether publish still lives.

A lane brings its own event loop, epoll or asyncio; of it the link needs one descriptor watched:

    with StationLink(context, since) as link:     # `since`: the Place this lane had come to; None: only what comes
        watch link.fileno(); whenever it is readable, and every POLL_S:
            now_ns = time.monotonic_ns()
            link.hear(now_ns)                      # never blocks: supervisor, publish, and this process's own beat
            for answer in link.answers(): ...      # to orders given with `ask`
            for decision in link.decisions(): ...  # in order, each once; keep `decision.behind` with what it led to
            link.is_fresh(now_ns)                  # False: drop Ready, stop the life counter, take no trigger
            link.standing                          # how the station stands, or None while nobody has said
            if link.is_stopping: leave

1. Publish writes a decision into the decided log, and only then sends News, which wakes the lane. News may be lost.
2. The lane reads on from its place in the log. The outbox, its disk and ZeroMQ have no part in it.
3. When publish dies, an order may have been accepted and its answer lost. The answer is then `LOST`: if it was
   accepted, its decision comes within its deadline after a new publish has come up, as for any trigger.
4. Publish beats into the log every 50 ms. A lane that has seen no beat for STALE_NS counts it as dead.
"""

import os
import select
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import msgspec
import structlog

from edge import events
from edge.channel import Channel, ChannelClosed, ChannelFull, MessageTooLarge
from edge.config import Station, runtime_directory
from edge.decided_log import DecidedLog, decided_path
from edge.events import Event
from edge.lanes.standing import Standing, decode_standing
from edge.messages import Abandon, Answered, AnyMessage, Asked, Commit, Link, News, Offer, Stop
from edge.messages import Standing as StandingMessage
from edge.metrics import State
from edge.takeover import Takeover
from edge.worker import WorkerContext

# A lane looks at the log and at publish's beat at least this often. With 150 ms it makes a PLC know within 200 ms.
POLL_S = 0.02
# Publish beats every 50 ms; three that are missing are no accident.
STALE_NS = 150_000_000
# The log is looked for this often while it is not there or another has taken its place: it costs a system call.
LOOK_NS = 500_000_000
PUBLISH = "publish"


class Place(msgspec.Struct, frozen=True, array_like=True):
    """A place in a decided log: the log's identity, and the index of the next decision."""

    log: str
    index: int


class Decision(NamedTuple):
    """One that the log has, and the place behind it."""

    behind: Place
    event: Event


class Reply(NamedTuple):
    """The answer to the order with this token; None: publish died over it, and nobody knows what became of it."""

    token: int
    answer: bytes | None


class StationLink:
    """Owns the link to publish and the mapping of the decided log."""

    def __init__(self, context: WorkerContext, since: Place | None = None) -> None:
        """Nothing is read before `hear`."""
        self._control, self._page = context.control, context.page
        self._path: Path = decided_path(runtime_directory(context.station))
        self._epoll = select.epoll()
        self._epoll.register(self._control.fileno(), select.EPOLLIN)
        self._publish: Channel | None = None
        self._log: DecidedLog | None = None
        self._place = since
        self._looked_ns = 0
        self._token = 0
        self._waiting: set[int] = set()
        self._replies: list[Reply] = []
        self.standing: Standing | None = None
        self.is_stopping = False
        self._takeover = Takeover(context.control, self._take_over)
        # Called with the station of every configuration that is taken over while the lane runs.
        self.when_changed: Callable[[Station], None] = lambda _: None
        # Times that decisions were overwritten before this lane had read them: it was away for thousands of them.
        self.gaps = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._unlink()
        if self._log is not None:
            self._log.close()
        self._epoll.close()

    def fileno(self) -> int:
        """Readable when there is something to `hear`."""
        return self._epoll.fileno()

    def hear(self, now_ns: int, state: State = State.IDLE, in_flight: int = 0) -> None:
        """Take in what was said, and tell the supervisor that this lane's loop came round."""
        self._page.beat(state, now_ns, in_flight)
        self._hear_control()
        self._hear_publish()
        if now_ns - self._looked_ns >= LOOK_NS:
            self._looked_ns = now_ns
            self._look_for_log()

    def is_fresh(self, now_ns: int) -> bool:
        """Whether publish lives: it is linked, and its loop came round a moment ago."""
        return self._publish is not None and self._log is not None and now_ns - self._log.beat_ns < STALE_NS

    # --- orders

    def ask(self, order: bytes) -> int | None:
        """Give an order, in the words of `orders.py`; None: nobody is there to take it. Its token comes back."""
        if self._publish is None:
            return None
        self._token += 1
        try:
            self._publish.send(Asked(token=self._token, order=order))
        except (ChannelFull, ChannelClosed, MessageTooLarge):
            return None
        self._waiting.add(self._token)
        return self._token

    def answers(self) -> Iterator[Reply]:
        """The answers that have come, each once."""
        replies, self._replies = self._replies, []
        yield from replies

    # --- decisions

    def decisions(self) -> Iterator[Decision]:
        """What was decided since the last time, in order."""
        if self._log is None:
            self._look_for_log()
        if self._log is None or self._place is None:
            return
        for behind, body in self._log.read_from(self._place.index):
            self._place = Place(self._place.log, behind)
            yield Decision(self._place, events.decode(body))
        if self._place.index < self._log.beat_end:  # there is more, but not here: the log has come round
            self._place = self._placed(self._log)

    @property
    def place(self) -> Place | None:
        """How far the log is read; None while there is none."""
        return self._place

    # --- inside

    def _hear_control(self) -> None:
        try:
            while (heard := self._control.receive_with_descriptor()) is not None:
                match heard:
                    case Stop(), _:
                        self.is_stopping = True
                    case Link(peer="publish"), int(descriptor):
                        self._link(descriptor)
                    case Link(), int(descriptor):
                        os.close(descriptor)
                    case (Offer() | Commit() | Abandon()) as said, descriptor:
                        self._takeover.hear(said, descriptor)
                    case message, _:
                        raise RuntimeError(f"unexpected {message}")
        except ChannelClosed:
            self.is_stopping = True

    def _take_over(self, _number: int, station: Station, _generation: int) -> bool:
        self.when_changed(station)
        return True

    def _link(self, descriptor: int) -> None:
        """A new publish. What the one before has said is read first."""
        self._hear_publish()
        self._unlink()
        self._publish = Channel(socket.socket(fileno=descriptor))
        self._epoll.register(self._publish.fileno(), select.EPOLLIN)
        self._look_for_log()

    def _hear_publish(self) -> None:
        if self._publish is None:
            return
        try:
            for message in self._publish.drain():
                self._take(message)
        except ChannelClosed:
            self._unlink()

    def _take(self, message: AnyMessage) -> None:
        match message:
            case Answered(token=token, answer=answer):
                self._waiting.discard(token)
                self._replies.append(Reply(token, answer))
            case StandingMessage(state=state):
                self.standing = decode_standing(state)
            case News():
                pass  # it has woken this lane; the log is read in any case
            case _:
                structlog.get_logger().error("unexpected message", message=type(message).__name__)

    def _unlink(self) -> None:
        if self._publish is None:
            return
        self._epoll.unregister(self._publish.fileno())
        self._publish.close()
        # How things stand the next one says.
        self._publish = self.standing = None
        self._replies += [Reply(token, None) for token in sorted(self._waiting)]
        self._waiting.clear()

    def _look_for_log(self) -> None:
        """Attach to the log at its path, if it is not the one that is read already."""
        if self._log is not None and self._log.is_current:
            return
        found = DecidedLog.attach(self._path)
        if found is None:
            return
        if self._log is not None:
            self._log.close()
        self._log = found
        self._place = self._placed(found)

    def _placed(self, log: DecidedLog) -> Place:
        """Where to go on in this log: behind what was read of it; in a new one at its beginning, at first at its end."""
        identity, end = log.identity.hex, log.end()
        if self._place is None:
            return Place(identity, end)
        index = self._place.index if self._place.log == identity else 0
        if index < end and next(log.read_from(index), None) is None:
            self.gaps += 1
            structlog.get_logger().warning("decisions were overwritten before this lane had read them")
            index = min((one.at for one in log.read_all()), default=end)
        return Place(identity, index)
