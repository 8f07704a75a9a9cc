"""What repeats itself is held back: never the first, never more than may be, and never uncounted."""

import io
import json
import logging
import threading
from contextlib import suppress

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from edge import log
from edge.config import LogConfig
from edge.logs import limiter
from edge.logs.limiter import Limiter, key_of
from edge.logs.repeats import Repeats

WINDOW_NS, LONGEST_NS = 100, 400


def repeats(most: int = 3, keys: int = 4) -> Repeats[str]:
    return Repeats(most=most, window_ns=WINDOW_NS, longest_ns=LONGEST_NS, keys=keys)


calls = st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 250)), max_size=200)


@given(calls, st.integers(1, 5), st.integers(1, 6))
def test_every_call_is_told_or_counted_once_and_memory_is_bounded(history, most, keys):
    limit, now_ns = repeats(most, keys), 0
    told, held = dict.fromkeys("abcdefgh", 0), dict.fromkeys("abcdefgh", 0)
    for key, step_ns in history:
        now_ns += step_ns
        for one in limit.over(now_ns):
            held[one.key] += one.count
            assert one.count > 0
            assert one.since_ns <= now_ns
        told[key] += limit.admit(key, now_ns)
        assert len(limit) <= keys
    for one in limit.rest():
        held[one.key] += one.count
    for key in "abcdefgh":
        assert told[key] + held[key] == sum(said == key for said, _ in history)


@given(st.lists(st.integers(0, 250), max_size=200), st.integers(1, 5))
def test_no_more_than_may_be_in_any_window_of_its_own_and_never_the_first_lost(steps_ns, most):
    limit, now_ns, times_ns = repeats(most), 0, []
    for step_ns in steps_ns:
        now_ns += step_ns
        limit.over(now_ns)
        if limit.admit("a", now_ns):
            times_ns.append(now_ns)
    if steps_ns:
        assert times_ns[0] == steps_ns[0]
    # Two windows that follow each other may lie in any stretch of time as long as one.
    for first_ns in times_ns:
        assert sum(first_ns <= time_ns < first_ns + WINDOW_NS for time_ns in times_ns) <= 2 * most


@given(calls)
def test_messages_do_not_hold_each_other_back(history):
    """Each fares as if it were alone, as long as there is room for all."""
    together, now_ns = repeats(keys=8), 0
    alone = {key: repeats() for key in "abcdefgh"}
    for key, step_ns in history:
        now_ns += step_ns
        together.over(now_ns)
        for one in alone.values():
            one.over(now_ns)
        assert together.admit(key, now_ns) == alone[key].admit(key, now_ns)


def test_what_goes_on_is_told_ever_more_rarely_and_what_was_silent_is_new():
    limit, told_ns = repeats(), []
    for now_ns in range(0, 2000, 10):
        limit.over(now_ns)
        if limit.admit("a", now_ns):
            told_ns.append(now_ns)
    assert told_ns == [0, 10, 20, 100, 300, 700, 1100, 1500, 1900]
    limit.over(2300)
    limit.over(2700)
    assert [limit.admit("a", 3000 + n) for n in range(4)] == [True, True, True, False]


@pytest.mark.parametrize("period_ns", [40, 60, 90])
def test_slow_repetitions_are_held_back_too(period_ns):
    limit, told = repeats(), 0
    for now_ns in range(0, 40_000, period_ns):
        limit.over(now_ns)
        told += limit.admit("a", now_ns)
    # Three, then once in each of a hundred windows at the most.
    assert told <= 3 + 40_000 // LONGEST_NS + 5


def test_what_was_silent_for_a_whole_window_is_always_told():
    limit = repeats(most=1)
    for now_ns in range(0, 10_000, WINDOW_NS):
        assert limit.over(now_ns) == []
        assert limit.admit("a", now_ns)


def test_it_says_when_something_is_due():
    limit = repeats(most=1)
    assert limit.admit("a", 5)
    assert limit.due_ns is None
    assert not limit.admit("a", 7)
    assert limit.due_ns == 105
    (held,) = limit.over(105)
    assert (held.key, held.count, held.since_ns) == ("a", 1, 7)
    assert limit.due_ns is None


@pytest.mark.parametrize(
    ("one", "other", "are_same"),
    [
        ({"problem": "silent for 1.5 s"}, {"problem": "silent for 22.5 s"}, True),
        ({"problem": "silent for 1.5 s"}, {"problem": "another program holds it"}, False),
        ({"camera": "cam1"}, {"camera": "cam2"}, False),
        ({"child": "capture@1"}, {"child": "capture@2"}, False),
        ({"trigger_id": 7}, {"trigger_id": 8}, True),
        ({"address": "10.0.0.1"}, {"address": "10.0.0.2"}, True),
        ({"address": "fe80::a1"}, {"address": "fe80::b7"}, True),
        ({"subject": "CN=one", "serial": "ab"}, {"subject": "CN=other", "serial": "cd"}, True),
        ({"event_id": "a/1"}, {"event_id": "b/2"}, True),
        ({"exception": "Traceback 1"}, {"exception": "Traceback: another"}, True),
        ({"event": "camera open"}, {"event": "camera down"}, False),
        ({"level": "info"}, {"level": "warning"}, False),
    ],
)
def test_what_is_the_same_message(one, other, are_same):
    common = {"event": "camera down", "level": "warning", "worker": "publish"}
    assert (key_of(common | one) == key_of(common | other)) is are_same


# --- in a process


@pytest.fixture
def stream(restored_logging):
    """A process's log."""
    made = io.StringIO()
    log.setup(LogConfig(), "capture@left", made)
    yield made
    log.close()


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_the_line_about_what_was_held_back_has_the_words_names_and_code(stream):
    for number in range(25):
        structlog.get_logger().warning("no picture for a trigger", trigger_id=number, view="left.dark")
    log.close()
    *told, held = lines(stream)
    assert [line["trigger_id"] for line in told] == list(range(limiter.MOST))
    assert held["event"] == "repeats were held back"
    assert held["message"] == "no picture for a trigger"
    assert (held["repeats"], held["code"], held["level"]) == (25 - limiter.MOST, "GL-CAM-002", "warning")
    assert (held["worker"], held["camera"], held["view"]) == ("capture@left", "left", "left.dark")
    assert str(held["since"]).endswith("Z")


def test_libraries_and_warnings_are_held_back_too(stream):
    for number in range(25):
        logging.getLogger("a.library").error("lost %d packets", number)
    log.close()
    *told, held = lines(stream)
    assert len(told) == limiter.MOST
    assert (held["message"], held["logger"], held["repeats"]) == ("lost # packets", "a.library", 25 - limiter.MOST)


def test_lines_for_a_developer_are_all_there(stream):
    log.set_level("debug")
    for number in range(25):
        structlog.get_logger().debug("verdict", trigger_id=number)
    assert len(lines(stream)) == 25


def test_threads_lose_none(stream):
    def say() -> None:
        for _ in range(200):
            structlog.get_logger().error("worker hangs", child="inspection")

    threads = [threading.Thread(target=say) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.close()
    told = lines(stream)
    held = sum(int(str(line["repeats"])) for line in told if "repeats" in line)
    assert sum("repeats" not in line for line in told) + held == 1600
    assert sum("repeats" not in line for line in told) == limiter.MOST


def test_what_nobody_says_again_is_told_when_its_window_is_over(monkeypatch):
    monkeypatch.setattr(limiter, "WINDOW_NS", 50_000_000)
    said, told = threading.Event(), []

    def tell(**line: object) -> None:
        told.append(line)
        said.set()

    limit = Limiter(tell)
    event = {"event": "camera down", "level": "warning", "worker": "capture@left"}
    for _ in range(limiter.MOST):
        limit(None, "warning", dict(event))
    with pytest.raises(structlog.DropEvent):
        limit(None, "warning", dict(event))
    assert said.wait(30)
    assert [line["repeats"] for line in told] == [1]
    limit.close()
    assert len(told) == 1


def test_what_is_due_sooner_is_not_told_with_what_is_due_later():
    now_ns = 0
    limit = Limiter(lambda **_: None, lambda: now_ns)

    def say(child: str, times: int) -> None:
        for _ in range(times):
            with suppress(structlog.DropEvent):
                limit(None, "warning", {"event": "worker hangs", "level": "warning", "child": child})

    def due_ns() -> int | None:
        return None if limit._timer is None else limit._timer.due_ns

    say("inspection", limiter.MOST + 1)
    # The first one goes on, in a window of twice the length; another begins and ends within it.
    now_ns = limiter.WINDOW_NS // 2
    say("inspection", 1)
    now_ns = limiter.WINDOW_NS
    limit.tend()
    say("inspection", 2)
    assert due_ns() == 3 * limiter.WINDOW_NS
    say("archive", limiter.MOST + 1)
    assert due_ns() == 2 * limiter.WINDOW_NS
    limit.close()
    assert due_ns() is None
