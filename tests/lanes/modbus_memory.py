"""The Modbus server of the lane, in this process and with plain tables behind it; and a client that sends any bytes."""

import socket
import struct
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from ipaddress import ip_network
from typing import TypeVar

from edge.lanes.modbus_identity import objects_of
from edge.lanes.modbus_server import Server
from edge.lanes.modbus_tables import BitTable, NoSuchAddress, WordTable
from edge.metrics import Counter, Gauge
from edge.rehearsal import free_ports
from tests.lanes.plc import until

SIZE = 100
Value = TypeVar("Value")


class Memory:
    """Plain tables, all of the same size."""

    def __init__(self) -> None:
        self.bits = {"coils": [False] * SIZE, "discrete_inputs": [at % 3 == 0 for at in range(SIZE)]}
        self.words = {"holding_registers": [0] * SIZE, "input_registers": list(range(SIZE))}

    def read_bits(self, table: BitTable, start: int, count: int) -> Sequence[bool]:
        return self._part(self.bits[table], start, count)

    def read_words(self, table: WordTable, start: int, count: int) -> Sequence[int]:
        return self._part(self.words[table], start, count)

    def write_bits(self, start: int, values: Sequence[bool]) -> None:
        self._part(self.bits["coils"], start, len(values))
        self.bits["coils"][start : start + len(values)] = values

    def write_words(self, start: int, values: Sequence[int]) -> None:
        self._part(self.words["holding_registers"], start, len(values))
        self.words["holding_registers"][start : start + len(values)] = values

    @staticmethod
    def _part(table: list[Value], start: int, count: int) -> list[Value]:
        if start + count > SIZE:
            raise NoSuchAddress
        return table[start : start + count]


class Serving:
    """A server with a bank, and how many are connected to it."""

    def __init__(self, bank: Memory, host: str, allow: Sequence[str]) -> None:
        (self.port,) = free_ports(1)
        self.host, self.bank = host, bank
        self._values = memoryview(bytearray(16)).cast("d")
        listen = f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"
        self.server = Server(
            listen,
            [ip_network(one) for one in allow],
            bank,
            identity=objects_of("cell-7"),
            connections=Gauge(self._values, 0),
            refused=Counter(self._values, 1),
        )

    @property
    def connections(self) -> int:
        return int(self._values[0])

    @property
    def refused(self) -> int:
        return int(self._values[1])

    def connect(self, host: str | None = None) -> socket.socket:
        return socket.create_connection((host or self.host, self.port), timeout=30)

    def exchange(self, stream: bytes, step: int = 65_536) -> bytes:
        """All that comes back for these bytes, sent in pieces, to the end of the connection."""
        until(lambda: self.connections == 0, "who was there before to be gone")
        received = b""
        with self.connect() as peer:
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                for at in range(0, len(stream), step):
                    peer.sendall(stream[at : at + step])
                peer.shutdown(socket.SHUT_WR)
                while part := peer.recv(65_536):
                    received += part
            except OSError:  # hung up on in the middle
                pass
        return received

    def turn(self, later_s: float = 0.0) -> None:
        self.server.turn(time.monotonic() + later_s)


@contextmanager
def serving(bank: Memory | None = None, host: str = "127.0.0.1", allow: Sequence[str] = ()) -> Iterator[Serving]:
    made = Serving(bank or Memory(), host, allow)
    with closing(made.server):
        yield made


def framed(pdu: bytes, transaction: int = 1, unit: int = 1) -> bytes:
    return struct.pack(">HHHB", transaction, 0, len(pdu) + 1, unit) + pdu


def frames_of(stream: bytes) -> list[bytes]:
    """The whole frames in front of the first that is none."""
    frames: list[bytes] = []
    while len(stream) >= 7:
        _, protocol, length, _ = struct.unpack_from(">HHHB", stream)
        if protocol != 0 or not 2 < length < 256 or len(stream) < 6 + length:
            break
        frames.append(stream[: 6 + length])
        stream = stream[6 + length :]
    return frames


def ask(peer: socket.socket, pdu: bytes) -> bytes:
    """The answer's PDU. Raises ConnectionError where there is none."""
    peer.sendall(framed(pdu))
    answer = b""
    while not (frames := frames_of(answer)):
        part = peer.recv(300)
        if not part:
            raise ConnectionAbortedError
        answer += part
    return frames[0][7:]
