"""The TCP side of the Modbus lane: pyModbusTCP's server, a thread for each client, and a door in front of it.

Who is not to be let in (`modbus_guests.py`) is hung up on before anything of it is read. A client that sends what is not
Modbus or does not read its answers is hung up on too, by its own thread: it keeps nobody else waiting.
"""

import socket
import time
from collections.abc import Sequence
from socketserver import ThreadingTCPServer
from typing import Any

from pyModbusTCP.server import ModbusServer  # pyright: ignore[reportMissingTypeStubs] - it has none

from edge.addresses import host_and_port
from edge.errors import GoldlineError
from edge.lanes.modbus_guests import MOST_CONNECTIONS, Guests, Network
from edge.lanes.modbus_identity import Objects, identify
from edge.lanes.modbus_tables import Bank, RequestLock, Tables
from edge.metrics import Counter, Gauge

# Its accepting thread takes a moment to start; on a machine that gives it none for so long nothing else works either.
START_S = 10.0


class Server:
    """Owns the listening socket, and through it every connection; `close` lets them go."""

    def __init__(
        self,
        listen: str,
        allow: Sequence[Network],
        bank: Bank,
        *,
        identity: Objects,
        connections: Gauge,
        refused: Counter,
    ) -> None:
        """Listens from here on. `allow`: who may connect; empty: everybody that reaches the address.

        `identity`: what it says of itself. Raises GoldlineError when the address cannot be had.
        """
        self._guests = Guests(allow, connections, refused)
        self._tables = Tables(bank, self._guests)
        host, port = host_and_port(listen)
        service = _identified(self._guests, identity)
        self._server = service(host, int(port), no_block=True, ipv6=":" in host, data_hdl=self._tables)
        self._server.ModbusService = _service_of(self._guests)
        self._start(listen)

    @property
    def lock(self) -> RequestLock:
        """Held while no request is to be carried out."""
        return self._tables.lock

    def turn(self, now_s: float) -> None:
        """Time has come to this (`time.monotonic`). Raises RuntimeError where it no longer serves as it should."""
        self._guests.turn(now_s)
        if self.lock.broken is not None:
            raise RuntimeError("a Modbus client's request could not be carried out") from self.lock.broken
        if not self._server.is_run:
            raise RuntimeError("the Modbus server no longer listens")

    def close(self) -> None:
        """Let every client go, and stop listening: within a second, and the process need not wait for them."""
        self._tables.close()
        self._guests.close()
        self._server.stop()

    def _start(self, listen: str) -> None:
        # After a new start all may come at once; whom the queue of 5 has no place for tries again after a second.
        ThreadingTCPServer.request_queue_size = MOST_CONNECTIONS
        try:
            self._server.start()
        except (ModbusServer.NetworkError, OSError) as problem:
            cause = problem if isinstance(problem, OSError) else problem.args[0]
            raise GoldlineError(f"[lanes.modbus] listen = {listen}: {cause.strerror}") from problem
        end_s = time.monotonic() + START_S
        while not self._server.is_run:
            if time.monotonic() > end_s:
                raise RuntimeError("the Modbus server does not start")
            time.sleep(0.001)


class _Connection(socket.socket):
    """A client's socket, as pyModbusTCP 0.3.1 needs it."""

    def getpeername(self) -> Any:
        """Address and port. The library takes it apart in two, and IPv6 has four."""
        return super().getpeername()[:2]

    def sendall(self, data: Any, flags: int = 0, /) -> None:
        """All of it, or the end: the library would go on behind half an answer."""
        try:
            super().sendall(data, flags)
        except TimeoutError:
            raise ConnectionAbortedError("it does not read its answers") from None


def _identified(guests: Guests, identity: Objects) -> type[ModbusServer]:
    class Identified(ModbusServer):
        """The library's own answer to function 43 leaves the vendor's name out of all but its lowest level."""

        def _encapsulated_interface_transport(self, session_data: Any) -> None:
            guests.heard((session_data.client.address, session_data.client.port), time.monotonic())
            try:
                session_data.response.pdu.raw = identify(session_data.request.pdu.raw, identity)
            except ValueError as problem:
                raise ModbusServer.DataFormatError(str(problem)) from problem

    return Identified


def _service_of(guests: Guests) -> type[ModbusServer.ModbusService]:
    class Service(ModbusServer.ModbusService):
        """What a client's thread does."""

        def setup(self) -> None:
            self.request = _Connection(fileno=self.request.detach())
            super().setup()

        def handle(self) -> None:
            guest = guests.admit(self.request, self.client_address[:2], time.monotonic())
            if guest is not None:
                try:
                    super().handle()
                finally:
                    guests.leave(guest)

        def finish(self) -> None:
            self.request.close()

    return Service
