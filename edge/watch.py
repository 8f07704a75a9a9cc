"""What drift says of one camera, as metrics and lines of the log."""

import structlog

from edge.drift import KINDS, QUANTITIES, Change, Drift
from edge.metrics import Page
from edge.records import Verdict


class Watch:
    """Shows one camera's drift. Fed on one thread; it starts with the worker, and so do its windows."""

    def __init__(self, page: Page, camera: str, drift: Drift) -> None:
        self._drift = drift
        self._log = structlog.get_logger().bind(camera=camera)
        self._distance = page.gauge("goldline_drift_ks_distance", camera=camera)
        self._evidence = page.gauge("goldline_drift_log10_evidence", camera=camera)
        self._trends = {
            name: page.gauge("goldline_drift_trend_spreads", camera=camera, quantity=name) for name in QUANTITIES
        }
        self._alarms = {kind: page.gauge("goldline_drift_alarm", camera=camera, kind=kind) for kind in KINDS}
        for alarm in self._alarms.values():
            alarm.set(False)  # one that another product raised is over with it
        self._raised = {kind: page.counter("goldline_drift_alarms_total", camera=camera, kind=kind) for kind in KINDS}

    def observe(self, verdict: Verdict, gain: float | None, sharpness: float | None) -> None:
        """One judged frame, with its gain and sharpness where they were measured."""
        for change in self._drift.observe(verdict, gain, sharpness):
            self._tell(change)
        self._distance.set(self._drift.ks_distance)
        self._evidence.set(self._drift.log10_evidence)
        for name, spreads in self._drift.trends.items():
            self._trends[name].set(spreads)

    def _tell(self, change: Change) -> None:
        self._alarms[change.kind].set(change.is_up)
        known = {"kind": change.kind, "lead": change.lead, "reached": round(change.reached, 1)}
        if change.is_up:
            self._raised[change.kind].inc()
            self._log.warning("drift", **known)
        else:
            self._log.info("drift is over", **known)
