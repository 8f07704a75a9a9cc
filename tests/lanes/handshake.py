"""What tests of the handshake are made of: results, without the events that they come from."""

from edge.lanes.codes import ResultCode
from edge.lanes.shown import Shown

# Several times what publish takes to settle.
DEADLINE_NS = 3_000_000_000


def result(trigger_id: int, *, is_ours: bool = True, unit: str = "", code: ResultCode = ResultCode.FAIL) -> Shown:
    return Shown(
        trigger_id=trigger_id,
        result=code,
        reason=0,
        is_good=code is ResultCode.PASS,
        is_late=False,
        review=False,
        score=0,
        processing_ms=5,
        checksum=1,
        unit_identifier=unit,
        is_ours=is_ours,
    )
