"""What inspection counts of the frames that it judged, on its metrics page."""

from collections.abc import Iterable

from edge.engine import Done
from edge.metric_table import STAGES
from edge.metrics import Page


class InspectionTally:
    """Counts by view. Fed on the engine's thread."""

    def __init__(self, page: Page, views: Iterable[str]) -> None:
        """Over the page of the inspection worker."""
        self._batch_sizes = page.histogram("goldline_batch_size")
        self._judged = {view: page.counter("goldline_frames_judged_total", camera=view) for view in views}
        self._stages = {
            view: [page.histogram("goldline_stage_duration_seconds", camera=view, stage=stage) for stage in STAGES]
            for view in self._judged
        }

    def batch(self, frames: int) -> None:
        """So many were judged together."""
        self._batch_sizes.observe(frames)

    def judged(self, done: Done) -> None:
        """One of them."""
        view, timing = done.queued.frame.view, done.timing
        spans_ms = (timing.queue_ms, timing.register_ms, timing.graph_ms, timing.judge_ms)
        for stage, span_ms in zip(self._stages[view], spans_ms, strict=True):
            stage.observe(span_ms / 1e3)
        self._judged[view].inc()
