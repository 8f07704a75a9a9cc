"""Lets peers with a listed key in, and sends off those whose key was taken away. One for each ZeroMQ context that binds.

1. A peer of a secured socket proves its key in the CURVE handshake; libzmq then asks here (ZAP, RFC 27), by zone.
2. The answer is the client's name, which goes with every message of that connection (`client_name`), or a refusal.
3. The list is read again when it has changed. One that is wrong is refused in one line, and the one before counts until
   it is well.
4. A connection is asked about only once. Who was taken off the list is sent off with everybody of the zone (`doors.py`).
5. A thread that dies ends its process, at the next `tend`: nobody new would be let in, and nobody would notice.
"""

import math
import os
import resource
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Self

import structlog
import zmq
from zmq.utils import z85

from edge.config import Station
from edge.doors import Doors
from edge.errors import GoldlineError
from edge.keys import CLIENTS_FILE, ZONES, Clients, StationKey, load_clients, load_station_key, secured

# RFC 27: where libzmq asks, in this version, and what it is told.
ZAP_ENDPOINT, ZAP_VERSION, ADMITTED, REFUSED = "inproc://zeromq.zap.01", b"1.0", b"200", b"400"
ZAP_FRAMES, KEY_BYTES = 7, 32
# A change of the list counts within this; looking at a file's date costs some microseconds.
LOOK_MS = 500
# Whoever knocks over and over fills no journal: one line for all refusals of this long.
TELL_REFUSALS_S = 10.0
# A client of the list that connects for each order is written down this often.
TELL_ADMITTED_S = 600.0
# More than can be held against HANDSHAKE_IVL over a plant's network; a shell and systemd begin with 1024.
DESCRIPTORS = 65_536
# The user id of the station itself: its own commands and lanes, with its own key, are what they say they are.
OWN = "*"


class Door(zmq.Socket[bytes]):
    """A bound socket. `guard`: who looks after it."""

    guard: "Guard | None" = None


class Guard:
    """The list, and the thread that answers by it. Closed after the sockets it guards."""

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], station: Station, count: Callable[[str], None] = lambda _: None
    ) -> None:
        """Reads no key and starts no thread before a socket needs it. `count` is told the zone of every refusal there."""
        self._context, self._folder, self._count = context, station.keys_dir, count
        self._secured = {str(getattr(station.events, key)) for key in secured(station)}
        self._own: StationKey | None = None
        self._clients = Clients()
        self._stamp: object = None
        self._problem = ""
        self._doors = Doors()
        self._thread = ThreadPoolExecutor(1, "guard")
        self._running: Future[None] | None = None
        self._over = os.eventfd(0, os.EFD_CLOEXEC)
        self._refused, self._told_s = Counter[str](), 0.0
        self._told_of: dict[tuple[str, str, str], float] = {}

    def __enter__(self) -> Self:
        """Closed on exit."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """End the thread."""
        os.eventfd_write(self._over, 1)
        self._thread.shutdown()
        self._doors.close()
        os.close(self._over)

    def secures(self, address: str) -> bool:
        """Whether peers need a key at this address."""
        return address in self._secured

    def arm(self, socket: Door, key: str, address: str, zone: str) -> None:
        """Before `bind`: only peers with a key of this zone. Raises GoldlineError where the station itself has none."""
        if self._own is None:
            self._begin(key, address)
        assert self._own is not None
        socket.setsockopt(zmq.CURVE_SERVER, 1)
        socket.setsockopt(zmq.CURVE_SECRETKEY, self._own.secret.encode())
        socket.setsockopt(zmq.ZAP_DOMAIN, zone.encode())
        # Without somebody to ask nobody is let in; libzmq's default lets everybody in.
        socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)

    def keep(self, door: Door, zone: str) -> None:
        """After `bind`: `tend` looks after it from now on."""
        door.guard = self
        self._doors.keep(door, zone)

    def tend(self, door: Door) -> None:
        """Send peers off who have to go. Raises what ended the thread, if something did."""
        if self._running is not None and self._running.done():
            self._running.result()
        self._doors.tend(door)

    def send_off_all_at(self, door: Door) -> None:
        """Somebody at this socket does what nobody may; who it is cannot be told."""
        self._doors.send_off_all_at(door)

    # --- the thread, and what it starts with

    def _begin(self, key: str, address: str) -> None:
        self._own = load_station_key(self._folder)
        if self._own is None:
            raise GoldlineError(no_key(key, address))
        self._look()
        if not self._clients.clients:
            structlog.get_logger().warning("nobody is let in yet: goldline keys client NAME", listening=address)
        _make_room()
        asked = self._context.socket(zmq.REP)
        asked.bind(ZAP_ENDPOINT)
        self._running = self._thread.submit(self._run, asked)

    def _run(self, asked: zmq.Socket[bytes]) -> None:
        with asked:
            poller = zmq.Poller()
            poller.register(asked, zmq.POLLIN)
            poller.register(self._over, zmq.POLLIN)
            while self._over not in (ready := dict(poller.poll(LOOK_MS))):
                self._look()
                if asked in ready:
                    asked.send_multipart(self._answer(asked.recv_multipart()))
                self._tell_refusals(time.monotonic())

    def _look(self) -> None:
        """Read the list again if it is another. What cannot be read now may be in a moment: for want of a descriptor, say."""
        stamp = _stamp(self._folder / CLIENTS_FILE)
        if stamp == self._stamp:
            return
        try:
            clients = load_clients(self._folder)
        except GoldlineError as problem:
            self._refuse(str(problem))
            return
        self._stamp, self._problem = stamp, ""
        before, self._clients = self._clients, clients
        if self._running is not None:
            structlog.get_logger().info("the list of clients has changed", clients=len(clients.clients))
        for zone in ZONES:
            if before.admitted(zone) - clients.admitted(zone):
                self._doors.send_off(zone)

    def _refuse(self, problem: str) -> None:
        """Said once, however often it is met."""
        if problem != self._problem:
            self._problem = problem
            structlog.get_logger().error("the list of clients is refused; the one before counts", problem=problem)

    def _answer(self, frames: list[bytes]) -> list[bytes]:
        """ZAP's reply to ZAP's request."""
        name = self._name(frames)
        if name is None:
            return [ZAP_VERSION, frames[1] if len(frames) > 1 else b"", REFUSED, b"not on the list", b"", b""]
        return [ZAP_VERSION, frames[1], ADMITTED, b"OK", name.encode(), b""]

    def _name(self, frames: list[bytes]) -> str | None:
        if (
            len(frames) != ZAP_FRAMES
            or (frames[0], frames[5]) != (ZAP_VERSION, b"CURVE")
            or len(frames[6]) != KEY_BYTES
        ):
            return None
        zone, address = frames[2].decode(errors="replace"), frames[3].decode(errors="replace")
        public = z85.encode(frames[6]).decode()
        if self._own is not None and public == self._own.public:
            return OWN
        name = self._clients.named(zone, public)
        if name is None:
            self._refused[address] += 1
            self._count(zone)
        else:
            self._tell(name, zone, address, time.monotonic())
        return name

    def _tell(self, name: str, zone: str, address: str, now_s: float) -> None:
        if now_s - self._told_of.get((name, zone, address), -math.inf) >= TELL_ADMITTED_S:
            self._told_of[name, zone, address] = now_s
            structlog.get_logger().info("let in", client=name, zone=zone, peer=address)

    def _tell_refusals(self, now_s: float) -> None:
        if self._refused and now_s - self._told_s >= TELL_REFUSALS_S:
            self._told_s = now_s
            ((peer, _),) = self._refused.most_common(1)
            structlog.get_logger().warning("refused: a key that is not listed", times=self._refused.total(), most=peer)
            self._refused.clear()


def tend(socket: zmq.Socket[bytes]) -> None:
    """Every turn, on the thread that owns a bound socket: peers who have to go leave. Never waits."""
    if isinstance(socket, Door) and socket.guard is not None:
        socket.guard.tend(socket)


def send_off_all_at(socket: zmq.Socket[bytes]) -> None:
    """Everybody who is connected to this bound socket, at its next `tend`."""
    if isinstance(socket, Door) and socket.guard is not None:
        socket.guard.send_off_all_at(socket)


def client_name(frame: zmq.Frame) -> str | None:
    """Whose message this is, by the key of its connection.

    None where no key says so: the peer is on this machine, or is the station itself, and is what it says it is.
    """
    try:
        name = frame.get("User-Id")
    except (zmq.ZMQError, UnicodeDecodeError):
        # Who needs no key may send a property of that name, and any bytes as its value; ZAP's word goes before it.
        return None
    return None if name == OWN else str(name)


def no_key(key: str, address: str) -> str:
    """What to say of an address that cannot be secured."""
    return f"{key}: peers at {address} need keys, and this station has none: goldline keys new"


def refuse_the_open(station: Station) -> Clients | None:
    """Who is let in; None where no address is for peers with keys. Raises GoldlineError where the station has no key."""
    needy = secured(station)
    if not needy:
        return None
    if load_station_key(station.keys_dir) is None:
        raise GoldlineError("\n".join(no_key(f"[events] {key}", getattr(station.events, key)) for key in needy))
    return load_clients(station.keys_dir)


def _make_room() -> None:
    """Whoever connects without a word holds a descriptor for HANDSHAKE_IVL: links and files need theirs all the same."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _stamp(path: Path) -> object:
    """Differs whenever the file does. None: there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size, status.st_mode
