"""The configured cameras, without opening them: there, free, and this user's to use."""

import os
from collections.abc import Iterable, Iterator, Mapping

from edge.camera_config import CameraConfig, FolderCamera, V4l2Camera
from edge.cameras.camera import Found
from edge.cameras.discovery import state_of
from edge.doctor.finding import Finding, Machine, Status, weighed

_SEARCH = "check cable, power and address; goldline camera list"


def cameras(
    configs: Mapping[str, CameraConfig], found: Iterable[Found], notes: Iterable[str], *, station_runs: bool
) -> Iterator[Finding]:
    """Each of them is there, and free unless the station that runs here has it."""
    seen = list(found)
    for name, config in configs.items():
        state = state_of(name, config, seen)
        told = f"{name}: {' '.join(filter(None, (state.source, state.address)))} is {state.state}"
        told += f": {state.detail}" if state.detail else ""
        match state.state:
            case "reachable":
                status, mend = Status.OK, ""
            case "busy" if station_runs:
                status, mend = Status.OK, ""
            case "busy":
                status, mend = Status.WARN, "end the program that has it: another station, a maker's viewer"
            case "absent":
                status, mend = Status.BAD, f"mkdir -p {config.path}" if isinstance(config, FolderCamera) else _SEARCH
        yield Finding(check="cameras", status=status, seen=told, wanted="reachable and free", mend=mend)
    wanted = {config.source for config in configs.values()}
    for note in notes:
        if note.partition(":")[0] in wanted:
            yield Finding(
                check="cameras", status=Status.BAD, seen=note, wanted="what its cameras need", mend=_library(note)
            )


def _library(note: str) -> str:
    source = note.partition(":")[0]
    if source == "gige":
        return "apt-get install libaravis-0.8-0"
    return f"pip install 'goldline[{source}]'" if "pip install" in note else "what it names, in config.toml"


def video_access(configs: Mapping[str, CameraConfig], machine: Machine) -> Iterator[Finding]:
    """V4L2 cameras: the device nodes, which belong to group video."""
    for name, config in configs.items():
        if not isinstance(config, V4l2Camera):
            continue
        device, who = machine.path(str(config.device)), machine.person.name
        if not device.exists():
            yield Finding(
                check="video-access",
                status=Status.BAD,
                seen=f"{name}: no {config.device}",
                wanted="the device's node",
                mend="ls -l /dev/v4l/by-id /dev/v4l/by-path; set device to one of these",
            )
            continue
        may = machine.person.may(device, os.R_OK | os.W_OK)
        yield weighed(
            check="video-access",
            is_well=may,
            otherwise=Status.BAD,
            seen=f"{name}: {who} {'may' if may else 'may not'} use {config.device}",
            wanted="read and write, by group video",
            mend=f"usermod -aG video {who}, then log in again (the service: systemctl restart goldline)",
        )
