"""What the station judges by, asked of itself over its command socket, and the order to judge by what is on its disk now."""

from typing import Any, Protocol

import msgspec

from edge.addresses import reached
from edge.client import ask
from edge.config import Station
from edge.errors import GoldlineError
from edge.fleet.plan import Judged
from edge.keys import own_keys

# `state` is answered at once by a station that is there.
ANSWER_WITHIN_S = 3.0
# `prepare` loads a product; with TensorRT it may build an engine first (docs/orders.md).
PREPARE_WITHIN_S = 900.0
# States of the station in which it takes the order (docs/orders.md).
PREPARES_IN = ("Ready", "ContinuousExecution", "Error")
# A refusal that ends with one of these is about the moment, not about the product.
PASSING = ("inspection is starting: try again", "is being prepared", "the station is stopping")


class Busy(GoldlineError):
    """The station cannot take the order now."""


class Standing(msgspec.Struct, frozen=True):
    """The part of the answer to `state` that is needed here."""

    state: str
    job: Judged


class Asked(Protocol):
    """The station, as a roll-out sees it."""

    def standing(self) -> Standing | None:
        """How it stands; None where nobody answers."""
        ...

    def prepare(self, product: str, variant: str | None) -> None:
        """Have it judge by what is on the disk. Raises Busy, or GoldlineError where it cannot judge by that."""
        ...


class Silent:
    """A station that does not run: it judges by what is on its disk when it starts."""

    def standing(self) -> Standing | None:
        """Nobody answers."""
        return None

    def prepare(self, product: str, variant: str | None) -> None:
        """Nothing is to be done."""


class CommandSocket:
    """The running station of this configuration. Its methods block: they belong on a thread."""

    def __init__(self, station: Station) -> None:
        self._address = reached(station.events.command)
        self._station = station

    def standing(self) -> Standing | None:
        """How it stands; None where nobody answers."""
        try:
            answer = ask(self._address, {"verb": "state"}, ANSWER_WITHIN_S, keys=own_keys(self._station, "orders"))
            return msgspec.convert(answer, Standing)
        except (GoldlineError, msgspec.ValidationError):
            return None

    def prepare(self, product: str, variant: str | None) -> None:
        """Have it judge by what is on the disk. Raises Busy, or GoldlineError where it cannot judge by that."""
        standing = self.standing()
        if standing is None or standing.state not in PREPARES_IN:
            raise Busy("the station does not answer" if standing is None else f"the station is {standing.state}")
        order: dict[str, Any] = {"verb": "prepare", "product": product, "variant": variant}
        try:
            answer = ask(self._address, order, PREPARE_WITHIN_S, keys=own_keys(self._station, "orders"))
        except GoldlineError as silent:
            # A station that dies meanwhile has said nothing of the product.
            raise Busy(str(silent)) from silent
        if answer.get("accepted") is False:
            problem = str(answer.get("error"))
            raise (Busy if problem.endswith(PASSING) else GoldlineError)(problem)
