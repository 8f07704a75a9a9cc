"""Opening a GigE Vision camera: reach it, set it, read everything back. The order is one that every camera stands.

1. Ask whether the device is there and free (a killed program owns it until its heartbeat ends, 2 to 3 s).
2. AcquisitionStop and a pause: a device whose last owner died still streams to the old address.
3. Features with read-back, then the trigger, then an explicit packet size; all features read back once more.
"""

import ipaddress
import time
from contextlib import suppress

from edge import camera_config
from edge.cameras import gvcp
from edge.cameras.aravis import AravisError, Library
from edge.cameras.aravis_device import Device, FeatureKind, FeatureValue, addresses_by_serial
from edge.cameras.camera import CameraAbsent, CameraBusy, CameraConfigError, CameraInfo
from edge.cameras.genicam import compare_features, write_features

# PFNC codes of the formats that the station can read, and the bytes of a pixel.
_PIXEL_FORMATS = {
    0x01080001: ("Mono8", 1),
    0x01080008: ("BayerGR8", 1),
    0x01080009: ("BayerRG8", 1),
    0x0108000A: ("BayerGB8", 1),
    0x0108000B: ("BayerBG8", 1),
    0x02180014: ("RGB8", 3),
    0x02180015: ("BGR8", 3),
}
# Features that another key of the configuration decides.
_DECIDED_ELSEWHERE = {
    "AcquisitionMode": "it is always Continuous",
    "TriggerMode": "trigger.mode decides it",
    "TriggerSelector": "trigger.mode decides it",
    "TriggerSource": "trigger.mode decides it",
    "GevSCPSPacketSize": "packet_size_bytes decides it",
}
# A device needs that long to let go of a stream that its last owner left running.
_SETTLE_S = 0.15


def reach(library: Library, name: str, address: str) -> Device:
    """The device at an IP address, or of that serial number or user-defined name. Raises CameraAbsent, CameraBusy."""
    # What is no serial number may be a user-defined name or an id of the library's own: it looks for those.
    known = address if _is_ip(address) else addresses_by_serial(library).get(address, address)
    controlled = gvcp.is_controlled(known) if _is_ip(known) else False
    if controlled is None:
        raise CameraAbsent(f"camera {name}: no GigE Vision device answers at {known}")
    if controlled:
        raise CameraBusy(f"camera {name}: another program controls {address}")
    try:
        return Device(library, known)
    except AravisError as error:
        raise CameraAbsent(f"camera {name}: {error}") from None


def configure(
    device: Device, name: str, settings: camera_config.GigeCamera, trigger: camera_config.TriggerConfig
) -> CameraInfo:
    """Applies the station's settings and reads them back. Raises CameraConfigError, and AravisError from the device."""
    if not device.is_gige():
        raise CameraConfigError(f"camera {name}: {settings.address} is not a GigE Vision device")
    section = f"cameras.{name}.features"
    for feature in settings.features.keys() & _DECIDED_ELSEWHERE.keys():
        raise CameraConfigError(f"{section}.{feature}: {_DECIDED_ELSEWHERE[feature]}")
    device.execute("AcquisitionStop")
    time.sleep(_SETTLE_S)
    write_features(device, section, settings.features)
    write_features(device, f"cameras.{name}.trigger", _trigger_features(device, trigger))
    _set_packet_size(device, name, settings.packet_size_bytes)
    compare_features(device, section, settings.features)
    return _info(device, name, None if trigger.mode == "software" else _period_s(device))


def _trigger_features(device: Device, trigger: camera_config.TriggerConfig) -> dict[str, FeatureValue]:
    always: dict[str, FeatureValue] = {"AcquisitionMode": "Continuous", "TriggerSelector": "FrameStart"}
    if trigger.mode == "free":
        always["TriggerMode"] = "Off"
    # What a simpler camera lacks it need not be told; a camera that cannot be triggered is refused by name.
    asked = {feature: value for feature, value in always.items() if device.is_available(feature)}
    return asked if trigger.mode == "free" else asked | {"TriggerMode": "On", "TriggerSource": "Software"}


def _set_packet_size(device: Device, name: str, asked: int) -> None:
    used = device.set_packet_size(asked)
    if used != asked:
        raise CameraConfigError(f"cameras.{name}.packet_size_bytes = {asked}: the camera took {used} instead")


def _info(device: Device, name: str, period_s: float | None) -> CameraInfo:
    width, height = (int(device.get(feature, FeatureKind.INTEGER)) for feature in ("Width", "Height"))
    pixel_format, pixel_bytes = _pixel_format(device, name)
    frame_bytes = device.payload_bytes()
    if frame_bytes != width * height * pixel_bytes:
        raise CameraConfigError(
            f"camera {name}: {frame_bytes} bytes a frame are not {width} x {height} {pixel_format}; "
            "chunk data and padding must be off"
        )
    vendor, model, serial = device.identity()
    return CameraInfo(
        vendor=vendor,
        model=model,
        serial=serial,
        width=width,
        height=height,
        pixel_format=pixel_format,
        frame_bytes=frame_bytes,
        period_s=period_s,
    )


def _pixel_format(device: Device, name: str) -> tuple[str, int]:
    code = device.pixel_format_code()
    if code not in _PIXEL_FORMATS:
        known = ", ".join(pixel_format for pixel_format, _bytes in _PIXEL_FORMATS.values())
        raise CameraConfigError(f"camera {name}: its pixel format 0x{code:08x} is none of {known}; set PixelFormat")
    return _PIXEL_FORMATS[code]


def _period_s(device: Device) -> float | None:
    with suppress(AravisError):  # a camera need not tell its rate
        rate_hz = device.frame_rate_hz()
        return 1 / rate_hz if rate_hz > 0 else None
    return None


def _is_ip(address: str) -> bool:
    try:
        ipaddress.IPv4Address(address)
    except ValueError:
        return False
    return True
