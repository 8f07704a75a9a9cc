"""goldline camera info: what a camera is, what it delivers, and every feature it has."""

import argparse
import difflib
import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from edge.commands.camera_common import add_camera

if TYPE_CHECKING:
    from edge.camera_config import CameraConfig
    from edge.cameras.camera import Camera, CameraInfo, Feature

EPILOG = """\
examples:
  goldline camera info trunk
  goldline camera info 192.168.1.20 ExposureTime Gain
  goldline camera info /dev/video0 --json

exit code: 0, or 2 where the camera cannot be opened or has no such feature
"""
# An enumeration's entries in a table; `goldline camera info CAMERA FEATURE` shows them all.
_MOST_ENTRIES = 6


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `goldline camera info`."""
    parser.description = (
        "What a camera is, what it delivers, and every feature it has: value, bounds, whether it can be set."
    )
    parser.epilog = EPILOG
    add_camera(parser)
    parser.add_argument("features", nargs="*", metavar="FEATURE", help="these alone, with what they are for")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Open it, read everything, print."""
    from edge.cameras.session import opened
    from edge.commands.camera_common import asked, reached

    camera, station = asked(arguments)
    with (
        Console(stderr=True).status(f"asking {camera.name}"),
        reached(camera, station),
        opened(camera.name, camera.config) as (device, info),
    ):
        features = chosen(features_of(device), arguments.features)
    if arguments.json:
        told = {"camera": camera.name, "source": camera.config.source, **msgspec.to_builtins(info)}
        print(json.dumps(told | {"features": msgspec.to_builtins(features)}))
        return 0
    for line in in_words(camera.name, camera.config, info):
        print(line)
    _print_features(features, is_full=bool(arguments.features))
    return 0


def features_of(device: "Camera") -> "list[Feature]":
    """Every feature of an open camera; none where it has none of its own."""
    read: Any = getattr(device, "features", None)
    return [] if read is None else list(read())


def chosen(features: "Sequence[Feature]", names: Sequence[str]) -> "list[Feature]":
    """Those of these names, whatever their case; all where none is named. Raises CameraConfigError for another."""
    from edge.cameras.camera import CameraConfigError

    known = {feature.name.lower(): feature for feature in features}
    for name in names:
        if name.lower() not in known:
            close = difflib.get_close_matches(name, [feature.name for feature in features])
            hint = f"; it has {', '.join(close)}" if close else ""
            raise CameraConfigError(f"{name}: the camera has no feature of that name{hint}")
    return [known[name.lower()] for name in names] if names else list(features)


def in_words(name: str, config: "CameraConfig", info: "CameraInfo") -> list[str]:
    """Identity, format and rate, a line each."""
    unknown = "it does not tell its rate" if config.trigger.mode == "free" else "one picture for each trigger"
    rate = unknown if info.period_s is None else f"{1 / info.period_s:.4g} pictures a second"
    exposure = "" if info.exposure_s is None else f", exposed for {info.exposure_s * 1e3:.4g} ms"
    return [
        f"{name}: {info.vendor} {info.model}, serial number {info.serial} ({config.source})",
        f"{info.width} x {info.height} px {info.pixel_format}, {info.frame_bytes} bytes a picture",
        rate + exposure,
    ]


def _print_features(features: "Sequence[Feature]", *, is_full: bool) -> None:
    console = Console(highlight=False)
    if not features:
        return
    if not console.is_terminal:
        for line in _plain(features, is_full=is_full):
            print(line)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for head in ("feature", "value", "unit", "may be", ""):
        table.add_column(head, overflow="fold")
    path: tuple[str, ...] | None = None
    for feature in features:
        if feature.path != path:
            path = feature.path
            table.add_row(Text(" / ".join(path) or "features", style="bold"))
        allowed = may_be(feature, limit=None if is_full else _MOST_ENTRIES)
        access = "rw" if feature.is_writable else "ro"
        table.add_row(*map(Text, (f"  {feature.name}", value(feature), feature.unit or "", allowed, access)))
        if is_full and feature.description:
            table.add_row("", "", "", Text(feature.description))
    console.print(table)


def _plain(features: "Iterable[Feature]", *, is_full: bool) -> Iterable[str]:
    for feature in features:
        unit = f" {feature.unit}" if feature.unit else ""
        allowed = may_be(feature, limit=None)
        told = f"  ({allowed})" if allowed else ""
        where = "/".join((*feature.path, feature.name))
        yield f"{'rw' if feature.is_writable else 'ro'} {where} = {value(feature)}{unit}{told}"
        if is_full and feature.description:
            yield f"   {feature.description}"


def value(feature: "Feature") -> str:
    """As `config.toml` would have it; `-` where it cannot be read now."""
    if feature.kind == "command":
        return "(command)"
    if isinstance(feature.value, float):
        return f"{feature.value:.10g}"
    return "-" if feature.value is None else json.dumps(feature.value, ensure_ascii=False)


def may_be(feature: "Feature", limit: int | None) -> str:
    """Its bounds or entries."""
    if feature.entries:
        shown = feature.entries[:limit]
        return ", ".join(shown) + (", ..." if len(shown) < len(feature.entries) else "")
    if feature.lowest is None or feature.highest is None:
        return ""
    step = f" by {feature.step:.10g}" if feature.step not in (None, 0, 1) else ""
    return f"{feature.lowest:.10g} to {feature.highest:.10g}{step}"
