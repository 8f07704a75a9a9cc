"""The MQTT lane against mosquitto: whoever is killed, the broker gets every event, in order once repetitions are out."""

import gc
import json
import os
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from edge.border_config import MqttConfig
from edge.errors import GoldlineError
from edge.heard import Cursor
from edge.lanes.mqtt_flight import Flight
from edge.lanes.mqtt_size import Limit
from edge.progress import Progress
from edge.rehearsal import free_ports
from tests.lanes.mqtt_bench import (
    Listener,
    Mosquitto,
    MqttLane,
    in_order_once,
    killed_at_the_end,
    sequences,
    wait_for,
)
from tests.lanes.mqtt_narrow import WITH_WILL, NarrowBroker
from tests.needs import needs_module, needs_program
from tests.publish_line import until
from tests.sync_line import sync_lines

TOPIC = "plant/left/result"


@given(st.permutations(range(30)), st.data())
def test_the_cursor_never_passes_what_is_not_acknowledged(order, data):
    flight, done, sent = Flight(8), set(), 0
    pending: list[int] = []
    cursor = -1
    while len(done) < 30:
        while flight.has_room and sent < 30:
            flight.sent(order[sent] + 100, Cursor(sent))
            pending.append(sent)
            sent += 1
        assert len(pending) <= 8 + len(done)
        place = pending.pop(data.draw(st.integers(0, len(pending) - 1)))
        done.add(place)
        moved = flight.acknowledged(order[place] + 100)
        cursor = cursor if moved is None else moved.sequence
        assert set(range(cursor + 1)) <= done
        assert cursor + 1 not in done
        assert flight.acknowledged(order[place] + 100) is None


def mqtt(port: int, **settings: str) -> dict[str, object]:
    needs_module("paho.mqtt", "mqtt")
    scheme = "mqtts" if "ca_file" in settings else "mqtt"
    return {"mqtt": {"broker": f"{scheme}://127.0.0.1:{port}", "topic": "plant", **settings}}


def test_no_event_is_lost_when_broker_and_lane_are_killed(tmp_path):
    (port,) = free_ports(1)
    with sync_lines(tmp_path, lanes=mqtt(port)) as line:
        broker = Mosquitto(tmp_path / "broker", port, "allow_anonymous true")
        broker.start()
        listener, lane = Listener(port, "plant/#"), MqttLane(line.station)
        with killed_at_the_end(lane, listener, broker):
            lane.begin(line)
            line.say(40)
            wait_for(listener, TOPIC, 40)
            for total in (80, 120):
                broker.kill()
                line.say(20)
                broker.start()
                line.say(20)
                wait_for(listener, TOPIC, total)
            lane.kill()
            line.say(20)
            lane.start()
            lane.link(line.child)
            wait_for(listener, TOPIC, 140)
            line.kill_sync()
            line.say(20)
            line.start_sync()
            wait_for(listener, TOPIC, 160)
            until(lambda: line.acknowledged().get("lane-mqtt") == 160, "the station knows what the broker has")
            assert in_order_once(sequences(listener, TOPIC)) == list(range(1, 161))
            assert_said_of_itself(listener)


def test_a_broker_is_never_given_more_at_once_than_it_takes(tmp_path):
    broker = NarrowBroker()
    with sync_lines(tmp_path, lanes=mqtt(broker.port)) as line, killed_at_the_end(MqttLane(line.station)) as (lane,):
        line.start_both()
        line.say(10)
        lane.start()
        lane.link(line.child)
        until(lambda: broker.topics.count(TOPIC) >= 10 and "plant/state" in broker.topics, "all of it")
        until(lambda: line.acknowledged().get("lane-mqtt") == 10, "the station knows what the broker has")
    assert broker.most == 1
    assert broker.topics[0] == "plant/available"
    broker.close()


def test_a_lane_whose_messages_are_refused_does_not_stay_online(tmp_path):
    """A farewell with reason 0 would have the broker throw the will away, and `online` stand for ever."""
    broker = NarrowBroker(refusal=0x97)
    with sync_lines(tmp_path, lanes=mqtt(broker.port)) as line, killed_at_the_end(MqttLane(line.station)) as (lane,):
        lane.begin(line)
        until(lambda: broker.farewells, "the lane hangs up")
    assert broker.farewells[0] == WITH_WILL
    broker.close()


def test_a_cursor_that_is_none_is_one_line(tmp_path):
    needs_module("paho.mqtt", "mqtt")
    file = tmp_path / "lanes" / "mqtt.cursor"
    assert Progress(file).cursor == Cursor(0)
    file.parent.mkdir(exist_ok=True)
    for content in (b"\xff\xfe", b"what", b""):
        file.write_bytes(content)
        with pytest.raises(GoldlineError):
            Progress(file)


@pytest.mark.parametrize("topic", ["", "plant/#", "a/+/b", "$SYS/x", "a\0b"])
def test_a_topic_that_nothing_can_be_published_to_is_none(topic):
    with pytest.raises(ValidationError, match="topic"):
        MqttConfig(broker="mqtt://127.0.0.1", topic=topic)


def assert_said_of_itself(listener: Listener) -> None:
    """Each body is the event; its id is in the properties too. The lane says that it is there, and that it was not."""
    events = [(head, json.loads(body)) for head, body in listener.heard if head.startswith(TOPIC)]
    assert all(f"id:{event['id']}" in head and event["data"]["verdict"] == "PASS" for head, event in events)
    assert ("plant/available", "online") in [(head.split()[0], body) for head, body in listener.heard]
    assert ("plant/available", "offline") in [(head.split()[0], body) for head, body in listener.heard]


def test_tls_with_certificates(tmp_path, capfd):
    (port,) = free_ports(1)
    keys = certificates(tmp_path)
    settings = [f"cafile {keys / 'ca.pem'}", f"certfile {keys / 'broker.pem'}", f"keyfile {keys / 'broker.key'}"]
    files = {"certificate_file": str(keys / "lane.pem"), "key_file": str(keys / "lane.key")}
    broker = Mosquitto(tmp_path / "broker", port, *settings, "require_certificate true", "allow_anonymous true")
    own = ("--cafile", str(keys / "ca.pem"), "--cert", files["certificate_file"], "--key", files["key_file"])
    with sync_lines(tmp_path, lanes=mqtt(port, ca_file=str(keys / "ca.pem"))) as line:
        broker.start()
        listener, stranger = Listener(port, "plant/#", *own), MqttLane(line.station)
        with killed_at_the_end(stranger, listener, broker):
            line.start_both()
            line.say(5)
            stranger.start()
            until(lambda: "the broker is away" in capfd.readouterr().err, "the lane says that it is not let in")
            stranger.kill()
            assert not listener.heard
            known = MqttLane(line.station.model_copy(update={"lanes": with_files(line.station.lanes, files)}))
            with killed_at_the_end(known):
                known.start()
                wait_for(listener, TOPIC, 5)


def with_files(lanes, files):
    return lanes.model_copy(update={"mqtt": lanes.mqtt.model_copy(update=files)})


def certificates(folder):
    """An authority, and what it has signed for the broker and for the lane."""
    openssl, keys = str(needs_program("openssl", "openssl")), folder / "keys"
    keys.mkdir()

    def run(*words: str) -> None:
        subprocess.run([openssl, *words], check=True, capture_output=True, cwd=keys)

    run("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=ca")
    (keys / "names").write_text("subjectAltName=IP:127.0.0.1\n")
    for name in ("broker", "lane"):
        run(
            "req",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-keyout",
            f"{name}.key",
            "-out",
            f"{name}.csr",
            "-subj",
            f"/CN={name}",
        )
        signing = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "names", "-days", "2"]
        run("x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.pem", *signing)
    return keys


def test_a_file_that_is_not_there_is_one_line(tmp_path):
    (port,) = free_ports(1)
    lanes = mqtt(port, username="line", password_file=str(tmp_path / "none"))
    with sync_lines(tmp_path, lanes=lanes) as line:
        lane = MqttLane(line.station)
        with killed_at_the_end(lane):
            lane.start()
            assert lane.child.popen is not None and lane.child.control is not None
            assert lane.child.popen.wait(60) == 2
            said = lane.child.control.receive()
            assert "password_file" in getattr(said, "problem", "")


@pytest.mark.parametrize("topic", ["goldline.v1.-.-.station.left.result.", "goldline.v1.a.b.s.left.result."])
def test_topics_are_short(topic):
    from edge.lanes.mqtt import path_of

    assert path_of(topic) == "left/result"


def test_a_connection_that_failed_leaves_no_descriptor_behind():
    """At once, without the garbage collector: a broker that is away for a night is asked thousands of times."""
    nobody = MqttConfig(broker=f"mqtt://127.0.0.1:{free_ports(1)[0]}")
    needs_module("paho.mqtt", "mqtt")
    from edge.lanes.mqtt_broker import Broker

    gc.collect()
    gc.disable()
    try:
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(5):
            with Broker(nobody, "goldline/test", "test", Limit()) as broker:
                assert broker.said.get(timeout=30).what == "ended"
            del broker
        assert len(os.listdir("/proc/self/fd")) <= before
    finally:
        gc.enable()
