"""What is counted of a verdict: its answer against its deadline, and its score against its limit."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.inspection_tally import score_ratio
from edge.ledger import Decision
from edge.metrics import Page, page_size
from edge.records import Limits, Outcome, Reason, Trigger, Verdict, error
from edge.tally import Tally

LIMITS = Limits(review=4.0, fail=6.0)
DEADLINE_NS = 20_000_000


@pytest.mark.parametrize(("score", "ratio"), [(4.0, 1.0), (2.0, 0.5), (-3.0, 0.0), (8.0, 2.0)])
def test_a_score_is_shown_as_a_share_of_its_limit(score, ratio):
    assert score_ratio(Verdict(outcome=Outcome.PASS, score=score, limits=LIMITS)) == ratio


def test_what_has_no_score_or_no_limit_above_zero_has_no_share():
    assert score_ratio(error(Reason.TORN)) is None
    assert score_ratio(Verdict(outcome=Outcome.FAIL, score=1.0, limits=Limits(review=0.0, fail=1.0))) is None


@given(st.lists(st.tuples(st.integers(0, 3 * DEADLINE_NS), st.booleans()), max_size=20))
def test_the_bucket_at_the_deadline_is_what_was_on_time(decided):
    deadlines_s = (DEADLINE_NS / 1e9,)
    memory = os.memfd_create("page")
    os.ftruncate(memory, page_size("publish", ("left",), deadlines_s))
    page = Page(memory, "publish", ("left",), deadlines_s)
    os.close(memory)
    tally = Tally(page, ("left",))
    tally.show_deadlines({"left": DEADLINE_NS / 1e6, "gone": 5.0})
    for number, (took_ns, review) in enumerate(decided):
        trigger = Trigger(
            trigger_id=number,
            camera="left",
            source="software",
            opened_ns=7,
            opened_utc_ns=7,
            deadline_ns=7 + DEADLINE_NS,
        )
        verdict = Verdict(outcome=Outcome.FAIL, review=review)
        tally.closed(Decision(trigger=trigger, verdict=verdict, views={}, decided_ns=7 + took_ns), in_flight=0)
    found = {series.metric.name: (series, values) for series, values in page.read() if "FAIL" not in series.labels}
    series, counts = found["goldline_answer_seconds"]
    within = sum(counts[: series.metric.buckets.index(deadlines_s[0]) + 1])
    assert within == len(decided) - found["goldline_deadline_missed_total"][1][0]
    assert found["goldline_reviews_total"][1] == (sum(review for _, review in decided),)
    assert found["goldline_deadline_seconds"][1] == deadlines_s
