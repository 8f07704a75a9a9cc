"""A camera of any maker by the maker's GenTL producer, by harvesters and genicam (extra `gentl`).

harvesters allocates the producer's buffers, so each frame is copied once into its slot. It throws frames away that are
not whole and says so: then an incomplete frame is handed over, whose slot was not written. While no slot is free, what
comes is fetched and lost, so that the next frame is a new one. The genicam library keeps each device's description for
as long as the process lives: each opening of a device that was there costs some 0.4 MB.
"""

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.camera_config import GentlCamera as Config
from edge.camera_config import TriggerConfig
from edge.cameras.camera import CameraAbsent, CameraBusy, CameraConfigError, CameraLost, CapturedFrame, Found
from edge.cameras.nodemap import Nodemap, snake
from edge.cameras.nodemap_camera import Identity, NodemapCamera, library
from edge.cameras.pacing import Buffers

# DEVICE_ACCESS_STATUS of GenTL: no access, opened by another, and the two ways in which this process has it already.
_TAKEN = frozenset({3, 4, 5, 6})
# One wait of harvesters for a frame, which ends with it; of 1 ms, its default, it makes a busy loop.
_WAIT_MS = 20
# It takes a timeout of 0 for none at all.
_SHORTEST_WAIT_S = 0.001


def discover(producer: Path) -> list[Found]:
    """Every device that this producer finds. Raises CameraConfigError for one that does not load."""
    harvester = _harvester(producer, f"producer = {producer}")
    try:
        return [device.found for device in _listed(harvester)]
    finally:
        harvester.reset()


class _Device(msgspec.Struct, frozen=True, kw_only=True):
    """What a producer says of a device, before it is opened."""

    id: str
    found: Found

    def is_called(self, name: str) -> bool:
        return name in (self.id, self.found.serial, self.found.name)


def _listed(harvester: Any) -> list[_Device]:
    return [_device(info) for info in harvester.device_info_list]


def _device(info: Any) -> _Device:
    gentl = library("genicam.gentl", "gentl")

    def told(what: str) -> Any:
        try:
            return getattr(info, what)
        except gentl.GenericException:  # a producer need not know everything
            return None

    serial = told("serial_number") or ""
    found = Found(
        source="gentl",
        address=serial or info.id_,
        vendor=told("vendor") or "",
        model=told("model") or "",
        serial=serial,
        name=told("user_defined_name") or "",
        is_busy=told("access_status") in _TAKEN,
        aliases=(info.id_,),
    )
    return _Device(id=info.id_, found=found)


def _harvester(producer: Path, setting: str) -> Any:
    """A Harvester that has looked for devices. Raises CameraConfigError."""
    core, gentl = library("harvesters.core", "gentl"), library("genicam.gentl", "gentl")
    try:
        if not producer.is_file():
            raise CameraConfigError(f"{setting}: no such file; a GenTL producer is the maker's .cti")
    except PermissionError as problem:
        raise CameraConfigError(f"{setting}: {problem.strerror}") from None
    # What it logs, with a traceback each time, comes as an error too.
    logging.getLogger("harvesters.core").setLevel(logging.CRITICAL)
    harvester = core.Harvester()
    try:
        harvester.add_file(str(producer), check_existence=True, check_validity=True)
        harvester.update()
    except (OSError, gentl.GenericException) as problem:
        harvester.reset()
        raise CameraConfigError(f"{setting}: it does not load: {problem}") from None
    return harvester


class GentlCamera(NodemapCamera):
    """`edge.cameras.camera.Camera` by a GenTL producer."""

    def __init__(self, name: str, config: Config, trigger: TriggerConfig) -> None:
        super().__init__(name, config, trigger)
        self._producer, self._wanted = config.producer, config.device
        self._harvester: Any = None
        self._acquirer: Any = None
        self._missed = 0
        self._free = Buffers()
        self._buffers: list[NDArray[np.uint8]] = []

    # --- the device

    def _connect(self) -> tuple[Nodemap, Identity]:
        self._harvester = _harvester(self._producer, f"cameras.{self._name}.producer = {self._producer}")
        chosen = self._choose(_listed(self._harvester))
        if chosen.found.is_busy:
            raise CameraBusy(f"camera {self._name}: another program holds {chosen.id}")
        try:
            self._acquirer = self._harvester.create({"id_": chosen.id})
        except library("genicam.gentl", "gentl").GenericException as problem:
            raise CameraBusy(f"camera {self._name}: it does not open: {problem}") from None
        core, genapi, gentl = (library(it, "gentl") for it in ("harvesters.core", "genicam.genapi", "genicam.gentl"))
        self._acquirer.add_callback(core.ImageAcquirer.Events.INCOMPLETE_BUFFER, _callback(core, self._note_miss))
        # What a refused register comes as depends on the producer: as a loss, it is tried again.
        losses = gentl.GenericException, genapi.TimeoutException, genapi.RuntimeException
        device = Nodemap(self._acquirer.remote_device.node_map, snake, (genapi.GenericException,), losses)
        found = chosen.found
        return device, Identity(vendor=found.vendor, model=found.model, serial=found.address)

    def _choose(self, devices: list[_Device]) -> _Device:
        if self._wanted is not None:
            for device in devices:
                if device.is_called(self._wanted):
                    return device
            raise CameraAbsent(f"camera {self._name}: no device {self._wanted} answers to {self._producer.name}")
        if len(devices) == 1:
            return devices[0]
        if not devices:
            raise CameraAbsent(f"camera {self._name}: no device answers to {self._producer.name}")
        known = ", ".join(device.found.address for device in devices)
        raise CameraConfigError(f"cameras.{self._name}.device: must name one of {known}")

    def _disconnect(self) -> None:
        acquirer, harvester = self._acquirer, self._harvester
        self._harvester = self._acquirer = None
        if acquirer is not None:
            self._though_gone(acquirer.destroy)
        if harvester is not None:
            self._though_gone(harvester.reset)

    # --- the stream

    def start(self, buffers: list[NDArray[np.uint8]]) -> None:
        """Stream into these."""
        self._opened()
        self._count_anew()
        self._missed, self._buffers = 0, buffers
        self._free.lend(len(buffers))
        self._acquirer.timeout_period_on_update_event_data_call = _WAIT_MS
        self._acquirer.num_buffers = max(len(buffers), self._acquirer.min_num_buffers)
        try:
            self._acquirer.start()
        except library("genicam.gentl", "gentl").GenericException as problem:
            raise CameraLost(f"camera {self._name}: it does not start: {problem}") from None

    def next(self, timeout_s: float) -> CapturedFrame | None:
        """The next frame, complete or not; None after `timeout_s`. Raises CameraLost."""
        self._opened()
        if not self._buffers:
            raise CameraLost(f"camera {self._name}: it is not streaming")
        until_s = time.monotonic() + timeout_s
        while True:
            wait_s = max(_SHORTEST_WAIT_S, until_s - time.monotonic())
            try:
                frame = self._taken(self._acquirer.try_fetch(timeout=wait_s))
            except library("genicam.gentl", "gentl").GenericException as problem:
                raise CameraLost(f"camera {self._name}: {problem}") from None
            if frame is not None or time.monotonic() >= until_s:
                return frame

    def _taken(self, fetched: Any) -> CapturedFrame | None:
        """What to hand over of this, if anything; the producer has its buffer back in any case."""
        if fetched is None:
            missed, self._missed = self._missed, 0
            return self._frame(None, time.monotonic_ns(), None) if missed else None
        try:
            # Of a payload that has no picture in it there are no components.
            components = getattr(fetched.payload, "components", ())
            picture = self._picture(fetched.module, components[0]) if components else None
            return self._frame(int(fetched.module.frame_id), time.monotonic_ns(), picture)
        finally:
            fetched.queue()

    def _picture(self, buffer: Any, component: Any) -> NDArray[np.uint8] | None:
        """The bytes as they came, None of another size. harvesters' own `data` is unpacked, and padded lines stay so."""
        info = self._opened_info()
        if (component.width, component.height) != (info.width, info.height):
            return None
        sent = np.frombuffer(buffer.raw_buffer, np.uint8)[component.data_offset :]
        return without_padding(sent, info.height, info.frame_bytes, int(component.x_padding))

    def _frame(self, device_id: int | None, now_ns: int, picture: NDArray[np.uint8] | None) -> CapturedFrame | None:
        frame_id = self._ids.advance(device_id)
        slot = None if frame_id is None else self._free.take()
        if slot is None or frame_id is None:
            self._dropped += 1
            return None
        if picture is not None:
            np.copyto(self._buffers[slot][: picture.size], picture)
        self._frames += 1
        self._incomplete += picture is None
        return CapturedFrame(
            slot=slot,
            frame_id=frame_id,
            host_timestamp_ns=now_ns,
            host_timestamp_utc_ns=time.time_ns(),
            device_timestamp_ns=None,
            complete=picture is not None,
            started_ns=self._started_ns(now_ns),
        )

    def _note_miss(self) -> None:
        self._missed += 1

    def release(self, slot: int) -> None:
        """Lend a handed-over buffer back."""
        if self._buffers:
            self._free.give(slot)

    def stop(self) -> None:
        """End the stream: no slot is written after this. Safe to call twice."""
        if self._buffers:
            self._though_gone(self._acquirer.stop)
        self._buffers = []

    def _though_gone(self, call: Callable[[], None]) -> None:
        """A step of letting go, which a device that is gone does not answer."""
        with suppress(library("genicam.gentl", "gentl").GenericException):
            call()


def without_padding(sent: NDArray[np.uint8], height: int, frame_bytes: int, padding: int) -> NDArray[np.uint8] | None:
    """The flat `frame_bytes` of a picture whose lines each end with so many bytes of nothing; None where some lack."""
    line_bytes, rest = divmod(frame_bytes, height)
    stride = line_bytes + padding
    if not padding:
        return sent[:frame_bytes] if sent.size >= frame_bytes else None
    if rest or sent.size < stride * height:
        return None
    return sent[: stride * height].reshape(height, stride)[:, :line_bytes].reshape(-1)


def _callback(core: Any, call: Callable[[], None]) -> Any:
    """The way to be told of something by harvesters."""

    class Told(core.Callback):
        def emit(self, context: object = None) -> None:
            call()

    return Told()
