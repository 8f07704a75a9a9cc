"""Publish's side of the job: orders to the station as a whole, the product in force, and announced units.

1. What an order changes is written to the runtime directory (`job_file.py`) before it is answered.
2. Captures hear whether they open triggers by themselves (Run), and of announced units (Announce): at their link, and
   at each change.
3. `prepare` goes to inspection, and is answered when that judges by the product, or cannot.

What changes when is in `job.py`, what is announced in `announcements.py`; both decide without I/O.
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

from edge import job, job_file, orders
from edge.announcements import NEVER_TRIGGERED, Announcements
from edge.books import Books
from edge.capture_words import CaptureWords
from edge.config import Station
from edge.firing import Firing, Unit
from edge.job import Command, Job
from edge.job_file import InForce, Keeping, Kept
from edge.links import CAPTURE, INSPECTION, Links
from edge.messages import Announce, Prepare, Prepared, Run, Unjudged
from edge.orders import AnnounceOrder, Done, JobState, OrderError, PrepareOrder, Refused, StartSingleOrder
from edge.record_log import boot_identity
from edge.records import Provenance, Reason, Trigger

# Takes an order's answer back to who asked.
Reply = Callable[[bytes], None]


class _Pending(NamedTuple):
    """A product that inspection is loading, and who waits for it."""

    prepare: Prepare
    order: PrepareOrder
    reply: Reply


class JobDesk:
    """Owns the job, the announcements, and their file."""

    def __init__(
        self, station: Station, runtime: Path, run: str, generation: int, books: Books, firing: Firing, links: Links
    ) -> None:
        """Takes up what was ordered before. `run`: this run of the station; `generation`: of its configuration."""
        self._station, self._run, self._file = station, run, Keeping(runtime)
        # The configuration's product once inspection judges by that configuration, and its number when it was reloaded.
        self._configured, self._taken_over = station.product, 0
        self._books, self._firing, self._links = books, firing, links
        kept = job_file.read(runtime)
        self.in_force: InForce = job_file.in_force(station, kept, generation)
        self._newest_generation = max(self.in_force.generation, kept.newest_generation if kept else 0)
        self.job: Job = job_file.taken_up(kept, run, autostart=station.orders.autostart)
        self._announcements = Announcements(kept.announced if kept else {}, kept.newest_number if kept else 0)
        self.provenance: Provenance | None = None
        self._pending: _Pending | None = None
        self._words = CaptureWords(links.send)
        self._is_reloading = False  # another configuration is offered, and not yet taken over or let go
        books.require(self.in_force.generation, self.in_force.since_ns)
        for trigger in firing.in_flight():
            self.opened(trigger)
        self._save()

    # --- peers

    def link(self, peer: str) -> None:
        """A new incarnation: it knows nothing yet. Inspection says itself what it judges by."""
        if peer.startswith(CAPTURE):
            camera = peer.removeprefix(CAPTURE)
            name = self._station.opens(camera)
            # What is triggered by software takes its unit here: its process would take each for one that never came.
            is_told = name is not None and not self._is_fired(name)
            self._words.link(camera, self._announcements.again(name) if name is not None and is_told else ())
            self._tell()

    def lose(self, peer: str) -> None:
        """It died. The inspection that follows loads what is in force."""
        if peer == INSPECTION and self._pending is not None:
            self._refuse_pending("inspection died while it was loaded; what was judged by before is in force")

    def stop(self) -> None:
        """The station stops: nobody is left waiting."""
        if self._pending is not None:
            self._refuse_pending("the station is stopping")

    def prepared(self, said: Prepared) -> None:
        """Inspection says what it judges by, or why it does not change that."""
        pending = self._pending
        if pending is not None and pending.prepare.generation != said.generation:
            pending = None
        if said.problem is not None:
            if pending is not None:
                self._refuse_pending(said.problem)
            return
        if pending is None and said.generation < self.in_force.generation:
            # It was loaded before what is in force now was ordered.
            self._links.send(INSPECTION, self.in_force.order)
            return
        before, is_new = self.in_force, said.generation > self.in_force.generation
        self.in_force = InForce(
            product=said.product,
            variant=said.variant if is_new else before.variant,
            generation=said.generation,
            since_ns=time.monotonic_ns() if is_new else before.since_ns,
        )
        self._books.require(self.in_force.generation, self.in_force.since_ns)
        self._newest_generation = max(self._newest_generation, said.generation)
        self.provenance, self.job = said.provenance, job.warm(self.job)
        if said.generation >= self._taken_over:
            self._configured = self._station.product
        self._settle()
        if pending is not None:
            self._pending = None
            pending.reply(orders.encode(self.done(pending.order.id)))

    def _refuse_pending(self, problem: str) -> None:
        assert self._pending is not None
        pending, self._pending = self._pending, None
        pending.reply(orders.encode(Refused(error=problem, id=pending.order.id)))

    # --- another configuration

    def offer(self) -> int:
        """It is to be taken over: the number it would have. Raises OrderError: not now."""
        self._check_alone()
        self._newest_generation, self._is_reloading = self._newest_generation + 1, True
        self._save()
        return self._newest_generation

    def let_go(self) -> None:
        """It is not taken over: nobody was told the number."""
        if self._is_reloading:
            self._newest_generation, self._is_reloading = self._newest_generation - 1, False

    def take_over(self, station: Station, generation: int) -> None:
        """From now on; inspection says when it judges by it."""
        self._station, self._taken_over, self._is_reloading = station, generation, False
        self._settle()

    def _check_alone(self) -> None:
        if self._is_reloading:
            raise OrderError("the configuration is being reloaded: try again")
        if self._pending is not None:
            raise OrderError(f"product {self._pending.order.product} is being prepared")

    # --- orders

    def prepare(self, order: PrepareOrder, reply: Reply) -> None:
        """Have inspection load a product; `reply` is called when it judges by it, or cannot. Raises OrderError."""
        job.check(self.job, Command.PREPARE)
        self._check_alone()
        # No two products ever have one number, whoever dies: inspection may still be loading one that was given up.
        self._newest_generation += 1
        self._save()
        wanted = InForce(product=order.product, variant=order.variant, generation=self._newest_generation)
        if self._links.send(INSPECTION, wanted.order) is not None:
            raise OrderError("inspection is starting: try again")
        self._pending = _Pending(wanted.order, order, reply)

    def change(self, command: Command) -> None:
        """start, stop, halt, reset. Raises OrderError."""
        self.job = job.ordered(self.job, command, autostart=self._station.orders.autostart)
        self._settle()

    def start_single(self, order: StartSingleOrder, lane: str | None) -> Trigger | None:
        """Take one trigger: opened here for cameras that are triggered by software, else with the next part. Raises OrderError."""
        before = self.job
        self.job = job.ordered(before, Command.START_SINGLE, autostart=False, name=order.camera, expect=order.expect)
        trigger = None
        try:
            if self._is_fired(order.camera):
                trigger = self.trigger(order.camera, order.unit_identifier, order.expect, lane)
            elif order.unit_identifier is not None:
                self._announce(order.camera, self._announcements.make(order.unit_identifier, order.expect))
        except OrderError:
            self.job = before
            raise
        self._settle()
        return trigger

    def announce(self, order: AnnounceOrder) -> None:
        """The unit of the next trigger. Raises OrderError."""
        if self._announcements.is_newest(order.camera, order):
            return
        is_owed = order.unit_identifier is not None and bool(self._announcements.of(order.camera))
        if is_owed and self.job.fault is not None:  # the one before would be given a trigger
            raise OrderError(self.job.fault)
        self._announce(order.camera, self._announcements.make(order.unit_identifier, order.expect))
        self._settle()

    def _announce(self, name: str, announced: Announce) -> None:
        if self._is_fired(name):
            waiting = self._announcements.of(name) if announced.unit_identifier is not None else ()
            for one in waiting:
                self._firing.open_unseen(name, Unit.of(one))
            self._announcements.put(name, announced)
            return
        self._announcements.put(name, announced)
        camera = self._station.cameras_of(name)[0]
        # One that is away hears of it at its link.
        if f"{CAPTURE}{camera}" in self._links:
            self._words.announce(camera, announced)

    def trigger(
        self, name: str, unit_identifier: str | None, expect: Mapping[str, str], lane: str | None = None
    ) -> Trigger:
        """Open a trigger of cameras that are triggered by software, and have it fired. Raises OrderError."""
        if not self.job.takes(name):
            raise OrderError(self.job.refusal(name))
        announced = self._announcements.of(name) if unit_identifier is None else ()
        unit = Unit.of(announced[0]) if announced else Unit(identifier=unit_identifier)
        unit = msgspec.structs.replace(unit, expect={**self._expected, **unit.expect, **expect}, lane=lane)
        return self._firing.open(name, unit, self.opened)

    def trigger_by_clock(self, name: str) -> None:
        """The station's own clock asks for one: none, where none is taken. Raises OrderError."""
        if self.job.takes(name):
            self.trigger(name, None, {})

    def done(self, asked_id: int | str | None) -> Done:
        """The answer to an order that was carried out."""
        return Done(state=self.job.state, job=self.describe(), id=asked_id)

    def describe(self) -> JobState:
        """What is judged by."""
        known, now = self.provenance, self.in_force
        return JobState(
            product=now.product or "",
            variant=now.variant,
            recipe_sha256=known.recipe_sha256 if known else None,
            reference_set=known.reference_set if known else None,
            configuration=now.generation,
        )

    # --- what happens by itself

    def opened(self, trigger: Trigger) -> None:
        """A trigger was opened, here or by a capture process. It is closed after that is written: else a kill repeats it."""
        if trigger.source != "announced":
            self.job = job.taken(self.job, trigger.camera)
        if trigger.announced:
            self._announcements.take(trigger.camera, trigger.announced)
        self._save()
        if trigger.source == "announced":
            for camera in trigger.cameras:
                unseen = Unjudged(trigger_id=trigger.trigger_id, reason=Reason.MISSING_VIEW, detail=NEVER_TRIGGERED)
                self._books.fail(camera, unseen)

    def turn(self, refusal: str | None) -> None:
        """Once each turn of the loop. `refusal`: why nothing may be accepted, None where it may."""
        self.job = job.with_fault(self.job, refusal)
        if (single := self.job.single) is not None and not self._books.ledger.in_flight(single.name):
            self.job = job.answered(self.job, single.name)
        self._settle()

    def _settle(self) -> None:
        self._save()
        self._tell()

    # --- telling

    @property
    def _expected(self) -> dict[str, str]:
        return {} if self.in_force.variant is None else {"variant": self.in_force.variant}

    def _is_fired(self, name: str) -> bool:
        """Whether its triggers are opened here. The cameras of a group have one mode."""
        return self._station.cameras[self._station.cameras_of(name)[0]].trigger.mode == "software"

    def _tell(self) -> None:
        for camera in self._station.cameras:
            self._words.tell(camera, self._run_of(camera))

    def _run_of(self, camera: str) -> Run:
        name, single = self._station.group_of(camera) or camera, self.job.single
        expect = self._expected if single is None else {**self._expected, **single.expect}
        return Run(is_on=self.job.takes(name), at_most=None if single is None else 1, expect=expect)

    def _save(self) -> None:
        kept = Kept(
            boot=boot_identity().hex(),
            run=self._run,
            configured=self._configured,
            mode=self.job.mode,
            single=self.job.single,
            is_warm=self.job.is_warm,
            product=self.in_force.product,
            variant=self.in_force.variant,
            generation=self.in_force.generation,
            since_ns=self.in_force.since_ns,
            newest_generation=self._newest_generation,
            announced=self._announcements.waiting,
            newest_number=self._announcements.newest,
        )
        self._file.save(kept)
