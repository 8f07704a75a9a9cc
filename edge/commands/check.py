"""Say whether this station's files are right: configuration, recipes, models, reference sets. Touches no hardware."""

import argparse
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edge.config import ConfigError, InferenceConfig, Station, load_station
from edge.errors import GoldlineError
from edge.recipe import Box, LoadedRecipe, RegionRecipe, load_recipe, products, unmatched_roles

EPILOG = """\
example:
  goldline check                      ./config.toml, every recipe, every model, every active reference set
  goldline check trunk --json         the same for one product, for a program to read

exit code: 0 all is right, 1 something is not, 2 the configuration file cannot be read
"""


@dataclass
class Findings:
    """What was looked at and is right, what is worth knowing, and what is wrong: a line each."""

    checked: list[str] = field(default_factory=list[str])
    notes: list[str] = field(default_factory=list[str])
    problems: list[str] = field(default_factory=list[str])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `goldline check`."""
    parser.description, parser.epilog = __doc__, EPILOG
    parser.add_argument("product", nargs="?", help="one product instead of every one that has a recipe")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Print what was found; 0 where all is right, else 1."""
    findings = examine(arguments.config, arguments.product)
    if arguments.json:
        print(json.dumps({"ok": not findings.problems, **vars(findings)}))
    else:
        for mark, lines in (("ok  ", findings.checked), ("note", findings.notes), ("NO  ", findings.problems)):
            for line in lines:
                print(f"{mark} {line}")
    return 1 if findings.problems else 0


def examine(config: Path | None, product: str | None) -> Findings:
    """Look at everything, whatever is wrong with some of it. Raises GoldlineError where the file cannot be read."""
    findings = Findings()
    try:
        station = load_station(config)
    except ConfigError as refusal:
        findings.problems += refusal.problems
        return findings
    groups = f", {len(station.groups)} group(s)" if station.groups else ""
    findings.checked.append(f"station {station.station_id}: {len(station.cameras)} camera(s){groups}")
    if not station.cameras or station.product is None:
        findings.notes.append(f"station {station.station_id}: goldline run needs a product and a camera")
    _examine_keys(station, findings)
    _examine_backbone(station, findings)
    # The station's own product is looked at even where it has no recipe: that is a problem then.
    known = {*products(station), station.product} - {None} if product is None else {product}
    for name in sorted(map(str, known)):
        _examine_product(station, name, findings)
    return findings


def _examine_product(station: Station, product: str, findings: Findings) -> None:
    try:
        loaded = load_recipe(station, product)
    except GoldlineError as refusal:
        findings.problems += str(refusal).splitlines()
        return
    unmatched = unmatched_roles(station, loaded) if product == station.product and station.cameras else []
    findings.problems += unmatched
    if not unmatched:
        findings.checked.append(f"{loaded.path}: {len(loaded.recipe.regions)} region(s)")
    if product == station.product:
        findings.notes += _unseen_by_groups(station, loaded)
    for region in loaded.recipe.regions:
        _examine_own_model(loaded, region, findings)
    boxes = {region.name: region.box for region in loaded.recipe.regions if region.box is not None}
    findings.notes += _large_code_boxes(loaded, boxes | _examine_reference_set(station, loaded, findings))


def _large_code_boxes(loaded: LoadedRecipe, boxes: Mapping[str, Box]) -> list[str]:
    """One line for each region that is larger than a code needs, as far as its box is known."""
    from edge.checks.code import MOST_BUSY_PX

    sizes = {
        region.name: boxes[region.name][2:]
        for region in loaded.recipe.regions
        if region.code and boxes.get(region.name)
    }
    most = math.isqrt(MOST_BUSY_PX)
    return [
        f"{loaded.path}: region {name}: code: its box of {width} x {height} px is large: beyond some {most} x {most} px, "
        f"small codes are only looked for in its busiest places; draw it closer around the code"
        for name, (width, height) in sizes.items()
        if width * height > MOST_BUSY_PX
    ]


def _unseen_by_groups(station: Station, loaded: LoadedRecipe) -> list[str]:
    """One line for each group whose verdict is not about every region."""
    seen = {name: {station.role_of(view) for view in station.views_of(name)} for name in station.groups}
    return [
        f"configuration: [groups.{name}]: none of its cameras has role {', '.join(unseen)}, so its verdicts leave out "
        f"those regions of {loaded.path}"
        for name, roles in seen.items()
        if (unseen := sorted(set(loaded.recipe.roles) - roles))
    ]


def _examine_keys(station: Station, findings: Findings) -> None:
    from edge.guard import refuse_the_open

    try:
        listed = refuse_the_open(station)
    except GoldlineError as refusal:
        found = findings.notes if _has_key_elsewhere(station) else findings.problems
        found += str(refusal).splitlines()
        return
    if listed is not None:
        findings.checked.append(f"{station.keys_dir}: the station's key, {len(listed.clients)} client(s)")
    if listed is not None and not listed.clients:
        findings.notes.append(f"{station.keys_dir}: nobody is let in yet: goldline keys client NAME")


def _has_key_elsewhere(station: Station) -> bool:
    """The station's secret may be a credential that only its service is given."""
    from edge.keys import PUBLIC_FILE, STATION_FILE

    return (station.keys_dir / PUBLIC_FILE).exists() and not (station.keys_dir / STATION_FILE).exists()


def _examine_backbone(station: Station, findings: Findings) -> None:
    from edge.backbone import load_backbone

    if station.inference.backbone is None:
        return
    try:
        backbone = load_backbone(station.inference.backbone)
    except GoldlineError as refusal:
        findings.problems.append(str(refusal))
        return
    findings.checked.append(f"{station.inference.backbone}: {len(backbone.declaration.features)} feature map(s)")


def _examine_own_model(loaded: LoadedRecipe, region: RegionRecipe, findings: Findings) -> None:
    """Load a region's own model as the station would, but on the CPU, and show it test pictures."""
    if region.model is None:
        return
    from edge.checks.model import load_model_check

    # Where the region lies changes nothing about its model.
    box = region.box or (0, 0, 1, 1)
    try:
        own = load_model_check(region.name, box, region.model, loaded.path.parent, InferenceConfig())
    except GoldlineError as refusal:
        findings.problems.append(str(refusal))
        return
    findings.checked.append(f"{own.model.file}: {len(own.labels)} label(s), sha256 {own.sha256[:16]}")


def _examine_reference_set(station: Station, loaded: LoadedRecipe, findings: Findings) -> dict[str, Box]:
    """Each region's box as it was taught; none where nothing was, or it is not right."""
    from edge.references import Store, refuse_other_recipe

    store = Store(station.state_dir, loaded.product)
    try:
        if store.active() is None:
            findings.notes.append(f"{loaded.product}: not taught yet: goldline teach {loaded.product} --good DIR")
            return {}
        found = store.load()
        refuse_other_recipe(loaded, found)
    except GoldlineError as refusal:
        findings.problems.append(str(refusal))
        return {}
    findings.checked.append(
        f"{found.directory}: {sum(len(view.references) for view in found.manifest.views)} references"
    )
    return {region.name: region.box for view in found.manifest.views for region in view.regions}
