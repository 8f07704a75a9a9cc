"""The good images of a folder, as teach sees them: of one size, each once, read again whenever they are needed."""

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import overload

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.errors import GoldlineError
from edge.images import read_image
from edge.sorting import Sorted

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

    file: Sorted
    size: Size
    digest: bytes
    thumbnail: bytes
    picture: Image | None


class Photographs(Sequence[Image]):
    """Images [h, w, 3] BGR by index, decoded when asked for.

    `size` is their (width, height); with `any_size` it is the median, and frames are scaled to it.
    """

    def __init__(self, looks: Sequence[Look], size: Size, repeated: Sequence[str], *, any_size: bool) -> None:
        self.files = [look.file for look in looks]
        self.thumbnails = [look.thumbnail for look in looks]
        self.size, self.any_size = size, any_size
        self.repeated = tuple(repeated)
        self._kept: list[Image | None] = [look.picture for look in looks]

    def __len__(self) -> int:
        return len(self.files)

    @overload
    def __getitem__(self, index: int) -> Image: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Image]: ...
    def __getitem__(self, index: int | slice) -> Image | Sequence[Image]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        kept = self._kept[index]
        return read_image(self.files[index].path) if kept is None else kept

    def release(self) -> None:
        """Keep no decoded image any longer."""
        self._kept = [None] * len(self.files)

    @property
    def names(self) -> list[str]:
        """Of each file, below the folder that was given."""
        return [file.name for file in self.files]


def open_photographs(files: Sequence[Sorted], tell: Callable[[int, int], None]) -> Photographs:
    """Read every image once. Raises GoldlineError naming the first one that does not belong."""
    looks: list[Look] = []
    kept = 0
    with ThreadPoolExecutor(READERS) as readers:
        for start in range(0, len(files), READERS):
            for look in readers.map(_look, files[start : start + READERS]):
                assert look.picture is not None
                kept += look.picture.nbytes
                looks.append(
                    look if kept <= KEPT_BYTES else Look(look.file, look.size, look.digest, look.thumbnail, None)
                )
            tell(len(looks), len(files))
    unique, repeated = _once_each(looks)
    size, any_size = common_size(unique)
    return Photographs(unique, size, repeated, any_size=any_size)


def _look(file: Sorted) -> Look:
    picture = read_image(file.path)
    digest = hashlib.blake2b(picture.tobytes(), digest_size=16).digest()
    return Look(file, (picture.shape[1], picture.shape[0]), digest, thumbnail(picture), picture)


def thumbnail(picture: Image) -> bytes:
    """A small JPEG of a picture [h, w, 3], to show beside a deviation."""
    scale = min(1.0, THUMBNAIL_PX / max(picture.shape[:2]))
    small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    encoded = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, THUMBNAIL_QUALITY])[1]
    return encoded.tobytes()


def _once_each(looks: Sequence[Look]) -> tuple[list[Look], list[str]]:
    """The first of identical pictures, and the names of the others: a copy would vouch for its twin."""
    seen: dict[tuple[Size, bytes], Look] = {}
    for look in looks:
        seen.setdefault((look.size, look.digest), look)
    firsts = {look.file.name for look in seen.values()}
    return list(seen.values()), [look.file.name for look in looks if look.file.name not in firsts]


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
        raise GoldlineError(f"{odd.file.path}: {odd.size[0]} x {odd.size[1]}, most others are {size[0]} x {size[1]}")
    width, height = (int(np.median([look.size[axis] for look in looks])) for axis in (0, 1))
    return (width, height), True
