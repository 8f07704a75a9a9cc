"""Whether a station runs on this machine, by the lock that it holds in its runtime directory."""

import fcntl
from pathlib import Path


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
