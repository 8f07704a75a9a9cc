"""goldline teach: build a product's reference set from photographs of good parts."""

import argparse
import json
from pathlib import Path

from edge.config import Station, load_station
from edge.errors import GoldlineError
from edge.terminal import stages

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
        return _teach(station, arguments.product, arguments.good, arguments.json)
    return _switch(station, arguments)


def _teach(station: Station, product: str, directory: Path, as_json: bool) -> int:
    from edge.teach import teach

    with stages() as tell:
        taught = teach(station, product, directory, tell)
    print(json.dumps(taught.to_json()) if as_json else "\n".join(taught.lines(MOST_NAMED)))
    return 0


def _switch(station: Station, arguments: argparse.Namespace) -> int:
    from edge.recipe import recipe_path
    from edge.references import Store

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
        print("\n".join(f"{'*' if identity == active else ' '} {identity}" for identity in stored))
    return 0
