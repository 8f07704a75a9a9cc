"""The count of a line's edges beside the pictures: exact where it can be, and never more than there were."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.cameras.camera import CameraLost
from edge.cameras.edge_count import QuietCount, Reading, Unwrapped

MS = 1_000_000
PICTURE_NS = 30 * MS
# What a picture takes in all, edge to arrival, is at most exposure, transfer and the slack that is allowed for.
LONGEST_NS = PICTURE_NS + 150 * MS


@given(first=st.integers(0, 65_535), steps=st.lists(st.integers(0, 9_000), min_size=1), bits=st.sampled_from([16, 32]))
def test_a_counter_that_wraps_counts_on(first: int, steps: list[int], bits: int) -> None:
    raw, counter, total = first + (1 << bits) - 65_536, Unwrapped(first + (1 << bits) - 65_536), 0
    for step in steps:
        raw, total = (raw + step) % (1 << bits), total + step
        assert counter.advance(raw) == total


@pytest.mark.parametrize(("before", "after"), [(40_000, 0), (40_000, 5), (70_000, 3), (5, 100_000)])
def test_a_counter_that_goes_back_began_anew(before: int, after: int) -> None:
    with pytest.raises(CameraLost, match=f"from {before} to {after}"):
        Unwrapped(before).advance(after)


# A line: edges some time apart, of which some give no picture and some pictures never arrive; each picture takes its time.
EDGES = st.lists(
    st.tuples(
        st.integers(1, 900).map(lambda ms: ms * MS),
        st.sampled_from(["picture", "picture", "picture", "overrun", "lost"]),
        st.integers(5 * MS, LONGEST_NS),
    ),
    max_size=25,
)


class Line:
    """Plays edges against a QuietCount, which is asked every 50 ms as a camera's `next` does."""

    def __init__(self, edges: list[tuple[int, str, int]], reading_ns: int) -> None:
        self.counter, self.reading_ns = QuietCount(PICTURE_NS), reading_ns
        at, arrived = 0, 0
        self.edges: list[tuple[int, str, int]] = []
        for pause_ns, what, takes_ns in edges:
            at += pause_ns
            # Pictures arrive in the order taken.
            arrived = max(arrived + 1, at + takes_ns)
            self.edges.append((at, what, arrived))
        self.end_ns = max(arrived, at) + 2_000 * MS
        self.told: list[tuple[int, int]] = []  # edges truly without a picture up to then, and the excess

    def play(self) -> None:
        arriving = [(arrived, at) for at, what, arrived in self.edges if what == "picture"]
        pictures, last_ns, asked = 0, 0, None
        for now in range(0, self.end_ns, 50 * MS):
            while arriving and arriving[0][0] <= now:
                arrived, at = arriving.pop(0)
                lost = sum(what == "lost" for edge, what, _arrived in self.edges if edge < at) - self._lost_seen
                self._lost_seen += lost
                pictures += 1 + lost
                self.counter.arrived(arrived, lost)
                last_ns = arrived
                self.told.append(
                    (sum(what == "overrun" for edge, what, _ in self.edges if edge < at), self.counter.excess)
                )
            if asked is not None and now >= asked[0] + self.reading_ns:
                read_ns, at_pictures = asked[0] + self.reading_ns, asked[1]
                edges = sum(edge <= read_ns for edge, _what, _arrived in self.edges)
                if at_pictures == pictures:
                    self.counter.read(Reading(read_ns=read_ns, excess=edges - pictures))
                asked = None
            self.counter.passed(now)
            if asked is None and self.counter.wants_reading(now, last_ns):
                self.counter.asked(now)
                asked = (now, pictures)

    _lost_seen = 0


@given(edges=EDGES, reading_ms=st.integers(0, 120))
def test_no_edge_without_a_picture_is_made_up(edges: list[tuple[int, str, int]], reading_ms: int) -> None:
    line = Line(edges, reading_ms * MS)
    line.play()
    assert all(told <= true for true, told in line.told)
    excesses = [told for _true, told in line.told]
    assert excesses == sorted(excesses)


@given(edges=EDGES)
def test_after_a_quiet_moment_the_next_picture_tells_of_all(edges: list[tuple[int, str, int]]) -> None:
    whole = [(pause, "picture" if what == "lost" else what, takes) for pause, what, takes in edges]
    line = Line([*whole, (3_000 * MS, "picture", 20 * MS)], 2 * MS)
    line.play()
    true, told = line.told[-1]
    assert told == true
