"""The outbox as SYNC reads it: a connection of its own that never writes, over the file's absence and its replacement.

In WAL mode readers never keep the writer waiting; every read here is one short transaction, so that the log behind the
database can be folded in.
"""

import os
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import msgspec

from edge.sync_protocol import Row

# A read waits for nobody but a database that is being made.
BUSY_TIMEOUT_S = 0.2

_ROWS = (
    "SELECT sequence, topic, previous, flags, verdict_utc_ns, body FROM events"
    " WHERE sequence >= ? ORDER BY sequence LIMIT ?"
)


class Unavailable(Exception):
    """There is no outbox that can be read now."""


class Extent(msgspec.Struct, frozen=True, kw_only=True):
    """What there is: events `low` to `head` of this stream. `low` is `head` + 1 where there is none."""

    stream: UUID
    low: int
    head: int


class OutboxReader:
    """Opens the file whenever another one stands at its path; every method raises Unavailable."""

    def __init__(self, path: Path) -> None:
        """Nothing is opened yet."""
        self._path = path
        self._db: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None

    def close(self) -> None:
        """Let go of the file."""
        if self._db is not None:
            self._db.close()
        self._db, self._file = None, None

    def extent(self) -> Extent:
        """What there is now."""
        with self._reading() as db:
            return _extent(db)

    def read(self, first: int, max_n: int, max_bytes: int) -> tuple[Extent, list[Row]]:
        """What there is, and of it the events from `first` on: one at least, without a gap between them.

        A row that is not `first` comes where those before it are not kept any more.
        """
        with self._reading() as db:
            extent, rows, taken = _extent(db), list[Row](), 0
            for row in db.execute(_ROWS, (first, max_n)):
                taken += len(row[5])
                if rows and (taken > max_bytes or row[0] != rows[-1].sequence + 1):
                    break
                rows.append(Row(**dict(zip(Row.__struct_fields__, row, strict=True))))
        return extent, rows

    def acknowledged(self) -> dict[str, int]:
        """What each consumer has acknowledged, as far as that is written down."""
        with self._reading() as db:
            return dict(db.execute("SELECT name, upto FROM consumers").fetchall())

    @contextmanager
    def _reading(self) -> Generator[sqlite3.Connection, None, None]:
        try:
            db = self._opened()
            db.execute("BEGIN")
            try:
                yield db
            finally:
                db.rollback()
        except (sqlite3.Error, OSError, ValueError, TypeError) as problem:
            self.close()
            raise Unavailable(f"{self._path.name}: {problem}") from problem

    def _opened(self) -> sqlite3.Connection:
        found = os.stat(self._path)
        if self._db is None or (found.st_dev, found.st_ino) != self._file:
            self.close()
            # The file's name may hold what means something in a URI.
            self._db = sqlite3.connect(
                f"{self._path.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None
            )
            self._file = (found.st_dev, found.st_ino)
        return self._db


def _extent(db: sqlite3.Connection) -> Extent:
    """`topics` remembers the newest number where every event of it was pruned."""
    (stream,) = db.execute("SELECT value FROM meta WHERE key = 'stream'").fetchone()
    head = db.execute("SELECT MAX(sequence) FROM topics").fetchone()[0] or 0
    low = db.execute("SELECT MIN(sequence) FROM events").fetchone()[0] or head + 1
    return Extent(stream=UUID(stream), low=low, head=head)
