"""A GigE Vision or USB3 Vision camera: opened, set, and streaming straight into the ring's slots.

`gige_opening` reaches and sets the device. At `start` come the stream, its receive buffer enlarged before the first
packet, the slots lent, AcquisitionStart; `gige_reception` hands over what arrives. The same code serves USB3 Vision by
libaravis, where packets and receive buffer do not exist; it has met one made of software only.

That a silent device is gone is seen by a question of its own, since the library's notice comes after 5.9 s; after it
the device must be opened again even if frames still flow. A device that answers and sends nothing is its caller's to
judge, who knows what was to come.
"""

import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress

import numpy as np
import structlog
from numpy.typing import NDArray

from edge import camera_config
from edge.camera_config import FeatureValue
from edge.cameras.aravis import AravisError, DeviceError, Library
from edge.cameras.aravis_device import Device
from edge.cameras.aravis_stream import Stream
from edge.cameras.bounded import finishes
from edge.cameras.camera import (
    CameraBusy,
    CameraConfigError,
    CameraError,
    CameraInfo,
    CameraLost,
    CameraStats,
    CapturedFrame,
    Feature,
)
from edge.cameras.genicam import Target, resolve, set_feature, write_features
from edge.cameras.genicam_features import feature_of, features_of
from edge.cameras.genicam_settings import exposure_s, trigger_delay_s
from edge.cameras.gige_counter import ChunkCounter, EdgeCounter, NoCounter, RegisterCounter
from edge.cameras.gige_opening import configure, reach
from edge.cameras.gige_reception import Reception
from edge.cameras.gige_transport import set_stream
from edge.cameras.gvcp import Probe
from edge.cameras.usb_probe import UsbProbe
from edge.images import frame_bytes

# A live device acknowledges a command within milliseconds; after two of the library's tries it is gone.
_COMMAND_LIMIT_S = 1.0
# Each step of leaving a device that is gone costs the library 2.5 s; beyond this it goes on without the caller. The
# three steps together stay within what a caller allows.
_TEARDOWN_LIMIT_S = 0.7
# A stream of USB3 Vision ends when the transfer that it waits for does: after the time that the camera claims for an
# answer, up to 1 s. Until then it holds the camera.
_USB_STREAM_LIMIT_S = 1.1
# What a picture's transfer takes at most on a link that keeps up, for a camera that does not tell its exposure.
_UNKNOWN_PICTURE_NS = 1_000_000_000


class GigeCamera:
    """`edge.cameras.camera.Camera` for GigE Vision. `trigger` and `release` may be called beside `next`."""

    def __init__(self, name: str, settings: camera_config.GigeCamera, trigger: camera_config.TriggerConfig) -> None:
        self._name = name
        self._settings = settings
        self._trigger = trigger
        self._log = structlog.get_logger().bind(camera=name)
        self._device: Device | None = None
        self._probe: Probe | UsbProbe | None = None
        self._stream: Stream | None = None
        self._reception: Reception | None = None
        self._info: CameraInfo | None = None
        self._targets: dict[str, Target] = {}
        self._gone: CameraLost | None = None

    def open(self) -> CameraInfo:
        """Reach the device and apply its settings. Raises CameraAbsent, CameraBusy or CameraConfigError."""
        self._gone = None
        with ExitStack() as undo, self._meaning():
            device, ip_address = reach(Library(), self._name, self._settings.address)
            undo.callback(finishes, _TEARDOWN_LIMIT_S, device.close)
            if not device.is_controller():
                raise CameraBusy(f"camera {self._name}: another program controls {self._settings.address}")
            info, switched_off = configure(device, self._name, self._settings, self._trigger)
            keys = {key for shot in self._settings.shots for key in shot.features}
            self._targets = {key: resolve(device, f"cameras.{self._name}.shot", key) for key in keys}
            undo.pop_all()
        if switched_off:
            self._log.info("automatic features are switched off", features=switched_off)
        self._device, self._info = device, info
        self._probe = UsbProbe(device) if ip_address is None else Probe(ip_address)
        return info

    def start(self, buffers: list[NDArray[np.uint8]]) -> None:
        """Stream into `buffers`: contiguous, writable, of at least `frame_bytes` each."""
        device, needed = self._opened(), self._opened_info().frame_bytes
        for slot, buffer in enumerate(buffers):
            if buffer.nbytes < needed or not (buffer.flags.c_contiguous and buffer.flags.writeable):
                raise ValueError(f"slot {slot}: {buffer.nbytes} bytes cannot take frames of {needed}")
        self._reception = None  # of the stream before, whose slots are not this one's
        with self._meaning():
            self._stream = device.create_stream()
            if device.is_gige:
                set_stream(device, self._stream, self._settings)
                self._enlarge_receive_buffer(self._stream)
            self._expect_pictures(self._stream)
            self._stream.lend(buffers, needed)
            tick_hz = device.tick_hz() if device.is_gige else 0
            delay_s = 0.0 if self._trigger.mode == "free" else trigger_delay_s(device)
            counter = self._counter(device, self._stream, delay_s)
            self._reception = Reception(self._stream, counter, self._opened_info().exposure_s, delay_s, tick_hz)
            device.execute("AcquisitionStart")

    def next(self, timeout_s: float) -> CapturedFrame | None:
        """The next frame, complete or not; None after `timeout_s`. Raises CameraLost."""
        if self._opened().is_lost:
            raise self._lost("it no longer answers, or another program took control")
        if self._gone is not None:  # a trigger found out, on another thread
            raise self._gone
        reception = self._streaming()
        try:
            frame = reception.next(timeout_s)
        except CameraLost as loss:
            raise self._lost(str(loss)) from None
        if frame is None and self._probe is not None:
            why = self._probe.look(time.monotonic_ns(), reception.heard_ns)
            if why is not None:
                raise self._lost(why)
        return frame

    def release(self, slot: int) -> None:
        """Lend a handed-over buffer back."""
        if self._stream is not None:
            self._streaming().release(slot)

    def trigger(self) -> None:
        """Take one picture. Raises CameraLost when the device does not acknowledge within 1 s."""
        self._command("a trigger", lambda: self._opened().execute("TriggerSoftware"))

    def prepare(self, features: Mapping[str, FeatureValue]) -> None:
        """Write these features of a shot, which were read back when the camera was opened."""
        device = self._opened()

        def write() -> None:
            for key, value in features.items():
                set_feature(device, self._targets[key], value)
            if self._reception is not None and any(key.startswith("ExposureTime") for key in features):
                self._reception.exposure_s = exposure_s(device)

        self._command("a shot's features", write)

    def features(self) -> Iterator[Feature]:
        """Every setting of the open camera, in the device's order."""
        with self._meaning():
            yield from features_of(self._opened())

    def set_feature(self, name: str, value: FeatureValue) -> Feature:
        """Write, read back, and return what the device has now. Raises CameraConfigError."""
        with self._meaning():
            write_features(self._opened(), f"camera {self._name}", {name: value})
            return feature_of(self._opened(), resolve(self._opened(), f"camera {self._name}", name))

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
            finishes(_TEARDOWN_LIMIT_S, self._end_acquisition)
        is_usb = self._device is not None and not self._device.is_gige
        finishes(_USB_STREAM_LIMIT_S if is_usb else _TEARDOWN_LIMIT_S, lambda: stream.close(held))

    def close(self) -> None:
        """Let the device go. Safe to call twice."""
        self.stop()
        if self._probe is not None:
            self._probe.close()
        if self._device is not None:
            finishes(_TEARDOWN_LIMIT_S, self._device.close)
        self._device = self._probe = None

    # --- streaming

    def _counter(self, device: Device, stream: Stream, delay_s: float) -> EdgeCounter:
        if self._trigger.counter is None:
            return NoCounter()
        pictures_for_each = max(1, len(self._settings.shots))
        if "CounterValue" in self._settings.chunks:
            return ChunkCounter(stream, pictures_for_each)
        exposure = self._opened_info().exposure_s
        picture_ns = _UNKNOWN_PICTURE_NS if exposure is None else round(exposure * 1e9)
        picture_ns += round(delay_s * 1e9)
        value = resolve(device, f"cameras.{self._name}.trigger.counter", f"CounterValue[{self._trigger.counter}]")
        return RegisterCounter(device, value, picture_ns, pictures_for_each)

    def _expect_pictures(self, stream: Stream) -> None:
        info = self._opened_info()
        stream.expect(info.width, info.height, frame_bytes(info.width, info.height, info.pixel_format))

    def _enlarge_receive_buffer(self, stream: Stream) -> None:
        asked = self._settings.receive_buffer_bytes
        granted = stream.enlarge_receive_buffer(asked)
        if granted < asked:
            self._log.warning(
                "the receive buffer is smaller than asked for",
                asked_bytes=asked,
                granted_bytes=granted,
                frame_bytes=self._opened_info().frame_bytes,
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

    def _opened_info(self) -> CameraInfo:
        if self._info is None:
            raise CameraLost(f"camera {self._name}: it is not open")
        return self._info

    def _streaming(self) -> Reception:
        if self._stream is None or self._reception is None:
            raise CameraLost(f"camera {self._name}: it is not streaming")
        return self._reception

    # --- errors

    def _command(self, what: str, call: Callable[[], None]) -> None:
        """Runs a call that a live device answers at once. Raises CameraLost when it does not."""
        self._opened()
        errors = list[AravisError]()
        if self._gone is not None:
            raise self._gone

        def run() -> None:
            try:
                call()
            except AravisError as error:
                errors.append(error)

        if not finishes(_COMMAND_LIMIT_S, run):
            raise self._lost(f"it did not acknowledge {what} within {_COMMAND_LIMIT_S} s")
        with self._meaning():
            for error in errors:
                raise error

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
