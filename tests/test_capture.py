"""A real capture loop over real sockets, ring and trigger log, with a camera that does what the test says."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edge import capture, ring
from edge.cameras.camera import CameraInfo, CameraLost, CameraStats, CapturedFrame
from edge.capture import Capture
from edge.channel import Channel, pair
from edge.config import Station
from edge.messages import AnyMessage, Fire, Frame, Grant, Hello, Link, Release, Unjudged, WantIds, WantRing
from edge.metrics import Page, page_size
from edge.records import Reason, Trigger
from edge.worker import WorkerContext

Connect = Callable[[], tuple[Channel, Channel]]
SLOTS, FRAME_BYTES = 4, 100
INFO = CameraInfo(
    vendor="v", model="m", serial="s", width=10, height=10, pixel_format="Mono8", frame_bytes=FRAME_BYTES, period_s=None
)
# Nothing here takes as long; the machine may be busy.
PATIENCE_S = 10.0
DEADLINE_MS = 400.0


class TinyCamera:
    """Delivers what the test puts into `coming`; counts what it is asked for."""

    def __init__(self) -> None:
        self.coming: SimpleQueue[CapturedFrame | CameraLost] = SimpleQueue()
        self.starts = self.triggered = self.numbered = 0
        self.free: list[int] = []

    def open(self) -> CameraInfo:
        return INFO

    def start(self, buffers: list[NDArray[np.uint8]]) -> None:
        self.free, self.starts, self.numbered = list(range(len(buffers))), self.starts + 1, 0

    def next(self, timeout_s: float) -> CapturedFrame | None:
        try:
            came = self.coming.get(timeout=timeout_s)
        except Empty:
            return None
        if isinstance(came, CameraLost):
            raise came
        return came

    def picture(self, *, at_ns: int | None = None) -> None:
        """A frame arrives in the next free slot."""
        self.numbered += 1
        at_ns = time.monotonic_ns() if at_ns is None else at_ns
        self.coming.put(
            CapturedFrame(
                slot=self.free.pop(0),
                frame_id=self.numbered,
                host_timestamp_ns=at_ns,
                host_timestamp_utc_ns=0,
                device_timestamp_ns=None,
                complete=True,
            )
        )

    def release(self, slot: int) -> None:
        self.free.append(slot)

    def trigger(self) -> None:
        self.triggered += 1

    def stats(self) -> CameraStats:
        return CameraStats(frames=0, incomplete=0, lost=0)

    def stop(self) -> None:
        """Nothing is written by itself."""

    def close(self) -> None:
        """Nothing is open."""


class Bench:
    """Capture of a software-triggered camera; the test is supervisor, publish and inspection."""

    def __init__(self, directory: Path, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
        self.camera = TinyCamera()
        monkeypatch.setattr(capture, "make_camera", lambda *_: self.camera)
        trigger = {"mode": "software", "deadline_ms": DEADLINE_MS, "queue_depth": 3}
        cameras: Any = {"left": {"source": "simulated", "slots": SLOTS, "trigger": trigger}}
        station = Station.model_validate({"state_dir": directory, "runtime_dir": directory / "run", "cameras": cameras})
        page = os.memfd_create("page")
        os.posix_fallocate(page, 0, page_size("capture@left", ("left",)))
        theirs, self.control = connect()
        context = WorkerContext("capture@left", station, Page(page, "capture@left", ("left",)), theirs, 1)
        os.close(page)
        self.said: list[AnyMessage] = []
        self.capture = Capture(context)
        self.capture._grabber.start()
        self.publish = self.link("publish")
        self.until(lambda: self.heard(self.control, WantRing), "it asks for its ring")
        memory = ring.create("ring", SLOTS, FRAME_BYTES)
        self.control.send(Grant(camera="left", slots=SLOTS, slot_bytes=FRAME_BYTES), descriptor=memory)
        os.close(memory)
        self.inspection = self.link("inspection")
        self.inspection.send(Hello(held=()))
        self.until(lambda: self.camera.starts == 1, "it streams")
        self.turn()

    def link(self, peer: str) -> Channel:
        ours, theirs = pair()
        self.control.send(Link(peer=peer), descriptor=theirs.fileno())
        theirs.close()
        self.turn()
        return Channel(ours)

    def turn(self) -> None:
        self.capture._poller.turn(0.05)
        self.capture._look_after(time.monotonic_ns())

    def until(self, condition: Callable[[], Any], what: str) -> Any:
        end_s = time.monotonic() + PATIENCE_S
        while not (found := condition()):
            assert time.monotonic() < end_s, f"waited in vain: {what}"
            self.turn()
        return found

    def heard(self, channel: Channel, kind: type[Any]) -> list[Any]:
        return [message for message in channel.drain() if isinstance(message, kind)]

    def frames(self) -> list[int]:
        """The triggers of the frames handed to inspection since the last call; their slots are given back."""
        found = [message.frame for message in self.heard(self.inspection, Frame)]
        for frame in found:
            self.inspection.send(Release(slot=frame.slot, generation=frame.generation))
        return [frame.trigger_id for frame in found]

    def answers(self) -> dict[int, Reason]:
        return {message.trigger_id: message.reason for message in self.heard(self.publish, Unjudged)}

    def fire(self, trigger_id: int, *, within_ms: float = 60_000) -> None:
        self.send_trigger(trigger_id, within_ms=within_ms)
        self.turn()

    def send_trigger(self, trigger_id: int, *, within_ms: float = 60_000) -> None:
        now_ns = time.monotonic_ns()
        deadline_ns = now_ns + round(within_ms * 1e6)
        self.publish.send(
            Fire(
                trigger=Trigger(
                    trigger_id=trigger_id,
                    camera="left",
                    source="software",
                    opened_ns=now_ns,
                    opened_utc_ns=0,
                    deadline_ns=deadline_ns,
                )
            )
        )


@pytest.fixture
def bench(tmp_path: Path, channels: Connect, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    made = Bench(tmp_path, channels, monkeypatch)
    made.heard(made.publish, WantIds)
    yield made
    made.capture.finish()
    for channel in (made.publish, made.inspection):
        channel.close()


def test_a_picture_belongs_to_the_trigger_it_was_taken_for(bench: Bench) -> None:
    bench.fire(1)
    bench.fire(2)
    assert bench.camera.triggered == 1, "one at a time"
    bench.camera.picture()
    bench.until(lambda: bench.camera.triggered == 2, "the next is fired")
    bench.camera.picture()
    handed = bench.frames()
    bench.until(lambda: handed.extend(bench.frames()) or len(handed) == 2, "both are handed over")
    assert handed == [1, 2] and bench.answers() == {}


def test_a_trigger_that_a_dead_publish_had_sent_is_fired_although_its_successor_is_linked_first(bench: Bench) -> None:
    bench.send_trigger(7)
    bench.publish.close()
    ours, theirs = pair()
    bench.publish = Channel(ours)
    bench.control.send(Link(peer="publish"), descriptor=theirs.fileno())
    theirs.close()
    bench.capture._hear_supervisor()
    bench.until(lambda: bench.camera.triggered == 1, "the camera is triggered")
    bench.camera.picture()
    handed: list[int] = []
    bench.until(lambda: handed.extend(bench.frames()) or handed, "the frame is handed over")
    assert handed == [7] and bench.answers() == {}


def test_a_picture_older_than_its_trigger_is_nobodys(bench: Bench) -> None:
    before_ns = time.monotonic_ns()
    bench.fire(1)
    bench.camera.picture(at_ns=before_ns)
    bench.until(lambda: len(bench.camera.free) == SLOTS, "the stray is given back")
    assert bench.frames() == []
    bench.camera.picture()
    assert bench.until(bench.frames, "its own picture is handed over") == [1]


def test_a_picture_nobody_asked_for_is_dropped(bench: Bench) -> None:
    bench.camera.picture()
    bench.until(lambda: len(bench.camera.free) == SLOTS, "it is given back")
    assert bench.frames() == []


def test_a_trigger_that_is_late_already_is_not_fired_and_disturbs_no_stream(bench: Bench) -> None:
    bench.fire(1, within_ms=0)
    bench.fire(2)
    assert bench.camera.triggered == 1
    bench.camera.picture()
    assert bench.until(bench.frames, "the trigger behind it has its picture") == [2]
    assert bench.answers() == {1: Reason.DEADLINE} and bench.camera.starts == 1


def test_a_picture_that_comes_after_the_deadline_is_still_its_triggers(bench: Bench) -> None:
    bench.fire(1, within_ms=50)
    end_s = time.monotonic() + 0.1
    while time.monotonic() < end_s:
        bench.turn()
    bench.camera.picture()
    assert bench.until(bench.frames, "it is handed over") == [1]
    assert bench.camera.starts == 1, "the stream goes on"


def test_a_picture_that_never_comes_starts_the_stream_afresh(bench: Bench) -> None:
    bench.fire(1)
    bench.until(lambda: bench.camera.starts == 2, "the stream starts again")
    bench.until(lambda: bench.capture._is_streaming, "capture knows")
    bench.fire(2)
    bench.camera.picture()
    assert bench.until(bench.frames, "the next trigger has its own picture") == [2]


def test_a_camera_that_is_lost_is_answered_for(bench: Bench) -> None:
    bench.fire(1)
    bench.fire(2)
    bench.camera.coming.put(CameraLost("unplugged"))
    answered: dict[int, Reason] = {}
    bench.until(lambda: answered.update(bench.answers()) or len(answered) == 2, "both are answered")
    assert set(answered.values()) == {Reason.CAMERA_DOWN}


def test_more_triggers_than_may_wait_are_answered_at_once(bench: Bench) -> None:
    for number in range(1, 6):
        bench.fire(number)
    assert bench.answers() == {5: Reason.OVERRUN}, "one is exposing, three may wait"
