"""Units that were announced and that no trigger bears yet. Pure.

A unit once announced is never lost: the next trigger of its name bears it; where another is announced before that came,
it gets a trigger of its own, which closes as ERROR(missing_view) at once. Which of the two, whoever opens the triggers
knows: capture for what comes by itself or from the line, this process for orders. Until a trigger bears it, an
announcement is kept here, to be said again to a new incarnation.
"""

from collections.abc import Mapping

from edge.messages import Announce
from edge.orders import AnnounceOrder, OrderError

# What the detail of its trigger says.
NEVER_TRIGGERED = "announced, and never triggered"
# More than one waits only while a camera's process is away, or has not read the last word yet.
MOST_WAITING = 32


class Announcements:
    """What waits, by the name of a camera or a group, oldest first; each has its own number."""

    def __init__(self, waiting: Mapping[str, tuple[Announce, ...]], newest: int) -> None:
        """As they were kept."""
        self._waiting = dict(waiting)
        self.newest = newest

    def make(self, unit_identifier: str | None, expect: Mapping[str, str]) -> Announce:
        """One more, numbered; not put yet. Raises OrderError: an expectation of no unit, which would be lost with a process."""
        if unit_identifier is None and expect:
            raise OrderError("what is expected is announced with its unit: null takes a unit back")
        return Announce(unit_identifier=unit_identifier, expect=dict(expect), number=self.newest + 1)

    def put(self, name: str, announced: Announce) -> None:
        """It waits from now on; without a unit, none waits any more. Raises OrderError: too many do."""
        if announced.unit_identifier is None:
            self._waiting.pop(name, None)
        elif len(self.of(name)) >= MOST_WAITING:
            raise OrderError(f"{len(self.of(name))} announced units of {name!r} wait for its camera's process already")
        else:
            self._waiting[name] = (*self.of(name), announced)
        self.newest = max(self.newest, announced.number)

    def of(self, name: str) -> tuple[Announce, ...]:
        """Those that wait for a trigger of this camera or group."""
        return self._waiting.get(name, ())

    def is_newest(self, name: str, order: AnnounceOrder) -> bool:
        """Whether this is what was announced last and waits still: an order is given again where its answer was lost."""
        newest = self.of(name)[-1:]
        return [(one.unit_identifier, one.expect) for one in newest] == [(order.unit_identifier, order.expect)]

    def again(self, name: str) -> tuple[Announce, ...]:
        """What is said to a process that links: that what is not among these was borne or taken back, and these."""
        waiting = self.of(name)
        before = waiting[0].number - 1 if waiting else self.newest
        return (Announce(unit_identifier=None, number=before), *waiting) if before else waiting

    def take(self, name: str, number: int) -> bool:
        """A trigger bears it. False: nothing like it waited."""
        left = tuple(one for one in self.of(name) if one.number != number)
        is_news = len(left) < len(self.of(name))
        if left:
            self._waiting[name] = left
        else:
            self._waiting.pop(name, None)
        return is_news

    @property
    def waiting(self) -> dict[str, tuple[Announce, ...]]:
        """All of them, to keep."""
        return dict(self._waiting)
