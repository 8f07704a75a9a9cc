"""The product that is judged by, and the thread that makes another ready beside it.

A switch lies between two frames: those that reached inspection before it are judged by the product before, with its
limits, its hashes and its drift.
"""

import os
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

import structlog

from edge.config import Station, runtime_directory
from edge.errors import GoldlineError
from edge.inspector import Inspector
from edge.messages import Prepare, Prepared
from edge.metrics import Page
from edge.recipe import load_recipe, unmatched_roles
from edge.records import Provenance
from edge.watch import Watch


@dataclass(frozen=True)
class Judging:
    """One product in force, with all that goes with it. `watches` are by view."""

    inspector: Inspector
    provenance: Provenance
    watches: Mapping[str, Watch]

    @classmethod
    def begin(cls, inspector: Inspector, generation: int, page: Page, roles: Mapping[str, str]) -> "Judging":
        """From now on. `roles`: that of each of the station's views."""
        page.gauge("goldline_engine_fallback").set(inspector.fell_back)
        watches = {view: Watch(page, view, inspector.drift(role)) for view, role in roles.items()}
        return cls(inspector, inspector.provenance(generation), watches)

    def prepared(self, generation: int, variant: str | None) -> Prepared:
        """What publish is told of it, with the variant that was ordered: a publish that died has not kept it."""
        product = self.provenance.product
        return Prepared(product=product, generation=generation, variant=variant, provenance=self.provenance)


def load(station: Station, product: str, variant: str | None) -> Inspector:
    """The product, warm. Raises GoldlineError where this station cannot judge by it."""
    if unmatched := unmatched_roles(station, load_recipe(station, product)):
        raise GoldlineError("; ".join(unmatched))
    inspector = Inspector.load(station, product)
    if variant is not None and variant not in inspector.variants:
        known = ", ".join(inspector.variants) or "none"
        raise GoldlineError(f"product {product}: variant {variant!r} is not one it knows: {known}")
    inspector.warm_up()
    if inspector.fell_back:
        wanted = station.inference.provider
        structlog.get_logger().warning("the CPU stands in for the accelerator", provider=wanted, product=product)
    return inspector


def load_first(station: Station, product: str, variant: str | None) -> Inspector:
    """What inspection begins with. Raises GoldlineError, which says where an order had named the product."""
    try:
        return load(station, product, variant)
    except GoldlineError as problem:
        if product == station.product:
            raise
        kept = runtime_directory(station) / "job.json"
        raise GoldlineError(f"{problem}; it was prepared by an order: make it whole, or remove {kept}") from problem


class Ready(NamedTuple):
    """What came of an order to prepare: the inspector, or why there is none."""

    prepare: Prepare
    inspector: Inspector | GoldlineError

    @property
    def generation(self) -> int:
        """Of the product that is ready; 0 where none is."""
        return 0 if isinstance(self.inspector, GoldlineError) else self.prepare.generation


class Preparing:
    """Loads one product at a time on a thread of its own. Of orders that come meanwhile the newest is next."""

    def __init__(self, station: Station) -> None:
        self._station = station
        self._wanted: Prepare | None = None
        self._thread: threading.Thread | None = None
        self._ready: Ready | None = None
        self._failure: Exception | None = None
        self.wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def order(self, prepare: Prepare) -> None:
        """Begin with this one, now or after the one in hand."""
        self._wanted = prepare
        self._go_on()

    def take(self) -> Ready | None:
        """What has become ready since the last call. Raises what nobody foresaw."""
        with suppress(BlockingIOError):
            os.eventfd_read(self.wake)
        if self._failure is not None:
            raise self._failure
        ready, self._ready = self._ready, None
        if ready is not None:
            # Its last step was to say so.
            self._thread = None
            if self._wanted is not None and self._wanted.generation < ready.generation:
                self._wanted = None  # publish repeats an earlier order to an inspection that was not as far
            self._go_on()
        return ready

    def _go_on(self) -> None:
        if self._thread is None and self._wanted is not None:
            prepare, self._wanted = self._wanted, None
            self._thread = threading.Thread(target=self._load, args=(prepare,), name="prepare", daemon=True)
            self._thread.start()

    def _load(self, prepare: Prepare) -> None:
        try:
            inspector = load(self._station, prepare.product, prepare.variant)
        except GoldlineError as problem:
            self._ready = Ready(prepare, problem)
        except Exception as failure:  # noqa: BLE001 - raised again by the process's own loop
            self._failure = failure
        else:
            self._ready = Ready(prepare, inspector)
        finally:
            os.eventfd_write(self.wake, 1)
