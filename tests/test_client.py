"""The subscriber: every event once, in order, and what is missing is said by number."""

import argparse
import threading
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
import zmq
from hypothesis import given
from hypothesis import strategies as st

from edge import events, header
from edge.client import Order, ask, subscribe
from edge.commands import tail, trigger
from edge.errors import GoldlineError
from edge.events import Check, Defect, Event, Head, IdRange, Latency, Limits, Offset, Result, View
from edge.header import Flag, Header
from edge.records import Outcome, Reason

STREAM = UUID(int=5)


def head_of(sequence: int, flags: Flag = Flag.DURABLE, stream: UUID = STREAM) -> Header:
    return Header(flags=flags, stream=stream, sequence=sequence, previous=0, verdict_utc_ns=0)


@given(st.integers(0, 50), st.lists(st.tuples(st.sampled_from(["sent", "dropped", "again", "beat"]), st.just(0))))
def test_every_event_is_news_once_or_reported_lost(start, steps):
    """A station numbers its events; some are dropped on the way, some come twice, heartbeats in between."""
    lost: list[int] = []
    order = Order(lambda first, last: lost.extend(range(first, last + 1)))
    assert not order.is_news(head_of(start, Flag(0)))
    newest, heard = start, []
    for step, _ in steps:
        newest += step in {"sent", "dropped"}
        if step == "beat":
            assert not order.is_news(head_of(newest, Flag(0)))
        elif step != "dropped" and order.is_news(head_of(newest)):
            heard.append(newest)
    order.is_news(head_of(newest, Flag(0)))
    # What came again after it was given up as lost is not news.
    assert sorted(heard + lost) == list(range(start + 1, newest + 1))
    assert heard == sorted(heard)


def test_another_stream_begins_anew():
    lost: list[tuple[int, int]] = []
    order = Order(lambda first, last: lost.append((first, last)))
    assert order.is_news(head_of(70))
    assert order.is_news(head_of(3, stream=UUID(int=6)))
    assert order.is_news(head_of(4, stream=UUID(int=6)))
    assert lost == []


RESULT = Result(
    station="s", camera="left", trigger_id=1, verdict=Outcome.PASS, decided=datetime(2025, 1, 2, tzinfo=UTC)
)
EVENT = Event(source="urn:x", time=datetime(2025, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC), subject="A1", data=RESULT)


def result(**fields: object) -> Event:
    known = {name: getattr(RESULT, name) for name in ("station", "camera", "trigger_id", "verdict", "decided")}
    return Event(source="urn:x", time=EVENT.time, subject="A1", data=Result(**(known | fields)))


def latency(since_captured_ms: float) -> Latency:
    return Latency(queue_ms=1.0, register_ms=1.0, graph_ms=1.0, judge_ms=1.0, capture_to_verdict_ms=since_captured_ms)


def test_events_arrive_typed_and_losses_are_told(tmp_path):
    address = f"ipc://{tmp_path}/live"
    lost: list[tuple[int, int]] = []
    joined = threading.Event()
    with zmq.Context() as context, context.socket(zmq.XPUB) as station:
        station.setsockopt(zmq.LINGER, 0)
        station.bind(address)
        heard: list[Event] = []

        def hear() -> None:
            for event in subscribe(address, lambda *gap: lost.append(gap), joined=joined.set):
                heard.append(event)
                if len(heard) == 2:
                    break

        thread = threading.Thread(target=hear)
        thread.start()
        assert station.poll(20_000)
        assert station.recv() == b"\x01goldline.v1."
        body = events.encode(Head(stream=str(STREAM), head=7, low=1))
        station.send_multipart([b"goldline.v1.-.-.s.-.hb.", header.encode(head_of(7, Flag(0))), body])
        assert joined.wait(20)
        for sequence in (8, 10):
            body = events.encode(events.sealed(EVENT, STREAM, sequence))
            station.send_multipart([b"goldline.v1.-.-.s.left.result.", header.encode(head_of(sequence)), body])
        thread.join(20)
    assert [int(one.sequence) for one in heard] == [8, 10]
    assert lost == [(9, 9)]


def test_a_silent_station_is_an_error_that_names_the_address(tmp_path):
    address = f"ipc://{tmp_path}/nobody"
    with pytest.raises(GoldlineError, match=f"{address}: no heartbeat for 0.05 s"):
        next(subscribe(address, lambda *_: None, silence_s=0.05))
    with pytest.raises(GoldlineError, match=f"{address}: no answer within 0.05 s"):
        ask(address, {"verb": "state"}, timeout_s=0.05)


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
        (checked("lid.code", 0.0, found="A1", expected="A1"), "03:04:05.678  left        PASS   lid.code A1"),
        (
            checked("lid.code", 2.0, expected="A1"),
            "03:04:05.678  left        PASS   lid.code nothing (expected A1)",
        ),
        (checked("lid.anomaly", 2.0), "03:04:05.678  left        PASS"),
    ],
)
def test_an_event_is_one_line_to_read(event, line):
    assert tail.line(event) == line


def test_expectations_are_pairs():
    assert trigger.expectations(["variant=oak,code=7", "a=b=c"]) == {"variant": "oak", "code": "7", "a": "b=c"}
    with pytest.raises(GoldlineError, match="--expect oak: expected KEY=VALUE"):
        trigger.expectations(["oak"])


@pytest.mark.parametrize("command", [tail, trigger])
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
