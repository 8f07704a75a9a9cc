"""Whether a capture process opens triggers by itself, and the unit that the next one is for: as publish said. Pure."""

from edge.messages import Announce, Run

# Why a frame is dropped that nothing was opened for.
HALTED = "halted"
# Before the first announcement. Every one has a number above it.
NOBODY = Announce(unit_identifier=None)


class Admission:
    """Closed until publish says otherwise, which it does at its link.

    The ids of a process that died are left to this one: with publish away it would open triggers in a station that is
    halted, and without the variant that is expected of them.
    """

    def __init__(self) -> None:
        """Nothing heard yet."""
        self._run = Run(is_on=False)
        self._left: int | None = None
        self._announced = NOBODY

    @property
    def is_on(self) -> bool:
        """Whether the next frame or pulse opens a trigger."""
        return self._run.is_on and self._left != 0

    def run(self, said: Run) -> None:
        """From now on. What was said before is no news: publish repeats itself after its own death."""
        if said != self._run:
            self._run, self._left = said, said.at_most

    def announce(self, said: Announce) -> Announce | None:
        """The unit of the next trigger. Returns what it replaces: a unit that no trigger came for."""
        before = self._announced
        if said.number <= before.number:
            return None  # publish repeats itself after its own death
        self._announced = said
        return before if before.unit_identifier is not None and said.unit_identifier is not None else None

    @property
    def unit(self) -> Announce:
        """What the next trigger bears: the unit, with its number, or 0 without one; and what is expected of it."""
        number = self._announced.number if self._announced.unit_identifier is not None else 0
        expect = {**self._run.expect, **self._announced.expect}
        return Announce(unit_identifier=self._announced.unit_identifier, expect=expect, number=number)

    def opened(self) -> None:
        """A trigger bears it."""
        self._announced = Announce(unit_identifier=None, number=self._announced.number)
        if self._left:
            self._left -= 1
