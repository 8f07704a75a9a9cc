"""Who has which slot of the ring: the camera, inspection, or this process in between.

Free-running: the latest frame wins, and inspection has at most two of a camera, one in the graph and one being
registered; an older one that waits is dropped and counted, before anything was promised for it. Triggered, by command
or by the line: first in, first out, and every frame has its trigger already.
"""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from edge.admission import HALTED
from edge.cameras.camera import CameraInfo, CapturedFrame
from edge.channel import Channel, ChannelClosed
from edge.messages import Frame, Hello, Release
from edge.metrics import Page
from edge.promises import Promises
from edge.records import FrameRef, Reason, Trigger
from edge.ring import Ring

# Frames of one free-running camera that inspection may hold: one in the graph, one being registered.
FREE_RUNNING_LENT = 2
# Why a frame is answered without being judged.
UNFIT = {
    Reason.INCOMPLETE: "the camera's frame is incomplete",
    Reason.FROZEN: "the camera's frame repeats the one before to the last bit",
}


@dataclass(frozen=True)
class Waiting:
    """A frame in a slot of ours, and the view it is. Free-running frames get their trigger when they are handed over."""

    captured: CapturedFrame
    generation: int
    trigger: Trigger | None
    view: str


class Lent(NamedTuple):
    """A frame that inspection has, and the view of the trigger that it answers."""

    generation: int
    trigger_id: int
    view: str


class Handover:
    """The slots of one ring. `release` lends one back to the camera."""

    def __init__(
        self,
        camera: str,
        ring: Ring,
        promises: Promises,
        page: Page,
        *,
        latest_wins: bool,
        release: Callable[[int], None],
    ) -> None:
        self._camera, self.ring, self._promises, self._page = camera, ring, promises, page
        self._latest_wins, self._release = latest_wins, release
        self._most_lent = FREE_RUNNING_LENT if latest_wins else ring.slots
        self._info: CameraInfo | None = None
        self._inspection: Channel | None = None
        self._said_hello = False
        # Slots with inspection, and the frames in them; None: lent by an earlier incarnation of this process.
        self._lent: dict[int, Lent | None] = {}
        self._mailbox: deque[Waiting] = deque()
        # Slots whose frames wait until it is settled which trigger they answer.
        self._kept: set[int] = set()
        self._handed = page.counter("goldline_frames_handed_total", camera=camera)
        self._gauges = {
            state: page.gauge("goldline_ring_slots", camera=camera, state=state) for state in ("free", "lent")
        }

    # --- the camera's side

    @property
    def taken(self) -> int:
        """Slots the camera does not have."""
        return len(self._lent) + len(self._mailbox) + len(self._kept)

    @property
    def lent(self) -> int:
        """Slots inspection has."""
        return len(self._lent)

    @property
    def is_settled(self) -> bool:
        """Nothing is with inspection, and inspection, if it is there, has said so."""
        return not self._lent and (self._inspection is None or self._said_hello)

    def begin(self, info: CameraInfo) -> None:
        """The camera is about to get every slot; nothing may be lent."""
        assert not self._lent
        self._info = info
        self.abandon(Reason.CAMERA_DOWN)
        for slot in range(self.ring.slots):
            self.ring.begin(slot)

    def take(self, captured: CapturedFrame, trigger: Trigger | None = None, view: str | None = None) -> Waiting:
        """A filled slot is ours. Without a name the view is the camera's only one."""
        return Waiting(captured, self.ring.commit(captured.slot), trigger, view or self._camera)

    def keep(self, captured: CapturedFrame) -> Waiting:
        """A filled slot is ours, and stays so until it is put or dropped."""
        self._kept.add(captured.slot)
        return self.take(captured)

    def put(self, waiting: Waiting) -> None:
        """Before inspection with it."""
        self._kept.discard(waiting.captured.slot)
        if self._latest_wins and self._mailbox:
            self.drop(self._mailbox.popleft(), "superseded")
        self._mailbox.append(waiting)
        self.hand_over()

    def drop(self, waiting: Waiting, reason: str) -> None:
        """Count it and give its slot back."""
        self._page.counter("goldline_frames_dropped_total", camera=self._camera, stage="capture", reason=reason).inc()
        self._give_back(waiting.captured.slot)

    def refuse(self, waiting: Waiting) -> None:
        """Answer for a frame that cannot be judged, whose trigger may have to be opened for that."""
        captured, trigger = waiting.captured, waiting.trigger
        reason = Reason.FROZEN if captured.complete else Reason.INCOMPLETE
        if trigger is None and (trigger := self._promises.open(captured)) is not None:
            self._promises.opened(trigger)
        if trigger is not None:
            self._promises.unjudged(trigger.trigger_id, reason, UNFIT[reason], waiting.view)
        self.drop(waiting, reason)

    def abandon(self, reason: Reason) -> None:
        """Give up what waits, and answer for it."""
        while self._mailbox:
            waiting = self._mailbox.popleft()
            if waiting.trigger is not None:
                detail = "the frame could not be handed over"
                self._promises.unjudged(waiting.trigger.trigger_id, reason, detail, waiting.view)
            self.drop(waiting, reason)

    def halt(self) -> None:
        """No trigger is opened from now on: a frame that has none yet is nobody's, also once they are again."""
        while self._mailbox and self._mailbox[0].trigger is None:
            self.drop(self._mailbox.popleft(), HALTED)

    def _give_back(self, slot: int) -> None:
        self._kept.discard(slot)
        self.ring.begin(slot)
        self._release(slot)

    def show(self) -> None:
        """Set the gauges."""
        self._gauges["lent"].set(len(self._lent))
        self._gauges["free"].set(self.ring.slots - self.taken)

    # --- inspection's side

    def connect(self, channel: Channel | None) -> None:
        """Another incarnation of inspection, which will say what it holds; None: it died."""
        self._inspection, self._said_hello = channel, False

    def hear(self) -> bool:
        """Take what inspection said. Returns False when it has gone."""
        assert self._inspection is not None
        try:
            for message in self._inspection.drain():
                match message:
                    case Hello(held=held):
                        self._said_hello = True
                        # A ring of more slots may have gone before: what lies beyond this one is none of its own.
                        mine = (slot for slot in held if slot < self.ring.slots and slot not in self._lent)
                        self._lent.update(dict.fromkeys(mine))
                    case Release():
                        self._take_back(message)
                    case _:
                        raise RuntimeError(f"unexpected {message}")
        except ChannelClosed:
            return False
        self.hand_over()
        return True

    def _take_back(self, release: Release) -> None:
        """A word about an earlier frame of the slot takes nothing back."""
        if release.slot in self._lent:
            lent = self._lent[release.slot]
            if lent is None or lent.generation == release.generation:
                del self._lent[release.slot]
                self._give_back(release.slot)

    def reclaim(self) -> None:
        """Inspection died: answer for what it held and take its slots back."""
        self.connect(None)
        for slot, lent in self._lent.items():
            if lent is not None:
                detail = "inspection died holding the frame"
                self._promises.unjudged(lent.trigger_id, Reason.WORKER_CRASH, detail, lent.view)
            self._give_back(slot)
        self._lent.clear()

    def hand_over(self) -> None:
        """Lend inspection what it may have now."""
        while self._mailbox and self._inspection is not None and self._said_hello and len(self._lent) < self._most_lent:
            waiting = self._mailbox.popleft()
            trigger = waiting.trigger or self._promises.open(waiting.captured)
            if trigger is None:
                self.drop(waiting, Reason.OVERRUN if self._promises.is_on else HALTED)
                continue
            self._lent[waiting.captured.slot] = Lent(waiting.generation, trigger.trigger_id, waiting.view)
            self._promises.handed(trigger, waiting.view)
            self._handed.inc()
            try:
                self._inspection.send(Frame(frame=self._reference(waiting, trigger)))
            except ChannelClosed:
                return  # its end of file is on the way, and with it the answer for this frame
            if waiting.trigger is None:
                self._promises.opened(trigger)

    def _reference(self, waiting: Waiting, trigger: Trigger) -> FrameRef:
        assert self._info is not None
        captured = waiting.captured
        return FrameRef(
            camera=self._camera,
            view=waiting.view,
            slot=captured.slot,
            generation=waiting.generation,
            frame_id=captured.frame_id,
            trigger_id=trigger.trigger_id,
            host_timestamp_ns=captured.host_timestamp_ns,
            host_timestamp_utc_ns=captured.host_timestamp_utc_ns,
            device_timestamp_ns=captured.device_timestamp_ns,
            deadline_ns=trigger.deadline_ns,
            width=self._info.width,
            height=self._info.height,
            pixel_format=self._info.pixel_format,
            handed_ns=time.monotonic_ns(),
            expect=trigger.expect,
            is_part=not trigger.views,
            settling=captured.settling,
            used_bytes=captured.used_bytes,
            unit_identifier=trigger.unit_identifier,
        )
