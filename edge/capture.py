"""PROCESS camera → ring, one a camera.

It lends the ring's slots to its camera, opens a trigger for each frame it hands over (free-running) or that the line
asked for (`arrivals.py`), or pairs frames with the triggers it is told to fire (`exposures.py`), and answers for what does
not get as far as inspection. Slots: `handover.py`; promises: `promises.py`; the camera's thread: `grabber.py`.
"""

import os
import socket
import time

import structlog

from edge.admission import HALTED
from edge.arrivals import Arrivals
from edge.camera_state import CameraState
from edge.camera_tally import CameraTally
from edge.cameras.camera import CameraInfo, CapturedFrame
from edge.cameras.factory import make_camera
from edge.channel import Channel
from edge.config import Station, runtime_directory
from edge.errors import GoldlineError
from edge.exposures import Exposure, Exposures, shots_of
from edge.follower import Follower
from edge.grabber import Down, Grabber
from edge.handover import Handover, Waiting
from edge.leaving import Leaving
from edge.messages import Abandon, Commit, Grant, Link, Offer, Stop, WantRing
from edge.metrics import State
from edge.poller import Poller
from edge.promises import Promises
from edge.records import Reason, Trigger
from edge.ring import Ring
from edge.takeover import Takeover
from edge.trigger_log import OpenedLog, opened_path
from edge.worker import WorkerContext

# After a ring was granted, inspection's link follows at once if inspection is alive.
LINK_GRACE_S = 0.2
POLL_S = 0.2


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
        opens = context.station.opens(self._camera)
        deadline_ms = context.station.deadline_ms(opens or self._camera)
        views = context.station.views_of(opens or self._camera)
        self._promises = Promises(log, self._camera, deadline_ms, self._accept, opens, views)
        self._grabber = Grabber(self._camera, self._config, lambda: make_camera(self._camera, self._config))
        self._handover: Handover | None = None
        self._inspection: Channel | None = None
        self._asked_for_ring = self._is_streaming = False
        self._leaving, self._takeover = Leaving(), Takeover(context.control, self._take_over)
        self._granted_s = 0.0
        # The camera is open and waits for buffers.
        self._opened: CameraInfo | None = None
        shots = shots_of(self._camera, self._config)
        self._exposures = Exposures(self._promises, self._config.trigger, shots, self._grabber)
        self._arrivals = Arrivals(self._promises, shots, views)
        follows = self._config.trigger.mode == "line" and opens is None  # another camera opens the triggers
        self._follower = Follower(self._promises, self._camera) if follows else None
        self._was_full = False
        self._tally = CameraTally(self._page, self._camera)
        self._poller = Poller()
        self._poller.listen(self._control.fileno(), self._hear_supervisor)
        self._poller.listen(self._grabber.wake, self._see_camera)

    def loop(self) -> None:
        """Until told to stop."""
        self._grabber.start()
        while not self._leaving.is_due(self._exposures, time.monotonic()):
            lent = self._handover.lent if self._handover else 0
            self._page.beat(State.BUSY if lent else State.IDLE, time.monotonic_ns(), in_flight=lent)
            self._poller.turn(POLL_S)
            self._look_after(time.monotonic_ns())

    def _look_after(self, now_ns: int) -> None:
        """What time brings: a camera that hangs, a picture that never came, words that could not be said."""
        if self._grabber.is_stuck(now_ns):
            raise RuntimeError("the camera's thread hangs or has failed")
        if (overdue := self._exposures.give_up(now_ns)) is not None:
            self._logger.warning("no picture for a trigger", trigger_id=overdue.trigger.trigger_id, view=overdue.view)
            self._is_streaming = False
            self._grabber.reopen()
        self._promises.keep_up(is_up=self._is_streaming)
        self._lend_ring()
        if self._handover is not None:
            if self._follower is not None:
                self._follower.expire(now_ns, self._handover)
            self._handover.show()

    # --- what the others say

    def _hear_supervisor(self) -> None:
        while (heard := self._control.receive_with_descriptor()) is not None:
            match heard:
                case Stop() as stop, _:
                    self._leaving.begin(stop, self._exposures, time.monotonic())
                case (Offer() | Commit() | Abandon()) as said, descriptor:
                    self._takeover.hear(said, descriptor)
                case Grant() as grant, int(descriptor):
                    self._take_ring(grant, descriptor)
                case Link(peer="inspection"), int(descriptor):
                    self._link_inspection(Channel(socket.socket(fileno=descriptor)))
                case Link(peer="publish"), int(descriptor):
                    self._link_publish(Channel(socket.socket(fileno=descriptor)))
                case message, _:
                    raise RuntimeError(f"unexpected {message}")

    def _take_over(self, _number: int, station: Station, _generation: int) -> bool:
        """What of another configuration needs no other camera."""
        self._promises.promise_within(station.deadline_ms(station.opens(self._camera) or self._camera))
        self._exposures.take_over(station.cameras[self._camera].trigger)
        return True

    def _take_ring(self, grant: Grant, descriptor: int) -> None:
        ring = Ring(descriptor, grant.slots, grant.slot_bytes)
        os.close(descriptor)
        self._asked_for_ring, self._granted_s = False, time.monotonic()
        if self._handover is not None:
            self._handover.abandon(Reason.CAMERA_DOWN)
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
        if self._follower is not None:
            self._follower.begin(self._handover)
        self._poller.listen(channel.fileno(), self._hear_publish)
        self._promises.keep_up()

    def _hear_publish(self) -> None:
        if not self._promises.hear():
            self._unlink(self._promises.connect(None))
        if self._follower is not None:
            self._follower.run(self._handover, is_on=self._promises.is_on)
        elif not self._promises.is_on and self._handover is not None:
            self._handover.halt()
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
                case CapturedFrame():
                    self._take(happening)
                case Down():
                    self._camera_is_down(happening)
                case CameraState():
                    self._tally.show(happening)
                    if happening is CameraState.STREAMING:
                        self._streams()
        self._lend_ring()

    def _streams(self) -> None:
        self._is_streaming = True
        self._tally.streams()
        if self._follower is not None:
            self._follower.begin(self._handover)

    def _camera_is_down(self, down: Down) -> None:
        if down.fatal and not self._tally.has_streamed:
            raise GoldlineError(str(down.cause))
        say = self._logger.warning if down.is_news else self._logger.debug
        say("camera down", problem=str(down.cause))
        self._is_streaming, self._opened = False, None
        self._tally.down(down.cause)
        self._drop(Reason.CAMERA_DOWN)

    def _drop(self, reason: Reason) -> None:
        """Answer for every picture that will not come."""
        self._exposures.drop(reason)
        self._arrivals.drop(reason)
        if self._follower is not None:
            self._follower.drop(reason, "no picture was taken", self._handover)

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
        self._tally.captured(captured)
        if self._follower is not None:
            self._put(self._handover, *self._follower.take(captured, self._handover))
        elif isinstance(found := self._claim(captured), str):
            self._handover.drop(self._handover.take(captured), found)
        elif found is None:
            self._put(self._handover, self._handover.take(captured))
        else:
            self._put(self._handover, self._handover.take(captured, found.trigger, found.view))
        self._was_full = self._handover.taken == self._handover.ring.slots
        self._fire()

    def _claim(self, captured: CapturedFrame) -> Exposure | str | None:
        """What this frame is the picture of; why it is dropped; None: of nothing yet, it runs freely."""
        if self._config.trigger.mode == "free":
            return HALTED if not self._promises.is_on else "settling" if captured.settling else None
        if self._config.trigger.mode == "line":
            return self._arrivals.claim(captured, Reason.NO_SLOT if self._was_full else Reason.INCOMPLETE)
        # Without a claim nobody asked for it, or the answer was given up.
        return self._exposures.claim(captured) or Reason.STALE

    def _put(self, handover: Handover, *ready: Waiting) -> None:
        """Before inspection, if they can be judged; else they are answered here."""
        for waiting in ready:
            if waiting.captured.complete and not waiting.captured.repeats:
                handover.put(waiting)
            else:
                handover.refuse(waiting)

    def _accept(self, trigger: Trigger) -> None:
        if self._follower is None or not self._is_streaming or self._handover is None:
            self._exposures.accept(trigger, is_streaming=self._is_streaming)
        else:
            self._put(self._handover, *self._follower.accept(trigger, self._handover))

    def _fire(self) -> None:
        if self._is_streaming and self._handover is not None:
            self._exposures.fire(has_slot=self._handover.taken < self._handover.ring.slots)

    def finish(self) -> None:
        """Hand over what can still be judged, answer for the rest, let the camera go."""
        self._page.beat(State.STOPPING, time.monotonic_ns())
        if self._handover is not None:
            self._handover.hand_over()
            self._handover.abandon(self._leaving.reason)
        self._drop(self._leaving.reason)
        self._grabber.stop(timeout_s=1.5)
        if self._leaving.reason is Reason.CAMERA_DOWN and self._promises.is_linked:
            self._promises.hear()  # what was asked for while the camera was let go
        if self._inspection is not None:
            self._unlink(self._inspection)
        self._unlink(self._promises.connect(None))
        self._promises.close(clean=True)
