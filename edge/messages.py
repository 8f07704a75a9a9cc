"""What the station's processes say to each other over SEQPACKET sockets, one message a packet.

supervisor ─▶ worker     Grant, Link (each with a descriptor as ancillary data) · Stop
worker     ─▶ supervisor WantRing (capture) · Failed · Offered · Taken
supervisor ─▶ worker     Offer (with its descriptor) · Commit · Abandon
capture    ─▶ inspection Frame              inspection ─▶ capture  Hello · Release
capture    ─▶ publish    Opened · Unjudged · WantIds · Streams   publish ─▶ capture  Ids · Fire
inspection ─▶ publish    Judged · Prepared              publish ─▶ inspection Prepare
inspection ─▶ archive    Grant (with its descriptor) · Keep   archive ─▶ inspection Kept
publish    ─▶ capture    Run · Announce
lane       ─▶ publish    Asked                          publish ─▶ lane     Answered · Standing · News
sync       ─▶ publish    Acknowledged
"""

import msgspec

from edge.records import FrameRef, Image, Provenance, Reason, Record, Timing, Trigger, Verdict


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
    """Finish what is in hand and leave. `is_restart`: another incarnation follows; the station goes on."""

    is_restart: bool = False


class Offer(Message, frozen=True):
    """Another configuration, in the packet's ancillary data: make ready to take it over, and say so, or why not."""

    number: int


class Offered(Message, frozen=True):
    """The worker could take over the configuration of this number; or cannot, and why.

    `generation`: publish's word, by what number events will name it. `loads`: inspection's, what it found changed beside
    the configuration, each as its name, what it was and what it is.
    """

    number: int
    problem: str | None = None
    generation: int = 0
    loads: tuple[tuple[str, str, str], ...] = ()


class Commit(Message, frozen=True):
    """Take over what was offered by this number, between two frames. Events name it by `generation` from then on."""

    number: int
    generation: int


class Taken(Message, frozen=True):
    """The worker goes by the configuration of this number; publish: and inspection judges by it."""

    number: int


class Abandon(Message, frozen=True):
    """What was offered by this number is not taken over by anybody."""

    number: int


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
    """Inspection's verdict on a frame, and the picture of it that the archive was given."""

    frame: FrameRef
    verdict: Verdict
    provenance: Provenance
    timing: Timing
    image: Image | None = None


class Streams(Message, frozen=True):
    """Whether capture's camera streams: said on a new link, and whenever it has changed."""

    is_up: bool


class Run(Message, frozen=True):
    """Whether capture opens triggers by itself: while it does not, no frame and no pulse opens one.

    `at_most`: so many from here on, then none; None: any number. `expect`: what every trigger expects that says nothing of it.
    """

    is_on: bool
    at_most: int | None = None
    expect: dict[str, str] = {}


class Announce(Message, frozen=True):
    """The unit that the next trigger of this camera, or of the group it opens, is for. None: take it back.

    The trigger bears the `number`, which grows from one announcement to the next: one that was heard before is no news.
    """

    unit_identifier: str | None
    expect: dict[str, str] = {}
    number: int = 0


class Prepare(Message, frozen=True):
    """Load this product beside the one that is judged, then judge by it every frame that comes after.

    `variant`: what triggers expect that name none; the product has to know it.
    """

    product: str
    generation: int
    variant: str | None = None


class Prepared(Message, frozen=True):
    """From here on this product is judged by; or why it is not, and the one before still is. The first word on a link."""

    product: str
    generation: int
    variant: str | None = None
    problem: str | None = None
    provenance: Provenance | None = None


# Of 255: what lies up to four times as far from good parts as the review limit is still told apart.
MAP_REVIEW = 64


class KeptMap(Record, frozen=True):
    """One anomaly map behind the pixels: `height` rows of `width` bytes, MAP_REVIEW at the check's review limit.

    `to_picture`: the first two rows, flat, of the matrix that takes the map's cells to px of the kept picture.
    """

    check: str
    width: int
    height: int
    to_picture: tuple[float, float, float, float, float, float]


class Keep(Message, frozen=True):
    """A picture to keep as evidence, lent in a slot of inspection's own ring for the archive.

    `box`: where its pixels lie in the frame (x, y, width, height). The slot has `used_bytes` of them in `pixel_format`,
    which need not be the camera's, and then the maps.
    """

    slot: int
    generation: int
    frame: FrameRef
    verdict: Verdict
    provenance: Provenance
    image: Image
    box: tuple[int, int, int, int]
    pixel_format: str
    used_bytes: int
    maps: tuple[KeptMap, ...] = ()


class Kept(Message, frozen=True):
    """The archive gives a slot back."""

    slot: int
    generation: int


class Asked(Message, frozen=True):
    """An order by a lane, in the words of the command socket (`orders.py`). `token` comes back with the answer."""

    token: int
    order: bytes


class Answered(Message, frozen=True):
    """What the order came to, in the words of the command socket."""

    token: int
    answer: bytes


class Standing(Message, frozen=True):
    """How the station stands (`orders.StationState` in JSON): at first, and whenever it has changed."""

    state: bytes


class News(Message, frozen=True):
    """Something was decided: the decided log has it."""


class Acknowledged(Message, frozen=True):
    """A consumer has every event up to this one: they may be pruned as far as it is concerned.

    `stream`: of the outbox that the number is of; it says nothing about another.
    """

    consumer: str
    upto: int
    stream: str | None = None


AnyMessage = (
    Link | Grant | Stop | Offer | Offered | Commit | Taken | Abandon | WantRing | Failed | Frame | Hello | Release
    | Opened | Unjudged | WantIds | Ids | Fire | Judged | Streams | Run | Announce | Prepare | Prepared
    | Keep | Kept | Asked | Answered | Standing | News | Acknowledged
)  # fmt: skip
