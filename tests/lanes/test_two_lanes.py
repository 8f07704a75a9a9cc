"""Two lanes on one channel: each shows every result, and takes none for the answer to an order of the other."""

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from edge.lanes.codes import Refusal
from edge.lanes.result_lane import GRACE_NS, Controls, ResultLane
from edge.lanes.settling import Settling
from edge.lanes.shown import Shown
from edge.lanes.station_link import Place
from tests.lanes.handshake import DEADLINE_NS
from tests.lanes.lane_line import event_of

NAMES = st.sampled_from(["modbus", "other"])
# Between two looks of a lane.
TURN_NS = 250_000_000


@dataclass
class Side:
    """One lane, with an order on its way to publish or the answer on its way back, and how far it has read."""

    lane: ResultLane = field(default_factory=ResultLane)
    settling: Settling = field(default_factory=Settling)
    order: str | None = None
    answer: int | None = None
    read: int = 0
    asked: int = 0
    missed_at_once: int = 0


class TwoLanes(RuleBasedStateMachine):
    """The PLCs of both use the same identifiers, or none; publish may die at any point, and closes what it has opened."""

    @initialize()
    def begin(self) -> None:
        self.sides = {"modbus": Side(), "other": Side()}
        self.now_ns = 0
        self.is_fresh = True
        # What publish has opened: the lane and the identifier of each trigger, counted from 1; its deadline while open.
        self.opened: list[tuple[str, str]] = []
        self.open: dict[int, int] = {}
        self.log: list[int] = []

    @precondition(lambda self: self.is_fresh)
    @rule(name=NAMES, unit=st.sampled_from(["", "LOT-5"]))
    def ask(self, name: str, unit: str) -> None:
        side = self.sides[name]
        lane, _ = side.lane.command(Controls(ack=True), "", Refusal.NONE)
        side.lane, orders = lane.command(Controls(trigger=True), unit, Refusal.NONE)
        if orders.trigger:
            side.order, side.answer = unit, None
            side.asked += 1
        else:
            side.missed_at_once += 1

    @precondition(lambda self: self.is_fresh)
    @rule(name=NAMES)
    def carry_out(self, name: str) -> None:
        side = self.sides[name]
        if side.order is not None:
            self.opened.append((name, side.order))
            side.order, side.answer = None, len(self.opened)
            self.open[side.answer] = self.now_ns + DEADLINE_NS

    @rule(name=NAMES)
    def hear(self, name: str) -> None:
        side = self.sides[name]
        if side.answer is not None:
            side.lane = side.lane.accept(side.answer, self.now_ns + DEADLINE_NS + GRACE_NS)
            side.answer = None

    @precondition(lambda self: self.is_fresh and self.open)
    @rule(which=st.integers(0, 7))
    def decide(self, which: int) -> None:
        trigger_id = sorted(self.open)[which % len(self.open)]
        del self.open[trigger_id]
        self.log.append(trigger_id)

    @rule()
    def publish_dies(self) -> None:
        self.is_fresh = False
        for side in self.sides.values():
            if side.order is not None or side.answer is not None:
                side.lane = side.lane.doubt()
            side.order = side.answer = None
        self.turn()

    @precondition(lambda self: not self.is_fresh)
    @rule()
    def publish_is_back(self) -> None:
        self.is_fresh = True

    @rule(name=NAMES)
    def look(self, name: str) -> None:
        side = self.sides[name]
        for at, trigger_id in enumerate(self.log[side.read :], side.read + 1):
            lane, unit = self.opened[trigger_id - 1]
            event = event_of(trigger_id, "left", "FAIL", trigger_lane=lane, unit_identifier=unit or None)
            side.lane = side.lane.take(Shown.of(event, 0, name), Place("log", at))
        side.read = len(self.log)

    @rule(turns=st.sampled_from([1, 5]))
    def wait(self, turns: int) -> None:
        for _ in range(turns):
            self.turn()

    def turn(self) -> None:
        self.now_ns += TURN_NS
        for trigger_id in [one for one, by_ns in self.open.items() if self.is_fresh and by_ns <= self.now_ns]:
            del self.open[trigger_id]
            self.log.append(trigger_id)
        for name, side in self.sides.items():
            self.look(name)
            is_settled = side.settling.look(self.now_ns, is_fresh=self.is_fresh)
            side.lane = side.lane.expire(self.now_ns, DEADLINE_NS, is_settled=is_settled)

    @invariant()
    def each_is_told_of_its_own_triggers_alone(self) -> None:
        for name, side in self.sides.items():
            accepted = side.lane.accepted
            assert not accepted or self.opened[accepted - 1][0] == name, (
                "told of a trigger that the other has asked for"
            )

    def teardown(self) -> None:
        """When all is over, each was told what became of each of its orders."""
        if not hasattr(self, "sides"):
            return
        for name in self.sides:
            self.hear(name)
        self.publish_dies()
        self.publish_is_back()
        self.wait(3 * DEADLINE_NS // TURN_NS)
        for name, side in self.sides.items():
            accepted = sum(lane == name for lane, _ in self.opened)
            assert not side.lane.is_busy
            assert side.lane.missed == side.missed_at_once + side.asked - accepted
            assert side.lane.completed == len(self.opened)


TestTwoLanes = TwoLanes.TestCase
TestTwoLanes.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
