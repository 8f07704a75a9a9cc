"""PROCESS camera → ring, one a camera.

It lends the ring's slots to its camera, opens a trigger for each frame it hands over (free-running) or pairs frames
with the triggers it is told to fire (software), and answers for whatever does not get as far as inspection. Who has
which slot is in `handover.py`, what was promised to the ledger in `promises.py`, the camera's thread in `grabber.py`.
"""

import os
import socket
import time
from collections import Counter

import structlog

from edge import metrics
from edge.cameras.camera import (
    CameraAbsent,
    CameraBusy,
    CameraConfigError,
    CameraError,
    CameraInfo,
    CapturedFrame,
)
from edge.cameras.factory import make_camera
from edge.channel import Channel
from edge.config import runtime_directory
from edge.errors import GoldlineError
from edge.exposures import Exposures
from edge.grabber import Down, Grabber, Streaming
from edge.handover import Handover
from edge.messages import Grant, Link, Stop, WantRing
from edge.metrics import State
from edge.poller import Poller
from edge.promises import Promises
from edge.records import Reason, Trigger
from edge.ring import Ring
from edge.trigger_log import OpenedLog, opened_path
from edge.worker import WorkerContext

# After a ring was granted, inspection's link follows at once if inspection is alive.
LINK_GRACE_S = 0.2
POLL_S = 0.2
DOWN_BY: dict[type[CameraError], str] = {CameraAbsent: "absent", CameraBusy: "busy", CameraConfigError: "config"}


def run(context: WorkerContext) -> None:
    """The process: set up, loop, tear down."""
    capture = Capture(context)
    capture.loop()
    capture.finish()


class Capture:
    """One camera and the triggers that wait for it."""

    def __init__(self, context: WorkerContext) -> None:
        self._camera, self._page, self._control = context.camera, context.page, context.control
        self._config = context.station.cameras[context.camera]
        self._logger = structlog.get_logger()
        log = OpenedLog.create_or_resume(opened_path(runtime_directory(context.station), self._camera), self._camera)
        self._promises = Promises(log, self._camera, self._config.trigger.deadline_ms, self._accept)
        self._grabber = Grabber(lambda: make_camera(self._camera, self._config))
        self._handover: Handover | None = None
        self._inspection: Channel | None = None
        self._asked_for_ring = self._has_streamed = self._stopping = False
        self._granted_s = 0.0
        self._last_frame_id: int | None = None
        # The camera's steps: open and waiting for buffers; streaming.
        self._opened: CameraInfo | None = None
        self._is_streaming = False
        self._down_by = "lost"
        self._exposures = Exposures(self._promises, self._config.trigger, self._grabber.trigger)
        self._captured = self._page.counter("goldline_frames_captured_total", camera=self._camera)
        self._newest = self._page.gauge("goldline_camera_last_frame_timestamp_seconds", camera=self._camera)
        self._account_for_predecessor()
        self._poller = Poller()
        self._poller.listen(self._control.fileno(), self._hear_supervisor)
        self._poller.listen(self._grabber.wake, self._see_camera)

    def _account_for_predecessor(self) -> None:
        """Frames a dead incarnation had captured and neither handed over nor dropped went with it."""
        counted: Counter[str] = Counter()
        for series, values in self._page.read():
            if series.metric.kind == "counter" and "camera" not in series.labels[1:2]:
                counted[series.metric.name] += int(values[0])
        gone = counted["goldline_frames_captured_total"] - counted["goldline_frames_handed_total"]
        gone -= counted["goldline_frames_dropped_total"]
        self._dropped(Reason.WORKER_CRASH).inc(gone)

    def _dropped(self, reason: Reason) -> metrics.Counter:
        return self._page.counter("goldline_frames_dropped_total", camera=self._camera, stage="capture", reason=reason)

    def loop(self) -> None:
        """Until told to stop."""
        self._grabber.start()
        while not self._stopping:
            lent = self._handover.lent if self._handover else 0
            self._page.beat(State.BUSY if lent else State.IDLE, time.monotonic_ns(), in_flight=lent)
            self._poller.turn(POLL_S)
            self._look_after(time.monotonic_ns())

    def _look_after(self, now_ns: int) -> None:
        """What time brings: a camera that hangs, a picture that never came, words that could not be said."""
        if self._grabber.is_stuck(now_ns):
            raise RuntimeError("the camera's thread hangs or has failed")
        if (overdue := self._exposures.give_up(now_ns)) is not None:
            self._logger.warning("no picture for a trigger", trigger_id=overdue.trigger_id)
            self._is_streaming = False
            self._grabber.reopen()
        self._promises.keep_up()
        self._lend_ring()
        if self._handover is not None:
            self._handover.show()

    # --- what the others say

    def _hear_supervisor(self) -> None:
        while (heard := self._control.receive_with_descriptor()) is not None:
            match heard:
                case Stop(), _:
                    self._stopping = True
                case Grant() as grant, int(descriptor):
                    self._take_ring(grant, descriptor)
                case Link(peer="inspection"), int(descriptor):
                    self._link_inspection(Channel(socket.socket(fileno=descriptor)))
                case Link(peer="publish"), int(descriptor):
                    self._link_publish(Channel(socket.socket(fileno=descriptor)))
                case message, _:
                    raise RuntimeError(f"unexpected {message}")

    def _take_ring(self, grant: Grant, descriptor: int) -> None:
        ring = Ring(descriptor, grant.slots, grant.slot_bytes)
        os.close(descriptor)
        self._asked_for_ring, self._granted_s = False, time.monotonic()
        self._handover = Handover(
            self._camera,
            ring,
            self._promises,
            self._page,
            latest_wins=self._config.trigger.mode == "free",
            release=self._grabber.release,
        )

    def _link_inspection(self, channel: Channel) -> None:
        assert self._handover is not None, "the ring is granted before its link"
        self._unlink_inspection()
        self._inspection = channel
        self._handover.connect(channel)
        self._poller.listen(channel.fileno(), self._hear_inspection)

    def _hear_inspection(self) -> None:
        assert self._handover is not None
        if not self._handover.hear():
            self._unlink_inspection()
        self._fire()

    def _unlink_inspection(self) -> None:
        if self._inspection is not None and self._handover is not None:
            self._poller.forget(self._inspection.fileno())
            self._inspection.close()
            self._inspection = None
            self._handover.reclaim()

    def _link_publish(self, channel: Channel) -> None:
        # Triggers that the one before sent, and that were not read before it died: nobody sends them again.
        if self._promises.is_linked:
            self._hear_publish()
        self._unlink(self._promises.connect(channel))
        self._poller.listen(channel.fileno(), self._hear_publish)
        self._promises.keep_up()

    def _hear_publish(self) -> None:
        if not self._promises.hear():
            self._unlink(self._promises.connect(None))
        self._fire()

    def _unlink(self, channel: Channel | None) -> None:
        if channel is not None:
            self._poller.forget(channel.fileno())
            channel.close()

    # --- the camera

    def _see_camera(self) -> None:
        for happening in self._grabber.happenings():
            match happening:
                case CameraInfo():
                    self._opened = happening
                    self._logger.info("camera open", model=happening.model, serial=happening.serial)
                case Streaming():
                    self._set_streaming()
                case CapturedFrame():
                    self._take(happening)
                case Down():
                    self._camera_is_down(happening)
        self._lend_ring()

    def _set_streaming(self) -> None:
        if self._has_streamed:
            self._page.counter("goldline_camera_reconnects_total", camera=self._camera, cause=self._down_by).inc()
        self._is_streaming = self._has_streamed = True
        self._last_frame_id = None
        self._page.gauge("goldline_camera_up", camera=self._camera).set(1)

    def _camera_is_down(self, down: Down) -> None:
        if down.fatal and not self._has_streamed:
            raise GoldlineError(str(down.cause))
        self._logger.warning("camera down", problem=str(down.cause))
        self._is_streaming, self._opened = False, None
        self._down_by = DOWN_BY.get(type(down.cause), "lost")
        self._page.gauge("goldline_camera_up", camera=self._camera).set(0)
        self._exposures.drop(Reason.CAMERA_DOWN)

    def _lend_ring(self) -> None:
        """Give an open camera its buffers, once there is a ring of its size and inspection holds nothing of it."""
        if self._opened is None or (self._handover is not None and not self._handover.is_settled):
            return
        if self._handover is None or self._handover.ring.slot_bytes != self._opened.frame_bytes:
            if not self._asked_for_ring:
                self._asked_for_ring = True
                self._control.send(WantRing(slot_bytes=self._opened.frame_bytes))
        elif self._inspection is not None or time.monotonic() - self._granted_s > LINK_GRACE_S:
            self._handover.begin(self._opened)
            self._grabber.lend(self._handover.ring.buffers)
            self._opened = None

    # --- frames and triggers

    def _take(self, captured: CapturedFrame) -> None:
        """A frame arrived: find its trigger, and put it before inspection."""
        assert self._handover is not None
        self._count(captured)
        waiting = self._handover.take(captured, self._exposures.claim(captured))
        if waiting.trigger is None and self._config.trigger.mode != "free":
            self._handover.drop(waiting, Reason.STALE)  # nobody asked for it, or the answer was given up
        elif captured.complete:
            self._handover.put(waiting)
        else:
            self._page.counter("goldline_camera_incomplete_frames_total", camera=self._camera).inc()
            if (trigger := waiting.trigger or self._promises.open(captured)) is not None:
                self._promises.opened(trigger)
                self._promises.unjudged(trigger.trigger_id, Reason.INCOMPLETE, "the camera's frame is incomplete")
            self._handover.drop(waiting, Reason.INCOMPLETE)
        self._fire()

    def _count(self, captured: CapturedFrame) -> None:
        """Captured, and lost: the ids the camera counted past."""
        self._captured.inc()
        seconds = captured.host_timestamp_utc_ns / 1e9
        self._newest.set(seconds)
        lost = 0 if self._last_frame_id is None else captured.frame_id - self._last_frame_id - 1
        self._last_frame_id = captured.frame_id
        if lost > 0:
            drops = self._page.counter(
                "goldline_frames_dropped_total", camera=self._camera, stage="camera", reason="lost"
            )
            drops.inc(lost)

    def _accept(self, trigger: Trigger) -> None:
        self._exposures.accept(trigger, is_streaming=self._is_streaming)

    def _fire(self) -> None:
        if self._is_streaming and self._handover is not None:
            self._exposures.fire(has_slot=self._handover.taken < self._handover.ring.slots)

    def finish(self) -> None:
        """Hand over what can still be judged, answer for the rest, let the camera go."""
        self._page.beat(State.STOPPING, time.monotonic_ns())
        if self._handover is not None:
            self._handover.hand_over()
            self._handover.abandon(Reason.SHUTDOWN)
        self._exposures.drop(Reason.SHUTDOWN)
        self._grabber.stop(timeout_s=1.5)
        if self._inspection is not None:
            self._unlink(self._inspection)
        self._unlink(self._promises.connect(None))
        self._promises.close(clean=True)
