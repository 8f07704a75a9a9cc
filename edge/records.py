"""The frozen values that travel along the line, in the order a frame meets them.

Times named `*_ns` are CLOCK_MONOTONIC unless the name says `utc` or `device`; wall-clock times are labels and
decide nothing. Lengths are pixels of the camera's image, x to the right and y down; angles are degrees, clockwise.
"""

from enum import StrEnum
from typing import Literal

import msgspec


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A value that is complete at birth and never changes."""


class Outcome(StrEnum):
    """What the line is told about a part."""

    PASS = "PASS"  # noqa: S105 - a verdict
    FAIL = "FAIL"
    ERROR = "ERROR"


class Reason(StrEnum):
    """Why a part could not be judged: the closed list behind every ERROR."""

    CAMERA_DOWN = "camera_down"
    NO_SLOT = "no_slot"
    OVERRUN = "overrun"
    INCOMPLETE = "incomplete"
    STALE = "stale"
    FROZEN = "frozen"
    TORN = "torn"
    MISSING_VIEW = "missing_view"
    CANNOT_JUDGE = "cannot_judge"
    WORKER_CRASH = "worker_crash"
    DEADLINE = "deadline"
    INTERRUPTED = "interrupted"
    SHUTDOWN = "shutdown"


# `announced`: opened for a unit that was announced and then never triggered.
TriggerSource = Literal["free", "software", "line", "plc", "announced"]


def view_of(camera: str, shot: str) -> str:
    """What a view of several pictures by one camera is called. No camera's name has a dot."""
    return f"{camera}.{shot}"


def camera_of(view: str) -> str:
    """The camera that takes this view: `top` of `top.dark`, and of `top`."""
    return view.partition(".")[0]


class Trigger(Record, frozen=True):
    """A promise to answer: opened once, closed once, by `deadline_ns` or marked late.

    Where the part has several views, `camera` is the camera or group that was triggered and `views` are their names,
    `camera` or `camera.shot`: each must be judged. Not `is_timed`: of a line's pulse whose picture never arrived; the times
    are those of the picture that told of it.
    """

    trigger_id: int
    camera: str
    source: TriggerSource
    opened_ns: int
    opened_utc_ns: int
    deadline_ns: int
    unit_identifier: str | None = None
    expect: dict[str, str] = {}
    views: tuple[str, ...] = ()
    is_timed: bool = True
    # The announcement that named its unit; 0: none did.
    announced: int = 0
    # Whose order it was, by the lane's name in the configuration; None: no PLC's.
    lane: str | None = None

    @property
    def every_view(self) -> tuple[str, ...]:
        """The looks at the part that its verdict rests on; one alone has its camera's name."""
        return self.views or (self.camera,)

    @property
    def cameras(self) -> tuple[str, ...]:
        """Every camera that takes pictures for it, once."""
        return tuple(dict.fromkeys(map(camera_of, self.every_view)))

    def views_of(self, camera: str) -> tuple[str, ...]:
        """What this camera is to take for it, in order."""
        return tuple(view for view in self.every_view if camera_of(view) == camera)


class FrameRef(Record, frozen=True):
    """Where a frame lies in its camera's ring, and when it was taken. Pixels stay in the ring.

    `view` is the camera, or camera and shot (`top.dark`). `is_part`: it is all there is of the part; else there are other views, and
    all of them answer the order together. `settling`: taken so soon after the stream began that light and exposure may
    not be steady. `used_bytes`: of a frame whose length varies.
    """

    camera: str
    view: str
    slot: int
    generation: int
    frame_id: int
    trigger_id: int
    host_timestamp_ns: int
    host_timestamp_utc_ns: int
    device_timestamp_ns: int | None
    deadline_ns: int
    width: int
    height: int
    pixel_format: str
    handed_ns: int
    expect: dict[str, str] = {}
    is_part: bool = True
    settling: bool = False
    used_bytes: int | None = None
    unit_identifier: str | None = None


class Image(Record, frozen=True):
    """A picture that the archive was given to keep: where it is below the state directory, and of what pixels."""

    ref: str
    sha256: str


class Pose(Record, frozen=True):
    """Where the golden picture lies: turned about its centre by `angle_deg`, which then lies off the image's by the shift."""

    dx_px: float = 0.0
    dy_px: float = 0.0
    angle_deg: float = 0.0


class Limits(Record, frozen=True):
    """PASS below `review`; FAIL with review up to `fail`; FAIL from `fail` on."""

    review: float
    fail: float


class Offset(Record, frozen=True):
    """How far something lies from its place: in px of the camera's image, and in mm where the scale is known."""

    dx_px: float
    dy_px: float
    angle_deg: float
    dx_mm: float | None = None
    dy_mm: float | None = None


class CheckScore(Record, frozen=True):
    """One check's raw score (higher is worse) beside the limits it was held against.

    `found` and `expected` are what it read and should have read: a variant, a code, counts. `offset` is where it found
    what it looked for.
    """

    score: float
    limits: Limits
    found: str | None = None
    expected: str | None = None
    offset: Offset | None = None


class Defect(Record, frozen=True):
    """A place that deviates. `bbox` is x, y, width, height in pixels of the camera's image."""

    check: str
    bbox: tuple[int, int, int, int]
    score: float


class Verdict(Record, frozen=True):
    """What judge decided about one view of one part; `reason` is set exactly when the outcome is ERROR."""

    outcome: Outcome
    reason: Reason | None = None
    detail: str | None = None
    review: bool = False
    score: float | None = None
    limits: Limits | None = None
    checks: dict[str, CheckScore] = {}
    defects: tuple[Defect, ...] = ()
    pose: Pose | None = None
    closest_reference: str | None = None
    # The share of good parts, as teach saw them, that look at least as bad as this one.
    p_value: float | None = None
    # The keys of an order that some check answers.
    answers: tuple[str, ...] = ()


class Provenance(Record, frozen=True):
    """What produced a verdict: configuration generation and the hashes of recipe, reference set and models.

    `model_sha256` is the backbone's, `own_models_sha256` those of the user's own models, by the checks that ask them.
    """

    configuration: int
    product: str
    recipe_sha256: str
    reference_set: str
    model_sha256: str
    own_models_sha256: dict[str, str] = {}


class Timing(Record, frozen=True):
    """A judged frame's way through the station, each in ms: waiting, registering, the graph, deciding."""

    queue_ms: float
    register_ms: float
    graph_ms: float
    judge_ms: float


def error(reason: Reason, detail: str | None = None) -> Verdict:
    """The verdict for what could not be judged."""
    return Verdict(outcome=Outcome.ERROR, reason=reason, detail=detail)
