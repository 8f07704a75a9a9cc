"""How old events are: never more than in truth, whatever the clock says, and hardly less."""

from hypothesis import given
from hypothesis import strategies as st

from edge.ages import MOST_OFF_NS, Ages, taken_up
from edge.lived import Instant

DAY_NS = 86_400 * 10**9
SPACING_NS = DAY_NS
STEPS = st.lists(
    st.tuples(
        st.integers(0, 3 * DAY_NS),  # passes
        st.integers(0, 5),  # events are written
        st.integers(-(10**18), 10**18),  # what the time of day is wrong by from then on
        st.booleans(),  # the machine is started anew
    ),
    min_size=1,
    max_size=30,
)


def run(steps, *, may_start: bool) -> tuple[Ages, list[int], int, int]:
    """The ages at the end, when each event was written, what time it is, and how often the machine was started."""
    true_ns, boots, boot_ns, written = 0, 1, 0, []
    ages = taken_up(None, 0, Instant(0, 0, "1"))
    for passed_ns, count, wrong_ns, is_new_start in steps:
        true_ns += passed_ns
        boot_ns += passed_ns
        if is_new_start and may_start:
            boots, boot_ns = boots + 1, 0
        now = Instant(true_ns + wrong_ns, boot_ns, str(boots))
        ages = taken_up(ages, len(written), now).marked(len(written), SPACING_NS)
        written += [true_ns] * count
    return ages, written, true_ns, boots


@given(STEPS)
def test_no_event_is_older_than_it_is_but_for_what_a_start_of_the_machine_may_count(steps):
    ages, written, now_ns, boots = run(steps, may_start=True)
    for number, at_ns in enumerate(written, 1):
        assert ages.of(number) <= now_ns - at_ns + (boots - 1) * MOST_OFF_NS
    for age_ns in (0, DAY_NS, 10 * DAY_NS):
        last = ages.older_than(age_ns)
        assert all(ages.of(number) > age_ns for number in range(1, last + 1))
        assert ages.of(last + 1) <= age_ns


@given(STEPS)
def test_while_the_machine_runs_an_event_is_at_most_a_step_and_a_mark_younger_than_it_is(steps):
    ages, written, now_ns, _ = run([*steps, (DAY_NS, 0, 0, False), (DAY_NS, 0, 0, False)], may_start=False)
    for number, at_ns in enumerate(written, 1):
        assert ages.of(number) >= now_ns - at_ns - SPACING_NS - 3 * DAY_NS


@given(STEPS, st.integers(0, 200))
def test_marks_of_what_is_gone_go_and_change_nothing_about_the_rest(steps, low):
    ages, written, _, _ = run(steps, may_start=True)
    rest = ages.without(low)
    assert all(rest.of(number) == ages.of(number) for number in range(max(1, low), len(written) + 2))
    assert rest.until(ages.lived.at) == rest
