"""What publish tells a capture process: whether frames and pulses open triggers, and whose the next one is."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge.lockstep import QUIET_NS, TRIGGER_WAITS_NS
from edge.messages import Announce, Ids, Opened, Run
from edge.records import FrameRef
from tests.capture_bench import Bench, Connect, benches
from tests.test_line_groups import VIEWS, Second
from tests.test_line_triggers import SHOTS

Make = Callable[..., Bench]


@pytest.fixture
def make(tmp_path: Path, channels: Connect, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    with benches(tmp_path, channels, monkeypatch) as made:
        yield made


def tell(bench: Bench, message: Run | Announce) -> None:
    """It hears this; what it says is not read here."""
    bench.publish.send(message)
    bench.turn()


def handed(bench: Bench, count: int) -> list[FrameRef]:
    found: list[FrameRef] = []
    bench.until(lambda: found.extend(bench.handed()) or len(found) >= count, f"{count} frames")
    return found


def halted(bench: Bench, stage: str = "capture") -> float:
    return bench.dropped().get((stage, "halted"), 0)


@pytest.mark.parametrize("mode", ["free", "line"])
def test_while_it_is_off_nothing_is_opened_and_what_was_opened_before_stands(make: Make, mode: str) -> None:
    bench = make(mode)
    bench.give_ids()
    bench.picture()
    (before,) = handed(bench, 1)
    tell(bench, Run(is_on=False))
    for number in range(3):
        bench.picture()
        bench.until(lambda number=number: halted(bench) == number + 1, "dropped and counted")
    tell(bench, Run(is_on=True, expect={"variant": "oak"}))
    bench.picture()
    (after,) = handed(bench, 1)
    assert [one.trigger_id for one in bench.logged()] == [before.trigger_id, after.trigger_id]
    assert (before.expect, after.expect) == ({}, {"variant": "oak"})
    assert bench.answers() == {}


@pytest.mark.parametrize("mode", ["free", "line"])
def test_a_successor_with_ids_opens_nothing_before_publish_has_said_that_it_may(make: Make, mode: str) -> None:
    first = make(mode)
    first.give_ids()
    # Killed: the log, and what is left of its ids, stay. Publish is away, or slow.
    second = make(mode, is_told=False)
    assert second.capture._promises._log.next_id() is not None
    second.picture()
    second.until(lambda: halted(second) == 1, "dropped and counted")
    assert second.logged() == []
    tell(second, Run(is_on=True, expect={"variant": "oak"}))
    second.picture()
    assert handed(second, 1)[0].expect == {"variant": "oak"}


@pytest.mark.parametrize("mode", ["free", "line"])
def test_a_single_execution_opens_one(make: Make, mode: str) -> None:
    bench = make(mode)
    bench.give_ids()
    tell(bench, Run(is_on=True, at_most=1))
    for _ in range(3):
        bench.picture()
    bench.until(lambda: halted(bench) == 2, "the others are dropped")
    assert len(handed(bench, 1)) == 1
    assert len(bench.logged()) == 1


def test_a_frame_that_waits_when_it_is_told_off_is_nobodys_later(make: Make) -> None:
    bench = make("free")
    bench.give_ids()
    for _ in range(2):
        bench.picture()
        bench.until(bench.inspection.receive, "inspection has it, and gives nothing back")
    bench.picture()
    bench.turn()
    tell(bench, Run(is_on=False))
    bench.until(lambda: halted(bench) == 1, "what waited is dropped")
    tell(bench, Run(is_on=True))
    assert len(bench.logged()) == 2


def test_the_rest_of_a_burst_is_taken_although_it_is_told_off_within(make: Make) -> None:
    bench = make("line", **SHOTS)
    bench.give_ids()
    at_ns = 10**9
    # Bursts of two, 10 ms apart, every 100 ms: which is the first is known from the second burst on.
    for number in range(5):
        bench.picture(at_ns=at_ns + number // 2 * 100_000_000 + number % 2 * 10_000_000)
    bench.until(lambda: len(bench.logged()) == 3, "three pulses are known")
    handed(bench, 3)
    tell(bench, Run(is_on=False))
    bench.picture(at_ns=at_ns + 210_000_000)
    (last,) = handed(bench, 1)
    assert last.view.endswith(".dark")
    bench.picture(at_ns=at_ns + 300_000_000)
    bench.until(lambda: halted(bench) == 1, "the next burst is nobody's")


@pytest.mark.parametrize("mode", ["free", "line"])
def test_the_next_trigger_bears_the_announced_unit(make: Make, mode: str) -> None:
    bench = make(mode)
    bench.give_ids()
    tell(bench, Announce(unit_identifier="A1", expect={"code": "1"}, number=1))
    # Publish says it again after its own death.
    tell(bench, Announce(unit_identifier="A1", expect={"code": "1"}, number=1))
    for _ in range(2):
        bench.picture()
        handed(bench, 1)
    assert [(one.unit_identifier, one.announced, one.expect) for one in bench.logged()] == [
        ("A1", 1, {"code": "1"}),
        (None, 0, {}),
    ]


def test_a_unit_that_no_trigger_came_for_gets_one_also_while_it_is_off(make: Make) -> None:
    bench = make("line", group=("left", "top"))
    tell(bench, Run(is_on=False))
    tell(bench, Announce(unit_identifier="A1", number=1))
    tell(bench, Announce(unit_identifier="A2", number=2))
    assert bench.logged() == [], "there is no id yet"
    bench.publish.send(Ids(first=1, last=4096))
    bench.until(bench.logged, "as soon as there is")
    (one,) = bench.logged()
    assert (one.unit_identifier, one.source, one.announced) == ("A1", "announced", 1)
    assert (one.camera, one.views) == ("box", ("left", "top"))
    assert bench.heard(bench.publish, Opened) == [Opened(trigger=one)]
    tell(bench, Run(is_on=True))
    bench.picture()
    assert handed(bench, 1)[0].trigger_id == 2
    assert bench.logged()[1].unit_identifier == "A2"


def test_a_camera_that_follows_answers_what_was_opened_and_begins_anew(make: Make) -> None:
    second = Second(make("line", group=VIEWS))
    bench = second.bench
    second.pulse()
    assert handed(bench, 1)[0].trigger_id == 1
    second.wait(80)
    # Opened before, its frame comes after.
    second.trigger()
    tell(bench, Run(is_on=False))
    second.frame()
    assert handed(bench, 1)[0].trigger_id == 2
    time.sleep(TRIGGER_WAITS_NS / 1e9 + 0.05)
    bench.picture()
    bench.until(lambda: halted(bench) == 1, "nobody's")
    tell(bench, Run(is_on=True))
    second.now_ns = time.monotonic_ns() + QUIET_NS
    second.pulse()
    assert handed(bench, 1)[0].trigger_id == 3
    assert bench.answers() == {}
