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


class Link(Message, frozen=True):
    """A fresh socket to `peer`, in the packet's ancillary data. It replaces any earlier one to that peer."""

    peer: str


class Grant(Message, frozen=True):
    """A camera's ring, in the packet's ancillary data. Frames on the Link that follows lie in this one."""

    camera: str
    slots: int
    slot_bytes: int


class Stop(Message, frozen=True):
    """Finish what is in hand and leave."""


class WantRing(Message, frozen=True):
    """Capture knows its camera's frame size: make a ring of it, or hand over the one that is there, and link."""

    slot_bytes: int


class Failed(Message, frozen=True):
    """A worker's last word: it cannot run, and why, on one line."""

    problem: str


class Frame(Message, frozen=True):
    """Capture lends a slot to inspection."""

    frame: FrameRef


class Hello(Message, frozen=True):
    """Inspection's first word on a new link: the slots of this camera that it still holds."""

    held: tuple[int, ...]


class Release(Message, frozen=True):
    """Inspection gives a slot back."""

    slot: int
    generation: int


class Opened(Message, frozen=True):
    """Capture opened a trigger. It stands in capture's trigger log already; this only wakes the ledger."""

    trigger: Trigger


class Unjudged(Message, frozen=True):
    """Capture answers for a view whose frame never reached inspection or came to nothing there.

    Without a `view`: for every view of the trigger that its camera has not answered for.
    """

    trigger_id: int
    reason: Reason
    detail: str | None = None
    view: str | None = None


class WantIds(Message, frozen=True):
    """Capture runs low on trigger ids."""


class Ids(Message, frozen=True):
    """A block of trigger ids, `first` to `last` included, reserved on disk for this camera."""

    first: int
    last: int


class Fire(Message, frozen=True):
    """The ledger accepted a trigger for this camera; take the picture."""

    trigger: Trigger


class Judged(Message, frozen=True):
    """Inspection's verdict on a frame."""

    frame: FrameRef
    verdict: Verdict
    provenance: Provenance
    timing: Timing


AnyMessage = (
    Link
    | Grant
    | Stop
    | WantRing
    | Failed
    | Frame
    | Hello
    | Release
    | Opened
    | Unjudged
    | WantIds
    | Ids
    | Fire
    | Judged
)
