"""What a reference set says of itself: what was taught, of which views and regions, and how good images scored."""

from typing import Any

from edge.drift import Baseline
from edge.judge import Calibration
from edge.records import Record


class RegionManifest(Record, frozen=True):
    """How one region was taught. Sizes are width, height; `grid` is rows, columns of the anomaly map.

    `tiles` is columns, rows: `size` and `grid` are those of all of them together (tiles.py). `template` is the size that
    the variation model has the region at, None without one. `checks` are the kinds of checks that were learned: anomaly,
    template, presence, position, variant.
    """

    name: str
    box: tuple[int, int, int, int]
    size: tuple[int, int]
    grid: tuple[int, int]
    bank: str | None
    vectors: int
    top_fraction: float
    template: tuple[int, int] | None
    checks: tuple[str, ...]
    tiles: tuple[int, int] = (1, 1)


class ViewManifest(Record, frozen=True):
    """What was taught of one camera role. Its files lie below a folder of that name.

    `any_size` is set where the good images had no common size: frames are scaled to `image_size` before anything else.
    `variants` and `lots` name those of each reference, where the good images came sorted. Limits do not rest on the
    references in `uncounted`. `bads` are known bad images. `usual` is what the others' poses and light vary by.
    """

    camera: str
    image_size: tuple[int, int]
    any_size: bool
    normalised: bool
    registration: str
    regions: tuple[RegionManifest, ...]
    calibration: Calibration
    references: tuple[str, ...]
    uncounted: tuple[str, ...] = ()
    variants: tuple[str, ...] = ()
    lots: tuple[str, ...] = ()
    bads: tuple[str, ...] = ()
    usual: Baseline = Baseline()


class Manifest(Record, frozen=True):
    """What a set is. `taught` is the part of the recipe it was taught by; `files` maps path to sha256.

    `parent` is the set that this one was learned from, where it was not taught from scratch.
    """

    schema: int
    product: str
    taught: dict[str, Any]
    recipe_sha256: str
    model_sha256: str
    views: tuple[ViewManifest, ...]
    reasons: tuple[str, ...] = ()
    parent: str | None = None
    files: dict[str, str] = {}
