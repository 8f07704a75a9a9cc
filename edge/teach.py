"""Builds a product's reference set from photographs of good parts alone.

For each camera role (`teach_view.py`):
1. Read the images: one size, each picture once.
2. Fit the registration; lay every image over the golden picture; leave out those that do not lie there.
3. Learn each region: which checks, what good looks like, and how each image scores by references without it.
4. Set the limits from those scores, name the images that look odd, and say what false-call rate that can promise.

Then store the set under the hash of its content, and make it the active one.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge import blas
from edge.assemble import TaughtView
from edge.config import Station
from edge.features import Extractor
from edge.judge import Calibration
from edge.manifest import Manifest, ViewManifest
from edge.material import Tell
from edge.recipe import LoadedRecipe, default_recipe, load_recipe, recipe_path, write_default_recipe
from edge.references import SCHEMA, Store, taught_by
from edge.teach_view import TeacherOfView


@dataclass(frozen=True)
class Taught:
    """What teach did, for the user to read."""

    product: str
    reference_set: str
    views: tuple[TaughtView, ...]
    seconds: float

    @property
    def references(self) -> int:
        """Good images that parts are compared with, over all camera roles."""
        return sum(len(view.manifest.references) for view in self.views)

    @property
    def rate(self) -> float | None:
        """The false-call rate that can be promised: at most the sum over the views of a part; None for none."""
        rates = [view.manifest.calibration.rate for view in self.views]
        return None if None in rates else min(1.0, sum(rate or 0 for rate in rates))

    def to_json(self) -> dict[str, Any]:
        """The report of `goldline teach --json`. What is said of one view is at the top for the first."""
        return {
            "product": self.product,
            "reference_set": self.reference_set,
            "references": self.references,
            "false_call_rate": self.rate,
            **view_json(self.views[0]),
            "views": {view.manifest.camera: view_json(view) for view in self.views},
            "seconds": self.seconds,
        }


def view_json(view: TaughtView) -> dict[str, Any]:
    """What was learned of one camera role."""
    calibration: Calibration = view.manifest.calibration
    limits = calibration.limits
    return {
        "reasons": list(view.reasons),
        "limits": {"review": limits.review, "fail": limits.fail, "fail_is_extrapolated": True},
        "odd": [{"image": name, "score": score} for name, score in view.odd],
        "near_duplicates": [list(pair) for pair in view.near_duplicates],
        "identical": list(view.identical),
        "refused": [{"image": name, "reason": reason} for name, reason in view.refused],
    }


def teach(station: Station, product: str, directory: Path, tell: Tell) -> Taught:
    """Build, store and activate a reference set. Raises GoldlineError; whatever was active then stays so."""
    began = time.monotonic()
    is_new = not recipe_path(station, product).is_file()
    recipe = default_recipe(station, product) if is_new else load_recipe(station, product)
    extractor = Extractor.of(station.inference)
    with blas.one_thread():
        views = tuple(TeacherOfView(recipe, role, extractor, tell).teach(directory) for role in recipe.recipe.roles)
    if is_new:
        write_default_recipe(recipe)
    identity = store(station, recipe, views, extractor.backbone.sha256)
    return Taught(product, identity, views, time.monotonic() - began)


def store(
    station: Station, recipe: LoadedRecipe, views: Sequence[TaughtView], model_sha256: str, parent: str | None = None
) -> str:
    """Store a set of these views, make it the active one, and return its id."""
    manifests: tuple[ViewManifest, ...] = tuple(view.manifest for view in views)
    manifest = Manifest(
        schema=SCHEMA,
        product=recipe.product,
        taught=taught_by(recipe.recipe),
        recipe_sha256=recipe.sha256,
        model_sha256=model_sha256,
        views=manifests,
        reasons=tuple(reason for view in views for reason in view.reasons),
        parent=parent,
    )
    files = {f"{view.manifest.camera}/{name}": content for view in views for name, content in view.files.items()}
    sets = Store(station.state_dir, recipe.product)
    identity = sets.save(manifest, files)
    sets.activate(identity)
    return identity
