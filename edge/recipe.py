"""A product: `pipelines/<product>/recipe.toml`, declarative, with the hash of the file.

A recipe says where to look and what to hold a part against; what good looks like is taught (`references.py`).
"""

import hashlib
import json
import tomllib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError, model_validator

from edge import validation
from edge.config import ConfigError, Name, Section, Station

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


class RegistrationRecipe(Section):
    """How the live image is laid over the golden template. `auto` is decided by teach, from the good images."""

    method: Literal["auto", "none", "shift", "rigid"] = "auto"
    # Beyond these the part does not lie where the template can be laid over it, and nothing is judged.
    max_shift: Annotated[float, Field(ge=0, le=0.5)] = 0.15
    max_angle_deg: Annotated[float, Field(ge=0, le=45)] = 12.0


class AnomalyCheck(Section):
    """The memory bank: does every place look as it did on some good part?"""

    bank: Literal["auto", "positional", "global"] = "auto"
    # Side of the square of equal area that the region is scaled to, px.
    working_px: Annotated[int, Field(ge=64, le=1024)] = 256
    # The score is the mean over this share of the worst cells.
    top_fraction: Annotated[float, Field(gt=0, le=1)] = 0.01
    # References kept for each cell, chosen farthest-point.
    per_cell: Annotated[int, Field(ge=1, le=1024)] = 32
    # Vectors of a global bank.
    coreset: Annotated[int, Field(ge=16, le=50_000)] = 4_000


class TemplateCheck(Section):
    """The variation model: is every pixel within its bright and dark limits? `auto` needs parts that register."""

    mode: Literal["auto", "on", "off"] = "auto"
    # Tolerance = max(absolute, sigmas x spread, edge x gradient), grey levels.
    absolute: Annotated[float, Field(ge=1, le=255)] = 12.0
    sigmas: Annotated[float, Field(gt=0)] = 4.0
    edge: Annotated[float, Field(ge=0)] = 0.5


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

    @model_validator(mode="after")
    def _is_checked(self) -> Self:
        if self.anomaly is None and (self.template is None or self.template.mode == "off"):
            raise ValueError("has no check: everything in it would pass")
        return self


class LimitsRecipe(Section):
    """Set by teach from the good images; a number here overrides it. Deviations below the area are not shown."""

    review: float | None = None
    fail: float | None = None
    min_defect_area_px: Annotated[int, Field(ge=1)] = 16

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
    limits: LimitsRecipe = LimitsRecipe()

    @model_validator(mode="after")
    def _regions_are_named_apart(self) -> Self:
        if not self.regions:
            raise ValueError("has no region: everything would pass")
        twice = [name for name, count in Counter(region.name for region in self.regions).items() if count > 1]
        if twice:
            raise ValueError(f"two regions are named {twice[0]}")
        return self


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


def write_default_recipe(station: Station, product: str) -> LoadedRecipe:
    """Make a recipe for a product that has none. Raises ConfigError where it has one, or it cannot be written."""
    path = recipe_path(station, product)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x") as file:
            file.write(DEFAULT_RECIPE)
    except OSError as problem:
        raise ConfigError(f"{path}: cannot be written: {problem.strerror}") from problem
    return load_recipe(station, product)


def unmatched_roles(station: Station, loaded: LoadedRecipe) -> list[str]:
    """One line for each region that no camera of the station sees, and each camera that no region looks at."""
    roles = {region.camera for region in loaded.recipe.regions}
    cameras = {camera.role for camera in station.cameras.values()}
    unseen = [
        f"{loaded.path}: [regions #{number}] camera = {json.dumps(region.camera)}: no camera has this role"
        for number, region in enumerate(loaded.recipe.regions, start=1)
        if region.camera not in cameras
    ]
    return unseen + [
        f"configuration: [cameras.{name}] role = {json.dumps(camera.role)}: no region of {loaded.path} looks at it"
        for name, camera in station.cameras.items()
        if camera.role not in roles
    ]
