"""What capture shows of its camera on its metrics page."""

from collections import Counter

from edge.camera_state import CameraState
from edge.cameras.camera import (
    CameraAbsent,
    CameraBusy,
    CameraConfigError,
    CameraError,
    CameraFrozen,
    CameraStalled,
    CapturedFrame,
)
from edge.metrics import Page
from edge.records import Reason

# The cause of having to open it again, by what was said when it went.
DOWN_BY: dict[type[CameraError], str] = {
    CameraAbsent: "absent",
    CameraBusy: "busy",
    CameraConfigError: "config",
    CameraStalled: "stalled",
    CameraFrozen: "frozen",
}


class CameraTally:
    """Counts one camera's frames, and shows how it is."""

    def __init__(self, page: Page, camera: str) -> None:
        """Over the page of this camera's capture worker."""
        self._page, self._camera = page, camera
        self._captured = page.counter("goldline_frames_captured_total", camera=camera)
        self._incomplete = page.counter("goldline_camera_incomplete_frames_total", camera=camera)
        self._lost = page.counter("goldline_frames_dropped_total", camera=camera, stage="camera", reason="lost")
        self._newest = page.gauge("goldline_camera_last_frame_timestamp_seconds", camera=camera)
        self._up = page.gauge("goldline_camera_up", camera=camera)
        self._states = {state: page.gauge("goldline_camera_state", camera=camera, state=state) for state in CameraState}
        self._last_frame_id: int | None = None
        self._has_streamed, self._streams, self._down_by = False, False, "lost"
        self._account_for_predecessor()

    def _account_for_predecessor(self) -> None:
        """Frames a dead incarnation had captured and neither handed over nor dropped went with it."""
        counted: Counter[str] = Counter()
        for series, values in self._page.read():
            if series.metric.kind == "counter" and "camera" not in series.labels[1:2]:
                counted[series.metric.name] += int(values[0])
        gone = counted["goldline_frames_captured_total"] - counted["goldline_frames_handed_total"]
        gone -= counted["goldline_frames_dropped_total"]
        crashed = self._page.counter(
            "goldline_frames_dropped_total", camera=self._camera, stage="capture", reason=Reason.WORKER_CRASH
        )
        crashed.inc(gone)

    def captured(self, frame: CapturedFrame) -> None:
        """A frame came, and told of those that were lost: the ids the camera counted past."""
        self._captured.inc()
        self._incomplete.inc(not frame.complete)
        self._newest.set(frame.host_timestamp_utc_ns / 1e9)
        lost = 0 if self._last_frame_id is None else frame.frame_id - self._last_frame_id - 1
        self._last_frame_id = frame.frame_id
        self._lost.inc(max(0, lost))

    @property
    def has_streamed(self) -> bool:
        """Whether it ever did in this incarnation."""
        return self._has_streamed

    def streams(self) -> None:
        """Its stream began; ids begin anew with it."""
        if self._has_streamed:
            self._page.counter("goldline_camera_reconnects_total", camera=self._camera, cause=self._down_by).inc()
        self._has_streamed, self._streams, self._last_frame_id = True, True, None
        self._up.set(1)

    def down(self, cause: CameraError) -> None:
        """It went, or could not be reached, which is no cause of its having gone."""
        if self._streams:
            self._streams, self._down_by = False, DOWN_BY.get(type(cause), "lost")
        self._up.set(0)

    def show(self, current: CameraState) -> None:
        """Where it is on its way."""
        for state, gauge in self._states.items():
            gauge.set(float(state is current))
