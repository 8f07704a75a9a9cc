"""The handshake of one channel with a PLC: triggers one way, results the other. Pure, and a value: each step makes a new one.

A channel is a camera or a group. The PLC holds four bits, the lane answers with others:

    trigger ─▶   rising: one trigger is asked for. `trigger_ack` rises when the station has accepted it, `missed` when it
                 has not, with the reason in `refusal`; both fall with `trigger`.
    ack ─▶       while `valid`: the result is taken. `valid` falls; the next is shown once `ack` has fallen.
    clear ─▶     rising: `overrun` and `refusal` are forgotten.
    announce ─▶  rising: the unit identifier is that of the next part that the line triggers. `announce_ack` rises and falls
                 like `trigger_ack`.

A result's way, in this order, so that the death of the lane at any point loses none and shows none twice as new:
1. It is read from the decided log, and taken into the queue, with its number and its place in the log, in one step.
2. The value that this makes is kept (`kept.py`), and only then shown.
3. The PLC acknowledges. The value without the result is kept, and only then is `valid` shown as gone.

After a death between 3's two halves the PLC sees `valid` fallen; before that, the same result with the same number.

Eight results wait at most, the one that is shown among them. A ninth is let go and counted: `overrun`. `room` counts the
triggers in flight as well, so what the PLC triggers finds its place.

The answer to a trigger may be lost with the process that gave it. Then the trigger is `is_unsure`: the next decision of a
trigger that this lane has asked for, with its unit identifier, is its own; when its deadline has gone by, and the station
has been back for long enough to have closed it, it was never accepted.
"""

from typing import Self

import msgspec

from edge.lanes.codes import Refusal
from edge.lanes.shown import Shown
from edge.lanes.station_link import Place

# As smart cameras have it: Cognex keeps 8, Keyence 10.
DEPTH = 8
LAST_NUMBER = 0xFFFF
# A decision may be read before the answer that its trigger was accepted; while an answer is awaited, so many of them are
# remembered. It is one, but for what a log that was lost had told before.
REMEMBERED = 16
# Beyond a deadline: what publish needs to close a trigger and the lane to read it, many times over.
GRACE_NS = 1_000_000_000


class Controls(msgspec.Struct, frozen=True, array_like=True):
    """The PLC's bits."""

    trigger: bool = False
    ack: bool = False
    clear: bool = False
    announce: bool = False


class Wanted(msgspec.Struct, frozen=True, array_like=True):
    """A trigger that was asked for and is not answered.

    One that `is_unsure` is given up after `by_ns`, which is counted from when publish was known to be there.
    `is_held`: the PLC's bit has not fallen since; a bit that rises again is of another part, and not told of this one.
    """

    unit_identifier: str
    is_unsure: bool = False
    by_ns: int | None = None
    is_held: bool = True

    def may_bear(self, unit_identifier: str) -> bool:
        """Whether its trigger may have this identifier: asked for without one, it bears one that was announced."""
        return self.unit_identifier in ("", unit_identifier)


class InFlight(msgspec.Struct, frozen=True, array_like=True):
    """An accepted trigger. Its decision comes by `by_ns`, or was read by nobody: its log was lost."""

    trigger_id: int
    by_ns: int


class Early(msgspec.Struct, frozen=True, array_like=True):
    """A decision that was read while an answer is awaited: the answer may be about it."""

    trigger_id: int
    unit_identifier: str


class Orders(msgspec.Struct, frozen=True):
    """What a change of the PLC's bits asks for."""

    trigger: bool = False
    announce: bool = False


class ResultLane(msgspec.Struct, frozen=True, kw_only=True):
    """One channel."""

    # The decisions up to here are taken in; None: it has read none yet.
    seen: Place | None = None
    controls: Controls = Controls()
    # The identifier as the PLC has written it, byte for byte, for whoever holds the bits after this process.
    written: bytes = b""
    queue: tuple[Shown, ...] = ()
    is_valid: bool = False
    # The number of the newest result that was queued; how many were read, those let go among them.
    number: int = 0
    completed: int = 0
    overruns: int = 0
    is_overrun: bool = False
    wanted: Wanted | None = None
    in_flight: tuple[InFlight, ...] = ()
    early: tuple[Early, ...] = ()
    # The id of the newest accepted trigger.
    accepted: int = 0
    is_acked: bool = False
    missed: int = 0
    is_missed: bool = False
    refusal: Refusal = Refusal.NONE
    is_announcing: bool = False
    is_announced: bool = False
    # The bit of the announcement that is being asked for has fallen: the answer is about no other.
    is_withdrawn: bool = False

    # --- what is shown

    @property
    def shown(self) -> Shown | None:
        """The result that is valid now."""
        return self.queue[0] if self.is_valid else None

    @property
    def room(self) -> int:
        """Triggers that may come and find a place for their results."""
        return max(0, DEPTH - len(self.queue) - len(self.in_flight) - (self.wanted is not None))

    @property
    def is_busy(self) -> bool:
        """A trigger is asked for or in flight."""
        return self.wanted is not None or bool(self.in_flight)

    def hindrance(self, station: Refusal) -> Refusal:
        """Why a trigger would be missed now; `station`: what the station has against it."""
        if station is not Refusal.NONE:
            return station
        if self.wanted is not None:
            return Refusal.BUSY
        return Refusal.NONE if self.room else Refusal.NO_BUFFER

    # --- the PLC

    def command(self, controls: Controls, unit_identifier: str | None, station: Refusal) -> tuple[Self, Orders]:
        """The PLC's bits are now these. What is asked for must be kept first, then be sent.

        `unit_identifier`: of the next trigger or announcement; None: what the PLC wrote is none.
        """
        before, lane = self.controls, self.but(controls=controls)
        if controls.clear and not before.clear:
            lane = lane.but(is_overrun=False, refusal=Refusal.NONE)
        lane, is_triggered = lane.with_trigger(before, unit_identifier, station)
        lane, is_announced = lane.with_announcement(before, unit_identifier)
        return lane.settle(), Orders(trigger=is_triggered, announce=is_announced)

    def with_trigger(self, before: Controls, unit_identifier: str | None, station: Refusal) -> tuple[Self, bool]:
        """The bit of the trigger is as it is now; whether one is to be asked for."""
        if not self.controls.trigger:
            let_go = self.wanted and msgspec.structs.replace(self.wanted, is_held=False)
            return self.but(is_acked=False, is_missed=False, wanted=let_go), False
        if before.trigger:
            return self, False
        hindrance = self.hindrance(station)
        if unit_identifier is None or hindrance is not Refusal.NONE:
            return self.miss(hindrance or Refusal.BAD_IDENTIFIER), False
        return self.but(is_acked=False, is_missed=False, wanted=Wanted(unit_identifier), early=()), True

    def with_announcement(self, before: Controls, unit_identifier: str | None) -> tuple[Self, bool]:
        """And that of the announcement."""
        if not self.controls.announce:
            return self.but(is_announced=False, is_withdrawn=self.is_announcing), False
        if before.announce:
            return self, False
        if self.is_announcing:
            return self.but(refusal=Refusal.BUSY), False
        if unit_identifier is None:
            return self.but(is_announced=False, refusal=Refusal.BAD_IDENTIFIER), False
        # An `error` from here on is about this one, unless a trigger is `missed` at this moment.
        refusal = self.refusal if self.is_missed else Refusal.NONE
        return self.but(is_announced=False, is_announcing=True, refusal=refusal), True

    # --- the station's answers

    def accept(self, trigger_id: int, by_ns: int) -> Self:
        """The trigger that was wanted is accepted; its decision comes by then."""
        is_decided = any(one.trigger_id == trigger_id for one in self.early)
        is_held = self.wanted is not None and self.wanted.is_held
        return self.but(
            wanted=None,
            in_flight=self.in_flight if is_decided else (*self.in_flight, InFlight(trigger_id, by_ns)),
            accepted=trigger_id,
            is_acked=is_held and self.controls.trigger,
            # A bit that rose again meanwhile was missed, and stays so.
            refusal=self.refusal if self.is_missed else Refusal.NONE,
        )

    def refuse(self, refusal: Refusal) -> Self:
        """The trigger that was wanted is not accepted."""
        return self.but(wanted=None).miss(refusal)

    def doubt(self) -> Self:
        """The answer is lost, with whoever would have given it or with this lane's own process."""
        if self.wanted is None or self.wanted.is_unsure:
            return self
        for one in self.early:
            if self.wanted.may_bear(one.unit_identifier):
                return self.accept(one.trigger_id, by_ns=0)
        return self.but(wanted=msgspec.structs.replace(self.wanted, is_unsure=True))

    def announced(self, refusal: Refusal = Refusal.NONE) -> Self:
        """The announcement is taken, or why not."""
        is_taken = refusal is Refusal.NONE
        return self.but(
            is_announcing=False,
            is_withdrawn=False,
            is_announced=is_taken and self.controls.announce and not self.is_withdrawn,
            refusal=self.refusal if is_taken else refusal,
        )

    def revive(self) -> Self:
        """The lane's process has come up with what another has kept: of what that one asked, no answer comes."""
        lane = self.announced(Refusal.LOST) if self.is_announcing else self
        return lane.doubt()

    # --- what is decided, and time

    def take(self, result: Shown, behind: Place) -> Self:
        """Take in a result of this channel, and its place in the log."""
        lane = self.found_out(result).landed(result).but(seen=behind, completed=self.completed + 1)
        if len(lane.queue) >= DEPTH:
            return lane.overrun()
        number = lane.number % LAST_NUMBER + 1
        queued = msgspec.structs.replace(result, number=number)
        return lane.but(number=number, queue=(*lane.queue, queued)).settle()

    def overrun(self) -> Self:
        """A result is let go. The record has it all the same."""
        return self.but(is_overrun=True, overruns=self.overruns + 1)

    def expire(self, now_ns: int, deadline_ns: int, *, is_settled: bool) -> Self:
        """What time brings: a trigger of unsure fate is given up, and one in flight that no log knows any more.

        `is_settled`: publish is there (`settling.py`). Without it nothing is closed, and an order may still lie before it.
        """
        if not is_settled:
            return self
        left = tuple(one for one in self.in_flight if one.by_ns >= now_ns)
        lane = self if left == self.in_flight else self.but(in_flight=left)
        wanted = self.wanted
        if wanted is None or not wanted.is_unsure:
            return lane
        if wanted.by_ns is None:
            return lane.but(wanted=msgspec.structs.replace(wanted, by_ns=now_ns + deadline_ns + GRACE_NS))
        return lane.refuse(Refusal.LOST) if wanted.by_ns < now_ns else lane

    # --- the steps of the above

    def found_out(self, result: Shown) -> Self:
        """The decision of a trigger that nobody knew whether it was accepted: it was."""
        wanted = self.wanted
        is_it = wanted is not None and wanted.is_unsure and wanted.may_bear(result.unit_identifier)
        return self.accept(result.trigger_id, by_ns=0) if is_it and self.is_unheard(result) else self

    def landed(self, result: Shown) -> Self:
        """Its trigger is in flight no more; if it may be the one whose answer is awaited, that is remembered."""
        lane = self.but(in_flight=tuple(one for one in self.in_flight if one.trigger_id != result.trigger_id))
        if self.wanted is None or not self.is_unheard(result):
            return lane
        return lane.but(early=(*self.early, Early(result.trigger_id, result.unit_identifier))[-REMEMBERED:])

    def is_unheard(self, result: Shown) -> bool:
        """Whether it is of a trigger that this lane has asked for, and has not heard to be accepted. Ids only grow."""
        return result.is_ours and result.trigger_id > self.accepted

    def miss(self, refusal: Refusal) -> Self:
        """A trigger is not accepted."""
        return self.but(is_missed=self.controls.trigger, missed=self.missed + 1, refusal=refusal)

    def settle(self) -> Self:
        """Take away what is acknowledged; show what is next, once the bit of the acknowledgement has fallen."""
        if self.is_valid and self.controls.ack:
            return self.but(queue=self.queue[1:], is_valid=False)
        if not self.is_valid and self.queue and not self.controls.ack:
            return self.but(is_valid=True)
        return self

    def but(self, **changes: object) -> Self:
        """The same, but for these."""
        return msgspec.structs.replace(self, **changes)


encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(ResultLane).decode
