"""How the station stands, as one value: the answer to `state`, and what lanes and subscribers hear at each change."""

from collections.abc import Callable
from typing import Any

from edge import events, orders
from edge.books import Books
from edge.committer import Committer
from edge.config import Station
from edge.job import State
from edge.job_desk import JobDesk
from edge.messages import Standing
from edge.orders import Alarm, CameraState, GroupState, StationState
from edge.outbox import Outbox
from edge.records import Outcome

# A change is told at once; the next one not before this time has passed, however often things change.
TELL_EVERY_NS = 50_000_000


class Describer:
    """Sees everything that the state is made of."""

    def __init__(
        self, station: Station, books: Books, outbox: Outbox, jobs: JobDesk, is_linked: Callable[[str], bool]
    ) -> None:
        """`is_linked`: whether a process is there, by its name."""
        self._station, self._books, self._outbox, self._jobs = station, books, outbox, jobs
        self._is_linked = is_linked
        self._state: State | None = None
        self._since_utc_ns = 0
        self.alarms: tuple[Alarm, ...] = ()
        self._up: set[str] = set()

    def streams(self, camera: str, *, is_up: bool) -> None:
        """A camera's process says so; a new one has yet to."""
        (self._up.add if is_up else self._up.discard)(camera)

    def look(self, now_utc_ns: int, alarms: tuple[Alarm, ...]) -> object:
        """Take note of how things stand. What is returned differs where that has changed; counts alone are no change."""
        self.alarms, jobs = alarms, self._jobs
        if self._state is not jobs.job.state:
            self._state, self._since_utc_ns = jobs.job.state, now_utc_ns
        linked = tuple(self._is_linked(f"capture@{name}") for name in self._station.cameras)
        return self._state, jobs.describe(), self._outbox.stream, linked, frozenset(self._up), alarms

    def describe(self, asked_id: int | str | None = None) -> StationState:
        """All of it, now."""
        cameras = {
            name: CameraState(
                mode=camera.trigger.mode,
                is_linked=self._is_linked(f"capture@{name}"),
                is_up=name in self._up,
                **self._counts(name),
            )
            for name, camera in self._station.cameras.items()
        }
        groups = {
            name: GroupState(cameras=group.cameras, **self._counts(name))
            for name, group in self._station.groups.items()
        }
        return StationState(
            station=self._station.station_id,
            state=self._jobs.job.state,
            since=events.utc(self._since_utc_ns),
            job=self._jobs.describe(),
            stream=str(self._outbox.stream),
            head=self._outbox.head,
            low=self._outbox.low,
            cameras=cameras,
            groups=groups,
            alarms=self.alarms,
            id=asked_id,
        )

    def _counts(self, name: str) -> dict[str, Any]:
        ledger = self._books.ledger
        return {
            "triggers": ledger.triggers(name),
            "in_flight": ledger.in_flight(name),
            "verdicts": {str(outcome): ledger.verdicts(name, outcome) for outcome in Outcome},
        }


class Teller:
    """Says how the station stands whenever that has changed; counts alone are no change."""

    def __init__(
        self,
        describer: Describer,
        committer: Committer,
        to_lanes: Callable[[bytes], None],
        is_linked: Callable[[str], bool],
    ) -> None:
        """`to_lanes` takes the state in JSON."""
        self._describer, self._committer, self._to_lanes, self._is_linked = describer, committer, to_lanes, is_linked
        self._told: object = None
        self._next_ns = 0

    def turn(self, now_ns: int, now_utc_ns: int) -> None:
        """Once each turn of the loop."""
        found = tuple(Alarm(name=alarm.name, text=alarm.text) for alarm in self._committer.alarms())
        if not self._is_linked("inspection"):
            found += (Alarm(name="inspection_down", text="inspection is not running: it is being started again"),)
        news = self._describer.look(now_utc_ns, found)
        if news == self._told or now_ns < self._next_ns:
            return
        self._told, self._next_ns = news, now_ns + TELL_EVERY_NS
        said = orders.encode(self._describer.describe())
        self._committer.submit(Standing(state=said))
        self._to_lanes(said)
