"""One at a time: whoever changes what is laid out holds a lock beside the manifest, where only root can take it."""

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from edge.errors import GoldlineError
from edge.installing import manifest, observe

PATH = manifest.PATH.replace("manifest.json", "lock")


@contextmanager
def alone(root: Path) -> Generator[None]:
    """From the first look at the device to the manifest at the end. The kernel lets go when the process ends, however.

    Raises GoldlineError while another one is at work, and where it cannot be written.
    """
    file = observe.place(root, PATH)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError as problem:
        raise GoldlineError(f"{problem.filename}: {problem.strerror}") from None
    try:
        _take(handle, file)
        yield
    finally:
        os.close(handle)


def _take(handle: int, file: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        is_ours = False
    else:
        # One that was removed meanwhile locks nobody out.
        is_ours = os.fstat(handle).st_nlink > 0
    if not is_ours:
        raise GoldlineError(f"{file}: another goldline install or uninstall is at work; wait for its end")
