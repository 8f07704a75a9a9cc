"""What a lane is made of: the numbers, a result's few words, what is kept, and publish's desk for lanes."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge import events
from edge.decided_log import DecidedLog
from edge.lane_desk import MOST_ANSWERS, LaneDesk
from edge.lanes import modbus_map as layout
from edge.lanes.codes import REASON_TEXTS, REASONS, REFUSAL_TEXTS, RESULTS, Refusal
from edge.lanes.kept import Kept
from edge.lanes.modbus_map import BITS, INPUTS, MIRROR, Bit, Field, Surroundings
from edge.lanes.result_lane import ResultLane
from edge.lanes.shown import NO_SCORE, Shown, settings_checksum
from edge.lanes.station_link import Place
from edge.messages import Answered, AnyMessage, Asked, News, Standing
from edge.records import Outcome, Reason
from tests.lanes.lane_line import event_of

# --- the numbers


def test_every_reason_and_outcome_has_a_number_of_its_own() -> None:
    assert set(REASONS) == set(REASON_TEXTS) == set(Reason)
    assert set(RESULTS) == set(Outcome)
    assert set(REFUSAL_TEXTS) == set(Refusal)
    assert len(set(REASONS.values())) == len(REASONS)
    assert 0 not in REASONS.values()


# What a PLC's program was written against; a change here breaks machines that run.
PUBLISHED = {
    "status": 0, "result": 1, "reason": 2, "result_number": 3, "trigger_id": 4, "processing_ms": 6, "settings": 7, "score": 8,
    "buffers_left": 10, "refusal": 11, "accepted_trigger_id": 12, "overruns": 14, "missed_triggers": 15, "unit_identifier": 16,
}  # fmt: skip
PUBLISHED_BITS = {
    "ready": 0, "trigger_ack": 1, "busy": 2, "completed": 3, "valid": 4, "good": 5, "overrun": 6, "missed": 7, "error": 8,
    "announce_ack": 9, "late": 10, "review": 11, "camera_up": 12,
}  # fmt: skip


def test_the_map_is_the_published_one() -> None:
    assert {field.name: field.at for field in layout.CHANNEL_INPUTS} == PUBLISHED
    assert {bit.name: bit.at for bit in layout.CHANNEL_STATUS} == PUBLISHED_BITS
    assert [bit.name for bit in layout.CHANNEL_CONTROLS] == ["trigger", "ack", "clear", "announce"]
    assert (BITS, INPUTS, MIRROR, layout.HOLDING, layout.CONTROL_AT, layout.IDENTIFIER_AT) == (16, 32, 32, 64, 0, 8)


@pytest.mark.parametrize(
    ("table", "size"),
    [(layout.CHANNEL_INPUTS, INPUTS), (layout.STATION_INPUTS, INPUTS), (layout.CHANNEL_HOLDING, MIRROR)],
)
def test_no_two_fields_overlap(table: tuple[Field, ...], size: int) -> None:
    taken = [place for field in table for place in range(field.at, field.at + field.words)]
    assert len(taken) == len(set(taken))
    assert max(taken) < size


@pytest.mark.parametrize("table", [layout.CHANNEL_STATUS, layout.STATION_STATUS, layout.CHANNEL_CONTROLS])
def test_no_two_bits_overlap(table: tuple[Bit, ...]) -> None:
    assert len({bit.at for bit in table}) == len(table)
    assert all(bit.at < BITS for bit in table)


@given(st.integers(0, 0xFFFF))
def test_bits_and_words_are_the_same(word: int) -> None:
    assert layout.word_of(layout.bits_of(word)) == word


@given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=32))
def test_an_identifier_survives_the_registers(text: str) -> None:
    event = event_of(1, "left", "PASS", unit_identifier=text or None)
    lane = ResultLane().take(Shown.of(event, 0, "modbus"), Place("log", 1))
    bits = layout.channel_bits(lane, Surroundings(is_ready=True, is_camera_up=True))
    words = layout.channel_words(lane, bits)
    assert len(words) == INPUTS
    assert layout.identifier_of(words[16:32]) == text


def test_an_identifier_of_no_printable_text_is_none() -> None:
    assert layout.identifier_of([0xFFFF] * 16) is None
    assert layout.identifier_of([0x0041] + [0] * 15) is None
    assert layout.identifier_of([0] * 16) == ""


# --- a result's few words


@given(
    score=st.none() | st.floats(allow_nan=False, allow_infinity=True),
    age_s=st.floats(0, 1e6),
    trigger_id=st.integers(0, 2**63 - 1),
    verdict=st.sampled_from(["PASS", "FAIL", "ERROR"]),
)
def test_any_result_fits_into_its_registers(score: float | None, age_s: float, trigger_id: int, verdict: str) -> None:
    event = event_of(trigger_id, "left", verdict, score=score, age_s=age_s)
    shown = Shown.of(event, events.utc_ns(event.time), "modbus")
    lane = ResultLane().take(shown, Place("log", 1))
    words = layout.channel_words(lane, layout.channel_bits(lane, Surroundings(is_ready=False, is_camera_up=False)))
    assert all(0 <= word <= 0xFFFF for word in words)
    assert words[4] << 16 | words[5] == trigger_id & 0xFFFFFFFF
    assert (words[0] >> 5 & 1) == (verdict == "PASS" and not shown.is_late)
    assert shown.is_late or age_s < 1.001
    assert (shown.score == NO_SCORE) == (score is None)


def test_settings_have_another_checksum_when_they_change() -> None:
    sums = {
        settings_checksum(recipe, reference, configuration)
        for recipe in "ab"
        for reference in "cd"
        for configuration in (1, 2)
    }
    assert len(sums) == 8
    assert 0 not in sums
    assert settings_checksum(None, None, 1) == 0


# --- what is kept

KEEPER = """
import sys
from pathlib import Path
from edge.lanes.kept import Kept
kept = Kept(Path(sys.argv[1]), "left")
number = int(kept.at_start.split(b" ")[0]) if kept.at_start else 0
while True:
    number += 1
    kept.write(b"%d " % number + b"x" * (number % 3000))
    print(number, flush=True)
"""


def test_a_kill_leaves_the_newest_value_or_the_one_before(tmp_path: Path) -> None:
    path, told = tmp_path / "lanes" / "left.kept", 0
    for _ in range(5):
        writer = subprocess.Popen([sys.executable, "-c", KEEPER, str(path)], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        for _ in range(300):
            told = int(writer.stdout.readline())
        os.kill(writer.pid, signal.SIGKILL)
        told = max([told, *(int(line) for line in writer.stdout.read().split(b"\n")[:-1])])
        writer.stdout.close()
        writer.wait()
        kept = Kept(path, "left")
        assert kept.at_start is not None
        number, padding = kept.at_start.split(b" ")
        assert int(number) in (told, told + 1)
        assert padding == b"x" * (int(number) % 3000)
        kept.close()


def test_a_channel_of_another_name_begins_anew(tmp_path: Path) -> None:
    first = Kept(tmp_path / "a.kept", "left")
    first.write(b"value")
    first.close()
    same, other = Kept(tmp_path / "a.kept", "left"), Kept(tmp_path / "a.kept", "right")
    assert same.at_start == b"value"
    assert other.at_start is None
    same.close()
    other.close()


# --- publish's desk


class Sockets:
    """What is sent to each peer, while there is room."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, AnyMessage]] = []
        self.has_room = True

    def send(self, peer: str, message: AnyMessage) -> Reason | None:
        if not self.has_room:
            return Reason.OVERRUN
        self.sent.append((peer, message))
        return None


@pytest.fixture
def desk(tmp_path: Path) -> Any:
    decided = DecidedLog.create_or_resume(tmp_path / "decided.log", "station", slots=64)
    sockets = Sockets()
    late: list[Any] = []

    def carry_out(order: bytes, reply: Any, lane: str) -> None:
        assert lane == "modbus"
        late.append(reply) if order == b"late" else reply(order.upper())

    yield LaneDesk(sockets.send, carry_out, decided), sockets, decided, late
    decided.close()


def test_a_lane_is_told_how_things_stand_and_answered(desk: Any) -> None:
    lanes, sockets, _, _ = desk
    lanes.stand(b"one")
    lanes.link("lane@modbus")
    lanes.hear("lane@modbus", Asked(token=3, order=b"go"))
    lanes.keep_up()
    assert sockets.sent == [("lane@modbus", Standing(state=b"one")), ("lane@modbus", Answered(token=3, answer=b"GO"))]


def test_what_does_not_fit_waits_in_order_and_only_the_newest_standing(desk: Any) -> None:
    lanes, sockets, decided, _ = desk
    lanes.link("lane@modbus")
    sockets.has_room = False
    for token in range(3):
        lanes.hear("lane@modbus", Asked(token=token, order=b"a"))
    lanes.stand(b"one")
    lanes.stand(b"two")
    decided.append(b"{}")
    lanes.keep_up()
    sockets.has_room = True
    lanes.keep_up()
    lanes.keep_up()
    answers = [Answered(token=token, answer=b"A") for token in range(3)]
    assert [message for _, message in sockets.sent] == [*answers, Standing(state=b"two")]


def test_news_come_once_for_what_was_decided(desk: Any) -> None:
    lanes, sockets, decided, _ = desk
    lanes.link("lane@modbus")
    lanes.link("lane@opcua")
    for _ in range(2):
        decided.append(b"{}")
    lanes.keep_up()
    lanes.keep_up()
    assert sockets.sent == [("lane@modbus", News()), ("lane@opcua", News())]


def test_a_late_answer_goes_to_who_asked_not_to_who_came_after(desk: Any) -> None:
    lanes, sockets, _, late = desk
    lanes.link("lane@modbus")
    lanes.hear("lane@modbus", Asked(token=1, order=b"late"))
    lanes.lose("lane@modbus")
    lanes.link("lane@modbus")
    late[0](b"done")
    lanes.keep_up()
    assert sockets.sent == []
    lanes.hear("lane@modbus", Asked(token=1, order=b"late"))
    late[1](b"done")
    lanes.keep_up()
    assert sockets.sent == [("lane@modbus", Answered(token=1, answer=b"done"))]


def test_a_lane_that_only_asks_is_bounded(desk: Any) -> None:
    lanes, sockets, _, _ = desk
    lanes.link("lane@modbus")
    sockets.has_room = False
    for token in range(MOST_ANSWERS + 10):
        lanes.hear("lane@modbus", Asked(token=token, order=b"a"))
    sockets.has_room = True
    lanes.keep_up()
    assert len(sockets.sent) == MOST_ANSWERS
