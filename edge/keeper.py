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
from uuid import UUID

import structlog

from edge import retention
from edge.ages import MARKS, Ages, taken_up
from edge.border_config import OutboxConfig
from edge.lived import Instant
from edge.metrics import Page
from edge.outbox import Outbox, OutboxError, Trouble
from edge.outbox_health import DISK_FAILED, DISK_FULL, SET_ASIDE, UNACKNOWLEDGED, Alarm, Health
from edge.outbox_kept import Consumer, Extent
from edge.record_log import boot_identity
from edge.reserve import Reserve
from edge.retention import DAY_NS, Plan
from edge.unopened import Unopened

# Often enough to say within a second that there is room again; a try costs a few system calls.
RETRY_S = 1.0
# Events older than wanted are removed for this long in one go; then commits have their turn.
PRUNE_S = 0.004
# SQLite reports some full disks as a failure of another kind; with less than this free, it is one.
FULL_BYTES = 1 << 20

# For a start after a power cut: what passed since it was noted is then read from the clock. One commit.
NOTED_EVERY_NS = 600 * 10**9

Result = TypeVar("Result")


def reserve_path(outbox: Path) -> Path:
    """The room that is kept for the worst moment."""
    return outbox.with_name("outbox.reserve")


def open_outbox(path: Path, run: str) -> Outbox:
    """The outbox; on a full disk, by the room of the reserve. Raises GoldlineError when it cannot be opened."""
    reserve = Reserve(reserve_path(path), 0)
    try:
        return Outbox(path, run)
    except OutboxError as problem:
        if not _is_full(problem, reserve) or not reserve.release():
            raise
        return Outbox(path, run)


def _is_full(problem: OutboxError, reserve: Reserve) -> bool:
    """Whether it is for want of room. The disk is asked, too."""
    try:
        return problem.trouble is Trouble.FULL or reserve.free_bytes() < FULL_BYTES
    except OSError:
        return False


def now() -> Instant:
    """As the machine tells it."""
    return Instant(time.time_ns(), time.clock_gettime_ns(time.CLOCK_BOOTTIME), boot_identity().hex())


class Keeper:
    """Called by the outbox thread, but for `health`, which is a value, and until that thread has begun."""

    def __init__(self, outbox: Outbox, config: OutboxConfig, page: Page, clock: Callable[[], Instant] = now) -> None:
        """The disk is not touched before `tend`."""
        self._outbox, self._config, self._clock = outbox, config, clock
        self._reserve = Reserve(reserve_path(outbox.path), config.reserve_bytes)
        self._failure: OutboxError | None = None
        self._retry_s = 0.0
        self._plan = Plan()
        # Of the stream that they were read of.
        self._ages: tuple[UUID, Ages] | None = None
        self._noted: Ages | None = None
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
        for gauge in self._alarms.values():
            gauge.set(0)
        self.health = Health()
        if isinstance(outbox, Unopened):
            self._fail(outbox.problem)

    def take_over(self, config: OutboxConfig) -> None:
        """Other limits, from the next look on. By any thread: they are replaced whole."""
        self._config = config

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
            self._outbox.set_aside(time.time_ns(), str(problem))
            return True
        if _is_full(problem, self._reserve) and self._reserve.release():
            self._log.warning("the disk is full: what is in flight is written into the reserve", problem=str(problem))
            self._say()
            return True
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
            self._come_back()
        except OutboxError as problem:
            self._failure = problem
        else:
            self._failure = None
            self._log.info("events can be written again")
        self._say()

    def _come_back(self) -> None:
        try:
            self._outbox.reopen()
            self._outbox.adopt_reserved()
        except OutboxError as problem:
            if problem.trouble is not Trouble.CORRUPT:
                raise
            self._outbox.set_aside(time.time_ns(), str(problem))
        self._outbox.probe()

    def _prune(self) -> bool:
        until_s = time.monotonic() + PRUNE_S
        while True:
            extent, consumers = self._outbox.extent(), self._outbox.consumers()
            self._show(extent, consumers)
            self._plan = retention.plan(extent, self._aged(extent), consumers, self._config)
            if not self._plan.upto:
                return False
            self._outbox.prune(self._plan.upto)
            self._pruned.inc(self._plan.upto - extent.low + 1)
            self._pruned_early.inc(self._plan.unacknowledged)
            if time.monotonic() >= until_s:
                return True

    def _aged(self, extent: Extent) -> Ages:
        """How old what is kept is by now, noted where that is due."""
        stream, instant = self._outbox.stream, self._clock()
        if self._ages is None or self._ages[0] != stream:
            ages, self._noted = taken_up(self._outbox.ages(), extent.head, instant), None
        else:
            ages = self._ages[1].until(instant)
        ages = ages.marked(extent.head, int(self._config.max_days * DAY_NS / MARKS)).without(extent.low)
        self._ages = stream, ages
        noted = self._noted
        if noted is None or noted.marks != ages.marks or ages.lived.ns - noted.lived.ns > NOTED_EVERY_NS:
            self._outbox.note_ages(ages)
            self._noted = ages
        return ages

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
            self._log.info("alarm is over", alarm=alarm.name)
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
        return [] if self._failure is None else [Alarm(DISK_FULL, f"{self._failure}{then}")]

    def _of_the_file(self) -> list[Alarm]:
        aside = self._outbox.aside_name
        if aside is None:
            return []
        return [Alarm(SET_ASIDE, f"the outbox was broken, and is kept as {aside}: this is a new one, from event 1 on")]
