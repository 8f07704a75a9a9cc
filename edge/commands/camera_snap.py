"""goldline camera snap: save a picture, as it would be judged or as the camera sent it."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from edge.commands.camera_common import add_looking
from edge.errors import GoldlineError

if TYPE_CHECKING:
    from edge.cameras.camera import CameraInfo, CapturedFrame
    from edge.cameras.session import Stream

EPILOG = """\
examples:
  goldline camera snap top --out part.png                     8 bits, as it would be judged
  goldline camera snap top --out good/part.png --count 50     part-01.png to part-50.png
  goldline camera snap top --out part.png --raw               16-bit PNG with the values of Mono10, Mono12, Mono16
  goldline camera snap top --out part.raw                     the bytes as they came, part.json says what they are

Only whole pictures are saved. A camera with a software trigger is triggered; for one with a line trigger this waits.
exit code: 0, or 2 where no whole picture came
"""
_SUFFIXES = (".png", ".raw")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `goldline camera snap`."""
    parser.description, parser.epilog = "Save a picture: whole ones only, after the camera has settled.", EPILOG
    add_looking(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="FILE.png, or FILE.raw")
    parser.add_argument("--count", type=int, default=1, metavar="N", help="so many pictures, numbered")
    parser.add_argument("--raw", action="store_true", help="the camera's own values, not the 8 bits that are judged")
    parser.add_argument("--timeout", type=float, default=10.0, metavar="SECONDS", help="for each picture (default 10)")
    parser.add_argument("--json", action="store_true", help="print a JSON line for each picture")


def run(arguments: argparse.Namespace) -> int:
    """Open, wait, save."""
    from edge.cameras.session import streaming
    from edge.commands.camera_common import asked, reached

    out: Path = arguments.out
    if out.suffix not in _SUFFIXES:
        raise GoldlineError(f"--out {out}: the name must end with .png or .raw")
    if not 1 <= arguments.count <= 100_000:
        raise GoldlineError(f"--count {arguments.count}: must be 1 to 100000")
    camera, station = asked(arguments)
    waiting = Console(stderr=True).status(f"waiting for {camera.name}")
    with waiting, reached(camera, station), streaming(camera.name, camera.config) as stream:
        for path in _paths(out, arguments.count):
            waiting.start()
            frame = stream.whole(arguments.timeout)
            save(path, stream, frame, is_raw=arguments.raw)
            waiting.stop()  # the line is free for what is printed
            _tell(path, stream.info, frame, as_json=arguments.json)
    return 0


def _paths(out: Path, count: int) -> list[Path]:
    if count == 1:
        return [out]
    digits = len(str(count))
    return [out.with_stem(f"{out.stem}-{number:0{digits}}") for number in range(1, count + 1)]


def _tell(path: Path, info: "CameraInfo", frame: "CapturedFrame", *, as_json: bool) -> None:
    told = {"file": str(path), "frame_id": frame.frame_id, "width": info.width, "height": info.height}
    told["pixel_format"] = info.pixel_format
    print(json.dumps(told) if as_json else f"{path}: {info.width} x {info.height} px {info.pixel_format}", flush=True)


def save(path: Path, stream: "Stream", frame: "CapturedFrame", *, is_raw: bool) -> None:
    """Write the held frame. Raises GoldlineError where the file cannot be written or cannot hold such pixels."""
    try:
        if path.suffix == ".raw":
            path.write_bytes(stream.raw(frame).tobytes())
            path.with_suffix(".json").write_text(json.dumps(_description(stream.info, frame), indent=1) + "\n")
        else:
            picture = values(stream.raw(frame), stream.info) if is_raw else stream.picture(frame)
            path.write_bytes(_png(picture))
    except OSError as problem:
        raise GoldlineError(f"{path}: {problem.strerror}") from None


def _png(picture: NDArray[np.uint8 | np.uint16]) -> bytes:
    return np.asarray(cv2.imencode(".png", np.asarray(picture))[1], np.uint8).tobytes()


def _description(info: "CameraInfo", frame: "CapturedFrame") -> dict[str, object]:
    """What a program needs to read the bytes."""
    return {
        "width": info.width,
        "height": info.height,
        "pixel_format": info.pixel_format,
        "bytes": frame.used_bytes or info.frame_bytes,
        "camera": {"vendor": info.vendor, "model": info.model, "serial": info.serial},
        "frame_id": frame.frame_id,
        "host_timestamp_utc_ns": frame.host_timestamp_utc_ns,
        "device_timestamp_ns": frame.device_timestamp_ns,
    }


def values(raw: NDArray[np.uint8], info: "CameraInfo") -> NDArray[np.uint8 | np.uint16]:
    """Each pixel as the camera gave it, 8 or 16 bits, colour filters untouched. Raises GoldlineError."""
    from edge.images import as_bgr
    from edge.pixel_formats import PIXEL_FORMATS

    packing = PIXEL_FORMATS[info.pixel_format].packing
    shape = (info.height, info.width)
    if (packing.pixels, packing.bytes) == (1, 2) and packing.reduce is not None:
        return raw[: 2 * info.width * info.height].view("<u2").reshape(shape)
    if (packing.pixels, packing.bytes) == (1, 1):
        return raw[: info.width * info.height].reshape(shape)
    if (packing.pixels, packing.bytes) == (1, 3):
        return as_bgr(raw, info.width, info.height, info.pixel_format)
    raise GoldlineError(f"--raw: a PNG cannot hold {info.pixel_format} as it is; save it as FILE.raw")
