"""goldline teach: build a product's reference set from photographs of good parts."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edge.config import Station, load_station
from edge.errors import GoldlineError

if TYPE_CHECKING:
    from edge.assemble import TaughtView
    from edge.teach import Taught

# Odd images and near-duplicates named on the terminal; `--json` has them all.
MOST_NAMED = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `goldline teach`."""
    parser.description = (
        "Build a reference set from good images alone and make it the active one. A product without a recipe gets a "
        "default one. Or go back to the set before, list the sets, or activate one by its name."
    )
    parser.epilog = "examples:\n  goldline teach lid --good photographs/\n  goldline teach lid --undo"
    parser.add_argument("product", metavar="NAME", help="the product")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--good", type=Path, metavar="DIR", help="a folder of images of good parts")
    what.add_argument("--undo", action="store_true", help="go back to the reference set that was active before")
    what.add_argument("--activate", metavar="HASH", help="make a stored reference set the active one")
    what.add_argument("--list", action="store_true", help="list the stored reference sets; * is active")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Teach, or switch. 0 when it ran."""
    station = load_station(arguments.config)
    if arguments.good is not None:
        return _teach(station, arguments)
    return _switch(station, arguments)


def _teach(station: Station, arguments: argparse.Namespace) -> int:
    from edge.running import how_to_go_live
    from edge.teach import teach
    from edge.terminal import stages

    with stages() as tell:
        taught = teach(station, arguments.product, arguments.good, tell)
    text = [*report(taught), *how_to_go_live(station)]
    print(json.dumps(taught.to_json()) if arguments.json else "\n".join(text))
    return 0


def report(taught: "Taught") -> list[str]:
    """What teach did, line by line, for a person."""
    rate = taught.rate
    promise = (
        f"false calls: {rate:.2%} of good parts like these, the least that {_counted(taught)} can promise"
        if rate is not None
        else f"false calls: no rate can be promised from {taught.references} image(s); take 20 or more"
    )
    lines = [
        f"{taught.product}: reference set {taught.reference_set}, {taught.references} images, {taught.seconds:.1f} s"
    ]
    for view in taught.views:
        lines += [f"  camera role {view.manifest.camera}"] if len(taught.views) > 1 else []
        lines += report_view(view)
    return [*lines, f"  {promise}"]


def report_view(view: "TaughtView") -> list[str]:
    """What there is to say of one camera role."""
    limits = view.manifest.calibration.limits
    return [
        *(f"  {reason}" for reason in view.reasons),
        f"  review limit {limits.review:.2f} spreads above a good part; fail limit {limits.fail:.2f}, an extrapolation",
        *_named(
            "look odd and were not counted for the limits; remove what is not good and teach again",
            [f"{name} ({score:.1f})" for name, score in view.odd],
        ),
        *_named("left out", [f"{name} ({why})" for name, why in view.refused]),
        *_named("the same picture again, used once", view.identical),
        *_named(
            "nearly the same picture, so limits may be too tight",
            [f"{first} ~ {second}" for first, second in view.near_duplicates],
        ),
    ]


def _counted(taught: "Taught") -> str:
    odd = sum(len(view.odd) for view in taught.views)
    return f"{taught.references} images" + (f", {odd} of them odd," if odd else "")


def _named(what: str, names: Sequence[str]) -> list[str]:
    if not names:
        return []
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return [f"  {what}: {', '.join(names[:MOST_NAMED])}{more}"]


def _switch(station: Station, arguments: argparse.Namespace) -> int:
    from edge.recipe import recipe_path
    from edge.references import Store
    from edge.running import how_to_go_live

    recipe_path(station, arguments.product)
    store = Store(station.state_dir, arguments.product)
    if arguments.undo:
        store.undo()
    elif arguments.activate:
        store.activate(store.find(arguments.activate))
    active, stored = store.active(), store.identities()
    if not stored:
        raise GoldlineError(f"{arguments.product} has no reference set: goldline teach {arguments.product} --good DIR")
    if arguments.json:
        print(json.dumps({"product": arguments.product, "active": active, "reference_sets": stored}))
    else:
        hint = how_to_go_live(station) if arguments.undo or arguments.activate else []
        print("\n".join([*(f"{'*' if identity == active else ' '} {identity}" for identity in stored), *hint]))
    return 0
