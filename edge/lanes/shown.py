"""A result as a PLC is shown it: a few numbers of an event. Pure."""

import zlib
from typing import Self

import msgspec

from edge.events import Event, utc_ns
from edge.lanes.codes import REASONS, RESULTS, ResultCode

# What stands for a score that there is none of.
NO_SCORE = -(2**31)
_LARGEST_SCORE = 2**31 - 1
_LARGEST_WORD = 0xFFFF
# A score is shown in thousandths.
SCORE_SCALE = 1000
# The unit identifier in registers.
IDENTIFIER_BYTES = 32


class Shown(msgspec.Struct, frozen=True, array_like=True):
    """One result. `number` counts what is presented, from 1 to 65535 and round again; 0 before it has its turn.

    `is_late`: it was decided, or reached the lane, after its deadline. `is_good`: a PASS that was not late, and
    nothing else. `checksum` stands for recipe, reference set and configuration together; 0 where nothing was judged.
    `is_ours`: of a trigger that the lane itself has asked for.
    """

    trigger_id: int
    result: ResultCode
    reason: int
    is_good: bool
    is_late: bool
    review: bool
    score: int
    processing_ms: int
    checksum: int
    unit_identifier: str
    is_ours: bool
    number: int = 0

    @classmethod
    def of(cls, event: Event, received_utc_ns: int, lane: str) -> Self:
        """Of a result that the lane of this name has read at this time. It must be of a trigger: it has a `trigger_id`."""
        data = event.data
        assert data.trigger_id is not None
        begun_utc_ns = utc_ns(data.triggered or data.decided)
        allowed_ns = int((data.deadline_ms or 0) * 1e6)
        is_late = not data.on_time or received_utc_ns > begun_utc_ns + allowed_ns
        result = RESULTS[data.verdict]
        return cls(
            trigger_id=data.trigger_id,
            result=result,
            reason=0 if data.reason is None else REASONS[data.reason],
            is_good=result is ResultCode.PASS and not is_late,
            is_late=is_late,
            review=data.review,
            score=_score(data.score),
            processing_ms=max(0, min(_LARGEST_WORD, (utc_ns(data.decided) - begun_utc_ns) // 1_000_000)),
            checksum=settings_checksum(data.recipe_sha256, data.reference_set, data.configuration),
            unit_identifier=(data.unit_identifier or "")[:IDENTIFIER_BYTES],
            is_ours=data.trigger_lane == lane,
        )


def settings_checksum(recipe_sha256: str | None, reference_set: str | None, configuration: int | None) -> int:
    """16 bits that change when what is judged by has changed; 0: nothing is known of it."""
    if recipe_sha256 is None and reference_set is None:
        return 0
    found = zlib.crc32(f"{recipe_sha256} {reference_set} {configuration}".encode()) & _LARGEST_WORD
    return found or 1


def _score(score: float | None) -> int:
    return NO_SCORE if score is None else round(max(NO_SCORE + 1, min(_LARGEST_SCORE, score * SCORE_SCALE)))
