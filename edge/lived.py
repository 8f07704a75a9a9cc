"""How long something has been kept, which no clock that is set, jumps or stands wrong can change. Pure.

What is kept is aged by the time that its keeper has lived, not by the time of day:

1. while the machine runs, its own counting since the start tells what has passed (CLOCK_BOOTTIME, sleep included)
2. what passed while it was off only the time of day can tell: it counts at the next start, but not beyond `most_off_ns`

So a clock that jumps ages nothing, and one that stands wrong at a start, by years, ages it by `most_off_ns` once.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Instant:
    """One moment as the machine tells it: the time of day, what has passed since it was started, and which start that was."""

    utc_ns: int
    boot_ns: int
    boot: str


@dataclass(frozen=True)
class Lived:
    """How much was lived until `at`, ns. It only grows."""

    ns: int
    at: Instant

    def until(self, now: Instant, most_off_ns: int) -> "Lived":
        """The same keeper at a later moment."""
        if now.boot == self.at.boot:
            passed_ns = now.boot_ns - self.at.boot_ns
        else:
            passed_ns = min(now.utc_ns - self.at.utc_ns, most_off_ns)
        return Lived(self.ns + max(0, passed_ns), now)

    def when(self, utc_ns: int, most_off_ns: int) -> int:
        """What had been lived at this time of day: for what is found without anybody having noted that."""
        return self.ns - min(max(0, self.at.utc_ns - utc_ns), most_off_ns)
