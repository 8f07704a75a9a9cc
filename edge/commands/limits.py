"""goldline limits: see what other limits would do to the images that are known, and accept them."""

import argparse
import json
from typing import TYPE_CHECKING

from edge.commands.replay import add_limits, proposed
from edge.config import load_station

if TYPE_CHECKING:
    from edge.limits import Effect

# Images named on the terminal; `--json` has them all.
MOST_NAMED = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `goldline limits`."""
    parser.description = (
        "Show what other limits would do to the good and the known bad images of the product's reference set. With "
        "--accept, write them into the recipe; nothing is taught again. Without any, show the limits in force."
    )
    parser.epilog = "examples:\n  goldline limits lid --review 4.5\n  goldline limits lid --rate 0.01 --accept"
    parser.add_argument("product", metavar="NAME", help="the product")
    add_limits(parser)
    parser.add_argument("--accept", action="store_true", help="write them into the recipe")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Show, and accept if asked to. 0 when it ran."""
    from edge.inspector import Inspector
    from edge.limits import accept, effects
    from edge.recipe import load_recipe
    from edge.running import how_to_go_live

    station = load_station(arguments.config)
    recipe = load_recipe(station, arguments.product)
    wanted = proposed(arguments, recipe.recipe.limits)
    before = Inspector.load(station, arguments.product)
    after = Inspector.load(station, arguments.product, limits=wanted)
    found = effects(before, after)
    if arguments.accept:
        accept(recipe.path, wanted)
    if arguments.json:
        views = [effect.to_json() for effect in found]
        print(json.dumps({"product": arguments.product, "accepted": arguments.accept, "views": views}))
    else:
        print("\n".join(line for effect in found for line in to_text(effect)))
        written = [f"written to {recipe.path}", *how_to_go_live(station)]
        print("\n".join(written) if arguments.accept else "nothing is changed: --accept")
    return 0


def to_text(effect: "Effect") -> list[str]:
    """The effect on one camera role, for a person."""
    from edge.replay import said

    known = effect.known
    false_calls, escapes = known.false_calls, known.escapes
    rate = "no rate is promised" if effect.rate is None else f"at most {effect.rate:.2%} of good parts like these"
    lines = [
        f"camera role {effect.role}",
        f"  review limit   {effect.before.review:8.2f} -> {effect.after.review:8.2f}   {rate}",
        f"  fail limit     {effect.before.fail:8.2f} -> {effect.after.fail:8.2f}",
        f"  false calls    {false_calls[0]:8d} -> {false_calls[1]:8d}   of {len(known.goods)} good images",
        f"  escapes        {escapes[0]:8d} -> {escapes[1]:8d}   of {len(known.bads)} known bad images",
    ]
    changes = known.changes
    named = [f"  {one.name} ({kind}): {said(one.before)} -> {said(one.after)}" for kind, one in changes[:MOST_NAMED]]
    more = len(changes) - len(named)
    return [*lines, *named, *([f"  and {more} more"] if more > 0 else [])]
