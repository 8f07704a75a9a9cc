"""Made-up values that travel, for tests of the ledger, the logs and the events."""

from typing import Any

from edge.messages import Judged
from edge.records import FrameRef, Outcome, Provenance, Timing, Trigger, Verdict, camera_of

PROVENANCE = Provenance(
    configuration=1,
    product="lid",
    recipe_sha256="r" * 64,
    reference_set="s" * 64,
    model_sha256="m" * 64,
    own_models_sha256={"part.model": "o" * 64},
)
TIMING = Timing(queue_ms=0.5, register_ms=1.5, graph_ms=8.0, judge_ms=0.25)
# Opened at 1 s after boot, on a day in 2025.
OPENED_NS, OPENED_UTC_NS = 1_000_000_000, 1_760_000_000_123_456_789


def trigger(trigger_id: int, camera: str = "left", *, deadline_ns: int = 2_000_000_000, **fields: Any) -> Trigger:
    known = {"source": "free", "opened_ns": OPENED_NS, "opened_utc_ns": OPENED_UTC_NS}
    return Trigger(trigger_id=trigger_id, camera=camera, deadline_ns=deadline_ns, **(known | fields))


def frame(
    trigger_id: int, camera: str = "left", *, at_ns: int = OPENED_NS, deadline_ns: int = 2_000_000_000
) -> FrameRef:
    return FrameRef(
        camera=camera_of(camera),
        view=camera,
        slot=0,
        generation=2,
        frame_id=trigger_id,
        trigger_id=trigger_id,
        host_timestamp_ns=at_ns,
        host_timestamp_utc_ns=OPENED_UTC_NS,
        device_timestamp_ns=None,
        deadline_ns=deadline_ns,
        width=64,
        height=48,
        pixel_format="Mono8",
        handed_ns=at_ns,
    )


def judged(trigger_id: int, camera: str = "left", outcome: Outcome = Outcome.PASS, *, at_ns: int = OPENED_NS) -> Judged:
    verdict = Verdict(outcome=outcome, score=0.5)
    return Judged(frame=frame(trigger_id, camera, at_ns=at_ns), verdict=verdict, provenance=PROVENANCE, timing=TIMING)
