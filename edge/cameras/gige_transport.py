"""How a camera's frames travel: packets, what happens to lost ones, and the chunk data after each picture."""

from edge import camera_config
from edge.cameras.aravis import AravisError, DeviceError
from edge.cameras.aravis_device import Device, FeatureKind
from edge.cameras.aravis_stream import Stream
from edge.cameras.camera import CameraConfigError
from edge.cameras.genicam import write_features

# ArvGvStreamPacketResend.
_RESEND_NEVER, _RESEND_ALWAYS = 0, 1


def set_packets(device: Device, name: str, settings: camera_config.GigeCamera) -> None:
    """Packet size and delay, read back. Raises CameraConfigError. Nothing of it concerns USB3 Vision."""
    if not device.is_gige:
        return
    asked = settings.packet_size_bytes
    used = device.set_packet_size(asked)
    if used != asked:
        raise CameraConfigError(f"cameras.{name}.packet_size_bytes = {asked}: the camera took {used} instead")
    _set_packet_delay(device, name, settings.packet_delay_ns)


def _set_packet_delay(device: Device, name: str, asked_ns: int) -> None:
    setting = f"cameras.{name}.packet_delay_ns = {asked_ns}"
    tick_hz = device.tick_hz()
    if tick_hz == 0 and asked_ns > 0:
        raise CameraConfigError(f"{setting}: the camera does not tell the ticks in which it counts the delay")
    asked = round(asked_ns * tick_hz / 1e9)
    try:
        used = device.set_packet_delay(asked)
    except AravisError as error:
        if error.code == DeviceError.TIMEOUT:
            raise
        if asked_ns > 0:
            raise CameraConfigError(f"{setting}: the camera refuses: {error}") from None
        return  # a camera without a delay has none
    if used != asked:
        raise CameraConfigError(f"{setting}: the camera took {used} ticks of 1/{tick_hz} s instead of {asked}")


def set_stream(device: Device, stream: Stream, settings: camera_config.GigeCamera) -> None:
    """What the receiver does about packets that are missing.

    Without asking again, a frame with a hole is over when the next begins; with it, after the retention, for which the
    frames behind it wait: so a device that cannot send again is not asked.
    """
    resend = settings.packet_resend and device.can_resend()
    stream.set_option("packet-resend", _RESEND_ALWAYS if resend else _RESEND_NEVER)
    stream.set_option("packet-timeout", round(settings.packet_timeout_ms * 1000))
    stream.set_option("frame-retention", round(settings.frame_retention_ms * 1000))


def set_chunks(device: Device, name: str, chunks: tuple[str, ...]) -> None:
    """Switches on these chunks (SFNC ChunkSelector), or all chunk data off. Raises CameraConfigError."""
    section = f"cameras.{name}.chunks"
    if chunks:
        write_features(device, section, {"ChunkModeActive": True})
        write_features(device, section, {f"ChunkEnable[{chunk}]": True for chunk in chunks})
    elif has_chunks(device):
        write_features(device, section, {"ChunkModeActive": False})


def has_chunks(device: Device) -> bool:
    """Whether chunk data follows each picture as the device is set now."""
    if device.feature_kind("ChunkModeActive") is not FeatureKind.BOOLEAN or not device.is_available("ChunkModeActive"):
        return False
    return bool(device.get("ChunkModeActive", FeatureKind.BOOLEAN))
