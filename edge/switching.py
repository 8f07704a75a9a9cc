"""What inspection judges by, and how that changes: by an order that prepares a product, or by a reload of the configuration.

Both are loaded beside what is judged by, and both begin between two frames: what reached inspection before is judged by
the one before.
"""

from collections.abc import Callable
from dataclasses import replace

import msgspec

from edge import heap
from edge.beside import Beside, sources_differ
from edge.config import Station
from edge.errors import GoldlineError
from edge.inspector import Inspector
from edge.job_file import InForce
from edge.judging import Judging, Preparing
from edge.messages import Abandon, Commit, Offer, Offered, Prepare, Prepared, Taken
from edge.mouth import Mouth
from edge.poller import Poller
from edge.takeover import Takeover
from edge.worker import WorkerContext


class Switching:
    """For inspection's loop."""

    def __init__(
        self,
        context: WorkerContext,
        inspector: Inspector,
        wanted: InForce,
        mouth: Mouth,
        when_changed: Callable[[Station], None],
    ) -> None:
        """It begins with this inspector. `when_changed` is called with each configuration that is taken over."""
        self._when_changed = when_changed
        self._page, self._mouth = context.page, mouth
        self.station = context.station
        self.roles = roles_of(context.station)
        self.judging = Judging.begin(inspector, wanted.generation, context.page, self.roles)
        self.prepared = self.judging.prepared(wanted.generation, wanted.variant)
        self._preparing = Preparing(context.station, context.page)
        self._takeover = Takeover(context.control, self._take_over, self._make_ready, self._let_go)
        self._beside: Beside | None = None
        # Committed: the offer, and the number that events name it by.
        self._due: tuple[Beside, int] | None = None

    @property
    def wake(self) -> int:
        """Readable when something was loaded."""
        return self._preparing.wake

    def listen(self, poller: Poller) -> None:
        """Have the loop wake up for what was loaded."""
        poller.listen(self.wake, self._preparing.awake)

    def order(self, prepare: Prepare, now_ns: int) -> None:
        """Publish wants a product prepared."""
        self._preparing.order(prepare, now_ns)

    def hear(self, said: Offer | Commit | Abandon, descriptor: int | None) -> None:
        """The supervisor speaks of another configuration."""
        self._takeover.hear(said, descriptor)

    def turn(self, finish: Callable[[], None], now_ns: int) -> None:
        """Once each turn of the loop. `finish`: have every frame that came go on to the graph, by what is judged by now."""
        self._answer_offer()
        if self._due is not None:
            finish()
            self._begin_configuration(*self._due)
        if (ready := self._preparing.take(now_ns)) is None:
            return
        asked, inspector = ready
        if isinstance(inspector, GoldlineError):
            problem = "; ".join(str(inspector).splitlines())
            self._mouth.say(Prepared(product=asked.product, generation=asked.generation, problem=problem))
            return
        finish()
        self._begin(Judging.begin(inspector, asked.generation, self._page, self.roles), asked.variant)

    def _begin(self, judging: Judging, variant: str | None) -> None:
        self.judging = judging
        self.prepared = judging.prepared(judging.provenance.configuration, variant)
        self._mouth.say(self.prepared)

    # --- another configuration

    def _make_ready(self, number: int, station: Station) -> None:
        now, is_same = self.judging.provenance, station.product == self.station.product
        product = now.product if is_same else station.product or ""
        variant = self.prepared.variant if is_same else None
        loads = sources_differ(self.station, station)
        self._beside = Beside(number, station, product, variant, now, loads=loads, wake=self._preparing.wake)

    def _answer_offer(self) -> None:
        beside = self._beside
        if beside is None or beside.outcome is None or self._due is not None or beside.is_answered:
            return
        beside.is_answered = True
        self._takeover.say(Offered(number=beside.number, problem=beside.problem, loads=beside.found))

    def _let_go(self) -> None:
        if self._beside is not None and isinstance(self._beside.outcome, Inspector):
            heap.trim_after(self._beside.outcome)
        self._beside = None

    def _take_over(self, _number: int, _station: Station, generation: int) -> bool:
        assert self._beside is not None
        self._due, self._beside = (self._beside, generation), None
        return False

    def _begin_configuration(self, beside: Beside, generation: int) -> None:
        self._due, self.station, self.roles = None, beside.station, roles_of(beside.station)
        self._preparing.take_over(beside.station)
        self._when_changed(beside.station)
        if isinstance(beside.outcome, Inspector):
            judging = Judging.begin(beside.outcome, generation, self._page, self.roles)
        else:
            provenance = msgspec.structs.replace(self.judging.provenance, configuration=generation)
            judging = replace(self.judging, provenance=provenance)
        self._begin(judging, beside.variant)
        self._takeover.say(Taken(number=beside.number))


def roles_of(station: Station) -> dict[str, str]:
    """Of each view the role that recipes know it by."""
    return {view: station.role_of(view) for view in station.views}
