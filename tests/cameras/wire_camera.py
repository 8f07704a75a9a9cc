"""A GigE Vision camera in plain Python, written from the standard: nothing in it is libaravis or this project's.

    python -m tests.cameras.wire_camera --interface 127.0.0.4 --serial WC4 [--extended-ids] [--no-resend] [--exclusive]
    (and --refuse GainSelector=DigitalAll: an entry that its description lists, and that it does not take)

It can what libaravis' simulation cannot: sends lost packets again, chunk data, a counter of its input's edges, bursts,
a packet delay, 64-bit frame ids, automatic features that were left on, a trigger that was left waiting. Lines on stdin
are its surroundings (`pulse 3`), each answered by a JSON line on stdout with everything it is set to and has counted:

    pulse [N]      N edges on Line0, one after another as soon as it can take the next picture
    rush N         N edges at once: all but the first come while it is busy
    lose K...      the next frame's packets K are lost once     lose-ever K...  and again when asked for
    swallow N      the next N pictures are taken and never sent
    report         nothing
"""

import argparse
import json
import select
import socket
import struct
import sys
import time

import numpy as np

from tests.cameras import wire_camera_registers as registers
from tests.cameras.wire_camera_registers import ADDRESSES, SELECTORS, Memory
from tests.cameras.wire_camera_stream import Picture, Stream

PORT = 3956
_OK, _ACCESS_DENIED = 0x0000, 0x8006
_READ_OUT_S = 0.002
# What it takes instead of more: ticks between packets, bytes of one.
_LARGEST = {registers.PACKET_DELAY: 100_000, registers.PACKET_SIZE: 8000}
_FRAME_START, _BURST = (SELECTORS["TriggerSelector"].index(name) for name in ("FrameStart", "FrameBurstStart"))
_SOFTWARE, _LINE0 = 0, 1


def pixels(picture: int, size: int) -> np.ndarray:
    """The bytes of the so-manieth picture, counted from 1."""
    return ((np.arange(size, dtype=np.uint32) * 7 + picture * 13) % 251).astype(np.uint8)


class Sensor:
    """Takes pictures when it is told to, one after another; what comes while it is busy is only counted."""

    def __init__(self, memory: Memory, stream: Stream) -> None:
        self.memory, self.stream = memory, stream
        self.is_running = False
        self.pictures = 0
        self._due: list[float] = []
        self._free_at = 0.0

    def edge(self) -> None:
        """A rising edge on Line0."""
        memory = self.memory
        for counter in range(len(SELECTORS["CounterSelector"])):
            if memory.get("CounterEventSource", counter) == 1:
                memory.set("CounterValue", memory.get("CounterValue", counter) + 1, counter)
        for selector in (_FRAME_START, _BURST):
            if memory.get("TriggerMode", selector) and memory.get("TriggerSource", selector) == _LINE0:
                self.fire(memory.get("AcquisitionBurstFrameCount") if selector == _BURST else 1)

    def software(self) -> None:
        """The command TriggerSoftware, of the trigger that is selected."""
        selector = self.memory.get("TriggerSelector")
        if self.memory.get("TriggerMode", selector) and self.memory.get("TriggerSource", selector) == _SOFTWARE:
            self.fire(self.memory.get("AcquisitionBurstFrameCount") if selector == _BURST else 1)

    def fire(self, count: int) -> None:
        """Begins so many pictures, unless it is busy."""
        if self.is_running and not self.is_busy():
            picture_s = self.memory.get("ExposureTime") / 1e6 + _READ_OUT_S
            begun = time.monotonic() + self.memory.get("TriggerDelay") / 1e6
            self._due = [begun + picture_s * index for index in range(1, count + 1)]

    def is_busy(self) -> bool:
        """Whether a picture is in the making."""
        return bool(self._due)

    def _is_free_running(self) -> bool:
        # Whatever trigger is on is waited for, its maker's leftovers included.
        return not any(self.memory.get("TriggerMode", index) for index in range(len(SELECTORS["TriggerSelector"])))

    def work(self) -> float:
        """Sends what is due; how long it can wait until there is more."""
        now = time.monotonic()
        if self.is_running and self._is_free_running() and not self._due and now >= self._free_at:
            self._free_at = max(now, self._free_at + 1 / self.memory.get("AcquisitionFrameRate"))
            self.fire(1)
        while self._due and self._due[0] <= now:
            self._due.pop(0)
            self._send()
        following = self._due[:1] or ([self._free_at] if self.is_running and self._is_free_running() else [])
        return max(0.0, min([0.05, *(at - time.monotonic() for at in following)]))

    def picture_bytes(self) -> int:
        """Bytes of the pixels alone, by the bits that the format's code tells."""
        bits = self.memory.get("PixelFormat") >> 16 & 0xFF
        return self.memory.get("Width") * self.memory.get("Height") * bits // 8

    def _chunks(self) -> list[tuple[int, bytes]]:
        memory = self.memory
        contents = {
            "CounterValue": struct.pack(">I", memory.get("CounterValue")),
            "ExposureTime": struct.pack(">I", memory.get("ExposureTime")),
            "Timestamp": struct.pack(">Q", ticks()),
        }
        on = [it for index, it in enumerate(SELECTORS["ChunkSelector"]) if memory.get("ChunkEnable", index)]
        return [(registers.CHUNKS[it], contents[it]) for it in on] if memory.get("ChunkModeActive") else []

    def payload_bytes(self) -> int:
        """Bytes of a frame, chunks included."""
        empty = Picture(b"", (0, 0, 0), 0, self._chunks())
        return self.picture_bytes() + len(empty.payload())

    def _send(self) -> None:
        memory, self.pictures = self.memory, self.pictures + 1
        shape = memory.get("Width"), memory.get("Height"), memory.get("PixelFormat")
        picture = Picture(pixels(self.pictures, self.picture_bytes()).tobytes(), shape, ticks(), self._chunks())
        host = socket.inet_ntoa(struct.pack(">I", memory.read(registers.HOST_ADDRESS)))
        port = memory.read(registers.HOST_PORT) & 0xFFFF
        if port:
            self.stream.send(picture, (host, port), memory.read(registers.PACKET_SIZE) & 0xFFFF)


def ticks() -> int:
    """The device's clock."""
    return time.monotonic_ns() * registers.TICK_HZ // 1_000_000_000


class Control:
    """The control channel: who may write, and what writing does."""

    def __init__(self, memory: Memory, sensor: Sensor, *, is_exclusive: bool, refused: str) -> None:
        self._memory, self._sensor, self._is_exclusive = memory, sensor, is_exclusive
        selector, _, entry = refused.partition("=")
        self._refused = (ADDRESSES[selector], SELECTORS[selector].index(entry)) if refused else None
        self._owner: tuple[str, int] | None = None
        self._heard = 0.0

    def answer(self, packet: bytes, sender: tuple[str, int]) -> bytes | None:
        """The acknowledgement of a command; None where there is none."""
        self._forget_dead_owner()
        _key, flags, command, length, request = struct.unpack_from(">BBHHH", packet)
        content = packet[8 : 8 + length]
        if sender == self._owner:
            self._heard = time.monotonic()
        if self._is_exclusive and self._owner not in {None, sender} and command in {0x80, 0x82, 0x84, 0x86}:
            return struct.pack(">HHHH", _ACCESS_DENIED, command + 1, 0, request)
        status, said = self._do(command, content, sender, is_extended=bool(flags & 0x10))
        return None if said is None else struct.pack(">HHHH", status, command + 1, len(said), request) + said

    def _forget_dead_owner(self) -> None:
        if self._owner and time.monotonic() - self._heard > self._memory.read(registers.HEARTBEAT_MS) / 1e3:
            self._owner = None
            self._memory.write(registers.PRIVILEGE, 0)

    def _do(
        self, command: int, content: bytes, sender: tuple[str, int], *, is_extended: bool
    ) -> tuple[int, bytes | None]:
        memory = self._memory
        match command:
            case 0x02:  # discovery
                return _OK, bytes(memory.bytes[: registers.DISCOVERY_BYTES])
            case 0x40:  # packet resend, which has no answer
                self._sensor.stream.resend(content, extended=is_extended)
                return _OK, None
            case 0x80:  # read registers
                addresses = struct.unpack(f">{len(content) // 4}I", content)
                return _OK, b"".join(struct.pack(">I", self._read(address)) for address in addresses)
            case 0x82 | 0x86:  # write a register, or memory that is one
                address, value = struct.unpack(">II", content)
                status = self._write(address, value, sender)
                written = 1 if command == 0x82 else 4
                return status, struct.pack(">HH", 0, written if status == _OK else 0)
            case 0x84:  # read memory
                address, count = struct.unpack_from(">IHH", content)[::2]
                self._read(address)
                return _OK, struct.pack(">I", address) + bytes(memory.bytes[address : address + count])
            case _:
                return _ACCESS_DENIED, b""

    def _read(self, address: int) -> int:
        if address == ADDRESSES["PayloadSize"]:
            self._memory.set("PayloadSize", self._sensor.payload_bytes())
        return self._memory.read(address)

    def _write(self, address: int, value: int, sender: tuple[str, int]) -> int:
        if self._owner not in (None, sender) or (self._owner is None and address != registers.PRIVILEGE):
            return _ACCESS_DENIED
        if address == ADDRESSES["ExposureTime"] and self._memory.get("ExposureAuto"):
            return _ACCESS_DENIED  # it sets that itself
        if (address, value) == self._refused:
            return _ACCESS_DENIED
        self._memory.write(address, min(value, _LARGEST.get(address, value)))
        if address == registers.PRIVILEGE:
            self._owner, self._heard = (sender if value else None), time.monotonic()
        self._obey(address)
        return _OK

    def _obey(self, address: int) -> None:
        if address == ADDRESSES["AcquisitionStart"]:
            self._sensor.is_running = True
        elif address == ADDRESSES["AcquisitionStop"]:
            self._sensor.is_running = False
        elif address == ADDRESSES["TriggerSoftware"]:
            self._sensor.software()
        elif ADDRESSES["CounterReset"] <= address < ADDRESSES["CounterReset"] + 0x40:
            self._memory.set("CounterValue", 0, (address - ADDRESSES["CounterReset"]) // 4)


class Surroundings:
    """What stdin asks for."""

    def __init__(self, sensor: Sensor) -> None:
        self._sensor = sensor
        self._pulses = 0

    def obey(self, line: str) -> None:
        """One order."""
        word, *rest = line.split()
        numbers = [int(number) for number in rest]
        stream = self._sensor.stream
        match word:
            case "pulse":
                self._pulses += numbers[0] if numbers else 1
            case "rush":
                for _ in range(numbers[0]):
                    self._sensor.edge()
            case "lose" | "lose-ever":
                stream.to_lose, stream.is_loss_lasting = set(numbers), word == "lose-ever"
            case "swallow":
                stream.to_swallow = numbers[0]
            case "report":
                pass
            case _:
                raise ValueError(line)
        counted = {
            "pictures": self._sensor.pictures,
            "resend_requests": stream.resend_requests,
            "resent": stream.resent,
        }
        bootstrap = {"packet_delay": self._sensor.memory.read(registers.PACKET_DELAY)}
        sys.stdout.write(json.dumps(self._sensor.memory.state() | counted | bootstrap) + "\n")
        sys.stdout.flush()

    def work(self) -> None:
        """The next pulse, as soon as the last one's picture is done."""
        if self._pulses and not self._sensor.is_busy():
            self._pulses -= 1
            self._sensor.edge()


def serve(arguments: argparse.Namespace) -> None:
    """Answers until stdin ends."""
    own = _bound(arguments.interface)
    sockets = [own, _bound("255.255.255.255")]
    memory = Memory(arguments.interface, arguments.serial, arguments.name)
    sensor = Sensor(memory, Stream(arguments.interface, extended=arguments.extended_ids))
    memory.write(registers.SOURCE_PORT, sensor.stream.port())
    if arguments.no_resend:
        memory.write(registers.CAPABILITIES, registers.CAN & ~registers.CAN_RESEND)
    control = Control(memory, sensor, is_exclusive=arguments.exclusive, refused=arguments.refuse)
    surroundings = Surroundings(sensor)
    while True:
        ready, _writable, _failed = select.select([*sockets, sys.stdin], [], [], sensor.work())
        for source in ready:
            if source is sys.stdin:
                line = sys.stdin.readline()
                if not line:
                    return
                surroundings.obey(line)
            else:
                packet, sender = source.recvfrom(2048)
                if (answer := control.answer(packet, sender)) is not None:
                    own.sendto(answer, sender)
        surroundings.work()


def _bound(address: str) -> socket.socket:
    answering = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    answering.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    answering.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    answering.bind((address, PORT))
    return answering


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--interface", default="127.0.0.1")
    parser.add_argument("--serial", default="WC1")
    parser.add_argument("--name", default="")
    parser.add_argument("--extended-ids", action="store_true")
    parser.add_argument("--no-resend", action="store_true")
    parser.add_argument("--exclusive", action="store_true", help="while it is controlled, answers nobody else")
    parser.add_argument("--refuse", default="", metavar="SELECTOR=ENTRY")
    serve(parser.parse_args())
