"""What may be asked of the station over its command socket, and what it answers: JSON both ways. Pure.

{"verb":"trigger","camera":"left","unit_identifier":"A17","expect":{"variant":"oak"},"id":1}
    ─▶ {"accepted":true,"trigger_id":4711,"id":1}  or  {"accepted":false,"error":"…","id":1}
{"verb":"state"} ─▶ {"station":…,"stream":…,"head":…,"cameras":{"left":{…}},"groups":{"box":{…}}}
"""

from typing import Annotated

import msgspec

from edge.errors import GoldlineError

# An order is a few hundred bytes. It goes on to other processes with the frame and comes back with the verdict, and
# with that has to fit into one packet of `channel.py`.
MAX_ORDER_BYTES = 16_384
# What JSON can say and no integer of the answer's encoder can repeat is refused.
Number = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


class OrderError(GoldlineError):
    """An order that cannot be carried out, and why: the text of the answer."""


class Order(msgspec.Struct, frozen=True, kw_only=True, tag_field="verb", forbid_unknown_fields=True):
    """Anything asked. `id` comes back in the answer."""

    id: Number | str | None = None


class TriggerOrder(Order, frozen=True, tag="trigger"):
    """Take a picture of this part and judge it. `camera` is a camera's name, or a group's: then one by each of them."""

    camera: str
    unit_identifier: Annotated[str, msgspec.Meta(min_length=1, max_length=256)] | None = None
    expect: Annotated[dict[str, str], msgspec.Meta(max_length=32)] = {}


class StateOrder(Order, frozen=True, tag="state"):
    """How things stand."""


class Accepted(msgspec.Struct, frozen=True, kw_only=True):
    """This trigger gets exactly one event."""

    accepted: bool = True
    trigger_id: int
    id: int | str | None = None


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """Nothing was triggered."""

    accepted: bool = False
    error: str
    id: int | str | None = None


class CameraState(msgspec.Struct, frozen=True, kw_only=True):
    """A camera as the ledger sees it. One that belongs to a group has no triggers of its own."""

    mode: str
    is_linked: bool
    triggers: int
    in_flight: int
    verdicts: dict[str, int]


class GroupState(msgspec.Struct, frozen=True, kw_only=True):
    """Cameras that see one part, as the ledger sees them."""

    cameras: tuple[str, ...]
    triggers: int
    in_flight: int
    verdicts: dict[str, int]


class StationState(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to `state`. `head` is the newest sequence number on disk."""

    station: str
    stream: str
    head: int
    cameras: dict[str, CameraState]
    groups: dict[str, GroupState]
    id: int | str | None = None


Answer = Accepted | Refused | StationState

_decode = msgspec.json.Decoder(TriggerOrder | StateOrder).decode
encode = msgspec.json.Encoder().encode


def parse(data: bytes) -> TriggerOrder | StateOrder:
    """Raises OrderError saying what is wrong with it."""
    if len(data) > MAX_ORDER_BYTES:
        raise OrderError(f"not an order: {len(data)} bytes, more than {MAX_ORDER_BYTES}")
    try:
        return _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
        raise OrderError(f"not an order: {problem}") from problem
