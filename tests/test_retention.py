"""What goes when there is no more room: the oldest, a step at a time, and never behind the back of a consumer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge import retention
from edge.ages import Ages
from edge.border_config import OutboxConfig
from edge.lived import Instant, Lived
from edge.outbox_kept import Consumer, Extent
from edge.retention import DAY_NS, STEP_EVENTS

MIB = 1 << 20
# What the outbox has lived.
LIVED_NS = 1_000 * DAY_NS


def settings(**changes: object) -> OutboxConfig:
    return OutboxConfig.model_validate({"max_bytes": 16 * MIB, "max_days": 10, **changes})


def extent(low: int = 1, head: int = 10_000, used_mib: float = 20) -> Extent:
    return Extent(low=low, head=head, used_bytes=int(used_mib * MIB), oldest_utc_ns=0)


def consumer(upto: int, name: str = "mes") -> Consumer:
    return Consumer(name=name, upto=upto, seen_utc="2026-01-01T00:00:00+00:00")


def ages(**days: float) -> Ages:
    """By marks: `e500=3` says that the events up to number 500 are three days old."""
    marks = sorted((int(name[1:]), LIVED_NS - int(one * DAY_NS)) for name, one in days.items())
    return Ages(Lived(LIVED_NS, Instant(0, 0, "boot")), tuple(marks))


def plan(kept: Extent, *consumers: Consumer, expired: int = 0, **changes: object) -> retention.Plan:
    """`expired`: the last event that is too old."""
    return retention.plan(kept, ages(**{f"e{expired}": 10.1}), consumers, settings(**changes))


def test_nothing_goes_while_there_is_room_and_time():
    assert plan(extent(used_mib=16), consumer(9_000)) == retention.Plan()


def test_a_step_of_the_oldest_goes_when_it_is_full_and_what_is_too_old_goes_anyway():
    assert plan(extent(low=7)).upto == 7 + STEP_EVENTS - 1
    assert plan(extent(used_mib=1), expired=5).upto == 5
    # Never more than there is.
    assert plan(extent(low=9_999)).upto == 10_000
    assert plan(extent(low=10_001)).upto == 0


def test_by_default_what_nobody_has_acknowledged_goes_counted():
    found = plan(extent(), consumer(10))
    assert (found.upto, found.unacknowledged, found.refusal) == (STEP_EVENTS, STEP_EVENTS - 10, None)
    (alarm,) = found.alarms
    assert alarm.name == "unacknowledged"
    assert "consumer 'mes'" in alarm.text
    assert "goldline outbox forget mes" in alarm.text


def test_under_policy_stop_nothing_unacknowledged_goes_and_the_station_stops_when_it_is_full():
    found = plan(extent(), consumer(10), consumer(9_000, "spc"), when_unacknowledged="stop")
    assert (found.upto, found.unacknowledged, found.refusal) == (10, 0, None)
    stuck = plan(extent(low=11), consumer(10), when_unacknowledged="stop")
    assert (stuck.upto, stuck.refusal) == (0, "the outbox is full of events that consumer 'mes' has not acknowledged")
    assert plan(extent(low=11), consumer(500), when_unacknowledged="stop").refusal is None
    # Too old is no reason to stop: they are kept until they are fetched.
    old = plan(extent(low=11, used_mib=1), consumer(10), expired=20, when_unacknowledged="stop")
    assert (old.upto, old.refusal) == (0, None)


@pytest.mark.parametrize(
    ("upto", "days", "is_reported"), [(3_000, 1, False), (2_000, 1, True), (9_999, 7.9, False), (9_999, 8.1, True)]
)
def test_a_consumer_is_reported_at_80_percent_of_room_or_time(upto, days, is_reported):
    waiting = {f"e{upto + 1}": days}
    found = retention.plan(extent(used_mib=16), ages(**waiting), [consumer(upto)], settings())
    assert bool(found.alarms) is is_reported


def test_an_alarm_says_the_same_while_nothing_but_numbers_change():
    assert plan(extent(used_mib=16), consumer(10)).alarms == plan(extent(used_mib=15, head=11_000), consumer(20)).alarms


@given(
    low=st.integers(1, 200),
    count=st.integers(0, 300),
    used_mib=st.integers(0, 40),
    expired=st.integers(0, 63),
    upto=st.lists(st.integers(0, 500), max_size=3),
    policy=st.sampled_from(["prune", "stop"]),
)
def test_a_plan_never_reaches_beyond_what_it_may(low, count, used_mib, expired, upto, policy):
    head = low + count - 1
    kept = extent(low=low, head=head, used_mib=used_mib)
    consumers = [consumer(min(one, head), str(place)) for place, one in enumerate(upto)]
    last_expired = low + expired - 1 if expired <= count and expired else 0
    found = plan(kept, *consumers, expired=last_expired, when_unacknowledged=policy)
    assert found.upto == 0 or low <= found.upto <= min(head, low + STEP_EVENTS - 1)
    slowest = min((one.upto for one in consumers), default=head)
    if policy == "stop":
        assert found.upto <= slowest or found.upto == 0
        assert found.unacknowledged == 0
    elif found.upto:
        assert found.unacknowledged == len([one for one in range(low, found.upto + 1) if one > slowest])
    # What is full shrinks, or says why not.
    if used_mib > 16 and count:
        assert found.upto or found.refusal
    assert retention.unacknowledged(kept, consumers) == max(
        (head - max(one.upto, low - 1) for one in consumers), default=0
    )
