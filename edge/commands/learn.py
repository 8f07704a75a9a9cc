"""goldline learn: add good images to a product's reference set, or known bad ones, as a new version."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.config import Station, load_station
from edge.errors import GoldlineError

if TYPE_CHECKING:
    from edge.learn import Lesson


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `goldline learn`."""
    parser.description = (
        "Add images to the product's active reference set, as a new version that becomes the active one: good ones to "
        "compare parts with, bad ones to try limits on. The limits are set anew; what is told otherwise of the images "
        "that are known is printed. `goldline teach NAME --undo` goes back."
    )
    parser.epilog = "examples:\n  goldline learn lid --good false-calls/*.png\n  goldline learn lid --bad escape.png"
    parser.add_argument("product", metavar="NAME", help="the product")
    parser.add_argument("--good", nargs="+", type=Path, default=[], metavar="IMAGE", help="images of good parts")
    parser.add_argument("--bad", nargs="+", type=Path, default=[], metavar="IMAGE", help="images of bad parts")
    parser.add_argument("--camera", metavar="ROLE", help="the camera role that took them, where there are several")
    parser.add_argument(
        "--variant", default="", metavar="NAME", help="the variant that the good images show; else their folder's name"
    )
    parser.add_argument(
        "--uncounted", action="store_true", help="compare with the good images, but let no limit rest on them"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Learn, and report. 0 when it ran."""
    from edge.learn import learn
    from edge.running import how_to_go_live

    if not arguments.good and not arguments.bad:
        raise GoldlineError("learn: give images, --good IMAGE… or --bad IMAGE…")
    station = load_station(arguments.config)
    lesson = learn(
        station,
        arguments.product,
        arguments.camera,
        arguments.good,
        arguments.bad,
        counted=not arguments.uncounted,
        variant=arguments.variant or _variant(station, arguments),
    )
    text = [*to_text(arguments.product, lesson), *how_to_go_live(station)]
    print(json.dumps(to_json(lesson)) if arguments.json else "\n".join(text))
    return 0


def _variant(station: Station, arguments: argparse.Namespace) -> str:
    """The variant that the good images' folder is named by; none where the camera role has no variants."""
    from edge.recipe import recipe_path
    from edge.references import Store

    recipe_path(station, arguments.product)  # refuses a name that is none
    views = Store(station.state_dir, arguments.product).load().manifest.views
    role = arguments.camera or views[0].camera
    known = sorted({variant for view in views if view.camera == role for variant in view.variants})
    folders = {path.resolve().parent.name for path in arguments.good}
    if not known or not folders:
        return ""
    if len(folders) > 1 or not folders <= set(known):
        raise GoldlineError(
            f"{arguments.product}: which variant do the good images show? --variant {' or --variant '.join(known)}; "
            "or give the images of one folder of that name"
        )
    return folders.pop()


def to_json(lesson: "Lesson") -> dict[str, Any]:
    """The report of `goldline learn --json`."""
    limits = lesson.view.calibration.limits
    return {
        "before": lesson.before,
        "reference_set": lesson.after,
        "camera": lesson.view.camera,
        "references": len(lesson.view.references),
        "bads": len(lesson.view.bads),
        "limits": {"review": limits.review, "fail": limits.fail},
        "false_call_rate": lesson.view.calibration.rate,
        "changed": [one.to_json() for one in lesson.changed],
        "seconds": lesson.seconds,
    }


def to_text(product: str, lesson: "Lesson") -> list[str]:
    """The report for a person."""
    from edge.replay import said

    calibration, view = lesson.view.calibration, lesson.view
    rate = "no rate is promised" if calibration.rate is None else f"false calls: {calibration.rate:.2%}"
    changed = lesson.changed
    return [
        f"{product}: reference set {lesson.after}, learned from {lesson.before}, {lesson.seconds:.1f} s",
        f"  {len(view.references)} good and {len(view.bads)} known bad images of camera role {view.camera}",
        f"  review limit {calibration.limits.review:.2f}, fail limit {calibration.limits.fail:.2f}; {rate}",
        f"  {len(changed)} known images are told otherwise" if changed else "  no known image is told otherwise",
        *(f"    {one.name}: {said(one.before)} -> {said(one.after)}" for one in changed),
        f"  to go back: goldline teach {product} --undo",
    ]
