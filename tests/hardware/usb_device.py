"""A USB device made of software, plugged into this kernel by USB/IP (<linux>/Documentation/usb/usbip_protocol.rst).

The kernel's `vhci-hcd` is a USB controller whose devices are at the other end of a socket: it sends transfers and gets
answers. To everything above it (uvcvideo, libusb) the device is as real as one on a cable.
"""

import contextlib
import errno
import select
import socket
import struct
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable
from pathlib import Path

_CONTROLLER = Path("/sys/devices/platform/vhci_hcd.0")
_SUBMIT, _UNLINK, _SUBMITTED, _UNLINKED = 1, 2, 3, 4
_HEADER_BYTES = 48
_HIGH_SPEED, _PORT, _DEVICE_ID = 3, 0, 2
GET_DESCRIPTOR, _SET_CONFIGURATION, _SET_INTERFACE, _CLEAR_FEATURE, _GET_STATUS = 0x06, 0x09, 0x0B, 0x01, 0x00
_SET_FEATURE = 0x03
# How long the kernel may take to let go of a device that was unplugged.
_LEAVE_S = 10.0
# While what the host said is being heard.
_TURN_S = 0.001

# (request type, request, value, index, length, data) of a control transfer: the answer, or None to refuse.
Control = Callable[[int, int, int, int, int, bytes], bytes | None]


class UsbDevice:
    """Descriptors, and what it does. `received` takes what comes to an OUT endpoint; both run on the device's thread."""

    def __init__(self, device: bytes, configuration: bytes, strings: list[str], control: Control) -> None:
        self._descriptors = {0x0100: device, 0x0200: configuration, 0x0300: b"\x04\x03\x09\x04"}
        for number, text in enumerate(strings, 1):
            encoded = text.encode("utf-16-le")
            self._descriptors[0x0300 + number] = bytes([2 + len(encoded), 3]) + encoded
        self._control = control
        self.received: Callable[[int, bytes], None] = lambda _endpoint, _data: None
        self._socket: socket.socket | None = None
        # Transfers by which the host waits for data, by endpoint.
        self._waiting: dict[int, deque[tuple[int, int]]] = defaultdict(deque)
        self._changed = threading.Condition()

    def plug_in(self) -> None:
        """The kernel sees the device from now on."""
        ours, kernels = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with self._changed:
            self._socket, self._waiting = ours, defaultdict(deque)
        threading.Thread(target=self._serve, args=(ours,), daemon=True).start()
        self._attach(f"{_PORT} {kernels.fileno()} {_DEVICE_ID} {_HIGH_SPEED}")
        kernels.close()

    @staticmethod
    def _attach(order: str) -> None:
        """The port is taken until the kernel let the device before go."""
        until_s = time.monotonic() + _LEAVE_S
        while True:
            try:
                (_CONTROLLER / "attach").write_text(order)
            except OSError:
                if time.monotonic() > until_s:
                    raise
                time.sleep(0.05)
            else:
                return

    def unplug(self) -> None:
        """Gone, in the middle of whatever there is."""
        with self._changed:
            link, self._socket = self._socket, None
            if link is not None:
                link.shutdown(socket.SHUT_RDWR)  # the thread that listens to it closes it

    def send(self, endpoint: int, data: bytes, until_s: float) -> bool:
        """One transfer to the host, which is told if it asked for less. False when it did not ask in time."""
        with self._changed:
            while not self._waiting[endpoint] or self._has_more_to_say():
                left_s = until_s - time.monotonic()
                if left_s <= 0:
                    return False
                self._changed.wait(min(left_s, _TURN_S) if self._waiting[endpoint] else left_s)
            sequence, room = self._waiting[endpoint].popleft()
            self._answer(sequence, 0 if len(data) <= room else -errno.EOVERFLOW, data[:room])
            return True

    def _has_more_to_say(self) -> bool:
        """Whether the host said something that was not heard yet, such as that it does not ask any more."""
        return self._socket is not None and bool(select.select([self._socket], [], [], 0)[0])

    def _serve(self, link: socket.socket) -> None:
        with link, contextlib.suppress(OSError):  # unplugged meanwhile
            while link is self._socket:
                select.select([link], [], [])
                with self._changed:
                    header = _exactly(link, _HEADER_BYTES)
                    if header is None:
                        return
                    self._hear(link, header)

    def _hear(self, link: socket.socket, header: bytes) -> None:
        command, sequence, _device, is_in, endpoint = struct.unpack(">5I", header[:20])
        if command == _UNLINK:
            self._unlink(sequence, struct.unpack(">I", header[20:24])[0])
            return
        length = struct.unpack(">i", header[24:28])[0]
        data = b"" if is_in else _exactly(link, length) or b""
        if endpoint == 0:
            self._answer_control(sequence, header[40:48], data)
        elif is_in:
            with self._changed:
                self._waiting[endpoint].append((sequence, length))
                self._changed.notify_all()
        else:
            self._answer(sequence, 0, b"", length)
            self.received(endpoint, data)

    def _unlink(self, sequence: int, unlinked: int) -> None:
        with self._changed:
            for waiting in self._waiting.values():
                for transfer in [transfer for transfer in waiting if transfer[0] == unlinked]:
                    waiting.remove(transfer)
                    self._write(struct.pack(">5Ii24x", _UNLINKED, sequence, 0, 0, 0, -errno.ECONNRESET))
                    return
            self._write(struct.pack(">5Ii24x", _UNLINKED, sequence, 0, 0, 0, 0))

    def _answer_control(self, sequence: int, setup: bytes, data: bytes) -> None:
        kind, request, value, index, length = struct.unpack("<BBHHH", setup)
        if kind & 0x60 == 0:  # standard
            answer = self._standard(request, value)
        else:
            answer = self._control(kind, request, value, index, length, data)
        if answer is None:
            self._answer(sequence, -errno.EPIPE, b"")
        else:
            self._answer(sequence, 0, answer[:length] if kind & 0x80 else b"", None if kind & 0x80 else length)

    def _standard(self, request: int, value: int) -> bytes | None:
        if request == GET_DESCRIPTOR:
            return self._descriptors.get(value)
        if request == _GET_STATUS:
            return b"\0\0"
        known = (_SET_CONFIGURATION, _SET_INTERFACE, _CLEAR_FEATURE, _SET_FEATURE)
        return b"" if request in known else None

    def _answer(self, sequence: int, status: int, data: bytes, length: int | None = None) -> None:
        used = len(data) if length is None else length
        self._write(struct.pack(">5I5i8x", _SUBMITTED, sequence, 0, 0, 0, status, used, 0, 0, 0) + data)

    def _write(self, message: bytes) -> None:
        with self._changed:
            if self._socket is not None:
                with contextlib.suppress(OSError):  # unplugged meanwhile
                    self._socket.sendall(message)


def _exactly(link: socket.socket, count: int) -> bytes | None:
    data = b""
    while len(data) < count:
        more = link.recv(count - len(data))
        if not more:
            return None
        data += more
    return data
