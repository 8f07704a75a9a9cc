"""What the station's processes say to each other over SEQPACKET sockets, one message a packet.

    supervisor ─▶ worker     Grant, Link (each with a descriptor as ancillary data) · Stop
    worker     ─▶ supervisor WantRing (capture) · Failed
    capture    ─▶ inspection Frame              inspection ─▶ capture  Hello · Release
    capture    ─▶ publish    Opened · Unjudged · WantIds   publish ─▶ capture  Ids · Fire
    inspection ─▶ publish    Judged
"""

import msgspec

from edge.records import FrameRef, Provenance, Reason, Timing, Trigger, Verdict


class Message(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """One packet."""


class Link(Message):
    """A fresh socket to `peer`, in the packet's ancillary data. It replaces any earlier one to that peer."""

    peer: str


class Grant(Message):
    """A camera's ring, in the packet's ancillary data. Frames on the Link that follows lie in this one."""

    camera: str
    slots: int
    slot_bytes: int


class Stop(Message):
    """Finish what is in hand and leave."""


class WantRing(Message):
    """Capture knows its camera's frame size: make a ring of it, or hand over the one that is there, and link."""

    slot_bytes: int


class Failed(Message):
    """A worker's last word: it cannot run, and why, on one line."""

    problem: str


class Frame(Message):
    """Capture lends a slot to inspection."""

    frame: FrameRef


class Hello(Message):
    """Inspection's first word on a new link: the slots of this camera that it still holds."""

    held: tuple[int, ...]


class Release(Message):
    """Inspection gives a slot back."""

    slot: int
    generation: int


class Opened(Message):
    """Capture opened a trigger. It stands in capture's trigger log already; this only wakes the ledger."""

    trigger: Trigger


class Unjudged(Message):
    """Capture closes a trigger whose frame never reached inspection, or came to nothing there."""

    trigger_id: int
    reason: Reason
    detail: str | None = None


class WantIds(Message):
    """Capture runs low on trigger ids."""


class Ids(Message):
    """A block of trigger ids, `first` to `last` included, reserved on disk for this camera."""

    first: int
    last: int


class Fire(Message):
    """The ledger accepted a trigger for this camera; take the picture."""

    trigger: Trigger


class Judged(Message):
    """Inspection's verdict on a frame."""

    frame: FrameRef
    verdict: Verdict
    provenance: Provenance
    timing: Timing


AnyMessage = (
    Link | Grant | Stop | WantRing | Failed | Frame | Hello | Release | Opened | Unjudged | WantIds | Ids | Fire | Judged
)
