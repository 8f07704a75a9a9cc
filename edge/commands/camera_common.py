"""What the verbs of `goldline camera` share: which camera is meant, and how its settings are written."""

import argparse
import json
import re
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from edge.camera_config import FeatureValue
from edge.errors import GoldlineError

if TYPE_CHECKING:
    from edge.cameras.naming import Meant
    from edge.config import Station

# TOML's keys without quotation marks.
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def add_camera(parser: argparse.ArgumentParser) -> None:
    """Which camera, for the verbs that open one."""
    known = "a name of config.toml, an IP address, a serial number, /dev/video0, a URL or a folder"
    parser.add_argument("camera", metavar="CAMERA", help=known)
    parser.add_argument("--shot", metavar="NAME", help="as it is set for this one of its [[shot]]s")


def add_looking(parser: argparse.ArgumentParser) -> None:
    """Which camera, how it is set, and when it takes a picture, for the verbs that look at one."""
    add_camera(parser)
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a feature or control, for this time only"
    )
    when = parser.add_mutually_exclusive_group()
    when.add_argument("--trigger", action="store_true", help="ask it for each picture (software trigger)")
    when.add_argument("--free", action="store_true", help="let it run freely (default: as config.toml says)")


def asked(arguments: argparse.Namespace) -> "tuple[Meant, Station]":
    """The camera that is meant, adjusted as the arguments say, and the station. Raises GoldlineError.

    What a camera logs goes to stderr from then on: stdout is for whoever reads the answer.
    """
    from edge import log
    from edge.cameras.naming import adjusted, meant
    from edge.config import load_station

    station = load_station(arguments.config)
    log.setup(station.log, "camera")
    given = vars(arguments)
    mode = "software" if given.get("trigger") else "free" if given.get("free") else None
    settings = {name: literal(text) for name, text in pairs(given.get("set") or []).items()}
    camera = adjusted(meant(arguments.camera, station.cameras), mode=mode, shot=arguments.shot, settings=settings)
    return camera, station


@contextmanager
def reached(camera: "Meant", station: "Station") -> Generator[None]:
    """Around the use of a camera: what is not there, or in use, says what that may mean."""
    from edge.cameras.camera import CameraAbsent, CameraBusy
    from edge.cameras.naming import not_there
    from edge.config import runtime_directory
    from edge.running import is_station_running

    try:
        yield
    except CameraAbsent as absent:
        hint = "" if camera.is_configured else not_there(camera.name, station.cameras)
        raise CameraAbsent(f"{absent}{hint}") from None
    except CameraBusy as busy:
        runs = is_station_running(runtime_directory(station))
        hint = "; the station that runs here holds its cameras: stop it first" if runs else ""
        raise CameraBusy(f"{busy}{hint}") from None


def pairs(words: Sequence[str]) -> dict[str, str]:
    """NAME=VALUE words as a table, in their order. Raises GoldlineError."""
    given: dict[str, str] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not (name and equals):
            raise GoldlineError(f"{word}: expected NAME=VALUE, as in ExposureTime=4000")
        given[name.strip()] = text.strip()
    return given


def literal(text: str) -> FeatureValue:
    """A value as it is written in TOML; a word without quotation marks is text."""
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text.strip('"')


def as_toml(key: str, values: Mapping[str, FeatureValue]) -> str:
    """A line for config.toml: `features = { ExposureTime = 4000.0, Gain = 0.0 }`."""
    told = (f"{_key(name)} = {json.dumps(value, ensure_ascii=False)}" for name, value in values.items())
    return f"{key} = {{ {', '.join(told)} }}"


def _key(name: str) -> str:
    return name if _BARE_KEY.fullmatch(name) else json.dumps(name)
