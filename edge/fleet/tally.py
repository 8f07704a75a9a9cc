"""Verdicts by what they were given by, counted from the station's own events: how a product does before and after a roll-out."""

from collections import Counter, defaultdict
from pathlib import Path

import msgspec

from edge import events
from edge.fleet.plan import Counts
from edge.outbox_reader import OutboxReader, Unavailable

# Events a look: more are looked at next time, and a station with thousands waiting is not kept from anything else.
# What the outbox knows the hub by: `forward.py` acknowledges in its name.
CONSUMER = "uplink"
MOST_EVENTS, MOST_BYTES = 2000, 8 << 20


class Tally:
    """Counts what is written from now on. A run's counts begin at zero. Blocks: it belongs on a thread."""

    def __init__(self, outbox: Path) -> None:
        """Nothing is read before `look`."""
        self._reader = OutboxReader(outbox)
        self._next: int | None = None
        self._stream: object = None
        self._counts: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        # Events that the hub does not have yet, as far as the outbox knows.
        self.behind: int | None = None

    def look(self) -> None:
        """Count what was written since the last look."""
        try:
            extent = self._reader.extent()
            if self._next is None or extent.stream != self._stream:
                self._stream, self._next = extent.stream, extent.head + 1 if self._next is None else extent.low
            _, rows = self._reader.read(max(self._next, extent.low), MOST_EVENTS, MOST_BYTES)
            self.behind = extent.head - self._reader.acknowledged().get(CONSUMER, 0)
        except Unavailable:
            return
        finally:
            # The next look may be on another thread, where SQLite would not have this connection.
            self._reader.close()
        for row in rows:
            self._next = row.sequence + 1
            self._count(row.body)

    def _count(self, body: bytes) -> None:
        try:
            data = events.decode(body).data
        except msgspec.DecodeError:
            return
        if data.recipe_sha256 is not None and data.reference_set is not None:
            self._counts[data.recipe_sha256, data.reference_set][data.verdict] += 1

    def of(self, pair: tuple[str, str] | None) -> Counts:
        """Verdicts by this recipe and reference set."""
        return dict(self._counts[pair]) if pair in self._counts else {}
