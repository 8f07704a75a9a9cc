"""The durable event log: SQLite in WAL mode, synchronous=FULL, so a committed event survives a power cut.

One connection, used by one thread at a time; any other process may read (`outbox_reader.py`). Sequence numbers are
gap-free and begin at 1; a trigger has at most one event, whoever asks. Counts of verdicts are kept in the same
transaction as the events they count. Only the oldest events are ever removed, so what is left is a range.

    events        what was said: sequence, trigger_id, topic, previous, flags, verdict_utc_ns, body
    topics        the newest sequence number on each topic, pruned or not: their greatest is the head
    consumers     name, the event up to which it has everything, when it was last heard of
    counts        verdicts of a run of the station, by camera, outcome and reason
    reservations  blocks of trigger ids in use, each with the identity of the runtime directory it is used from
    answered      trigger ids in those blocks whose events were pruned
    late          results that came after their trigger was closed
    meta          stream identity, next trigger id, the file that was set aside for this one, how old what is kept is

Beside it lies `trigger_ids`, the id up to which all were given (`trigger_ids.py`).
"""

import sqlite3
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self
from uuid import UUID

import msgspec
import structlog

from edge import events, outbox_file, outbox_kept, trigger_ids
from edge.ages import Ages
from edge.events import IdRange
from edge.ledger import Closing, Late
from edge.outbox_file import OutboxError, Trouble, naming
from edge.outbox_kept import Consumer, Extent
from edge.records import Outcome, Reason
from edge.stored import Draft, Stored, stored
from edge.transactions import transaction
from edge.trigger_ids import BLOCK_IDS, IdBook

__all__ = ["BLOCK_IDS", "Draft", "Outbox", "OutboxError", "Stored", "Trouble"]

# Keys of `meta`.
_ASIDE, _AGES, _UNKEPT = "set_aside", "ages", "unkept"
_decode_ages = msgspec.json.Decoder(Ages).decode


class Outbox:
    """The open database. Raises OutboxError naming the file when it cannot be read or written."""

    def __init__(self, path: Path, run: str) -> None:
        """Open or make it; what is broken is set aside for a new one. `run` names this run of the station."""
        self._begin(path, run)
        self._open_or_replace()

    def _begin(self, path: Path, run: str) -> None:
        self.path, self.run = path, run
        self._ids = IdBook(path.with_name("trigger_ids"))

    def __enter__(self) -> Self:
        """Closed on exit."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """Fold the write-ahead log into the database, as far as no reader and no broken disk is in the way, and close."""
        try:
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as problem:
            structlog.get_logger().warning("the outbox is left with its log beside it", problem=str(problem))
        with suppress(sqlite3.Error):
            self._db.close()

    def reopen(self) -> None:
        """Begin anew with the file as it is now: after a failure, handles and what is remembered may be stale."""
        with suppress(sqlite3.Error):
            self._db.close()
        self._open_or_replace()

    def set_aside(self, now_utc_ns: int, why: str) -> None:
        """Keep this broken database under another name, and begin a new stream in a new one. Or OutboxError: it is as it was."""
        outbox_file.refuse_another(self.path)
        with suppress(sqlite3.Error):
            self._db.close()
        self._replace(now_utc_ns, why)
        self.adopt_reserved()

    # --- events

    def commit(self, drafts: Sequence[Draft], acknowledged: Mapping[str, int] | None = None) -> list[Stored]:
        """Write these events in one transaction and return those that were new, on disk and numbered.

        A trigger that has its event already is passed over: the first decision stands. With them is written what
        consumers have acknowledged.
        """
        with self._transaction():
            new = [one for draft in drafts if (one := self._insert(draft)) is not None]
            outbox_kept.acknowledge(self._db, acknowledged or {}, new[-1].sequence if new else self.head)
        return self._has_grown(new)

    def has_event(self, trigger_id: int) -> bool:
        """Whether this trigger's event is on disk, or was."""
        query = "SELECT trigger_id FROM events WHERE trigger_id = ? UNION ALL SELECT trigger_id FROM answered WHERE trigger_id = ?"
        with naming(self.path):
            return self._db.execute(query, (trigger_id, trigger_id)).fetchone() is not None

    def read(self, first: int, limit: int) -> list[Stored]:
        """Up to `limit` events from sequence number `first` on."""
        rows = self._db.execute(
            "SELECT sequence, topic, previous, flags, verdict_utc_ns, body FROM events"
            " WHERE sequence >= ? ORDER BY sequence LIMIT ?",
            (first, limit),
        )
        return [stored(self.stream, row) for row in rows]

    def counts(self) -> dict[Closing, int]:
        """This run's verdicts by camera, outcome and reason."""
        with naming(self.path):
            rows = self._db.execute("SELECT camera, outcome, reason, n FROM counts WHERE run = ?", (self.run,))
            return {
                (camera, Outcome(outcome), Reason(reason) if reason else None): n for camera, outcome, reason, n in rows
            }

    def add_late(self, late: Late) -> None:
        """Keep a result that came too late; a second one for the same trigger is let go."""
        with self._transaction():
            self._db.execute("INSERT OR IGNORE INTO late VALUES (?, ?)", (late.trigger_id, msgspec.json.encode(late)))

    def probe(self) -> None:
        """Write something, to see whether it can be."""
        with self._transaction():
            self._db.execute("INSERT OR REPLACE INTO meta VALUES ('probe', CURRENT_TIMESTAMP)")

    # --- what is kept

    def extent(self) -> Extent:
        """What is kept now."""
        with naming(self.path):
            return outbox_kept.extent(self._db)

    def consumers(self) -> list[Consumer]:
        """Everybody who acknowledges, by name."""
        with naming(self.path):
            return outbox_kept.consumers(self._db)

    def ages(self) -> Ages | None:
        """How old what is kept is, as it was noted last."""
        with naming(self.path):
            noted = self._meta(_AGES)
        with suppress(msgspec.DecodeError):
            return None if noted is None else _decode_ages(noted)
        return None

    def note_ages(self, ages: Ages) -> None:
        """For whoever opens it next."""
        with self._transaction():
            self._note(_AGES, msgspec.json.encode(ages).decode())

    def prune(self, upto: int) -> None:
        """Remove every event up to this one, with what came late for them."""
        with self._transaction():
            trigger_ids.note_pruned(self._db, upto)
            self._db.execute(
                "DELETE FROM late WHERE trigger_id IN (SELECT trigger_id FROM events WHERE sequence <= ?)", (upto,)
            )
            self._db.execute("DELETE FROM events WHERE sequence <= ?", (upto,))
        self.low = upto + 1

    # --- trigger ids

    def reserve(self, holder: str, runtime: UUID) -> tuple[int, int]:
        """The first and last of a block of trigger ids that were never given before and never will be again."""
        with self._transaction():
            block = trigger_ids.reserve(self._db, holder, runtime, self._ids.floor)
        return self._ids.give(holder, runtime, *block)

    def reserve_alone(self, holder: str, runtime: UUID) -> tuple[int, int]:
        """The same while the database cannot be written; `adopt_reserved` makes up for it."""
        return self._ids.give(holder, runtime, *self._ids.next_alone(time.time_ns()))

    def adopt(self, runtime: UUID, blocks: Sequence[tuple[str, int, int]]) -> None:
        """Blocks that are in use, by holder, first and last, whether this database has given them or not."""
        for holder, first, last in blocks:
            self._ids.give(holder, runtime, first, last)
        self.adopt_reserved()

    def adopt_reserved(self) -> None:
        """Have it in the database that the newest blocks of each holder are in use."""
        with self._transaction():
            for holder, runtime, first, last in self._ids.given:
                trigger_ids.adopt(self._db, holder, first, last, runtime)

    def release(self, runtime: UUID, still_held: Sequence[int]) -> None:
        """A clean stop: every trigger has its event. Blocks that begin with an id of `still_held` stay reserved."""
        with self._transaction():
            trigger_ids.release(self._db, runtime, list(still_held))
            self._db.execute("DELETE FROM meta WHERE key = ?", (_ASIDE,))

    def lost_ids(self, runtime: UUID) -> tuple[IdRange, ...]:
        """The ids reserved from other runtime directories than this that have no event: lost with those."""
        with naming(self.path):
            return trigger_ids.lost(self._db, runtime)

    def close_lost(self, runtime: UUID, draft: Draft) -> list[Stored]:
        """Write the event about `lost_ids` and let them go, together: it is said once."""
        with self._transaction():
            new = self._insert(draft)
            trigger_ids.release_others(self._db, runtime)
        return self._has_grown([new] if new else [])

    # --- what was let go

    def without_event(self, ranges: Sequence[IdRange]) -> tuple[IdRange, ...]:
        """Of these ids, those of triggers that have no event."""
        with naming(self.path):
            return trigger_ids.without_event(self._db, ranges)

    def name_unkept(self, token: str, draft: Draft | None) -> list[Stored]:
        """Write the event that names triggers without one: once for each token, whoever dies over it. None: none is left."""
        with self._transaction():
            new = None if draft is None or self._meta(_UNKEPT) == token else self._insert(draft)
            self._note(_UNKEPT, token)
        return self._has_grown([new] if new else [])

    # --- inside

    def _open_or_replace(self) -> None:
        try:
            self._open()
        except OutboxError as problem:
            if problem.trouble is not Trouble.CORRUPT:
                raise
            self._replace(time.time_ns(), str(problem))

    def _open(self) -> None:
        self._db = outbox_file.open_database(self.path)
        with naming(self.path):
            self.stream = UUID(self._meta("stream") or "")
            self.head = self._number("SELECT MAX(sequence) FROM topics")
            self.low = self._number("SELECT MIN(sequence) FROM events") or (self.head and self.head + 1)
            self._ids.open(int(self._meta("next_trigger_id") or 1))
            # The file that was set aside for this one, until the station was stopped cleanly.
            self.aside_name = self._meta(_ASIDE)

    def _replace(self, now_utc_ns: int, why: str) -> None:
        aside = outbox_file.set_aside(self.path, now_utc_ns)
        structlog.get_logger().error("the outbox is set aside for a new one", kept_as=str(aside), problem=why)
        with naming(self.path):
            self._ids.lose_database(now_utc_ns)
        self._open()
        with self._transaction():
            self._note(_ASIDE, aside.name)
        self.aside_name = aside.name

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
        return stored(self.stream, (sequence, draft.topic, previous, draft.flags, draft.verdict_utc_ns, body))

    def _count(self, camera: str, outcome: Outcome, reason: Reason | None) -> None:
        self._db.execute(
            "INSERT INTO counts VALUES (?, ?, ?, ?, 1) ON CONFLICT DO UPDATE SET n = n + 1",
            (self.run, camera, outcome.value, reason.value if reason else ""),
        )

    def _has_grown(self, new: list[Stored]) -> list[Stored]:
        if new:
            self.head = new[-1].sequence
            self.low = self.low or new[0].sequence
        return new

    def _meta(self, key: str) -> str | None:
        row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else row[0]

    def _note(self, key: str, value: str) -> None:
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def _number(self, query: str, *values: object) -> int:
        row = self._db.execute(query, values).fetchone()
        return int(row[0]) if row is not None and row[0] is not None else 0

    @contextmanager
    def _transaction(self) -> Generator[None, None, None]:
        with naming(self.path), transaction(self._db):
            yield
