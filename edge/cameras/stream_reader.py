"""A network stream drained by a thread of its own, so that the newest picture is at hand and never an old one.

1. Reach the host: whether anybody listens is told at once, and by name.
2. Open by OpenCV's FFmpeg, decoding on one thread: more of them delay each picture by as many periods.
3. Read for as long as pictures come. Each replaces the one before; who wants one takes the newest. Those of a JPEG
   stream stay as they came: decoded here, one that is cut short or of another size would pass for whole, since FFmpeg
   fills it up and OpenCV scales it.

FFmpeg gives up on a silent server after its time-outs, up to three in a row for RTSP. Nobody waits for that: a reader
that is ended while it hangs finishes on its own. Its capture is made, used and released on its thread alone.
"""

import os
import socket
import threading
import time
from collections.abc import Callable
from urllib.parse import urlsplit

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.camera_config import StreamCamera as Config
from edge.cameras.camera import CameraAbsent, CameraLost

_PORTS = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443}
# Pictures from which FFmpeg estimates an RTSP stream's rate: of its 20 the opening takes a second.
_PROBE = "fpsprobesize;3"
# FFmpeg read ahead while it looked into an RTSP stream, a dozen pictures: what is read in less than this share of a
# period lay ready and is old. No more than this many: a stream may be faster than it says.
_READY_SHARE, _MOST_READY = 0.5, 50
# CAP_PROP_FORMAT: packets instead of pictures.
_AS_IT_CAME = -1
# A rate beyond is the clock of a stream that does not tell its rate, frames/s.
_HIGHEST_RATE_HZ = 1000.0


class Arrived(msgspec.Struct, frozen=True, kw_only=True):
    """One picture, not to be written to: [height, width, 3] BGR, or the flat bytes of a JPEG. `number` counts all, from 1.

    `device_timestamp_ns` is the stream's own time, where it has one that moves.
    """

    number: int
    picture: NDArray[np.uint8]
    host_timestamp_ns: int
    host_timestamp_utc_ns: int
    device_timestamp_ns: int | None


class Opened(msgspec.Struct, frozen=True, kw_only=True):
    """What the stream delivers; `period_s` is None where it does not tell."""

    width: int
    height: int
    is_jpeg: bool
    period_s: float | None


class Reader:
    """Opens and drains one stream. Made on, and asked by, one thread; `wake` may come from another."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._changed = threading.Condition()
        self._opened: Opened | None = None
        self._newest: Arrived | None = None
        self._over: str | None = None
        self._ending = False
        self._thread = threading.Thread(target=self._run, name="stream", daemon=True)
        self._thread.start()

    def opened(self, timeout_s: float) -> Opened:
        """What it delivers, once its first picture came. Raises CameraAbsent."""
        with self._changed:
            self._changed.wait_for(lambda: self._opened or self._over, timeout_s)
            if self._opened is None:
                raise CameraAbsent(self._over or f"no picture came within {timeout_s:g} s")
            return self._opened

    @property
    def arrived(self) -> int:
        """Pictures so far."""
        with self._changed:
            return 0 if self._newest is None else self._newest.number

    def newest(self, after: int, timeout_s: float, ready: Callable[[], bool]) -> Arrived | None:
        """The newest picture if it came after number `after`, as soon as the caller is `ready` for it.

        None after `timeout_s`. Raises CameraLost once the stream is over.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._over or (self._is_after(after) and ready()), timeout_s)
            if self._is_after(after) and ready():
                return self._newest
            if self._over is not None:
                raise CameraLost(self._over)
            return None

    def wake(self) -> None:
        """The caller may be ready now."""
        with self._changed:
            self._changed.notify_all()

    def end(self, limit_s: float) -> None:
        """Let the stream go. A reader that hangs longer finishes on its own."""
        self._ending = True
        self._thread.join(limit_s)

    def _is_after(self, number: int) -> bool:
        return self._newest is not None and self._newest.number > number

    # --- on the reader's thread

    def _run(self) -> None:
        try:
            over = self._refused() or ("" if self._ending else self._drain())
        except cv2.error as problem:
            over = f"it cannot be decoded: {problem.err}"
        with self._changed:
            self._over = over
            self._changed.notify_all()

    def _refused(self) -> str | None:
        """Why nobody can be reached at the URL's host, or None."""
        parts = urlsplit(self._config.url)
        try:
            address = parts.hostname or "", parts.port or _PORTS[parts.scheme]
            socket.create_connection(address, self._config.timeout_ms / 1000).close()
        except (OSError, ValueError) as problem:
            return f"nothing answers: {getattr(problem, 'strerror', None) or problem}"
        return None

    def _drain(self) -> str:
        """Reads to the end, and returns why that was."""
        # The only way to tell FFmpeg; there is one camera in a process.
        os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"] = f"rtsp_transport;{self._config.transport}|{_PROBE}"
        # OpenCV's warnings say what the camera's errors say; FFmpeg's own errors go to the journal.
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
        timeout_ms = round(self._config.timeout_ms)
        timeouts = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, timeout_ms, cv2.CAP_PROP_READ_TIMEOUT_MSEC, timeout_ms]
        capture = cv2.VideoCapture(self._config.url, cv2.CAP_FFMPEG, [*timeouts, cv2.CAP_PROP_N_THREADS, 1])
        try:
            if not capture.isOpened():
                return "it answers but gives no stream: see to the path, the user and the password"
            opened = self._told(capture)
            if opened.width > 0 and opened.height > 0:
                self._read(capture, opened)
        finally:
            capture.release()
        return "the stream ended" if self._newest else "it gives a stream without a picture"

    def _told(self, capture: cv2.VideoCapture) -> Opened:
        """What FFmpeg found out; pictures of a JPEG stream are not decoded from here on."""
        width, height = capture.get(cv2.CAP_PROP_FRAME_WIDTH), capture.get(cv2.CAP_PROP_FRAME_HEIGHT)
        fourcc = int(capture.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little")
        is_jpeg = fourcc == b"MJPG" and capture.set(cv2.CAP_PROP_FORMAT, _AS_IT_CAME)
        return Opened(width=int(width), height=int(height), is_jpeg=is_jpeg, period_s=self._period_s(capture))

    def _period_s(self, capture: cv2.VideoCapture) -> float | None:
        # What FFmpeg says of MJPEG over HTTP, 25 pictures/s, is its own guess.
        if not self._config.url.startswith("rtsp"):
            return None
        rate_hz = capture.get(cv2.CAP_PROP_FPS)
        return 1 / rate_hz if 0 < rate_hz <= _HIGHEST_RATE_HZ else None

    def _read(self, capture: cv2.VideoCapture, opened: Opened) -> None:
        number, stream_ms, period_s = 0, 0.0, opened.period_s
        ready = 0 if period_s is None else _MOST_READY
        while not self._ending:
            began_ns = time.monotonic_ns()
            came, picture = capture.read()
            if not came:
                return
            now_ns, before_ms, stream_ms = time.monotonic_ns(), stream_ms, capture.get(cv2.CAP_PROP_POS_MSEC)
            if ready > 0 and period_s is not None and (now_ns - began_ns) / 1e9 < _READY_SHARE * period_s:
                ready -= 1
                continue
            ready, number = 0, number + 1
            arrived = Arrived(
                number=number,
                picture=np.asarray(picture, np.uint8).reshape(-1) if opened.is_jpeg else np.asarray(picture, np.uint8),
                host_timestamp_ns=now_ns,
                host_timestamp_utc_ns=time.time_ns(),
                device_timestamp_ns=round(stream_ms * 1e6) if period_s and stream_ms > before_ms else None,
            )
            with self._changed:
                self._newest, self._opened = arrived, opened
                self._changed.notify_all()
