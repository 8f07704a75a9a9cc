"""Publish comes up whatever is wrong with its state directory: it says why, answers what is in flight, and recovers."""

import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.client import ask
from edge.keeper import RETRY_S, open_outbox
from edge.outbox import Outbox, OutboxError
from edge.outbox_file import MOST_ASIDE, Trouble
from edge.publish import outbox_path
from edge.records import Reason
from edge.unopened import NO_STREAM, Unopened, opened
from tests.publish_line import PATIENCE_S, Line, until
from tests.small_disk import Disk, any_disk, read_only, small_disk
from tests.test_disk import (
    answer,
    assert_each_kept_or_named,
    decided_ids,
    is_accepted,
    judge_some,
    named,
    spoil_table,
    started,
)
from tests.test_outbox import RUNTIME, draft


@pytest.fixture
def room(tmp_path) -> Iterator[Disk]:
    with any_disk(tmp_path, 24) as made:
        yield made


def state(line: Line) -> dict:
    return ask(line.station.events.command, {"verb": "state"}, PATIENCE_S)


def come_up(line: Line) -> None:
    """Without an outbox there is no heartbeat to wait for."""
    line.child.start(time.monotonic())
    line.link("inspection")
    line.wait_until(lambda: state(line)["state"] in ("Error", "ContinuousExecution"), "it answers")


def recovers(line: Line) -> None:
    """It ends by itself, and is started again as by its supervisor; or goes on where it could open the outbox."""
    popen = line.child.popen
    assert popen is not None

    def is_well() -> bool:
        return not any(line.metric("goldline_outbox_alarm", alarm=name) for name in ("disk_failed", "disk_full"))

    until(lambda: popen.poll() is not None or is_well(), "it ends, or goes on")
    if popen.poll() is not None:
        assert popen.returncode == 0
        line.child.reap(time.monotonic())
        started(line)
    assert line.wait_until(lambda: is_accepted(line), "it takes triggers")


def assert_in_error(line: Line, name: str, *words: str) -> None:
    alarms = lambda: [alarm["text"] for alarm in state(line)["alarms"] if alarm["name"] == name]  # noqa: E731
    (text,) = line.wait_until(alarms, "the alarm")
    assert state(line)["state"] == "Error"
    assert all(word in text for word in words), text
    assert answer(line) == {**answer(line), "accepted": False, "error": text}
    assert line.metric("goldline_outbox_alarm", alarm=name) == 1
    line.wait_until(lambda: (line.subscriber.hear(5), text.encode() in b"".join(line.subscriber.states))[1], "on LIVE")


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_read_only_at_the_start_answers_what_is_in_flight_and_recovers_by_itself(make_line, end):
    line = started(make_line())
    judged = judge_some(line, 3)
    line.subscriber.wait(3)
    in_flight = []
    if end == "stop":
        assert line.stop() == 0
        line.child.reap(time.monotonic())
    else:
        in_flight = [line.open(deadline_ms=300).trigger_id]
        line.kill()
    with read_only(line.station.state_dir):
        come_up(line)
        assert_in_error(line, "disk_failed", str(line.station.state_dir), "read")
        line.link("capture@left")
        line.wait_until(lambda: line.hear_runs("capture@left") is False, "capture is told to open none")
        until(lambda: set(in_flight) <= set(decided_ids(line)), "what was accepted is decided")
    recovers(line)
    assert line.metric("goldline_outbox_alarm", alarm="disk_failed") == 0
    judged += judge_some(line, 3)
    line.wait_until(lambda: line.metric("goldline_triggers_in_flight", camera="left") == 0, "all decided")
    assert line.stop() == 0
    stored = line.stored()
    assert_each_kept_or_named(line, [*judged, *in_flight])
    assert named(stored) == []
    late = {event.data.trigger_id: event.data.reason for event in stored}
    assert all(late[number] is Reason.DEADLINE for number in in_flight)
    line.assert_in_balance()


def test_under_policy_lanes_it_answers_on_and_names_what_it_could_not_keep(make_line):
    line = started(make_line(outbox={"reserve_bytes": 1 << 20, "when_disk_full": "lanes"}))
    judged = judge_some(line, 3)
    line.subscriber.wait(3)
    assert line.stop() == 0
    line.child.reap(time.monotonic())
    with read_only(line.station.state_dir):
        come_up(line)
        line.capture()
        unkept = judge_some(line, 5)
        assert is_accepted(line)
        line.wait_until(lambda: line.metric("goldline_outbox_unkept_total") >= 5, "let go")
    assert not set(judged) & set(unkept)
    recovers(line)
    line.wait_until(lambda: set(unkept) <= set(named(line.stored_now())), "named")
    judged += judge_some(line, 3)
    assert line.stop() == 0
    assert len(set(judged) | set(unkept)) == 11
    assert_each_kept_or_named(line, judged + unkept)


def test_a_full_disk_at_the_very_first_start(make_line, room):
    line = make_line(state_dir=room.path / "state", outbox={"reserve_bytes": 1 << 20})
    room.fill()
    come_up(line)
    assert_in_error(line, "disk_full", str(room.path), "the disk is full")
    room.empty()
    recovers(line)
    assert line.stop() == 0
    assert int(line.stored()[0].sequence) == 1


def test_what_cannot_be_a_folder_is_named(make_line, tmp_path):
    (tmp_path / "state").write_text("a file")
    line = make_line()
    come_up(line)
    assert_in_error(line, "disk_failed", str(tmp_path / "state"), "exists")
    (tmp_path / "state").unlink()
    recovers(line)


@pytest.mark.parametrize("table", ["reservations", "counts"])
def test_one_that_breaks_where_it_is_met_and_may_not_be_set_aside_again(make_line, table):
    line = started(make_line())
    judge_some(line, 3)
    line.subscriber.wait(3)
    assert line.stop() == 0
    line.child.reap(time.monotonic())
    path = outbox_path(line.station)
    spoil_table(path, table)
    for number in range(MOST_ASIDE):
        path.with_name(f"{path.name}.corrupt-{number}Z").write_bytes(b"")
    come_up(line)
    assert_in_error(line, "disk_failed", str(path), "see to the disk, then move those away")
    # It has looked again by then, and does not end for what the next start could not read either.
    later_ns = time.monotonic_ns() + int(2 * RETRY_S * 1e9)
    line.wait_until(lambda: line.child.page.beat_ns > later_ns, "it stays")
    for one in path.parent.glob("*.corrupt-*"):
        one.unlink()
    recovers(line)
    assert len(list(path.parent.glob("*.corrupt-*Z"))) == 1


def test_a_disk_that_hangs_at_the_start_keeps_no_order_waiting(make_line, tmp_path):
    with small_disk(tmp_path, 24) as disk:
        line = started(make_line(state_dir=disk.path / "state"))
        judged = judge_some(line, 3)
        line.subscriber.wait(3)
        in_flight = line.open(deadline_ms=100).trigger_id
        line.kill()
        disk.hold()
        come_up(line)
        assert_in_error(line, "disk_failed", "the disk does not answer")
        until(lambda: in_flight in decided_ids(line), "what was accepted is decided")
        disk.let_go()
        recovers(line)
        assert line.stop() == 0
        assert_each_kept_or_named(line, [*judged, in_flight])


def looked_for(path: Path, problem: OutboxError) -> Unopened:
    """In place of one of which a start could not read whether trigger 1 has its event."""
    with Outbox(path, "run") as outbox:
        outbox.commit([draft(1)])
        found = Unopened.instead_of(outbox, problem)
    assert not found.has_event(1)
    return found


@pytest.mark.parametrize("table", ["answered", "counts"])
def test_what_opens_and_cannot_be_read_does_not_end_publish_over_and_over(tmp_path, table):
    found = looked_for(tmp_path / "outbox", OutboxError("a test", Trouble.FAILED))
    with sqlite3.connect(found.path) as database:
        database.execute(f"ALTER TABLE {table} RENAME TO away")
    with pytest.raises(OutboxError, match=f"no such table: {table}"):
        found.reopen()
    assert not found.can_be_opened
    with sqlite3.connect(found.path) as database:
        database.execute(f"ALTER TABLE away RENAME TO {table}")
    database.close()
    with pytest.raises(OutboxError):
        found.reopen()
    assert found.can_be_opened


def test_what_turns_out_broken_ends_publish_only_where_a_start_may_set_it_aside(tmp_path):
    found = looked_for(tmp_path / "outbox", OutboxError("a test", Trouble.CORRUPT))
    spoil_table(found.path, "counts")
    with pytest.raises(OutboxError) as broken:
        found.reopen()
    assert broken.value.trouble is Trouble.CORRUPT
    aside = [found.path.with_name(f"{found.path.name}.corrupt-{number}Z") for number in range(MOST_ASIDE)]
    for one in aside:
        one.write_bytes(b"")
    with pytest.raises(OutboxError, match="see to the disk, then move those away"):
        found.set_aside(0, "a test")
    assert not found.can_be_opened
    aside[0].unlink()
    with pytest.raises(OutboxError, match="malformed"):
        found.set_aside(0, "a test")
    assert found.can_be_opened


def test_one_that_comes_too_late_is_closed_and_publish_ends_for_it(tmp_path):
    may_go_on, made = threading.Event(), []

    def way(path: Path, run: str) -> Outbox:
        may_go_on.wait(PATIENCE_S)
        made.append(Outbox(path, run))
        return made[-1]

    found = opened(tmp_path / "outbox", "run", way, within_s=0.05)
    assert isinstance(found, Unopened)
    assert (found.stream, found.head, found.low) == (NO_STREAM, 0, 0)
    with pytest.raises(OutboxError, match="outbox: the outbox cannot be used: the disk does not answer"):
        found.commit([draft(1)])
    with pytest.raises(OutboxError, match="does not answer"):
        found.reopen()
    assert not found.can_be_opened
    may_go_on.set()

    def can_be_opened() -> bool:
        with pytest.raises(OutboxError):
            found.reopen()
        return found.can_be_opened

    until(can_be_opened, "it can be opened")
    # The thread that opened it closes it: SQLite's connections are nobody's while they are closed.
    for thread in threading.enumerate():
        if thread.name == "open":
            thread.join(PATIENCE_S)
    with pytest.raises(OutboxError, match="closed database"):
        made[0].commit([draft(1)])


def test_ids_that_are_given_without_a_database_are_beyond_those_it_gave(tmp_path):
    path = tmp_path / "outbox"
    with Outbox(path, "run") as outbox:
        block = outbox.reserve("left", RUNTIME)
    failing = OutboxError("a test", Trouble.FAILED)

    def way(_path: Path, _run: str) -> Outbox:
        raise failing

    first = opened(path, "run", way)
    given = [first.reserve_alone("left", RUNTIME)]
    # The next process knows by the file, or by the logs of those that hold them.
    second = opened(path, "run", way)
    second.adopt(RUNTIME, [("right", 2**50, 2**50 + 1023)])
    given.append(second.reserve_alone("left", RUNTIME))
    assert block[1] < given[0][0]
    assert given[0][1] < 2**50 + 1023 < given[1][0]
    with Outbox(path, "run") as outbox:
        assert outbox.reserve("left", RUNTIME)[0] > given[1][1]


def test_an_outbox_opens_at_once_where_nothing_is_wrong(tmp_path):
    with opened(tmp_path / "outbox", "run", open_outbox) as outbox:
        assert outbox.commit([draft(1)])[0].sequence == 1
