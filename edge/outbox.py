"""The durable event log: SQLite in WAL mode, synchronous=FULL, so a committed event survives a power cut.

One connection, used by one thread at a time. Sequence numbers are gap-free and begin at 1; a trigger has at most one
event, whoever asks. Counts of verdicts are kept in the same transaction as the events they count.

    events        what was said, by sequence number
    topics        the newest sequence number on each topic
    counts        verdicts of a run of the station, by camera, outcome and reason
    reservations  blocks of trigger ids in use, each with the identity of the runtime directory it is used from
    late          results that came after their trigger was closed
    meta          stream identity, next trigger id
"""

import sqlite3
import uuid
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self
from uuid import UUID

import msgspec

from edge import events, header
from edge.errors import GoldlineError
from edge.events import Event, IdRange
from edge.header import Flag, Header
from edge.ledger import Closing, Late
from edge.records import Outcome, Reason

SCHEMA_VERSION = 1
# Half a minute of ids at 30 triggers a second: one commit for 1024 triggers.
BLOCK_IDS = 1024
# Reserving happens beside other processes' reads at most; longer means that something else holds the file.
BUSY_TIMEOUT_S = 5.0

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


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """An event on its way into the outbox, without its place in the stream."""

    topic: str
    flags: Flag
    verdict_utc_ns: int
    event: Event


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """An event in the outbox, as the three frames that are sent."""

    sequence: int
    topic: str
    header: bytes
    body: bytes


class Outbox:
    """The open database. Raises GoldlineError naming the file when it cannot be read or written."""

    def __init__(self, path: Path, run: str) -> None:
        """Open or make it. `run` names this run of the station: what `counts` are kept for."""
        self.path = path
        self._run = run
        with self._naming_the_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(
                path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False, cached_statements=64
            )
            self._prepare()
            self.stream = UUID(self._meta("stream"))
            self.head = self._number("SELECT MAX(sequence) FROM topics")
            self.low = self._number("SELECT MIN(sequence) FROM events")

    def __enter__(self) -> Self:
        """Closed on exit."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """Fold the write-ahead log into the database, as far as no reader is in the way, and close."""
        with self._naming_the_file():
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self._db.close()

    # --- events

    def commit(self, drafts: Sequence[Draft]) -> list[Stored]:
        """Write these events in one transaction and return those that were new, on disk and numbered.

        A trigger that has its event already is passed over: the first decision stands.
        """
        with self._transaction():
            stored = [one for draft in drafts if (one := self._insert(draft)) is not None]
        if stored:
            self.head = stored[-1].sequence
            self.low = self.low or stored[0].sequence
        return stored

    def has_event(self, trigger_id: int) -> bool:
        """Whether this trigger's event is on disk."""
        return self._number("SELECT COUNT(*) FROM events WHERE trigger_id = ?", trigger_id) > 0

    def read(self, first: int, limit: int) -> list[Stored]:
        """Up to `limit` events from sequence number `first` on."""
        rows = self._db.execute(
            "SELECT sequence, topic, previous, flags, verdict_utc_ns, body FROM events"
            " WHERE sequence >= ? ORDER BY sequence LIMIT ?",
            (first, limit),
        )
        return [self._stored(*row) for row in rows]

    def counts(self) -> dict[Closing, int]:
        """This run's verdicts by camera, outcome and reason."""
        rows = self._db.execute("SELECT camera, outcome, reason, n FROM counts WHERE run = ?", (self._run,))
        return {
            (camera, Outcome(outcome), Reason(reason) if reason else None): n for camera, outcome, reason, n in rows
        }

    def add_late(self, late: Late) -> None:
        """Keep a result that came too late; a second one for the same trigger is let go."""
        with self._transaction():
            self._db.execute("INSERT OR IGNORE INTO late VALUES (?, ?)", (late.trigger_id, msgspec.json.encode(late)))

    # --- trigger ids

    def reserve(self, holder: str, runtime: UUID) -> tuple[int, int]:
        """The first and last of a block of trigger ids that were never given before and never will be again.

        The holder's earlier blocks are let go once each of their ids has its event.
        """
        with self._transaction():
            first = int(self._meta("next_trigger_id"))
            last = first + BLOCK_IDS - 1
            self._db.execute("UPDATE meta SET value = ? WHERE key = 'next_trigger_id'", (str(last + 1),))
            self._db.execute(
                "DELETE FROM reservations WHERE holder = ? AND last - first + 1 ="
                " (SELECT COUNT(*) FROM events WHERE trigger_id BETWEEN first AND last)",
                (holder,),
            )
            self._db.execute("INSERT INTO reservations VALUES (?, ?, ?, ?)", (first, last, holder, str(runtime)))
        return first, last

    def release(self, runtime: UUID, still_held: Sequence[int]) -> None:
        """A clean stop: every trigger has its event. Blocks that begin with an id of `still_held` stay reserved."""
        with self._transaction():
            rows = self._db.execute("SELECT first FROM reservations WHERE runtime = ?", (str(runtime),)).fetchall()
            gone = [row for row in rows if row[0] not in still_held]
            self._db.executemany("DELETE FROM reservations WHERE first = ?", gone)

    def lost_ids(self, runtime: UUID) -> tuple[IdRange, ...]:
        """The ids reserved from other runtime directories than this that have no event: lost with those."""
        rows = self._db.execute(
            "SELECT first, last, holder FROM reservations WHERE runtime <> ? ORDER BY first", (str(runtime),)
        ).fetchall()
        return tuple(gap for first, last, holder in rows for gap in self._gaps(first, last, holder))

    def close_lost(self, runtime: UUID, draft: Draft) -> list[Stored]:
        """Write the event about `lost_ids` and let them go, together: it is said once."""
        with self._transaction():
            stored = self._insert(draft)
            self._db.execute("DELETE FROM reservations WHERE runtime <> ?", (str(runtime),))
        if stored is None:
            return []
        self.head = stored.sequence
        self.low = self.low or stored.sequence
        return [stored]

    # --- inside

    def _prepare(self) -> None:
        self._db.execute("PRAGMA journal_mode = WAL")
        # FULL: NORMAL loses acknowledged events at a power cut, and then gives their numbers to others.
        self._db.execute("PRAGMA synchronous = FULL")
        version = self._number("PRAGMA user_version")
        if version == 0:
            self._create()
        elif version != SCHEMA_VERSION:
            raise GoldlineError(f"{self.path}: made by another version of Goldline ({version}, not {SCHEMA_VERSION})")

    def _create(self) -> None:
        with self._transaction():
            for statement in _SCHEMA.split(";"):
                self._db.execute(statement)
            meta = [("stream", str(uuid.uuid4())), ("next_trigger_id", "1")]
            self._db.executemany("INSERT INTO meta VALUES (?, ?)", meta)
            self._db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def _insert(self, draft: Draft) -> Stored | None:
        result = draft.event.data
        if result.trigger_id is not None and self.has_event(result.trigger_id):
            return None
        sequence = self._number("SELECT MAX(sequence) FROM topics") + 1
        previous = self._number("SELECT sequence FROM topics WHERE topic = ?", draft.topic)
        body = events.encode(events.sealed(draft.event, self.stream, sequence))
        row = (sequence, result.trigger_id, draft.topic, previous, draft.flags, draft.verdict_utc_ns, body)
        self._db.execute("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        self._db.execute("INSERT OR REPLACE INTO topics VALUES (?, ?)", (draft.topic, sequence))
        if result.trigger_id is not None:
            self._count(result.camera, result.verdict, result.reason)
        return self._stored(sequence, draft.topic, previous, draft.flags, draft.verdict_utc_ns, body)

    def _count(self, camera: str, outcome: Outcome, reason: Reason | None) -> None:
        self._db.execute(
            "INSERT INTO counts VALUES (?, ?, ?, ?, 1) ON CONFLICT DO UPDATE SET n = n + 1",
            (self._run, camera, outcome.value, reason.value if reason else ""),
        )

    def _stored(self, sequence: int, topic: str, previous: int, flags: int, verdict_utc_ns: int, body: bytes) -> Stored:
        named = Header(
            flags=Flag(flags),
            stream=self.stream,
            sequence=sequence,
            previous=previous,
            verdict_utc_ns=verdict_utc_ns,
        )
        return Stored(sequence=sequence, topic=topic, header=header.encode(named), body=body)

    def _gaps(self, first: int, last: int, holder: str) -> Iterator[IdRange]:
        rows = self._db.execute(
            "SELECT trigger_id FROM events WHERE trigger_id BETWEEN ? AND ? ORDER BY trigger_id", (first, last)
        )
        start = first
        for known in [*(row[0] for row in rows), last + 1]:
            if known > start:
                yield IdRange(camera=holder, first=start, last=known - 1)
            start = known + 1

    def _meta(self, key: str) -> str:
        return self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()[0]

    def _number(self, query: str, *values: object) -> int:
        row = self._db.execute(query, values).fetchone()
        return int(row[0]) if row is not None and row[0] is not None else 0

    @contextmanager
    def _transaction(self) -> Generator[None, None, None]:
        with self._naming_the_file():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                # SQLite has rolled back by itself when the disk is full.
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    @contextmanager
    def _naming_the_file(self) -> Generator[None, None, None]:
        try:
            yield
        except (sqlite3.Error, OSError) as problem:
            raise GoldlineError(f"{self.path}: the outbox cannot be used: {problem}") from problem
