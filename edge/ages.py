"""How old events are, by how long the outbox has lived since (`lived.py`): a clock that jumps makes none of them old. Pure.

A mark says how far the events went when so much had been lived. An event is as old as the first mark at or behind it:
that is at most one `spacing_ns` less than it is in truth. Behind the last mark it counts as new.
"""

from dataclasses import dataclass, replace

from edge.lived import Instant, Lived

# Of the time that the machine was off, so much counts at a start: the clock may stand wrong by years then, and events
# are better kept too long than not long enough.
MOST_OFF_NS = 86_400 * 10**9
# Marks in the time that events are kept for: each costs a few bytes, and as many are read and written at once.
MARKS = 64


@dataclass(frozen=True)
class Ages:
    """What the outbox has lived, and its `marks`: (sequence, ns lived by then), oldest first."""

    lived: Lived
    marks: tuple[tuple[int, int], ...] = ()

    def until(self, now: Instant) -> "Ages":
        """The same outbox at a later moment."""
        return replace(self, lived=self.lived.until(now, MOST_OFF_NS))

    def marked(self, head: int, spacing_ns: int) -> "Ages":
        """With a mark at the newest event, where the last one is long enough ago."""
        sequence, lived_ns = self.marks[-1] if self.marks else (0, 0)
        if head <= sequence or (self.marks and self.lived.ns - lived_ns < spacing_ns):
            return self
        return replace(self, marks=(*self.marks, (head, self.lived.ns)))

    def without(self, low: int) -> "Ages":
        """Without the marks of which every event is gone."""
        return replace(self, marks=tuple(mark for mark in self.marks if mark[0] >= low))

    def of(self, sequence: int) -> int:
        """How old this event is at least, ns."""
        return next((self.lived.ns - lived_ns for last, lived_ns in self.marks if last >= sequence), 0)

    def older_than(self, age_ns: int) -> int:
        """The last event that is; 0 where none is."""
        return max((last for last, lived_ns in self.marks if self.lived.ns - lived_ns > age_ns), default=0)


def taken_up(found: Ages | None, head: int, now: Instant) -> Ages:
    """At a start: what was noted last. Without that, whatever is there counts from now on."""
    return Ages(Lived(0, now)).marked(head, 0) if found is None else found.until(now)
