"""Who has which slot: between the camera, capture and inspection, over real sockets, ring and trigger log."""

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from edge import ring
from edge.cameras.camera import CameraInfo, CapturedFrame
from edge.channel import Channel
from edge.handover import FREE_RUNNING_LENT, Handover
from edge.messages import AnyMessage, Fire, Frame, Hello, Ids, Opened, Release, Run, Unjudged, WantIds
from edge.metrics import Page, page_size
from edge.promises import Promises
from edge.records import Reason, Trigger
from edge.trigger_log import OpenedLog, opened_path

Connect = Callable[[], tuple[Channel, Channel]]
SLOTS = 4
INFO = CameraInfo(
    vendor="v", model="m", serial="s", width=10, height=10, pixel_format="Mono8", frame_bytes=100, period_s=None
)


class Bench:
    """A handover with both of its neighbours played by the test."""

    def __init__(self, runtime: Path, connect: Connect, *, latest_wins: bool, slots: int = SLOTS) -> None:
        self.connect = connect
        descriptor = os.memfd_create("page")
        os.posix_fallocate(descriptor, 0, page_size("capture@left", ("left",)))
        self.page = Page(descriptor, "capture@left", ("left",))
        memory = ring.create("ring", slots, 100)
        self.ring = ring.Ring(memory, slots, 100)
        os.close(descriptor)
        os.close(memory)
        self.accepted: list[Trigger] = []
        self.path = opened_path(runtime, "left")
        log = OpenedLog.create_or_resume(self.path, "left")
        self.promises = Promises(log, "left", 100.0, self.accepted.append)
        theirs, publish = connect()
        self.publish = publish
        self.promises.connect(theirs)
        publish.send(Run(is_on=True))
        assert self.promises.hear()
        self.released: list[int] = []
        self.handover = Handover(
            "left", self.ring, self.promises, self.page, latest_wins=latest_wins, release=self.released.append
        )
        self.handover.begin(INFO)
        self.frame_id = 0

    def link(self, held: tuple[int, ...] = ()) -> Channel:
        """Another incarnation of inspection, which has said hello."""
        ours, theirs = self.connect()
        self.handover.connect(ours)
        theirs.send(Hello(held=held))
        assert self.handover.hear()
        return theirs

    def frame(self, slot: int, trigger: Trigger | None = None) -> None:
        self.frame_id += 1
        captured = CapturedFrame(
            slot=slot, frame_id=self.frame_id, host_timestamp_ns=1_000 * self.frame_id, host_timestamp_utc_ns=0,
            device_timestamp_ns=None, complete=True,
        )  # fmt: skip
        self.handover.put(replace(self.handover.take(captured), trigger=trigger))

    def said(self, kind: type[AnyMessage]) -> list[AnyMessage]:
        return [message for message in self.publish.drain() if isinstance(message, kind)]

    def logged(self) -> dict[int, bool]:
        """Trigger ids in the log, and whether they were handed to inspection."""
        reader = OpenedLog.attach(self.path)
        assert reader is not None
        ids = [trigger.trigger_id for trigger in reader.read_new()]
        handed = {trigger_id: reader.is_handed(trigger_id) for trigger_id in ids}
        reader.close()
        return handed


@pytest.fixture
def free(tmp_path: Path, channels: Connect) -> Iterator[Bench]:
    bench = Bench(tmp_path, channels, latest_wins=True)
    bench.promises.keep_up()
    assert bench.said(WantIds)
    bench.publish.send(Ids(first=100, last=199))
    assert bench.promises.hear()
    yield bench
    bench.promises.close(clean=True)


def trigger(trigger_id: int) -> Trigger:
    return Trigger(
        trigger_id=trigger_id, camera="left", source="software", opened_ns=0, opened_utc_ns=0, deadline_ns=10**12
    )


def frames(inspection: Channel) -> list[tuple[int, int]]:
    return [(m.frame.slot, m.frame.trigger_id) for m in inspection.drain() if isinstance(m, Frame)]


def test_nothing_is_promised_before_inspection_takes_it(free: Bench) -> None:
    for slot in (0, 1, 2):
        free.frame(slot)
    assert free.logged() == {} and free.released == [0, 1]
    inspection = free.link()
    assert frames(inspection) == [(2, 100)], "the latest wins"
    assert free.logged() == {100: True}
    assert [m.trigger.trigger_id for m in free.said(Opened) if isinstance(m, Opened)] == [100]


def test_inspection_never_has_more_than_two_and_gets_the_latest_next(free: Bench) -> None:
    inspection = free.link()
    for slot in range(SLOTS):
        free.frame(slot)
    assert frames(inspection) == [(0, 100), (1, 101)]
    assert free.handover.lent == FREE_RUNNING_LENT and free.released == [2]
    inspection.send(Release(slot=0, generation=2))
    assert free.handover.hear()
    assert frames(inspection) == [(3, 102)] and free.released == [2, 0]


def test_a_death_is_answered_for_and_its_slots_come_back(free: Bench) -> None:
    inspection = free.link()
    free.frame(0)
    free.frame(1)
    inspection.close()
    assert not free.handover.hear()
    free.handover.reclaim()
    answers = free.said(Unjudged)
    assert [(a.trigger_id, a.reason) for a in answers if isinstance(a, Unjudged)] == [
        (100, Reason.WORKER_CRASH),
        (101, Reason.WORKER_CRASH),
    ]
    assert sorted(free.released) == [0, 1] and free.handover.taken == 0
    assert not any(free.ring.is_intact(slot, 2) for slot in (0, 1)), "a successor must not read them"


def test_a_restarted_capture_leaves_inspection_what_it_holds(free: Bench) -> None:
    inspection = free.link(held=(1, 3))
    assert not free.handover.is_settled and free.handover.lent == 2
    inspection.send(Release(slot=1, generation=2))
    inspection.send(Release(slot=3, generation=2))
    assert free.handover.hear()
    assert free.handover.is_settled and free.said(Unjudged) == []


def test_slots_of_a_larger_ring_that_went_before_are_none_of_its_own(free: Bench) -> None:
    inspection = free.link(held=(1, SLOTS + 2))
    assert free.handover.lent == 1
    inspection.send(Release(slot=SLOTS + 2, generation=2))
    inspection.send(Release(slot=1, generation=2))
    assert free.handover.hear()
    assert free.handover.is_settled
    assert free.released == [1]


def test_a_release_said_twice_counts_once(free: Bench) -> None:
    inspection = free.link()
    free.frame(0)
    for _ in range(2):
        inspection.send(Release(slot=0, generation=2))
    assert free.handover.hear()
    assert free.released == [0]


def test_a_word_about_an_earlier_frame_of_a_slot_takes_nothing_back(free: Bench) -> None:
    inspection = free.link()
    free.frame(0)
    inspection.send(Release(slot=0, generation=2))
    assert free.handover.hear()
    free.frame(0)
    inspection.send(Release(slot=0, generation=2))
    assert free.handover.hear()
    assert free.released == [0] and free.handover.lent == 1
    inspection.send(Release(slot=0, generation=4))
    assert free.handover.hear()
    assert free.released == [0, 0] and free.handover.lent == 0


def test_triggered_frames_go_first_in_first_out_each_with_its_trigger(tmp_path: Path, channels: Connect) -> None:
    bench = Bench(tmp_path, channels, latest_wins=False)
    for number in range(SLOTS):
        assert bench.promises.write(trigger(number))
        bench.frame(number, trigger(number))
    assert frames(bench.link()) == [(n, n) for n in range(SLOTS)]
    assert bench.logged() == dict.fromkeys(range(SLOTS), True) and bench.released == []
    bench.promises.close(clean=True)


def test_the_frame_of_a_view_goes_on_under_its_camera_and_is_not_the_whole_part(
    tmp_path: Path, channels: Connect
) -> None:
    bench = Bench(tmp_path, channels, latest_wins=False)
    inspection = bench.link()
    alone = trigger(7)
    view = msgspec.structs.replace(alone, trigger_id=8, camera="box", views=("left", "right"))
    for slot, one in enumerate((alone, view)):
        assert bench.promises.write(one)
        bench.frame(slot, one)
    handed = [message.frame for message in inspection.drain() if isinstance(message, Frame)]
    assert [(one.camera, one.trigger_id, one.is_part) for one in handed] == [("left", 7, True), ("left", 8, False)]
    assert bench.logged() == {7: True, 8: True}
    bench.promises.close(clean=True)


def test_frames_that_cannot_be_handed_over_are_answered_for(tmp_path: Path, channels: Connect) -> None:
    bench = Bench(tmp_path, channels, latest_wins=False)
    assert bench.promises.write(trigger(7))
    bench.frame(2, trigger(7))
    bench.handover.abandon(Reason.SHUTDOWN)
    answers = [(a.trigger_id, a.reason) for a in bench.said(Unjudged) if isinstance(a, Unjudged)]
    assert answers == [(7, Reason.SHUTDOWN)] and bench.released == [2] and bench.logged() == {7: False}
    bench.promises.close(clean=True)


def test_without_ids_a_frame_is_dropped_and_counted_not_promised(tmp_path: Path, channels: Connect) -> None:
    bench = Bench(tmp_path, channels, latest_wins=True)
    bench.link()
    bench.frame(0)
    assert bench.released == [0] and bench.logged() == {}
    dropped = {s.labels: v for s, v in bench.page.read() if s.metric.name == "goldline_frames_dropped_total"}
    assert dropped["left", "capture", "overrun"] == (1.0,)
    bench.promises.close(clean=True)


def test_answers_wait_for_a_ledger_that_is_away(tmp_path: Path, channels: Connect) -> None:
    bench = Bench(tmp_path, channels, latest_wins=True)
    bench.publish.close()
    assert not bench.promises.hear()
    bench.promises.connect(None)
    bench.promises.unjudged(5, Reason.CAMERA_DOWN, "no camera")
    ours, theirs = channels()
    bench.promises.connect(ours)
    bench.promises.keep_up()
    assert [m for m in theirs.drain() if isinstance(m, Unjudged)] == [
        Unjudged(trigger_id=5, reason=Reason.CAMERA_DOWN, detail="no camera")
    ]
    theirs.send(Fire(trigger=trigger(8)))
    assert bench.promises.hear() and bench.accepted == [trigger(8)]
    bench.promises.close(clean=True)
