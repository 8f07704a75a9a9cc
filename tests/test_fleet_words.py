"""What is said of events to the plant, and what the example reader makes of it. Pure."""

import importlib.util
from contextlib import suppress
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.heard import Cursor, Gone, NewStream
from tests.needs import needs_module

needs_module("nats", "fleet")


from edge.fleet import words  # noqa: E402
from edge.fleet.answers import FULL, NO_RESPONDERS, Refused, number_of  # noqa: E402
from tests.fleet_bench import READER, SOURCE, event  # noqa: E402

STREAMS = st.uuids()
STREAM = uuid4()


@given(st.lists(st.tuples(st.integers(1, 5), st.booleans()), max_size=30), STREAMS, st.data())
def test_a_reader_takes_each_once_and_says_what_is_missing(steps, stream, data):
    """Any history with repetitions, gaps that are told and gaps that are not."""
    order, sent, number = reader().Order(), [], 0
    for length, is_told in steps:
        if is_told:
            gone = Gone(stream=stream, first=number + 1, last=number + length)
            sent.append((words.message_of(gone, SOURCE), None))
        else:
            sent += [(event(stream, number + 1 + at), number + 1 + at) for at in range(length)]
        number += length
    repeated = [one for one in sent for _ in range(data.draw(st.integers(1, 2)))]
    told = [what for message, _ in repeated for what in order.take(message.subject, message.id, message.body)]
    assert [what["n"] for what in told if what["kind"] == "event"] == [n for _, n in sent if n is not None]
    assert not [what for what in told if what["kind"] == "missing"]


def test_a_gap_without_a_word_is_missing(tmp_path):
    stream, order = uuid4(), reader().Order()
    sent = [event(stream, n) for n in (1, 2, 5)]
    told = [what for one in sent for what in order.take(one.subject, one.id, one.body)]
    assert [what["kind"] for what in told] == ["event", "event", "missing", "event"]
    assert (told[2]["first"], told[2]["last"]) == (3, 4)


@given(
    st.none() | st.text() | st.just(f"{STREAM}:7"),
    st.binary() | st.sampled_from([b"[]", b"{}", b'{"kind":"gone"}', b"7"]),
)
def test_no_message_of_a_device_stops_a_reader_or_hides_another_stations_events(message_id, body):
    order = reader().Order()
    list(order.take("goldline.v1.-.l1.thief.left.result", message_id, body))
    own = event(STREAM, 1)
    assert [what["kind"] for what in order.take(own.subject, own.id, own.body)] == ["event"]


def reader():
    spec = importlib.util.spec_from_file_location("reader", READER)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@given(STREAMS, st.integers(1, 1 << 40))
def test_an_id_tells_where_it_stands(stream, number):
    message = event(stream, number)
    assert message.subject == "goldline.v1.-.l1.cell.left.result"
    assert words.before(message.id) == Cursor(number - 1, stream)
    assert message.cursor == Cursor(number, stream)
    for notice in (Gone(stream=stream, first=1, last=number), NewStream(before=stream, heard=number, stream=stream)):
        told = words.message_of(notice, SOURCE)
        assert told.subject == "goldline.v1.-.l1.cell.-.notice"
        assert words.before(told.id) is None
        assert told.cursor == notice.cursor


@given(st.one_of(st.binary(), st.integers(1).map(lambda n: b'{"stream":"EVENTS","seq":%d}' % n)), st.none() | st.text())
def test_an_answer_is_a_number_or_a_refusal(body, status):
    with suppress(Refused):
        assert number_of(body, status) >= 0


def test_a_full_server_is_told_from_others():
    body = b'{"error":{"code":400,"err_code":10077,"description":"maximum bytes exceeded"},"stream":"EVENTS","seq":0}'
    with pytest.raises(Refused, match="maximum bytes") as refused:
        number_of(body, None)
    assert refused.value.code == FULL
    with pytest.raises(Refused, match="no stream"):
        number_of(b"", NO_RESPONDERS)
