"""A network stream, RTSP or MJPEG over HTTP: the newest picture when one is asked for.

Its pictures are compressed, so they serve for tagging and watching and not for gauging, and they arrive some time after
they were taken, how long nobody knows: `host_timestamp_ns` is when one arrived. That is why a stream is free-running
only. A picture that arrives after a trigger may well show the part before, and would be judged in its name.

Of JPEG streams a picture that was cut short is an incomplete frame, and another size loses the camera. Of H.264 and the
like the decoder does not tell: what is missing is smeared, and a new size is scaled to that of the opening.
"""

from collections.abc import Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from edge import images
from edge.camera_config import FeatureValue, TriggerConfig
from edge.camera_config import StreamCamera as Config
from edge.cameras.camera import (
    CameraAbsent,
    CameraConfigError,
    CameraInfo,
    CameraLost,
    CameraStats,
    CapturedFrame,
)
from edge.cameras.pacing import Buffers
from edge.cameras.stream_reader import Arrived, Opened, Reader
from edge.urls import without_secrets

# A reader ends with the picture it waits for; one whose server is silent is left to its time-outs.
_ENDING_S = 1.0


class StreamCamera:
    """`edge.cameras.camera.Camera` for a stream. Frame ids count what arrived, whether asked for or not."""

    def __init__(self, name: str, config: Config, trigger: TriggerConfig) -> None:
        self._config, self._trigger = config, trigger
        self._shown = f"camera {name}: {without_secrets(config.url)}"
        self._section = f"cameras.{name}"
        self._reader: Reader | None = None
        self._opened: Opened | None = None
        self._free = Buffers()
        self._buffers: list[NDArray[np.uint8]] = []
        self._before = self._frame_id = self._frames = self._incomplete = 0

    def open(self) -> CameraInfo:
        """Takes at most `timeout_ms`. Raises CameraAbsent, CameraConfigError where triggers are asked for."""
        if self._trigger.mode != "free":
            raise CameraConfigError(
                f'{self._section}.trigger.mode = "{self._trigger.mode}": a stream cannot be triggered; set "free"'
            )
        self._reader = Reader(self._config)
        try:
            opened = self._reader.opened(self._config.timeout_ms / 1000)
        except CameraAbsent as absence:
            self.close()
            raise CameraAbsent(f"{self._shown}: {absence}") from None
        self._opened = opened
        return CameraInfo(
            vendor="Stream",
            model=self._config.url.partition(":")[0],
            serial=without_secrets(self._config.url),
            width=opened.width,
            height=opened.height,
            pixel_format="BGR8",
            frame_bytes=opened.width * opened.height * 3,
            period_s=opened.period_s,
        )

    def start(self, buffers: list[NDArray[np.uint8]]) -> None:
        """Stream into these; only what arrives from here on counts."""
        reader, opened = self._open_reader()
        height, width = opened.height, opened.width
        self._buffers = [buffer[: width * height * 3].reshape(height, width, 3) for buffer in buffers]
        self._free.lend(len(buffers))
        self._before = reader.arrived
        self._frame_id = self._frames = self._incomplete = 0

    def next(self, timeout_s: float) -> CapturedFrame | None:
        """The newest picture, in a free buffer. Raises CameraLost when the stream is over or its size changed."""
        reader, opened = self._open_reader()
        if not self._buffers:
            raise CameraLost(f"{self._shown}: it is not streaming")
        try:
            arrived = reader.newest(self._before + self._frame_id, timeout_s, lambda: not self._free.is_empty)
        except CameraLost as loss:
            raise CameraLost(f"{self._shown}: {loss}") from None
        if arrived is None:
            return None
        return self._hand_over(arrived, opened)

    def _hand_over(self, arrived: Arrived, opened: Opened) -> CapturedFrame | None:
        picture = self._picture(arrived, opened)
        slot = self._free.take()
        if slot is None:
            return None
        if picture is not None:
            np.copyto(self._buffers[slot], picture)
        self._frame_id = arrived.number - self._before
        self._frames += 1
        self._incomplete += picture is None
        return CapturedFrame(
            slot=slot,
            frame_id=self._frame_id,
            host_timestamp_ns=arrived.host_timestamp_ns,
            host_timestamp_utc_ns=arrived.host_timestamp_utc_ns,
            device_timestamp_ns=arrived.device_timestamp_ns,
            complete=picture is not None,
        )

    def _picture(self, arrived: Arrived, opened: Opened) -> NDArray[np.uint8] | None:
        """[height, width, 3] BGR, or None of a JPEG that was cut short. Raises CameraLost for another size."""
        if not opened.is_jpeg:
            return arrived.picture
        try:
            return images.as_bgr(arrived.picture, opened.width, opened.height, "JPEG")
        except images.ImageError:
            seen = cv2.imdecode(arrived.picture, cv2.IMREAD_COLOR)
        if seen is None or seen.shape[1::-1] == (opened.width, opened.height):
            return None
        height, width = seen.shape[:2]
        sizes = f"{opened.width} x {opened.height} to {width} x {height}"
        raise CameraLost(f"{self._shown}: the size of its pictures went from {sizes}")

    def release(self, slot: int) -> None:
        """Lend a handed-over buffer back."""
        if self._buffers and self._reader is not None:
            self._free.give(slot)
            self._reader.wake()

    def trigger(self) -> None:
        """A stream takes its pictures by itself. Raises CameraConfigError."""
        raise CameraConfigError(f"{self._shown}: a stream cannot be triggered")

    def prepare(self, features: Mapping[str, FeatureValue]) -> None:
        """There is nothing to set. Raises CameraConfigError for any feature."""
        if features:
            raise CameraConfigError(f"{self._shown}: it has no features: {', '.join(features)}")

    def stats(self) -> CameraStats:
        """Counters since `start`; lost are pictures that were replaced before anyone had room for them."""
        return CameraStats(frames=self._frames, incomplete=self._incomplete, lost=self._frame_id - self._frames)

    def stop(self) -> None:
        """No buffer is written from here on."""
        self._buffers = []

    def close(self) -> None:
        """Let the stream go."""
        self.stop()
        if self._reader is not None:
            self._reader.end(_ENDING_S)
        self._reader = self._opened = None

    def _open_reader(self) -> tuple[Reader, Opened]:
        if self._reader is None or self._opened is None:
            raise CameraLost(f"{self._shown}: it is not open")
        return self._reader, self._opened
