"""Pulses: each exactly one answer for each of its shots, none twice, none invented, and no two parts ever mixed."""

from collections import Counter
from typing import NamedTuple

from hypothesis import example, given
from hypothesis import strategies as st

from edge.pulses import MOST_AT_ONCE, MOST_LOST, NOT_KNOWN_YET, OUT_OF_STEP, Look, Pulses
from edge.records import Reason

PICTURE, LOST, TOO_FAST = None, Reason.INCOMPLETE, Reason.OVERRUN
MS = 1_000_000
# What became of each pulse of a stream, and how long after the one before it came, ms.
STREAM = st.lists(st.tuples(st.sampled_from([PICTURE, PICTURE, LOST, TOO_FAST]), st.integers(1, 500)), max_size=60)


class Camera:
    """Fires on pulses, and counts as real ones do: ids of pictures, edges at its input."""

    def __init__(self, first_id: int, counts_edges: bool) -> None:
        self.frame_id, self.edges, self.at_ns = first_id - 1, 17 if counts_edges else None, 0

    def pulse(self, fate: Reason | None, after_ms: int) -> None:
        self.at_ns += after_ms * MS
        self.frame_id += fate is not TOO_FAST
        if self.edges is not None:
            self.edges += 1

    def seen_by(self, pulses: Pulses) -> list[Look]:
        return pulses.see(self.frame_id, self.at_ns, self.edges)


@given(streams=st.lists(STREAM, max_size=3), counts_edges=st.booleans(), first_id=st.integers(0, 70_000))
def test_every_pulse_has_one_answer_and_none_is_invented(
    streams: list[list[tuple[Reason | None, int]]], counts_edges: bool, first_id: int
) -> None:
    pulses, looks, expected = Pulses(), list[Look](), Counter[Reason | None]()
    for stream in streams:
        camera, between = Camera(first_id, counts_edges), Counter[Reason | None]()
        has_begun = False
        for fate, after_ms in stream:
            camera.pulse(fate, after_ms)
            between[fate] += 1
            if fate is PICTURE:
                seen = camera.seen_by(pulses)
                assert (seen[-1].reason, seen[-1].shot) == (None, 0), "the frame itself comes last"
                looks += seen
                # What was before a stream's first frame, or comes after its last, nobody can know of.
                known = (PICTURE, LOST, *((TOO_FAST,) if counts_edges else ()))
                expected.update({one: between[one] for one in known} if has_begun else {PICTURE: 1})
                between.clear()
                has_begun = True
        assert pulses.end(Reason.CAMERA_DOWN, "gone") == []
    assert [look.pulse for look in looks] == list(range(len(looks))), "once each, in order"
    assert Counter(look.reason for look in looks) == +expected


class Taken(NamedTuple):
    """A frame of a burst, as it really was."""

    burst: int
    shot: int


@st.composite
def bursts(draw: st.DrawFn) -> tuple[int, list[tuple[Taken, int, bool]]]:
    """Shots a burst; and each frame with its time, ns, and whether it arrived."""
    shots = draw(st.integers(2, 4))
    within_ms = draw(st.integers(2, 50))
    # From lines at the camera's very limit, where no pause tells bursts apart, to slow ones.
    slack = st.sampled_from([1.0, 1.0, 1.2, 1.5, 3.0, 20.0])
    at_ns, frames = 0, list[tuple[Taken, int, bool]]()
    arrives = st.sampled_from([True, True, True, False])
    for burst in range(draw(st.integers(1, 12))):
        at_ns += round(within_ms * MS * draw(slack))
        for shot in range(shots):
            at_ns += within_ms * MS if shot else 0
            frames.append((Taken(burst, shot), at_ns, draw(arrives)))
    return shots, frames


@given(bursts(), st.booleans())
def test_a_part_is_never_made_of_shots_of_two(made: tuple[int, list[tuple[Taken, int, bool]]], ends: bool) -> None:
    shots, frames = made
    pulses, looks, shown = Pulses(shots), list[Look](), dict[tuple[int, int], Taken]()
    for frame_id, (taken, at_ns, arrives) in enumerate(frames):
        if arrives:
            seen = pulses.see(frame_id, at_ns)
            looks += seen
            if seen[-1].reason is None:
                shown[seen[-1].pulse, seen[-1].shot] = taken
    looks += pulses.end(Reason.CAMERA_DOWN, "gone") if ends else []
    assert len({(look.pulse, look.shot) for look in looks}) == len(looks), "none twice"
    whole = Counter(look.pulse for look in looks)
    assert all(count == shots for pulse, count in whole.items() if ends or pulse != looks[-1].pulse), "none missing"
    good = Counter(look.pulse for look in looks if look.reason is None)
    for pulse in (pulse for pulse, count in good.items() if count == shots):
        of = [shown[pulse, shot] for shot in range(shots)]
        assert of == [Taken(of[0].burst, shot) for shot in range(shots)], "which could pass"


@given(
    shots=st.integers(2, 4),
    within_ms=st.integers(2, 20),
    pauses=st.lists(st.floats(2.1, 50), min_size=4, max_size=8),
    data=st.data(),
)
def test_nor_where_the_camera_did_not_count_a_shot_that_it_lost(
    shots: int, within_ms: int, pauses: list[float], data: st.DataObject
) -> None:
    """A camera whose own memory is full may drop a picture before it numbers it: by the ids alone none is missing."""
    lost = data.draw(st.integers(2 * shots, len(pauses) * shots - 1), label="frame")
    pulses, at_ns, frame_id, shown = Pulses(shots), 0, 0, list[tuple[Look, Taken]]()
    for number in range(len(pauses) * shots):
        burst, shot = divmod(number, shots)
        at_ns += round(within_ms * MS * (1 if shot else pauses[burst]))
        if number != lost:
            frame_id += 1
            shown.append((pulses.see(frame_id, at_ns)[-1], Taken(burst, shot)))
    for pulse in {look.pulse for look, _ in shown}:
        of = [taken for look, taken in shown if look.pulse == pulse and look.reason is None]
        assert len(of) < shots or of == [Taken(of[0].burst, shot) for shot in range(shots)]


@given(shots=st.integers(1, 4), count=st.integers(2, 20), within_ms=st.integers(1, 20), pause=st.floats(1.2, 50))
@example(shots=2, count=3, within_ms=10, pause=1.2)
def test_whole_bursts_with_a_pause_between_are_all_judged_but_the_first(
    shots: int, count: int, within_ms: int, pause: float
) -> None:
    pulses, looks, at_ns, frame_id = Pulses(shots), list[Look](), 0, 65_400
    for _ in range(count):
        at_ns += round(within_ms * pause * MS)
        for shot in range(shots):
            at_ns += within_ms * MS if shot else 0
            looks += pulses.see(frame_id, at_ns)
            frame_id += 1
    unknown = [Look(0, shot, Reason.MISSING_VIEW, NOT_KNOWN_YET) for shot in range(1, shots)]
    known = [Look(pulse, shot) for pulse in range(1, count) for shot in range(shots)]
    assert looks == [Look(0, 0), *unknown, *known]


def reasons(looks: list[Look]) -> Counter[Reason | None]:
    return Counter(look.reason for look in looks)


def test_a_jump_that_no_camera_could_take_invents_nothing() -> None:
    pulses = Pulses()
    pulses.see(10, 0)
    assert reasons(pulses.see(50_010, 1_000 * MS)) == {None: 1}, "it began to count anew"
    assert reasons(pulses.see(50_012, 1_010 * MS)) == {None: 1, LOST: 1}, "and counts on from there"
    assert reasons(pulses.see(3, 2_000 * MS)) == {None: 1}, "ids that went back"
    assert reasons(pulses.see(3, 2_100 * MS)) == {None: 1}, "ids that stand still"
    assert reasons(pulses.see(50_000, 10**15)) == {None: 1}, "whatever the time, the log could not hold so many"


def test_frames_that_a_busy_machine_saw_at_once_may_still_miss_some() -> None:
    pulses = Pulses()
    pulses.see(1, 0)
    assert reasons(pulses.see(1 + MOST_AT_ONCE, 1)) == {None: 1, LOST: MOST_AT_ONCE - 1}
    assert reasons(pulses.see(2 + 2 * MOST_AT_ONCE, 2)) == {None: 1}
    assert reasons(pulses.see(2 + 2 * MOST_AT_ONCE + MOST_LOST, 10_000 * MS))[LOST] == MOST_LOST - 1


def test_a_count_of_edges_that_goes_back_or_leaps_invents_nothing() -> None:
    pulses = Pulses()
    pulses.see(1, 0, 100)
    assert reasons(pulses.see(2, 10 * MS, 0)) == {None: 1}
    assert reasons(pulses.see(3, 20 * MS, 2)) == {None: 1, TOO_FAST: 1}
    assert reasons(pulses.see(4, 30 * MS, 60_000)) == {None: 1}
    assert reasons(pulses.see(5, 40 * MS, 60_001)) == {None: 1}
    assert reasons(pulses.see(6, 50 * MS)) == {None: 1}, "a frame that does not tell"
    assert reasons(pulses.see(7, 60 * MS, 60_006)) == {None: 1, TOO_FAST: 3}, "is made up for by the next"


def test_a_count_by_bursts_invents_nothing_when_it_began_within_one() -> None:
    """A camera that counts one edge for every two frames, from its first on, which was the second of a burst."""
    pulses, looks = Pulses(2), list[Look]()
    for number in range(20):
        at_ms = 100 * ((number + 1) // 2) + 5 * ((number + 1) % 2)
        looks += pulses.see(number, at_ms * MS, -(-(number + 1) // 2) + (number >= 15))
    assert reasons(looks) == {None: 19, Reason.MISSING_VIEW: 2, TOO_FAST: 2}, "the one that it did count besides"


def test_pictures_lost_for_want_of_a_slot_say_so() -> None:
    pulses = Pulses()
    pulses.see(1, 0)
    assert reasons(pulses.see(4, 30 * MS, lost=Reason.NO_SLOT)) == {None: 1, Reason.NO_SLOT: 2}


def test_a_stream_that_ends_within_a_burst_answers_for_the_rest_once() -> None:
    pulses = Pulses(3)
    pulses.see(1, 0)
    missing = [Look(0, shot, Reason.CAMERA_DOWN, "gone") for shot in (1, 2)]
    assert pulses.end(Reason.CAMERA_DOWN, "gone") == missing
    assert pulses.end(Reason.CAMERA_DOWN, "gone") == []
    assert pulses.see(1, 0) == [Look(1, 0)], "the next stream begins a pulse of its own"


def test_a_count_that_began_within_a_burst_is_found_out() -> None:
    """The first frame of the stream was lost before anything could tell: every burst seems to begin a shot too late."""
    pulses = Pulses(2)
    times_ms = [5, 105, 110, 205, 210]
    looks = [look for number, at_ms in enumerate(times_ms) for look in pulses.see(number, at_ms * MS)]
    assert looks == [
        Look(0, 0),
        Look(0, 1, Reason.MISSING_VIEW, NOT_KNOWN_YET),
        Look(1, 0),
        Look(1, 1, Reason.MISSING_VIEW, OUT_OF_STEP),
        Look(2, 0),
        Look(2, 1),
    ]
