"""Setting a V4L2 camera: format, rate and controls as the station wants them, each read back."""

import math

import msgspec

from edge import camera_config
from edge.camera_config import FeatureValue
from edge.cameras.camera import CameraConfigError, CameraInfo
from edge.cameras.v4l2_controls import EXPOSURE_TIME_ABSOLUTE, Controls
from edge.cameras.v4l2_device import Device, Layout
from edge.cameras.v4l2_reception import Timing
from edge.images import frame_bytes

# The configuration's name: the kernel's, and that of `edge.images`.
FORMATS = {
    "YUYV": ("YUYV", "YUV422_8"),
    "MJPEG": ("MJPG", "JPEG"),
    "GREY": ("GREY", "Mono8"),
    "RGGB": ("RGGB", "BayerRG8"),
    "BGGR": ("BA81", "BayerBG8"),
    "GRBG": ("GRBG", "BayerGR8"),
    "GBRG": ("GBRG", "BayerGB8"),
}
# The kernel rounds a rate to whole numbers in a fraction; a larger difference is another rate.
_RATE_TOLERANCE = 0.01
# `exposure_time_absolute` counts in these.
_EXPOSURE_UNIT_S = 100e-6


class Opened(msgspec.Struct, frozen=True, kw_only=True):
    """What came of the settings. `stilled` are the automatic controls that were switched off."""

    info: CameraInfo
    layout: Layout
    timing: Timing
    stilled: dict[str, FeatureValue]


def configure(
    device: Device, name: str, settings: camera_config.V4l2Camera, trigger: camera_config.TriggerConfig
) -> Opened:
    """Applies the station's settings. Raises CameraConfigError, and OSError from the device."""
    if trigger.mode == "line":
        raise CameraConfigError(
            f'cameras.{name}.trigger.mode = "line": a V4L2 camera has no trigger input; "software" takes the first '
            "picture that begins after the order"
        )
    layout = _set_layout(device, name, settings)
    period_s = _set_rate(device, name, layout, settings.rate_hz)
    if trigger.mode == "software" and period_s is None:
        raise CameraConfigError(
            f'cameras.{name}.trigger.mode = "software": the camera tells no rate, so nobody knows when a picture began'
        )
    controls = Controls(device)
    section = f"cameras.{name}.controls"
    stilled = _still(controls, section, settings)
    controls.write(section, settings.controls)
    exposure_s = _exposure_s(controls)
    return Opened(
        info=_info(device, settings, layout, period_s if trigger.mode == "free" else None, exposure_s),
        layout=layout,
        # A camera that exposes for longer than its period is slower than it says.
        timing=Timing(period_s=max(period_s or 0.0, exposure_s or 0.0), exposure_s=exposure_s),
        stilled=stilled,
    )


def _set_layout(device: Device, name: str, settings: camera_config.V4l2Camera) -> Layout:
    code, _pixel_format = FORMATS[settings.pixel_format]
    layout = device.set_layout(settings.width, settings.height, code)
    if layout.fourcc != code:
        has = ", ".join(_configured(fourcc) for fourcc in device.fourccs())
        raise CameraConfigError(f'cameras.{name}.pixel_format = "{settings.pixel_format}": the camera has {has}')
    for key in ("width", "height"):
        asked, took = getattr(settings, key), getattr(layout, key)
        if took != asked:
            sizes = ", ".join(f"{width}x{height}" for width, height in device.sizes(code))
            has = f"; it has {sizes}" if sizes else ""
            raise CameraConfigError(f"cameras.{name}.{key} = {asked}: the camera took {took} instead{has}")
    # A compressed picture has no lines, whatever the driver says.
    return msgspec.structs.replace(layout, line_bytes=0) if code == "MJPG" else layout


def _configured(code: str) -> str:
    """A format of the camera by the name that the configuration has for it, or the kernel's."""
    return next((name for name, (fourcc, _pixel_format) in FORMATS.items() if fourcc == code), code)


def _set_rate(device: Device, name: str, layout: Layout, asked_hz: float | None) -> float | None:
    took_hz = device.rate_hz() if asked_hz is None else device.set_rate(asked_hz)
    if asked_hz is not None and (took_hz is None or not math.isclose(took_hz, asked_hz, rel_tol=_RATE_TOLERANCE)):
        rates = ", ".join(f"{rate:.10g}" for rate in sorted(device.rates_hz(layout)))
        has = f"; at {layout.width}x{layout.height} it has {rates}" if rates else ""
        took = "has no rate to set" if took_hz is None else f"took {took_hz:.10g} instead"
        raise CameraConfigError(f"cameras.{name}.rate_hz = {asked_hz:.10g}: the camera {took}{has}")
    return 1 / took_hz if took_hz else None


def _still(controls: Controls, section: str, settings: camera_config.V4l2Camera) -> dict[str, FeatureValue]:
    """Switches off what moves by itself and is not asked for, and returns it. Raises CameraConfigError for what is."""
    if settings.allow_automatic:
        return {}
    automatic = controls.automatic()
    for name, value in settings.controls.items():
        if name in automatic and controls.meant(section, name, value) != automatic[name]:
            raise CameraConfigError(
                f"{section}.{name} = {value!r}: it moves under the reference set; fix it by {automatic[name]!r}, or "
                "declare allow_automatic = true"
            )
    moving = {name: still for name, still in automatic.items() if controls.read(name) not in (still, None)}
    controls.write(section, moving)
    return moving


def _exposure_s(controls: Controls) -> float | None:
    """How long it exposes, where it says so and nothing moves it."""
    control = controls.by_id(EXPOSURE_TIME_ABSOLUTE)
    feature = None if control is None else controls.feature(control.name)
    if feature is None or not feature.is_writable or not isinstance(feature.value, int):
        return None
    return feature.value * _EXPOSURE_UNIT_S


def _info(
    device: Device,
    settings: camera_config.V4l2Camera,
    layout: Layout,
    period_s: float | None,
    exposure_s: float | None,
) -> CameraInfo:
    identity = device.identity()
    _code, pixel_format = FORMATS[settings.pixel_format]
    is_compressed = pixel_format == "JPEG"
    return CameraInfo(
        vendor=identity.vendor,
        model=identity.card,
        serial=identity.serial,
        width=layout.width,
        height=layout.height,
        pixel_format=pixel_format,
        # A compressed picture may take what the driver says, and no slot must be smaller.
        frame_bytes=layout.picture_bytes if is_compressed else frame_bytes(layout.width, layout.height, pixel_format),
        period_s=period_s,
        exposure_s=exposure_s,
    )
