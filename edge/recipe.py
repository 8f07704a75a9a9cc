"""A product: `pipelines/<product>/recipe.toml`, declarative, with the hash of the file.

A recipe says where to look and what to hold a part against; what good looks like is taught (`references.py`).
"""

import hashlib
import json
import re
import tomllib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError, field_validator, model_validator

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

    method: Literal["auto", "none", "shift", "rigid", "silhouette"] = "auto"
    # Beyond these the part does not lie where the template can be laid over it, and nothing is judged.
    max_shift: Annotated[float, Field(ge=0, le=0.5)] = 0.15
    max_angle_deg: Annotated[float, Field(ge=0, le=45)] = 12.0


class AnomalyCheck(Section):
    """The memory bank: does every place look as it did on some good part? `auto` is decided by teach."""

    bank: Literal["auto", "positional", "global"] = "auto"
    # Side of the square of equal area that the region is scaled to, px.
    working_px: Literal["auto"] | Annotated[int, Field(ge=64, le=1024)] = "auto"
    # The score is the mean over this share of the worst cells.
    top_fraction: Literal["auto"] | Annotated[float, Field(gt=0, le=1)] = "auto"
    # References kept for each cell, chosen farthest-point.
    per_cell: Annotated[int, Field(ge=1, le=1024)] = 32
    # Vectors of each nearest-vector expert of a global bank.
    coreset: Annotated[int, Field(ge=16, le=50_000)] = 1_000


class TemplateCheck(Section):
    """The variation model: is every pixel within its bright and dark limits? `auto` needs parts that register."""

    mode: Literal["auto", "on", "off"] = "auto"
    # Tolerance = max(absolute, sigmas x spread, edge x gradient), grey levels.
    absolute: Annotated[float, Field(ge=1, le=255)] = 12.0
    sigmas: Annotated[float, Field(gt=0)] = 4.0
    edge: Annotated[float, Field(ge=0)] = 0.5


class PresenceCheck(Section):
    """Is what the golden picture shows in this region there? Held against how alike good parts are."""

    # It is looked for this far from its place, as a share of the region's size.
    search: Annotated[float, Field(gt=0, le=0.5)] = 0.15


class PositionCheck(Section):
    """Does what the golden picture shows in this region lie where it should, and turned alike?

    Without a tolerance it is what good parts vary by. `relative_to` the part: the rest of the picture is registered
    first; the picture: where the camera sees it.
    """

    search: Annotated[float, Field(gt=0, le=0.5)] = 0.15
    max_angle_deg: Annotated[float, Field(ge=0, le=45)] = 15.0
    relative_to: Literal["part", "picture"] = "part"
    tolerance_px: Annotated[float, Field(gt=0)] | None = None
    # Needs the view's `mm_per_px`.
    tolerance_mm: Annotated[float, Field(gt=0)] | None = None
    tolerance_deg: Annotated[float, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _has_one_length(self) -> Self:
        if self.tolerance_px is not None and self.tolerance_mm is not None:
            raise ValueError("give tolerance_px or tolerance_mm, not both")
        return self


class VariantCheck(Section):
    """Which of the taught variants is this? Taught from one folder of good images a variant.

    It must be the one that the order names (`expect: {variant: …}`), or else `expect` here, or else any of them.
    """

    expect: str | None = None


CodeFormat = Literal[
    "Aztec", "Codabar", "Code128", "Code39", "Code93", "DataMatrix", "EAN13", "EAN8", "ITF", "MaxiCode", "MicroQRCode",
    "PDF417", "QRCode", "UPCA", "UPCE",
]  # fmt: skip


class CodeCheck(Section):
    """What does the code in this region say? It must be what the order says (`expect: {code: …}`).

    Without an order it must be `expect` here, or match `pattern`, or be readable.
    """

    # None: all but Codabar and ITF, whose check digit is optional; name them where you use them.
    formats: tuple[CodeFormat, ...] = ()
    expect: str | None = None
    # A regular expression that the whole text must match.
    pattern: str | None = None

    @field_validator("pattern")
    @classmethod
    def _is_a_pattern(cls, value: str | None) -> str | None:
        try:
            re.compile(value or "")
        except re.error as problem:
            raise ValueError(f"not a regular expression: {problem}") from problem
        return value


class Count(Section):
    """How many of one class there must be."""

    least: Annotated[int, Field(ge=0)] = 0
    most: Annotated[int, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _are_in_order(self) -> Self:
        if self.most is not None and self.least > self.most:
            raise ValueError(f"least = {self.least} must be at most most = {self.most}")
        return self


class ModelCheck(Section):
    """Your own ONNX model: a classifier or a detector, with its labels, one a line. Paths are relative to the recipe.

    `classes`: one score for each label. `boxes`: rows of x1, y1, x2, y2, score, class. `yolo`: rows of centre x, centre
    y, width, height and a score for each label.
    """

    file: Path
    labels: Path
    output: Literal["classes", "boxes", "yolo"]
    # What the region must show: a number, or {least, most}; what is not named here must not be there.
    expect: dict[str, Annotated[int, Field(ge=0)] | Count]
    confidence: Annotated[float, Field(gt=0, lt=1)] = 0.5
    # Of two boxes of a class that overlap by more than this, the better one counts (intersection over union).
    overlap: Annotated[float, Field(gt=0, lt=1)] = 0.5
    # Pixels become (value - mean) / std.
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]] = (
        255.0,
        255.0,
        255.0,
    )
    channels: Literal["rgb", "bgr"] = "rgb"
    # Side of the square that a model of open input size is given, px.
    size_px: Annotated[int, Field(ge=32, le=2048)] = 640


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
