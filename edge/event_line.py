"""An event in one line, for a person."""

import math

from edge.events import Check, Defect, Event, Offset


def line(event: Event) -> str:
    """An event for reading: time, camera, verdict and why, unit, score, what was found and where, each view, latency."""
    result = event.data
    verdict = str(result.verdict) + ("?" if result.review else "")
    parts = [f"{event.time:%H:%M:%S.%f}"[:-3], f"{result.camera:<10}", f"{verdict:<5}"]
    if result.reason is not None:
        parts.append(f"{result.reason}" + (f": {result.detail}" if result.detail else ""))
    if result.unit_identifier is not None:
        parts.append(result.unit_identifier)
    if result.score is not None:
        limit = "" if result.limits is None or result.limits.review is None else f" / {result.limits.review:.2f}"
        parts.append(f"score {result.score:.2f}{limit}")
    parts += [told for name, check in result.checks.items() if (told := _finding(name, check))]
    parts += [_place(defect, is_one_of_several=bool(result.views)) for defect in result.defects[:3]]
    parts += [f"{camera} {view.verdict}" for camera, view in result.views.items()]
    # Of several views, from the first frame on.
    latencies = [one.latency for one in (result, *result.views.values()) if one.latency is not None]
    if latencies:
        parts.append(f"{max(latency.capture_to_verdict_ms for latency in latencies):.1f} ms")
    parts += [f"trigger ids {gap.first}-{gap.last} of {gap.camera}" for gap in result.interrupted]
    told = "  ".join([*parts, *([] if result.on_time else ["late"])]).rstrip()
    # Codes on parts, and what orders name them, may hold what a terminal obeys.
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in told)


def _finding(name: str, check: Check) -> str | None:
    """What a check found or how far off something lies, and where it should be another, what it expected."""
    found = check.found if check.offset is None else _off(check.offset)
    if found is None and check.expected is None:
        return None
    is_wrong = check.score is None or check.limits.review is None or check.score >= check.limits.review
    expected = f" (expected {check.expected})" if is_wrong and check.expected is not None else ""
    return f"{name} {found or 'nothing'}{expected}"


def _off(offset: Offset) -> str:
    """How far, in mm where the scale is known; and how it is turned, where that can be seen."""
    told = f"{math.hypot(offset.dx_px or 0, offset.dy_px or 0):.1f} px off"
    if offset.dx_mm is not None and offset.dy_mm is not None:
        told = f"{math.hypot(offset.dx_mm, offset.dy_mm):.2f} mm off"
    turn = round(offset.angle_deg or 0)
    return f"{told}, turned {turn}°" if turn else told


def _place(defect: Defect, *, is_one_of_several: bool) -> str:
    where = f"{defect.check} at {','.join(map(str, defect.bbox))}"
    return f"{defect.camera} {where}" if is_one_of_several else where
