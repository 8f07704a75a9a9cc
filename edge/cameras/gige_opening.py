"""Opening a GigE Vision or USB3 Vision camera: reach it, set it, read everything back. Every camera stands this order.

1. Ask whether the device is there and free (a killed program owns it until its heartbeat ends, 2 to 3 s).
2. AcquisitionStop and a pause: a device whose last owner died still streams to the old address.
3. The settings (`genicam_settings`), among them chunk data and an explicit packet size, all with read-back.
"""

import time

from edge import camera_config
from edge.cameras import gvcp
from edge.cameras.aravis import AravisError, Library
from edge.cameras.aravis_device import Device, FeatureKind
from edge.cameras.camera import CameraAbsent, CameraBusy, CameraConfigError, CameraInfo
from edge.cameras.genicam_settings import apply_settings, exposure_s, period_s
from edge.cameras.gige_discovery import Listed, find, is_ip
from edge.cameras.gige_transport import has_chunks, set_chunks, set_packets
from edge.cameras.usb_claim import is_claimed
from edge.images import frame_bytes
from edge.pixel_formats import PIXEL_FORMATS

_PIXEL_FORMATS = {known.code: name for name, known in PIXEL_FORMATS.items() if known.code is not None}
# Features that a key of this source decides.
_DECIDED_ELSEWHERE = {
    "GevSCPSPacketSize": "packet_size_bytes decides it",
    "GevSCPD": "packet_delay_ns decides it",
    "ChunkModeActive": "chunks decides it",
    "ChunkSelector": "chunks decides it",
    "ChunkEnable": "chunks decides it",
}
# A device needs that long to let go of a stream that its last owner left running.
_SETTLE_S = 0.15


def reach(library: Library, name: str, address: str) -> tuple[Device, str | None]:
    """The device of this address, and its IP address, None of a USB3 Vision device.

    Raises CameraAbsent, CameraBusy, and CameraConfigError where the address is that of several devices.
    """
    known = address
    if not is_ip(address):
        device = _device_of(library, name, address)
        # libaravis finds it out by failing, leaves its device half made, and GLib complains (0.8.26).
        if not device.is_gige and is_claimed(device.serial):
            raise CameraBusy(f"camera {name}: another program uses {address}, or has not let it go yet")
        known = device.key
    ip_address = known if is_ip(known) else None
    if ip_address is not None:
        controlled = gvcp.is_controlled(ip_address)
        if controlled is None:
            raise CameraAbsent(f"camera {name}: no GigE Vision device answers at {ip_address}")
        if controlled:
            raise CameraBusy(f"camera {name}: another program controls {address}")
    try:
        return Device(library, known), ip_address
    except AravisError as error:
        raise CameraAbsent(f"camera {name}: {error}") from None


def _device_of(library: Library, name: str, address: str) -> Listed:
    found = find(library, address)
    if not found:
        raise CameraAbsent(f"camera {name}: no GigE Vision or USB3 Vision device answers as {address}")
    if len(found) > 1:
        said = ", ".join(f"{device.key} (serial {device.serial})" for device in found)
        raise CameraConfigError(f"cameras.{name}.address = {address!r}: several devices answer as that: {said}")
    return found[0]


def configure(
    device: Device, name: str, settings: camera_config.GigeCamera, trigger: camera_config.TriggerConfig
) -> tuple[CameraInfo, list[str]]:
    """Applies the station's settings and reads them back; also returns the automatic features it switched off.

    The first shot's features are left set. Raises CameraConfigError, and AravisError from the device.
    """
    device.execute("AcquisitionStop")
    time.sleep(_SETTLE_S)

    def transport() -> None:
        set_chunks(device, name, settings.chunks)
        set_packets(device, name, settings)

    switched_off = apply_settings(device, name, settings, trigger, transport, _DECIDED_ELSEWHERE)
    return _info(device, name, period_s(device) if trigger.mode == "free" else None), switched_off


def _info(device: Device, name: str, period_s: float | None) -> CameraInfo:
    width, height = (int(device.get(feature, FeatureKind.INTEGER)) for feature in ("Width", "Height"))
    pixel_format = _pixel_format(device, name)
    payload = device.payload_bytes()
    picture = frame_bytes(width, height, pixel_format)
    if payload < picture or (payload > picture and not has_chunks(device)):
        raise CameraConfigError(
            f"camera {name}: {payload} bytes a frame are not {width} x {height} {pixel_format}; padding must be off"
        )
    vendor, model, serial = device.identity()
    return CameraInfo(
        vendor=vendor,
        model=model,
        serial=serial,
        width=width,
        height=height,
        pixel_format=pixel_format,
        frame_bytes=payload,
        period_s=period_s,
        exposure_s=exposure_s(device),
    )


def _pixel_format(device: Device, name: str) -> str:
    code = device.pixel_format_code()
    if code not in _PIXEL_FORMATS:
        known = ", ".join(_PIXEL_FORMATS.values())
        raise CameraConfigError(f"camera {name}: its pixel format 0x{code:08x} is none of {known}; set PixelFormat")
    return _PIXEL_FORMATS[code]
