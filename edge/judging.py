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

from edge import heap, product_switch
from edge.config import Station, runtime_directory
from edge.errors import GoldlineError
from edge.inference import ProviderName
from edge.inspector import Inspector
from edge.messages import Prepare, Prepared
from edge.metric_table import PREPARES_REFUSED
from edge.metrics import Page
from edge.recipe import load_recipe, unmatched_roles
from edge.records import Provenance
from edge.watch import Watch

# From the order on, a product is loaded and warm within this, or refused: many times what the largest takes on a slow
# machine. TensorRT may have to build an engine first. Who asks waits longer: `goldline order` and the OPC UA lane 900 s.
WITHIN_S: Mapping[ProviderName, float] = {"cpu": 120.0, "cuda": 120.0, "tensorrt": 840.0}


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
        heap.trim_after(inspector)
        watches = {view: Watch(page, view, inspector.drift(role)) for view, role in roles.items()}
        return cls(inspector, inspector.provenance(generation), watches)

    def prepared(self, generation: int, variant: str | None) -> Prepared:
        """What publish is told of it, with the variant that was ordered: a publish that died has not kept it."""
        product = self.provenance.product
        return Prepared(product=product, generation=generation, variant=variant, provenance=self.provenance)


def load(station: Station, product: str, variant: str | None) -> Inspector:
    """The product, warm. Raises GoldlineError where this station cannot judge by it."""
    product_switch.finish(station, product)
    if unmatched := unmatched_roles(station, load_recipe(station, product)):
        raise GoldlineError("; ".join(unmatched))
    inspector = Inspector.load(station, product)
    if variant is not None and variant not in inspector.variants:
        known = ", ".join(inspector.variants) or "none"
        raise GoldlineError(f"product {product}: variant {variant!r} is not one it knows: {known}")
    inspector.warm_up()
    heap.trim()
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


class Loading:
    """A product on its way, on a thread of its own. `outcome` is None until `wake` is written to."""

    def __init__(self, station: Station, prepare: Prepare, ordered_ns: int, wake: int) -> None:
        self.prepare, self.ordered_ns = prepare, ordered_ns
        self.outcome: Inspector | Exception | None = None
        threading.Thread(target=self._load, args=(station, wake), name="prepare", daemon=True).start()

    def _load(self, station: Station, wake: int) -> None:
        try:
            self.outcome = load(station, self.prepare.product, self.prepare.variant)
        except Exception as problem:  # noqa: BLE001 - what nobody foresaw is raised again by the process's own loop
            self.outcome = problem
        finally:
            os.eventfd_write(wake, 1)


class Preparing:
    """Loads one product at a time. Of orders that come meanwhile the newest is next.

    Every order comes to something in time: a thread that hangs, as on a disk that does not answer, is given up, and what
    it comes to after that is dropped. Until it has ended no other product is loaded.
    """

    def __init__(self, station: Station, page: Page) -> None:
        self._station = station
        self._wanted: tuple[Prepare, int] | None = None
        self._loading: Loading | None = None
        self._given_up: Loading | None = None
        self._seconds = page.histogram("goldline_prepare_seconds")
        self._refused = {why: page.counter("goldline_prepares_refused_total", reason=why) for why in PREPARES_REFUSED}
        self.wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def take_over(self, station: Station) -> None:
        """What is ordered from now on is loaded by this configuration."""
        self._station = station

    def order(self, prepare: Prepare, now_ns: int) -> None:
        """Begin with this one, now or after the one in hand."""
        self._wanted = prepare, now_ns
        self._go_on()

    def awake(self) -> None:
        """Take note of the wake-up."""
        with suppress(BlockingIOError):
            os.eventfd_read(self.wake)

    def take(self, now_ns: int) -> Ready | None:
        """What has become of an order since the last call; once each turn of the loop. Raises what nobody foresaw."""
        if self._given_up is not None and self._given_up.outcome is not None:
            self._given_up = None
        ready = self._came(now_ns) or self._hindered()
        if ready is not None and self._wanted is not None and self._wanted[0].generation < ready.generation:
            self._wanted = None  # publish repeats an earlier order to an inspection that was not as far
        self._go_on()
        return ready

    def _go_on(self) -> None:
        if self._wanted is not None and self._loading is None and self._given_up is None:
            self._loading = Loading(self._station, *self._wanted, self.wake)
            self._wanted = None

    def _came(self, now_ns: int) -> Ready | None:
        """Of the one in hand: that it is loaded, or is not, or takes too long."""
        if (loading := self._loading) is None:
            return None
        spent_s, within_s = (now_ns - loading.ordered_ns) / 1e9, WITHIN_S[self._station.inference.provider]
        match loading.outcome:
            case None if spent_s < within_s:
                return None
            case None:
                self._given_up, self._loading = loading, None
                problem = f"product {loading.prepare.product}: it was not loaded within {within_s:g} s"
                return self._refuse(loading.prepare, "time-out", GoldlineError(problem))
            case GoldlineError() as problem:
                self._loading = None
                return self._refuse(loading.prepare, "problem", problem)
            case Exception() as unforeseen:
                raise unforeseen
            case inspector:
                self._loading = None
                self._seconds.observe(spent_s)
                return Ready(loading.prepare, inspector)

    def _hindered(self) -> Ready | None:
        """What is asked for behind one that hangs."""
        if self._given_up is None or self._wanted is None:
            return None
        (prepare, _), self._wanted = self._wanted, None
        problem = f"{self._given_up.prepare.product} hangs in being loaded: see to the disk, or restart the station"
        return self._refuse(prepare, "time-out", GoldlineError(f"product {prepare.product}: product {problem}"))

    def _refuse(self, prepare: Prepare, reason: str, problem: GoldlineError) -> Ready:
        self._refused[reason].inc()
        structlog.get_logger().warning("not prepared", product=prepare.product, problem=str(problem))
        return Ready(prepare, problem)
