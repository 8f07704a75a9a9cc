"""The LIVE socket: events as they are committed, the head every heartbeat, and how the station stands."""

import time

import structlog
import zmq

from edge import events, guard, header
from edge.events import NONE, Head, Source
from edge.header import Flag, Header
from edge.messages import Standing
from edge.outbox import Outbox, Stored
from edge.unopened import NO_STREAM

# A plant's readers at once; a subscriber that says more without end keeps no event waiting.
SUBSCRIPTIONS_A_TURN = 256
# After so many turns full of them on end nobody means to be answered: what they say waits in memory without a bound.
# What waits by then is read within seconds; should they be back, they are sent off again after so many more.
FULL_TURNS, FULL_TURNS_AGAIN = 40, 20_000


class Live:
    """Owns the XPUB socket from the moment that the outbox thread uses it."""

    def __init__(self, socket: zmq.Socket[bytes], source: Source, outbox: Outbox, heartbeat_s: float) -> None:
        """Nothing is sent before `turn`."""
        self.socket, self._outbox, self._heartbeat_s = socket, outbox, heartbeat_s
        # A second subscriber to the same topic is told to us as well: it waits for its first heartbeat.
        socket.setsockopt(zmq.XPUB_VERBOSE, 1)
        self._heartbeat_topic = source.topic(NONE, "hb").encode()
        self._state_topic = source.topic(NONE, "state").encode()
        self._standing: Standing | None = None
        self._next_beat_s = 0.0
        self._full_turns = 0

    def take_over(self, heartbeat_s: float) -> None:
        """Another pace, from the next heartbeat on. By any thread."""
        self._heartbeat_s = heartbeat_s

    def turn(self, now_s: float) -> float:
        """Send what is due, and greet who came; returns in how many seconds something is due again."""
        guard.tend(self.socket)
        self._greet()
        if now_s >= self._next_beat_s:
            self.send_head()
            self._next_beat_s = now_s + self._heartbeat_s
        return self._next_beat_s - now_s

    def send(self, event: Stored) -> None:
        """An event that is on disk. XPUB drops for a subscriber that is too far behind; it never blocks."""
        self.socket.send_multipart([event.topic.encode(), event.header, event.body])

    def send_head(self) -> None:
        """The heartbeat. There is none while no outbox is open: whoever heard it would ask for another stream's events."""
        if self._outbox.stream == NO_STREAM:
            return
        body = Head(stream=str(self._outbox.stream), head=self._outbox.head, low=self._outbox.low)
        self._say(self._heartbeat_topic, events.encode(body))

    def stand(self, standing: Standing) -> None:
        """How the station stands: now, and to whoever joins later."""
        self._standing = standing
        self._say(self._state_topic, standing.state)

    def _greet(self) -> None:
        """Read subscriptions; a new subscriber gets the head at once."""
        joined = False
        for _ in range(SUBSCRIPTIONS_A_TURN):
            if not self.socket.poll(0):
                self._full_turns = 0
                break
            joined |= self.socket.recv()[:1] == b"\x01"
        else:
            self._full_turns += 1
            if self._full_turns % FULL_TURNS_AGAIN == FULL_TURNS:
                structlog.get_logger().error("subscriptions without end: all who listen are sent off")
                guard.send_off_all_at(self.socket)
        if joined:
            self.send_head()
            if self._standing is not None:
                self.stand(self._standing)

    def _say(self, topic: bytes, body: bytes) -> None:
        """What is no event: its header has the newest sequence number and no flag."""
        named = Header(
            flags=Flag(0),
            stream=self._outbox.stream,
            sequence=self._outbox.head,
            previous=0,
            verdict_utc_ns=time.time_ns(),
        )
        self.socket.send_multipart([topic, header.encode(named), body])
