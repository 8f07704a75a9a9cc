"""What the outbox keeps, and for whom: its extent, and the consumers that acknowledge. Queries, nothing decided."""

import sqlite3
from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec

# Names are no metric labels and no files, yet each takes a look at every turn of retention.
MOST_CONSUMERS = 64


class Extent(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept: events `low` to `head`, `low` = `head` + 1 where there is none; the pages they take; the oldest."""

    low: int
    head: int
    used_bytes: int
    oldest_utc_ns: int | None


class Consumer(msgspec.Struct, frozen=True, kw_only=True):
    """Who acknowledges: everything up to `upto`."""

    name: str
    upto: int
    seen_utc: str


def extent(database: sqlite3.Connection) -> Extent:
    """What is kept now. Costs the same for any number of events."""
    pages, free, size = (
        database.execute(f"PRAGMA {one}").fetchone()[0] for one in ("page_count", "freelist_count", "page_size")
    )
    (head,) = database.execute("SELECT MAX(sequence) FROM topics").fetchone()
    row = database.execute("SELECT sequence, verdict_utc_ns FROM events ORDER BY sequence LIMIT 1").fetchone()
    return Extent(
        low=row[0] if row else (head or 0) + 1,
        head=head or 0,
        used_bytes=(pages - free) * size,
        oldest_utc_ns=row[1] if row else None,
    )


def consumers(database: sqlite3.Connection) -> list[Consumer]:
    """Everybody who acknowledges, by name."""
    rows = database.execute("SELECT name, upto, seen_utc FROM consumers ORDER BY name")
    return [Consumer(name=name, upto=upto, seen_utc=seen) for name, upto, seen in rows]


def acknowledge(database: sqlite3.Connection, given: Mapping[str, int], head: int) -> None:
    """Never back, and never beyond what there is. One more than `MOST_CONSUMERS` is not taken. In a transaction."""
    for name, upto in given.items():
        database.execute(
            "INSERT INTO consumers SELECT ?, ?, ? WHERE (SELECT COUNT(*) FROM consumers WHERE name <> ?) < ?"
            " ON CONFLICT DO UPDATE SET upto = MAX(upto, excluded.upto), seen_utc = excluded.seen_utc",
            (name, min(upto, head), datetime.now(UTC).isoformat(timespec="seconds"), name, MOST_CONSUMERS),
        )


def forget(database: sqlite3.Connection, name: str) -> bool:
    """Nobody of this name comes for events any more. False: nobody of this name ever did."""
    return database.execute("DELETE FROM consumers WHERE name = ?", (name,)).rowcount > 0
