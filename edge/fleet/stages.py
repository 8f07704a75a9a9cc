"""Which stations are next, and whether a stage is over. Pure: what stations say and the time come in as values."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec

from edge.errors import GoldlineError
from edge.fleet.plan import Acknowledged, Counts, ProductState, Rules


@dataclass(frozen=True)
class Ordered:
    """What was written for one station: the bundle, the document's serial and its SHA-256."""

    bundle: str
    serial: int
    document: str


@dataclass(frozen=True)
class Waiting:
    """Not over: what it waits for, by station."""

    stations: Mapping[str, str]


@dataclass(frozen=True)
class Stopped:
    """The stage has failed."""

    station: str
    problem: str


@dataclass(frozen=True)
class Over:
    """Every station has arrived, and the rules are met."""


Look = Waiting | Stopped | Over


def planned(stations: Sequence[str], shares: Sequence[float]) -> tuple[tuple[str, ...], ...]:
    """Stages that together are these shares of the stations, each a station at least. Raises GoldlineError."""
    if any(not 0 < share <= 1 for share in shares) or list(shares) != sorted(set(shares)):
        raise GoldlineError("shares of the stations grow from stage to stage, up to 100 %")
    ends = [0, *(max(1, math.ceil(share * len(stations) - 1e-9)) for share in shares)]
    stages = [tuple(stations[first:last]) for first, last in itertools.pairwise(ends)]
    return tuple(stage for stage in stages if stage)


def look(
    product: str,
    ordered: Mapping[str, Ordered],
    acknowledged: Mapping[str, Acknowledged],
    rules: Rules,
    *,
    waited_s: float,
    arrived_s: float | None,
) -> Look:
    """How a stage stands. `waited_s`: since it began; `arrived_s`: since all of it had arrived, None where it has not."""
    waits: dict[str, str] = {}
    for station, order in ordered.items():
        said = acknowledged.get(station)
        if (problem := _refusal(product, order, said)) is not None:
            return Stopped(station, problem)
        if (why := _hindrance(product, order, said)) is not None:
            waits[station] = why
        elif (why := _trial(said, product, rules)) is not None:
            if isinstance(why, Stopped):
                return why
            waits[station] = why
    late = {station: why for station, why in waits.items() if why.startswith(NOT_THERE)}
    if late and waited_s > rules.patience_s:
        station, why = next(iter(late.items()))
        return Stopped(station, f"{why}, after {rules.patience_s:g} s")
    if not waits and (arrived_s is None or arrived_s < rules.wait_s):
        return Waiting({"all": f"arrived; {rules.wait_s - (arrived_s or 0):.0f} s to wait"})
    return Waiting(waits) if waits else Over()


NOT_THERE = "not there yet"


def has_arrived(product: str, order: Ordered, said: Acknowledged | None) -> bool:
    """Whether this station judges by what it was told to."""
    return _refusal(product, order, said) is None and _hindrance(product, order, said) is None


def _refusal(product: str, order: Ordered, said: Acknowledged | None) -> str | None:
    if said is None:
        return None
    if said.refused == order.document:
        return said.problem or "refused"
    state = said.products.get(product)
    if state is not None and said.serial >= order.serial and state.wanted == order.bundle and state.is_refused:
        return state.problem or "refused"
    return None


def _hindrance(product: str, order: Ordered, said: Acknowledged | None) -> str | None:
    if said is None:
        return f"{NOT_THERE}: it has never been heard of"
    state = said.products.get(product)
    if said.serial < order.serial or state is None or state.wanted != order.bundle:
        return f"{NOT_THERE}: last heard of {said.said:%Y-%m-%d %H:%M:%S} UTC"
    if state.has_arrived:
        return None
    return f"{NOT_THERE}: {state.problem or ('on its disk' if state.staged else 'fetching')}"


def _trial(said: Acknowledged | None, product: str, rules: Rules) -> str | Stopped | None:
    """What there is to wait for of parts that are to be judged first; Stopped where they come out worse."""
    state = said.products.get(product) if said is not None else None
    if said is None or state is None or not rules.parts or not state.is_in_force:
        return None
    if (seen := sum(state.counts.values())) < rules.parts:
        return f"{seen} of {rules.parts} parts judged"
    return _worse(said.station, state, rules)


def _worse(station: str, state: ProductState, rules: Rules) -> Stopped | None:
    now, before = rejected(state.counts), rejected(state.before)
    if now is None or before is None or now <= before + rules.margin:
        return None
    return Stopped(
        station, f"{now:.1%} of its parts are not PASS; before it was {before:.1%}, and {rules.margin:.1%} may be added"
    )


def rejected(counts: Counts) -> float | None:
    """The share that is not PASS; None where nothing was judged."""
    total = sum(counts.values())
    return None if not total else 1 - counts.get("PASS", 0) / total


def before_of(product: str, bundle: str, said: Acknowledged | None) -> str | None:
    """What a station is to go back to from this bundle; None where it does not know."""
    state = said.products.get(product) if said is not None else None
    if state is None:
        return None
    return state.previous if state.active in (bundle, None) else state.active


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """A row of `goldline fleet status`: a station and a product of it."""

    station: str
    said: datetime | None
    is_connected: bool
    goldline: str | None
    product: str | None = None
    wanted: str | None = None
    active: str | None = None
    reference_set: str | None = None
    recipe_sha256: str | None = None
    is_in_force: bool = False
    is_judged: bool = False
    since: datetime | None = None
    counts: Counts = {}
    behind: int | None = None
    problem: str | None = None


# A station speaks every half minute; two that are missing are no accident.
SILENT_S = 75.0


def lines(
    acknowledged: Mapping[str, Acknowledged | None], wanted: Mapping[str, Mapping[str, str]], now: datetime
) -> list[Line]:
    """Every station with every product that it has or is wanted to have."""
    return [
        _line(station, said, product, wanted.get(station, {}), now)
        for station, said in sorted(acknowledged.items())
        for product in sorted({*(said.products if said else ()), *wanted.get(station, {})}) or [None]
    ]


def _line(
    station: str, said: Acknowledged | None, product: str | None, wanted: Mapping[str, str], now: datetime
) -> Line:
    state = (said.products.get(product) if said and product else None) or ProductState()
    return Line(
        station=station,
        said=said and said.said,
        # A clock that is ahead says nothing of a station that may be long gone.
        is_connected=said is not None and abs((now - said.said).total_seconds()) < SILENT_S,
        goldline=said and said.goldline,
        product=product,
        wanted=wanted.get(product or "", state.wanted),
        active=state.active,
        reference_set=state.reference_set,
        recipe_sha256=state.recipe_sha256,
        is_in_force=state.is_in_force,
        is_judged=state.is_judged,
        since=state.since,
        counts=state.counts,
        behind=said and said.behind,
        problem=(said and said.problem) or state.problem or (None if said else "never heard of"),
    )
