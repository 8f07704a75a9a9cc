"""SYNC as a real process: every verb, what is refused and how, and what befalls the outbox while it runs."""

import json
import os
import time
from pathlib import Path
from uuid import UUID

import pytest

from edge import header
from edge.commands import outbox as outbox_command
from edge.header import Flag
from edge.publish import outbox_path
from tests.publish_line import until
from tests.sync_line import Dealer, SyncLine, sync_lines


@pytest.fixture
def line(tmp_path):
    with sync_lines(tmp_path) as made:
        yield made


@pytest.fixture
def filled(line: SyncLine):
    """20 events on disk, SYNC alone, and somebody who asks."""
    line.fill(20)
    line.start_sync()
    dealer = Dealer(line.addresses["sync"])
    yield line, dealer
    dealer.close()


def told(dealer: Dealer, verb: bytes, **words):
    frames = dealer.ask(verb, json.dumps(words).encode())
    return frames[0].decode(), json.loads(frames[1]), frames[2:]


def stream_of(dealer: Dealer) -> str:
    return told(dealer, b"HELLO")[1]["stream"]


def metric(line: SyncLine, name: str, **labels: str) -> float:
    (value,) = (
        values[0]
        for series, values in line.sync.page.read()
        if series.metric.name == f"goldline_sync_{name}" and series.labels == tuple(labels.values())
    )
    return value


def test_hello_says_what_there_is(filled):
    _, dealer = filled
    verb, words, _ = told(dealer, b"HELLO", versions=[1, 7], id="a", later="ignored")
    assert verb == "WELCOME"
    assert (words["version"], words["head"], words["low"], words["id"]) == (1, 20, 1, "a")
    assert UUID(words["stream"])


def test_fetch_gives_the_events_as_they_stand_in_the_outbox(filled):
    line, dealer = filled
    stream = stream_of(dealer)
    verb, words, frames = told(dealer, b"FETCH", stream=stream, **{"from": 18})
    assert (verb, words["from"], words["count"], words["head"]) == ("BATCH", 18, 3, 20)
    assert frames[2::3] == line.bodies()[17:]
    heads = [header.decode(one) for one in frames[1::3]]
    assert [(one.sequence, one.previous, str(one.stream)) for one in heads] == [
        (18, 17, stream),
        (19, 18, stream),
        (20, 19, stream),
    ]
    assert all(one.flags == Flag.DURABLE | Flag.SIMULATED | Flag.REPLAY for one in heads)
    assert frames[0].decode().endswith(".left.result.")


def test_a_batch_keeps_to_its_bounds_but_has_one_event_at_least(filled):
    line, dealer = filled
    stream, size = stream_of(dealer), len(line.bodies()[0])
    assert told(dealer, b"FETCH", stream=stream, **{"from": 1, "max_n": 5})[1]["count"] == 5
    assert told(dealer, b"FETCH", stream=stream, **{"from": 1, "max_bytes": 3 * size + size // 2})[1]["count"] == 3
    assert told(dealer, b"FETCH", stream=stream, **{"from": 1, "max_bytes": 1})[1]["count"] == 1
    assert told(dealer, b"FETCH", stream=stream, **{"from": 21})[1]["count"] == 0


def test_what_is_pruned_is_said_to_be_gone(filled):
    line, dealer = filled
    stream = stream_of(dealer)
    line.prune(8)
    verb, words, _ = told(dealer, b"FETCH", stream=stream, **{"from": 3})
    assert (verb, words["first"], words["last"], words["low"]) == ("GONE", 3, 8, 9)
    assert told(dealer, b"FETCH", stream=stream, **{"from": 9})[1]["count"] == 12
    line.prune(20)
    verb, words, _ = told(dealer, b"FETCH", stream=stream, **{"from": 3})
    assert (verb, words["first"], words["last"], words["low"]) == ("GONE", 3, 20, 21)
    until(lambda: metric(line, "gone_total") == 2, "both were counted")


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        ((b"FETCH", b'{"from": 1}'), "request"),
        ((b"FETCH", b"nonsense"), "request"),
        ((b"GET", b'{"id": 4}'), "request"),
        ((b"HELLO", b"{}", b""), "request"),
        ((b"HELLO",), "request"),
        ((b"HELLO", b'{"consumer": "' + b"x" * 5000 + b'"}'), "request"),
        ((b"HELLO", b'{"consumer": "two words"}'), "request"),
        ((b"HELLO", b'{"versions": [2]}'), "version"),
        ((b"FETCH", b'{"stream": "00000000-0000-0000-0000-000000000001", "from": 1}'), "stream"),
    ],
)
def test_what_cannot_be_answered_is_refused_in_words(filled, frames, code):
    line, dealer = filled
    verb, body = dealer.ask(*frames)
    assert (verb, json.loads(body)["code"]) == (b"ERR", code)
    assert json.loads(body)["text"]
    assert metric(line, "errors_total", code=code) == 1


def test_a_refusal_for_another_stream_names_the_one_there_is(filled):
    _, dealer = filled
    _, words, _ = told(dealer, b"FETCH", stream=str(UUID(int=1)), id=9, **{"from": 1})
    assert (words["stream"], words["id"]) == (stream_of(dealer), 9)


def test_a_fetch_that_waits_is_answered_by_the_next_event(line):
    line.start_both()
    line.say(3)
    line.subscriber.wait(3)
    dealer = Dealer(line.addresses["sync"])
    stream = stream_of(dealer)
    dealer.socket.send_multipart([b"FETCH", json.dumps({"stream": stream, "from": 4, "wait_ms": 30_000}).encode()])
    assert not dealer.socket.poll(300)
    line.say(1)
    verb, body, *frames = dealer.hear()
    assert (verb, json.loads(body)["count"], len(frames)) == (b"BATCH", 1, 3)
    assert told(dealer, b"FETCH", stream=stream, **{"from": 5, "wait_ms": 50})[1]["count"] == 0
    dealer.close()


def test_a_req_socket_is_answered_as_well(filled):
    _, dealer = filled
    empty, verb, _ = dealer.ask(b"", b"HELLO", b"{}")
    assert (empty, verb) == (b"", b"WELCOME")


def test_an_acknowledgement_is_written_down_by_publish_and_survives_everybody(line):
    line.start_both()
    line.say(10)
    line.subscriber.wait(10)
    dealer = Dealer(line.addresses["sync"])
    stream = stream_of(dealer)
    assert told(dealer, b"HELLO", consumer="mes")[1]["upto"] == 0
    assert told(dealer, b"ACK", consumer="mes", stream=stream, upto=7)[1]["upto"] == 7
    # Never back, never beyond what there is, never of another stream.
    assert told(dealer, b"ACK", consumer="mes", stream=stream, upto=5)[1]["upto"] == 7
    assert told(dealer, b"ACK", consumer="mes", stream=stream, upto=11)[1]["code"] == "request"
    assert told(dealer, b"ACK", consumer="mes", stream=str(UUID(int=1)), upto=7)[1]["code"] == "stream"
    until(lambda: line.acknowledged() == {"mes": 7}, "it is on disk")
    line.kill_sync()
    line.start_sync()
    assert told(dealer, b"HELLO", consumer="mes")[1]["upto"] == 7
    # Publish dies with what it was just told: the new one is told again.
    line.kill()
    assert told(dealer, b"ACK", consumer="mes", stream=stream, upto=9)[1]["upto"] == 9
    line.start()
    line.link_both()
    until(lambda: line.acknowledged() == {"mes": 9}, "it is on disk")
    dealer.close()


def test_who_was_forgotten_is_not_written_down_again_when_publish_comes_back(line):
    line.start_both()
    line.say(3)
    line.subscriber.wait(3)
    dealer = Dealer(line.addresses["sync"])
    told(dealer, b"HELLO", consumer="old-mes")
    told(dealer, b"HELLO", consumer="mes")
    until(lambda: line.acknowledged() == {"old-mes": 0, "mes": 0}, "both are on disk")
    told(dealer, b"HELLO", consumer="mes")
    assert outbox_command.forget(outbox_path(line.station), "old-mes") == 0
    line.kill()
    line.start()
    line.link_both()
    told(dealer, b"ACK", consumer="mes", stream=stream_of(dealer), upto=3)
    until(lambda: line.acknowledged().get("mes") == 3, "it is on disk")
    assert line.acknowledged() == {"mes": 3}
    # Who comes again is one again.
    told(dealer, b"HELLO", consumer="old-mes")
    until(lambda: line.acknowledged() == {"old-mes": 0, "mes": 3}, "it is on disk")
    dealer.close()


def test_without_an_outbox_it_waits_for_one_and_says_so(line):
    line.start_sync()
    dealer = Dealer(line.addresses["sync"])
    verb, words, _ = told(dealer, b"HELLO")
    assert (verb, words["code"]) == ("ERR", "unavailable")
    outbox_path(line.station).parent.mkdir(parents=True, exist_ok=True)
    outbox_path(line.station).write_bytes(b"no database at all" * 100)
    assert told(dealer, b"HELLO")[1]["code"] == "unavailable"
    outbox_path(line.station).unlink()
    line.fill(3)
    assert told(dealer, b"HELLO")[1]["head"] == 3
    dealer.close()


def test_an_outbox_that_takes_the_place_of_another_is_another_stream(filled):
    line, dealer = filled
    before = stream_of(dealer)
    told(dealer, b"ACK", consumer="mes", stream=before, upto=20)
    line.replace_outbox()
    line.fill(5)
    verb, words, _ = told(dealer, b"FETCH", stream=before, **{"from": 21})
    assert (verb, words["code"]) == ("ERR", "stream")
    verb, words, _ = told(dealer, b"HELLO", consumer="mes")
    assert (words["stream"] != before, words["head"], words["upto"]) == (True, 5, 0)


def test_a_client_that_does_not_read_keeps_nobody_waiting(line):
    """It asks and asks and is stopped; the other is answered as quickly as before, and memory does not grow."""
    line.fill(2000)
    line.start_sync()
    stalled, healthy = Dealer(line.addresses["sync"]), Dealer(line.addresses["sync"])
    stream = stream_of(healthy)
    stream_of(stalled)
    request_ = json.dumps({"stream": stream, "from": 1, "max_n": 2000, "max_bytes": 4 << 20}).encode()
    for _ in range(200):
        stalled.socket.send_multipart([b"FETCH", request_])
    for _ in range(20):
        verb, words, _ = told(healthy, b"FETCH", stream=stream, **{"from": 1990})
        assert (verb, words["count"]) == ("BATCH", 11)
    assert line.sync.popen is not None
    resident = int(Path(f"/proc/{line.sync.popen.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    assert resident < 400 << 20
    stalled.close()
    healthy.close()


def test_a_death_of_sync_is_seen_only_as_a_pause(filled):
    line, dealer = filled
    stream = stream_of(dealer)
    line.kill_sync()
    line.start_sync()
    assert told(dealer, b"FETCH", stream=stream, **{"from": 20})[1]["count"] == 1


def test_it_stops_when_told_with_clients_that_wait(filled):
    line, dealer = filled
    stream = stream_of(dealer)
    dealer.socket.send_multipart([b"FETCH", json.dumps({"stream": stream, "from": 21, "wait_ms": 30_000}).encode()])
    until(lambda: metric(line, "waiting") == 1, "the client waits")
    began = time.monotonic()
    assert line.stop_sync() == 0
    assert time.monotonic() - began < 10
