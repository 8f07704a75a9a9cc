"""One camera role's good images, laid over its golden picture: what teach cuts its regions from."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge import synthetic
from edge.photographs import Photographs
from edge.register import Alignment
from edge.view import Box, Size, View

Images = NDArray[np.uint8]
# What is being done, how much of it is done, and how much there is.
Tell = Callable[[str, int, int], None]

# One image says nothing about how good parts differ; four copies of it, moved and lit a little differently, stand in.
STAND_INS = 4


@dataclass(frozen=True)
class Laid:
    """The images that lie over the golden picture, by index, with where they do; and those that do not, with why."""

    indices: tuple[int, ...]
    alignments: tuple[Alignment, ...]
    refused: tuple[tuple[str, str], ...]


def lay(view: View, photographs: Photographs, tell: Tell) -> Laid:
    """Lay every image over the golden picture."""
    indices: list[int] = []
    alignments: list[Alignment] = []
    refused: list[tuple[str, str]] = []
    for index, image in enumerate(photographs):
        alignment = view.align(image)
        if alignment.problem is None:
            indices.append(index)
            alignments.append(alignment)
        else:
            refused.append((photographs.names[index], alignment.problem))
        tell("laying images over each other", index + 1, len(photographs))
    return Laid(tuple(indices), tuple(alignments), tuple(refused))


class Material:
    """The laid images. `names`, `variants` and `lots` are theirs, in order."""

    def __init__(self, photographs: Photographs, laid: Laid, tell: Tell) -> None:
        self._photographs, self.laid, self._tell = photographs, laid, tell
        files = [photographs.files[index] for index in laid.indices]
        self.names = tuple(file.name for file in files)
        self.variants = tuple(file.variant for file in files)
        self.lots = tuple(file.lot for file in files)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def gains(self) -> NDArray[np.float64]:
        """Of each image: what takes it to the golden picture's brightness."""
        return np.array([alignment.gain for alignment in self.laid.alignments])

    @property
    def thumbnails(self) -> list[bytes]:
        """Of each image, as JPEG."""
        return [self._photographs.thumbnails[index] for index in self.laid.indices]

    def some(self, most: int) -> list[int]:
        """At most so many places among the images, evenly spread."""
        return evenly(len(self), most).tolist()

    def picture(self, place: int) -> tuple[Images, Alignment]:
        """An image [h, w, 3] as the camera saw it, and how the golden picture lies in it."""
        return self._photographs[self.laid.indices[place]], self.laid.alignments[place]

    def cut(self, view: View, box: Box, size: Size, places: Sequence[int] | None = None) -> Images:
        """The region `box` of some images, all without `places`, at (width, height): [n, h, w, 3]."""
        return self.cut_all(view, [(box, size)], places)[0]

    def cut_all(
        self, view: View, wanted: Sequence[tuple[Box, Size]], places: Sequence[int] | None = None
    ) -> list[Images]:
        """Several regions in one reading of the images."""
        places = range(len(self)) if places is None else places
        stacks = [np.empty((len(places), size[1], size[0], 3), np.uint8) for _, size in wanted]
        for row, place in enumerate(places):
            image, alignment = self.picture(place)
            for stack, (box, size) in zip(stacks, wanted, strict=True):
                stack[row] = view.cut(image, alignment, box, size)
            self._tell("cutting regions out", row + 1, len(places))
        return stacks

    def release(self) -> None:
        """Keep no decoded image any longer."""
        self._photographs.release()


def evenly(count: int, most: int) -> NDArray[np.int64]:
    """At most so many of `count` indices, evenly spread from the first to the last."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).astype(np.int64))


def enough(stack: Images) -> Images:
    """The stack [n, h, w, 3], with stand-ins behind a single image."""
    if len(stack) > 1:
        return stack
    copies = synthetic.jittered(stack[0], STAND_INS, np.random.default_rng(0))
    return np.stack([stack[0], *copies])
