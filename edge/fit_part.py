"""Make a Registration by silhouette from good images, and say how much better parts lie over each other by it.

1. Silhouettes are found in some of the images: nearly all must show one whole part, and the parts be of one size.
2. The golden picture is cut around one of usual area and length: of a few, the one that most resembles the others.
3. How alike the parts are, laid by their silhouettes, is held against how alike the same pixels are without.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge import silhouette
from edge.geometry import Image, Matrix, Size, decimate
from edge.register import Registration, align_part, working_factor
from edge.silhouette import Part, Silhouette

# Fewer pictures than this share with one whole part before a plain background: the method is not for these goods.
_LEAST_SHARE = 0.9
# Areas and lengths that differ more (standard deviation, relative): parts of several kinds, or no parts at all.
_MOST_SPREAD = 0.15
# Parts that are tried as the golden one.
_TRIED = 5
# Standard deviations between the tenth and the ninetieth percentile.
_DEVIATIONS_BETWEEN = 2.56

# Where a picture's pixels lie in another's, at the working scale, without silhouettes: from index, to index.
Without = Callable[[int, int], Matrix]


@dataclass(frozen=True)
class PartFit:
    """A registration by silhouette, the golden image's index, and typical similarities by it and without it."""

    registration: Registration
    golden_index: int
    typical: float
    without: float


@dataclass(frozen=True)
class _Sample:
    """Working pictures [h, w, 3] with one whole part each, their indices and sizes."""

    indices: tuple[int, ...]
    pictures: tuple[Image, ...]
    found: tuple[Silhouette, ...]
    sizes: tuple[Size, ...]


def fit_part(
    images: Sequence[Image], chosen: Sequence[int], frame_size: Size, without: Without | None
) -> PartFit | str:
    """From the images [height, width, 3] BGR at the `chosen` indices; or why it cannot be.

    `frame_size` sets the working scale: (width, height) of the largest image.
    """
    sample = _sample(images, chosen, working_factor(frame_size))
    problem = _problem(sample, len(chosen))
    if problem is not None:
        return problem
    fits = [_fit_to(sample, place, frame_size, without) for place in _usual(sample)]
    return max(fits, key=lambda one: one.typical)


def _sample(images: Sequence[Image], chosen: Sequence[int], factor: int) -> _Sample:
    rows: list[tuple[int, Image, Silhouette, Size]] = []
    for index in chosen:
        image = images[index]
        picture = decimate(image, factor)
        found = silhouette.find(picture)
        size = (image.shape[1], image.shape[0])
        if found is not None and Part(found.mask, size).problem(found) is None:
            rows.append((index, picture, found, size))
    indices, pictures, founds, sizes = zip(*rows, strict=True) if rows else ((), (), (), ())
    return _Sample(indices, pictures, founds, sizes)


def _problem(sample: _Sample, count: int) -> str | None:
    if len(sample.indices) < _LEAST_SHARE * count:
        return f"{len(sample.indices)} of {count} pictures show one whole part before a plain background"
    for name, values in zip(("area", "length"), _figures(sample).T, strict=True):
        low, middle, high = np.quantile(values, (0.1, 0.5, 0.9))
        spread = float((high - low) / _DEVIATIONS_BETWEEN / middle)
        if spread > _MOST_SPREAD:
            return f"the silhouettes' {name} differs by {spread:.0%}"
    return None


def _figures(sample: _Sample) -> NDArray[np.float64]:
    """Area and length of each, [n, 2]."""
    return np.array([(found.shape.area, found.shape.length) for found in sample.found])


def _usual(sample: _Sample) -> list[int]:
    """Places in the sample of the parts nearest to the median in area and length."""
    relative = _figures(sample) / np.median(_figures(sample), axis=0) - 1
    return [int(place) for place in np.argsort(np.abs(relative).max(axis=1), kind="stable")[:_TRIED]]


def _fit_to(sample: _Sample, place: int, frame_size: Size, without: Without | None) -> PartFit:
    """By the golden picture made of one image of the sample."""
    to_golden, registration = _registration(sample.pictures[place], sample.found[place], frame_size)
    laid: list[float] = []
    unlaid: list[float] = []
    for other, picture in enumerate(sample.pictures):
        if other == place and len(sample.indices) > 1:
            continue
        laid.append(align_part(registration, picture, sample.sizes[other]).similarity)
        if without is not None:
            matrix = without(sample.indices[place], sample.indices[other]) @ to_golden
            live = registration.finder.structure(np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), np.uint8))
            unlaid.append(registration.finder.similarity(live, matrix))
    typical, otherwise = float(np.median(laid)), float(np.median(unlaid)) if unlaid else 0.0
    return PartFit(registration, sample.indices[place], typical, otherwise)


def _registration(picture: Image, found: Silhouette, frame_size: Size) -> tuple[Matrix, Registration]:
    """The part's surroundings, upright, as golden picture; and the matrix from it to the picture it was cut from."""
    matrix, size = silhouette.upright(found)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    golden = cv2.warpAffine(picture, matrix[:2], size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    mask = cv2.warpAffine(found.mask, matrix[:2], size, flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP)
    factor = working_factor(frame_size)
    return matrix, Registration(
        method="silhouette",
        registered=True,
        golden=np.asarray(cv2.cvtColor(golden, cv2.COLOR_BGR2GRAY), np.uint8),
        image_size=(size[0] * factor, size[1] * factor),
        max_shift=1.0,
        max_angle_deg=180.0,
        min_similarity=-1.0,
        part=Part(np.asarray(mask, np.uint8), frame_size),
    )
