"""What inspection counts of the frames that it judged, on its metrics page."""

from collections.abc import Iterable

from edge.engine import Done
from edge.metric_table import STAGES
from edge.metrics import Page
from edge.records import Verdict


class InspectionTally:
    """Counts by view. Fed on the engine's thread."""

    def __init__(self, page: Page, views: Iterable[str]) -> None:
        """Over the page of the inspection worker."""
        self._batch_sizes = page.histogram("goldline_batch_size")
        self._judged = {view: page.counter("goldline_frames_judged_total", camera=view) for view in views}
        self._stages = [page.histogram("goldline_stage_duration_seconds", stage=stage) for stage in STAGES]
        self._ratios = {view: page.histogram("goldline_score_ratio", camera=view) for view in self._judged}

    def batch(self, frames: int) -> None:
        """So many were judged together."""
        self._batch_sizes.observe(frames)

    def judged(self, done: Done) -> None:
        """One of them."""
        view, timing = done.queued.frame.view, done.timing
        spans_ms = (timing.queue_ms, timing.register_ms, timing.graph_ms, timing.judge_ms)
        for stage, span_ms in zip(self._stages, spans_ms, strict=True):
            stage.observe(span_ms / 1e3)
        self._judged[view].inc()
        if (ratio := score_ratio(done.verdict)) is not None:
            self._ratios[view].observe(ratio)


def score_ratio(verdict: Verdict) -> float | None:
    """The overall score over the limit where FAIL begins: 1 at the limit, and 0 for all that is better than typical.

    None where nothing was scored, or by no limit above 0, of which no share can be taken.
    """
    if verdict.score is None or verdict.limits is None or verdict.limits.review <= 0:
        return None
    return max(0.0, verdict.score) / verdict.limits.review
