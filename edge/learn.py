"""Adds good images to a reference set, or known bad ones, as a new version; the version before stays, and can come back.

Good images join the memory bank for certain. What is recomputed is what the limits rest on:

1. A new image scores by the references there were before it, and by the others that are new.
2. The worst quarter of the old images are compared with the new ones as well, which can only lower their scores; the
   scores of the others set no limit and stay.
3. Scales and limits follow from all scores, as in teaching.

The template's limits widen to hold the new images. Known bad images are kept whole, and judged by every version.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import numpy as np

from edge import blas, drift
from edge.assemble import Pictures, TaughtView, assemble
from edge.bads import bad_file, known_bads, pack_bad
from edge.config import Station
from edge.errors import GoldlineError
from edge.features import Extractor
from edge.grow import Grower
from edge.images import read_image
from edge.inspector import Inspector
from edge.limits import Known, compare
from edge.manifest import ViewManifest
from edge.photographs import Image, thumbnail
from edge.recipe import Recipe, load_recipe
from edge.references import ReferenceSet
from edge.replay import Replayed
from edge.teach import store
from edge.teach_checks import with_variants
from edge.view_inspector import Prepared


@dataclass(frozen=True)
class New:
    """An image to add: its name in the set, the picture, and its cuts."""

    name: str
    image: Image
    prepared: Prepared


@dataclass(frozen=True)
class Lesson:
    """What was learned: the set before and the one now in use, and what is told otherwise of the images it knows."""

    before: str
    after: str
    view: ViewManifest
    known: Known
    seconds: float

    @property
    def changed(self) -> tuple[Replayed, ...]:
        """The known images whose verdict is another now."""
        return tuple(one for _, one in self.known.changes)


def learn(
    station: Station,
    product: str,
    role: str | None,
    goods: Sequence[Path],
    bads: Sequence[Path],
    *,
    counted: bool = True,
    variant: str = "",
) -> Lesson:
    """Add images, activate the new version, and say what it changes. Raises GoldlineError; then nothing has changed.

    `counted`: the good images are a fair sample of what the line makes, and the limits may rest on them too.
    """
    began = time.monotonic()
    recipe = load_recipe(station, product)
    before = Inspector.load(station, product)
    role = before.role(role)
    extractor = Extractor.of(station.inference)
    if extractor.backbone.sha256 != before.manifest.model_sha256:
        raise GoldlineError(f"{product}: taught with another backbone than inference.backbone; teach again")
    version = Version(before, role, recipe.recipe, extractor)
    with blas.one_thread():
        grown = version.grown([version.new(path) for path in goods], variant, counted=counted)
    added = version.with_bads(grown, [(path.name, read_image(path)) for path in bads])
    views = [added if other == role else stored_view(before.references, other) for other in before.roles]
    identity = store(station, recipe, views, before.manifest.model_sha256, parent=before.reference_set)
    after = Inspector.load(station, product)
    known = compare(before, after, role)
    return Lesson(before.reference_set, identity, after.references.view(role), known, time.monotonic() - began)


class Version:
    """The set that is there, of one camera role, and what it becomes."""

    def __init__(self, inspector: Inspector, role: str, recipe: Recipe, extractor: Extractor) -> None:
        self._inspector, self._role, self._recipe, self._extractor = inspector, role, recipe, extractor
        self._found = inspector.references
        self._manifest = inspector.references.view(role)
        self._taken = {*self._manifest.references}

    def new(self, path: Path) -> New:
        """An image read and cut as on the line. Raises GoldlineError where it cannot be."""
        image = read_image(path)
        prepared = self._inspector.prepare(image, self._role)
        if prepared.refusal is not None:
            raise GoldlineError(f"{path}: {prepared.refusal}")
        name = next(one for one in _names(path.name) if one not in self._taken)
        self._taken.add(name)
        return New(name, image, prepared)

    def grown(self, new: Sequence[New], variant: str, *, counted: bool) -> TaughtView:
        """With these good images; as it is without any."""
        if not new:
            return stored_view(self._found, self._role)
        viewer = self._inspector.views[self._role]
        names = tuple(one.name for one in new)
        count = len(self._manifest.references)
        variants = (*(self._manifest.variants or ("",) * count), *(variant for _ in new))
        regions = self._recipe.regions_of(self._role)
        every = (*self._manifest.references, *names)
        uncounted = (*self._manifest.uncounted, *(() if counted else names))
        rest_on = [place for place, name in enumerate(every) if name not in uncounted]
        grower = Grower(self._found, self._manifest, self._recipe, self._extractor, rest_on)
        learned = [grower.grow(region, [one.prepared for one in new]) for region in viewer.regions]
        learned = [
            one if region.variant is None else with_variants(one, variants, every)
            for one, region in zip(learned, regions, strict=True)
        ]
        pictures = Pictures(
            names=every,
            thumbnails=[
                *(self._found.read(f"{self._role}/references/{place:04d}.jpg") for place in range(count)),
                *(thumbnail(one.image) for one in new),
            ],
            measured=np.concatenate(
                [
                    self._found.arrays(f"{self._role}/measured.npz")["measured"],
                    [drift.measured(one.prepared.pose, one.prepared.gain, one.prepared.sharpness) for one in new],
                ]
            ),
            variants=variants,
            lots=(*(self._manifest.lots or ("",) * count), *("" for _ in new)),
            uncounted=uncounted,
        )
        return assemble(self._role, viewer.view, learned, pictures, regions)

    def with_bads(self, taught: TaughtView, bads: Sequence[tuple[str, Image]]) -> TaughtView:
        """The known bad images there are, and these."""
        every = [*known_bads(self._found, self._manifest), *bads]
        names = tuple(name for name, _ in every)
        files = {bad_file(place): pack_bad(image) for place, (_, image) in enumerate(every)}
        return replace(
            taught, manifest=msgspec.structs.replace(taught.manifest, bads=names), files={**taught.files, **files}
        )


def stored_view(found: ReferenceSet, role: str) -> TaughtView:
    """A camera role's part of a stored set, to be stored again."""
    prefix = f"{role}/"
    files = {name.removeprefix(prefix): found.read(name) for name in found.manifest.files if name.startswith(prefix)}
    return TaughtView(found.view(role), files)


def _names(name: str) -> Sequence[str]:
    stem, dot, suffix = name.rpartition(".")
    return [name, *(f"{stem}-{number}{dot}{suffix}" for number in range(2, 10_000))]
