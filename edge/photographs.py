"""The good images of a folder, as teach sees them: of one size, each once, read again whenever they are needed."""

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.errors import GoldlineError
from edge.images import list_images, read_image

Image = NDArray[np.uint8]
Size = tuple[int, int]

# Decoded images kept in memory: a quarter of the GiB that teach may take; beyond it they are decoded again.
KEPT_BYTES = 256 << 20
# Longest side of the pictures stored to show beside a deviation, px, and their JPEG quality: about 25 kB each.
THUMBNAIL_PX = 384
THUMBNAIL_QUALITY = 88
# Where more than this share of the images have one size, the others are mistakes; else the sizes vary by nature.
COMMON_SIZE_SHARE = 0.5
# Decoding releases the interpreter's lock; more threads than this only hold more pictures at once.
READERS = 2


@dataclass(frozen=True)
class Look:
    """What the first reading of a file found."""

    path: Path
    size: Size
    digest: bytes
    thumbnail: bytes
    picture: Image | None


class Photographs(Sequence[Image]):
    """Images [h, w, 3] BGR by index, decoded when asked for.

    `size` is their (width, height); with `any_size` it is the median, and frames are scaled to it.
    """

    def __init__(self, looks: Sequence[Look], size: Size, repeated: Sequence[str], *, any_size: bool) -> None:
        self.paths = [look.path for look in looks]
        self.thumbnails = [look.thumbnail for look in looks]
        self.size, self.any_size = size, any_size
        self.repeated = tuple(repeated)
        self._kept: list[Image | None] = [look.picture for look in looks]

    def __len__(self) -> int:
        return len(self.paths)

    @overload
    def __getitem__(self, index: int) -> Image: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Image]: ...
    def __getitem__(self, index: int | slice) -> Image | Sequence[Image]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        kept = self._kept[index]
        return read_image(self.paths[index]) if kept is None else kept

    def release(self) -> None:
        """Keep no decoded image any longer."""
        self._kept = [None] * len(self.paths)

    @property
    def names(self) -> list[str]:
        """File names."""
        return [path.name for path in self.paths]


def open_photographs(directory: Path, tell: Callable[[int, int], None]) -> Photographs:
    """Read every image of a folder once. Raises GoldlineError naming the first one that does not belong."""
    paths = list_images(directory)
    looks: list[Look] = []
    kept = 0
    with ThreadPoolExecutor(READERS) as readers:
        for start in range(0, len(paths), READERS):
            for look in readers.map(_look, paths[start : start + READERS]):
                assert look.picture is not None
                kept += look.picture.nbytes
                looks.append(
                    look if kept <= KEPT_BYTES else Look(look.path, look.size, look.digest, look.thumbnail, None)
                )
            tell(len(looks), len(paths))
    unique, repeated = _once_each(looks)
    size, any_size = common_size(unique)
    return Photographs(unique, size, repeated, any_size=any_size)


def _look(path: Path) -> Look:
    picture = read_image(path)
    digest = hashlib.blake2b(picture.tobytes(), digest_size=16).digest()
    return Look(path, (picture.shape[1], picture.shape[0]), digest, _thumbnail(picture), picture)


def _thumbnail(picture: Image) -> bytes:
    scale = min(1.0, THUMBNAIL_PX / max(picture.shape[:2]))
    small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    encoded = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, THUMBNAIL_QUALITY])[1]
    return encoded.tobytes()


def _once_each(looks: Sequence[Look]) -> tuple[list[Look], list[str]]:
    """The first of identical pictures, and the names of the others: a copy would vouch for its twin."""
    seen: dict[tuple[Size, bytes], Look] = {}
    for look in looks:
        seen.setdefault((look.size, look.digest), look)
    firsts = {look.path for look in seen.values()}
    return list(seen.values()), [look.path.name for look in looks if look.path not in firsts]


def common_size(looks: Sequence[Look]) -> tuple[Size, bool]:
    """The size all have, and False; or the median size, and True, where sizes vary by nature.

    Raises GoldlineError naming the first odd file where most have one size.
    """
    counts = Counter(look.size for look in looks)
    size, count = counts.most_common(1)[0]
    if count == len(looks):
        return size, False
    if count > COMMON_SIZE_SHARE * len(looks):
        odd = next(look for look in looks if look.size != size)
        raise GoldlineError(f"{odd.path}: {odd.size[0]} x {odd.size[1]}, most others are {size[0]} x {size[1]}")
    width, height = (int(np.median([look.size[axis] for look in looks])) for axis in (0, 1))
    return (width, height), True
