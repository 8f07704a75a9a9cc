"""What publish shows on its metrics page about triggers and verdicts. The ledger has the numbers; this mirrors them."""

from collections.abc import Mapping

from edge.ledger import Decision, Ledger
from edge.metric_table import VIOLATIONS
from edge.metrics import Counter, Gauge, Histogram, Page
from edge.records import Outcome, Reason


class _CameraPage:
    """The series of one camera or group."""

    def __init__(self, page: Page, camera: str) -> None:
        self.triggers: Counter = page.counter("goldline_triggers_total", camera=camera)
        self.in_flight: Gauge = page.gauge("goldline_triggers_in_flight", camera=camera)
        self.missed: Counter = page.counter("goldline_deadline_missed_total", camera=camera)
        self.reviews: Counter = page.counter("goldline_reviews_total", camera=camera)
        self.answer_seconds: Histogram = page.histogram("goldline_answer_seconds", camera=camera)
        self.deadline_seconds: Gauge = page.gauge("goldline_deadline_seconds", camera=camera)
        self.verdicts = {
            outcome: page.counter("goldline_verdicts_total", camera=camera, verdict=outcome) for outcome in Outcome
        }
        self.errors = {reason: page.counter("goldline_errors_total", camera=camera, reason=reason) for reason in Reason}


class Tally:
    """Counts for the cameras and groups of the configuration; triggers of one that has left it go uncounted."""

    def __init__(self, page: Page, cameras: tuple[str, ...]) -> None:
        """Over the page of a publish worker with these cameras and groups."""
        self._cameras = {camera: _CameraPage(page, camera) for camera in cameras}
        self._late = page.counter("goldline_late_results_total")
        self._violations = {kind: page.counter("goldline_invariant_violations_total", kind=kind) for kind in VIOLATIONS}

    def restore(self, ledger: Ledger) -> None:
        """Take up what an earlier publish counted, or died before it could."""
        for camera, page in self._cameras.items():
            page.triggers.raise_to(ledger.triggers(camera))
            page.in_flight.set(ledger.in_flight(camera))
            for outcome, counter in page.verdicts.items():
                counter.raise_to(ledger.verdicts(camera, outcome))
            for reason, counter in page.errors.items():
                counter.raise_to(ledger.closed[camera, Outcome.ERROR, reason])

    def show_deadlines(self, deadlines_ms: Mapping[str, float]) -> None:
        """How long the line waits for the answers of each, from now on."""
        for camera, deadline_ms in deadlines_ms.items():
            if page := self._cameras.get(camera):
                page.deadline_seconds.set(deadline_ms / 1e3)

    def opened(self, camera: str, in_flight: int) -> None:
        """A trigger was opened."""
        if page := self._cameras.get(camera):
            page.triggers.inc()
            page.in_flight.set(in_flight)

    def late(self) -> None:
        """A result came for a trigger that was closed without it."""
        self._late.inc()

    def violated(self, kind: str) -> None:
        """Something was that must never be."""
        self._violations[kind].inc()

    def closed(self, decision: Decision, in_flight: int) -> None:
        """A trigger was closed."""
        page = self._cameras.get(decision.trigger.camera)
        if page is None:
            return
        page.verdicts[decision.verdict.outcome].inc()
        if decision.verdict.reason is not None:
            page.errors[decision.verdict.reason].inc()
        if not decision.on_time:
            page.missed.inc()
        if decision.verdict.review:
            page.reviews.inc()
        page.answer_seconds.observe((decision.decided_ns - decision.trigger.opened_ns) / 1e9)
        page.in_flight.set(in_flight)
