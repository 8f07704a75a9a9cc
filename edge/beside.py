"""What another configuration judges by, made ready on a thread beside what is judged by now.

Loaded anew where the product is another, its recipe or the active reference set has changed, or what loads it has; else
the inspector that judges goes on, under the new number.
"""

import os
import threading

from edge.config import Station
from edge.errors import GoldlineError
from edge.inspector import Inspector
from edge.judging import load
from edge.recipe import load_recipe
from edge.records import Provenance
from edge.references import Store

# What was found changed: its name, what it was, what it is.
Found = tuple[str, str, str]
# So much of a hash is shown.
SHOWN = 12


def sources_differ(old: Station, new: Station) -> bool:
    """Whether what loads an inspector is another: then it is loaded anew, whatever its files say."""
    roles = [[station.role_of(view) for view in station.views] for station in (old, new)]
    loads = [(station.inference, station.product) for station in (old, new)]
    return roles[0] != roles[1] or loads[0] != loads[1]


def changed(station: Station, product: str, now: Provenance) -> tuple[Found, ...]:
    """What of this product's files is not what is judged by. Raises GoldlineError."""
    found = load_recipe(station, product).sha256, Store(station.state_dir, product).active()
    pairs = zip(("recipe", "reference set"), (now.recipe_sha256, now.reference_set), found, strict=True)
    is_same = product == now.product
    return tuple(
        (f"{what} of {product}", old[:SHOWN] if is_same else "-", (new or "-")[:SHOWN])
        for what, old, new in pairs
        if old != new or not is_same
    )


class Beside:
    """One offer at a time. `outcome` is None until `wake` was written to; of an offer that was let go nobody asks."""

    def __init__(
        self,
        number: int,
        station: Station,
        product: str,
        variant: str | None,
        now: Provenance,
        *,
        loads: bool,
        wake: int,
    ) -> None:
        """`loads`: in any case."""
        self.number, self.station, self.variant = number, station, variant
        self.found: tuple[Found, ...] = ()
        # True: what judges goes on.
        self.outcome: Inspector | Exception | bool | None = None
        self.is_answered = False
        self._now, self._product, self._loads = now, product, loads
        threading.Thread(target=self._run, args=(wake,), name="reload", daemon=True).start()

    def _run(self, wake: int) -> None:
        try:
            self.found = changed(self.station, self._product, self._now)
            is_needed = self._loads or bool(self.found)
            self.outcome = load(self.station, self._product, self.variant) if is_needed else True
        except Exception as problem:  # noqa: BLE001 - what nobody foresaw is raised again by the process's own loop
            self.outcome = problem
        finally:
            os.eventfd_write(wake, 1)

    @property
    def problem(self) -> str | None:
        """Why it cannot be judged by, on one line. Raises what nobody foresaw."""
        if isinstance(self.outcome, GoldlineError):
            return "; ".join(str(self.outcome).splitlines())
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return None
