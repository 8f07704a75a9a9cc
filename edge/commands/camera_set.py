"""goldline camera set: write features, read them back, and print the line that keeps them."""

import argparse
from typing import TYPE_CHECKING, Any

from rich.console import Console

from edge.commands.camera_common import add_camera, as_toml, literal, pairs

if TYPE_CHECKING:
    from edge.camera_config import FeatureValue
    from edge.cameras.camera import Camera, Feature

EPILOG = """\
examples:
  goldline camera set top ExposureTime=4000 Gain=0
  goldline camera set /dev/video0 exposure_time_absolute=50

What is set here is lost when the camera is switched off; the printed line in config.toml keeps it.
exit code: 0, or 2 where the camera has no such feature, refuses the value, or reads back another
"""
_TRUE, _FALSE = ("true", "on", "1"), ("false", "off", "0")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `goldline camera set`."""
    parser.description = "Write features in this order, read each back, and print what the camera has now."
    parser.epilog = EPILOG
    add_camera(parser)
    parser.add_argument("features", nargs="+", metavar="NAME=VALUE", help="a feature (GenICam) or control (V4L2)")


def run(arguments: argparse.Namespace) -> int:
    """Write, read back, print."""
    from edge.cameras.session import opened
    from edge.commands.camera_common import asked, reached

    wanted = pairs(arguments.features)
    camera, station = asked(arguments)
    asking = Console(stderr=True).status(f"setting {camera.name}")
    with asking, reached(camera, station), opened(camera.name, camera.config) as (device, _info):
        now = write(camera.name, device, wanted)
    for name, feature in now.items():
        unit = f" {feature.unit}" if feature.unit else ""
        print(f"{name} is {feature.value}{unit}")
    section = camera.name if camera.is_configured else "NAME"
    key = "controls" if camera.config.source == "v4l2" else "features"
    print(f"to keep it, in config.toml (the camera forgets it), below [cameras.{section}]:")
    print(as_toml(key, {name: feature.value for name, feature in now.items() if feature.value is not None}))
    return 0


def write(camera: str, device: "Camera", wanted: dict[str, str]) -> "dict[str, Feature]":
    """Each feature as the device has it afterwards. Raises CameraConfigError."""
    from edge.cameras.camera import CameraConfigError

    described: Any = device
    if not hasattr(device, "set_feature"):
        raise CameraConfigError(f"camera {camera}: it has no settings of its own")
    features: dict[str, Feature] = {feature.name: feature for feature in described.features()}
    return {
        # The name may say for which entry of a selector: LineMode[Line1].
        name: described.set_feature(name, typed(name, text, features.get(name.partition("[")[0])))
        for name, text in wanted.items()
    }


def typed(name: str, text: str, feature: "Feature | None") -> "FeatureValue":
    """A value of the feature's kind; as it is written where that is not known. Raises CameraConfigError."""
    from edge.cameras.camera import CameraConfigError

    if feature is None:
        return literal(text)
    if feature.kind == "command":
        raise CameraConfigError(f"{name}: a command has no value")
    if feature.kind in ("enumeration", "string"):
        return text.strip('"')
    if feature.kind == "boolean" and text.lower() in (*_TRUE, *_FALSE):
        return text.lower() in _TRUE
    try:
        return {"integer": _whole, "float": float}[feature.kind](text)
    except (KeyError, ValueError):
        raise CameraConfigError(f"{name} = {text}: the feature is {feature.kind}") from None


def _whole(text: str) -> int:
    return int(text, 0)
