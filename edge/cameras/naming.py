"""Which camera a person means by a word: one of the station's by its name, or any by where it is."""

import difflib
import ipaddress
from collections.abc import Mapping
from pathlib import Path

import msgspec

from edge.camera_config import (
    CameraConfig,
    FeatureValue,
    FolderCamera,
    GenicamCamera,
    GigeCamera,
    StreamCamera,
    V4l2Camera,
)
from edge.cameras import v4l2_kernel as kernel
from edge.cameras.camera import CameraConfigError
from edge.cameras.v4l2_device import Device
from edge.cameras.v4l2_errors import meaning
from edge.urls import may_be_shown, openable, without_secrets

# The kernel's codes, and the configuration's names for them.
_VIDEO_FORMATS = {
    "YUYV": "YUYV",
    "MJPG": "MJPEG",
    "GREY": "GREY",
    "RGGB": "RGGB",
    "BA81": "BGGR",
    "GRBG": "GRBG",
    "GBRG": "GBRG",
}
_STREAMS = ("rtsp://", "rtsps://", "http://", "https://")


class Meant(msgspec.Struct, frozen=True, kw_only=True):
    """A camera that was asked for. `is_configured`: it stands in `config.toml`, under this name."""

    name: str
    config: CameraConfig
    is_configured: bool


def meant(word: str, cameras: Mapping[str, CameraConfig]) -> Meant:
    """The camera of that name, else what is at that path, URL, IP address or serial number, with its own settings."""
    if word in cameras:
        return Meant(name=word, config=cameras[word], is_configured=True)
    return Meant(name=may_be_shown(word), config=_found_at(word), is_configured=False)


def _found_at(word: str) -> CameraConfig:
    if word.startswith(_STREAMS):
        return _stream(word)
    if "://" in word:
        raise CameraConfigError(f"{may_be_shown(word)}: a stream begins with {', '.join(_STREAMS)}")
    if word.startswith("/dev/"):
        return _video_device(Path(word))
    if "/" in word or Path(word).is_dir():
        return FolderCamera(source="folder", path=Path(word).absolute())
    # What its maker or its last user left switched on is looked at, not changed.
    return GigeCamera(source="gige", address=word, allow_automatic=True)


def _stream(url: str) -> StreamCamera:
    try:
        return StreamCamera(source="stream", url=openable(url))
    except ValueError as problem:
        raise CameraConfigError(f"{without_secrets(url)}: {problem}") from None


def _video_device(device: Path) -> V4l2Camera:
    """As it was left by whoever used it last. Raises CameraAbsent and the like where it cannot be asked."""
    with meaning(str(device), device):
        opened = Device(device)
        try:
            now = kernel.Format(type=kernel.VIDEO_CAPTURE)
            opened.call(kernel.Request.G_FMT, now)
            codes = [kernel.fourcc_text(now.fmt.pix.pixelformat), *opened.fourccs()]
        finally:
            opened.close()
    formats = [_VIDEO_FORMATS[code] for code in codes if code in _VIDEO_FORMATS]
    if not formats:
        raise CameraConfigError(f"camera {device}: it has {', '.join(codes)}, none of {', '.join(_VIDEO_FORMATS)}")
    size = {"width": now.fmt.pix.width, "height": now.fmt.pix.height, "pixel_format": formats[0]}
    return V4l2Camera.model_validate({"source": "v4l2", "device": device, "allow_automatic": True} | size)


def not_there(word: str, cameras: Mapping[str, CameraConfig]) -> str:
    """What to add where nothing answers to a word that is no configured camera's name."""
    try:
        ipaddress.IPv4Address(word)
    except ValueError:
        names = difflib.get_close_matches(word, cameras, n=1) or list(cameras)
        return f"; config.toml has {', '.join(names)}" if names else "; see goldline camera list"
    return ""


def adjusted(
    asked: Meant,
    *,
    mode: str | None = None,
    shot: str | None = None,
    settings: Mapping[str, FeatureValue] | None = None,
) -> Meant:
    """With another trigger mode, as for one of its shots, and with further features or controls.

    Raises CameraConfigError where the camera has no such shot or no settings.
    """
    config, changes = asked.config, dict[str, object]()
    if mode is not None:
        changes["trigger"] = config.trigger.model_copy(update={"mode": mode})
    more = {**_of_shot(asked, shot), **(settings or {})}
    if isinstance(config, GenicamCamera):
        changes |= {"shot": (), "features": {**config.features, **more}}
    elif isinstance(config, V4l2Camera):
        changes["controls"] = {**config.controls, **more}
    elif more:
        raise CameraConfigError(f"camera {asked.name}: a {config.source} camera has no settings of its own")
    return msgspec.structs.replace(asked, config=config.model_copy(update=changes))


def _of_shot(asked: Meant, name: str | None) -> dict[str, FeatureValue]:
    if name is None:
        return {}
    shots = {shot.name: shot.features for shot in asked.config.shots}
    if name not in shots:
        has = f"it has {', '.join(shots)}" if shots else "it has none"
        raise CameraConfigError(f"camera {asked.name}: no [[shot]] named {name}; {has}")
    return dict(shots[name])
