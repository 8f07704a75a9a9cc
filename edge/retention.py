"""How long events are kept, and who holds them back. Pure: extents, ages, consumers and settings in, a plan out."""

from collections.abc import Sequence

import msgspec

from edge.ages import Ages
from edge.border_config import OutboxConfig
from edge.outbox_health import UNACKNOWLEDGED, Alarm
from edge.outbox_kept import Consumer, Extent

# Removed in one step: about a millisecond, and a flush.
STEP_EVENTS = 64
# A consumer is reported when what it has not acknowledged is this share of what may be kept.
ALARM_SHARE = 0.8
DAY_NS = 86_400 * 10**9


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Remove events up to `upto` (0: none), of which `unacknowledged` some consumer has not; what to report."""

    upto: int = 0
    unacknowledged: int = 0
    refusal: str | None = None
    alarms: tuple[Alarm, ...] = ()


def plan(extent: Extent, ages: Ages, consumers: Sequence[Consumer], config: OutboxConfig) -> Plan:
    """The next step."""
    is_over = extent.used_bytes > config.max_bytes and extent.low <= extent.head
    last = extent.head if is_over else min(ages.older_than(int(config.max_days * DAY_NS)), extent.head)
    wanted = min(extent.low + STEP_EVENTS - 1, last) if last >= extent.low else 0
    acknowledged = min((one.upto for one in consumers), default=extent.head)
    alarms = tuple(_alarm(one, config) for one in consumers if _share(one, extent, ages, config) >= ALARM_SHARE)
    if config.when_unacknowledged == "prune":
        lost = max(0, wanted - max(extent.low - 1, acknowledged))
        return Plan(upto=wanted, unacknowledged=lost, alarms=alarms)
    allowed = min(wanted, acknowledged)
    held_by = next((one.name for one in consumers if one.upto == acknowledged), None)
    is_stuck = is_over and allowed < extent.low
    refusal = f"the outbox is full of events that consumer {held_by!r} has not acknowledged" if is_stuck else None
    return Plan(upto=allowed if allowed >= extent.low else 0, refusal=refusal, alarms=alarms)


def unacknowledged(extent: Extent, consumers: Sequence[Consumer]) -> int:
    """Events that are kept and that the slowest consumer has not acknowledged."""
    return max((_waiting(one, extent) for one in consumers), default=0)


def _waiting(consumer: Consumer, extent: Extent) -> int:
    return max(0, extent.head - max(consumer.upto, extent.low - 1))


def _share(consumer: Consumer, extent: Extent, ages: Ages, config: OutboxConfig) -> float:
    """Of the room or of the time that there is, whichever is used up more. Events are taken to be of one size."""
    waiting = _waiting(consumer, extent)
    if not waiting:
        return 0.0
    of_bytes = extent.used_bytes * waiting / (extent.head - extent.low + 1) / config.max_bytes
    return max(of_bytes, ages.of(consumer.upto + 1) / (config.max_days * DAY_NS))


def _alarm(consumer: Consumer, config: OutboxConfig) -> Alarm:
    # No number that moves: an alarm that changes is a new one to whoever is told of it.
    then = {"prune": "they are pruned unread", "stop": "no more triggers are accepted"}[config.when_unacknowledged]
    return Alarm(
        UNACKNOWLEDGED,
        f"consumer {consumer.name!r} has not acknowledged {ALARM_SHARE:.0%} of what the outbox may keep; when it is full "
        f"{then}. If nobody wants them: goldline outbox forget {consumer.name}",
    )
