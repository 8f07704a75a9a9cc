"""What leaves the station: the event (CloudEvents 1.0, JSON) and its topic. `announce.py` makes events.

The wire is its own contract, apart from the values inside the station: within version 1 fields are only added, and a
reader ignores what it does not know. `docs/events.md` describes it, `docs/schema/` holds the schema made from here.
"""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from edge.header import VERSION
from edge.records import Outcome, Reason

RESULT_TYPE = "goldline.result.v1"
# What stands in a topic or a source for a name that does not apply.
NONE = "-"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Wire(msgspec.Struct, frozen=True):
    """A part of the event. A number that is not finite is null."""


class Limits(Wire, frozen=True, kw_only=True):
    """PASS below `review`; FAIL to look at again up to `fail`; FAIL from `fail` on."""

    review: float | None
    fail: float | None


class Offset(Wire, frozen=True, kw_only=True):
    """How far something lies from its place: in pixels of the camera's image, and in mm where the scale is known."""

    dx_px: float | None
    dy_px: float | None
    angle_deg: float | None
    dx_mm: float | None = None
    dy_mm: float | None = None


class Check(Wire, frozen=True, kw_only=True):
    """One check's score (higher is worse) and the limits it was held against.

    `found` and `expected` are what it read and should have read: a variant, a code, counts. `offset` is where it found
    what it looked for. `camera` is the view it looks at: a camera, or `camera.shot`.
    """

    score: float | None
    limits: Limits
    found: str | None = None
    expected: str | None = None
    offset: Offset | None = None
    camera: str | None = None


class Defect(Wire, frozen=True, kw_only=True):
    """A place that deviates; `bbox` is x, y, width, height in pixels of the image of `camera`."""

    check: str
    bbox: tuple[int, int, int, int]
    score: float | None
    camera: str | None = None


class Pose(Wire, frozen=True, kw_only=True):
    """Maps the golden template to the image: x right, y down, angle clockwise about the image centre."""

    dx_px: float
    dy_px: float
    angle_deg: float


class Latency(Wire, frozen=True, kw_only=True):
    """Where the time of a judged frame went. `capture_to_verdict_ms` is from frame complete to decided."""

    queue_ms: float
    register_ms: float
    graph_ms: float
    judge_ms: float
    capture_to_verdict_ms: float


class IdRange(Wire, frozen=True, kw_only=True):
    """Trigger ids `first` to `last`, included."""

    camera: str
    first: int
    last: int


class View(Wire, frozen=True, kw_only=True):
    """What one of several views of a part came to; its fields mean what those of the result do."""

    verdict: Outcome
    reason: Reason | None = None
    detail: str | None = None
    review: bool = False
    reference_set: str | None = None
    score: float | None = None
    p_value: float | None = None
    pose: Pose | None = None
    closest_reference: str | None = None
    captured: datetime | None = None
    frame_id: int | None = None
    device_timestamp_ns: int | None = None
    settling: bool = False
    latency: Latency | None = None
    image_ref: str | None = None
    image_sha256: str | None = None


class Result(Wire, frozen=True, kw_only=True):
    """The one answer to a trigger, or what was lost with the power (`reason` interrupted, no `trigger_id`).

    What produced the verdict (`product` to `model_sha256`) is null for what was never judged; `own_models_sha256` has the
    user's own models, by the checks that ask them. Where a part is seen more than once, by the cameras of a group or in
    several shots, `views` has each by its name (`camera`, or `camera.shot`); what belongs to a single view (`pose`,
    `closest_reference`, `captured`, `frame_id`, `device_timestamp_ns`, `latency`, `image_ref`, `image_sha256`) is null
    here and stands there. `image_ref`: the picture that the archive was given, below the station's state directory, and
    the SHA-256 of its pixels (`docs/images.md`); that it is still there is not promised.
    `settling`: a picture was taken so soon after its stream began that light and exposure may not have been steady.
    `variant`: the one that the order expects. `is_partial`: of several views, some were judged and some were not.
    `trigger_lane`: of a PLC's trigger, the lane that it came by.
    """

    station: str
    camera: str
    trigger_id: int | None
    verdict: Outcome
    reason: Reason | None = None
    detail: str | None = None
    review: bool = False
    trigger_source: str | None = None
    unit_identifier: str | None = None
    expect: dict[str, str] = {}
    product: str | None = None
    configuration: int | None = None
    recipe_sha256: str | None = None
    reference_set: str | None = None
    model_sha256: str | None = None
    own_models_sha256: dict[str, str] = {}
    score: float | None = None
    p_value: float | None = None
    limits: Limits | None = None
    checks: dict[str, Check] = {}
    defects: tuple[Defect, ...] = ()
    pose: Pose | None = None
    closest_reference: str | None = None
    triggered: datetime | None = None
    captured: datetime | None = None
    decided: datetime
    frame_id: int | None = None
    device_timestamp_ns: int | None = None
    settling: bool = False
    deadline_ms: float | None = None
    on_time: bool = True
    is_simulated: bool = False
    latency: Latency | None = None
    interrupted: tuple[IdRange, ...] = ()
    views: dict[str, View] = {}
    image_ref: str | None = None
    image_sha256: str | None = None
    variant: str | None = None
    is_partial: bool = False
    trigger_lane: str | None = None


class Event(Wire, frozen=True, kw_only=True):
    """CloudEvents 1.0 attributes and the result. `id` is stream/sequence: what a reader removes duplicates by.

    `sequence` is decimal, 20 digits, so that it sorts as text; 0 while the event is not in the outbox.
    """

    specversion: str = "1.0"
    type: str = RESULT_TYPE
    source: str
    id: str = ""
    time: datetime
    subject: str
    datacontenttype: str = "application/json"
    sequence: str = "0"
    data: Result


class Head(Wire, frozen=True, kw_only=True):
    """The heartbeat's body: the newest and the oldest sequence number in the outbox."""

    stream: str
    head: int
    low: int


encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(Event).decode
decode_head = msgspec.json.Decoder(Head).decode


def schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of an event."""
    title = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Goldline event, version 1"}
    return {**title, **msgspec.json.schema(Event)}


def sealed(event: Event, stream: UUID, sequence: int) -> Event:
    """The event with its place in the stream."""
    return msgspec.structs.replace(event, id=f"{stream}/{sequence}", sequence=f"{sequence:020d}")


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """Where events come from: the station's place in the plant."""

    site: str
    line: str
    station: str

    @property
    def urn(self) -> str:
        """The CloudEvents source."""
        return f"urn:goldline:{self.site}:{self.line}:{self.station}"

    def topic(self, camera: str, kind: str) -> str:
        """The topic; it ends in a dot so that a prefix matches whole words only."""
        return f"goldline.v{VERSION}.{self.site}.{self.line}.{self.station}.{camera}.{kind}."


def utc(utc_ns: int) -> datetime:
    """Nanoseconds since 1970 as a time of day, to the microsecond."""
    return _EPOCH + timedelta(microseconds=utc_ns // 1000)


def utc_ns(time: datetime) -> int:
    """The way back, exact to the microsecond."""
    return (time - _EPOCH) // timedelta(microseconds=1) * 1000
