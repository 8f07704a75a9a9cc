"""A USB3 Vision camera made of software: GenCP control, and leader, payload and trailer by bulk transfers.

Orders come as lines on stdin, each answered by a line: `unplug`, `plug_in`, `hang`, `resume`, `pulse N` (edges on Line0,
each as soon as it can take a picture), `rush N` (at once), `swallow N` (the next pictures are never sent), `short` (the
next lacks its second half).
"""

import queue
import struct
import sys
import threading
import time

import numpy as np

from tests.hardware import u3v_registers as registers
from tests.hardware.u3v_registers import ADDRESSES, Memory
from tests.hardware.usb_device import UsbDevice

MAKER, MODEL, SERIAL, GUID = "Goldline", "Bench U3V", "U3V-0001", "1D6B00000001"
_CONTROL, _STREAM = 1, 2
_COMMAND_MAGIC, _LEADER_MAGIC, _TRAILER_MAGIC = b"U3VC", b"U3VL", b"U3VT"
_READ, _WRITE = 0x0800, 0x0802
_OK, _NO_COMMAND, _NO_ADDRESS, _WRITE_PROTECTED = 0x0000, 0x8001, 0x8003, 0x8004
_IMAGE, _IMAGE_WITH_CHUNKS, _PICTURE_CHUNK = 0x0001, 0x4001, 0x0001
_LINE0 = 1
# What the host asks for is asked for within this, or nobody is there any more.
_PATIENCE_S = 1.0
_TURN_S = 0.02


def pixels(frame_id: int, size: int) -> np.ndarray:
    """The bytes of a picture by its id."""
    return ((np.arange(size, dtype=np.uint32) * 7 + frame_id * 13) % 251).astype(np.uint8)


def _configuration() -> bytes:
    """USB3 Vision 1.0.1, 3.3: a control and a streaming interface, which belong together."""
    # GenCP 1.3, USB3 Vision 1.0.1; the strings of GUID, vendor, model, ..., serial number; high speed.
    information = struct.pack("<BBBII9B", 20, 0x24, 1, 0x0001_0003, 0x0001_0001, 4, 1, 2, 0, 0, 0, 3, 0, 0x04)
    body = (
        bytes([8, 11, 0, 2, 0xEF, 5, 0, 0])
        + bytes([9, 4, 0, 0, 2, 0xEF, 5, 0, 0])
        + information
        + struct.pack("<BBBBHB", 7, 5, 0x80 | _CONTROL, 2, 512, 0)
        + struct.pack("<BBBBHB", 7, 5, _CONTROL, 2, 512, 0)
        + bytes([9, 4, 1, 0, 1, 0xEF, 5, 2, 0])
        + struct.pack("<BBBBHB", 7, 5, 0x80 | _STREAM, 2, 512, 0)
    )
    return struct.pack("<BBHBBBBB", 9, 2, 9 + len(body), 2, 1, 0, 0x80, 250) + body


class U3vCamera:
    """The device. Control is answered on a thread of its own, pictures are taken and sent on another."""

    def __init__(self) -> None:
        device = struct.pack("<BBHBBBBHHHBBBB", 18, 1, 0x0200, 0xEF, 2, 1, 64, 0x1D6B, 0x0105, 0x0100, 1, 2, 3, 1)
        self.usb = UsbDevice(device, _configuration(), [MAKER, MODEL, SERIAL, GUID], lambda *_transfer: None)
        self.usb.received = lambda _endpoint, command: self._commands.put(command)
        self._commands: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self.is_hanging, self.is_short = False, False
        self.to_swallow = 0
        # A picture that is to be taken or in the making.
        self._is_asked_for = threading.Event()
        # Which start of its acquisition this is, 0 while it has none.
        self._run = self._starts = 0
        self._frame_id = 0
        self.switch_on()

    def switch_on(self) -> None:
        """It has forgotten everything: its power comes by the cable."""
        self._run = 0
        self.memory = Memory(MAKER, MODEL, SERIAL)

    # --- the control channel

    def answer(self) -> None:
        """For ever: one command after another."""
        while True:
            command = self._commands.get()
            if not self.is_hanging and command[:4] == _COMMAND_MAGIC:
                self.usb.send(_CONTROL, self._answer_to(command), time.monotonic() + _PATIENCE_S)

    def _answer_to(self, command: bytes) -> bytes:
        _magic, _flags, number, length, request = struct.unpack_from("<4sHHHH", command)
        status, said = self._do(number, command[12 : 12 + length])
        return struct.pack("<4sHHHH", _COMMAND_MAGIC, status, number + 1, len(said), request) + said

    def _do(self, number: int, content: bytes) -> tuple[int, bytes]:
        if number not in (_READ, _WRITE):
            return _NO_COMMAND, b""
        address = struct.unpack_from("<Q", content)[0]
        count = struct.unpack_from("<H", content, 10)[0] if number == _READ else len(content) - 8
        if address + count > registers.MEMORY_BYTES:
            return _NO_ADDRESS, b""
        if number == _READ:
            self._refresh()
            return _OK, bytes(self.memory.bytes[address : address + count])
        if address == ADDRESSES["ExposureTime"] and self.memory.get("ExposureAuto"):
            return _WRITE_PROTECTED, b""
        self.memory.bytes[address : address + count] = content[8:]
        self._obey(address)
        return _OK, struct.pack("<HH", 0, count)

    def _refresh(self) -> None:
        """What other features decide."""
        payload = len(self._payload(0))
        self.memory.set("PayloadSize", payload)
        struct.pack_into("<Q", self.memory.bytes, registers.NEEDED_PAYLOAD, payload)

    def _obey(self, address: int) -> None:
        if address == ADDRESSES["AcquisitionStart"]:
            self._is_asked_for.clear()
            self._frame_id = 0
            self._run = self._starts = self._starts + 1
        elif address == ADDRESSES["AcquisitionStop"]:
            self._run = 0
        elif address == ADDRESSES["TriggerSoftware"] and not self.memory.get("TriggerSource"):
            self._fire()
        elif address == ADDRESSES["CounterReset"]:
            self.memory.set("CounterValue", 0)

    # --- pictures

    def edge(self) -> None:
        """A rising edge on Line0."""
        if self.memory.get("CounterEventSource") == _LINE0:
            self.memory.set("CounterValue", self.memory.get("CounterValue") + 1)
        if self.memory.get("TriggerSource") == _LINE0:
            self._fire()

    def _fire(self) -> None:
        if self._run and self.memory.get("TriggerMode"):
            self._is_asked_for.set()

    def pulse(self, count: int) -> None:
        """So many edges, none of which comes too soon."""
        for _ in range(count):
            while self._is_asked_for.is_set():
                time.sleep(0.001)
            self.edge()

    def take(self) -> None:
        """For ever: pictures by rate or by trigger."""
        next_s = time.monotonic()
        while True:
            if not self._run:
                time.sleep(_TURN_S / 4)
            elif self.memory.get("TriggerMode"):
                if self._is_asked_for.wait(_TURN_S):
                    time.sleep(self.memory.get("ExposureTime") / 1e6)
                    self._send(_PATIENCE_S)
                    self._is_asked_for.clear()
            else:
                period_s = 1 / self.memory.get("AcquisitionFrameRate")
                next_s = max(next_s + period_s, time.monotonic() - 2 * period_s)
                time.sleep(max(0.0, next_s - time.monotonic()))
                self._send(period_s / 2)

    def _send(self, patience_s: float) -> None:
        """One picture, whose sending begins within this time or not at all: the next one overwrites it."""
        run, frame_id = self._run, self._frame_id
        self._frame_id += 1
        if not run or self.is_hanging:
            return
        if self.to_swallow:
            self.to_swallow -= 1
            return
        payload = self._payload(frame_id)
        sent, self.is_short = (payload[: len(payload) // 2] if self.is_short else payload), False
        if self._transfer(self._leader(frame_id), run, patience_s):
            for part in self._parts(sent):
                self._transfer(part, run, _PATIENCE_S)
            trailer = struct.pack("<4sHHQHHQI", _TRAILER_MAGIC, 0, 32, frame_id, 0, 0, len(sent), self._size()[1])
            self._transfer(trailer, run, _PATIENCE_S)

    def _size(self) -> tuple[int, int]:
        return self.memory.get("Width"), self.memory.get("Height")

    def _leader(self, frame_id: int) -> bytes:
        kind = _IMAGE_WITH_CHUNKS if self.memory.get("ChunkModeActive") else _IMAGE
        shape = (registers.MONO8, *self._size(), 0, 0)
        header = struct.pack("<4sHHQ", _LEADER_MAGIC, 0, registers.LEADER_BYTES, frame_id)
        return header + struct.pack("<HHQ5IHH", 0, kind, time.monotonic_ns(), *shape, 0, 0)

    def _payload(self, frame_id: int) -> bytes:
        """The picture, and with chunks: each followed by its id and length."""
        width, height = self._size()
        picture = pixels(frame_id, width * height).tobytes()
        if not self.memory.get("ChunkModeActive"):
            return picture
        parts = [(_PICTURE_CHUNK, picture)]
        for index, name in enumerate(registers.CHUNKS):
            if self.memory.get("ChunkEnable", index):
                parts.append((registers.CHUNKS[name], struct.pack("<I", self.memory.get(name))))
        return b"".join(content + struct.pack("<II", identity, len(content)) for identity, content in parts)

    def _parts(self, payload: bytes) -> list[bytes]:
        """The payload in the sizes that the host wrote into the registers of the stream."""
        read = self.memory.read
        sizes = [read(registers.PAYLOAD_SIZE)] * read(registers.PAYLOAD_COUNT)
        sizes += [read(address) for address in registers.FINAL_SIZES]
        starts = [sum(sizes[:index]) for index in range(len(sizes))]
        parts = [payload[start : start + size] for start, size in zip(starts, sizes, strict=True)]
        return [part for part in parts if part]

    def _transfer(self, data: bytes, run: int, patience_s: float) -> bool:
        """Whether the host asked for it in time. It stops asking when it stops the camera."""
        until_s = time.monotonic() + patience_s
        while self._run == run and self.memory.read(registers.STREAM_CONTROL) & 1 and not self.is_hanging:
            turn_s = min(until_s, time.monotonic() + _TURN_S)
            if self.usb.send(_STREAM, data, turn_s):
                return True
            if turn_s == until_s:
                break
        return False

    def obey(self, order: list[str]) -> None:
        """One order of its surroundings."""
        match order:
            case ["unplug"]:
                self.usb.unplug()
            case ["plug_in"]:
                self.switch_on()
                self.usb.plug_in()
            case ["hang" | "resume" as word]:
                self.is_hanging = word == "hang"
            case ["pulse", count]:
                self.pulse(int(count))
            case ["rush", count]:
                for _ in range(int(count)):
                    self.edge()
            case ["swallow", count]:
                self.to_swallow = int(count)
            case ["short"]:
                self.is_short = True
            case _:
                raise ValueError(order)


def main() -> None:
    """Plugged in until nobody gives orders any more."""
    sys.setswitchinterval(0.0005)  # three threads answer one command after another
    camera = U3vCamera()
    camera.usb.plug_in()
    for work in (camera.answer, camera.take):
        threading.Thread(target=work, daemon=True).start()
    for line in sys.stdin:
        camera.obey(line.split())
        print("done", flush=True)


if __name__ == "__main__":
    main()
