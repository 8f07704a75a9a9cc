"""Modbus function 43/14: whatever is asked, the answer is one of the specification's."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.client import ModbusTcpClient

from edge import __version__
from edge.lanes.modbus_guests import IDLE_S
from edge.lanes.modbus_identity import identify, objects_of
from tests.lanes.modbus_memory import ask, framed, serving
from tests.lanes.plc import until

OBJECTS = objects_of("s" * 63)
BASIC = {0: b"Goldline", 1: b"goldline", 2: __version__.encode()}
# What a Modbus PDU can hold.
LONGEST_PDU = 253


def read(answer: bytes) -> dict[int, bytes]:
    """The objects of an answer, to its last byte."""
    found, at = {}, 7
    for _ in range(answer[6]):
        one, length = answer[at], answer[at + 1]
        found[one], at = answer[at + 2 : at + 2 + length], at + 2 + length
    assert at == len(answer)
    return found


@given(st.integers(1, 3), st.integers(0, 255))
def test_a_stream_has_what_follows_of_its_level_or_begins_at_its_beginning(code: int, first: int) -> None:
    level = {one: text for one, text in OBJECTS.items() if code > 1 or one < 3}
    answer = identify(bytes((0x2B, 0x0E, code, first)), OBJECTS)
    assert answer[:6] == bytes((0x2B, 0x0E, code, 0x82, 0, 0))
    assert len(answer) <= LONGEST_PDU
    begin = first if first in level else 0
    assert read(answer) == {one: text for one, text in level.items() if one >= begin}


@given(st.integers(0, 255))
def test_one_object_is_it_or_exception_2(wanted: int) -> None:
    answer = identify(bytes((0x2B, 0x0E, 4, wanted)), OBJECTS)
    assert (read(answer) == {wanted: OBJECTS[wanted]}) if wanted in OBJECTS else (answer == b"\xab\2")


@given(st.binary(max_size=6))
def test_whatever_is_asked_is_answered_or_cut_short(rest: bytes) -> None:
    request = b"\x2b" + rest
    if not rest or (rest[0] == 0x0E and len(rest) < 3):
        with pytest.raises(ValueError, match="without"):
            identify(request, OBJECTS)
    elif rest[0] != 0x0E:
        assert identify(request, OBJECTS) == b"\xab\1"
    elif rest[1] not in range(1, 5):
        assert identify(request, OBJECTS) == b"\xab\3"


def test_another_makers_client_reads_who_answers() -> None:
    with serving() as served, ModbusTcpClient("127.0.0.1", port=served.port) as client:
        assert client.read_device_information(read_code=1, object_id=0).information == BASIC
        regular = {**BASIC, 4: b"Goldline inspection station", 6: b"cell-7"}
        assert client.read_device_information(read_code=2, object_id=0).information == regular
        assert client.read_device_information(read_code=4, object_id=6).information == {6: b"cell-7"}
        assert client.read_device_information(read_code=4, object_id=3).exception_code == 2


def test_a_request_that_is_cut_short_ends_the_connection_and_a_whole_one_counts_as_heard() -> None:
    with serving() as served:
        assert served.exchange(framed(b"\x2b\x0e\1")) == b""
        with served.connect() as peer:
            until(lambda: served.connections == 1, "it to be let in")
            before_s = time.monotonic()
            time.sleep(0.2)
            assert read(ask(peer, b"\x2b\x0e\1\0")) == BASIC
            served.server.turn(before_s + IDLE_S + 0.1)
            assert served.connections == 1
