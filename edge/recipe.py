"""A product: `pipelines/<product>/recipe.toml`, declarative, with the hash of the file.

A recipe says where to look and what to hold a part against; what good looks like is taught (`references.py`).
"""

import hashlib
import json
import tomllib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Self

from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError, model_validator

from edge import validation
from edge.camera_config import Name, Section
from edge.check_recipes import (
    AnomalyCheck,
    CodeCheck,
    ModelCheck,
    PositionCheck,
    PresenceCheck,
    RegistrationRecipe,
    TemplateCheck,
    VariantCheck,
)
from edge.config import ConfigError, Station

RECIPE_FILE = "recipe.toml"
DEFAULT_RECIPE = """\
# What to look at, and what to hold it against; pipelines/README.md names every key. What is not here has its default.
description = ""

[[regions]]
name = "part"
"""

Box = tuple[
    Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)], Annotated[int, Field(gt=0)], Annotated[int, Field(gt=0)]
]


def _false_is_none(value: object) -> object:
    """Stand-in for null, which TOML lacks: a check that is not wanted is `false`."""
    return None if value is False else value


class RegionRecipe(Section):
    """A rectangle of the golden picture, in its pixels (x, y, width, height); none is the whole frame.

    `anomaly = false` or `template = false` leaves that check out; a region needs one of them.
    """

    name: Name = "part"
    camera: Name = "main"
    box: Box | None = None
    anomaly: Annotated[AnomalyCheck | None, BeforeValidator(_false_is_none)] = AnomalyCheck()
    template: Annotated[TemplateCheck | None, BeforeValidator(_false_is_none)] = TemplateCheck()
    presence: PresenceCheck | None = None
    position: PositionCheck | None = None
    variant: VariantCheck | None = None
    code: CodeCheck | None = None
    model: ModelCheck | None = None

    @model_validator(mode="after")
    def _is_checked(self) -> Self:
        templated = self.template is not None and self.template.mode != "off"
        others = (self.anomaly, self.presence, self.position, self.variant, self.code, self.model)
        if not templated and all(other is None for other in others):
            raise ValueError("has no check: everything in it would pass")
        if self.variant is not None and self.anomaly is None:
            raise ValueError("variant needs the anomaly check, whose features tell variants apart")
        return self

    @property
    def exact_checks(self) -> frozenset[str]:
        """Of the checks that teach gives a scale, those that have limits of their own by this recipe."""
        position = self.position
        if position is None or (position.tolerance_px, position.tolerance_mm, position.tolerance_deg) == (None,) * 3:
            return frozenset()
        return frozenset({"position"})


class ViewRecipe(Section):
    """What is particular to one camera role: its scale, and its own registration."""

    mm_per_px: Annotated[float, Field(gt=0)] | None = None
    registration: RegistrationRecipe | None = None


class LimitsRecipe(Section):
    """Set by teach from the good images; a number here overrides it.

    `false_call_rate` asks for the limit at which this share of good parts is sent to review. A check fails only where
    some deviating place covers `min_defect_area_px` of the camera's picture.
    """

    review: float | None = None
    fail: float | None = None
    false_call_rate: Annotated[float, Field(gt=0, lt=1)] | None = None
    min_defect_area_px: Annotated[int, Field(ge=1)] = 1

    @model_validator(mode="after")
    def _are_in_order(self) -> Self:
        if self.review is not None and self.fail is not None and self.review > self.fail:
            raise ValueError(f"review = {self.review:g} must be at most fail = {self.fail:g}")
        return self


class Recipe(Section):
    """The whole of `recipe.toml`."""

    description: str = ""
    registration: RegistrationRecipe = RegistrationRecipe()
    regions: tuple[RegionRecipe, ...] = (RegionRecipe(),)
    views: dict[Name, ViewRecipe] = {}
    limits: LimitsRecipe = LimitsRecipe()

    @model_validator(mode="after")
    def _regions_are_named_apart(self) -> Self:
        if not self.regions:
            raise ValueError("has no region: everything would pass")
        twice = [name for name, count in Counter(region.name for region in self.regions).items() if count > 1]
        if twice:
            raise ValueError(f"two regions are named {twice[0]}")
        return self

    @model_validator(mode="after")
    def _views_are_looked_at(self) -> Self:
        strange = sorted(set(self.views) - set(self.roles))
        if strange:
            raise ValueError(f"[views.{strange[0]}]: no region has camera = {json.dumps(strange[0])}")
        for region in self.regions:
            in_mm = region.position is not None and region.position.tolerance_mm is not None
            if in_mm and self.mm_per_px(region.camera) is None:
                raise ValueError(f"region {region.name}: tolerance_mm needs [views.{region.camera}] mm_per_px")
        return self

    @property
    def roles(self) -> tuple[str, ...]:
        """Every camera role that a region looks through, sorted."""
        return tuple(sorted({region.camera for region in self.regions}))

    def mm_per_px(self, role: str) -> float | None:
        """The scale of a camera role's picture."""
        return self.views[role].mm_per_px if role in self.views else None

    def registration_of(self, role: str) -> RegistrationRecipe:
        """How pictures of a camera role are registered."""
        view = self.views.get(role)
        return self.registration if view is None or view.registration is None else view.registration

    def regions_of(self, role: str) -> tuple[RegionRecipe, ...]:
        """The regions that look through a camera role, in the recipe's order."""
        return tuple(region for region in self.regions if region.camera == role)


@dataclass(frozen=True)
class LoadedRecipe:
    """A valid recipe and where it came from. `sha256` is that of the file, as `sha256sum` gives it."""

    product: str
    recipe: Recipe
    sha256: str
    path: Path


def recipe_path(station: Station, product: str) -> Path:
    """Where this product's recipe is, whether or not there is one. Raises ConfigError for a name that is none."""
    try:
        TypeAdapter(Name).validate_python(product)
    except ValidationError:
        raise ConfigError(f"product {product!r}: lower-case letters, digits, - and _, at most 63") from None
    return station.pipelines_dir / product / RECIPE_FILE


def products(station: Station) -> list[str]:
    """Every product that has a recipe."""
    return sorted(path.parent.name for path in station.pipelines_dir.glob(f"*/{RECIPE_FILE}"))


def load_recipe(station: Station, product: str) -> LoadedRecipe:
    """The product's recipe, valid in itself. Raises ConfigError with every problem."""
    path = recipe_path(station, product)
    if not path.is_file():
        raise ConfigError(f"product {product}: no recipe at {path}")
    with validation.reading(path):
        content = path.read_bytes()
        data = tomllib.loads(content.decode())
    try:
        recipe = Recipe.model_validate(data)
    except ValidationError as error:
        lines = validation.problems(error, Recipe, validation.Document(str(path), data))
        raise ConfigError("\n".join(lines)) from error
    return LoadedRecipe(product, recipe, hashlib.sha256(content).hexdigest(), path)


def default_recipe(station: Station, product: str) -> LoadedRecipe:
    """The recipe of a product that has none, not written yet."""
    recipe = Recipe.model_validate(tomllib.loads(DEFAULT_RECIPE))
    return LoadedRecipe(
        product, recipe, hashlib.sha256(DEFAULT_RECIPE.encode()).hexdigest(), recipe_path(station, product)
    )


def write_default_recipe(loaded: LoadedRecipe) -> None:
    """Write it. Raises ConfigError where there is one meanwhile, or it cannot be written."""
    try:
        loaded.path.parent.mkdir(parents=True, exist_ok=True)
        with loaded.path.open("x") as file:
            file.write(DEFAULT_RECIPE)
    except OSError as problem:
        raise ConfigError(f"{loaded.path}: cannot be written: {problem.strerror}") from problem


def unmatched_roles(station: Station, loaded: LoadedRecipe) -> list[str]:
    """One line for each region that no view of the station shows, and each view that no region looks at."""
    roles = {region.camera for region in loaded.recipe.regions}
    seen = {station.role_of(view) for view in station.views}
    unseen = [
        f"{loaded.path}: [regions #{number}] camera = {json.dumps(region.camera)}: no camera has this role"
        for number, region in enumerate(loaded.recipe.regions, start=1)
        if region.camera not in seen
    ]
    return unseen + [
        f"configuration: {_place(view)} role = {json.dumps(station.role_of(view))}: no region of {loaded.path} looks at it"
        for view in station.views
        if station.role_of(view) not in roles
    ]


def _place(view: str) -> str:
    camera, _, shot = view.partition(".")
    return f"[cameras.{camera}]" + (f" shot {shot}:" if shot else "")
