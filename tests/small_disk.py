"""Real file systems of their own, which can be filled, held, broken and write-protected. For root.

What only has to be full or read-only is a file system in memory where no loop device can be mounted, as in most
containers. Holding and breaking one takes a disk below it: tests of that are skipped there, by name.
"""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.needs import needs_program, needs_root


class Disk:
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


class SmallDisk(Disk):
    """ext4 on a loop device."""

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
    """A disk that can be held and broken. Skips the test where there can be none."""
    needs_root()
    disk, problem = _mount_ext4(directory, size_mib)
    if disk is None:
        pytest.skip(f"no loop device can be mounted here: {problem}")
    yield from _until_done(disk)


@contextmanager
def any_disk(directory: Path, size_mib: int) -> Iterator[Disk]:
    """A file system of this size: on a loop device where that works, else in memory."""
    needs_root()
    disk, _ = _mount_ext4(directory, size_mib)
    if disk is None:
        path = directory / "disk"
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size_mib}m", "tmpfs", path], check=True)
        disk = Disk(path)
    yield from _until_done(disk)


def _mount_ext4(directory: Path, size_mib: int) -> tuple[SmallDisk | None, str]:
    """The disk, or why there can be none."""
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
    return (SmallDisk(path), "") if mounted.returncode == 0 else (None, mounted.stderr.strip())


def _until_done(disk: Disk) -> Iterator[Disk]:
    try:
        yield disk
    finally:
        if isinstance(disk, SmallDisk):
            disk.let_go()
        subprocess.run(["umount", "-l", disk.path], check=False)


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Nothing in this folder can be written, even by root: it is mounted over itself, read-only."""
    needs_root()
    subprocess.run(["mount", "--bind", folder, folder], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", folder], check=True)
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=False)
