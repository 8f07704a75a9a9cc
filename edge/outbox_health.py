"""How the record keeps: what is wrong with it, and whether a trigger may be accepted. Values, made by the outbox thread."""

from typing import NamedTuple

import msgspec

# Every alarm about the record, by name: also the label of `goldline_outbox_alarm`.
DISK_FULL = "disk_full"
DISK_FAILED = "disk_failed"
SET_ASIDE = "outbox_set_aside"
UNACKNOWLEDGED = "unacknowledged"
BEHIND = "outbox_behind"


class Alarm(NamedTuple):
    """Something that somebody must see to: its name, and a sentence that says what and where."""

    name: str
    text: str


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """`refusal`: why no trigger may be accepted; None while they may. What was accepted before is answered all the same."""

    refusal: str | None = None
    alarms: tuple[Alarm, ...] = ()
