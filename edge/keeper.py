"""Keeps the outbox going on the thread that owns it: room on the disk, retention, what is broken; and says how it is.

    writes ─┬─ disk full ──▶ reserve let go, once more ──▶ still full ─┐
            ├─ corrupt ────▶ set aside, a new stream, once more        ├─▶ failing: nothing is written until a look
            └─ failed ─────────────────────────────────────────────────┘   every second finds that it can be

While the reserve is gone or writing fails, `outbox.when_disk_full` decides: no more triggers are accepted, or the
PLC alone is answered. Both end by themselves when there is room for the reserve again and the outbox can be written.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import structlog

from edge import retention
from edge.border_config import OutboxConfig
from edge.metrics import Page
from edge.outbox import Outbox, OutboxError, Trouble
from edge.outbox_health import DISK_FAILED, DISK_FULL, SET_ASIDE, UNACKNOWLEDGED, Alarm, Health
from edge.outbox_kept import Consumer, Extent
from edge.reserve import Reserve
from edge.retention import DAY_NS, Plan

# Often enough to say within a second that there is room again; a try costs a few system calls.
RETRY_S = 1.0
# Events older than wanted are removed for this long in one go; then commits have their turn.
PRUNE_S = 0.004
# A disk on which one new database after the other breaks is not helped by another.
MOST_SET_ASIDE = 3
# SQLite reports some full disks as a failure of another kind; with less than this free, it is one.
FULL_BYTES = 1 << 20

Result = TypeVar("Result")


def reserve_path(outbox: Path) -> Path:
    """The room that is kept for the worst moment."""
    return outbox.with_name("outbox.reserve")


def open_outbox(path: Path, run: str) -> Outbox:
    """The outbox; on a full disk, by the room of the reserve. Raises GoldlineError when it cannot be opened."""
    try:
        return Outbox(path, run)
    except OutboxError:
        if not Reserve(reserve_path(path), 0).release():
            raise
        return Outbox(path, run)


class Keeper:
    """Called by the outbox thread, but for `health`, which is a value, and until that thread has begun."""

    def __init__(self, outbox: Outbox, config: OutboxConfig, page: Page) -> None:
        """The reserve is made here."""
        self._outbox, self._config = outbox, config
        self._reserve = Reserve(reserve_path(outbox.path), config.reserve_bytes)
        self._reserve.make()
        self._failure: OutboxError | None = None
        self._retry_s = 0.0
        self._set_aside = 0
        self._plan = Plan()
        self._log = structlog.get_logger()
        self._bytes = page.gauge("goldline_outbox_bytes")
        self._low = page.gauge("goldline_outbox_low_sequence")
        self._oldest = page.gauge("goldline_outbox_oldest_timestamp_seconds")
        self._unacknowledged = page.gauge("goldline_outbox_unacknowledged_events")
        self._pruned = page.counter("goldline_outbox_pruned_total")
        self._pruned_early = page.counter("goldline_outbox_pruned_unacknowledged_total")
        self._free = page.gauge("goldline_outbox_disk_free_bytes")
        self._alarms = {
            name: page.gauge("goldline_outbox_alarm", alarm=name)
            for name in (DISK_FULL, DISK_FAILED, SET_ASIDE, UNACKNOWLEDGED)
        }
        self.health = Health()
        self._say()

    # --- writing

    @property
    def is_failing(self) -> bool:
        """Writing failed, and nothing is to be written until `tend` has found that it can be."""
        return self._failure is not None

    @property
    def lets_go(self) -> bool:
        """What cannot be written is let go, so that the PLC is answered."""
        return self.is_failing and self._config.when_disk_full == "lanes"

    def write(self, action: Callable[[], Result]) -> Result:
        """Do it; what stands in the way is mended first, where it can be. Raises OutboxError: `is_failing` from here."""
        try:
            return self._try(action)
        except OutboxError as problem:
            self._fail(problem)
            raise

    def _try(self, action: Callable[[], Result]) -> Result:
        try:
            return action()
        except OutboxError as problem:
            if not self._is_mended(problem):
                raise
        # Once more: a disk may be full, and then turn out to have spoilt what is on it.
        return self._try(action)

    def _is_mended(self, problem: OutboxError) -> bool:
        if problem.trouble is Trouble.CORRUPT:
            self._set_aside += 1
            if self._set_aside <= MOST_SET_ASIDE:
                self._outbox.set_aside(time.time_ns(), str(problem))
                return True
        elif (problem.trouble is Trouble.FULL or self._is_full()) and self._reserve.release():
            self._log.warning("the disk is full: what is in flight is written into the reserve", problem=str(problem))
            self._say()
            return True
        return False

    def _is_full(self) -> bool:
        try:
            return self._reserve.free_bytes() < FULL_BYTES
        except OSError:
            return False

    def _fail(self, problem: OutboxError) -> None:
        self._retry_s = time.monotonic() + RETRY_S
        if self._failure is None:
            self._log.error("events cannot be written", problem=str(problem), trouble=str(problem.trouble))
        self._failure = problem
        self._say()

    # --- looking after it

    def tend(self) -> bool:
        """A few milliseconds of what there is to do, several times a second. True: there is more of it at once."""
        if time.monotonic() >= self._retry_s and (self.is_failing or not self._reserve.is_there):
            self._retry_s = time.monotonic() + RETRY_S
            self._look_again()
        if self.is_failing:
            return False
        try:
            has_more = self.write(self._prune)
        except OutboxError:
            return False
        self._say()
        return has_more

    def _look_again(self) -> None:
        """Room first: else what waits would fill the disk again, with nothing left for the next time."""
        has_room = self._reserve.make()
        if self._failure is None or (self._failure.trouble is Trouble.FULL and not has_room):
            self._say()
            return
        try:
            self._outbox.reopen()
            self._outbox.probe()
            self._outbox.adopt_reserved()
        except OutboxError as problem:
            self._failure = problem
        else:
            self._failure = None
            self._log.warning("events can be written again")
        self._say()

    def _prune(self) -> bool:
        until_s = time.monotonic() + PRUNE_S
        while True:
            extent, consumers = self._outbox.extent(), self._outbox.consumers()
            self._show(extent, consumers)
            now_utc_ns = time.time_ns()
            oldest_ns = now_utc_ns - int(self._config.max_days * DAY_NS)
            is_old = extent.oldest_utc_ns is not None and extent.oldest_utc_ns < oldest_ns
            expired = self._outbox.older_than(oldest_ns, retention.STEP_EVENTS) if is_old else 0
            self._plan = retention.plan(extent, expired, consumers, self._config, now_utc_ns)
            if not self._plan.upto:
                return False
            self._outbox.prune(self._plan.upto)
            self._pruned.inc(self._plan.upto - extent.low + 1)
            self._pruned_early.inc(self._plan.unacknowledged)
            if time.monotonic() >= until_s:
                return True

    # --- saying how it is

    def _show(self, extent: Extent, consumers: list[Consumer]) -> None:
        self._bytes.set(extent.used_bytes)
        self._low.set(extent.low)
        self._oldest.set((extent.oldest_utc_ns or 0) / 1e9)
        self._unacknowledged.set(retention.unacknowledged(extent, consumers))
        with suppress(OSError):  # a file system that does not even say that fails in writing, too
            self._free.set(self._reserve.free_bytes())

    def _say(self) -> None:
        alarms = (*self._of_the_disk(), *self._of_the_file(), *self._plan.alarms)
        trouble = next((one.text for one in self._of_the_disk()), None)
        refusal = (trouble if self._config.when_disk_full == "stop" else None) or self._plan.refusal
        if (health := Health(refusal=refusal, alarms=alarms)) == self.health:
            return
        for alarm in set(alarms).difference(self.health.alarms):
            self._log.error("alarm", alarm=alarm.name, text=alarm.text)
        for alarm in set(self.health.alarms).difference(alarms):
            self._log.warning("alarm is over", alarm=alarm.name)
        self.health = health
        for name, gauge in self._alarms.items():
            gauge.set(any(alarm.name == name for alarm in alarms))

    def _of_the_disk(self) -> list[Alarm]:
        directory = self._outbox.path.parent
        then = "" if self._config.when_disk_full == "stop" else ": the PLC is answered, and events are not kept"
        if self._failure is not None and self._failure.trouble is not Trouble.FULL:
            return [Alarm(DISK_FAILED, f"{self._failure}{then}")]
        if not self._reserve.is_there:
            needed = self._config.reserve_bytes * 1.25 / (1 << 20)
            return [Alarm(DISK_FULL, f"{directory}: the disk is full: {needed:.0f} MiB must be free{then}")]
        return []

    def _of_the_file(self) -> list[Alarm]:
        aside = self._outbox.aside_name
        if aside is None:
            return []
        return [Alarm(SET_ASIDE, f"the outbox was broken, and is kept as {aside}: this is a new one, from event 1 on")]
