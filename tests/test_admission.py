"""What a capture process may open, and for which unit: every announced unit is borne by one trigger, or is told back."""

from hypothesis import given
from hypothesis import strategies as st

from edge.admission import Admission
from edge.messages import Announce, Run


def test_it_is_closed_until_told_otherwise():
    one = Admission()
    assert not one.is_on
    one.run(Run(is_on=True))
    assert one.is_on
    one.run(Run(is_on=False))
    assert not one.is_on


def test_at_most_so_many_are_opened():
    one = Admission()
    one.run(Run(is_on=True, at_most=2))
    for _ in range(2):
        assert one.is_on
        one.opened()
    assert not one.is_on
    one.run(Run(is_on=True))
    assert one.is_on


def test_a_publish_that_says_again_what_another_said_lets_no_more_in():
    one = Admission()
    for _ in range(2):
        one.run(Run(is_on=True, at_most=1))
        one.opened()
        assert not one.is_on
        one.run(Run(is_on=True, at_most=1))
        assert not one.is_on
        # Between two single executions it is told off.
        one.run(Run(is_on=False, at_most=1))


def test_the_next_trigger_alone_bears_the_unit_and_the_variant_is_on_all():
    one = Admission()
    one.run(Run(is_on=True, expect={"variant": "oak"}))
    one.announce(Announce(unit_identifier="A17", expect={"code": "17"}, number=4))
    assert one.unit == Announce(unit_identifier="A17", expect={"variant": "oak", "code": "17"}, number=4)
    one.opened()
    assert one.unit == Announce(unit_identifier=None, expect={"variant": "oak"})


def test_what_the_announcement_expects_goes_before_the_variant_of_the_product():
    one = Admission()
    one.run(Run(is_on=True, expect={"variant": "oak"}))
    one.announce(Announce(unit_identifier="A17", expect={"variant": "ash"}, number=1))
    assert one.unit.expect == {"variant": "ash"}


@given(st.lists(st.sampled_from(["announce", "repeat", "take back", "trigger"]), max_size=60))
def test_every_announced_unit_is_borne_told_back_taken_back_or_waits(steps):
    one, number = Admission(), 0
    announced: list[str] = []
    settled: list[str] = []
    last = Announce(unit_identifier=None)
    for step in steps:
        waiting = one.unit.unit_identifier
        if step == "trigger":
            settled += [] if waiting is None else [waiting]
            one.opened()
            continue
        if step != "repeat":
            number += 1
            unit = f"A{number}" if step == "announce" else None
            last = Announce(unit_identifier=unit, number=number)
            announced += [] if unit is None else [unit]
            settled += [waiting] if step == "take back" and waiting is not None else []
        replaced = one.announce(last)
        assert step == "announce" or replaced is None
        settled += [] if replaced is None else [str(replaced.unit_identifier)]
    waits = one.unit.unit_identifier
    assert settled + ([] if waits is None else [waits]) == announced
