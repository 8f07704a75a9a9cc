"""What the outbox's file says beside the running station: extent, consumers, the newest parts that did not pass."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec

from edge import events, outbox_kept
from edge.events import Event
from edge.outbox_file import naming, open_reading
from edge.outbox_kept import Consumer, Extent
from edge.records import Outcome

# Of so many events at most the last rejected parts are looked for: a line that rejects none has none to show.
LOOKED_THROUGH, MOST_SHOWN = 500, 5

_NEWEST = "SELECT body FROM events WHERE topic LIKE '%.result.' ORDER BY sequence DESC LIMIT ?"


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """`rejected`: the newest FAIL and ERROR, newest first."""

    extent: Extent
    consumers: tuple[Consumer, ...]
    rejected: tuple[Event, ...]
    newest: Event | None


def read_record(state_dir: Path) -> Record:
    """Read in one short look that keeps nobody waiting. Raises GoldlineError: none there, or it cannot be read."""
    path = state_dir / "outbox.sqlite3"
    with naming(path), closing(open_reading(path)) as database:
        newest, rejected = None, list[Event]()
        for event in _newest(database):
            newest = newest or event
            if event.data.verdict is not Outcome.PASS:
                rejected.append(event)
            if len(rejected) == MOST_SHOWN:
                break
        return Record(
            extent=outbox_kept.extent(database),
            consumers=tuple(outbox_kept.consumers(database)),
            rejected=tuple(rejected),
            newest=newest,
        )


def _newest(database: sqlite3.Connection) -> Iterator[Event]:
    for (body,) in database.execute(_NEWEST, (LOOKED_THROUGH,)):
        yield events.decode(body)
