"""Two cameras on one signal: no part is ever made of two, each trigger and each frame is settled once."""

import heapq
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from edge.lockstep import ALIKE_NS, FRAME_WAITS_NS, QUIET_NS, TRIGGER_WAITS_NS, Lockstep, Settled

MS = 1_000_000
GOOD, LOST, MISSED = "good", "lost", "missed"


class Pulse(NamedTuple):
    """When it was, what each camera made of it, how far off each frame's time is, and how late each is heard of, ms."""

    at_ms: int
    leads: str
    follows: str
    off_ms: tuple[int, int]
    late_ms: tuple[int, int]


@st.composite
def lines(draw: st.DrawFn) -> list[Pulse]:
    fates = st.sampled_from([GOOD] * 6 + [LOST, MISSED])
    off, late = st.integers(0, 18), st.integers(0, 300)
    at_ms, pulses = 0, list[Pulse]()
    for _ in range(draw(st.integers(0, 25))):
        at_ms += draw(st.sampled_from([50, 80, 100, 100, 100, 300, 700, 2000]))
        fate = draw(fates), draw(fates)
        pulses.append(Pulse(at_ms, *fate, (draw(off), draw(off)), (draw(late), draw(late))))
    return pulses


def heard(pulses: list[Pulse], side: int) -> list[tuple[int, int | None, int]]:
    """What one camera's process says, in order: when, the time of the pulse if it has one, and which pulse it was.

    A lost picture is told of with the next that arrives; a pulse that was missed, never.
    """
    told: list[tuple[int, int | None, int]] = []
    untold: list[int] = []
    now_ms = 0
    for number, pulse in enumerate(pulses):
        fate = (pulse.leads, pulse.follows)[side]
        if fate == LOST:
            untold.append(number)
        elif fate == GOOD:
            now_ms = max(now_ms, pulse.at_ms + 20 + pulse.late_ms[side])
            told += [(now_ms * MS, None, lost) for lost in untold]
            told.append((now_ms * MS, (pulse.at_ms + pulse.off_ms[side]) * MS, number))
            untold.clear()
    return told


def run(pulses: list[Pulse]) -> list[Settled[int, int]]:
    """Everything that is settled, as it comes over two sockets, and time passing between."""
    lockstep: Lockstep[int, int] = Lockstep(-QUIET_NS)
    asked = [(at_ns, 0, order, said) for order, (at_ns, *said) in enumerate(heard(pulses, 0))]
    seen = [(at_ns, 1, order, said) for order, (at_ns, *said) in enumerate(heard(pulses, 1))]
    settled: list[Settled[int, int]] = []
    for now_ns, side, _, (at_ns, number) in heapq.merge(asked, seen):
        settled += lockstep.expire(now_ns)
        if side == 0:
            settled += lockstep.asked(number, at_ns, now_ns)
        else:
            settled += lockstep.seen(None if at_ns is None else number, at_ns, now_ns)
    return settled + lockstep.give_up()


@settings(max_examples=300)
@given(lines())
def test_no_part_is_made_of_two_and_each_is_settled_once(pulses: list[Pulse]) -> None:
    settled = run(pulses)
    pairs = [one for one in settled if one.trigger is not None and one.frame is not None]
    assert all(one.trigger == one.frame for one in pairs)
    assert all(pulses[number].leads == pulses[number].follows == GOOD for number, _ in pairs)
    triggers = Counter(one.trigger for one in settled if one.trigger is not None)
    frames = Counter(one.frame for one in settled if one.frame is not None)
    assert triggers == Counter(number for _, _, number in heard(pulses, 0))
    assert frames == Counter(number for _, at_ns, number in heard(pulses, 1) if at_ns is not None)


@given(lines())
def test_on_a_sound_line_every_pulse_after_the_first_pause_is_a_pair(pulses: list[Pulse]) -> None:
    sound = [pulse._replace(leads=GOOD, follows=GOOD) for pulse in pulses]
    assert run(sound) == [Settled(number, number) for number in range(len(sound))]


def in_step() -> Lockstep[str, str]:
    lockstep: Lockstep[str, str] = Lockstep(0)
    assert lockstep.asked("a", QUIET_NS, QUIET_NS) == []
    assert lockstep.seen("a", QUIET_NS, QUIET_NS) == [Settled("a", "a")]
    return lockstep


def at(lockstep: Lockstep[str, str], call: Callable[..., list[Settled[str, str]]], ms: int) -> list[Settled[str, str]]:
    name = f"at {ms}"
    return call(name, QUIET_NS + ms * MS, QUIET_NS + ms * MS)


def test_before_a_pulse_that_stood_alone_nothing_is_paired() -> None:
    lockstep: Lockstep[str, str] = Lockstep(0)
    early_ns = QUIET_NS - 1
    assert lockstep.asked("a", early_ns, early_ns) == [Settled("a", None)]
    assert lockstep.seen("a", early_ns, early_ns) == [Settled(None, "a")]


def test_a_delay_as_long_as_the_line_s_period_pairs_no_part_with_the_next() -> None:
    """The other camera exposes 100 ms later, and parts come each 100 ms: by their times alone all would be alike."""
    lockstep: Lockstep[str, str] = Lockstep(0)
    settled: list[Settled[str, str]] = []
    for ms in range(1000, 3000, 100):
        settled += at(lockstep, lockstep.asked, ms)
        settled += at(lockstep, lockstep.seen, ms + 100)
    assert all(one.trigger is None or one.frame is None for one in settled)


def test_what_waits_too_long_is_given_up_and_a_pause_begins_anew() -> None:
    lockstep = in_step()
    assert at(lockstep, lockstep.asked, 100) == []
    now_ns = QUIET_NS + 100 * MS + TRIGGER_WAITS_NS
    assert lockstep.expire(now_ns) == []
    assert lockstep.expire(now_ns + 1) == [Settled("at 100", None)]
    assert at(lockstep, lockstep.seen, 2000) == []
    assert lockstep.expire(QUIET_NS + 2000 * MS + FRAME_WAITS_NS + 1) == [Settled(None, "at 2000")]
    assert at(lockstep, lockstep.asked, 4000) == []
    assert at(lockstep, lockstep.seen, 4000 + ALIKE_NS // MS) == [Settled("at 4000", "at 4020")]


def test_times_that_differ_give_up_both() -> None:
    lockstep = in_step()
    assert at(lockstep, lockstep.asked, 200) == []
    assert at(lockstep, lockstep.seen, 100) == [Settled("at 200", None), Settled(None, "at 100")]
    assert at(lockstep, lockstep.seen, 200) == [Settled(None, "at 200")], "not before the line pauses"


def test_what_is_known_to_be_lost_costs_its_own_part_only() -> None:
    lockstep = in_step()
    assert lockstep.asked("lost", None, QUIET_NS + 200 * MS) == []
    assert at(lockstep, lockstep.asked, 200) == []
    assert at(lockstep, lockstep.seen, 100) == [Settled("lost", None), Settled(None, "at 100")]
    assert at(lockstep, lockstep.seen, 200) == [Settled("at 200", "at 200")]
    assert at(lockstep, lockstep.asked, 300) == []
    assert lockstep.seen(None, None, QUIET_NS + 400 * MS) == [Settled("at 300", None)]
    assert at(lockstep, lockstep.seen, 400) == []
    assert at(lockstep, lockstep.asked, 400) == [Settled("at 400", "at 400")]


def test_both_may_lose_the_same_one() -> None:
    lockstep = in_step()
    assert lockstep.asked("lost", None, QUIET_NS + 200 * MS) == []
    assert lockstep.seen(None, None, QUIET_NS + 200 * MS) == [Settled("lost", None)]
    assert at(lockstep, lockstep.asked, 200) == []
    assert at(lockstep, lockstep.seen, 200) == [Settled("at 200", "at 200")]


def test_a_straggler_from_before_a_pulse_that_stands_alone_does_not_spoil_it() -> None:
    lockstep = in_step()
    assert at(lockstep, lockstep.asked, 100) == []
    assert at(lockstep, lockstep.seen, 200) == [Settled("at 100", None), Settled(None, "at 200")]
    assert at(lockstep, lockstep.asked, 1000) == []
    assert at(lockstep, lockstep.seen, 300) == [Settled(None, "at 300")]
    assert at(lockstep, lockstep.seen, 1000) == [Settled("at 1000", "at 1000")]
