"""Triggers that publish opens: by order and by its own clock. Each is written down, then its cameras are told to fire."""

import time
from collections.abc import Callable, Container, Iterable
from typing import Self

import structlog

from edge.books import COMMANDS, Books
from edge.committer import Committer, Reserve
from edge.config import Station
from edge.links import CAPTURE
from edge.messages import Announce, AnyMessage, Fire, Unjudged
from edge.metronome import Metronome
from edge.orders import OrderError
from edge.records import Reason, Record, Trigger, TriggerSource


class Unit(Record, frozen=True):
    """What an order says of the part: who it is, what is expected of it, and the announcement that named it, if one did.

    `lane`: the lane that gave the order; None: it came by the command socket, or from the station's own clock.
    """

    identifier: str | None = None
    expect: dict[str, str] = {}
    announced: int = 0
    lane: str | None = None

    @classmethod
    def of(cls, announced: Announce) -> Self:
        """As it was announced."""
        return cls(identifier=announced.unit_identifier, expect=announced.expect, announced=announced.number)


class Firing:
    """Opens triggers and has their cameras fired; sees to it that there are ids for them."""

    def __init__(
        self, station: Station, books: Books, committer: Committer, send: Callable[[str, AnyMessage], Reason | None]
    ) -> None:
        """`send` says why a message could not be handed to a peer."""
        self._station, self._books, self._committer, self._send = station, books, committer, send
        self._ids_asked = False
        self._takes_orders = any(camera.trigger.mode == "software" for camera in station.cameras.values())
        self._metronome = Metronome(_periods_ms(station), time.monotonic_ns())
        self._log = structlog.get_logger()

    def take_over(self, station: Station) -> None:
        """Other deadlines and periods. A clock whose period stays goes on as it beats."""
        self._station = station
        self._metronome.take_over(_periods_ms(station), time.monotonic_ns())

    def in_flight(self) -> list[Trigger]:
        """Open triggers, in the order they were opened for each camera."""
        found = (trigger for camera in self._station.cameras for trigger, _ in self._books.ledger.missing(camera))
        return list({trigger.trigger_id: trigger for trigger in found}.values())

    # --- trigger ids

    def take_ids(self, first: int, last: int) -> None:
        """A block has come."""
        self._books.take_ids(first, last)
        self._ids_asked = False

    def want_ids(self) -> None:
        """Ask for a block in time."""
        if self._takes_orders and self._books.commands.wants_ids and not self._ids_asked:
            self._ids_asked = True
            self._committer.submit(Reserve(COMMANDS))

    # --- triggers

    def open(self, name: str, unit: Unit, opened: Callable[[Trigger], None]) -> Trigger:
        """Open one, and have its cameras fired. Raises OrderError.

        `opened` is called between: one that cannot be handed over is closed at once, and what is closed no successor of
        this process learns of as opened.
        """
        trigger = self._write_down(name, unit, "software" if unit.lane is None else "plc")
        opened(trigger)
        self.fire(trigger, trigger.cameras)
        return trigger

    def open_unseen(self, name: str, unit: Unit) -> None:
        """Open one for a unit that no picture will be taken of; whoever hears of it closes it. Raises OrderError."""
        self._write_down(name, unit, "announced")

    def _write_down(self, name: str, unit: Unit, source: TriggerSource) -> Trigger:
        trigger_id = self._books.commands.next_id()
        if trigger_id is None:
            raise OrderError("no trigger id is reserved yet: try again")
        now_ns, views = time.monotonic_ns(), self._station.views_of(name)
        trigger = Trigger(
            trigger_id=trigger_id,
            camera=name,
            source=source,
            opened_ns=now_ns,
            opened_utc_ns=time.time_ns(),
            deadline_ns=now_ns + int(self._station.deadline_ms(name) * 1e6),
            unit_identifier=unit.identifier,
            expect=unit.expect,
            views=() if views == (name,) else views,
            announced=unit.announced,
            lane=unit.lane,
        )
        self._books.accept(trigger)
        return trigger

    def fire(self, trigger: Trigger, cameras: Iterable[str]) -> None:
        """Have each take what it is to take for it."""
        for camera in cameras:
            reason = self._send(f"{CAPTURE}{camera}", Fire(trigger=trigger))
            if reason is not None:
                detail = "the trigger could not be handed to the camera's process"
                self._books.fail(camera, Unjudged(trigger_id=trigger.trigger_id, reason=reason, detail=detail))

    # --- by the clock

    @property
    def next_ns(self) -> int | None:
        """When the clock triggers next."""
        return self._metronome.next_ns

    def stop_clock(self) -> None:
        """It triggers no more."""
        self._metronome.stop()

    def by_clock(self, trigger: Callable[[str], None], linked: Container[str]) -> None:
        """`trigger` what is due now. `linked`: the processes that are there."""
        for name in self._metronome.take(time.monotonic_ns()):
            # Without a camera nothing passes by that somebody waits for.
            if any(f"{CAPTURE}{camera}" in linked for camera in self._station.cameras_of(name)):
                try:
                    trigger(name)
                except OrderError as problem:
                    self._log.warning("not triggered", camera=name, problem=str(problem))


def _periods_ms(station: Station) -> dict[str, float]:
    """What the station triggers by its own clock."""
    return {name: ms for name in station.triggered if (ms := station.period_ms(name)) is not None}
