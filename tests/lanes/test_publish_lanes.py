"""Publish as a lane meets it: a real process, and the test is the lane, the captures and the supervisor."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edge import events
from edge.decided_log import DecidedLog, decided_path
from edge.lanes.station_link import STALE_NS
from edge.messages import Answered, AnyMessage, Asked, Fire, News, Standing, Streams
from tests.publish_line import Line, camera, lines, until

LANE = "lane@modbus"


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Line]]:
    with lines(tmp_path) as making:
        yield making


class Lane:
    """One end of the link, and what has come over it."""

    def __init__(self, line: Line, name: str = LANE) -> None:
        self._line, self._name = line, name
        line.link(name)
        self.heard: list[AnyMessage] = []

    def hear(self, kind: type[AnyMessage], condition: Callable[[Any], bool] = lambda _: True) -> Any:
        """The first of this kind, from now on, of which this is so."""

        def look() -> Any:
            self.heard += self._line.peers[self._name].drain()
            return next((one for one in self.heard if isinstance(one, kind) and condition(one)), None)

        found = self._line.wait_until(look, kind.__name__)
        self.heard = [one for one in self.heard if one is not found]
        return found

    def stands(self, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        found = self.hear(Standing, lambda said: condition(json.loads(said.state)))
        return json.loads(found.state)

    def ask(self, token: int, **order: Any) -> dict[str, Any]:
        self._line.send(self._name, Asked(token=token, order=json.dumps(order).encode()))
        return json.loads(self.hear(Answered, lambda said: said.token == token).answer)


def begun(make: Callable[..., Line]) -> tuple[Line, Lane]:
    line = make(cameras={"left": camera("software")})
    line.start()
    line.link("inspection")
    line.capture("left")
    return line, Lane(line)


def trigger_once(lane: Lane, token: int) -> dict[str, Any]:
    """No trigger id is reserved yet just after a start."""
    return until(
        lambda: (said := lane.ask(token, verb="trigger", camera="left", unit_identifier="A1"))["accepted"] and said,
        "an accepted trigger",
    )


def test_a_trigger_of_a_lane_is_answered_decided_and_news(make: Callable[..., Line]) -> None:
    line, lane = begun(make)
    trigger_id = trigger_once(lane, 4)["trigger_id"]
    fired = line.wait_until(
        lambda: next((one for one in line.peers["capture@left"].drain() if isinstance(one, Fire)), None), "Fire"
    )
    assert (fired.trigger.trigger_id, fired.trigger.source, fired.trigger.unit_identifier) == (trigger_id, "plc", "A1")
    decided = DecidedLog.attach(decided_path(line.station.runtime_dir))
    assert decided is not None
    place = decided.end()
    line.judge(trigger_id)
    lane.hear(News)
    (found,) = decided.read_from(place)
    assert events.decode(found[1]).data.trigger_id == trigger_id
    decided.close()


def test_a_trigger_is_of_the_lane_that_asked_for_it_whoever_dies(make: Callable[..., Line]) -> None:
    line, modbus = begun(make)
    asked = {
        trigger_once(lane, 4)["trigger_id"]: name
        for lane, name in ((modbus, "modbus"), (Lane(line, "lane@opcua"), "opcua"))
    }
    line.kill()
    line.start()
    line.link("inspection")
    line.capture("left")
    for trigger_id in asked:
        line.judge(trigger_id)
    assert {event.data.trigger_id: event.data.trigger_lane for event in line.subscriber.wait(2)} == asked


def test_a_bad_order_is_refused_not_deadly(make: Callable[..., Line]) -> None:
    _, lane = begun(make)
    for token, order in enumerate(({"verb": "dance"}, {"verb": "trigger", "camera": "nowhere"})):
        said = lane.ask(token, **order)
        assert (said["accepted"], bool(said["error"])) == (False, True)


def test_a_lane_hears_how_the_station_stands_and_whether_cameras_stream(make: Callable[..., Line]) -> None:
    line, lane = begun(make)
    assert lane.stands(lambda said: said["cameras"]["left"]["is_linked"])["cameras"]["left"]["is_up"] is False
    line.send("capture@left", Streams(is_up=True))
    lane.stands(lambda said: said["cameras"]["left"]["is_up"])
    line.send("capture@left", Streams(is_up=False))
    lane.stands(lambda said: not said["cameras"]["left"]["is_up"])
    line.send("capture@left", Streams(is_up=True))
    lane.stands(lambda said: said["cameras"]["left"]["is_up"])
    # A new process has yet to say so.
    line.capture("left")
    lane.stands(lambda said: not said["cameras"]["left"]["is_up"])
    # And a new lane is told at once.
    assert Lane(line).stands(lambda _: True)["cameras"]["left"]["is_linked"]


def test_publish_beats_while_its_loop_comes_round(make: Callable[..., Line]) -> None:
    line, _ = begun(make)
    decided = DecidedLog.attach(decided_path(line.station.runtime_dir))
    assert decided is not None
    gaps = []
    for _ in range(100):
        time.sleep(0.01)
        gaps.append(time.monotonic_ns() - decided.beat_ns)
    # On a machine that others use a look may come late; a loop that waits too long would make most of them so.
    assert sorted(gaps)[50] < STALE_NS / 2
    assert line.child.popen is not None
    os.kill(line.child.popen.pid, signal.SIGSTOP)
    time.sleep(0.05)
    before = decided.beat_ns
    time.sleep(0.3)
    assert decided.beat_ns == before
    os.kill(line.child.popen.pid, signal.SIGCONT)
    until(lambda: decided.beat_ns > before, "publish to beat again")
    decided.close()


def test_an_answer_longer_than_a_packet_is_a_short_refusal(make: Callable[..., Line]) -> None:
    _, lane = begun(make)
    # A byte of JSON, and five in the refusal that names it.
    line_noise = b'{"verb":"trigger","camera":"' + b"\x7f" * 16_000 + b'"}'
    lane._line.send(LANE, Asked(token=1, order=line_noise))
    answer = json.loads(lane.hear(Answered, lambda said: said.token == 1).answer)
    assert not answer["accepted"]
    assert trigger_once(lane, 2)["accepted"]
