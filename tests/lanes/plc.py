"""A PLC for tests: another maker's Modbus client, and the small program that the documentation asks of an engineer."""

import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

from pymodbus.client import ModbusTcpClient
from pymodbus.exceptions import ModbusException

from edge.lanes import modbus_map as layout
from edge.lanes.modbus_map import BITS, HOLDING, INPUTS, Bit, Field

PATIENCE_S = 60.0
STATUS = {bit.name: bit for bit in layout.CHANNEL_STATUS}
CONTROLS = {bit.name: bit for bit in layout.CHANNEL_CONTROLS}


@dataclass(frozen=True)
class Inputs:
    """What was read of a block in one request."""

    bits: dict[str, bool]
    values: dict[str, Any]

    def __getattr__(self, name: str) -> Any:
        return self.bits[name] if name in self.bits else self.values[name]


def of_registers(words: list[int], bits: tuple[Bit, ...], fields: tuple[Field, ...]) -> Inputs:
    values: dict[str, Any] = {}
    for field in fields:
        raw = b"".join(word.to_bytes(2, "big") for word in words[field.at : field.at + field.words])
        is_text = field.kind == "text"
        values[field.name] = (
            raw.rstrip(b"\0").decode() if is_text else int.from_bytes(raw, "big", signed=field.kind == "i32")
        )
    return Inputs({bit.name: bool(values["status"] >> bit.at & 1) for bit in bits}, values)


class Plc:
    """One connection to a lane, and what a program does over it with one channel (from 1 on)."""

    def __init__(self, port: int, channel: int = 1, host: str = "127.0.0.1") -> None:
        self._client = ModbusTcpClient(host, port=port, timeout=5, retries=0)
        self._channel = channel

    def __enter__(self) -> Self:
        until(self._client.connect, "the lane to listen")
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def inputs(self) -> Inputs:
        words = self.read_inputs(self._channel * INPUTS, INPUTS)
        return of_registers(words, layout.CHANNEL_STATUS, layout.CHANNEL_INPUTS)

    def station(self) -> Inputs:
        return of_registers(self.read_inputs(0, INPUTS), layout.STATION_STATUS, layout.STATION_INPUTS)

    def read_inputs(self, start: int, count: int) -> list[int]:
        return self._sure(self._client.read_input_registers(start, count=count)).registers

    def read_holding(self, start: int, count: int) -> list[int]:
        return self._sure(self._client.read_holding_registers(start, count=count)).registers

    def status(self, name: str) -> bool:
        """By the discrete inputs."""
        at = self._channel * BITS + STATUS[name].at
        return bool(self._sure(self._client.read_discrete_inputs(at, count=1)).bits[0])

    def set(self, name: str, value: bool) -> None:
        self._sure(self._client.write_coil(self._channel * BITS + CONTROLS[name].at, value))

    def identify(self, unit_identifier: str) -> None:
        at = self._channel * HOLDING + layout.IDENTIFIER_AT
        raw = unit_identifier.encode().ljust(32, b"\0")
        words = [int.from_bytes(raw[place : place + 2], "big") for place in range(0, 32, 2)]
        self._sure(self._client.write_registers(at, words))

    def wait(self, *names: str) -> Inputs:
        """Until all of these bits are set."""
        return self.wait_for(lambda seen: all(seen.bits[name] for name in names), " and ".join(names))

    def wait_for(self, condition: Callable[[Inputs], bool], what: str) -> Inputs:
        """Until what is read is so. A lane that restarts closes the connection: it is opened again."""
        seen: list[Inputs] = []

        def look() -> bool:
            seen[:] = [self.sturdily(self.inputs)]
            return condition(seen[0])

        until(look, what)
        return seen[0]

    def sturdily(self, do: Callable[[], Any]) -> Any:
        """Do it, once more where the connection was lost."""
        end_s = time.monotonic() + PATIENCE_S
        while True:
            try:
                return do()
            except (ModbusException, OSError):
                assert time.monotonic() < end_s
                self._client.close()
                time.sleep(0.05)
                self._client.connect()

    def take(self) -> Inputs:
        """Take one result: read it, acknowledge it, and see it gone."""
        result = self.wait("valid")
        self.sturdily(lambda: self.set("ack", True))
        self.wait_for(lambda seen: not seen.valid, "valid to fall")
        self.sturdily(lambda: self.set("ack", False))
        return result

    def trigger(self, unit_identifier: str = "") -> Inputs:
        """Ask for one trigger, and wait for what becomes of it: `trigger_ack` or `missed`."""
        self.wait("ready")
        self.sturdily(lambda: self.identify(unit_identifier))
        self.sturdily(lambda: self.set("trigger", True))
        told = self.wait_for(lambda seen: seen.trigger_ack or seen.missed, "the trigger's fate")
        self.sturdily(lambda: self.set("trigger", False))
        return told

    @staticmethod
    def _sure(answer: Any) -> Any:
        assert not answer.isError(), answer
        return answer


def until(condition: Callable[[], Any], what: str) -> Any:
    end_s = time.monotonic() + PATIENCE_S
    while not (found := condition()):
        assert time.monotonic() < end_s, f"waited in vain for {what}"
        time.sleep(0.001)
    return found


def hung_up(peer: socket.socket) -> bool:
    try:
        return peer.recv(1) == b""
    except ConnectionResetError:
        return True
