"""Labelled images in a folder laid out as MVTec AD, and what orders expect of them.

    DIR/test/good/*            DIR/test/<defect>/*
    DIR/ground_truth/<defect>/<stem>.png or <stem>_mask.png     optional; white where the part deviates

`train` is not looked at. Where several cameras see a part, each of these folders has one sub-folder for each camera
role, as for teaching, and the pictures of one part have one stem: test/good/top/017.png, test/good/side/017.png.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
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
    """One labelled picture, or a part of several: `views` are those there are by camera role, and `path` their folder.

    `name` is its path inside the folder, for people to read; `expect` what an order would expect of it.
    """

    path: Path
    name: str
    label: str
    mask: Path | None
    views: Mapping[str, "Sample"] = field(default_factory=dict[str, "Sample"])
    expect: Mapping[str, str] = field(default_factory=dict[str, str])


def samples(directory: Path, role: str = "") -> list[Sample]:
    """Every labelled image, good ones first; of sub-folders of that role where there are. Raises GoldlineError."""
    return [
        _sample(directory, label, path)
        for label, folder in _labels(directory)
        for path in list_images(folder / role if role and (folder / role).is_dir() else folder)
    ]


def parts(directory: Path, roles: Sequence[str]) -> list[Sample]:
    """Every labelled part with its pictures by role, good ones first.

    A part may lack a picture; a folder of them may not. Raises GoldlineError naming what is not as it should be.
    """
    found: list[Sample] = []
    for label, folder in _labels(directory):
        views = {role: _by_stem(directory, label, folder, role, roles) for role in roles}
        stems = sorted({stem for pictures in views.values() for stem in pictures})
        found += [
            Sample(
                folder,
                readable(folder.relative_to(directory) / stem),
                readable(label),
                None,
                {role: pictures[stem] for role, pictures in views.items() if stem in pictures},
            )
            for stem in stems
        ]
    return found


def _labels(directory: Path) -> list[tuple[str, Path]]:
    """Good and each defect, with their folders."""
    test = directory / "test"
    if not (test / GOOD).is_dir():
        raise GoldlineError(f"{test / GOOD}: not a folder; expected test/good and test/<defect> as MVTec AD has them")
    labels = sorted(path.name for path in test.iterdir() if path.is_dir() and path.name != GOOD)
    if not labels:
        raise GoldlineError(f"{test}: no folder of bad images beside {GOOD}")
    return [(label, test / label) for label in (GOOD, *labels)]


def _by_stem(directory: Path, label: str, folder: Path, role: str, roles: Sequence[str]) -> dict[str, Sample]:
    if not (folder / role).is_dir():
        every = ", ".join(roles)
        raise GoldlineError(
            f"{folder / role}: not a folder; expected one for each camera role, {every}; or name one by --camera"
        )
    found: dict[str, Sample] = {}
    for path in list_images(folder / role):
        if path.stem in found:
            raise GoldlineError(f"{path}: another picture of this folder has the same stem, which names the part")
        found[path.stem] = _sample(directory, label, path)
    return found


def _sample(directory: Path, label: str, path: Path) -> Sample:
    inside = path.relative_to(directory)
    # test/<label>/… has its masks in ground_truth/<label>/…
    folder = directory / "ground_truth" / Path(*inside.parts[1:-1])
    candidates = (folder / f"{path.stem}.png", folder / f"{path.stem}_mask.png")
    mask = next((candidate for candidate in candidates if candidate.exists()), None)
    return Sample(path, readable(inside), readable(label), mask)


def readable(path: Path | str) -> str:
    """A path as text that can be written anywhere: bytes that are no UTF-8 become U+FFFD."""
    return os.fsencode(path).decode("utf-8", "replace")


def keys(sample: Sample) -> Iterable[str]:
    """What an order may call a sample: `<label>/<stem>`, or its stem."""
    stem = sample.name.rpartition("/")[2] if sample.views else readable(sample.path.stem)
    return (f"{sample.label}/{stem}", stem)


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
