"""The file of given ids: whole after any cut, never back; ranges of ids without a record are what was put in."""

import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from edge.reserve import Reserve
from edge.trigger_ids import BLOCK_IDS, HighWater, IdBook, beyond
from edge.unkept import MOST_RANGES, with_id
from tests.test_outbox import RUNTIME


def test_it_grows_and_never_goes_back(tmp_path):
    file = HighWater(tmp_path / "trigger_ids")
    assert file.read() is None
    for number in (1025, 2049, 7, 3073):
        file.raise_to(number)
        assert HighWater(tmp_path / "trigger_ids").read() == max(number, file.read() or 0)
    assert file.read() == 3073


@given(
    st.lists(st.integers(1, 2**53), min_size=1, max_size=5), st.integers(0, 1023), st.binary(min_size=1, max_size=511)
)
def test_a_sector_that_was_spoilt_in_writing_leaves_the_number_before(tmp_path_factory, numbers, at, garbage):
    path = tmp_path_factory.mktemp("ids") / "trigger_ids"
    file = HighWater(path)
    for number in numbers:
        file.raise_to(number)
    content = path.read_bytes()
    sector = 512 * (at // 512)
    end = min(at + len(garbage), sector + 512)
    path.write_bytes(content[:at] + garbage[: end - at] + content[end:])
    # One copy was hit: the other has the newest number, or the one before.
    kept = sorted({max(numbers[: place + 1]) for place in range(len(numbers))})[-2:]
    assert file.read() in (kept if len(kept) > 1 else [None, *kept])
    file.raise_to(2**54)
    assert file.read() == 2**54


def test_a_file_that_cannot_be_written_gives_ids_by_the_time_of_day(tmp_path):
    book = IdBook(tmp_path / "folder" / "trigger_ids")
    book.floor = 5000
    now_ns = 1_800_000_000 * 10**9
    first, last = book.next_alone(now_ns)
    assert (first, last) == (beyond(now_ns), beyond(now_ns) + BLOCK_IDS - 1)
    book.give("left", RUNTIME, first, last)
    # Sooner than the clock has moved on by a block: behind the one before, all the same.
    assert book.next_alone(now_ns)[0] == last + 1


def test_a_holder_has_its_two_newest_blocks_in_use(tmp_path):
    book = IdBook(tmp_path / "trigger_ids")
    for number in range(3):
        book.give("left", RUNTIME, 1 + 1024 * number, 1024 * (number + 1))
    book.give("right", RUNTIME, 3073, 4096)
    assert [(holder, first) for holder, _, first, _ in book.given] == [("left", 1025), ("left", 2049), ("right", 3073)]
    assert book.floor == 4097


@given(st.lists(st.tuples(st.sampled_from(["left", "right"]), st.integers(1, 40)), max_size=60))
def test_ranges_hold_exactly_the_ids_that_were_put_in(ids):
    ranges = ()
    for camera, number in ids:
        ranges = with_id(ranges, camera, number)
    found = {(gap.camera, number) for gap in ranges for number in range(gap.first, gap.last + 1)}
    assert found == set(ids)


def test_ids_that_follow_each_other_make_one_range():
    ranges = ()
    for number in range(1000):
        ranges = with_id(with_id(ranges, "left", 1 + number), "right", 5000 + number)
    assert len(ranges) == 2


def test_cameras_that_share_a_block_leave_few_ranges_that_hold_every_id():
    ranges = ()
    for number in range(1, 2000):
        ranges = with_id(ranges, "left" if number % 2 else "right", number)
    assert len(ranges) <= MOST_RANGES
    for camera, first in (("left", 1), ("right", 2)):
        own = [gap for gap in ranges if gap.camera == camera]
        assert all(any(gap.first <= number <= gap.last for gap in own) for number in range(first, 2000, 2))


def test_the_reserve_holds_real_blocks_and_gives_them_back(tmp_path):
    reserve = Reserve(tmp_path / "reserve", 1 << 20)
    assert reserve.make()
    assert (tmp_path / "reserve").stat().st_blocks * 512 >= 1 << 20
    # It is found again, and one of another size is made anew.
    assert Reserve(tmp_path / "reserve", 1 << 20).make()
    assert Reserve(tmp_path / "reserve", 2 << 20).make()
    assert reserve.release()
    assert not reserve.release()
    assert not reserve.is_there


def test_a_reserve_larger_than_the_disk_is_not_made(tmp_path):
    reserve = Reserve(tmp_path / "reserve", os.statvfs(tmp_path).f_bavail * os.statvfs(tmp_path).f_frsize)
    assert not reserve.make()
    assert list(Path(tmp_path).iterdir()) == []
