"""The TCP side of the Modbus lane: who may connect, how many, and for how long in silence.

One thread, no waiting: a request is answered as soon as it is whole, in the order of its bytes. A client that sends what
is not Modbus, does not read its answers, or is silent for IDLE_S is let go; none of them keeps another waiting.
"""

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Network, IPv6Network, ip_address

import structlog

from edge.addresses import host_and_port
from edge.errors import GoldlineError
from edge.lanes import modbus_wire
from edge.lanes.modbus_wire import Bank, NotModbus
from edge.metrics import Counter, Gauge
from edge.poller import Poller

# A PLC has one or two, a panel and a service laptop another each.
MOST_CONNECTIONS = 16
# A PLC that lives asks many times a second; one that lost its cable leaves a connection behind.
IDLE_S = 60.0
# A place is wanted and none is left: who has been silent for this long gives way.
GIVE_WAY_S = 5.0
# Some 300 requests: more of one client's go on with the next turn.
READ_BYTES = 4096
BACKLOG = 16

Network = IPv4Network | IPv6Network


@dataclass
class _Client:
    socket: socket.socket
    address: str
    heard_s: float
    rest: bytes = b""


class Server:
    """Owns the listening socket and every connection; `close` lets them go."""

    def __init__(
        self,
        poller: Poller,
        listen: str,
        allow: Sequence[Network],
        bank: Bank,
        *,
        connections: Gauge,
        refused: Counter,
    ) -> None:
        """Listens from here on. `allow`: who may connect; empty: everybody that reaches the address.

        Raises GoldlineError when the address cannot be had.
        """
        self._poller, self._allow, self._bank = poller, allow, bank
        self._connections, self._refused = connections, refused
        self._clients: dict[int, _Client] = {}
        self._now_s = 0.0
        self._log = structlog.get_logger()
        self._listener = _listening(listen)
        poller.listen(self._listener.fileno(), self._accept)

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._listener.getsockname()[1]

    def turn(self, now_s: float) -> None:
        """Time has come to this: who has been silent for too long is let go."""
        self._now_s = now_s
        for client in list(self._clients.values()):
            if now_s - client.heard_s > IDLE_S:
                self._drop(client, "silent")

    def close(self) -> None:
        """Let every client go, and stop listening."""
        for client in list(self._clients.values()):
            self._drop(client, "the station stops")
        self._poller.forget(self._listener.fileno())
        self._listener.close()

    def _accept(self) -> None:
        try:
            connection, address = self._listener.accept()
        except OSError:  # it left before it was let in
            return
        if (problem := self._problem(address[0])) is not None:
            self._refused.inc()
            self._log.warning("a Modbus client is refused", address=address[0], problem=problem)
            connection.close()
            return
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client = _Client(connection, address[0], self._now_s)
        self._clients[connection.fileno()] = client
        self._poller.listen(connection.fileno(), partial(self._read, client))
        self._connections.set(len(self._clients))
        self._log.info("a Modbus client is connected", address=client.address)

    def _problem(self, address: str) -> str | None:
        """Why this one is not let in."""
        peer = ip_address(address.partition("%")[0])
        if self._allow and not any(peer in network for network in self._allow):
            return "not on the list of [lanes.modbus] allow"
        if len(self._clients) < MOST_CONNECTIONS:
            return None
        quietest = min(self._clients.values(), key=lambda client: client.heard_s)
        if self._now_s - quietest.heard_s < GIVE_WAY_S:
            return f"{MOST_CONNECTIONS} are connected already"
        self._drop(quietest, "it was silent, and another came")
        return None

    def _read(self, client: _Client) -> None:
        try:
            received = client.socket.recv(READ_BYTES)
            if not received:
                self._drop(client, "it left")
                return
            client.heard_s = self._now_s
            frames, client.rest = modbus_wire.split(client.rest + received)
            for frame in frames:
                self._send(client, modbus_wire.answer(frame, self._bank))
        except BlockingIOError:
            return
        except NotModbus as problem:
            self._drop(client, f"not Modbus: {problem}")
        except OSError as problem:
            self._drop(client, problem.strerror or str(problem))

    def _send(self, client: _Client, frame: bytes) -> None:
        try:
            sent = client.socket.send(frame)
        except BlockingIOError:
            sent = 0
        if sent < len(frame):
            raise OSError("it does not read its answers")

    def _drop(self, client: _Client, why: str) -> None:
        self._log.info("a Modbus client is gone", address=client.address, why=why)
        del self._clients[client.socket.fileno()]
        self._poller.forget(client.socket.fileno())
        client.socket.close()
        self._connections.set(len(self._clients))


def _listening(address: str) -> socket.socket:
    host, port = host_and_port(address)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, int(port)), family=family, backlog=BACKLOG)
    except OSError as problem:
        raise GoldlineError(f"[lanes.modbus] listen = {address}: {problem.strerror}") from problem
    listener.setblocking(False)
    return listener
