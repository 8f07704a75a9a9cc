"""Which pictures are kept, and which go: the oldest first, as few as bring the rest inside its bounds. Pure."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from edge.records import Outcome, Reason, Verdict

DAY_NS = 86_400 * 10**9
# Removed in one step: the archive looks after new pictures between two of them.
STEP = 32
# Of `max_days`, what may pass at once because the machine was off: the clock at its start may be wrong by years.
MOST_OFF_SHARE = 0.9


def is_sampled(trigger_id: int, share: float) -> bool:
    """Whether this trigger is of the share of PASS that is kept: the same every time it is asked."""
    digest = hashlib.blake2b(trigger_id.to_bytes(8, "big"), digest_size=8).digest()
    return int.from_bytes(digest, "big") < share * 2**64


def is_wanted(verdict: Verdict, trigger_id: int, share: float) -> bool:
    """Whether there is reason to keep the picture of this verdict. One that was torn shows nothing that can be used."""
    if verdict.outcome is Outcome.PASS:
        return is_sampled(trigger_id, share)
    return verdict.reason is not Reason.TORN


@dataclass(frozen=True)
class Bounds:
    """How much is kept, and for how long."""

    max_bytes: int
    max_days: float

    @property
    def most_off_ns(self) -> int:
        """What may be counted of the time that the machine was off (`lived.py`)."""
        return int(self.max_days * DAY_NS * MOST_OFF_SHARE)

    def expired(self, kept_ns: int, lived_ns: int) -> bool:
        """Too old to be kept, by how long the archive has lived since."""
        return lived_ns - kept_ns > self.max_days * DAY_NS


@dataclass(frozen=True)
class Entry:
    """A kept picture of one trigger, and when it came: ns that the archive had lived by then.

    `frees`: bytes that go with it; those of pixels that another has too do not.
    """

    name: str
    kept_ns: int
    frees: int


def due(oldest: Sequence[Entry], room_bytes: int, bounds: Bounds, lived_ns: int) -> list[Entry]:
    """Of `oldest` (oldest first) those that must go so that `room_bytes` more can be used.

    `room_bytes`: how much is wanted beyond what the bounds leave; 0 or less: there is room, and only age counts.
    """
    found: list[Entry] = []
    for entry in oldest:
        if room_bytes <= 0 and not bounds.expired(entry.kept_ns, lived_ns):
            break
        found.append(entry)
        room_bytes -= entry.frees
    return found
