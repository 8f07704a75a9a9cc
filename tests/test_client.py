"""The subscriber: every event once, in order, and what is missing is said by number."""

import argparse
import asyncio
import json
import threading
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from edge import events, key_files, session
from edge.client import (
    Arrived,
    AsyncSubscriber,
    Cursor,
    EventsGone,
    Gone,
    NewStream,
    Notify,
    StreamChanged,
    Subscriber,
    ask,
)
from edge.commands import tail, trigger
from edge.errors import GoldlineError
from edge.events import Check, Defect, Event, IdRange, Latency, Limits, Offset, Result, View
from edge.keys import ClientKeys
from edge.records import Outcome, Reason
from tests.publish_line import PATIENCE_S, until
from tests.sync_line import SyncLine, keyed, sync_lines

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


def hear(subscriber: Subscriber, count: int) -> list[Event]:
    return [next(subscriber) for _ in range(count)]


def numbers(heard: list[Event]) -> list[int]:
    return [int(event.sequence) for event in heard]


class Listening:
    """A subscriber on a thread of its own, that acknowledges what it hears."""

    def __init__(self, line: SyncLine, **options: Any) -> None:
        self.heard: list[Event] = []
        self.told: list[Any] = []
        self.begun = threading.Event()
        self._stop = threading.Event()
        notify = Notify(gone=self.told.append, new_stream=self.told.append, begun=lambda _: self.begun.set())
        self._subscriber = line.subscriber_of(consumer="mes", notify=notify, **options)
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        with self._subscriber as subscriber:
            while not self._stop.is_set():
                for item in subscriber.take(0.05):
                    if isinstance(item, Arrived):
                        self.heard.append(item.event())
                        subscriber.acknowledge(item.cursor)
                    else:
                        self.told.append(item)

    def wait(self, count: int) -> list[int]:
        until(lambda: len(self.heard) >= count, f"{count} events, got {len(self.heard)}")
        return numbers(self.heard)

    def close(self) -> None:
        self._stop.set()
        self._thread.join(20)


@pytest.fixture
def listening(line):
    made: list[Listening] = []

    def make(**options: Any) -> Listening:
        made.append(Listening(line, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_what_was_said_before_comes_first_then_what_is_said_now(line):
    line.start_both()
    line.say(30)
    line.subscriber.wait(30)
    with line.subscriber_of(after=5) as subscriber:
        heard = hear(subscriber, 25)
        line.say(10)
        heard += hear(subscriber, 10)
    assert numbers(heard) == list(range(6, 41))
    assert heard == line.subscriber.wait(40)[5:]
    with line.subscriber_of(after=heard[-3].id) as again:
        assert numbers(hear(again, 2)) == [39, 40]


def test_without_a_cursor_only_news_comes(line):
    line.start_both()
    line.say(7)
    line.subscriber.wait(7)
    begun: list[Cursor] = []
    with line.subscriber_of(notify=Notify(begun=begun.append)) as subscriber:
        assert subscriber.take(0.5) == []
        line.say(2)
        assert numbers(hear(subscriber, 2)) == [8, 9]
    assert [one.sequence for one in begun] == [7]


def test_sync_alone_is_enough(line):
    line.start_both()
    line.say(3)
    with line.subscriber_of(live=None, after=0) as subscriber:
        assert numbers(hear(subscriber, 3)) == [1, 2, 3]
        line.say(2)
        assert numbers(hear(subscriber, 2)) == [4, 5]


def test_deaths_of_either_process_cost_nothing_but_time(line, listening):
    line.start_both()
    reader = listening(after=0)
    line.say(20)
    reader.wait(20)
    line.kill()
    line.start()
    line.link_both()
    line.capture("left")
    line.link("inspection")
    line.say(20)
    reader.wait(40)
    line.kill_sync()
    line.say(20)
    line.start_sync()
    line.say(5)
    assert reader.wait(65) == list(range(1, 66))
    assert reader.told == []
    until(lambda: list(line.acknowledged().values()) == [65], "the last is acknowledged")
    assert line.stop() == 0
    assert [events.encode(event) for event in reader.heard] == line.bodies()


def test_a_new_outbox_is_told_and_read_from_its_first_event(line, listening):
    line.start_both()
    line.say(5)
    reader = listening(after=0)
    reader.wait(5)
    line.kill()
    line.replace_outbox()
    line.fill(3)
    line.start()
    line.link_both()
    assert reader.wait(8) == [1, 2, 3, 4, 5, 1, 2, 3]
    (new,) = reader.told
    assert isinstance(new, NewStream)
    assert (new.heard, str(new.before), str(new.stream)) == (
        5,
        reader.heard[0].id.partition("/")[0],
        reader.heard[-1].id.partition("/")[0],
    )


def test_what_is_gone_is_told_or_raised_and_reading_goes_on(line):
    line.fill(10)
    line.prune(4)
    line.start_both()
    told: list[Gone] = []
    with line.subscriber_of(after=1, notify=Notify(gone=told.append)) as subscriber:
        assert numbers(hear(subscriber, 6)) == [5, 6, 7, 8, 9, 10]
    assert [(one.first, one.last) for one in told] == [(2, 4)]
    with line.subscriber_of(after=0) as subscriber:
        with pytest.raises(EventsGone, match="events 1 to 4 are gone"):
            next(subscriber)
        assert numbers(hear(subscriber, 6)) == [5, 6, 7, 8, 9, 10]


def test_a_cursor_of_another_stream_is_told(line):
    line.fill(2)
    line.start_both()
    with line.subscriber_of(after=f"{UUID(int=7)}/900") as subscriber:
        with pytest.raises(StreamChanged, match="event 900 was the last"):
            next(subscriber)
        assert numbers(hear(subscriber, 2)) == [1, 2]


def test_a_cursor_beyond_the_outbox_is_a_problem(line):
    line.fill(2)
    line.start_both()
    with line.subscriber_of(after=3) as subscriber, pytest.raises(GoldlineError, match="it is an older copy"):
        next(subscriber)


def test_asyncio_hears_the_same(line):
    line.fill(40)
    line.start_both()

    async def listen() -> list[Event]:
        heard: list[Event] = []
        async with AsyncSubscriber(**line.addresses, after=0, silence_s=PATIENCE_S) as subscriber:
            async for event in subscriber:
                heard.append(event)
                if len(heard) == 40:
                    assert await subscriber.take(0.01) == []
                    line.say(3)
                if len(heard) == 43:
                    return heard
        return heard

    assert numbers(asyncio.run(listen())) == list(range(1, 44))


def test_how_the_station_stands_is_told_to_whoever_joins(line):
    line.start_both()
    states: list[dict[str, Any]] = []
    with line.subscriber_of(notify=Notify(state=states.append)) as subscriber:
        until(lambda: subscriber.take(0.05) or states, "a state")
    assert states[0]["station"] == line.station.station_id


def test_with_keys_a_consumer_has_its_keys_name_and_a_refused_key_is_tried_again(tmp_path, monkeypatch):
    monkeypatch.setattr(session, "RENEW_NS", 1_000_000_000)
    with keyed(tmp_path) as line:
        mes = line.admit("mes")
        line.listen_with(line.admit("test"))
        line.fill(3)
        line.start_both()
        with line.subscriber_of(after=0, keys=mes, consumer="mes.archive") as subscriber:
            assert numbers(hear(subscriber, 3)) == [1, 2, 3]
        other = line.subscriber_of(after=0, keys=mes, consumer="scada")
        with other, pytest.raises(GoldlineError, match=r"the key of mes speaks for mes and mes\.\*, not scada"):
            next(other)
        key_files.deny(line.station.keys_dir, "mes")
        until(lambda: is_refused(line, mes), "the key counts no more")
        with line.subscriber_of(after=0, keys=mes) as subscriber:
            assert subscriber.take(1.0) == []
            key_files.allow(line.station.keys_dir, "mes", mes.public, ("events",))
            assert numbers(hear(subscriber, 3)) == [1, 2, 3]


def is_refused(line: SyncLine, keys: ClientKeys) -> bool:
    with line.subscriber_of(after=0, keys=keys) as subscriber:
        return not subscriber.take(0.5)


def test_a_silent_station_is_an_error_that_names_the_address(tmp_path):
    address = f"ipc://{tmp_path}/nobody"
    nobody = pytest.raises(GoldlineError, match=f"{address}: nothing heard for 0.05 s")
    with Subscriber(sync=address, silence_s=0.05) as subscriber, nobody:
        next(subscriber)
    with pytest.raises(GoldlineError, match=f"{address}: no answer within 0.05 s"):
        ask(address, {"verb": "state"}, timeout_s=0.05)


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
