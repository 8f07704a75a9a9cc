"""Which cameras there are: those that answer on this machine's networks and buses, and the station's own."""

import os
import socket
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from edge.camera_config import (
    CameraConfig,
    FolderCamera,
    GentlCamera,
    GigeCamera,
    PylonCamera,
    SimulatedCamera,
    StreamCamera,
    V4l2Camera,
)
from edge.cameras import gvcp
from edge.cameras.camera import CameraError, Found
from edge.urls import without_secrets

# A server on the plant's network answers within milliseconds; one that is off never does.
_CONNECT_S = 1.0
_DEFAULT_PORTS = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443}


class State(msgspec.Struct, frozen=True, kw_only=True):
    """A configured camera as it looks from outside, without opening it. `detail` says where it was looked for."""

    name: str
    source: str
    address: str
    state: Literal["reachable", "busy", "absent"]
    detail: str = ""


class Discovery(msgspec.Struct, frozen=True, kw_only=True):
    """What answered, and a line for each kind of camera that could not be looked for."""

    found: tuple[Found, ...]
    notes: tuple[str, ...] = ()


def discover(cameras: Mapping[str, CameraConfig], *, configured_only: bool = False) -> Discovery:
    """Every camera that answers, of all kinds or of those that are configured. Takes 1 to 3 s: GigE by broadcast."""
    wanted = {config.source for config in cameras.values()} if configured_only else None
    found: list[Found] = []
    notes: list[str] = []
    for source, look in _searches(cameras.values()):
        if wanted is not None and source not in wanted:
            continue
        try:
            found += look()
        except CameraError as refusal:
            notes.append(f"{source}: {refusal}")
    return Discovery(found=tuple(found), notes=tuple(notes))


def _searches(configs: Iterable[CameraConfig]) -> list[tuple[str, Callable[[], list[Found]]]]:
    """By source. GenTL has as many as producers are configured."""
    modules = {"gige": "gige_discovery", "v4l2": "v4l2_discovery", "pylon": "pylon"}
    searches = [(source, _search(module)) for source, module in modules.items()]
    producers = sorted({config.producer for config in configs if isinstance(config, GentlCamera)})
    return searches + [("gentl", _search("gentl", producer)) for producer in producers]


def _search(module: str, *arguments: Path) -> Callable[[], list[Found]]:
    def look() -> list[Found]:
        found: list[Found] = import_module(f"edge.cameras.{module}").discover(*arguments)
        return found

    return look


def address_of(config: CameraConfig) -> str:
    """What the section calls its device by."""
    told = ""  # a simulated camera is nowhere
    match config:
        case GigeCamera():
            told = config.address
        case V4l2Camera():
            told = str(config.device)
        case StreamCamera():
            told = without_secrets(config.url)
        case FolderCamera():
            told = str(config.path)
        case PylonCamera():
            told = config.serial or ""
        case GentlCamera():
            told = config.device or config.producer.name
        case SimulatedCamera():
            pass
    return told


def state_of(name: str, config: CameraConfig, found: Iterable[Found]) -> State:
    """Whether a configured camera could be opened now, as far as can be told without opening it."""
    match config:
        case SimulatedCamera():
            state, detail = "reachable", "rendered"
        case FolderCamera():
            state, detail = _state_of_folder(config.path)
        case StreamCamera():
            state, detail = _state_of_server(config.url)
        case V4l2Camera():
            state, detail = _state_of_device(config.device)
        case GigeCamera() if (controlled := _asked(config.address)) is not None:
            state, detail = ("busy", "another program controls it") if controlled else ("reachable", "")
        case GigeCamera() | PylonCamera() | GentlCamera():
            state, detail = _state_of_match(config, found)
    return State(name=name, source=config.source, address=address_of(config), state=state, detail=detail)


_Looks = tuple[Literal["reachable", "busy", "absent"], str]


def _asked(address: str) -> bool | None:
    """Whether a program controls the camera at this IP address; None where none answers, or it is no IP address."""
    try:
        socket.inet_pton(socket.AF_INET, address)
    except OSError:
        return None
    return gvcp.is_controlled(address)


def _state_of_match(config: GigeCamera | PylonCamera | GentlCamera, found: Iterable[Found]) -> _Looks:
    wanted = config.address if isinstance(config, GigeCamera) else address_of(config)
    of_source = [one for one in found if one.source == config.source]
    # Where the section names no device, the only one there is.
    is_any = not isinstance(config, GigeCamera) and not (
        config.serial if isinstance(config, PylonCamera) else config.device
    )
    matching = [one for one in of_source if is_any or _is_called(one, wanted)]
    if not matching:
        return "absent", "nothing answers"
    return ("busy", "another program controls it") if all(one.is_busy for one in matching) else ("reachable", "")


def _is_called(found: Found, wanted: str) -> bool:
    words = (found.address, found.serial, *found.aliases)
    return wanted == found.name or wanted.casefold() in [word.casefold() for word in words]


def _state_of_folder(folder: Path) -> _Looks:
    try:
        return ("reachable", "") if folder.is_dir() else ("absent", "no such folder")
    except PermissionError:
        return "absent", "this user may not look there"


def _state_of_device(device: Path) -> _Looks:
    if not os.path.exists(device):  # Path.exists raises where this user may not look
        return "absent", "no such device; see /dev/v4l/by-id"
    if not os.access(device, os.R_OK | os.W_OK):
        return "absent", "this user may not use it: group video"
    return "reachable", ""


def _state_of_server(url: str) -> _Looks:
    parts = urlsplit(url)
    try:
        where = (parts.hostname or "", parts.port or _DEFAULT_PORTS[parts.scheme])
        with socket.create_connection(where, timeout=_CONNECT_S):
            return "reachable", ""
    except (OSError, ValueError) as problem:
        return "absent", str(problem)
