"""Events that are larger than the broker takes: each is named and passed over, and nothing behind it is lost."""

import json
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edge.lanes.mqtt_size import Limit, TooLarge, packet_bytes
from edge.outbox import Outbox
from edge.publish import outbox_path
from edge.rehearsal import free_ports
from tests.lanes.mqtt_bench import Listener, Mosquitto, MqttLane, in_order_once, killed_at_the_end, sequences
from tests.lanes.mqtt_narrow import NarrowBroker
from tests.needs import needs_module
from tests.publish_line import until
from tests.sync_line import SyncLine, draft, sync_lines

TOPIC = "plant/left/result"
LARGE = (3, 4, 8)
EVENTS = 12


@given(st.text(max_size=80), st.integers(1, 300), st.integers(0, 70_000))
@example("t", 1, 122)
@example("t", 1, 123)
@example("t", 1, 16_378)
@example("t", 1, 16_379)
def test_a_packet_is_as_large_as_it_is_written(topic: str, properties: int, body: int) -> None:
    rest = len(topic.encode()).to_bytes(2, "big") + topic.encode() + b"\0\1" + bytes(properties) + bytes(body)
    length, left = b"", len(rest)
    while True:
        left, digit = left >> 7, left & 0x7F
        length += bytes((digit | (0x80 if left else 0),))
        if not left:
            break
    assert packet_bytes(topic, properties, body) == len(b"\x32" + length + rest)


def test_what_was_refused_is_not_tried_again_and_what_is_smaller_is() -> None:
    limit = Limit()
    limit.begin(None)
    for message, size in ((1, 100), (2, 300), (3, 200)):
        limit.check(size)
        limit.sent(message, size)
    limit.acknowledged(1)
    limit.refused()
    limit.begin(250)
    limit.check(250)
    with pytest.raises(TooLarge):
        limit.check(251)
    limit.begin(None)
    limit.check(299)
    with pytest.raises(TooLarge, match="300 bytes, and the broker takes 299"):
        limit.check(300)


@contextmanager
def recorded(tmp_path: Path, port: int):
    """A station whose record has large events among the others."""
    needs_module("paho.mqtt", "mqtt")
    with sync_lines(tmp_path, lanes={"mqtt": {"broker": f"mqtt://127.0.0.1:{port}", "topic": "plant"}}) as line:
        with Outbox(outbox_path(line.station), "filler") as outbox:
            outbox.commit([made(number) for number in range(1, EVENTS + 1)])
        yield line


def made(number: int):
    """An event; a large one has much to say."""
    plain = draft(1_000_000 + number)
    if number not in LARGE:
        return plain
    data = msgspec.structs.replace(plain.event.data, detail="x" * 3000)
    return msgspec.structs.replace(plain, event=msgspec.structs.replace(plain.event, data=data))


def started(line: SyncLine) -> MqttLane:
    lane = MqttLane(line.station)
    lane.begin(line)
    return lane


def test_a_large_event_is_named_and_what_is_behind_it_comes(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    broker = Mosquitto(tmp_path / "broker", port, "allow_anonymous true", "max_packet_size 2500")
    with recorded(tmp_path, port) as line:
        broker.start()
        listener, lane = Listener(port, "plant/#"), MqttLane(line.station)
        with killed_at_the_end(lane, listener, broker):
            lane.begin(line)
            until(lambda: line.acknowledged().get("lane-mqtt") == EVENTS, "the station knows that all is said")
            until(lambda: EVENTS in sequences(listener, TOPIC), "the last one comes")
            heard = in_order_once(sequences(listener, TOPIC))
            assert heard == [number for number in range(1, EVENTS + 1) if number not in LARGE]
            assert named(listener) == list(LARGE)
            assert counted(lane, "goldline_mqtt_too_large_total") == len(LARGE)
            assert counted(lane, "goldline_mqtt_acknowledged_sequence") == EVENTS
            assert counted(lane, "goldline_mqtt_connected") == 1


def named(listener: Listener) -> list[int]:
    """The numbers of events that were passed over, in order, as the notices say."""
    notices = [json.loads(body) for head, body in listener.heard if head.startswith("plant/notice")]
    assert all(one["kind"] == "too_large" and one["topic"] == "left/result" for one in notices)
    assert all(one["bytes"] > one["limit"] for one in notices)
    return in_order_once([one["sequence"] for one in notices])


def counted(lane: MqttLane, name: str) -> float:
    return sum(values[0] for series, values in lane.child.page.read() if series.metric.name == name)


def test_a_broker_that_hangs_up_over_a_large_event_gets_the_others(tmp_path: Path) -> None:
    broker = NarrowBroker(most=2500)
    with recorded(tmp_path, broker.port) as line, killed_at_the_end(started(line), broker) as (lane, _):
        until(lambda: line.acknowledged().get("lane-mqtt") == EVENTS, "the station knows that all is said")
        assert len([topic for topic in broker.topics if topic == "plant/notice"]) == len(LARGE)
        assert broker.topics.count(TOPIC) >= EVENTS - len(LARGE)
        assert counted(lane, "goldline_mqtt_connections_total") == 2


def test_a_state_that_is_too_large_does_not_stay_as_it_was(tmp_path: Path) -> None:
    """The broker keeps the newest state that it was given, which would be a lie."""
    (port,) = free_ports(1)
    broker = Mosquitto(tmp_path / "broker", port, "allow_anonymous true", "max_packet_size 250")
    with recorded(tmp_path, port) as line:
        broker.start()
        listener, lane = Listener(port, "plant/#"), MqttLane(line.station)
        with killed_at_the_end(lane, listener, broker):
            lane.begin(line)
            until(lambda: any(head.split()[0] == "plant/state" for head, _ in listener.heard), "word of the state")
            assert {body for head, body in listener.heard if head.split()[0] == "plant/state"} == {""}
            assert any('"topic":"state"' in body for head, body in listener.heard if head.startswith("plant/notice"))
