"""Whether a station runs on this machine, by the lock that it holds in its runtime directory; and where that is.

systemd gives a service its runtime directory by a variable that no other program sees. So a station whose directory is
elsewhere links to it from where everybody looks: `run` below its state.
"""

import fcntl
import os
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from edge.config import Station, configuration, load_station, runtime_directory
from edge.errors import ConfigError

RUN = "run"


def make_findable(station: Station, runtime: Path) -> None:
    """Link to it from the state directory. Raises OSError."""
    link = station.state_dir / RUN
    if link.is_symlink() or not link.exists():
        link.unlink(missing_ok=True)
        if link.absolute() != runtime.absolute():
            link.symlink_to(runtime.absolute())


def runtime_of(path: Path | None, environ: Mapping[str, str] = os.environ) -> Path:
    """The runtime directory of the station of this configuration, also where the file has become one that is refused.

    Raises GoldlineError where the file cannot be read at all.
    """
    try:
        return runtime_directory(load_station(path, environ), environ)
    except ConfigError:
        file = configuration(path, environ)
        if file is None:
            raise
        with suppress(OSError, ValueError, RecursionError):
            return _by_its_directories(file, environ)
        raise


def _by_its_directories(file: Path, environ: Mapping[str, str]) -> Path:
    """By the two keys that say where it is, whatever the others say."""
    data = tomllib.loads(file.read_text(encoding="utf-8"))
    named = {key: file.absolute().parent / data[key] for key in ("state_dir", "runtime_dir") if key in data}
    station = Station.model_validate({"state_dir": file.absolute().parent / "state"} | named)
    return runtime_directory(station, environ)


def is_station_running(runtime: Path) -> bool | None:
    """True while a station runs on this runtime directory; None where this user may not look."""
    try:
        with open(runtime / "lock", "rb") as handle:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except BlockingIOError:
        return True
    except PermissionError:
        return None
    return False


def how_to_go_live(station: Station) -> list[str]:
    """For who has changed a recipe or a reference set: a station that runs goes by what it has loaded."""
    runs = is_station_running(runtime_directory(station))
    return ["  the running station goes by it after: goldline reload"] if runs else []
