"""The outbox's file: opened, looked over, brought up to this version, or set aside where it is broken.

Looking over costs the same for 4 KiB and 4 GiB: SQLite reads the header and the log behind it, the size is held against
the pages that the header counts, and the oldest and newest events are read. What is broken elsewhere shows when it is
met, and has the file set aside then.
"""

import errno
import os
import sqlite3
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

import msgspec

from edge import events
from edge.durable import sync
from edge.errors import GoldlineError
from edge.transactions import transaction

SCHEMA_VERSION = 2
# Another process holds the file for a moment at most; longer means that it is out of order.
BUSY_TIMEOUT_S = 5.0
# The log behind the database is cut back to this once it was folded in: 16 MiB are a burst of 10 000 events.
LOG_BYTES = 16 << 20
# A disk on which one new database after the other breaks is not helped by another, and each of them takes room.
MOST_ASIDE = 5
# The newest events that are read at start: a batch that a power cut tore would be among them.
NEWEST = 16

_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE events (
    sequence INTEGER PRIMARY KEY, trigger_id INTEGER UNIQUE, topic TEXT NOT NULL, previous INTEGER NOT NULL,
    flags INTEGER NOT NULL, verdict_utc_ns INTEGER NOT NULL, body BLOB NOT NULL
);
CREATE TABLE topics (topic TEXT PRIMARY KEY, sequence INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE counts (
    run TEXT, camera TEXT, outcome TEXT, reason TEXT, n INTEGER NOT NULL, PRIMARY KEY (run, camera, outcome, reason)
) WITHOUT ROWID;
CREATE TABLE reservations (first INTEGER PRIMARY KEY, last INTEGER NOT NULL, holder TEXT, runtime TEXT NOT NULL);
CREATE TABLE late (trigger_id INTEGER PRIMARY KEY, body BLOB NOT NULL);
"""
_SINCE_VERSION_1 = """
CREATE TABLE consumers (name TEXT PRIMARY KEY, upto INTEGER NOT NULL, seen_utc TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE answered (trigger_id INTEGER PRIMARY KEY);
"""


class Trouble(StrEnum):
    """What keeps the outbox from being written or read."""

    FULL = "full"
    CORRUPT = "corrupt"
    FAILED = "failed"


class OutboxError(GoldlineError):
    """The outbox cannot be used: which file, why, and what kind of trouble that is."""

    def __init__(self, message: str, trouble: Trouble) -> None:
        super().__init__(message)
        self.trouble = trouble


@contextmanager
def naming(path: Path) -> Generator[None, None, None]:
    """What SQLite and the operating system say becomes an OutboxError that names the file."""
    try:
        yield
    except (sqlite3.Error, OSError) as problem:
        why = f"{path}: the outbox cannot be used: {problem}{_of_the_folder(path.parent, problem)}"
        raise OutboxError(why, _trouble(problem)) from problem


def _of_the_folder(folder: Path, problem: sqlite3.Error | OSError) -> str:
    """What SQLite leaves out where it cannot open or write a file; "" where it is not the folder."""
    if getattr(problem, "sqlite_errorcode", 0) & 0xFF not in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
        return ""
    try:
        if os.statvfs(folder).f_flag & os.ST_RDONLY:
            return f": {folder} is on a file system that is mounted read-only"
        is_ours = os.access(folder, os.R_OK | os.W_OK | os.X_OK)
    except OSError as unknown:
        return f": {folder}: {unknown.strerror}"
    return "" if is_ours else f": {folder} may not be written by this user"


def _trouble(problem: sqlite3.Error | OSError) -> Trouble:
    if isinstance(problem, OSError):
        return Trouble.FULL if problem.errno in (errno.ENOSPC, errno.EDQUOT) else Trouble.FAILED
    # The low byte is SQLite's primary code.
    code = getattr(problem, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return Trouble.CORRUPT
    return Trouble.FULL if code == sqlite3.SQLITE_FULL else Trouble.FAILED


def open_database(path: Path) -> sqlite3.Connection:
    """The database of this version at `path`, new or with what it holds, looked over. Raises GoldlineError."""
    with naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        database = sqlite3.connect(
            path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False, cached_statements=64
        )
    try:
        with naming(path):
            _prepare(database, path)
            _look_over(database, path)
    except BaseException:
        database.close()
        raise
    return database


def open_reading(path: Path, *, may_write: bool = False) -> sqlite3.Connection:
    """The database of this version at `path`, for another process than publish. Raises sqlite3.Error, GoldlineError."""
    if not path.exists():
        raise GoldlineError(f"{path}: there is no outbox yet")
    database = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={'rw' if may_write else 'ro'}",
        uri=True,
        timeout=BUSY_TIMEOUT_S,
        isolation_level=None,
    )
    database.execute("PRAGMA synchronous = FULL")
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version == SCHEMA_VERSION:
        return database
    database.close()
    raise GoldlineError(f"{path}: an outbox of another version of Goldline ({version}, not {SCHEMA_VERSION})")


def _prepare(database: sqlite3.Connection, path: Path) -> None:
    database.execute("PRAGMA journal_mode = WAL")
    # FULL: NORMAL loses acknowledged events at a power cut, and then gives their numbers to others.
    database.execute("PRAGMA synchronous = FULL")
    database.execute(f"PRAGMA journal_size_limit = {LOG_BYTES}")
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version == 0 and database.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0]:
        raise OutboxError(f"{path}: the outbox cannot be used: it has lost its version", Trouble.CORRUPT)
    if version > SCHEMA_VERSION:
        raise GoldlineError(f"{path}: made by a newer version of Goldline ({version}, not {SCHEMA_VERSION})")
    if version < SCHEMA_VERSION:
        _bring_up(database, version)


def _bring_up(database: sqlite3.Connection, version: int) -> None:
    """All of it or nothing, whenever the power fails."""
    with transaction(database):
        for statement in ((_SCHEMA if version == 0 else "") + _SINCE_VERSION_1).split(";"):
            database.execute(statement)
        if version == 0:
            meta = [("stream", str(uuid.uuid4())), ("next_trigger_id", "1")]
            database.executemany("INSERT INTO meta VALUES (?, ?)", meta)
        database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _look_over(database: sqlite3.Connection, path: Path) -> None:
    # Fold the log in, so that header and file speak of the same thing; a reader in the way leaves that for later.
    is_busy, _, _ = database.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    (pages,), (page_bytes,) = (database.execute(f"PRAGMA {one}").fetchone() for one in ("page_count", "page_size"))
    if not is_busy and path.stat().st_size < pages * page_bytes:
        raise OutboxError(f"{path}: the outbox cannot be used: it has been cut short", Trouble.CORRUPT)
    ends = (
        ("SELECT sequence, body FROM events ORDER BY sequence DESC LIMIT ?", NEWEST),
        (
            "SELECT sequence, body FROM events ORDER BY sequence LIMIT ?",
            1,
        ),
    )
    try:
        # As bytes: what is no text is no error of SQLite's that would tell a broken file.
        meta = {key: value.decode() for key, value in database.execute("SELECT key, CAST(value AS BLOB) FROM meta")}
        uuid.UUID(meta.get("stream", ""))
        int(meta.get("next_trigger_id", ""))
        for query, limit in ends:
            for _, body in database.execute(query, (limit,)):
                events.decode(body)
    except (msgspec.DecodeError, ValueError) as problem:
        raise OutboxError(f"{path}: the outbox cannot be used: {problem}", Trouble.CORRUPT) from problem


def refuse_another(path: Path) -> None:
    """Raises OutboxError: so many lie set aside already that the disk must be at fault."""
    with naming(path):
        kept = list(path.parent.glob(f"{path.name}.corrupt-*Z"))
    if len(kept) >= MOST_ASIDE:
        why = f"it is broken, as are {MOST_ASIDE} that were kept beside it: see to the disk, then move those away"
        raise OutboxError(f"{path}: the outbox cannot be used: {why}", Trouble.FAILED)


def set_aside(path: Path, now_utc_ns: int) -> Path:
    """Rename the file and the two beside it. Nothing of it is read again; it is kept for whoever can. Raises OutboxError."""
    refuse_another(path)
    when = datetime.fromtimestamp(now_utc_ns / 1e9, UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    aside = path.with_name(f"{path.name}.corrupt-{when}")
    with naming(path):
        for suffix in ("", "-wal", "-shm"):
            found = Path(f"{path}{suffix}")
            if found.exists():
                found.rename(f"{aside}{suffix}")
        sync(path.parent)
    return aside
