"""Retention at work on a real outbox: in small steps, counted, and held up by a consumer only where that is wanted."""

import os
import time
from collections.abc import Callable, Iterator

import pytest
import zmq

from edge.border_config import OutboxConfig
from edge.committer import Committer, Decided
from edge.config import Station
from edge.decided_log import DecidedLog, decided_path
from edge.keeper import PRUNE_S, Keeper, now
from edge.lived import Instant
from edge.messages import Acknowledged
from edge.metrics import Page, page_size
from edge.outbox import Outbox
from edge.outbox_health import UNACKNOWLEDGED
from edge.publish import outbox_path
from edge.records import Reason, error
from edge.retention import DAY_NS
from tests.publish_line import lines
from tests.test_outbox import SOURCE, draft

KEPT_BYTES = 400_000


@pytest.fixture
def page() -> Page:
    memory = os.memfd_create("page")
    os.ftruncate(memory, page_size("publish", ()))
    made = Page(memory, "publish", ())
    os.close(memory)
    return made


@pytest.fixture
def outbox(tmp_path) -> Iterator[Outbox]:
    with Outbox(tmp_path / "outbox", "run") as made:
        made.commit([draft(number, error(Reason.TORN, "x" * 2000)) for number in range(1, 601)])
        yield made


def keeper(outbox: Outbox, page: Page, clock: Callable[[], Instant] = now, **changes: object) -> Keeper:
    # Less than may be configured: filling 16 MiB takes its time.
    known = {"max_bytes": KEPT_BYTES, "max_days": 1e6, "reserve_bytes": 1 << 20}
    return Keeper(outbox, OutboxConfig.model_construct(**(known | changes)), page, clock)


def metric(page: Page, name: str) -> float:
    (value,) = (values[0] for series, values in page.read() if series.metric.name == f"goldline_outbox_{name}")
    return value


def tend_through(kept: Keeper) -> int:
    turns = 1
    while kept.tend():
        turns += 1
    return turns


def test_the_oldest_go_until_there_is_room_a_few_milliseconds_at_a_time(outbox, page):
    kept = keeper(outbox, page)
    longest_s, has_more = 0.0, True
    while has_more:
        before_s = time.process_time()
        has_more = kept.tend()
        longest_s = max(longest_s, time.process_time() - before_s)
    # By the processor's own time: a turn ends with the step in which its time is up.
    assert longest_s < 10 * PRUNE_S
    assert outbox.extent().used_bytes <= KEPT_BYTES
    assert 1 < outbox.low < 600
    assert [one.sequence for one in outbox.read(1, 1000)] == list(range(outbox.low, 601))
    assert metric(page, "pruned_total") == outbox.low - 1
    assert metric(page, "low_sequence") == outbox.low
    assert metric(page, "pruned_unacknowledged_total") == 0


def test_what_a_consumer_has_not_fetched_goes_counted(outbox, page):
    outbox.commit([], {"mes": 10})
    kept = keeper(outbox, page)
    kept.tend()
    assert [alarm.name for alarm in kept.health.alarms] == [UNACKNOWLEDGED]
    tend_through(kept)
    assert metric(page, "pruned_unacknowledged_total") == outbox.low - 1 - 10
    assert metric(page, "unacknowledged_events") == 600 - outbox.low + 1
    assert kept.health.refusal is None


def test_or_it_stays_and_no_trigger_is_accepted_until_it_is_fetched(outbox, page):
    outbox.commit([], {"mes": 10})
    kept = keeper(outbox, page, when_unacknowledged="stop")
    tend_through(kept)
    assert outbox.low == 11
    assert kept.health.refusal == "the outbox is full of events that consumer 'mes' has not acknowledged"
    # What was accepted before is written all the same.
    assert outbox.commit([draft(601)])[0].sequence == 601
    outbox.commit([], {"mes": 601})
    tend_through(kept)
    assert kept.health.refusal is None
    assert kept.health.alarms == ()


class Clock:
    """What a machine tells whose time of day may be set."""

    def __init__(self) -> None:
        self.lived_days, self.off_by_days, self.boots = 0.0, 0.0, 1

    def __call__(self) -> Instant:
        utc_ns = 1_800_000_000 * 10**9 + int((self.lived_days + self.off_by_days) * DAY_NS)
        return Instant(utc_ns, int(self.lived_days * DAY_NS), str(self.boots))


def test_what_is_too_old_goes(outbox, page):
    clock = Clock()
    kept = keeper(outbox, page, clock, max_bytes=1 << 30, max_days=90)
    for clock.lived_days in range(90):
        tend_through(kept)
    assert (outbox.low, outbox.head) == (1, 600)
    outbox.commit([draft(601)])
    for clock.lived_days in (91, 92):
        tend_through(kept)
    assert (outbox.low, outbox.head) == (601, 601)
    assert metric(page, "pruned_total") == 600


@pytest.mark.parametrize("days", [1 / 24, 300, 3650, -3650])
def test_a_clock_that_jumps_takes_nothing_and_calls_nobody_late(outbox, page, days):
    clock = Clock()
    outbox.commit([], {"mes": 10})
    kept = keeper(outbox, page, clock, max_bytes=1 << 30, max_days=90)
    for clock.lived_days in range(60):
        tend_through(kept)
    clock.off_by_days = days
    tend_through(kept)
    assert outbox.low == 1
    assert kept.health.alarms == ()
    # Nor is what a restart finds, or a start of the machine.
    for clock.boots in (1, 2, 3):
        tend_through(keeper(outbox, page, clock, max_bytes=1 << 30, max_days=90))
        assert outbox.low == 1
    # And what is old by then goes in spite of it.
    clock.lived_days, kept = 95, keeper(outbox, page, clock, max_bytes=1 << 30, max_days=90)
    tend_through(kept)
    assert outbox.low == 601


def test_what_consumers_acknowledge_is_on_disk_and_of_another_stream_it_is_not(tmp_path):
    with lines(tmp_path) as make:
        line = make()
        line.start()
        line.link("inspection")
        line.capture()
        for _ in range(3):
            line.judge(line.open().trigger_id)
        line.subscriber.wait(3)
        stream = str(line.subscriber.headers[0].stream)
        sync = line.link("sync")
        sync.send(Acknowledged(consumer="mes", upto=2, stream=stream))
        sync.send(Acknowledged(consumer="spc", upto=0, stream=stream))
        sync.send(Acknowledged(consumer="mes", upto=3, stream="00000000-0000-0000-0000-000000000001"))
        line.wait_until(lambda: line.metric("goldline_outbox_unacknowledged_events") == 3, "the slowest is known")
        assert line.stop() == 0
        with Outbox(outbox_path(line.station), "reader") as outbox:
            assert [(one.name, one.upto) for one in outbox.consumers()] == [("mes", 2), ("spc", 0)]


def test_what_was_acknowledged_of_an_outbox_that_breaks_says_nothing_about_the_next(tmp_path, page):
    station = Station.model_validate({"state_dir": tmp_path, "runtime_dir": tmp_path / "run"})
    decided = DecidedLog.create_or_resume(decided_path(tmp_path), "s1")
    with zmq.Context() as context, context.socket(zmq.XPUB) as live, Outbox(tmp_path / "outbox", "run") as outbox:
        committer = Committer(outbox, decided, live, SOURCE, page, station)
        outbox.commit([draft(number) for number in range(1, 4)])
        committer.submit(Acknowledged(consumer="mes", upto=3, stream=str(outbox.stream)))
        committer._take()
        outbox.set_aside(time.time_ns(), "a test")
        committer._commit([Decided(draft=draft(number), record=None) for number in range(4, 8)])
        assert outbox.head == 4
        assert outbox.consumers() == []
        committer.submit(Acknowledged(consumer="mes", upto=2, stream=str(outbox.stream)))
        committer._take()
        committer._commit([])
        assert [(one.name, one.upto) for one in outbox.consumers()] == [("mes", 2)]
