"""Who holds a connection to the OPC UA server, from where, and for how long without a session. Pure: time is an argument.

Anybody may open a connection, to ask for the endpoints: only a session tells who it is. So that strangers take no place
from clients,
1. a connection without a session is hung up on after a while;
2. one address has a few of them at a time;
3. where no place is left for another, the one that is without a session the longest gives way.
"""

from dataclasses import dataclass, field
from typing import Protocol

import structlog

from edge.metrics import Counter, Gauge

# PLCs, an MES and an engineer's browser; each connection may cost some megabytes.
MOST_CONNECTIONS = 16
# Connection, channel and session take less than a second, over a slow network some; tools that ask for the endpoints
# first open a connection for that alone.
SESSION_WITHIN_S = 10.0
# Several programs on one machine, each of which has one or two until its session stands.
MOST_WITHOUT_SESSION = 4


class Connection(Protocol):
    """What is asked of a connection."""

    @property
    def address(self) -> str:
        """Where it comes from, without the port."""
        ...

    @property
    def has_session(self) -> bool:
        """Whether it has a session that was activated."""
        ...

    def hang_up(self) -> None:
        """End it, at once and whatever was still to be said."""
        ...


@dataclass(eq=False)
class _Guest:
    connection: Connection
    # The last time that it was seen with a session, or that it came.
    since_s: float


@dataclass
class Door:
    """Those that are let in. Times are of one clock, in seconds."""

    connections: Gauge
    refused: Counter
    _guests: list[_Guest] = field(default_factory=list[_Guest])

    def admit(self, connection: Connection, now_s: float) -> bool:
        """Let this one in, or hang up on it."""
        if (problem := self._problem(connection.address)) is not None:
            self.refused.inc()
            structlog.get_logger().warning(
                "an OPC UA connection is refused", address=connection.address, problem=problem
            )
            connection.hang_up()
            return False
        self._guests.append(_Guest(connection, now_s))
        self.connections.set(len(self._guests))
        return True

    def leave(self, connection: Connection) -> None:
        """It is gone. One that was not let in, or was hung up on, is none of ours."""
        self._guests = [guest for guest in self._guests if guest.connection is not connection]
        self.connections.set(len(self._guests))

    def turn(self, now_s: float) -> None:
        """Time has come to this: hang up on whoever has been without a session for too long."""
        for guest in list(self._guests):
            if guest.connection.has_session:
                guest.since_s = now_s
            elif now_s - guest.since_s > SESSION_WITHIN_S:
                self._hang_up(guest, f"it had no session for {SESSION_WITHIN_S:g} s")

    def _problem(self, address: str) -> str | None:
        """Why another connection from there is not let in. Makes room where it can."""
        waiting = [guest for guest in self._guests if not guest.connection.has_session]
        if sum(guest.connection.address == address for guest in waiting) >= MOST_WITHOUT_SESSION:
            return f"{MOST_WITHOUT_SESSION} from there have no session yet"
        if len(self._guests) < MOST_CONNECTIONS:
            return None
        if not waiting:
            return f"{MOST_CONNECTIONS} clients are connected already"
        self._hang_up(min(waiting, key=lambda guest: guest.since_s), "it had no session, and another came")
        return None

    def _hang_up(self, guest: _Guest, why: str) -> None:
        structlog.get_logger().info("an OPC UA connection is ended", address=guest.connection.address, why=why)
        guest.connection.hang_up()
        self.leave(guest.connection)
