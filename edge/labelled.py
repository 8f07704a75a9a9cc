"""Labelled images in a folder laid out as MVTec AD.

    DIR/test/good/*            DIR/test/<defect>/*
    DIR/ground_truth/<defect>/<stem>.png or <stem>_mask.png     optional; white where the part deviates

`train` is not looked at.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.errors import GoldlineError
from edge.images import list_images, read_image

GOOD = "good"
# Grey level from which a mask says "here": masks come as 0/255, and JPEG-born ones blur.
MASK_LEVEL = 128


@dataclass(frozen=True)
class Sample:
    """One labelled image; `name` is its path inside the folder, for people to read."""

    path: Path
    name: str
    label: str
    mask: Path | None


def samples(directory: Path) -> list[Sample]:
    """Every labelled image, good ones first. Raises GoldlineError when a side is missing."""
    test = directory / "test"
    if not (test / GOOD).is_dir():
        raise GoldlineError(f"{test / GOOD}: not a folder; expected test/good and test/<defect> as MVTec AD has them")
    labels = sorted(path.name for path in test.iterdir() if path.is_dir() and path.name != GOOD)
    if not labels:
        raise GoldlineError(f"{test}: no folder of bad images beside {GOOD}")
    return [
        Sample(path, readable(path.relative_to(directory)), readable(label), _mask_of(directory, label, path))
        for label in (GOOD, *labels)
        for path in list_images(test / label)
    ]


def readable(path: Path | str) -> str:
    """A path as text that can be written anywhere: bytes that are no UTF-8 become U+FFFD."""
    return os.fsencode(path).decode("utf-8", "replace")


def _mask_of(directory: Path, label: str, path: Path) -> Path | None:
    folder = directory / "ground_truth" / label
    candidates = (folder / f"{path.stem}.png", folder / f"{path.stem}_mask.png")
    return next((candidate for candidate in candidates if candidate.exists()), None)


def truth(sample: Sample, shape: tuple[int, ...]) -> NDArray[np.bool_] | None:
    """Where the sample deviates, [h, w]; None when nobody drew it. `shape` is its image's. Raises GoldlineError."""
    if sample.label == GOOD:
        return np.zeros(shape[:2], np.bool_)
    if sample.mask is None:
        return None
    mask = read_image(sample.mask)[..., 0] >= MASK_LEVEL
    if mask.shape != shape[:2]:
        sizes = f"{mask.shape[1]} x {mask.shape[0]}, its image {shape[1]} x {shape[0]}"
        raise GoldlineError(f"{sample.mask}: the mask is {sizes}")
    return mask
