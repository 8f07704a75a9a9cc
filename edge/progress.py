"""Up to where another system has everything, kept in a file: where reading the outbox goes on after any death."""

import os
import time
from pathlib import Path

import structlog

from edge.errors import GoldlineError
from edge.heard import Cursor

# The cursor is written this often at most: what is said again after a kill is a fraction of a second.
WRITE_S = 0.25


class Progress:
    """The cursor. Without a file: nothing of what the outbox holds."""

    def __init__(self, path: Path) -> None:
        """Raises GoldlineError: the file cannot be read, or holds something else."""
        self._path = path
        self.cursor = Cursor(0)
        self._written, self._written_s = self.cursor, 0.0
        try:
            self.cursor = self._written = Cursor.parse(path.read_text(encoding="utf-8").strip())
        except FileNotFoundError:
            return
        except (OSError, UnicodeDecodeError) as problem:
            raise GoldlineError(f"{path}: the cursor cannot be read: {problem}") from problem

    @property
    def is_due(self) -> bool:
        """It has moved, and was not written for a while."""
        return self.cursor != self._written and time.monotonic() - self._written_s >= WRITE_S

    def reach(self, cursor: Cursor) -> None:
        """The other has everything up to here; written down when that is due."""
        self.cursor = cursor
        if self.is_due:
            self.write()

    def write(self) -> None:
        """Put it on the disk, whole or not at all. A disk that refuses costs repetitions, nothing else.

        May be called on a thread of its own while `cursor` moves on.
        """
        cursor = self.cursor
        if cursor == self._written:
            return
        self._written_s = time.monotonic()
        beside = self._path.with_suffix(".new")
        try:
            beside.parent.mkdir(parents=True, exist_ok=True)
            with beside.open("w", encoding="utf-8") as file:
                file.write(str(cursor))
                file.flush()
                os.fdatasync(file.fileno())
            beside.replace(self._path)
        except OSError as failure:
            structlog.get_logger().warning("the cursor cannot be written", file=str(self._path), problem=str(failure))
        else:
            self._written = cursor
