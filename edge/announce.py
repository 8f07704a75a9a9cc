"""From what was decided to what is said about it: the event of a decision, and the one after a power cut. Pure."""

from collections.abc import Mapping
from typing import Any

import msgspec

from edge import events
from edge.events import NONE, Check, Defect, Event, IdRange, Latency, Limits, Pose, Result, Source
from edge.ledger import Decision, Origin, View
from edge.records import Image, Outcome, Reason


def result_event(source: Source, decision: Decision, *, is_simulated: bool) -> Event:
    """The event of a decision. Wall-clock labels count from the trigger's, so a clock step cannot disorder them."""
    trigger, verdict = decision.trigger, decision.verdict
    decided = events.utc(trigger.opened_utc_ns + decision.decided_ns - trigger.opened_ns)
    result = Result(
        station=source.station,
        camera=trigger.camera,
        trigger_id=trigger.trigger_id,
        verdict=verdict.outcome,
        reason=verdict.reason,
        detail=verdict.detail,
        review=verdict.review,
        trigger_source=trigger.source,
        unit_identifier=trigger.unit_identifier,
        expect=trigger.expect,
        score=verdict.score,
        p_value=verdict.p_value,
        limits=_convert(verdict.limits, Limits | None),
        checks=_checks(decision.views),
        defects=_defects(decision.views),
        triggered=events.utc(trigger.opened_utc_ns),
        decided=decided,
        deadline_ms=(trigger.deadline_ns - trigger.opened_ns) / 1e6,
        on_time=decision.on_time,
        is_simulated=is_simulated,
        variant=trigger.expect.get("variant"),
        is_partial=0 < len(decision.origins) < len(decision.views),
        trigger_lane=trigger.lane,
        **_provenance(decision.origins),
        **_of_views(decision),
    )
    subject = trigger.unit_identifier or f"trigger/{trigger.trigger_id}"
    return Event(source=source.urn, time=decided, subject=subject, data=result)


def interrupted_event(source: Source, ranges: tuple[IdRange, ...], now_utc_ns: int) -> Event:
    """The one event for the triggers that a power cut took with it: they may have been among these ids."""
    result = Result(
        station=source.station,
        camera=NONE,
        trigger_id=None,
        verdict=Outcome.ERROR,
        reason=Reason.INTERRUPTED,
        detail="the power failed: triggers among these ids have no record",
        decided=events.utc(now_utc_ns),
        on_time=False,
        interrupted=ranges,
    )
    return Event(source=source.urn, time=result.decided, subject="interrupted", data=result)


def _convert(value: object, kind: Any) -> Any:
    return msgspec.convert(value, kind, from_attributes=True)


def _checks(views: Mapping[str, View]) -> dict[str, Check]:
    """A recipe names its regions apart, so no two views have a check of one name."""
    return {
        name: msgspec.structs.replace(_convert(check, Check), camera=seen_in)
        for seen_in, view in views.items()
        for name, check in view.verdict.checks.items()
    }


def _defects(views: Mapping[str, View]) -> tuple[Defect, ...]:
    return tuple(
        msgspec.structs.replace(_convert(defect, Defect), camera=seen_in)
        for seen_in, view in views.items()
        for defect in view.verdict.defects
    )


def _provenance(origins: tuple[Origin, ...]) -> dict[str, Any]:
    """What produced the verdict; of several views, what produced the first: `reference_set` is with each as well."""
    return msgspec.structs.asdict(origins[0].provenance) if origins else {}


def _of_views(decision: Decision) -> dict[str, Any]:
    """What belongs to a view: beside the verdict of a part that has one, by name where it has several."""
    views = {name: _of_view(view, decision.decided_ns) for name, view in decision.views.items()}
    if not decision.trigger.views:
        return views[decision.trigger.camera]
    return {
        "views": {name: _view(view, views[name]) for name, view in decision.views.items()},
        "settling": any(origin.frame.settling for origin in decision.origins),
    }


def _view(view: View, fields: dict[str, Any]) -> events.View:
    verdict, origin = view.verdict, view.origin
    return events.View(
        verdict=verdict.outcome,
        reason=verdict.reason,
        detail=verdict.detail,
        review=verdict.review,
        reference_set=origin.provenance.reference_set if origin else None,
        score=verdict.score,
        p_value=verdict.p_value,
        **fields,
    )


def _of_view(view: View, decided_ns: int) -> dict[str, Any]:
    """Where the camera saw the part, what it looked like, and when."""
    verdict = view.verdict
    looks = {"pose": _convert(verdict.pose, Pose | None), "closest_reference": verdict.closest_reference}
    if view.origin is None:
        return looks
    frame, timing = view.origin.frame, view.origin.timing
    since_captured_ms = (decided_ns - frame.host_timestamp_ns) / 1e6
    return {
        **looks,
        "captured": events.utc(frame.host_timestamp_utc_ns),
        "frame_id": frame.frame_id,
        "device_timestamp_ns": frame.device_timestamp_ns,
        "settling": frame.settling,
        **_image(view.origin.image),
        "latency": Latency(**msgspec.structs.asdict(timing), capture_to_verdict_ms=since_captured_ms),
    }


def _image(image: Image | None) -> dict[str, Any]:
    return {} if image is None else {"image_ref": image.ref, "image_sha256": image.sha256}
