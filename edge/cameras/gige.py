"""A GigE Vision camera: opened, set, and streaming straight into the ring's slots.

`gige_opening` reaches and sets the device. At `start` come the stream, its receive buffer enlarged before the first
packet, the slots lent, AcquisitionStart; `gige_reception` hands over what arrives.

The loss of a device is seen by what it stops doing: sending frames while free-running, acknowledging a trigger. The
library's own notice comes after 5.9 s; after it the device must be opened again even if frames still flow.
"""

import math
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, contextmanager, suppress

import numpy as np
import structlog
from numpy.typing import NDArray

from edge import camera_config
from edge.camera_config import FeatureValue
from edge.cameras.aravis import AravisError, DeviceError, Library
from edge.cameras.aravis_device import Device
from edge.cameras.aravis_stream import Stream
from edge.cameras.camera import (
    CameraBusy,
    CameraConfigError,
    CameraError,
    CameraInfo,
    CameraLost,
    CameraStats,
    CapturedFrame,
)
from edge.cameras.gige_opening import configure, reach
from edge.cameras.gige_reception import Reception

# A live device acknowledges a command within milliseconds; after two of the library's tries it is gone.
_COMMAND_LIMIT_S = 1.0
# Each step of leaving a device that is gone costs the library 2.5 s; beyond this it goes on without the caller. The
# three steps together stay within what a caller allows.
_TEARDOWN_LIMIT_S = 0.7
# Silence that makes a free-running camera lost: so many periods, but not less than the hiccups of a busy network.
_SILENT_PERIODS, _SHORTEST_SILENCE_S = 3, 1.0


class GigeCamera:
    """`edge.cameras.camera.Camera` for GigE Vision. `trigger` and `release` may be called beside `next`."""

    def __init__(self, name: str, settings: camera_config.GigeCamera, trigger: camera_config.TriggerConfig) -> None:
        self._name = name
        self._settings = settings
        self._trigger = trigger
        self._log = structlog.get_logger().bind(camera=name)
        self._device: Device | None = None
        self._stream: Stream | None = None
        self._reception: Reception | None = None
        self._frame_bytes = 0
        self._period_s: float | None = None
        self._gone: CameraLost | None = None

    def open(self) -> CameraInfo:
        """Reach the device and apply its settings. Raises CameraAbsent, CameraBusy or CameraConfigError."""
        self._gone = None
        with ExitStack() as undo, self._meaning():
            device = reach(Library(), self._name, self._settings.address)
            undo.callback(_finishes, _TEARDOWN_LIMIT_S, device.close)
            if not device.is_controller():
                raise CameraBusy(f"camera {self._name}: another program controls {self._settings.address}")
            info = configure(device, self._name, self._settings, self._trigger)
            undo.pop_all()
        self._device, self._frame_bytes, self._period_s = device, info.frame_bytes, info.period_s
        return info

    def start(self, buffers: list[NDArray[np.uint8]]) -> None:
        """Stream into `buffers`: contiguous, writable, of at least `frame_bytes` each."""
        device = self._opened()
        for slot, buffer in enumerate(buffers):
            if buffer.nbytes < self._frame_bytes or not (buffer.flags.c_contiguous and buffer.flags.writeable):
                raise ValueError(f"slot {slot}: {buffer.nbytes} bytes cannot take frames of {self._frame_bytes}")
        with self._meaning():
            self._stream = device.create_stream()
            self._enlarge_receive_buffer(self._stream)
            self._stream.lend(buffers, self._frame_bytes)
            self._reception = Reception(self._stream, len(buffers), self._silence_s())
            device.execute("AcquisitionStart")

    def next(self, timeout_s: float) -> CapturedFrame | None:
        """The next frame, complete or not; None after `timeout_s`. Raises CameraLost."""
        if self._opened().is_lost:
            raise self._lost("it no longer answers, or another program took control")
        if self._gone is not None:  # a trigger found out, on another thread
            raise self._gone
        try:
            return self._streaming().next(timeout_s)
        except CameraLost as loss:
            raise self._lost(str(loss)) from None

    def release(self, slot: int) -> None:
        """Lend a handed-over buffer back."""
        if self._stream is not None:
            self._streaming().release(slot)

    def trigger(self) -> None:
        """Take one picture. Raises CameraLost when the device does not acknowledge within 1 s."""
        device, errors = self._opened(), list[AravisError]()
        if self._gone is not None:
            raise self._gone

        def fire() -> None:
            try:
                device.execute("TriggerSoftware")
            except AravisError as error:
                errors.append(error)

        if not _finishes(_COMMAND_LIMIT_S, fire):
            raise self._lost(f"it did not acknowledge a trigger within {_COMMAND_LIMIT_S} s")
        with self._meaning():
            for error in errors:
                raise error

    def prepare(self, features: Mapping[str, FeatureValue]) -> None:
        """Write these features, which were read back when the camera was opened."""
        with self._meaning():
            for name, value in features.items():
                kind = self._opened().feature_kind(name)
                if kind is not None:
                    self._opened().set(name, kind, value)

    def stats(self) -> CameraStats:
        """Counters since `start`."""
        return self._reception.stats() if self._reception else CameraStats(frames=0, incomplete=0, lost=0)

    def stop(self) -> None:
        """End the stream: no slot is written after this. Safe to call twice."""
        if self._stream is None:
            return
        stream, held = self._stream, self._reception.held if self._reception else set[int]()
        self._stream = None
        if self._gone is None:
            _finishes(_TEARDOWN_LIMIT_S, self._end_acquisition)
        _finishes(_TEARDOWN_LIMIT_S, lambda: stream.close(held))

    def close(self) -> None:
        """Let the device go. Safe to call twice."""
        self.stop()
        if self._device is not None:
            _finishes(_TEARDOWN_LIMIT_S, self._device.close)
        self._device = None

    # --- streaming

    def _is_triggered(self) -> bool:
        return self._trigger.mode == "software"

    def _silence_s(self) -> float:
        if self._is_triggered():
            return math.inf
        period_s = _SHORTEST_SILENCE_S if self._period_s is None else self._period_s
        return max(_SILENT_PERIODS * period_s, _SHORTEST_SILENCE_S)

    def _enlarge_receive_buffer(self, stream: Stream) -> None:
        asked = self._settings.receive_buffer_bytes
        granted = stream.enlarge_receive_buffer(asked)
        if granted < asked:
            self._log.warning(
                "receive_buffer_small",
                asked_bytes=asked,
                granted_bytes=granted,
                frame_bytes=self._frame_bytes,
                remedy=f"sysctl -w net.core.rmem_max={asked}",
            )

    def _end_acquisition(self) -> None:
        if self._device is not None:
            with suppress(AravisError):  # it is gone, and what follows does not depend on it
                self._device.execute("AcquisitionStop")

    def _opened(self) -> Device:
        if self._device is None:
            raise CameraLost(f"camera {self._name}: it is not open")
        return self._device

    def _streaming(self) -> Reception:
        if self._stream is None or self._reception is None:
            raise CameraLost(f"camera {self._name}: it is not streaming")
        return self._reception

    # --- errors

    def _lost(self, why: str) -> CameraLost:
        self._gone = CameraLost(f"camera {self._name}: {why}")
        return self._gone

    @contextmanager
    def _meaning(self) -> Generator[None, None, None]:
        """Turns what the library said into what a caller can do about it."""
        try:
            yield
        except AravisError as error:
            raise self._meaning_of(error) from None

    def _meaning_of(self, error: AravisError) -> CameraError:
        match error.code:
            case DeviceError.TIMEOUT:
                return self._lost(str(error))
            case DeviceError.NOT_CONTROLLER:
                return CameraBusy(f"camera {self._name}: another program controls it ({error})")
            case _:
                return CameraConfigError(f"camera {self._name}: {error}")


def _finishes(limit_s: float, call: Callable[[], None]) -> bool:
    """Whether `call` returns within the limit. If not it goes on alone, on a thread that no exit waits for."""
    thread = threading.Thread(target=call, name="gige", daemon=True)
    thread.start()
    thread.join(limit_s)
    return not thread.is_alive()
