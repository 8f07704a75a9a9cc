"""A Basler camera by pypylon (extra `pylon`): frames land in the ring's slots without a copy.

pylon asks for its buffers when the stream starts and is given the slots. A held frame is a grab result that was not
released; pylon fills the others. A frame's host time is when it was fetched, which the grabber's thread always waits to do.
"""

import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.camera_config import PylonCamera as Config
from edge.camera_config import TriggerConfig
from edge.cameras.aravis_device import FeatureKind
from edge.cameras.camera import (
    CameraAbsent,
    CameraBusy,
    CameraConfigError,
    CameraInfo,
    CameraLost,
    CapturedFrame,
    Found,
)
from edge.cameras.nodemap import Nodemap, camel
from edge.cameras.nodemap_camera import Identity, NodemapCamera, library

# pylon's own simulation. Without a rate it makes frames faster than they can be fetched, and the fetching fails.
_EMULATED = "BaslerCamEmu"
# A camera is ready again when it has exposed and, as some do, read out the picture before.
_READY_MS = 1_000
# A block id that the device does not give (pylon::GrabResultData::GetBlockID).
_NO_ID = 2**64 - 1


def discover() -> list[Found]:
    """Every Basler camera that answers. Raises CameraConfigError where pypylon is not installed."""
    factory = library("pypylon.pylon", "pylon").TlFactory.GetInstance()
    return [
        Found(
            source="pylon",
            address=device.GetSerialNumber(),
            vendor=device.GetVendorName(),
            model=device.GetModelName(),
            serial=device.GetSerialNumber(),
            name=device.GetUserDefinedName(),
            is_busy=not factory.IsDeviceAccessible(device),
        )
        for device in factory.EnumerateDevices()
    ]


class PylonCamera(NodemapCamera):
    """`edge.cameras.camera.Camera` by pypylon."""

    def __init__(self, name: str, config: Config, trigger: TriggerConfig) -> None:
        super().__init__(name, config, trigger)
        self._serial = config.serial
        self._camera: Any = None
        # pylon keeps a pointer to it, and to its slots' memory, while it grabs.
        self._slots: Any = None
        self._held: dict[int, Any] = {}
        self._tick_ns = 1.0

    # --- the device

    def _connect(self) -> tuple[Nodemap, Identity]:
        pylon, genicam = library("pypylon.pylon", "pylon"), library("pypylon.genicam", "pylon")
        factory = pylon.TlFactory.GetInstance()
        found = self._choose([*factory.EnumerateDevices()])
        if not factory.IsDeviceAccessible(found):
            raise CameraBusy(f"camera {self._name}: another program holds {found.GetSerialNumber()}")
        try:
            self._camera = pylon.InstantCamera(factory.CreateDevice(found))
            self._camera.Open()
        except genicam.GenericException as problem:
            raise CameraBusy(f"camera {self._name}: it does not open: {problem}") from None
        losses = genicam.TimeoutException, genicam.RuntimeException
        device = Nodemap(self._camera.GetNodeMap(), camel, (genicam.GenericException,), losses)
        if found.GetDeviceClass() == _EMULATED:
            device.set("AcquisitionFrameRateEnable", FeatureKind.BOOLEAN, value=True)
        identity = Identity(vendor=found.GetVendorName(), model=found.GetModelName(), serial=found.GetSerialNumber())
        return device, identity

    def _choose(self, devices: list[Any]) -> Any:
        serials = {device.GetSerialNumber(): device for device in devices}
        if self._serial is not None:
            if self._serial in serials:
                return serials[self._serial]
            raise CameraAbsent(f"camera {self._name}: no Basler camera with serial number {self._serial} answers")
        if len(devices) == 1:
            return devices[0]
        if not devices:
            raise CameraAbsent(f"camera {self._name}: no Basler camera answers")
        raise CameraConfigError(f"cameras.{self._name}.serial: must name one of {', '.join(serials)}")

    def _disconnect(self) -> None:
        if self._camera is not None:
            self._camera.Close()
        self._camera = None

    def _configure(self, device: Nodemap, identity: Identity) -> CameraInfo:
        info, payload = super()._configure(device, identity), device.integer("PayloadSize")
        if payload != info.frame_bytes:
            raise CameraConfigError(
                f"camera {self._name}: {payload} bytes a frame are not {info.width} x {info.height} "
                f"{info.pixel_format}; chunk data and padding must be off"
            )
        self._tick_ns = self._nanoseconds_a_tick(device)
        return info

    # --- the stream

    def start(self, buffers: list[NDArray[np.uint8]]) -> None:
        """Stream into `buffers`: contiguous and writable."""
        self._opened()
        pylon = library("pypylon.pylon", "pylon")
        self._count_anew()
        self._slots = _slots(pylon, buffers)
        self._camera.MaxNumBuffer.SetValue(len(buffers))
        self._camera.SetBufferFactory(self._slots, pylon.Cleanup_None)
        with self._losing():
            self._camera.StartGrabbing(pylon.GrabStrategy_OneByOne, pylon.GrabLoop_ProvidedByUser)

    def next(self, timeout_s: float) -> CapturedFrame | None:
        """The next frame, complete or not; None after `timeout_s`. Raises CameraLost."""
        self._opened()
        if self._slots is None:
            raise CameraLost(f"camera {self._name}: it is not streaming")
        pylon = library("pypylon.pylon", "pylon")
        with self._losing():
            result = self._camera.RetrieveResult(round(timeout_s * 1000), pylon.TimeoutHandling_Return)
            if result.IsValid():
                return self._hand_over(result)
            is_removed = self._camera.IsCameraDeviceRemoved()
        if is_removed:
            raise CameraLost(f"camera {self._name}: it was removed, or no longer answers")
        return None

    def _hand_over(self, result: Any) -> CapturedFrame:
        now_ns, now_utc_ns = time.monotonic_ns(), time.time_ns()
        slot, block_id = int(result.GetBufferContext()), int(result.GetBlockID())
        complete, ticks = bool(result.GrabSucceeded()), int(result.GetTimeStamp())
        self._held[slot] = result
        self._frames += 1
        self._incomplete += not complete
        return CapturedFrame(
            slot=slot,
            frame_id=self._ids.advance(None if block_id == _NO_ID else block_id) or 0,
            host_timestamp_ns=now_ns,
            host_timestamp_utc_ns=now_utc_ns,
            device_timestamp_ns=round(ticks * self._tick_ns) if ticks else None,
            complete=complete,
            started_ns=self._started_ns(now_ns),
        )

    def trigger(self) -> None:
        """Take one picture, once the camera is ready for it: one that is not loses the trigger. Raises CameraLost."""
        self._opened()
        pylon = library("pypylon.pylon", "pylon")
        with self._losing():
            is_ready = not self._camera.CanWaitForFrameTriggerReady() or self._camera.WaitForFrameTriggerReady(
                _READY_MS, pylon.TimeoutHandling_Return
            )
        if not is_ready:
            raise CameraLost(f"camera {self._name}: it was not ready for a trigger within {_READY_MS} ms")
        super().trigger()

    def release(self, slot: int) -> None:
        """Lend a handed-over buffer back."""
        if self._slots is not None:
            self._held.pop(slot).Release()

    def stop(self) -> None:
        """End the stream: no slot is written after this. Safe to call twice."""
        if self._slots is None:
            return
        with suppress(CameraLost), self._losing():  # of one that is gone what follows does not depend on it
            self._camera.StopGrabbing()
        for result in self._held.values():
            result.Release()
        self._held, self._slots = {}, None

    @contextmanager
    def _losing(self) -> Generator[None, None, None]:
        """While it streams, whatever the library refuses means that the camera has to be opened again."""
        genicam = library("pypylon.genicam", "pylon")
        try:
            yield
        except genicam.GenericException as problem:
            raise CameraLost(f"camera {self._name}: {problem}") from None

    def _nanoseconds_a_tick(self, device: Nodemap) -> float:
        # GigE Vision cameras tell what their clock counts; USB3 Vision's counts ns.
        has_ticks = device.is_available("GevTimestampTickFrequency")
        return 1e9 / device.integer("GevTimestampTickFrequency") if has_ticks else 1.0


def _slots(pylon: ModuleType, buffers: list[NDArray[np.uint8]]) -> Any:
    """The source of buffers that pylon asks: each slot once; its number comes back with each result."""
    free = list(enumerate(buffers))

    class Slots(pylon.BufferFactory):
        def AllocateBuffer(self, buffer_size: int) -> tuple[int | None, int]:  # noqa: N802 - pylon's name
            slot, buffer = free.pop(0)
            return (buffer.ctypes.data if buffer.nbytes >= buffer_size else None), slot

        def FreeBuffer(self, buffer: int, context: int) -> None:  # noqa: N802 - pylon's name
            """The ring's memory is the ring's."""

    return Slots()
