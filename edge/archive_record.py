"""What is kept about a picture: the file beside it, in JSON, from which the index can be made anew."""

import re
from datetime import UTC, datetime
from typing import Any

import msgspec

from edge.messages import MAP_REVIEW, Keep
from edge.pixel_formats import PIXEL_FORMATS
from edge.records import Outcome, Record

VERSION = 1
# No camera has more in one direction.
MOST_PX = 1 << 16
# What the archive calls its files: nothing else is read, removed or taken out by a name that stands in a file.
OUR_NAME = re.compile(r"[0-9a-f]{64}\.(png|jpg|raw|[0-9]+\.[a-z0-9_.-]+\.(json|map\.png))")


class Sidecar(Record, frozen=True, kw_only=True):
    """A picture and what was said about it. Times are UTC; lengths are px of the camera's frame.

    `box`: where the kept pixels lie in a frame of `size` (width, height). `verdict` and `provenance` are those of the
    event. `map_review`: the map's value at each check's review limit.
    """

    version: int = VERSION
    sha256: str
    file: str
    trigger_id: int
    view: str
    unit_identifier: str | None
    expect: dict[str, str]
    taken: datetime
    taken_utc_ns: int
    frame_id: int
    device_timestamp_ns: int | None
    size: tuple[int, int]
    box: tuple[int, int, int, int]
    pixel_format: str
    verdict: dict[str, Any]
    provenance: dict[str, Any]
    maps: tuple[str, ...] = ()
    map_review: int = MAP_REVIEW

    @property
    def name(self) -> str:
        """What its files are called, without what they end in: no two views of a trigger share one."""
        return record_name(self.sha256, self.trigger_id, self.view)

    @property
    def outcome(self) -> Outcome:
        """PASS, FAIL or ERROR."""
        return Outcome(self.verdict["outcome"])

    @property
    def product(self) -> str:
        """What it was judged as."""
        return str(self.provenance["product"])


class Unreadable(Exception):
    """A sidecar that is none; the message says why."""


encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Sidecar).decode


def decode(content: bytes) -> Sidecar:
    """The way back. Raises Unreadable, also for one that this version of Goldline cannot make a picture of."""
    try:
        found = _decode(content)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as problem:
        raise Unreadable(str(problem)) from None
    left, top, width, height = found.box
    fits = min(left, top) >= 0 < min(width, height) and left + width <= found.size[0] and top + height <= found.size[1]
    if not (fits and max(found.size) <= MOST_PX and found.pixel_format in PIXEL_FORMATS):
        raise Unreadable(f"a picture of {found.size}, {found.box} of it kept, {found.pixel_format}")
    if str(found.verdict.get("outcome")) not in set(Outcome) or "product" not in found.provenance:
        raise Unreadable("no verdict, or no product")
    if not (OUR_NAME.fullmatch(found.file) and OUR_NAME.fullmatch(f"{found.name}.json")):
        raise Unreadable("names that are not the archive's")
    return found


def record_name(sha256: str, trigger_id: int, view: str) -> str:
    """What the files of one picture of one trigger are called."""
    return f"{sha256}.{trigger_id}.{view}"


def sidecar(keep: Keep) -> Sidecar:
    """What is to be said of a picture."""
    frame = keep.frame
    return Sidecar(
        sha256=keep.image.sha256,
        file=keep.image.ref.rpartition("/")[2],
        trigger_id=frame.trigger_id,
        view=frame.view,
        unit_identifier=frame.unit_identifier,
        expect=frame.expect,
        taken=datetime.fromtimestamp(frame.host_timestamp_utc_ns / 1e9, UTC),
        taken_utc_ns=frame.host_timestamp_utc_ns,
        frame_id=frame.frame_id,
        device_timestamp_ns=frame.device_timestamp_ns,
        size=(frame.width, frame.height),
        box=keep.box,
        pixel_format=keep.pixel_format,
        verdict=msgspec.to_builtins(keep.verdict),
        provenance=msgspec.to_builtins(keep.provenance),
        maps=tuple(one.check for one in keep.maps),
    )
