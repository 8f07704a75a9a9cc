"""What a pixel's neighbours are, by comparing whole pictures moved by one."""

from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

Level = TypeVar("Level", np.uint8, np.float32)


def second_neighbour(values: NDArray[Level]) -> NDArray[Level]:
    """The second largest of each value's eight neighbours [h, w], none of them below 0; beyond the border are zeros.

    The two largest of rows of three, and of the two beside the value, are found once for the whole picture; then the
    largest two of the row above and the row below, and of these and the two beside.
    """
    padded = cv2.copyMakeBorder(values, 1, 1, 1, 1, cv2.BORDER_CONSTANT)
    left, middle, right = padded[:, :-2], padded[:, 1:-1], padded[:, 2:]
    beside, lesser = cv2.max(left, right), cv2.min(left, right)
    first, second = cv2.max(beside, middle), cv2.max(lesser, cv2.min(beside, middle))
    most, more = _two_largest(first[:-2], second[:-2], first[2:], second[2:])
    return np.asarray(_two_largest(most, more, beside[1:-1], lesser[1:-1])[1], values.dtype)


def _two_largest(
    first: cv2.typing.MatLike, second: cv2.typing.MatLike, third: cv2.typing.MatLike, fourth: cv2.typing.MatLike
) -> tuple[cv2.typing.MatLike, cv2.typing.MatLike]:
    """Of two pairs, each the larger one first."""
    return cv2.max(first, third), cv2.max(cv2.min(first, third), cv2.max(second, fourth))
