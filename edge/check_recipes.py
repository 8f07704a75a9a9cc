"""The checks a region may have, as a recipe writes them; `recipe.py` holds the product that they belong to."""

import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from edge.camera_config import Section


class RegistrationRecipe(Section):
    """How the live image is laid over the golden template. `auto` is decided by teach, from the good images."""

    method: Literal["auto", "none", "shift", "rigid", "silhouette"] = "auto"
    # Beyond these the part does not lie where the template can be laid over it, and nothing is judged.
    max_shift: Annotated[float, Field(ge=0, le=0.5)] = 0.15
    max_angle_deg: Annotated[float, Field(ge=0, le=45)] = 12.0


TileCount = Annotated[int, Field(ge=1, le=8)]


class AnomalyCheck(Section):
    """The memory bank: does every place look as it did on some good part? `auto` is decided by teach."""

    bank: Literal["auto", "positional", "global"] = "auto"
    # Side of the square of equal area that the region, or each of its tiles, is scaled to, px.
    working_px: Literal["auto"] | Annotated[int, Field(ge=64, le=1024)] = "auto"
    # Columns and rows of tiles, each with a bank of its own: finer detail, at a graph run each.
    tiles: Literal["auto"] | tuple[TileCount, TileCount] = "auto"
    # The score is the mean over this share of the worst cells.
    top_fraction: Literal["auto"] | Annotated[float, Field(gt=0, le=1)] = "auto"
    # References kept for each cell, chosen farthest-point.
    per_cell: Annotated[int, Field(ge=1, le=1024)] = 32
    # Vectors of each nearest-vector expert of a global bank.
    coreset: Annotated[int, Field(ge=16, le=50_000)] = 1_000


class TemplateCheck(Section):
    """The variation model: is every pixel within its bright and dark limits? `auto` needs parts that register."""

    mode: Literal["auto", "on", "off"] = "auto"
    # Tolerance = max(absolute, sigmas x spread, edge x gradient), grey levels; of fewer than eight images, absolute alone.
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
