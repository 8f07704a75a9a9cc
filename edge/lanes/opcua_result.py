"""What OPC 40100-1 calls a result, made from an event. Pure; the words of asyncua come in `opcua_types.py`.

| ours | OPC 40100-1 |
|---|---|
| `trigger_id` | ResultId.Id |
| `unit_identifier` | PartId.Id |
| `product`, `recipe_sha256` | ExternalRecipeId, InternalRecipeId: Id, Hash (SHA-256) |
| `configuration`, `reference_set` | InternalConfigurationId: Id, Version |
| `verdict` PASS, FAIL | ResultState Completed |
| `verdict` ERROR | ResultState Failed; Aborted where the station was stopped over it |
| `triggered`, `captured`, `decided` | ProcessingTimes: StartTime, AcquisitionDuration, EndTime |
| `decided` | CreationTime |
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum

from edge import events
from edge.events import Event, Result
from edge.records import Outcome, Reason


class ResultState(IntEnum):
    """OPC 40100-1, table of ResultStateDataType."""

    UNDEFINED = 0
    COMPLETED = 1
    PROCESSING = 2
    ABORTED = 3
    FAILED = 4


class Evaluation(IntEnum):
    """OPC 40001-101, ResultEvaluationEnum."""

    UNDEFINED = 0
    OK = 1
    NOT_OK = 2
    NOT_DECIDABLE = 3


_EVALUATIONS = {Outcome.PASS: Evaluation.OK, Outcome.FAIL: Evaluation.NOT_OK, Outcome.ERROR: Evaluation.NOT_DECIDABLE}
_ABORTED = frozenset({Reason.SHUTDOWN, Reason.INTERRUPTED})
# What stands where an id is required and there is none: nothing was loaded, or nothing was recognized.
NO_ID = "-"


@dataclass(frozen=True, kw_only=True)
class Identity:
    """An id of OPC 40100-1. Empty strings are left out."""

    id: str
    version: str = ""
    sha256: bytes = b""


@dataclass(frozen=True, kw_only=True)
class Described:
    """One result. Durations are in ms. `is_good`: a PASS that is told in time, and nothing else; `due`: until then it is."""

    channel: str
    trigger_id: int
    state: ResultState
    evaluation: Evaluation
    is_simulated: bool
    part: str | None
    recipe: Identity
    configuration: Identity
    job: str
    created: datetime
    started: datetime
    acquisition_ms: float | None
    processing_ms: float
    verdict: str
    reason: str
    is_review: bool
    is_good: bool
    is_on_time: bool
    due: datetime
    score: float
    json: str


def describe(event: Event, now: datetime) -> Described:
    """The result of a trigger's event as it is told at this time: what is told after its deadline is not on time."""
    result = event.data
    started = result.triggered or result.decided
    due = started + timedelta(milliseconds=result.deadline_ms or 0)
    is_on_time = result.on_time and now <= due
    return Described(
        channel=result.camera,
        trigger_id=result.trigger_id or 0,
        state=state_of(result),
        evaluation=_EVALUATIONS[result.verdict],
        is_simulated=result.is_simulated,
        part=result.unit_identifier,
        recipe=Identity(id=result.product or NO_ID, sha256=digest(result.recipe_sha256)),
        configuration=Identity(id=_text(result.configuration), version=result.reference_set or ""),
        job=job_of(result),
        created=result.decided,
        started=started,
        acquisition_ms=_between_ms(started, result.captured),
        processing_ms=_between_ms(started, result.decided) or 0.0,
        verdict=str(result.verdict),
        reason=str(result.reason or ""),
        is_review=result.review,
        is_good=result.verdict is Outcome.PASS and is_on_time,
        is_on_time=is_on_time,
        due=due,
        # A PLC compares numbers; what has no score is as bad as can be.
        score=result.score if result.score is not None else float("inf"),
        json=events.encode(event.data).decode(),
    )


def job_of(result: Result) -> str:
    """The job that a result belongs to: what is judged by from one change of product or settings to the next."""
    return f"{result.product or NO_ID}/{_text(result.configuration)}"


def state_of(result: Result) -> ResultState:
    """What became of the judging, whatever the part is like."""
    if result.verdict is not Outcome.ERROR:
        return ResultState.COMPLETED
    return ResultState.ABORTED if result.reason in _ABORTED else ResultState.FAILED


def _text(number: int | None) -> str:
    return NO_ID if number is None else str(number)


def digest(text: str | None) -> bytes:
    """The bytes of a hash in hexadecimal; none where there is none."""
    try:
        return bytes.fromhex(text or "")
    except ValueError:
        return b""


def _between_ms(start: datetime, end: datetime | None) -> float | None:
    return None if end is None else (end - start).total_seconds() * 1000
