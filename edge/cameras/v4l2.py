"""A USB (UVC) or other V4L2 camera: opened, set, and streaming into the ring's slots.

`v4l2_opening` sets the device, `v4l2_stream` fills the slots, `v4l2_reception` hands over what is in them. The kernel
tells at once when the device is unplugged; plugged in again, it is found by its path below /dev/v4l.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack

import numpy as np
import structlog
from numpy.typing import NDArray

from edge import camera_config
from edge.camera_config import FeatureValue
from edge.cameras.camera import CameraConfigError, CameraInfo, CameraLost, CameraStats, CapturedFrame, Feature
from edge.cameras.v4l2_controls import Controls
from edge.cameras.v4l2_device import Device
from edge.cameras.v4l2_errors import losing, meaning
from edge.cameras.v4l2_opening import Opened, configure
from edge.cameras.v4l2_reception import Reception
from edge.cameras.v4l2_stream import Stream, begin


class V4l2Camera:
    """`edge.cameras.camera.Camera` and `Described` for V4L2. `trigger` and `release` may be called beside `next`."""

    def __init__(self, name: str, settings: camera_config.V4l2Camera, trigger: camera_config.TriggerConfig) -> None:
        self._name, self._settings, self._trigger = name, settings, trigger
        self._log = structlog.get_logger().bind(camera=name)
        self._device: Device | None = None
        self._opened: Opened | None = None
        self._stream: Stream | None = None
        self._reception: Reception | None = None

    def open(self) -> CameraInfo:
        """Reach the device and apply its settings. Raises CameraAbsent, CameraBusy or CameraConfigError."""
        with ExitStack() as undo, meaning(self._name, self._settings.device):
            device = Device(self._settings.device)
            undo.callback(device.close)
            opened = configure(device, self._name, self._settings, self._trigger)
            undo.pop_all()
        if opened.stilled:
            self._log.info("automatic features are switched off", features=opened.stilled)
        self._device, self._opened, self._reception = device, opened, None
        return opened.info

    def start(self, buffers: list[NDArray[np.uint8]]) -> None:
        """Stream into `buffers`: contiguous, writable, of at least `frame_bytes` each."""
        device, opened = self._reached()
        for slot, buffer in enumerate(buffers):
            if buffer.nbytes < opened.info.frame_bytes or not (buffer.flags.c_contiguous and buffer.flags.writeable):
                raise ValueError(f"slot {slot}: {buffer.nbytes} bytes cannot take frames of {opened.info.frame_bytes}")
        with meaning(self._name, self._settings.device):
            self._stream = begin(device, opened.layout, buffers, opened.info.frame_bytes)
            asked_only = self._trigger.mode == "software"
            if asked_only and not self._stream.has_monotonic_stamps():
                raise CameraConfigError(
                    f'cameras.{self._name}.trigger.mode = "software": the driver does not tell when a picture was taken'
                )
            is_compressed = opened.info.pixel_format == "JPEG"
            self._reception = Reception(
                self._stream, opened.timing, len(buffers), asked_only=asked_only, is_compressed=is_compressed
            )

    def next(self, timeout_s: float) -> CapturedFrame | None:
        """The next frame, complete or not; None after `timeout_s`. Raises CameraLost."""
        reception = self._streaming()
        try:
            with losing(self._settings.device):
                return reception.next(timeout_s)
        except CameraLost as loss:
            raise type(loss)(f"camera {self._name}: {loss}") from None

    def release(self, slot: int) -> None:
        """Lend a handed-over buffer back."""
        if self._stream is not None and self._reception is not None:
            self._reception.release(slot)

    def trigger(self) -> None:
        """The first picture that begins from now on is asked for."""
        self._streaming().ask()

    def prepare(self, features: Mapping[str, FeatureValue]) -> None:
        """Raises CameraConfigError for any: a camera that streams does not tell when a control takes effect."""
        if features:
            raise CameraConfigError(f"camera {self._name}: its controls cannot change between pictures")

    def stats(self) -> CameraStats:
        """Counters since `start`."""
        return self._reception.stats() if self._reception else CameraStats(frames=0, incomplete=0, lost=0)

    def stop(self) -> None:
        """End the stream: no slot is written after this. Safe to call twice."""
        if self._stream is not None:
            self._stream.close()
        self._stream = None

    def close(self) -> None:
        """Let the device go. Safe to call twice."""
        self.stop()
        if self._device is not None:
            self._device.close()
        self._device = None

    def features(self) -> Iterator[Feature]:
        """Every control, in the device's order."""
        with losing(self._settings.device):
            yield from Controls(self._reached()[0]).features()

    def set_feature(self, name: str, value: FeatureValue) -> Feature:
        """Write one control, read it back, and return what the device has now. Raises CameraConfigError."""
        with losing(self._settings.device):
            return Controls(self._reached()[0]).execute(f"cameras.{self._name}.controls", name, value)

    def _reached(self) -> tuple[Device, Opened]:
        if self._device is None or self._opened is None:
            raise CameraLost(f"camera {self._name}: it is not open")
        return self._device, self._opened

    def _streaming(self) -> Reception:
        if self._stream is None or self._reception is None:
            raise CameraLost(f"camera {self._name}: it is not streaming")
        return self._reception
