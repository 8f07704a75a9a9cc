"""A consumer that keeps a copy of the station's events in a database of its own: SQLite, or PostgreSQL.

The events and the cursor go into one transaction, and only then is the station told: killed at any instant, the copy has
each event once, and goes on where it stopped. Tables, the same in both:

    goldline_events   stream, sequence, topic; of the result what one asks for most; body, the event's JSON
    goldline_gone     events that the station had let go of before they were read
    goldline_cursor   consumer, stream, sequence: how far each has come
"""

import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, LiteralString, Self
from uuid import UUID

import msgspec

from edge.errors import GoldlineError
from edge.heard import Arrived, Cursor, Gone, Item
from edge.transactions import transaction

if TYPE_CHECKING:
    from psycopg import Connection

SQLITE, POSTGRESQL = "sqlite:", ("postgresql://", "postgres://")
# Somebody else's report may hold the file; longer is a mistake.
BUSY_TIMEOUT_S = 30.0

# `{number}` and `{json}` are the database's words for 64-bit integers and JSON.
_TABLES: tuple[LiteralString, ...] = (
    """CREATE TABLE IF NOT EXISTS goldline_events (
        stream TEXT NOT NULL, sequence {number} NOT NULL, topic TEXT NOT NULL, time TEXT, station TEXT, camera TEXT,
        trigger_id {number}, unit_identifier TEXT, verdict TEXT, reason TEXT, body {json} NOT NULL,
        PRIMARY KEY (stream, sequence))""",
    """CREATE TABLE IF NOT EXISTS goldline_gone (
        stream TEXT NOT NULL, first {number} NOT NULL, last {number} NOT NULL, PRIMARY KEY (stream, first))""",
    """CREATE TABLE IF NOT EXISTS goldline_cursor (
        consumer TEXT PRIMARY KEY, stream TEXT NOT NULL, sequence {number} NOT NULL)""",
)
# What stands there already is the same: another consumer's, or read before the station went back to an older outbox.
_EVENT: LiteralString = (
    "INSERT INTO goldline_events VALUES ({0}, {0}, {0}, {0}, {0}, {0}, {0}, {0}, {0}, {0}, {0}) ON CONFLICT DO NOTHING"
)
_GONE: LiteralString = "INSERT INTO goldline_gone VALUES ({0}, {0}, {0}) ON CONFLICT DO NOTHING"
_CURSOR: LiteralString = (
    "INSERT INTO goldline_cursor VALUES ({0}, {0}, {0})"
    " ON CONFLICT (consumer) DO UPDATE SET stream = excluded.stream, sequence = excluded.sequence"
)
_WHERE: LiteralString = "SELECT stream, sequence FROM goldline_cursor WHERE consumer = {0}"

Row = tuple[Any, ...]


class _Told(msgspec.Struct, frozen=True):
    """Of `data`, the columns that have their own name; read loosely, so that a later Goldline's events go in as well."""

    station: str | None = None
    camera: str | None = None
    trigger_id: int | None = None
    unit_identifier: str | None = None
    verdict: str | None = None
    reason: str | None = None


class _Envelope(msgspec.Struct, frozen=True):
    time: str | None = None
    data: _Told = _Told()


_envelope = msgspec.json.Decoder(_Envelope).decode


class Store(ABC):
    """A database with one consumer's copy. Every method raises GoldlineError."""

    @abstractmethod
    def cursor(self) -> Cursor:
        """How far this consumer has come; before the first event where it never was here."""

    @abstractmethod
    def write(self, items: Sequence[Item]) -> None:
        """All of these and the cursor behind the last, on disk; or none of it."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the database."""

    def __enter__(self) -> Self:
        """Closed on exit."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()


def open_store(target: str, consumer: str) -> Store:
    """The store of this address: `sqlite:PATH` or `postgresql://…`. Raises GoldlineError."""
    if target.startswith(SQLITE):
        return SqliteStore(Path(target.removeprefix(SQLITE)), consumer)
    if target.startswith(POSTGRESQL):
        return PostgresStore(target, consumer)
    raise GoldlineError('--to: must be "sqlite:PATH" or "postgresql://USER@HOST/DATABASE"')


class SqliteStore(Store):
    """A file."""

    def __init__(self, path: Path, consumer: str) -> None:
        self._path, self._consumer = path, consumer
        with self._naming():
            self._db = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
            self._db.execute("PRAGMA journal_mode = WAL")
            # The station lets go of what was acknowledged: it has to be on this disk by then.
            self._db.execute("PRAGMA synchronous = FULL")
            for table in _TABLES:
                self._db.execute(table.format(number="INTEGER", json="TEXT"))

    def cursor(self) -> Cursor:
        """How far this consumer has come."""
        with self._naming():
            return _cursor(self._db.execute(_WHERE.format("?"), (self._consumer,)).fetchone())

    def write(self, items: Sequence[Item]) -> None:
        """One transaction."""
        with self._naming(), transaction(self._db):
            self._db.executemany(_EVENT.format("?"), _events(items))
            self._db.executemany(_GONE.format("?"), _gone(items))
            self._db.execute(_CURSOR.format("?"), (self._consumer, *_behind(items)))

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    @contextmanager
    def _naming(self) -> Generator[None, None, None]:
        try:
            yield
        except sqlite3.Error as problem:
            raise GoldlineError(f"{self._path}: cannot be written: {problem}") from problem


class PostgresStore(Store):
    """A database of a server."""

    def __init__(self, url: str, consumer: str) -> None:
        try:
            import psycopg  # noqa: PLC0415 - an extra, which most stations do without
        except ImportError:
            raise GoldlineError('postgresql: needs psycopg: pip install "goldline[postgres]"') from None
        self._error, self._consumer, self._url = psycopg.Error, consumer, url
        with self._naming():
            self._db: Connection[Row] = psycopg.connect(url)
            with self._db.transaction():
                for table in _TABLES:
                    self._db.execute(table.format(number="BIGINT", json="JSON"))

    def cursor(self) -> Cursor:
        """How far this consumer has come."""
        with self._naming(), self._db.transaction():
            return _cursor(self._db.execute(_WHERE.format("%s"), (self._consumer,)).fetchone())

    def write(self, items: Sequence[Item]) -> None:
        """One transaction."""
        with self._naming(), self._db.transaction(), self._db.cursor() as run:
            if events := list(_events(items)):
                run.executemany(_EVENT.format("%s"), events)
            if gone := list(_gone(items)):
                run.executemany(_GONE.format("%s"), gone)
            run.execute(_CURSOR.format("%s"), (self._consumer, *_behind(items)))

    def close(self) -> None:
        """Close the connection."""
        self._db.close()

    @contextmanager
    def _naming(self) -> Generator[None, None, None]:
        try:
            yield
        except self._error as problem:
            # The first line of what the server says; the address may hold a password and is not repeated.
            said = str(problem).replace(self._url, "the address").splitlines()
            raise GoldlineError(f"postgresql: {said[0] if said else type(problem).__name__}") from problem


def _events(items: Sequence[Item]) -> Generator[Row, None, None]:
    for item in items:
        if isinstance(item, Arrived):
            known = _known(item.body)
            columns = msgspec.structs.astuple(known.data)
            # An order may name a unit by any text; PostgreSQL's has no NUL. `body` has it as it was.
            told = (one.replace("\0", "\N{REPLACEMENT CHARACTER}") if isinstance(one, str) else one for one in columns)
            yield str(item.stream), item.sequence, item.topic, known.time, *told, item.body.decode()


def _known(body: bytes) -> _Envelope:
    """What has columns; of an event that a later Goldline wrote in other words, nothing: it is kept all the same."""
    try:
        return _envelope(body)
    except msgspec.DecodeError:
        return _Envelope()


def _gone(items: Sequence[Item]) -> Generator[Row, None, None]:
    for item in items:
        if isinstance(item, Gone):
            yield str(item.stream), item.first, item.last


def _behind(items: Sequence[Item]) -> Row:
    cursor = items[-1].cursor
    return str(cursor.stream), cursor.sequence


def _cursor(row: Row | None) -> Cursor:
    return Cursor(0) if row is None else Cursor(int(row[1]), UUID(row[0]))
