"""The inspection loop over real sockets and rings, with an inspector that judges by the brightness of the frame."""

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest

from edge import ring, topology
from edge.batcher import Batcher
from edge.channel import Channel, pair
from edge.config import Station
from edge.drift import Baseline, Drift
from edge.inspection import NO_TIME, Inspection
from edge.inspector import Prepared
from edge.job_file import InForce
from edge.messages import AnyMessage, Frame, Grant, Hello, Judged, Link, Release, Stop
from edge.messages import Prepared as PreparedProduct
from edge.metrics import Page, page_size
from edge.records import FrameRef, Outcome, Provenance, Reason, Verdict, error
from edge.ring import Ring
from edge.worker import WorkerContext
from tests import values
from tests.lines import calibration

Connect = Callable[[], tuple[Channel, Channel]]
SLOTS, SIZE = 4, (10, 8)
FRAME_BYTES = SIZE[0] * SIZE[1]
# Nothing here takes as long; the machine may be busy.
PATIENCE_S = 60.0


class ByBrightness:
    """Stands in for the inspector: the score is the frame's first pixel."""

    fell_back, max_batch = False, 4

    def drift(self, _role: str) -> Drift:
        return Drift(calibration([]), Baseline())

    def provenance(self, _generation: int) -> Provenance:
        return values.PROVENANCE

    def prepare(self, picture: Any, role: str) -> Prepared:
        return Prepared(role, SIZE, None, {"part": picture[:1, :1].copy()})

    def score(self, batch: Sequence[Prepared], *, crowded: bool = False) -> list[float]:
        return [float(prepared.regions["part"][0, 0, 0]) for prepared in batch]

    def judge(self, prepared: Prepared, score: Any, _expect: dict[str, str], **_: bool) -> Verdict:
        return Verdict(outcome=Outcome.PASS, score=score, detail=prepared.role)


class Bench:
    """Inspection of one camera; the test is supervisor, capture and publish."""

    def __init__(self, directory: Path, connect: Connect, inspector: Any = None, **camera: Any) -> None:
        cameras = {"left": {"source": "simulated", **camera}}
        station = Station.model_validate({"state_dir": directory, "cameras": cameras})
        page = os.memfd_create("page")
        counted = topology.counted("inspection", station)
        os.posix_fallocate(page, 0, page_size("inspection", counted))
        theirs, self.control = connect()
        self.page = Page(page, "inspection", counted)
        context = WorkerContext("inspection", station, self.page, theirs, 1)
        os.close(page)
        stand_in: Any = inspector or ByBrightness()
        self.inspection = Inspection(context, stand_in, InForce(product="lid", variant=None, generation=1))
        self.memory = ring.create("ring", SLOTS, FRAME_BYTES)
        self.ring = Ring(self.memory, SLOTS, FRAME_BYTES)
        self.publish = self.link("publish")
        self.thread: threading.Thread | None = None

    def link(self, peer: str) -> Channel:
        ours, theirs = pair()
        self.control.send(Link(peer=peer), descriptor=theirs.fileno())
        theirs.close()
        return Channel(ours)

    def capture(self) -> Channel:
        """An incarnation of the camera's process has its ring and its link."""
        self.control.send(Grant(camera="left", slots=SLOTS, slot_bytes=FRAME_BYTES), descriptor=self.memory)
        return self.link("capture@left")

    def frame(self, trigger_id: int, slot: int, brightness: int, view: str = "left", **said: Any) -> FrameRef:
        """A whole frame lies in the slot."""
        self.ring.begin(slot)
        self.ring.buffers[slot][:] = np.uint8(brightness)
        frame = FrameRef(
            camera="left", view=view, slot=slot, generation=self.ring.commit(slot), frame_id=trigger_id, trigger_id=trigger_id,
            host_timestamp_ns=time.monotonic_ns(), host_timestamp_utc_ns=0, device_timestamp_ns=None,
            deadline_ns=time.monotonic_ns() + 10**11, width=SIZE[0], height=SIZE[1], pixel_format="Mono8",
            handed_ns=time.monotonic_ns(),
        )  # fmt: skip
        return msgspec.structs.replace(frame, **said)

    def run(self) -> None:
        self.thread = threading.Thread(target=self.inspection.loop)
        self.thread.start()

    def stop(self) -> None:
        if self.thread is None:
            self.run()
        assert self.thread is not None
        self.control.send(Stop())
        self.thread.join(PATIENCE_S)
        os.close(self.memory)
        self.publish.close()

    def until(self, condition: Callable[[], Any]) -> None:
        end_s = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < end_s
            time.sleep(0.001)

    def hear(self, channel: Channel, count: int) -> list[AnyMessage]:
        found: list[AnyMessage] = []
        end_s = time.monotonic() + PATIENCE_S
        while len(found) < count:
            assert time.monotonic() < end_s, found
            found += (said for said in channel.drain() if not isinstance(said, PreparedProduct))
            time.sleep(0.001)
        return found

    def verdicts(self, count: int) -> dict[int, tuple[float | None, Reason | None]]:
        judged = [message for message in self.hear(self.publish, count) if isinstance(message, Judged)]
        return {one.frame.trigger_id: (one.verdict.score, one.verdict.reason) for one in judged}


@pytest.fixture
def bench(tmp_path: Path, channels: Connect) -> Iterator[Bench]:
    made = Bench(tmp_path, channels)
    yield made
    made.stop()


def test_a_frame_is_answered_and_its_slot_given_back(bench: Bench) -> None:
    capture = bench.capture()
    bench.run()
    frame = bench.frame(7, slot=1, brightness=90)
    capture.send(Frame(frame=frame))
    assert bench.verdicts(1) == {7: (90.0, None)}
    assert bench.hear(capture, 2) == [Hello(held=()), Release(slot=1, generation=frame.generation)]
    capture.close()


def test_what_a_dead_capture_had_sent_is_judged_although_its_successor_is_linked_first(bench: Bench) -> None:
    dead = bench.capture()
    bench.inspection._hear_supervisor()
    dead.send(Frame(frame=bench.frame(7, slot=1, brightness=90)))
    dead.close()
    successor = bench.capture()
    bench.inspection._hear_supervisor()
    assert bench.hear(successor, 1) == [Hello(held=(1,))]
    bench.run()
    assert bench.verdicts(1) == {7: (90.0, None)}
    successor.close()


def test_an_overwritten_frame_is_torn_and_never_judged_by_the_picture_in_its_place(bench: Bench) -> None:
    capture = bench.capture()
    bench.inspection._hear_supervisor()
    capture.send(Frame(frame=bench.frame(7, slot=1, brightness=90)))
    capture.send(Frame(frame=bench.frame(8, slot=1, brightness=200)))
    bench.run()
    assert bench.verdicts(2) == {7: (None, Reason.TORN), 8: (200.0, None)}
    capture.close()


def test_a_slot_released_while_a_successor_is_told_what_is_held_is_not_lent_for_ever(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Release before Hello would name a slot that nobody gives back any more."""
    first = bench.capture()
    bench.inspection._hear_supervisor()
    frame = bench.frame(7, slot=1, brightness=90)
    first.send(Frame(frame=frame))
    bench.inspection._hear_capture("left")
    tell = bench.inspection._tell_capture
    answering = threading.Thread(
        target=bench.inspection._answer,
        args=[bench.inspection._by.judging, frame, error(Reason.CANNOT_JUDGE), NO_TIME],
        daemon=True,
    )

    def tell_late(camera: str, message: Hello | Release) -> None:
        if isinstance(message, Hello):
            answering.start()
            answering.join(0.1)
        tell(camera, message)

    monkeypatch.setattr(bench.inspection, "_tell_capture", tell_late)
    successor = bench.capture()
    bench.inspection._hear_supervisor()
    answering.join(PATIENCE_S)
    assert bench.hear(successor, 2) == [Hello(held=(1,)), Release(slot=1, generation=frame.generation)]
    bench.inspection._batcher = Batcher()  # so that the loop does not answer for it once more
    for channel in (first, successor):
        channel.close()


def test_each_shot_is_judged_and_counted_as_the_view_it_is(tmp_path: Path, channels: Connect) -> None:
    shot = [{"name": "bright", "role": "lid"}, {"name": "dark", "role": "rim"}]
    bench = Bench(tmp_path, channels, source="gige", address="none", shot=shot, trigger={"mode": "software"})
    capture = bench.capture()
    bench.inspection._hear_supervisor()
    for slot, view in enumerate(("left.bright", "left.dark")):
        capture.send(Frame(frame=bench.frame(7, slot, brightness=90 + slot, view=view)))
    bench.run()
    judged = [message for message in bench.hear(bench.publish, 2) if isinstance(message, Judged)]
    assert {one.frame.view: (one.verdict.score, one.verdict.detail) for one in judged} == {
        "left.bright": (90.0, "lid"),
        "left.dark": (91.0, "rim"),
    }
    counted = {one.labels: found[0] for one, found in bench.page.read() if one.metric.name.endswith("judged_total")}
    assert counted == {("left.bright",): 1, ("left.dark",): 1}
    bench.stop()
    capture.close()


def test_a_compressed_picture_that_was_cut_off_cannot_be_judged(bench: Bench) -> None:
    capture = bench.capture()
    bench.inspection._hear_supervisor()
    jpeg = cv2.imencode(".jpg", np.zeros(SIZE[::-1], np.uint8))[1][:FRAME_BYTES]
    capture.send(Frame(frame=bench.frame(7, 0, brightness=0, pixel_format="JPEG", used_bytes=len(jpeg))))
    bench.ring.buffers[0][: len(jpeg)] = jpeg
    capture.send(Frame(frame=bench.frame(8, 1, brightness=90)))
    bench.run()
    assert bench.verdicts(2) == {7: (None, Reason.CANNOT_JUDGE), 8: (90.0, None)}
    rows = bench.page.read()
    dropped = {one.labels: n[0] for one, n in rows if one.metric.name == "goldline_frames_dropped_total" and n[0]}
    assert dropped == {("left", "inspection", "cannot_judge"): 1}
    capture.close()
