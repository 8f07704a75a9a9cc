"""The reader's core: whatever is lost, doubled, late or pruned on the way, each number comes once and in order."""

from collections.abc import Iterator
from itertools import pairwise
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge import catch_up
from edge.catch_up import Arrived, CatchUp, Cursor, Gone, Item, NewStream
from edge.errors import GoldlineError
from edge.header import Flag, Header
from edge.sync_protocol import Answer, Batch, Code, Err, Fetch, Hello, Welcome
from edge.sync_protocol import Gone as GoneAnswer

TOPIC = b"goldline.v1.-.-.s.left.result."
STREAMS = [UUID(int=number) for number in range(1, 9)]
Sent = list[tuple[bytes, Header, bytes]]


def named(stream: UUID, sequence: int, flags: Flag = Flag.DURABLE) -> Header:
    return Header(flags=flags, stream=stream, sequence=sequence, previous=0, verdict_utc_ns=0)


def body(stream: UUID, sequence: int) -> bytes:
    return f"{stream}/{sequence}".encode()


class StationModel:
    """A station as its protocol says: an outbox that grows, loses its oldest, and is replaced."""

    def __init__(self) -> None:
        self.number, self.head, self.low = 0, 0, 1

    @property
    def stream(self) -> UUID:
        return STREAMS[self.number]

    def answer(self, request: Hello | Fetch) -> tuple[Answer, Sent]:
        extent = {"id": request.id, "stream": self.stream, "head": self.head, "low": self.low}
        if isinstance(request, Hello):
            return Welcome(**extent), []
        if request.stream != self.stream:
            return Err(id=request.id, code=str(Code.STREAM), text="another"), []
        if request.first < self.low and request.first <= self.head:
            return GoneAnswer(**extent, first=request.first, last=self.low - 1), []
        numbers = range(request.first, min(self.head, request.first + 3) + 1)
        sent = [(TOPIC, named(self.stream, one, Flag.DURABLE | Flag.REPLAY), body(self.stream, one)) for one in numbers]
        return Batch(**extent, first=request.first, count=len(sent)), sent


class World:
    """The station, one reader, and what is between them: messages that arrive late, twice or never."""

    def __init__(self, after: Cursor | None, *, has_live: bool) -> None:
        self.station, self.now_ns = StationModel(), 1
        self.reading = CatchUp(after, has_live=has_live)
        self.has_live = has_live
        self.live: list[tuple[Header, bytes]] = []
        self.answers: list[tuple[Answer, Sent]] = []
        self.items: list[Item] = []

    def step(self, name: str) -> None:  # noqa: C901, PLR0912 - a table of what may happen
        station = self.station
        match name:
            case "event" | "event lost":
                station.head += 1
                if name == "event":
                    self.live.append((named(station.stream, station.head), body(station.stream, station.head)))
            case "heartbeat":
                self.live.append((named(station.stream, station.head, Flag(0)), b"{}"))
            case "prune":
                station.low = min(station.low + 2, station.head + 1)
            case "new stream" if station.number < len(STREAMS) - 1:
                station.number, station.head, station.low = station.number + 1, 0, 1
            case "live arrives" if self.live:
                self.hear(*self.live.pop(0))
            case "live again" if self.live:
                self.hear(*self.live[0])
            case "live all lost":
                self.live.clear()
            case "ask" | "ask and lose":
                if (request := self.reading.wanted(self.now_ns)) is not None and name == "ask":
                    self.answers.append(station.answer(request))
            case "answer" if self.answers:
                self.reading.answered(*self.answers.pop(0), self.now_ns)
            case "answer again" if self.answers:
                self.reading.answered(*self.answers[-1], self.now_ns)
            case "busy" if self.answers:
                refused = Err(id=self.answers.pop(0)[0].id, code=str(Code.BUSY), text="later")
                self.reading.answered(refused, [], self.now_ns)
            case "time":
                self.now_ns += catch_up.ANSWER_NS
        self.take()

    def hear(self, head: Header, content: bytes) -> None:
        if self.has_live:
            self.reading.live(TOPIC, head, content, self.now_ns)

    def take(self) -> None:
        while self.reading.items:
            self.items.append(self.reading.items.popleft())

    def settle(self) -> None:
        """The network works from now on; everything has to arrive in the end."""
        for _ in range(100):
            self.now_ns += catch_up.ANSWER_NS * 5
            self.step("heartbeat")
            while self.live:
                self.step("live arrives")
            if (request := self.reading.wanted(self.now_ns)) is not None:
                self.reading.answered(*self.station.answer(request), self.now_ns)
            self.take()
            if self.reading.cursor == Cursor(self.station.head, self.station.stream):
                return
        raise AssertionError(f"stuck at {self.reading.cursor} of {self.station.stream}/{self.station.head}")


def told(items: list[Item], start: Cursor) -> Iterator[tuple[UUID, int]]:
    """Every number that the items account for, in the order they do."""
    for item in items:
        match item:
            case Arrived():
                assert item.body == body(item.stream, item.sequence)
                yield item.stream, item.sequence
            case Gone():
                assert item.first <= item.last
                yield from ((item.stream, number) for number in range(item.first, item.last + 1))
            case NewStream():
                yield item.stream, 0


STEPS = st.sampled_from(
    [
        *("event", "event", "event", "event", "event lost", "heartbeat", "prune", "new stream"),
        *("live arrives", "live arrives", "live arrives", "live again", "live all lost"),
        *("ask", "ask", "ask", "ask and lose", "answer", "answer", "answer", "answer again", "busy", "time"),
    ]
)


@settings(max_examples=300, deadline=None)
@given(st.booleans(), st.sampled_from([None, Cursor(0), Cursor(0, STREAMS[0])]), st.lists(STEPS, max_size=80))
def test_each_number_comes_once_and_in_order_or_is_said_to_be_gone(has_live, after, steps):
    world = World(after, has_live=has_live)
    begun: Cursor | None = None
    for step in steps:
        world.step(step)
        if begun is None and world.reading.has_begun and not world.items:
            begun = world.reading.cursor
    world.settle()
    assert world.reading.problem is None
    numbers = list(told(world.items, Cursor(0)))
    for before, now in pairwise(numbers):
        # The next of the same stream, or the first word of a later one.
        assert now == (before[0], before[1] + 1) or (now[1] == 0 and now[0].int > before[0].int)
    if begun is not None and numbers:
        assert numbers[0] in {(begun.stream, begun.sequence + 1)} | {(stream, 0) for stream in STREAMS}
    if numbers:
        assert numbers[-1] == (world.station.stream, world.station.head)


def begun(after: Cursor | None = None, head: int = 10) -> CatchUp:
    reading = CatchUp(after)
    request = reading.wanted(1)
    assert isinstance(request, Hello)
    reading.answered(Welcome(id=request.id, stream=STREAMS[0], head=head, low=1), [], 1)
    return reading


def test_without_a_cursor_reading_begins_now():
    reading = begun()
    assert reading.cursor == Cursor(10, STREAMS[0])
    reading.live(TOPIC, named(STREAMS[0], 11), b"", 2)
    assert [item.cursor.sequence for item in reading.items] == [11]


def test_what_comes_early_waits_and_more_than_there_is_room_for_is_fetched():
    reading = begun(Cursor(0), head=catch_up.BACKLOG_EVENTS + 5)
    for number in range(2, catch_up.BACKLOG_EVENTS + 6):
        reading.live(TOPIC, named(STREAMS[0], number), b"", 2)
    assert not reading.items
    request = reading.wanted(3)
    assert isinstance(request, Fetch) and request.first == 1
    answer = Batch(id=request.id, stream=STREAMS[0], first=1, count=1, head=catch_up.BACKLOG_EVENTS + 5, low=1)
    reading.answered(answer, [(TOPIC, named(STREAMS[0], 1), b"")], 3)
    assert len(reading.items) == catch_up.BACKLOG_EVENTS + 1
    again = reading.wanted(4)
    assert isinstance(again, Fetch) and again.first == catch_up.BACKLOG_EVENTS + 2


def test_what_live_brought_is_handed_on_though_the_outbox_has_let_it_go():
    reading = begun(Cursor(0))
    reading.live(TOPIC, named(STREAMS[0], 4), b"", 2)
    request = reading.wanted(3)
    assert request is not None
    reading.answered(GoneAnswer(id=request.id, stream=STREAMS[0], first=1, last=6, head=10, low=7), [], 3)
    assert [(item.first, item.last) if isinstance(item, Gone) else item.cursor.sequence for item in reading.items] == [
        (1, 3),
        4,
        (5, 6),
    ]


def test_an_outbox_that_ends_before_the_cursor_is_a_problem_not_silence():
    reading = begun(Cursor(11, STREAMS[0]))
    assert reading.problem is not None and "ends at event 10, and 11 was read before" in reading.problem


def test_an_older_answer_than_live_is_no_problem():
    reading = begun()
    reading.live(TOPIC, named(UUID(int=99), 3), b"", 2)
    request = reading.wanted(2)
    assert isinstance(request, Hello)
    reading.live(TOPIC, named(STREAMS[0], 11), b"", 2)
    reading.answered(Welcome(id=request.id, stream=STREAMS[0], head=10, low=1), [], 3)
    assert reading.problem is None


def test_an_answer_that_takes_longer_than_is_waited_is_heard_all_the_same():
    """A slow disk, a busy station: were only the newest request's answer heard, it would be asked for ever."""
    reading = CatchUp(Cursor(0))
    hello = reading.wanted(1)
    assert hello is not None
    assert reading.wanted(1 + catch_up.ANSWER_NS) == hello
    reading.answered(Welcome(id=hello.id, stream=STREAMS[0], head=1, low=1), [], 2 + catch_up.ANSWER_NS)
    fetch = reading.wanted(3 + catch_up.ANSWER_NS)
    assert fetch is not None
    assert reading.wanted(3 + 2 * catch_up.ANSWER_NS) == fetch
    answer = Batch(id=fetch.id, stream=STREAMS[0], first=1, count=1, head=1, low=1)
    for _ in range(2):
        reading.answered(answer, [(TOPIC, named(STREAMS[0], 1), b"")], 4 + 2 * catch_up.ANSWER_NS)
    assert [item.cursor.sequence for item in reading.items] == [1]
    # LIVE has brought it meanwhile: what is asked then is another question.
    reading.live(TOPIC, named(STREAMS[0], 3), b"", 5 + 2 * catch_up.ANSWER_NS)
    before = reading.wanted(6 + 2 * catch_up.ANSWER_NS)
    reading.live(TOPIC, named(STREAMS[0], 2), b"", 7 + 2 * catch_up.ANSWER_NS)
    reading.live(TOPIC, named(STREAMS[0], 5), b"", 8 + 2 * catch_up.ANSWER_NS)
    after = reading.wanted(6 + 3 * catch_up.ANSWER_NS)
    assert before is not None and after is not None and before.id != after.id


def test_when_live_is_silent_sync_is_asked():
    reading = begun()
    reading.live(TOPIC, named(STREAMS[0], 10, Flag(0)), b"{}", 5)
    assert reading.wanted(6) is None
    request = reading.wanted(6 + catch_up.QUIET_NS)
    assert isinstance(request, Fetch) and request.first == 11


@pytest.mark.parametrize("code", ["version", "consumer", "request"])
def test_a_refusal_that_does_not_pass_is_a_problem(code):
    reading = CatchUp(None, "mes")
    request = reading.wanted(1)
    assert request is not None
    reading.answered(Err(id=request.id, code=code, text="not you"), [], 1)
    assert reading.problem == "the station refused: not you"


def test_only_a_named_consumer_acknowledges_and_only_of_its_stream():
    assert begun().ack(Cursor(3)) is None
    reading = CatchUp(None, "mes")
    assert reading.ack(Cursor(3)) is None
    request = reading.wanted(1)
    assert request is not None
    reading.answered(Welcome(id=request.id, stream=STREAMS[0], head=10, low=1), [], 1)
    assert reading.ack(Cursor(3, STREAMS[1])) is None
    word = reading.ack(Cursor(3, STREAMS[0]))
    assert word is not None and (word.upto, word.consumer) == (3, "mes")


@pytest.mark.parametrize("text", ["", "x", "-1", "7/7", f"{STREAMS[0]}/", f"{STREAMS[0]}/x"])
def test_what_is_no_cursor_is_refused(text):
    with pytest.raises(GoldlineError, match="expected the id of an event"):
        Cursor.parse(text)


@given(st.one_of(st.none(), st.uuids()), st.integers(0, 2**63 - 1))
def test_a_cursor_comes_back(stream, sequence):
    assert Cursor.parse(str(Cursor(sequence, stream))) == Cursor(sequence, stream)
