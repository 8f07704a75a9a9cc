"""The handshake: whatever PLC, station and death do, each result is shown once, in order, or counted as let go."""

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from edge.lanes import result_lane
from edge.lanes.codes import Refusal, ResultCode
from edge.lanes.result_lane import DEPTH, GRACE_NS, Controls, ResultLane
from edge.lanes.settling import Settling
from edge.lanes.shown import Shown
from edge.lanes.station_link import Place
from tests.lanes.handshake import DEADLINE_NS, result

# Between two looks of the lane.
TURN_NS = 250_000_000
IDENTIFIERS = st.sampled_from(["", "A17", "B2"])


class Handshake(RuleBasedStateMachine):
    """A station that is known to the last bit, a PLC that does as it likes, and deaths of both processes at any point."""

    @initialize()
    def begin(self) -> None:
        self.lane, self.settling = ResultLane(), Settling()
        self.now_ns = 0
        self.is_fresh = True
        self.next_id = 1
        # The decisions as the log has them, and how far the lane has read.
        self.log: list[Shown] = []
        self.read = 0
        # Accepted by the station, not decided: id, unit identifier and deadline.
        self.open: list[tuple[int, str, int]] = []
        # An order on its way to the station; its answer on its way back.
        self.order: str | None = None
        self.answer: int | None = None
        # Orders of a lane that died while publish hung: they lie before it. And what was told to the lane as accepted.
        self.orphans: list[str] = []
        self.told: set[int] = set()
        self.asked = self.accepted = self.refused = 0
        # How often the trigger's bit has risen, and at which of them a trigger was asked for last.
        self.rises = self.asked_at = 0
        self.taken: list[Shown] = []

    # --- the PLC

    @rule(controls=st.builds(Controls, st.booleans(), st.booleans(), st.booleans(), st.booleans()), unit=IDENTIFIERS)
    def command(self, controls: Controls, unit: str) -> None:
        before, shown, missed = self.lane.controls, self.lane.shown, self.lane.missed
        station = Refusal.NONE if self.is_fresh else Refusal.STALE
        could = self.lane.hindrance(station) is Refusal.NONE
        self.lane, orders = self.lane.command(controls, unit, station)
        is_edge = controls.trigger and not before.trigger
        assert orders.trigger == (is_edge and could)
        assert self.lane.missed - missed == (is_edge and not could), "a trigger was neither asked for nor missed"
        if shown is not None and controls.ack:
            self.taken.append(shown)
            assert not self.lane.is_valid, "what is acknowledged is still shown"
        self.rises += is_edge
        if orders.trigger:
            self.order, self.answer = unit, None
            self.asked += 1
            self.asked_at = self.rises
        if orders.announce:
            self.lane = self.lane.announced()

    @rule(unit=IDENTIFIERS)
    def ask(self, unit: str) -> None:
        """A PLC as it should be asks for one trigger."""
        self.command(msgspec.structs.replace(self.lane.controls, trigger=False), "")
        self.command(msgspec.structs.replace(self.lane.controls, trigger=True), unit)

    @precondition(lambda self: self.is_fresh)
    @rule(unit=IDENTIFIERS)
    def ask_and_hear(self, unit: str) -> None:
        """And is told that it is accepted."""
        self.ask(unit)
        if self.order is not None:
            self.carry_out(is_accepted=True)
            self.hear()

    @rule()
    def cycle(self) -> None:
        """A PLC as it should be takes one result."""
        self.command(msgspec.structs.replace(self.lane.controls, ack=False), "")
        self.command(msgspec.structs.replace(self.lane.controls, ack=True), "")
        self.command(msgspec.structs.replace(self.lane.controls, ack=False), "")

    # --- the station

    @precondition(lambda self: self.order is not None and self.is_fresh)
    @rule(is_accepted=st.booleans())
    def carry_out(self, is_accepted: bool) -> None:
        assert self.order is not None
        self.answer = self.open_one(self.order) if is_accepted else 0
        self.order = None

    def open_one(self, unit: str) -> int:
        self.open.append((self.next_id, unit, self.now_ns + DEADLINE_NS))
        self.next_id += 1
        self.accepted += 1
        return self.open[-1][0]

    @precondition(lambda self: self.answer is not None)
    @rule()
    def hear(self) -> None:
        assert self.answer is not None
        if self.answer:
            self.lane = self.lane.accept(self.answer, self.now_ns + DEADLINE_NS + GRACE_NS)
            self.told.add(self.answer)
        else:
            self.lane = self.lane.refuse(Refusal.REFUSED)
            self.refused += 1
        self.answer = None

    @precondition(lambda self: self.open and self.is_fresh)
    @rule(which=st.integers(0, 7), code=st.sampled_from([ResultCode.PASS, ResultCode.FAIL, ResultCode.ERROR]))
    def decide(self, which: int, code: ResultCode) -> None:
        trigger_id, unit, _ = self.open.pop(which % len(self.open))
        self.log.append(result(trigger_id, unit=unit, code=code))

    @precondition(lambda self: self.is_fresh)
    @rule()
    def decide_of_the_line(self) -> None:
        self.log.append(result(self.next_id, is_ours=False))
        self.next_id += 1

    @rule()
    def look(self) -> None:
        for place, one in enumerate(self.log[self.read :], self.read):
            self.lane = self.lane.take(one, Place("log", place + 1))
        self.read = len(self.log)

    @rule(turns=st.sampled_from([1, 5, 20]))
    def wait(self, turns: int) -> None:
        for _ in range(turns):
            self.turn()

    def turn(self) -> None:
        """Whatever publish has accepted it closes by its deadline, while it lives; and the lane looks at its log first."""
        self.now_ns += TURN_NS
        while self.is_fresh and self.open and self.open[0][2] <= self.now_ns:
            self.decide(0, ResultCode.ERROR)
        self.look()
        was_unsure = self.lane.wanted is not None and self.lane.wanted.is_unsure
        missed = self.lane.missed
        is_settled = self.settling.look(self.now_ns, is_fresh=self.is_fresh)
        self.lane = self.lane.expire(self.now_ns, DEADLINE_NS, is_settled=is_settled)
        if self.lane.missed > missed:
            assert was_unsure
            self.refused += 1

    # --- deaths

    @rule()
    def publish_dies(self) -> None:
        """What it has accepted stands in its log; an answer on its way is lost, and so are orders."""
        self.is_fresh = False
        if self.order is not None or self.answer is not None:
            self.lane = self.lane.doubt()
        self.order = self.answer = None
        self.orphans = []
        self.turn()

    @precondition(lambda self: self.is_fresh)
    @rule()
    def publish_hangs(self) -> None:
        self.is_fresh = False
        self.turn()

    @precondition(lambda self: self.is_fresh)
    @rule(unit=IDENTIFIERS, is_read=st.booleans())
    def publish_fails_over_an_order(self, unit: str, is_read: bool) -> None:
        """It dies with the answer on its way, or hangs with the order before it."""
        self.ask(unit)
        if self.order is not None and is_read:
            self.carry_out(is_accepted=True)
            self.publish_dies()
        else:
            self.publish_hangs()

    @precondition(lambda self: not self.is_fresh)
    @rule()
    def publish_is_back(self) -> None:
        """What lies before it is read at once: orders of the living, and of the dead."""
        self.is_fresh = True
        for unit in self.orphans:
            self.open_one(unit)
        self.orphans = []

    @rule(is_read=st.booleans())
    def lane_dies(self, is_read: bool) -> None:
        """What it had asked is read with its last words, or lies there for as long as publish hangs."""
        self.lane = result_lane.decode(result_lane.encode(self.lane)).revive()
        self.settling = Settling()
        if self.order is not None and self.is_fresh and is_read:
            self.carry_out(is_accepted=True)
        elif self.order is not None and not self.is_fresh:
            self.orphans.append(self.order)
        self.order = self.answer = None

    # --- what always holds

    @invariant()
    def each_once_in_order_or_let_go(self) -> None:
        shown = [msgspec.structs.replace(one, number=0) for one in (*self.taken, *self.lane.queue)]
        seen = self.log[: self.read]
        rest = iter(seen)
        assert all(one in rest for one in shown), "shown out of order, twice, or never decided"
        assert len(shown) + self.lane.overruns == len(seen) == self.lane.completed

    @invariant()
    def numbers_have_no_gaps(self) -> None:
        numbers = [one.number for one in (*self.taken, *self.lane.queue)]
        assert numbers == list(range(1, len(numbers) + 1))

    @invariant()
    def no_rise_of_the_bit_is_told_of_another_ones_trigger(self) -> None:
        assert not self.lane.is_acked or self.asked_at == self.rises

    @invariant()
    def what_was_accepted_is_in_flight_until_its_result_is_read(self) -> None:
        read = {one.trigger_id for one in self.log[: self.read]}
        assert {one.trigger_id for one in self.lane.in_flight} == self.told - read

    @invariant()
    def only_a_pass_is_good(self) -> None:
        shown = self.lane.shown
        assert shown is None or shown.is_good == (shown.result is ResultCode.PASS)

    @invariant()
    def the_queue_is_bounded(self) -> None:
        assert len(self.lane.queue) <= DEPTH
        assert 0 <= self.lane.room <= DEPTH

    def teardown(self) -> None:
        """Nothing wedges it: with the bits released and the station back, it is ready again, and every trigger is told."""
        if not hasattr(self, "lane"):
            return
        if not self.is_fresh:
            self.publish_is_back()
        if self.order is not None:
            self.carry_out(is_accepted=False)
        if self.answer is not None:
            self.hear()
        self.command(Controls(), "")
        self.wait(3 * DEADLINE_NS // TURN_NS)
        while self.lane.queue:
            self.cycle()
        assert self.lane.room == DEPTH
        assert self.lane.hindrance(Refusal.NONE) is Refusal.NONE
        assert self.asked == self.accepted + self.refused, "a trigger's fate was never told"
        self.each_once_in_order_or_let_go()


TestHandshake = Handshake.TestCase
TestHandshake.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)
