"""Who is connected to the Modbus lane: from where, how many, and for how long in silence.

Threads of clients come and go here, and the lane's loop looks after the silent ones. Hanging up on somebody is to shut
the connection down: the thread that reads it finds the end of it, and closes it.
"""

import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from threading import Lock

import structlog

from edge.metrics import Counter, Gauge

# A PLC has one or two, a panel and a service laptop another each.
MOST_CONNECTIONS = 16
# A PLC that lives asks many times a second; one that lost its cable leaves a connection behind.
IDLE_S = 60.0
# A place is wanted and none is left: who has been silent for this long gives way.
GIVE_WAY_S = 5.0

Network = IPv4Network | IPv6Network
# Address and port: which connection of this server it is.
Peer = tuple[str, int]


@dataclass(eq=False)
class Guest:
    """One connection. `heard_s` is the time of its last request."""

    connection: socket.socket
    peer: Peer
    heard_s: float
    why: str = "it left, or what it sent is no Modbus"


class Guests:
    """Those that are let in. Every method may be called from any thread; times are of one clock, in seconds."""

    def __init__(self, allow: Sequence[Network], connections: Gauge, refused: Counter) -> None:
        """`allow`: who may connect; empty: everybody that reaches the address."""
        self._allow, self._connections, self._refused = allow, connections, refused
        self._lock = Lock()
        self._guests: dict[Peer, Guest] = {}
        self._is_open = True
        self._log = structlog.get_logger()

    def admit(self, connection: socket.socket, peer: Peer, now_s: float) -> Guest | None:
        """Let this one in; None: it is refused, and nothing of it is to be read."""
        with self._lock:
            if (problem := self._problem(peer[0], now_s)) is not None:
                self._refused.inc()
                self._log.warning("a Modbus client is refused", address=peer[0], problem=problem)
                return None
            guest = self._guests[peer] = Guest(connection, peer, now_s)
            self._connections.set(len(self._guests))
        self._log.info("a Modbus client is connected", address=peer[0])
        return guest

    def heard(self, peer: Peer, now_s: float) -> None:
        """It has sent a request."""
        guest = self._guests.get(peer)
        if guest is not None:
            guest.heard_s = now_s

    def leave(self, guest: Guest) -> None:
        """Its thread is done with it."""
        with self._lock:
            self._forget(guest)
        self._log.info("a Modbus client is gone", address=guest.peer[0], why=guest.why)

    def turn(self, now_s: float) -> None:
        """Time has come to this: hang up on whoever has been silent for too long."""
        with self._lock:
            for guest in list(self._guests.values()):
                if now_s - guest.heard_s > IDLE_S:
                    self._hang_up(guest, "silent")

    def close(self) -> None:
        """Hang up on everybody, and let nobody in any more."""
        with self._lock:
            self._is_open = False
            for guest in list(self._guests.values()):
                self._hang_up(guest, "the station stops")

    def _problem(self, address: str, now_s: float) -> str | None:
        """Why this one is not let in."""
        peer = _plain(address)
        if not self._is_open:
            return "the station stops"
        if self._allow and not any(peer in network for network in self._allow):
            return "not on the list of [lanes.modbus] allow"
        if len(self._guests) < MOST_CONNECTIONS:
            return None
        quietest = min(self._guests.values(), key=lambda guest: guest.heard_s)
        if now_s - quietest.heard_s < GIVE_WAY_S:
            return f"{MOST_CONNECTIONS} are connected already"
        self._hang_up(quietest, "it was silent, and another came")
        return None

    def _hang_up(self, guest: Guest, why: str) -> None:
        guest.why = why
        self._forget(guest)
        with suppress(OSError):  # it has left already
            guest.connection.shutdown(socket.SHUT_RDWR)

    def _forget(self, guest: Guest) -> None:
        if self._guests.get(guest.peer) is guest:
            del self._guests[guest.peer]
            self._connections.set(len(self._guests))


def _plain(address: str) -> IPv4Address | IPv6Address:
    """Without the interface; an IPv4 client of an IPv6 socket as the IPv4 address that it has."""
    peer = ip_address(address.partition("%")[0])
    return (peer.ipv4_mapped or peer) if isinstance(peer, IPv6Address) else peer
