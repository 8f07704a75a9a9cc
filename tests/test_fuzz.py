"""Every parser that reads what others wrote: whatever comes, it is read rightly or refused in the parser's own words.

The bytes are made from right ones: cut, doubled, flipped, spliced, and JSON with a value of it replaced by any other.
"""

import json
import struct
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edge import events, header, orders, sync_protocol
from edge.channel import Channel, ChannelClosed, pair
from edge.config import Station, load_station
from edge.decided_log import DecidedLog
from edge.errors import GoldlineError
from edge.header import Flag, Header
from edge.messages import AnyMessage, Fire, Ids, Run
from edge.orders import OrderError
from edge.records import Outcome
from edge.sync_protocol import ProtocolError
from tests import values
from tests.lanes.modbus_memory import SIZE, Serving, framed, frames_of, serving

CONFIG = Path(__file__).parents[1] / "config.toml"
STREAM = uuid.UUID(int=7)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
    | st.sampled_from(["", "left", str(STREAM), "\0", "é", "a" * 300, 2**63, -(2**63) - 1, 1e308]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=6,
)


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    """These bytes with up to three things done to them."""
    data = bytearray(whole)
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(data)))
        kind = draw(st.sampled_from(["cut", "flip", "insert", "double", "drop"]))
        if kind == "cut":
            del data[at:]
        elif kind == "flip" and data:
            data[at % len(data)] ^= draw(st.integers(1, 255))
        elif kind == "insert":
            data[at:at] = draw(st.binary(min_size=1, max_size=8) | st.sampled_from([b"{", b'"', b"[" * 3000, b"\xff"]))
        elif kind == "double":
            data[at:at] = data[at : at + draw(st.integers(1, 40))]
        elif kind == "drop":
            del data[at : at + draw(st.integers(1, 8))]
    return bytes(data)


@st.composite
def altered(draw: st.DrawFn, words: dict[str, Any]) -> bytes:
    """This JSON object with a value replaced, dropped or added; then perhaps its bytes damaged."""
    changed = dict(words)
    key = draw(st.sampled_from([*words, "id", "other"]))
    if draw(st.booleans()):
        changed[key] = draw(JSON)
    else:
        changed.pop(key, None)
    whole = json.dumps(changed).encode()
    return draw(damaged(whole)) if draw(st.booleans()) else whole


def one_of_each(samples: list[dict[str, Any]]) -> st.SearchStrategy[bytes]:
    return (
        st.sampled_from(samples).flatmap(altered)
        | st.binary(max_size=200)
        | JSON.map(lambda it: json.dumps(it).encode())
    )


# --- the wire of events

HEADER = header.encode(Header(flags=Flag.DURABLE, stream=STREAM, sequence=5, previous=3, verdict_utc_ns=1))


@given(damaged(HEADER))
def test_a_header_is_read_as_it_stands_or_refused(data):
    try:
        named = header.decode(data)
    except ValueError:
        assert data != HEADER
        return
    assert header.encode(named) == data


HELLO = {"id": 1, "versions": [1], "consumer": "mes"}
FETCH = {"id": "x", "stream": str(STREAM), "from": 1, "max_n": 10, "max_bytes": 1000, "wait_ms": 0}
ACK = {"stream": str(STREAM), "upto": 9, "consumer": "mes"}
VERBS = st.sampled_from([b"HELLO", b"FETCH", b"ACK", b"", b"hello", b"\xff\xfe"]) | st.binary(max_size=10)


@given(
    st.lists(VERBS | one_of_each([HELLO, FETCH, ACK]), max_size=4) | st.tuples(VERBS, one_of_each([HELLO, FETCH, ACK]))
)
@example((b"FETCH", b"[" * 4000))
@example((b"ACK", b'{"id":' + b"9" * 4000 + b"}"))
def test_a_request_is_read_within_its_bounds_or_refused_with_its_code(frames):
    try:
        request = sync_protocol.parse_request(list(frames))
    except ProtocolError as refusal:
        words = sync_protocol.Err(code=refusal.code, text=str(refusal), id=refusal.request_id)
        assert sync_protocol.parse_answer(sync_protocol.encode(words))[0] == words
        return
    assert sync_protocol.parse_request(sync_protocol.encode(request)) == request
    if isinstance(request, sync_protocol.Fetch):
        assert 1 <= request.max_n <= sync_protocol.MAX_EVENTS
        assert 1 <= request.max_bytes <= sync_protocol.MAX_BATCH_BYTES
        assert 0 <= request.wait_ms <= sync_protocol.MAX_WAIT_MS
        assert 1 <= request.first < 2**63


BATCH = {"stream": str(STREAM), "from": 1, "count": 1, "head": 1, "low": 1}
ANSWERS = st.sampled_from([b"WELCOME", b"BATCH", b"GONE", b"ACKED", b"ERR"])


@given(ANSWERS, one_of_each([BATCH]), st.lists(st.just(HEADER) | damaged(HEADER) | st.binary(max_size=5), max_size=7))
@example(b"WELCOME", b'{"low":' + b"[" * 4000, [])
def test_an_answer_is_read_or_refused(verb, body, rest):
    try:
        answer, sent = sync_protocol.parse_answer([verb, body, *rest])
    except ProtocolError:
        return
    assert isinstance(answer, sync_protocol.Answer)
    assert all(len(event) == 3 for event in sent)


WHEN = datetime(2025, 1, 2, tzinfo=UTC)
RESULT = events.Result(station="s", camera="left", trigger_id=1, verdict=Outcome.PASS, decided=WHEN)
EVENT = events.encode(events.Event(source="urn:x", time=WHEN, subject="A1", data=RESULT))


@given(one_of_each([json.loads(EVENT)]) | damaged(EVENT))
def test_an_event_is_read_or_refused(body):
    try:
        event = events.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return
    assert events.decode(events.encode(event)) == event


# --- orders

ORDERS = [
    {"verb": "trigger", "camera": "left", "unit_identifier": "A17", "expect": {"variant": "oak"}, "id": 1},
    {"verb": "prepare", "product": "trunk", "variant": "oak"},
    {"verb": "announce", "camera": "left", "unit_identifier": None},
    {"verb": "start_single", "camera": "left"},
    {"verb": "state", "id": "x"},
]


@given(one_of_each(ORDERS))
@example(b"[" * 60_000)
@example(b'{"verb":"trigger","camera":"' + b"a" * orders.MAX_ORDER_BYTES + b'"}')
@example(b'{"verb":"state","id":' + b"9" * 400 + b"}")
@example(b'{"verb":"trigger","camera":"\\ud800","id":"\\udfff"}')
def test_an_order_is_read_or_refused_and_either_can_be_answered(body):
    try:
        order = orders.parse(body)
    except OrderError as refusal:
        answer = orders.Refused(error=str(refusal))
    else:
        answer = orders.Accepted(trigger_id=1, id=order.id)
    assert msgspec.json.decode(orders.encode(answer), type=type(answer)) == answer
    assert len(orders.encode(answer)) < 4 * orders.MAX_ORDER_BYTES


# --- between the station's own processes

MESSAGES: list[AnyMessage] = [Fire(trigger=values.trigger(7)), Ids(first=1, last=9), Run(is_on=True)]
PACKETS = [msgspec.msgpack.encode(message) for message in MESSAGES]


@given(st.sampled_from(PACKETS).flatmap(damaged) | st.binary(max_size=100))
def test_a_packet_is_a_message_or_an_error_of_the_decoder(packet):
    """Its peers are our own processes: one that says what is none has to be noticed, not understood."""
    ours, theirs = pair()
    with theirs:
        theirs.send(packet or b"\xc1")
        channel = Channel(ours)
        try:
            assert isinstance(channel.receive(), AnyMessage)
        except (msgspec.DecodeError, UnicodeDecodeError):
            assert packet not in PACKETS
        finally:
            channel.close()


def test_an_empty_packet_is_the_end():
    ours, theirs = pair()
    with theirs:
        theirs.send(b"")
        channel = Channel(ours)
        with pytest.raises(ChannelClosed):
            channel.receive()
        channel.close()


# --- files

CONFIGURATION = CONFIG.read_bytes()
UNCOMMENTED = b"\n".join(
    line[2:] if line.startswith(b"# ") and (b" = " in line or line.startswith(b"# [")) else line
    for line in CONFIGURATION.splitlines()
)


def lines_of_refusal(file: Path) -> list[str]:
    """None where it is a station."""
    try:
        assert isinstance(load_station(file, {}), Station)
    except GoldlineError as refusal:
        return str(refusal).splitlines()
    return []


@settings(max_examples=60)
@given(damaged(CONFIGURATION) | damaged(UNCOMMENTED) | st.binary(max_size=200))
def test_a_configuration_is_a_station_or_lines_that_name_the_file(tmp_path_factory, text):
    file = tmp_path_factory.getbasetemp() / "fuzzed.toml"
    file.write_bytes(text)
    assert all(line.startswith(str(file)) for line in lines_of_refusal(file))


@st.composite
def flips(draw: st.DrawFn, size: int) -> dict[int, int]:
    """What is written over, and with what."""
    return draw(st.dictionaries(st.integers(0, size - 1), st.integers(0, 255), max_size=20))


@settings(max_examples=60)
@given(st.data())
def test_of_a_damaged_log_every_record_is_one_that_was_written(tmp_path_factory, data):
    """Memory that went bad under the runtime directory: a record is right or is not there."""
    path = tmp_path_factory.mktemp("log") / "decided"
    log = DecidedLog.create_or_resume(path, "demo", 4)
    written = [EVENT + b"%d" % number for number in range(data.draw(st.integers(0, 40)))]
    for number, body in enumerate(written):
        log.mark_committed(log.append(body))
        log.beat(number)
    log.close()
    content = bytearray(path.read_bytes())
    for at, value in data.draw(flips(len(content)) | flips(4096)).items():
        content[at] = value
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content)
    reader = DecidedLog.attach(path)
    if reader is not None:
        assert {record.event for record in reader.read_all()} <= set(written)
        assert [body for _, body in reader.read_from(reader.end())] == []
        reader.close()


# --- registers


@pytest.fixture(scope="module")
def modbus() -> Iterator[Serving]:
    with serving() as served:
        yield served


PDUS = st.builds(
    lambda function, start, count, rest: struct.pack(">BHH", function, start, count) + rest,
    st.sampled_from([1, 2, 3, 4, 5, 6, 15, 16, 22, 23, 43]) | st.integers(0, 255),
    st.integers(0, 120) | st.integers(0, 65535),
    st.integers(0, 130) | st.sampled_from([0, 0xFF00, 0xFFFF]),
    st.binary(max_size=240),
)


@given(
    st.lists(PDUS.map(framed) | PDUS.map(framed).flatmap(damaged) | st.binary(max_size=20), max_size=6),
    st.integers(1, 50),
)
def test_whatever_comes_over_modbus_is_answered_or_hung_up_on(modbus, parts, step):
    """However it is cut on its way; a bank keeps its size and its kinds of values, and the next one is served."""
    stream = b"".join(parts)
    answers = frames_of(modbus.exchange(stream, step))
    for said, one in zip(answers, frames_of(stream), strict=False):
        assert (said[:2], said[6]) == (one[:2], one[6])
        assert said[7] in (one[7], one[7] | 0x80)
    assert len(answers) <= len(frames_of(stream))
    bits, words = modbus.bank.bits["coils"], modbus.bank.words["holding_registers"]
    assert len(bits) == len(words) == SIZE
    assert all(isinstance(bit, bool) for bit in bits)
    assert all(0 <= word <= 65535 for word in words)
    modbus.turn()
    assert modbus.exchange(framed(b"\4\0\1\0\1")) == framed(b"\4\2\0\1")
