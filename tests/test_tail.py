"""What the commands about events print, and what they are told."""

import argparse
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from edge import event_line
from edge.commands import mirror, tail, trigger
from edge.errors import GoldlineError
from edge.events import Check, Defect, Event, IdRange, Latency, Limits, Offset, Result, View
from edge.records import Outcome, Reason
from tests.publish_line import until
from tests.sync_line import sync_lines

RESULT = Result(
    station="s", camera="left", trigger_id=1, verdict=Outcome.PASS, decided=datetime(2025, 1, 2, tzinfo=UTC)
)
EVENT = Event(source="urn:x", time=datetime(2025, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC), subject="A1", data=RESULT)


def result(**fields: object) -> Event:
    known = {name: getattr(RESULT, name) for name in ("station", "camera", "trigger_id", "verdict", "decided")}
    return Event(source="urn:x", time=EVENT.time, subject="A1", data=Result(**(known | fields)))


def latency(since_captured_ms: float) -> Latency:
    return Latency(queue_ms=1.0, register_ms=1.0, graph_ms=1.0, judge_ms=1.0, capture_to_verdict_ms=since_captured_ms)


@pytest.fixture
def line(tmp_path):
    with sync_lines(tmp_path) as made:
        yield made


def test_tail_prints_from_where_it_is_told_and_acknowledges(line, capsys):
    line.fill(6)
    line.start_both()
    words = ["--address", line.addresses["live"], "--sync", line.addresses["sync"], "--json", "--consumer", "tail"]

    def printed(*more: str) -> list[int]:
        parser = argparse.ArgumentParser()
        parser.add_argument("--config")
        tail.add_arguments(parser)
        capsys.readouterr()
        assert tail.run(parser.parse_args([*words, *more])) == 0
        return [int(json.loads(one)["sequence"]) for one in capsys.readouterr().out.splitlines()]

    assert printed("--from-start", "--count", "6") == [1, 2, 3, 4, 5, 6]
    assert printed("--after", "4", "--count", "2") == [5, 6]
    until(lambda: list(line.acknowledged().values()) == [6], "the last is acknowledged")
    words[2:4] = []
    with pytest.raises(GoldlineError, match="--address and --sync: give both, or neither"):
        printed()


def checked(name: str, score: float, **told: Any) -> Event:
    """An event of a check with limits of 1."""
    return result(checks={name: Check(score=score, limits=Limits(review=1.0, fail=1.0), **told)})


def offset_mm(dx_mm: float, dy_mm: float) -> Offset:
    return Offset(dx_px=9.0, dy_px=9.0, angle_deg=0.2, dx_mm=dx_mm, dy_mm=dy_mm)


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (EVENT, "03:04:05.678  left        PASS"),
        (
            result(
                verdict=Outcome.FAIL,
                review=True,
                unit_identifier="A1",
                score=4.5,
                limits=Limits(review=3.0, fail=6.0),
                defects=(Defect(check="part.anomaly", bbox=(1, 2, 3, 4), score=4.5),),
            ),
            "03:04:05.678  left        FAIL?  A1  score 4.50 / 3.00  part.anomaly at 1,2,3,4",
        ),
        (
            result(verdict=Outcome.ERROR, reason=Reason.DEADLINE, on_time=False),
            "03:04:05.678  left        ERROR  deadline  late",
        ),
        (
            result(
                camera="-",
                trigger_id=None,
                verdict=Outcome.ERROR,
                reason=Reason.INTERRUPTED,
                interrupted=(IdRange(camera="left", first=3, last=9),),
            ),
            "03:04:05.678  -           ERROR  interrupted  trigger ids 3-9 of left",
        ),
        (
            result(
                camera="box",
                verdict=Outcome.FAIL,
                score=4.5,
                defects=(Defect(check="label.code", bbox=(1, 2, 3, 4), score=4.5, camera="side"),),
                views={
                    "top": View(verdict=Outcome.PASS, latency=latency(12.0)),
                    "side": View(verdict=Outcome.FAIL, latency=latency(9.0)),
                },
            ),
            "03:04:05.678  box         FAIL   score 4.50  side label.code at 1,2,3,4  top PASS  side FAIL  12.0 ms",
        ),
        (
            checked(
                "lid.position", 4.5, offset=Offset(dx_px=-30.0, dy_px=40.0, angle_deg=-3.4), expected="within 9 px"
            ),
            "03:04:05.678  left        PASS   lid.position 50.0 px off, turned -3° (expected within 9 px)",
        ),
        (
            checked("lid.position", 0.1, offset=offset_mm(0.3, -0.4), expected="within 1 mm"),
            "03:04:05.678  left        PASS   lid.position 0.50 mm off",
        ),
        (
            checked("lid.position", 2.0, found="missing", expected="within 9 px"),
            "03:04:05.678  left        PASS   lid.position missing (expected within 9 px)",
        ),
        (
            checked("lid.code", 0.0, found="A\x1b]0;x\x07\n1"),
            "03:04:05.678  left        PASS   lid.code A\ufffd]0;x\ufffd\ufffd1",
        ),
        (checked("lid.code", 0.0, found="A1", expected="A1"), "03:04:05.678  left        PASS   lid.code A1"),
        (
            checked("lid.code", 2.0, expected="A1"),
            "03:04:05.678  left        PASS   lid.code nothing (expected A1)",
        ),
        (checked("lid.anomaly", 2.0), "03:04:05.678  left        PASS"),
    ],
)
def test_an_event_is_one_line_to_read(event, line):
    assert event_line.line(event) == line


def test_how_long_silence_may_last_is_told(capsys):
    parser = argparse.ArgumentParser()
    tail.add_arguments(parser)
    nobody = ("--address", "tcp://127.0.0.1:1", "--sync", "tcp://127.0.0.1:1")
    with pytest.raises(GoldlineError, match=r"nothing heard for 0\.2 s"):
        tail.run(parser.parse_args([*nobody, "--silence", "0.2"]))


def test_expectations_are_pairs():
    assert trigger.expectations(["variant=oak,code=7", "a=b=c"]) == {"variant": "oak", "code": "7", "a": "b=c"}
    with pytest.raises(GoldlineError, match="--expect oak: expected KEY=VALUE"):
        trigger.expectations(["oak"])


@pytest.mark.parametrize("command", [mirror, tail, trigger])
def test_every_command_shows_an_example(command):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    assert f"example: goldline {command.__name__.rpartition('.')[2]}" in parser.format_help()


@pytest.mark.parametrize("words", [["--count", "0"], ["--count", "-1"], ["--period-ms", "-3"], ["--period-ms", "nan"]])
def test_no_triggers_and_a_time_before_the_last_are_refused(words):
    parser = argparse.ArgumentParser()
    parser.add_argument("--config")
    trigger.add_arguments(parser)
    with pytest.raises(GoldlineError, match="--count must be at least 1, --period-ms at least 0"):
        trigger.run(parser.parse_args(["left", *words]))
