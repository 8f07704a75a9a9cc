"""goldline replay: judge stored frames by another reference set or other limits, and print what would change."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.config import load_station

if TYPE_CHECKING:
    from edge.recipe import LimitsRecipe


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `goldline replay`."""
    parser.description = (
        "Judge the frames of a folder by what is in force and by what is proposed, and print every verdict that "
        "differs. Nothing is switched."
    )
    parser.epilog = "examples:\n  goldline replay lid --frames shift/ --against 3fa9\n  goldline replay lid --frames shift/ --review 4.5"
    parser.add_argument("product", metavar="NAME", help="the product")
    parser.add_argument("--frames", type=Path, required=True, metavar="DIR", help="a folder of images")
    parser.add_argument("--against", metavar="HASH", help="a stored reference set (`goldline teach NAME --list`)")
    add_limits(parser)
    parser.add_argument("--camera", metavar="ROLE", help="the camera role that took them, where there are several")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def add_limits(parser: argparse.ArgumentParser) -> None:
    """Arguments that propose other limits."""
    parser.add_argument("--review", type=float, metavar="SCORE", help="from this score on a part is FAIL, for review")
    parser.add_argument("--fail", type=float, metavar="SCORE", help="from this score on a part is FAIL")
    parser.add_argument("--rate", type=float, metavar="SHARE", help="the review limit for this rate of false calls")
    parser.add_argument("--min-area", type=int, metavar="PX", help="smaller deviations do not fail a part")


def proposed(arguments: argparse.Namespace, now: "LimitsRecipe") -> "LimitsRecipe":
    """The recipe's limits with what the arguments propose. Raises GoldlineError for what a recipe could not say."""
    from pydantic import ValidationError

    from edge.errors import GoldlineError
    from edge.recipe import LimitsRecipe

    names = {"review": "review", "fail": "fail", "false_call_rate": "rate", "min_defect_area_px": "min_area"}
    given = {key: getattr(arguments, name) for key, name in names.items() if getattr(arguments, name) is not None}
    # A rate and a limit say the same thing twice: the new one replaces the old.
    replaced = (
        {"false_call_rate": None} if "review" in given else {"review": None} if "false_call_rate" in given else {}
    )
    try:
        return LimitsRecipe.model_validate({**now.model_dump(), **replaced, **given})
    except ValidationError as problem:
        told = problem.errors()[0]
        raise GoldlineError(f"limits: {'.'.join(map(str, told['loc']))}: {told['msg']}") from problem


def run(arguments: argparse.Namespace) -> int:
    """Judge everything twice and report. 0 when it ran."""
    from edge.images import list_images
    from edge.inspector import Inspector
    from edge.recipe import load_recipe
    from edge.references import Store
    from edge.replay import replay, summary
    from edge.terminal import stages

    station = load_station(arguments.config)
    product = arguments.product
    limits = proposed(arguments, load_recipe(station, product).recipe.limits)
    identity = arguments.against and Store(station.state_dir, product).find(arguments.against)
    paths = list_images(arguments.frames)
    before = Inspector.load(station, product)
    after = Inspector.load(station, product, identity=identity, limits=limits)
    role = before.role(arguments.camera)
    with stages() as tell:
        results = replay(before, after, role, paths, lambda done, total: tell("judging", done, total))
    report = {"before_set": before.reference_set, "after_set": after.reference_set, **summary(results)}
    if arguments.json:
        print(json.dumps(report))
    else:
        print("\n".join(to_text(report)))
    return 0


def to_text(report: dict[str, Any]) -> list[str]:
    """The report for a person."""
    lines = [f"{report['frames']} frames, by {report['before_set']} and by {report['after_set']}"]
    for kind, count in report["before"].items():
        lines.append(f"  {kind:<22} {count:>6} -> {report['after'][kind]}")
    changed = report["changed"]
    lines.append(f"{len(changed)} verdicts would change" if changed else "no verdict would change")
    return lines + [f"  {one['image']}: {_scored(one, 'before')} -> {_scored(one, 'after')}" for one in changed]


def _scored(one: dict[str, Any], when: str) -> str:
    score = one[f"score_{when}"]
    return one[when] if score is None else f"{one[when]} ({score:.2f})"
