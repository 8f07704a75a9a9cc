"""Room on the file system below a directory. On a disk that is dying this may hang: for a thread of its own."""

import os
from collections.abc import Iterator
from pathlib import Path

from edge.device.sample import Sample


def read(name: str, directory: Path) -> Iterator[Sample]:
    """What is free for the station, and the whole; nothing where the directory is not there."""
    try:
        found = os.statvfs(directory)
    except OSError:
        return
    yield Sample("goldline_device_disk_free_bytes", float(found.f_bavail * found.f_frsize), (name,))
    yield Sample("goldline_device_disk_size_bytes", float(found.f_blocks * found.f_frsize), (name,))
