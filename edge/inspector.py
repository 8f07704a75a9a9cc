"""One product, ready to judge: the same object in the daemon, `inspect`, `evaluate`, `replay` and `bench`."""

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from edge import calibrate, judge
from edge.batch_sizes import BATCH_SIZES
from edge.checks.model import OwnModel
from edge.checks.variant import Variant
from edge.config import Station
from edge.drift import Drift
from edge.errors import GoldlineError
from edge.inference import Session
from edge.judge import Calibration
from edge.loading import Loader
from edge.recipe import LimitsRecipe, LoadedRecipe, load_recipe, recipe_path
from edge.records import Provenance, Verdict
from edge.references import ReferenceSet, Store, refuse_other_recipe
from edge.register import Registration
from edge.view_inspector import NO_SCORES, Image, Map, Prepared, Scores, ViewInspector


class Inspector:
    """Judges views of one product by one of its reference sets."""

    def __init__(self, recipe: LoadedRecipe, found: ReferenceSet, views: Sequence[ViewInspector]) -> None:
        self.references = found
        self.manifest = found.manifest
        self.views: Mapping[str, ViewInspector] = {view.manifest.camera: view for view in views}
        self.max_batch = 1
        self._recipe_sha256 = recipe.sha256

    @classmethod
    def load(
        cls,
        station: Station,
        product: str,
        *,
        identity: str | None = None,
        recipe: LoadedRecipe | None = None,
        limits: LimitsRecipe | None = None,
        threads: int | None = None,
    ) -> "Inspector":
        """The product's active set, or another, with its graphs loaded; by the recipe's limits, or others.

        `recipe`: one that the set was taught by (`taught.as_taught`), not what it has become. Raises GoldlineError.
        """
        recipe_path(station, product)  # refuses a name that is none
        found = Store(station.state_dir, product).load(identity)
        if recipe is None:
            recipe = load_recipe(station, product)
            refuse_other_recipe(recipe, found)
        # Every pool of threads but the graph's stays out of its way.
        cv2.setNumThreads(1)
        wanted = limits or recipe.recipe.limits
        views = [_load_view(station, recipe, found, role, wanted, threads) for role in recipe.recipe.roles]
        return cls(recipe, found, views)

    @property
    def roles(self) -> tuple[str, ...]:
        """The camera roles that it looks through."""
        return tuple(self.views)

    @property
    def reference_set(self) -> str:
        """The id of the reference set in use."""
        return self.references.id

    @property
    def variants(self) -> tuple[str, ...]:
        """Those that its checks tell apart."""
        checks = [check for view in self.views.values() for region in view.regions for check in region.checks]
        return tuple(sorted({name for check in checks if isinstance(check, Variant) for name in check.model.names}))

    @property
    def method(self) -> str:
        """How this set judges, in words."""
        regions = [region for view in self.manifest.views for region in view.regions]
        banks = sorted({f"{region.bank} bank" for region in regions if region.bank})
        others = sorted({check for region in regions for check in region.checks} - {"anomaly"})
        registrations = sorted({view.registration for view in self.manifest.views})
        return ", ".join([*banks, *others, f"registration {' and '.join(registrations)}"])

    def provenance(self, generation: int) -> Provenance:
        """What produces this inspector's verdicts under a configuration generation."""
        return Provenance(
            configuration=generation,
            product=self.manifest.product,
            recipe_sha256=self._recipe_sha256,
            reference_set=self.reference_set,
            model_sha256=self.manifest.model_sha256,
            own_models_sha256={model.name: model.sha256 for model in self._own_models},
        )

    def warm_up(self, sizes: Sequence[int] = BATCH_SIZES) -> None:
        """Measure these batch sizes on this machine, which warms them, and set `max_batch`. All take a second or two."""
        self.max_batch = min((session.calibrate(allowed=sizes).max_batch for session in self._sessions), default=1)

    @property
    def fell_back(self) -> bool:
        """True where the CPU runs a graph, or a model of the user's own, for which another provider was asked."""
        return any(one.fell_back for one in (*self._sessions, *self._own_models))

    @property
    def _sessions(self) -> list[Session]:
        regions = [region for view in self.views.values() for region in view.regions]
        return [region.session for region in regions if region.session is not None]

    @property
    def _own_models(self) -> list[OwnModel]:
        checks = [check for view in self.views.values() for region in view.regions for check in region.checks]
        return [check for check in checks if isinstance(check, OwnModel)]

    def role(self, wanted: str | None) -> str:
        """The camera role of this name; the only one without a name. Raises GoldlineError."""
        if wanted is None and len(self.roles) == 1:
            return self.roles[0]
        if wanted not in self.roles:
            said = "name the camera role" if wanted is None else f"no region looks at camera role {wanted!r}"
            raise GoldlineError(f"{self.manifest.product}: {said}: {', '.join(self.roles)}")
        return wanted

    def calibration_of(self, role: str | None = None) -> Calibration:
        """A camera role's limits as they are in force; of the only one without a name."""
        return self._view(role).calibration

    def drift(self, role: str | None = None) -> Drift:
        """A camera role's goods, for one camera's parts to be watched beside them."""
        view = self._view(role)
        return Drift(view.calibration, view.manifest.usual)

    def prepare(self, image: Image, role: str | None = None) -> Prepared:
        """The cuts of one frame [h, w, 3] BGR of the camera in that role; the frame is not kept."""
        if role is not None and role not in self.views:
            size = (image.shape[1], image.shape[0])
            return Prepared(role, size, None, {}, f"no region looks at camera role {role!r}")
        return self._view(role).prepare(image)

    def score(self, batch: Sequence[Prepared], *, crowded: bool = False) -> list[Scores]:
        """Scores in the order of the batch; those of a refused frame are empty. `crowded`: more frames wait."""
        results = [NO_SCORES] * len(batch)
        for role, view in self.views.items():
            rows = [row for row, one in enumerate(batch) if one.role == role and one.refusal is None]
            found = view.score([batch[row] for row in rows], crowded=crowded) if rows else []
            for row, scores in zip(rows, found, strict=True):
                results[row] = scores
        return results

    def judge(self, prepared: Prepared, scores: Scores, expect: Mapping[str, str], *, is_part: bool = True) -> Verdict:
        """The verdict on one frame, in the light of what an order expects of it.

        `is_part`: the frame is all there is of the part, so that what no check here answers stays unanswered.
        """
        view = next((view for role, view in self.views.items() if role == prepared.role), self._first())
        verdict = view.judge(prepared, scores, expect)
        return judge.answer(verdict, expect) if is_part else verdict

    def deviation(self, prepared: Prepared, scores: Scores) -> Map:
        """How far every pixel of a judged frame lies from good, in spreads: [h, w] at the frame's size. Offline only."""
        return self._view(prepared.role).deviation(prepared, scores)

    def thumbnail(self, reference: str, role: str | None = None) -> Image:
        """A small picture [h, w, 3] of a good image, by its name. Offline only."""
        manifest = self._view(role).manifest
        place = manifest.references.index(reference)
        content = np.frombuffer(self.references.read(f"{manifest.camera}/references/{place:04d}.jpg"), np.uint8)
        return np.asarray(cv2.imdecode(content, cv2.IMREAD_COLOR), np.uint8)

    def _first(self) -> ViewInspector:
        return next(iter(self.views.values()))

    def _view(self, role: str | None) -> ViewInspector:
        return self._first() if role is None else self.views[role]


def _load_view(
    station: Station, recipe: LoadedRecipe, found: ReferenceSet, role: str, limits: LimitsRecipe, threads: int | None
) -> ViewInspector:
    manifest = found.view(role)
    registration = Registration.from_arrays(found.arrays(f"{role}/registration.npz"))
    recipes = {region.name: region for region in recipe.recipe.regions_of(role)}
    loader = Loader(station, recipe, found, manifest, registration, threads)
    regions = [loader.region(region, recipes[region.name]) for region in manifest.regions]
    exact = {f"{region.name}.{check}" for region in recipes.values() for check in region.exact_checks}
    calibration = calibrate.in_force(judge.without(manifest.calibration, exact), limits)
    return ViewInspector(manifest, registration, regions, calibration, limits.min_defect_area_px)
