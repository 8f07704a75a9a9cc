"""What the address space says: the newest result of each channel, how the station stands, that it is alive."""

from typing import Any

from asyncua import ua

from edge.lanes import opcua_types
from edge.lanes.opcua_events import Announcer
from edge.lanes.opcua_result import NO_ID, Described, Identity, digest
from edge.lanes.opcua_space import CHANNEL_VALUES, Space
from edge.lanes.opcua_state import Move, Shown, moves, shown, transition
from edge.lanes.opcua_types import words
from edge.lanes.standing import Standing

# A PLC that has seen no count for two of these knows that nobody is there.
LIFE_NS = 100_000_000
OUTER, INNER = "VisionStateMachine", "VisionStateMachine.AutomaticModeStateMachine"
# Their types in the companion specification, which declare states and transitions.
MACHINES = {"outer": 1017, "inner": 1021}
_Text = ua.VariantType.String


class Show:
    """Writes the variables and sends the events. Use `of`."""

    def __init__(self, space: Space, announcer: Announcer, declared: dict[str, dict[str, ua.NodeId]]) -> None:
        """`declared`: the states and transitions of each machine by name."""
        self.announcer = announcer
        self._space, self._declared = space, declared
        self._shown: Shown | None = None
        self._life, self._life_ns = 0, 0

    @classmethod
    async def of(cls, space: Space) -> "Show":
        """Of a space that was just built."""
        declared = {machine: await space.states_of(kind) for machine, kind in MACHINES.items()}
        return cls(space, await Announcer.of(space), declared)

    @property
    def job(self) -> str:
        """The job in hand: product and configuration, as results name it."""
        job = self._shown.job if self._shown is not None else None
        if job is None or job.product is None:
            return f"{NO_ID}/{NO_ID}"
        return f"{job.product}/{NO_ID if job.configuration is None else job.configuration}"

    @property
    def variant(self) -> str:
        """The variant in hand; empty where there is none."""
        return (self._shown.job.variant or "") if self._shown is not None else ""

    # --- results

    async def result(self, described: Described) -> None:
        """A channel's newest result, as values first and then as an event."""
        await self._space.write_result(described.channel, opcua_types.result(described))
        values = {
            "TriggerId": described.trigger_id,
            "Verdict": described.verdict,
            "Evaluation": int(described.evaluation),
            "Reason": described.reason,
            "Good": described.is_good,
            "Review": described.is_review,
            "OnTime": described.is_on_time,
            "UnitIdentifier": described.part or "",
            "Score": described.score,
            "Decided": described.created,
        }
        for name, (kind, _) in CHANNEL_VALUES.items():
            await self._space.write(f"Channels.{described.channel}.{name}", ua.Variant(values[name], kind))
        await self.announcer.result(described)

    async def refused(self, text: str) -> None:
        """Why a method was not carried out."""
        await self._space.write("LastRefusal", ua.Variant(text, _Text))
        await self.announcer.said(text)

    # --- the station

    async def standing(self, standing: Standing | None, now_ns: int, *, is_fresh: bool) -> None:
        """How the station stands at this time."""
        if is_fresh and now_ns - self._life_ns >= LIFE_NS:
            self._life, self._life_ns = (self._life + 1) % 2**32, now_ns
            await self._space.write("LifeCounter", ua.Variant(self._life, ua.VariantType.UInt32))
        before, after = self._shown, shown(standing, is_fresh=is_fresh)
        if before == after:
            return
        self._shown = after
        await self._write(after)
        if before is not None:
            await self._announce(before, after)

    async def _write(self, now: Shown) -> None:
        await self._machine(OUTER, "outer", now.outer)
        await self._machine(INNER, "inner", now.inner)
        sum_of_it = opcua_types.system_state(int(now.system), now.inner or now.outer)
        await self._space.write("SystemState", ua.Variant(sum_of_it, ua.VariantType.ExtensionObject))
        await self._space.write("Alarms", ua.Variant(list(now.alarms), _Text, is_array=True))
        await self._space.write("Product", ua.Variant(now.job.product or "", _Text))
        await self._space.write("Variant", ua.Variant(now.job.variant or "", _Text))

    async def _machine(self, path: str, machine: str, state: str | None) -> None:
        """CurrentState and its Id; a machine that is in no state says so by its status code."""
        text, node_id = ua.LocalizedText(state or "", "en"), self._declared[machine].get(state or "")
        status = words.StatusCodes.Good if state else words.StatusCodes.BadStateNotActive
        await self._space.write(f"{path}.CurrentState", ua.Variant(text, ua.VariantType.LocalizedText), status=status)
        identity = ua.Variant(node_id or words.NodeId(), ua.VariantType.NodeId)
        await self._space.write(f"{path}.CurrentState.Id", identity, status=status)

    async def _announce(self, before: Shown, after: Shown) -> None:
        for move in moves(before, after):
            await self.announcer.moved(move, self._transition(move))
        if after.job != before.job and after.job.product is not None:
            recipe = Identity(id=after.job.product, sha256=digest(after.job.recipe_sha256))
            await self.announcer.prepared(recipe)
        if after.inner != before.inner and after.inner in ("Ready", "SingleExecution", "ContinuousExecution"):
            await self.announcer.job(is_started=after.inner != "Ready", job=self.job)

    def _transition(self, move: Move) -> tuple[str, Any]:
        declared = self._declared[move.machine]
        name = transition(move, frozenset(declared))
        return (name, declared[name]) if name is not None else (f"{move.before}To{move.after}", None)
