"""The bound sockets of one process, and how everybody at one of them is sent off: its listener is closed and opened anew.

ZeroMQ closes no connection by itself, only all those of a listener with it; who has done nothing is back within its
reconnect interval. The owner of each socket does so, in `tend`. There are two reasons: a key that was taken away, and
more memory than peers may take.
"""

import errno
import os
import time
from collections import Counter
from dataclasses import dataclass

import structlog
import zmq

from edge import heap

# Why a listener cannot be opened again at this moment, though it was open before.
PASSING = (zmq.EADDRINUSE, zmq.EADDRNOTAVAIL, errno.ENODEV, errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
# Closing takes libzmq some milliseconds; a listener that is away for longer has a cause that somebody has to see to.
TELL_CLOSED_S = 2.0
# What peers may make this process hold: several times what 10,000 unread events and the answers of some readers take.
MOST_HELD_BYTES = 512 << 20
# How often memory is looked at, which costs some 10 µs; and how long closed connections may take to let go of theirs.
# Who comes back at once takes up to 1 GB a second.
LOOK_S, LET_GO_S = 0.05, 0.25


@dataclass
class Bound:
    """A socket that `tend` looks after. `is_open` is False between closing its listener and the port being free."""

    address: str
    zone: str
    seen: int
    is_open: bool = True
    # When it was closed, or was last said to be.
    told_s: float = 0.0


class Doors:
    """The sockets, by zone. `send_off` may be called on any thread, `keep` and `tend` on the one that owns the socket."""

    def __init__(self) -> None:
        self._bound: dict[zmq.Socket[bytes], Bound] = {}
        self._times = Counter[str]()
        self._held = Held()

    def close(self) -> None:
        """Nothing is looked at any more. The sockets are their owners'."""
        self._held.close()

    def keep(self, door: zmq.Socket[bytes], zone: str) -> None:
        """After `bind`: `tend` looks after it from now on."""
        self._bound[door] = Bound(door.getsockopt_string(zmq.LAST_ENDPOINT), zone, self._times[zone])

    def send_off(self, zone: str) -> None:
        """Everybody at the sockets of this zone, each at its next `tend`."""
        self._times[zone] += 1

    def send_off_all_at(self, door: zmq.Socket[bytes]) -> None:
        """Everybody at this socket and the others of its zone."""
        self.send_off(self._bound[door].zone)

    def tend(self, door: zmq.Socket[bytes]) -> None:
        """Every turn. Never waits."""
        now_s = time.monotonic()
        if self._held.is_too_much(now_s):
            structlog.get_logger().error("peers take too much memory: all are sent off", bytes=self._held.bytes)
            for zone in {bound.zone for bound in self._bound.values()}:
                self.send_off(zone)
        bound = self._bound[door]
        if bound.seen != (times := self._times[bound.zone]):
            bound.seen = times
            if bound.is_open:
                door.unbind(bound.address)
                bound.is_open, bound.told_s = False, now_s
        if not bound.is_open:
            self._open(door, bound, now_s)

    def _open(self, door: zmq.Socket[bytes], bound: Bound, now_s: float) -> None:
        """The port is free as soon as libzmq's own thread has closed it: a millisecond, or a turn, later.

        An interface that has lost its address meanwhile, and the lack of descriptors, pass as well.
        """
        try:
            door.bind(bound.address)
            bound.is_open = True
        except zmq.ZMQError as problem:
            if problem.errno not in PASSING:
                raise
            if now_s > bound.told_s + TELL_CLOSED_S:
                bound.told_s = now_s + 10 * TELL_CLOSED_S
                reason = os.strerror(problem.errno or 0)
                structlog.get_logger().error("nobody is let in: cannot listen again", address=bound.address, why=reason)


class Held:
    """What this process holds beyond what it held at first.

    A message is handed over with its last frame, and ZeroMQ's limits count whole messages and the bytes of one frame: one
    that never ends is bounded by nothing else.
    """

    def __init__(self) -> None:
        # Kept open: where peers have taken every descriptor that there is, none can be.
        self._statm = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
        self.bytes = 0
        self._first = private_bytes(self._statm)
        self._next_s = 0.0
        self._is_letting_go = False

    def close(self) -> None:
        """Nothing is looked at any more."""
        os.close(self._statm)

    def is_too_much(self, now_s: float) -> bool:
        """True once, then not before that was let go which can be."""
        if now_s < self._next_s:
            return False
        self._next_s = now_s + LOOK_S
        if self._is_letting_go:
            self._is_letting_go = False
            # What was freed in small pieces stays the process's own otherwise, and would count as held.
            heap.trim()
            # What is there still is not the peers': to send them off for it over and over would help nobody.
            self._first = max(self._first, private_bytes(self._statm) - MOST_HELD_BYTES // 2)
        held = private_bytes(self._statm)
        # What was let go late is nobody's: each time would leave more room for the next.
        self._first = min(self._first, held)
        self.bytes = held - self._first
        if self.bytes <= MOST_HELD_BYTES:
            return False
        self._is_letting_go, self._next_s = True, now_s + LET_GO_S
        return True


def private_bytes(statm: int) -> int:
    """Resident memory that is not shared with other processes, nor of a file. `statm`: /proc/self/statm, open."""
    # Seven numbers of 20 digits at most; read from the beginning, they are those of now.
    resident, shared = os.pread(statm, 160, 0).split()[1:3]
    return (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE")
