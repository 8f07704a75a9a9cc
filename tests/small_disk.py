"""A real file system on a small disk of its own, which can be filled, held and broken. Root and a loop device."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.needs import needs_program, needs_root


class SmallDisk:
    """Mounted at `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._balloon = path / "balloon"

    @property
    def free_bytes(self) -> int:
        found = os.statvfs(self.path)
        return found.f_bavail * found.f_frsize

    def fill(self, spare_bytes: int = 0) -> None:
        """Somebody else's file takes all the room there is, but for so much."""
        with self._balloon.open("ab") as file:
            step = 1 << 20
            while step >= 4096:
                try:
                    room = self.free_bytes - spare_bytes
                    if room < step:
                        raise OSError
                    os.posix_fallocate(file.fileno(), file.seek(0, os.SEEK_END), step)
                except OSError:
                    step //= 2

    def empty(self) -> None:
        """It has gone."""
        self._balloon.unlink()

    def hold(self) -> None:
        """Nothing is written from here on: who writes or flushes, waits."""
        subprocess.run(["fsfreeze", "-f", self.path], check=True)

    def let_go(self) -> None:
        with suppress(subprocess.CalledProcessError):
            subprocess.run(["fsfreeze", "-u", self.path], check=True, stderr=subprocess.DEVNULL)

    def breaks(self) -> None:
        """The kernel meets an error in it, and makes it read-only."""
        device = Path(subprocess.check_output(["findmnt", "-no", "SOURCE", self.path], text=True).strip()).name
        Path(f"/sys/fs/ext4/{device}/trigger_fs_error").write_text("a test")


@contextmanager
def small_disk(directory: Path, size_mib: int) -> Iterator[SmallDisk]:
    """Skips the test where there can be none."""
    needs_root()
    needs_program("mke2fs", "e2fsprogs")
    image, path = directory / "disk.img", directory / "disk"
    with image.open("wb") as file:
        file.truncate(size_mib << 20)
    path.mkdir()
    # No blocks for root alone: tests are root, stations are not.
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-m", "0", "-F", image], check=True)
    mounted = subprocess.run(
        ["mount", "-o", "loop,errors=remount-ro", image, path], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no loop device can be mounted here: {mounted.stderr.strip()}")
    disk = SmallDisk(path)
    try:
        yield disk
    finally:
        disk.let_go()
        subprocess.run(["umount", "-l", path], check=False)
