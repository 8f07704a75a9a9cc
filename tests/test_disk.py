"""Disks that hang, fill up, fail, or spoil what is on them: every trigger is answered, and nothing is lost in silence."""

import resource
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge import events, unkept
from edge.client import ask
from edge.decided_log import DecidedLog, decided_path
from edge.events import Event
from edge.messages import Ids, WantIds
from edge.publish import outbox_path
from edge.records import Reason
from tests.publish_line import PATIENCE_S, Line, until
from tests.small_disk import Disk, SmallDisk, any_disk, small_disk

# Longer than any deadline here, and than the outbox waits for a lock.
HELD_S = 5.0


@pytest.fixture
def disk(tmp_path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path, 24) as made:
        yield made


@pytest.fixture
def room(tmp_path) -> Iterator[Disk]:
    with any_disk(tmp_path, 24) as made:
        yield made


def started(line: Line) -> Line:
    line.start()
    line.link("inspection")
    line.capture()
    return line


def on_disk(make_line: Callable[..., Line], disk: Disk, **outbox: object) -> Line:
    return started(make_line(state_dir=disk.path / "state", outbox={"reserve_bytes": 1 << 20, **outbox}))


def judge_some(line: Line, count: int) -> list[int]:
    """So many triggers of the free camera, each judged; new ids are asked for when they run out."""
    opened: list[int] = []
    for _ in range(count):
        if line.logs["left"].next_id() is None:
            line.send("capture@left", WantIds())
            ids = line.hear("capture@left")
            assert isinstance(ids, Ids)
            line.logs["left"].add_ids(ids.first, ids.last)
        opened.append(line.open().trigger_id)
        line.judge(opened[-1])
    return opened


def decided_ids(line: Line) -> list[int | None]:
    log = DecidedLog.attach(decided_path(line.station.runtime_dir))
    assert log is not None
    found = [events.decode(one.event).data.trigger_id for one in log.read_all()]
    log.close()
    return found


def alarm(line: Line, name: str) -> Callable[[], bool]:
    return lambda: line.metric("goldline_outbox_alarm", alarm=name) == 1


def answer(line: Line) -> dict:
    return ask(line.station.events.command, {"verb": "trigger", "camera": "right"}, PATIENCE_S)


def is_refused(line: Line) -> bool:
    return not answer(line)["accepted"]


def is_accepted(line: Line) -> bool:
    return answer(line)["accepted"]


def named(stored: list[Event]) -> list[int]:
    """The ids that events say have no record."""
    lost = [event for event in stored if event.data.reason is Reason.INTERRUPTED]
    assert all(event.data.detail == unkept.DETAIL for event in lost)
    return [number for event in lost for gap in event.data.interrupted for number in range(gap.first, gap.last + 1)]


def assert_each_kept_or_named(line: Line, opened: list[int]) -> None:
    stored = line.stored()
    kept = [event.data.trigger_id for event in stored if event.data.trigger_id is not None]
    assert max(Counter(kept).values()) == 1
    assert set(opened) <= set(kept) | set(named(stored))
    assert not set(kept) & set(named(stored))
    assert [int(event.sequence) for event in stored] == list(range(1, len(stored) + 1))


def test_a_disk_that_hangs_delays_events_and_nothing_else(make_line, disk):
    line = on_disk(make_line, disk)
    judged = judge_some(line, 3)
    line.subscriber.wait(3)
    disk.hold()
    held_since_s = time.monotonic()
    judged += judge_some(line, 20)
    unanswered = line.open(deadline_ms=100)
    line.wait_until(lambda: line.metric("goldline_verdicts_total", camera="left", verdict="PASS") == 23, "all decided")
    line.wait_until(lambda: line.metric("goldline_errors_total", camera="left", reason="deadline") == 1, "its deadline")
    assert set(decided_ids(line)) >= {*judged, unanswered.trigger_id}
    # There is no process for this camera: it is answered with that, at once, and from the commands' own log.
    ordered = answer(line)["trigger_id"]
    line.wait_until(lambda: line.metric("goldline_errors_total", camera="right", reason="camera_down") == 1, "answered")
    line.subscriber.hear(100)
    assert len(line.subscriber.events) == 3
    time.sleep(max(0.0, HELD_S - (time.monotonic() - held_since_s)))
    disk.let_go()
    line.subscriber.wait(25)
    assert line.stop() == 0
    assert_each_kept_or_named(line, [*judged, unanswered.trigger_id, ordered])
    assert named(line.stored()) == []


def test_a_full_disk_keeps_what_is_in_flight_and_takes_no_more_until_there_is_room(make_line, room):
    line = on_disk(make_line, room)
    judged = judge_some(line, 3)
    in_flight = line.open()
    room.fill()
    # The last that fits, and what comes after it: into the reserve.
    line.wait_until(lambda: (judged.extend(judge_some(line, 20)), alarm(line, "disk_full")())[1], "the disk is full")
    assert line.wait_until(lambda: is_refused(line), "refused")
    assert "the disk is full" in answer(line)["error"]
    line.wait_until(lambda: line.hear_runs() is False, "capture is told")
    line.judge(in_flight.trigger_id)
    judged.append(in_flight.trigger_id)
    written = lambda: line.metric("goldline_events_written_total") >= len(judged)  # noqa: E731
    line.wait_until(written, "what was in flight is on disk")
    room.empty()
    line.wait_until(lambda: is_accepted(line), "it goes on by itself")
    assert not alarm(line, "disk_full")()
    judged += judge_some(line, 3)
    assert line.stop() == 0
    assert_each_kept_or_named(line, judged)
    assert named(line.stored()) == []


def test_a_full_disk_under_policy_lanes_answers_on_and_names_what_it_could_not_keep(make_line, room):
    line = on_disk(make_line, room, when_disk_full="lanes")
    judged = judge_some(line, 3)
    room.fill()
    unkept_total = lambda: line.metric("goldline_outbox_unkept_total")  # noqa: E731
    line.wait_until(lambda: (judged.extend(judge_some(line, 100)), unkept_total() > 0)[1], "nothing can be kept")
    judged += judge_some(line, 1100)
    line.wait_until(
        lambda: line.metric("goldline_verdicts_total", camera="left", verdict="PASS") == len(judged), "all decided"
    )
    assert judged[-1] in decided_ids(line)
    assert is_accepted(line)
    # The death of publish takes none of the knowledge what is missing.
    line.wait_until(lambda: unkept_total() + line.metric("goldline_events_written_total") > len(judged), "all let go")
    line.kill()
    room.empty()
    started(line)
    line.wait_until(lambda: not alarm(line, "disk_full")(), "there is room")
    judged += judge_some(line, 3)
    assert line.stop() == 0
    stored = line.stored()
    assert sum(event.data.reason is Reason.INTERRUPTED for event in stored) == 1
    assert_each_kept_or_named(line, judged)


def test_publish_comes_up_on_a_full_disk_by_the_room_of_the_reserve(make_line, room):
    line = on_disk(make_line, room)
    judged = judge_some(line, 3)
    line.subscriber.wait(3)
    line.kill()
    # What SQLite needs to open its files is gone with them.
    Path(f"{outbox_path(line.station)}-shm").unlink()
    room.fill()
    assert room.free_bytes < 4096 * 4
    started(line)
    assert line.wait_until(lambda: is_refused(line), "refused")
    assert alarm(line, "disk_full")()
    room.empty()
    line.wait_until(lambda: is_accepted(line), "it goes on by itself")
    judged += judge_some(line, 3)
    assert line.stop() == 0
    assert_each_kept_or_named(line, judged)


def test_a_disk_that_turns_read_only_ends_nothing(make_line, disk):
    line = on_disk(make_line, disk)
    judge_some(line, 3)
    line.subscriber.wait(3)
    in_flight = line.open()
    disk.breaks()
    line.judge(in_flight.trigger_id)
    line.wait_until(alarm(line, "disk_failed"), "the alarm")
    assert line.wait_until(lambda: is_refused(line), "refused")
    assert "the outbox cannot be used" in answer(line)["error"]
    line.wait_until(lambda: in_flight.trigger_id in decided_ids(line), "what was accepted is decided")
    # Even a stop is one.
    assert line.stop() == 0


@pytest.mark.parametrize("policy", ["stop", "lanes"])
def test_writes_that_fail_and_come_back(make_line, policy):
    """By a limit on the size of files: the kernel refuses what SQLite writes, as a worn disk would."""
    line = started(make_line(outbox={"reserve_bytes": 1 << 20, "when_disk_full": policy}))
    judged = judge_some(line, 3)
    line.subscriber.wait(3)
    assert line.child.popen is not None
    resource.prlimit(line.child.popen.pid, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
    judged += judge_some(line, 30)
    line.wait_until(alarm(line, "disk_failed"), "the alarm")
    # Judged before the refusal was noticed, or all the same.
    line.wait_until(
        lambda: line.metric("goldline_verdicts_total", camera="left", verdict="PASS") == len(judged), "all decided"
    )
    assert is_refused(line) == (policy == "stop")
    resource.prlimit(line.child.popen.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    line.wait_until(lambda: not alarm(line, "disk_failed")(), "it goes on by itself")
    assert line.wait_until(lambda: is_accepted(line), "accepted")
    judged += judge_some(line, 3)
    line.wait_until(lambda: line.metric("goldline_triggers_in_flight", camera="left") == 0, "all decided")
    assert line.stop() == 0
    assert_each_kept_or_named(line, judged)
    assert bool(named(line.stored())) == (policy == "lanes")


def test_an_outbox_that_breaks_in_use_is_set_aside_and_the_station_goes_on(make_line):
    line = started(make_line())
    path = outbox_path(line.station)
    # More than SQLite keeps in memory, folded into the file.
    before = judge_some(line, 900)
    line.subscriber.wait(len(before))
    stream = line.subscriber.headers[-1].stream
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    spoil(path)
    after = judge_some(line, 50)
    line.wait_until(alarm(line, "outbox_set_aside"), "set aside")
    after += judge_some(line, 3)
    line.wait_until(lambda: (line.subscriber.hear(5), line.subscriber.headers[-1].stream != stream)[1], "a new stream")
    until(lambda: after[-1] in [event.data.trigger_id for event in line.stored_now()], "kept")
    line.subscriber.wait(len(before) + len(after))
    (aside,) = (one for one in path.parent.glob("*.corrupt-*") if not one.name.endswith(("-wal", "-shm")))
    assert line.stop() == 0
    kept = [event.data.trigger_id for event in line.stored() if event.data.trigger_id is not None]
    heard = [event.data.trigger_id for event in line.subscriber.events]
    # Each was said once, by the old stream or the new one.
    assert sorted(heard) == sorted({*before, *after})
    assert set(after) - set(kept) <= set(heard)
    assert aside.stat().st_size > 0


def test_an_outbox_whose_reserved_ids_cannot_be_read_is_set_aside_at_start(make_line):
    line = started(make_line())
    judge_some(line, 3)
    line.subscriber.wait(3)
    assert line.stop() == 0
    line.child.reap(time.monotonic())
    spoil_table(outbox_path(line.station), "reservations")
    line.start()
    line.wait_until(alarm(line, "outbox_set_aside"), "set aside")


def spoil(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(8192)
        file.write(b"\x5a" * (path.stat().st_size - 8192))


def spoil_table(path: Path, table: str) -> None:
    """Its root page; what is read of the file when it is opened stays whole."""
    with sqlite3.connect(path) as database:
        (page,) = database.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()
        (size,) = database.execute("PRAGMA page_size").fetchone()
    database.close()
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xa5" * size)
