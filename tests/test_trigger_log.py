"""The trigger logs: whole records or none, whoever is killed; nothing unfinished is overwritten; ids never twice."""

import errno
import os
import random
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from edge import record_log
from edge.decided_log import DecidedLog
from edge.errors import GoldlineError
from edge.record_log import Full, RecordLog
from edge.trigger_log import IdBlock, OpenedLog, opened_path
from tests import values

WRITER = """
import sys
from pathlib import Path
from edge.trigger_log import Full, OpenedLog
from tests import values

path, slots = Path(sys.argv[1]), int(sys.argv[2])
log = OpenedLog.create_or_resume(path, "left", slots)
sys.stdout.write("up\\n")
sys.stdout.flush()
while True:
    if log.wants_ids:
        log.add_ids(*map(int, sys.stdin.readline().split()))
    number = log.next_id()
    # Lengths that differ, and records over several slots.
    one = values.trigger(number, unit_identifier="x" * (number * 37 % 1500))
    try:
        log.append(one)
    except Full:
        continue
    if number % 2:
        log.mark_handed(number)
"""


def test_a_reader_sees_what_the_writer_appends(tmp_path):
    path = opened_path(tmp_path, "left")
    assert OpenedLog.attach(path) is None
    writer = OpenedLog.create_or_resume(path, "left")
    reader = OpenedLog.attach(path)
    assert reader is not None
    assert writer.wants_ids
    writer.add_ids(5, 8)
    for number in (5, 6):
        assert writer.next_id() == number
        writer.append(values.trigger(number, expect={"variant": "oak"}))
    assert [one.trigger_id for one in reader.read_new()] == [5, 6]
    assert list(reader.read_new()) == []
    assert not reader.is_handed(6)
    writer.mark_handed(6)
    assert reader.is_handed(6)
    assert not reader.is_handed(5)
    with pytest.raises(KeyError):
        writer.mark_handed(99)


def test_a_new_writer_goes_on_with_records_and_ids(tmp_path):
    path = tmp_path / "log"
    writer = OpenedLog.create_or_resume(path, "left")
    writer.add_ids(1, 4)
    writer.append(values.trigger(1))
    writer.append(values.trigger(2))
    writer.mark_handed(1)
    again = OpenedLog.create_or_resume(path, "left")
    assert again.next_id() == 3
    assert again.wants_ids
    again.add_ids(101, 104)
    assert not again.wants_ids
    for number in (3, 4, 101):
        assert again.next_id() == number
        again.append(values.trigger(number))
    again.mark_handed(2)
    reader = OpenedLog.attach(path)
    assert reader is not None
    assert [one.trigger_id for one in reader.read_unclosed()] == [1, 2, 3, 4, 101]
    assert all(map(reader.is_handed, (1, 2)))
    again.surrender_ids()
    assert OpenedLog.create_or_resume(path, "left").next_id() is None


def test_what_another_version_wrote_is_let_go_with_a_word(tmp_path):
    """After a roll-back, say: its process would die of it again and again."""
    path = tmp_path / "log"
    writer = OpenedLog.create_or_resume(path, "left")
    writer.add_ids(1, 4)
    writer.append(values.trigger(1))
    writer._log.append(msgspec.msgpack.encode(msgspec.to_builtins(values.trigger(2)) | {"of_tomorrow": 1}))
    writer.close()
    with capture_logs() as said:
        assert OpenedLog.attach(path) is None
    assert any("of_tomorrow" in str(line) and str(path) in str(line) for line in said)
    again = OpenedLog.create_or_resume(path, "left")
    assert again.wants_ids and again.read_all() == []
    reader = OpenedLog.attach(path)
    assert reader is not None and reader.read_unclosed() == []


def test_a_log_of_the_version_before_is_read(tmp_path):
    path = tmp_path / "log"
    before = msgspec.to_builtins(values.trigger(2))
    del before["is_timed"]
    OpenedLog.create_or_resume(path, "left")._log.append(msgspec.msgpack.encode(before))
    assert OpenedLog.create_or_resume(path, "left").read_all() == [values.trigger(2)]


def test_an_id_whose_record_was_written_before_the_note_is_not_given_again(tmp_path, monkeypatch):
    path = tmp_path / "log"
    writer = OpenedLog.create_or_resume(path, "left")
    writer.add_ids(1, 4)
    monkeypatch.setattr(OpenedLog, "skip_ids", lambda *_: None)
    writer.append(values.trigger(1))
    monkeypatch.undo()
    assert OpenedLog.create_or_resume(path, "left").blocks == (IdBlock(1, 4, 2),)


def test_ids_of_others_do_not_use_up_a_block(tmp_path):
    writer = OpenedLog.create_or_resume(tmp_path / "log", "left")
    writer.add_ids(10, 19)
    writer.append(values.trigger(5_000, source="software"))
    assert writer.next_id() == 10


def test_an_unclosed_record_is_never_overwritten(tmp_path):
    path = tmp_path / "log"
    writer = OpenedLog.create_or_resume(path, "left", slots=8)
    reader = OpenedLog.attach(path)
    assert reader is not None
    for number in range(1, 9):
        writer.append(values.trigger(number))
    assert len(list(reader.read_new())) == 8
    with pytest.raises(Full, match="log"):
        writer.append(values.trigger(9))
    reader.mark_closed(2)
    with pytest.raises(Full):
        writer.append(values.trigger(9))
    reader.mark_closed(1)
    writer.append(values.trigger(9))
    writer.append(values.trigger(10))
    assert [one.trigger_id for one in reader.read_new()] == [9, 10]
    fresh = OpenedLog.attach(path)
    assert fresh is not None
    assert [one.trigger_id for one in fresh.read_unclosed()] == [3, 4, 5, 6, 7, 8, 9, 10]
    assert list(fresh.read_new()) == []


@given(st.lists(st.tuples(st.binary(max_size=90), st.booleans()), max_size=60), st.integers(0, 60))
@settings(max_examples=60)
def test_what_is_read_is_what_was_written(tmp_path_factory, steps, restart_at):
    path = tmp_path_factory.mktemp("log") / "log"
    log = RecordLog.resume(path, "x", 16, 32)
    reader = RecordLog.attach(path)
    assert reader is not None
    unfinished: dict[int, bytes] = {}
    cursor = 0
    for number, (body, is_finished) in enumerate(steps):
        if number == restart_at:
            log.close()
            log = RecordLog.resume(path, "x", 16, 32)
        try:
            index = log.append(body)
        except Full:
            # Refused for a reason: what it would take is not all finished with.
            assert len(body) + 24 > 4 * 32 or unfinished
            continue
        (seen,) = reader.follow(cursor)
        cursor = reader.after(seen)
        assert (seen.at, seen.body) == (index, body)
        unfinished[index] = body
        if is_finished:
            for one in list(unfinished):
                reader.mark(one)
            unfinished.clear()
        records, end = reader.unfinished()
        assert {one.at: one.body for one in records} == unfinished
        assert end == cursor
    log.close()
    reader.close()


@given(st.binary(min_size=1, max_size=60), st.binary(min_size=1, max_size=60), st.data())
@settings(max_examples=60)
def test_a_record_torn_at_any_byte_is_not_there(tmp_path_factory, old, new, data):
    path = tmp_path_factory.mktemp("log") / "log"
    log = RecordLog.create(path, "x", 4, 128)
    for _ in range(4):
        log.mark(log.append(old))
    before = path.read_bytes()
    index = log.append(new)
    after = path.read_bytes()
    log.close()
    at = record_log._PAGE * 2
    cut = data.draw(st.integers(0, 24 + len(new)))
    # Half of the new record over the old one, in either order: head first or body first.
    is_head_first = data.draw(st.booleans())
    torn = (
        after[at : at + cut] + before[at + cut : at + 128]
        if is_head_first
        else before[at : at + cut] + after[at + cut : at + 128]
    )
    path.write_bytes(before[:at] + torn + before[at + 128 :])
    reader = RecordLog.attach(path)
    assert reader is not None
    found = reader.read(index)
    assert found is None or found.body == new
    assert [one.body for one in reader.records() if one.at not in {0, index}] == [old] * 3
    reader.close()


def test_what_a_power_cut_leaves_is_replaced(tmp_path):
    path = tmp_path / "log"
    for rest in (b"", b"\0" * 10_000, b"short"):
        path.write_bytes(rest)
        assert OpenedLog.attach(path) is None
        log = OpenedLog.create_or_resume(path, "left", slots=8)
        assert log.read_unclosed() == []
        log.close()


def test_a_log_of_another_boot_is_not_opened(tmp_path, monkeypatch):
    path = tmp_path / "log"
    OpenedLog.create_or_resume(path, "left", slots=8).append(values.trigger(1))
    monkeypatch.setattr(record_log, "boot_identity", lambda: b"another boot 16b")
    assert OpenedLog.attach(path) is None
    assert OpenedLog.create_or_resume(path, "left", slots=8).read_unclosed() == []


def test_decisions_are_kept_until_they_are_committed(tmp_path):
    path = tmp_path / "decided"
    log = DecidedLog.create_or_resume(path, "station", slots=8)
    places = [log.append(b"event %d" % number) for number in range(8)]
    assert not log.has_room(10)
    log.mark_committed(places[0])
    assert log.has_room(10)
    again = DecidedLog.create_or_resume(path, "station", slots=8)
    assert again.identity == log.identity
    assert [(one.at, one.committed) for one in again.read_all()] == [(at, at == places[0]) for at in places]
    assert list(again.read_all())[3].event == b"event 3"


def test_a_killed_writer_leaves_whole_records_and_no_gap(tmp_path):
    """SIGKILL at random instants; a reader follows all the while, closing what it reads."""
    path, slots = tmp_path / "log", 64
    seen: list[int] = []
    reader: OpenedLog | None = None
    block = 1
    for _ in range(8):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), str(slots)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parent.parent,
        )
        assert writer.stdin is not None
        assert writer.stdout is not None
        writer.stdin.write(b"".join(b"%d %d\n" % (first, first + 499) for first in range(block, block + 50_000, 500)))
        writer.stdin.flush()
        block += 50_000
        assert writer.stdout.readline() == b"up\n"
        reader = reader or OpenedLog.attach(path)
        assert reader is not None
        enough = len(seen) + random.randint(1, 300)
        while len(seen) < enough:
            seen += _read_and_close(reader)
        time.sleep(random.uniform(0, 0.001))
        writer.send_signal(signal.SIGKILL)
        writer.communicate()
        seen += _read_and_close(reader)
        fresh = OpenedLog.attach(path)
        assert fresh is not None
        assert fresh.read_unclosed() == []
        fresh.close()
    assert len(set(seen)) == len(seen), "an id was given twice"
    # Ids are given in order and without a gap within a block; a kill skips none, a full pair of blocks wastes none.
    assert seen == sorted(seen)
    gaps = [(a, b) for a, b in pairwise(seen) if b != a + 1]
    assert all(b % 500 == 1 for _, b in gaps), gaps
    assert not [name for name in os.listdir(tmp_path) if name.endswith(".new")]


def _read_and_close(reader: OpenedLog) -> list[int]:
    numbers: list[int] = []
    for one in reader.read_new():
        assert one.unit_identifier == "x" * (one.trigger_id * 37 % 1500)
        numbers.append(one.trigger_id)
    # The newest stays open: the writer may still be about to mark it as handed.
    for number in numbers:
        reader.mark_closed(number)
    return numbers


def test_a_full_disk_is_said_in_a_line_and_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    path = opened_path(tmp_path, "left")
    with pytest.raises(GoldlineError, match=f"{path}: this log cannot be written: No space left on device"):
        OpenedLog.create_or_resume(path, "left")
    assert list(path.parent.iterdir()) == []
