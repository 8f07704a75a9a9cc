"""What the station triggers by itself: on time, and never in bursts."""

from hypothesis import given
from hypothesis import strategies as st

from edge.metronome import Metronome


def test_each_name_beats_at_once_and_then_in_its_period():
    metronome = Metronome({"box": 10.0, "left": 25.0}, now_ns=5_000_000)
    assert metronome.next_ns == 5_000_000
    assert metronome.take(4_999_999) == []
    assert metronome.take(5_000_000) == ["box", "left"]
    assert metronome.next_ns == 15_000_000
    assert metronome.take(15_000_000) == ["box"]
    assert metronome.take(30_000_000) == ["box", "left"]
    metronome.stop()
    assert (metronome.next_ns, metronome.take(10**12)) == (None, [])


def test_without_periods_nothing_beats():
    assert Metronome({}, now_ns=0).next_ns is None


@given(st.lists(st.integers(0, 50_000_000), max_size=40))
def test_after_a_pause_one_beat_comes_and_the_next_a_period_later_at_most(steps):
    metronome, now_ns = Metronome({"box": 10.0}, now_ns=0), 0
    for step_ns in steps:
        now_ns += step_ns
        assert len(metronome.take(now_ns)) <= 1
        assert metronome.next_ns is not None
        assert now_ns <= metronome.next_ns + 1 <= now_ns + 10_000_001
