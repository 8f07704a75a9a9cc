"""Publish's side of a reload: it gives the number that events name the configuration by, and takes over what is its own."""

from typing import NamedTuple

from edge.books import Books
from edge.channel import Channel
from edge.committer import Committer
from edge.config import Station
from edge.firing import Firing
from edge.job_desk import JobDesk
from edge.messages import Abandon, Commit, Offer, Offered, Taken
from edge.orders import OrderError
from edge.takeover import Takeover
from edge.topology import triggerable


class Parts(NamedTuple):
    """Those of publish that go by the configuration."""

    firing: Firing
    books: Books
    committer: Committer


class PublishReload:
    """For publish's loop."""

    def __init__(self, control: Channel, jobs: JobDesk, parts: Parts) -> None:
        """Nothing is offered yet."""
        self._jobs, self._parts = jobs, parts
        self._takeover = Takeover(control, self._take_over, self._make_ready, jobs.let_go)
        # Taken over here, and inspection has not said yet that it judges by it: the offer's number, and the events'.
        self._due: tuple[int, int] | None = None

    def hear(self, said: Offer | Commit | Abandon, descriptor: int | None) -> None:
        """One word of the supervisor."""
        self._takeover.hear(said, descriptor)

    def turn(self) -> None:
        """Once each turn of the loop: say it when inspection judges by the new one."""
        if self._due is not None and self._jobs.in_force.generation >= self._due[1]:
            self._takeover.say(Taken(number=self._due[0]))
            self._due = None

    def _make_ready(self, number: int, _station: Station) -> Offered:
        try:
            return Offered(number=number, generation=self._jobs.offer())
        except OrderError as problem:
            return Offered(number=number, problem=str(problem))

    def _take_over(self, number: int, station: Station, generation: int) -> bool:
        firing, books, committer = self._parts
        firing.take_over(station)
        books.take_over(station, {name: station.deadline_ms(name) for name in triggerable(station)})
        committer.keeper.take_over(station.outbox)
        committer.live.take_over(station.events.heartbeat_ms / 1000)
        self._jobs.take_over(station, generation)
        self._due = number, generation
        return False
