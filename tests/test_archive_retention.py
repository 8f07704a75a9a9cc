"""Which pictures are kept, and which go: the oldest first, by how long they were kept, whatever the clock says."""

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.archive_index import FILE
from edge.archive_retention import DAY_NS, Bounds, Entry, due, is_sampled, is_wanted
from edge.archive_store import FOLDER
from edge.lived import Instant, Lived
from edge.records import Outcome, Reason, Verdict, error
from tests import pictures

ENTRIES = st.lists(st.tuples(st.integers(0, 90 * DAY_NS), st.integers(0, 10_000)), max_size=40).map(
    lambda rows: [Entry(str(place), taken, frees) for place, (taken, frees) in enumerate(sorted(rows))]
)


@given(ENTRIES, st.integers(-5000, 200_000), st.integers(1, 90))
def test_the_oldest_go_and_no_more_than_must(entries, room_bytes, days):
    now_ns = 90 * DAY_NS
    gone = due(entries, room_bytes, Bounds(0, days), now_ns)
    assert gone == entries[: len(gone)]
    stays = entries[len(gone) :]
    if stays:
        assert sum(one.frees for one in gone) >= room_bytes or room_bytes <= 0
        assert now_ns - stays[0].kept_ns <= days * DAY_NS
    if gone:
        last = gone[-1]
        before = sum(one.frees for one in gone[:-1])
        assert before < room_bytes or now_ns - last.kept_ns > days * DAY_NS, "one went that need not"


@given(st.integers(1, 2**63), st.floats(0, 1), st.floats(0, 1))
def test_a_larger_share_keeps_what_a_smaller_one_does(trigger_id, one, other):
    low, high = sorted((one, other))
    assert not is_sampled(trigger_id, low) or is_sampled(trigger_id, high)


def test_a_share_of_pass_is_kept_and_every_fail_and_every_error_that_shows_the_part():
    passed = Verdict(outcome=Outcome.PASS)
    assert 400 < sum(is_wanted(passed, trigger_id, 0.05) for trigger_id in range(10_000)) < 600
    assert not any(is_wanted(passed, trigger_id, 0.0) for trigger_id in range(1000))
    assert all(is_wanted(passed, trigger_id, 1.0) for trigger_id in range(1000))
    assert is_wanted(Verdict(outcome=Outcome.FAIL), 1, 0.0)
    assert is_wanted(error(Reason.CANNOT_JUDGE), 1, 0.0)
    assert not is_wanted(error(Reason.TORN), 1, 1.0)


# --- the time that it has lived

MOST_OFF_NS = 27 * DAY_NS
INSTANTS = st.builds(Instant, st.integers(0, 2**62), st.integers(0, 2**55), st.sampled_from(["first", "second"]))


@given(INSTANTS, INSTANTS)
def test_it_never_lives_backwards_and_no_clock_ages_it_by_more_than_a_start_may(before, after):
    passed_ns = Lived(5, before).until(after, MOST_OFF_NS).ns - 5
    if before.boot == after.boot:
        assert passed_ns == max(0, after.boot_ns - before.boot_ns), "the time of day was looked at"
    else:
        assert passed_ns == min(max(0, after.utc_ns - before.utc_ns), MOST_OFF_NS)


def test_what_is_found_is_as_old_as_the_clock_says_within_the_same_bounds():
    lived = Lived(50 * DAY_NS, pictures.instant())
    for days, age_days in ((0, 0), (3, 3), (4000, 27), (-4000, 0)):
        assert lived.ns - lived.when(lived.at.utc_ns - days * DAY_NS, MOST_OFF_NS) == age_days * DAY_NS


YEARS_NS = 3650 * DAY_NS


def test_a_clock_that_jumps_ages_no_picture(tmp_path: Path) -> None:
    store = pictures.opened(tmp_path, Bounds(1 << 30, 30))
    pictures.put(store, 1)
    for jumped_ns in (YEARS_NS, -YEARS_NS):
        pictures.mend(store, pictures.instant(DAY_NS, jumped_ns=jumped_ns))
        assert pictures.triggers(tmp_path) == [1]
    store.close()
    # Another process of the same start of the machine: it counts on as well.
    store = pictures.opened(tmp_path, Bounds(1 << 30, 30), pictures.instant(2 * DAY_NS, jumped_ns=YEARS_NS))
    pictures.mend(store, pictures.instant(29 * DAY_NS, jumped_ns=YEARS_NS))
    assert pictures.triggers(tmp_path) == [1]
    pictures.mend(store, pictures.instant(31 * DAY_NS, jumped_ns=-YEARS_NS))
    assert pictures.triggers(tmp_path) == []


@pytest.mark.parametrize("is_index_lost", [False, True])
def test_a_clock_that_is_wrong_at_a_start_leaves_the_newest(tmp_path: Path, is_index_lost: bool) -> None:
    bounds = Bounds(1 << 30, 30)
    store = pictures.opened(tmp_path, bounds)
    pictures.put(store, 1)
    later = pictures.instant(10 * DAY_NS)
    pictures.put(store, 2, now=later)
    store.close()
    if is_index_lost:
        for path in (tmp_path / FOLDER).glob(f"{FILE}*"):
            path.unlink()
    started = pictures.instant(10 * DAY_NS, jumped_ns=YEARS_NS, boot="second")
    store = pictures.opened(tmp_path, bounds, started)
    pictures.mend(store, started)
    # Without an index only the clock tells that the first is older: it counts as old as it may at most.
    assert pictures.triggers(tmp_path) == ([1, 2] if is_index_lost else [2])
    pictures.mend(store, pictures.instant(14 * DAY_NS, boot="second"))
    assert pictures.triggers(tmp_path) == []


def test_a_machine_that_was_off_ages_what_it_keeps(tmp_path: Path) -> None:
    bounds = Bounds(1 << 30, 30)
    store = pictures.opened(tmp_path, bounds)
    pictures.put(store, 1)
    store.close()
    for days, is_kept in ((20, True), (31, False)):
        now = pictures.instant(days * DAY_NS, boot=str(days))
        store = pictures.opened(tmp_path, bounds, now)
        pictures.mend(store, now)
        assert bool(pictures.triggers(tmp_path)) == is_kept
        store.close()


def test_with_a_clock_set_back_the_oldest_go_and_not_the_newest(tmp_path: Path) -> None:
    store = pictures.opened(tmp_path, Bounds(20_000, 30))
    for trigger_id in range(1, 10):
        pictures.put(store, trigger_id)
    for trigger_id in range(10, 20):
        sidecar, made = pictures.kept(trigger_id, pictures.pixels(trigger_id))
        store.put(msgspec.structs.replace(sidecar, taken_utc_ns=1), made, pictures.instant(jumped_ns=-YEARS_NS))
    found = pictures.triggers(tmp_path)
    assert found == list(range(20 - len(found), 20)) and len(found) > 3
