"""A real capture loop over real sockets, ring and trigger log, with a camera that does what the test says."""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from edge import capture, ring
from edge.camera_config import FeatureValue
from edge.cameras.camera import CameraError, CameraInfo, CameraLost, CameraStats, CapturedFrame
from edge.capture import Capture
from edge.channel import Channel, pair
from edge.config import Station
from edge.messages import Fire, Frame, Grant, Hello, Ids, Link, Release, Run, Unjudged, WantIds, WantRing
from edge.metrics import Page, page_size
from edge.records import FrameRef, Reason, Trigger
from edge.trigger_log import OpenedLog, opened_path
from edge.worker import WorkerContext

Connect = Callable[[], tuple[Channel, Channel]]
SLOTS, FRAME_BYTES = 4, 100
INFO = CameraInfo(
    vendor="v", model="m", serial="s", width=10, height=10, pixel_format="Mono8", frame_bytes=FRAME_BYTES, period_s=None
)
# Nothing here takes as long; the machine may be busy.
PATIENCE_S = 60.0
DEADLINE_MS = 400.0


class TinyCamera:
    """Delivers what the test puts into `coming`; counts what it is asked for."""

    def __init__(self) -> None:
        self.coming: SimpleQueue[CapturedFrame | CameraLost] = SimpleQueue()
        self.starts = self.triggered = self.numbered = 0
        self.free: list[int] = []
        # What it was set to before each trigger, and what it says instead of taking a picture.
        self.prepared: list[Mapping[str, FeatureValue]] = []
        self.refuses: dict[str, CameraError] = {}

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

    def picture(self, *, at_ns: int | None = None, lost: int = 0, **said: Any) -> None:
        """A frame arrives in the next free slot; so many before it did not. `said`: what else it tells."""
        self.numbered += 1 + lost
        at_ns = time.monotonic_ns() if at_ns is None else at_ns
        frame = CapturedFrame(
            slot=self.free.pop(0),
            frame_id=self.numbered,
            host_timestamp_ns=at_ns,
            host_timestamp_utc_ns=0,
            device_timestamp_ns=None,
            complete=True,
        )
        self.coming.put(msgspec.structs.replace(frame, **said))

    def release(self, slot: int) -> None:
        self.free.append(slot)

    def prepare(self, features: Mapping[str, FeatureValue]) -> None:
        for name in features:
            if name in self.refuses:
                raise self.refuses[name]
        self.prepared.append(features)

    def trigger(self) -> None:
        self.triggered += 1

    def stats(self) -> CameraStats:
        return CameraStats(frames=0, incomplete=0, lost=0)

    def stop(self) -> None:
        """Nothing is written by itself."""

    def close(self) -> None:
        """Nothing is open."""


class Bench:
    """Capture of one camera; the test is supervisor, publish and inspection."""

    def __init__(
        self,
        directory: Path,
        connect: Connect,
        monkeypatch: pytest.MonkeyPatch,
        mode: str = "software",
        group: tuple[str, ...] = (),
        *,
        is_told: bool = True,
        **camera: Any,
    ) -> None:
        """`is_told`: publish lets it open triggers at once. `camera` are keys of its section, beyond the usual; `group` is one with this camera and others like it."""
        self.camera = TinyCamera()
        monkeypatch.setattr(capture, "make_camera", lambda *_: self.camera)
        trigger = {"mode": mode, "deadline_ms": DEADLINE_MS, **({"queue_depth": 3} if mode == "software" else {})}
        cameras: Any = {"left": {"source": "simulated", "slots": SLOTS, "trigger": trigger, **camera}}
        self.runtime = directory / "run"
        for name in set(group) - {"left"}:
            cameras[name] = {"source": "simulated", "role": name, "trigger": trigger | {"deadline_ms": DEADLINE_MS / 2}}
        groups = {"box": {"cameras": group}} if group else {}
        self.station = station = Station.model_validate(
            {"state_dir": directory, "runtime_dir": self.runtime, "cameras": cameras, "groups": groups}
        )
        page = os.memfd_create("page")
        os.posix_fallocate(page, 0, page_size("capture@left", ("left",)))
        theirs, self.control = connect()
        self.page = Page(page, "capture@left", ("left",))
        context = WorkerContext("capture@left", station, self.page, theirs, 1)
        os.close(page)
        self.capture = Capture(context)
        self.capture._grabber.start()
        self.publish = self.link("publish")
        self._is_finished = False
        if is_told:
            self.publish.send(Run(is_on=True))
        self.until(lambda: self.heard(self.control, WantRing), "it asks for its ring")
        self.grant(FRAME_BYTES)
        self.inspection = self.link("inspection")
        self.inspection.send(Hello(held=()))
        self.until(lambda: self.camera.starts == 1, "it streams")
        self.turn()

    def grant(self, slot_bytes: int) -> None:
        """A ring for frames of this size."""
        memory = ring.create("ring", SLOTS, slot_bytes)
        self.control.send(Grant(camera="left", slots=SLOTS, slot_bytes=slot_bytes), descriptor=memory)
        os.close(memory)

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

    def picture(self, **said: Any) -> None:
        """A frame arrives once the camera has a free slot; see `TinyCamera.picture`."""
        self.until(lambda: self.camera.free, "a slot is free")
        self.camera.picture(**said)

    def give_ids(self, first: int = 1, last: int = 4096) -> None:
        """Publish reserves ids for the triggers that capture opens."""
        self.publish.send(Ids(first=first, last=last))
        self.until(lambda: self.capture._promises._log.next_id() is not None, "it takes its ids")

    def handed(self) -> list[FrameRef]:
        """The frames handed to inspection since the last call; their slots are given back."""
        found = [message.frame for message in self.heard(self.inspection, Frame)]
        for frame in found:
            self.inspection.send(Release(slot=frame.slot, generation=frame.generation))
        return found

    def frames(self) -> list[int]:
        """The triggers of the frames handed to inspection since the last call."""
        return [frame.trigger_id for frame in self.handed()]

    def unjudged(self) -> list[tuple[int, str | None, Reason]]:
        """What capture answered for since the last call, by trigger and view."""
        return [(one.trigger_id, one.view, one.reason) for one in self.heard(self.publish, Unjudged)]

    def answers(self) -> dict[int, Reason]:
        return {trigger_id: reason for trigger_id, _, reason in self.unjudged()}

    def logged(self) -> list[Trigger]:
        """Every trigger that stands in the camera's log."""
        reader = OpenedLog.attach(opened_path(self.runtime, "left"))
        assert reader is not None
        found = reader.read_all()
        reader.close()
        return found

    def promised_deadline_passed(self, trigger_id: int) -> bool:
        """Whether this trigger, which stands in the log, is late."""
        (deadline_ns,) = (one.deadline_ns for one in self.logged() if one.trigger_id == trigger_id)
        return time.monotonic_ns() > deadline_ns

    def handed_views(self, trigger_id: int) -> list[str]:
        """The views that inspection answers for, as the log says."""
        reader = OpenedLog.attach(opened_path(self.runtime, "left"))
        assert reader is not None
        (trigger,) = (one for one in reader.read_all() if one.trigger_id == trigger_id)
        views = enumerate(trigger.views_of("left"))
        found = [view for place, view in views if reader.is_handed(trigger_id, place)]
        reader.close()
        return found

    def dropped(self) -> dict[tuple[str, str], float]:
        """Frames that were dropped, by stage and reason."""
        rows = ((one, found) for one, found in self.page.read() if one.metric.name == "goldline_frames_dropped_total")
        return {(series.labels[1], series.labels[2]): found[0] for series, found in rows if found[0]}

    def fire(self, trigger_id: int, *, within_ms: float = 60_000, views: tuple[str, ...] = ()) -> None:
        self.send_trigger(trigger_id, within_ms=within_ms, views=views)
        self.turn()

    def finish(self) -> None:
        """Have it leave, once."""
        if not self._is_finished:
            self._is_finished = True
            self.capture.finish()

    def send_trigger(self, trigger_id: int, *, within_ms: float = 60_000, views: tuple[str, ...] = ()) -> None:
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
                    views=views,
                )
            )
        )


@contextmanager
def benches(tmp_path: Path, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Bench]]:
    """Makes one bench, of a camera of this mode and these keys; it is told to finish afterwards."""
    made: list[Bench] = []

    def make(mode: str = "software", **camera: Any) -> Bench:
        made.append(Bench(tmp_path, connect, monkeypatch, mode, **camera))
        made[-1].heard(made[-1].publish, WantIds)
        return made[-1]

    yield make
    for bench in made:
        bench.finish()
        for channel in (bench.publish, bench.inspection):
            channel.close()
