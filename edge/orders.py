"""What may be asked of the station, over its command socket or by a lane, and what it answers: JSON both ways. Pure.

{"verb":"trigger","camera":"left","unit_identifier":"A17","expect":{"variant":"oak"},"id":1}
    ─▶ {"accepted":true,"trigger_id":4711,"id":1}  or  {"accepted":false,"error":"…","id":1}
{"verb":"prepare","product":"trunk","variant":"oak"} ─▶ {"accepted":true,"state":"ContinuousExecution","job":{…}}
{"verb":"announce","camera":"left","unit_identifier":"A18"} · {"verb":"start"} · {"verb":"stop"} · {"verb":"halt"} ·
{"verb":"reset"} · {"verb":"start_single","camera":"left"} ─▶ {"accepted":true,"state":"Ready","job":{…}}
{"verb":"state"} ─▶ {"station":…,"state":"Ready","job":{…},"stream":…,"head":…,"cameras":{"left":{…}},"groups":{"box":{…}}}

Every order gets exactly one answer (`docs/orders.md`).
"""

from datetime import datetime
from typing import Annotated

import msgspec

from edge.errors import GoldlineError

# An order is a few hundred bytes. It goes on to other processes with the frame and comes back with the verdict, and
# with that has to fit into one packet of `channel.py`.
MAX_ORDER_BYTES = 16_384
# What JSON can say and no integer of the answer's encoder can repeat is refused.
Number = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
UnitIdentifier = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
Expect = Annotated[dict[str, str], msgspec.Meta(max_length=32)]


class OrderError(GoldlineError):
    """An order that cannot be carried out, and why: the text of the answer."""


class Order(msgspec.Struct, frozen=True, kw_only=True, tag_field="verb", forbid_unknown_fields=True):
    """Anything asked. `id` comes back in the answer."""

    id: Number | str | None = None


class TriggerOrder(Order, frozen=True, tag="trigger"):
    """Take a picture of this part and judge it. `camera` is a camera's name, or a group's: then one by each of them."""

    camera: str
    unit_identifier: UnitIdentifier | None = None
    expect: Expect = {}


class StateOrder(Order, frozen=True, tag="state"):
    """How things stand."""


class PrepareOrder(Order, frozen=True, tag="prepare"):
    """Judge by this product from the answer on. `variant` is expected of every trigger that names none."""

    product: Annotated[str, msgspec.Meta(min_length=1, max_length=63)]
    variant: Annotated[str, msgspec.Meta(min_length=1, max_length=256)] | None = None


class AnnounceOrder(Order, frozen=True, tag="announce"):
    """The unit that the next trigger of this camera or group is for; null takes it back."""

    camera: str
    unit_identifier: UnitIdentifier | None
    expect: Expect = {}


class StartOrder(Order, frozen=True, tag="start"):
    """Take triggers until told otherwise."""


class StartSingleOrder(Order, frozen=True, tag="start_single"):
    """Take one trigger of this camera or group: at once, where it is triggered by software."""

    camera: str
    unit_identifier: UnitIdentifier | None = None
    expect: Expect = {}


class StopOrder(Order, frozen=True, tag="stop"):
    """Take no more triggers."""


class HaltOrder(Order, frozen=True, tag="halt"):
    """Take no more triggers, and no order to take any, until `reset`."""


class ResetOrder(Order, frozen=True, tag="reset"):
    """As after a start of the station."""


AnyOrder = (
    TriggerOrder
    | StateOrder
    | PrepareOrder
    | AnnounceOrder
    | StartOrder
    | StartSingleOrder
    | StopOrder
    | HaltOrder
    | ResetOrder
)


class JobState(msgspec.Struct, frozen=True, kw_only=True):
    """What is judged by: of OPC 40100's identifiers those that this station has. Hashes are None until inspection says."""

    product: str
    variant: str | None = None
    recipe_sha256: str | None = None
    reference_set: str | None = None
    configuration: int


class Accepted(msgspec.Struct, frozen=True, kw_only=True):
    """This trigger gets exactly one event."""

    accepted: bool = True
    trigger_id: int
    id: int | str | None = None


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """The order is carried out, and how the station stands by it."""

    accepted: bool = True
    state: str
    job: JobState
    id: int | str | None = None


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """Nothing was done."""

    accepted: bool = False
    error: str
    id: int | str | None = None


class CameraState(msgspec.Struct, frozen=True, kw_only=True):
    """A camera as the ledger sees it. One that belongs to a group has no triggers of its own.

    `is_linked`: its process is there. `is_up`: and it streams.
    """

    mode: str
    is_linked: bool
    is_up: bool = False
    triggers: int
    in_flight: int
    verdicts: dict[str, int]


class GroupState(msgspec.Struct, frozen=True, kw_only=True):
    """Cameras that see one part, as the ledger sees them."""

    cameras: tuple[str, ...]
    triggers: int
    in_flight: int
    verdicts: dict[str, int]


class Alarm(msgspec.Struct, frozen=True, kw_only=True):
    """Something that somebody has to see to; it goes by itself with its cause."""

    name: str
    text: str


class StationState(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to `state`, the events of kind `state`, and what lanes hear.

    `state` is OPC 40100's, `since` when it began (RFC 3339). `head` is the newest sequence number on disk, `low` the
    oldest that is kept.
    """

    station: str
    state: str
    since: datetime
    job: JobState
    stream: str
    head: int
    low: int
    cameras: dict[str, CameraState]
    groups: dict[str, GroupState]
    alarms: tuple[Alarm, ...] = ()
    id: int | str | None = None


Answer = Accepted | Done | Refused | StationState

_decode = msgspec.json.Decoder(AnyOrder).decode
encode = msgspec.json.Encoder().encode


class _Named(msgspec.Struct):
    id: Number | str | None = None


_decode_name = msgspec.json.Decoder(_Named).decode


def id_of(data: bytes) -> int | str | None:
    """What the answer is to bear, also where this is no order; None where it names nothing that could be borne."""
    try:
        return _decode_name(data).id if len(data) <= MAX_ORDER_BYTES else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def parse(data: bytes) -> AnyOrder:
    """Raises OrderError saying what is wrong with it."""
    if len(data) > MAX_ORDER_BYTES:
        raise OrderError(f"not an order: {len(data)} bytes, more than {MAX_ORDER_BYTES}")
    try:
        return _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
        raise OrderError(f"not an order: {problem}") from problem
