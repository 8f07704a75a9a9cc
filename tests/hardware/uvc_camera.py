"""A USB video class camera (UVC 1.1) made of software, for the kernel's own driver: MJPEG and YUYV, exposure, white balance.

Orders come as lines on stdin, each answered by a line: `unplug`, `plug_in`, `hang`, `resume`, `scene N` (grey 0 to 255),
`broken` (the next picture says so), `short` (the next lacks its second half), `quit`.
"""

import struct
import sys
import threading
import time

import cv2
import numpy as np

from tests.hardware.usb_device import UsbDevice

WIDTH, HEIGHT, RATE_HZ = 320, 180, 25
FRAME_BYTES = WIDTH * HEIGHT * 2
NAME, MAKER, SERIAL = "Bench camera", "Goldline", "UVC-0001"
_INTERVALS = [10_000_000 // rate_hz for rate_hz in (RATE_HZ, 10)]
_ENDPOINT, _PAYLOAD_BYTES = 1, 16_384
_YUY2 = b"YUY2\x00\x00\x10\x00\x80\x00\x00\xaa\x00\x38\x9b\x71"
_SET_CUR, _GET_CUR, _GET_MIN, _GET_MAX, _GET_RES, _GET_LEN, _GET_INFO, _GET_DEF = 1, *range(0x81, 0x88)
# (unit or terminal, selector): structure, and lowest, highest, step, first value. UVC 1.5, table.
_CONTROLS: dict[tuple[int, int], tuple[str, int, int, int, int]] = {
    (1, 2): ("<B", 1, 8, 9, 8),  # exposure mode: manual and aperture priority, which is automatic
    (1, 4): ("<I", 1, 500, 1, 50),  # exposure time, 100 us
    (2, 2): ("<h", -64, 64, 1, 0),  # brightness
    (2, 10): ("<H", 2800, 6500, 10, 4600),  # white balance temperature
    (2, 11): ("<B", 0, 1, 1, 1),  # and whether it is automatic
}


def _frame(kind: int) -> bytes:
    rates = [FRAME_BYTES * 8 * rate for rate in (10, RATE_HZ)]
    fixed = struct.pack("<BBHHIIIIB", 1, 0, WIDTH, HEIGHT, *rates, FRAME_BYTES, _INTERVALS[0], len(_INTERVALS))
    intervals = struct.pack(f"<{len(_INTERVALS)}I", *_INTERVALS)
    return _class_specific(kind, fixed + intervals)


def _class_specific(kind: int, body: bytes) -> bytes:
    return bytes([3 + len(body), 0x24, kind]) + body


def _configuration() -> bytes:
    entities = (
        _class_specific(2, struct.pack("<BHBBHHHB3s", 1, 0x0201, 0, 0, 0, 0, 0, 3, b"\x0a\0\0"))
        + _class_specific(5, struct.pack("<BBHBHBB", 2, 1, 0, 2, 0x1041, 0, 0))
        + _class_specific(3, struct.pack("<BHBBB", 3, 0x0101, 0, 2, 0))
    )
    control = struct.pack("<HHIBB", 0x0110, 13 + len(entities), 48_000_000, 1, 1)
    formats = (
        _class_specific(4, struct.pack("<BB16sBBBBBB", 1, 1, _YUY2, 16, 1, 0, 0, 0, 0))
        + _frame(5)
        + _class_specific(13, b"\1\1\4")
        + _class_specific(6, bytes([2, 1, 0, 1, 0, 0, 0, 0]))
        + _frame(7)
        + _class_specific(13, b"\1\1\4")
    )
    streaming = struct.pack("<BHBBBBBBBBB", 2, 15 + len(formats), 0x80 | _ENDPOINT, 0, 3, 0, 0, 0, 1, 0, 0)
    body = (
        bytes([8, 11, 0, 2, 14, 3, 0, 0])
        + bytes([9, 4, 0, 0, 0, 14, 1, 0, 0])
        + _class_specific(1, control)
        + entities
        + bytes([9, 4, 1, 0, 1, 14, 2, 0, 0])
        + _class_specific(1, streaming)
        + formats
        + struct.pack("<BBBBHB", 7, 5, 0x80 | _ENDPOINT, 2, 512, 0)
    )
    return struct.pack("<BBHBBBBB", 9, 2, 9 + len(body), 2, 1, 0, 0x80, 250) + body


class UvcCamera:
    """The device. Pictures go out as soon as the host committed a format and asks for data."""

    def __init__(self) -> None:
        device = struct.pack("<BBHBBBBHHHBBBB", 18, 1, 0x0200, 0xEF, 2, 1, 64, 0x1D6B, 0x0102, 0x0100, 1, 2, 3, 1)
        self.usb = UsbDevice(device, _configuration(), [MAKER, NAME, SERIAL], self._control)
        self._values = {key: first for key, (_kind, _low, _high, _step, first) in _CONTROLS.items()}
        self._probe = self._probed(b"")
        self._committed = b""
        self._parity = 0
        self.scene, self.is_hanging, self.is_broken, self.is_short = 128, False, False, False

    def _control(self, kind: int, request: int, value: int, index: int, length: int, data: bytes) -> bytes | None:
        entity, selector = index >> 8, value >> 8
        if index & 0xFF == 1:
            return self._streaming(request, selector, data)
        if (entity, selector) not in _CONTROLS:
            return None
        return self._setting((entity, selector), request, data)

    def _setting(self, key: tuple[int, int], request: int, data: bytes) -> bytes | None:
        form, low, high, step, first = _CONTROLS[key]
        if request == _SET_CUR:
            self._values[key] = struct.unpack(form, data)[0]
            return b""
        if request in (_GET_INFO, _GET_LEN):
            return bytes([3]) if request == _GET_INFO else struct.pack("<H", struct.calcsize(form))
        values = {_GET_CUR: self._values[key], _GET_MIN: low, _GET_MAX: high, _GET_RES: step, _GET_DEF: first}
        return struct.pack(form, values[request]) if request in values else None

    def _streaming(self, request: int, selector: int, data: bytes) -> bytes | None:
        if request == _SET_CUR:
            self._probe = self._probed(data)
            if selector == 2:
                self._committed = self._probe
            return b""
        if request in (_GET_INFO, _GET_LEN):
            return bytes([3]) if request == _GET_INFO else struct.pack("<H", len(self._probe))
        return self._probe

    @staticmethod
    def _probed(asked: bytes) -> bytes:
        """What is asked for as the device can do it: format and rate are the host's to choose."""
        hint, number, _frame, interval = struct.unpack(
            "<HBBI", (asked or struct.pack("<HBBI", 0, 1, 1, _INTERVALS[0]))[:8]
        )
        chosen = min(_INTERVALS, key=lambda known: abs(known - interval))
        return struct.pack(
            "<HBBI5HIIIBBBB",
            hint,
            number,
            1,
            chosen,
            0,
            0,
            0,
            0,
            0,
            FRAME_BYTES,
            _PAYLOAD_BYTES,
            48_000_000,
            0,
            0,
            0,
            0,
        )

    def stream(self) -> None:
        """For ever: a picture each period, of the scene as it is when the picture begins."""
        number = 0
        next_s = time.monotonic()
        while True:
            interval = struct.unpack("<I", self._committed[4:8])[0] if self._committed else _INTERVALS[0]
            next_s = max(next_s + interval / 1e7, time.monotonic() - 0.1)
            time.sleep(max(0.0, next_s - time.monotonic()))
            if self._committed and not self.is_hanging:
                number += 1
                self._send(self._picture(number, is_jpeg=self._committed[2] == 2), next_s + interval / 2e7)

    def _picture(self, number: int, *, is_jpeg: bool) -> bytes:
        """The scene's grey, and a block that is another one in each picture."""
        image = np.full((HEIGHT, WIDTH, 3), self.scene, np.uint8)
        image[:16, :16] = number * 7 % 256
        if is_jpeg:
            return cv2.imencode(".jpg", image)[1].tobytes()
        yuyv = np.full((HEIGHT, WIDTH, 2), 128, np.uint8)
        yuyv[..., 0] = 16 + image[..., 0].astype(np.uint16) * 219 // 255
        return yuyv.tobytes()

    def _send(self, picture: bytes, until_s: float) -> None:
        """Begins at once or not at all: a camera has room for one picture, and the next one overwrites it."""
        is_broken, is_short = self.is_broken, self.is_short
        sent = picture[: len(picture) // 2] if is_short else picture
        flags = 0x80 | self._parity | (0x40 if is_broken else 0)
        room = _PAYLOAD_BYTES - 2
        for start in range(0, len(sent), room):
            header = bytes([2, flags | (2 if start + room >= len(sent) else 0)])
            if not self.usb.send(_ENDPOINT, header + sent[start : start + room], until_s):
                return
            # The next picture that begins is another one to the host, which knows it by this bit.
            self._parity = 1 - (flags & 1)
            until_s = time.monotonic() + 1.0
        self.is_broken, self.is_short = self.is_broken and not is_broken, self.is_short and not is_short


def main() -> None:
    """Plugged in until told otherwise."""
    camera = UvcCamera()
    camera.usb.plug_in()
    threading.Thread(target=camera.stream, daemon=True).start()
    for line in sys.stdin:
        match line.split():
            case ["unplug"]:
                camera.usb.unplug()
            case ["plug_in"]:
                camera.usb.plug_in()
            case ["hang" | "resume" as order]:
                camera.is_hanging = order == "hang"
            case ["scene", grey]:
                camera.scene = int(grey)
            case ["broken"]:
                camera.is_broken = True
            case ["short"]:
                camera.is_short = True
            case _:
                break
        print("done", flush=True)


if __name__ == "__main__":
    main()
