"""The words of SYNC: what goes out comes back, and no bytes do anything but be refused or understood."""

import json
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge import sync_protocol
from edge.header import Flag, Header
from edge.sync_protocol import Ack, Acked, Batch, Err, Fetch, Gone, Hello, ProtocolError, Row, Welcome

REQUESTS = st.one_of(
    st.builds(Hello, id=st.integers(0, 9), consumer=st.sampled_from([None, "mes"])),
    st.builds(
        Fetch,
        id=st.text(max_size=5),
        stream=st.uuids(),
        first=st.integers(1, 2**63 - 1),
        max_n=st.integers(1, 10_000),
        wait_ms=st.integers(0, 30_000),
    ),
    st.builds(Ack, stream=st.uuids(), upto=st.integers(0, 2**63 - 1), consumer=st.just("mes.1")),
)
ANSWERS = st.one_of(
    st.builds(Welcome, stream=st.uuids(), head=st.integers(0, 9), low=st.integers(0, 9)),
    st.builds(Gone, stream=st.uuids(), first=st.just(1), last=st.just(2), head=st.just(3), low=st.just(3)),
    st.builds(Acked, consumer=st.just("mes"), upto=st.integers(0, 9)),
    st.builds(Err, code=st.text(), text=st.text(), stream=st.one_of(st.none(), st.uuids())),
)


@given(REQUESTS)
def test_a_request_comes_back(request_):
    assert sync_protocol.parse_request(sync_protocol.encode(request_)) == request_


@given(ANSWERS)
def test_an_answer_comes_back(answer):
    assert sync_protocol.parse_answer(sync_protocol.encode(answer)) == (answer, [])


@given(st.lists(st.binary(max_size=50), max_size=5))
def test_no_bytes_do_anything_but_be_refused(frames):
    for parse in (sync_protocol.parse_request, sync_protocol.parse_answer):
        with pytest.raises(ProtocolError):
            parse(frames)


@given(st.sampled_from([b"HELLO", b"FETCH", b"ACK"]), st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
))  # fmt: skip
def test_no_json_does_anything_but_be_refused_or_understood(verb, value):
    try:
        request_ = sync_protocol.parse_request([verb, json.dumps(value).encode()])
    except ProtocolError:
        return
    assert isinstance(request_, Hello)


@given(st.lists(st.binary(max_size=80), min_size=1, max_size=9))
def test_events_come_back_with_the_flag_of_a_replay(bodies):
    rows = [
        Row(sequence=number, topic="t.", previous=number - 1, flags=1, verdict_utc_ns=5, body=body)
        for number, body in enumerate(bodies, start=7)
    ]
    stream = uuid4()
    frames = sync_protocol.batch(stream, rows, 99, 1, Fetch(id=3, stream=stream, first=7))
    answer, sent = sync_protocol.parse_answer(frames)
    assert isinstance(answer, Batch) and (answer.id, answer.first, answer.count) == (3, 7, len(rows))
    assert [(topic, body) for topic, _, body in sent] == [(b"t.", body) for body in bodies]
    assert sent[0][1] == Header(
        flags=Flag.DURABLE | Flag.REPLAY, stream=stream, sequence=7, previous=6, verdict_utc_ns=5
    )
    with pytest.raises(ProtocolError):
        sync_protocol.parse_answer(frames[:-1])
