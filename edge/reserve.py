"""Room on the disk that is kept for the worst moment: let go when nothing else is left, and made again before all else."""

import os
from contextlib import suppress
from pathlib import Path

import structlog

# Made again only where this share of it stays free besides: else the next event would take it away again.
HEADROOM = 0.25


class Reserve:
    """A file of allocated blocks beside the outbox."""

    def __init__(self, path: Path, size_bytes: int) -> None:
        """Nothing is made yet."""
        self._path, self._bytes = path, size_bytes
        self.is_there = False
        # What was said last of why it cannot be made: a try every second says it once.
        self._problem: str | None = None

    def make(self) -> bool:
        """Allocate it, unless it is there. False: there is no room, or the file system cannot be written."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self.is_there, problem = self._is_whole() or (self._has_room() and self._allocate()), None
        except OSError as failure:
            self.is_there, problem = False, failure.strerror
        if problem is not None and problem != self._problem:
            structlog.get_logger().warning("no room can be reserved", file=str(self._path), problem=problem)
        self._problem = problem
        return self.is_there

    def release(self) -> bool:
        """Give its blocks back. False: there were none, or they could not be."""
        self.is_there = False
        try:
            self._path.unlink()
        except OSError:
            return False
        return True

    def free_bytes(self) -> int:
        """What the file system has left for us. Raises OSError."""
        found = os.statvfs(self._path.parent)
        return found.f_bavail * found.f_frsize

    def _is_whole(self) -> bool:
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return False
        # Blocks are counted in 512 bytes, whatever the file system's own are.
        return found.st_size == self._bytes and found.st_blocks * 512 >= self._bytes

    def _has_room(self) -> bool:
        return self.free_bytes() >= self._bytes * (1 + HEADROOM)

    def _allocate(self) -> bool:
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, self._bytes)
            os.fsync(descriptor)
        except OSError:
            with suppress(OSError):
                self._path.unlink()
            raise
        finally:
            os.close(descriptor)
        return True
