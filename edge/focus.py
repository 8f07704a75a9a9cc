"""How a picture serves inspection while a camera is being mounted: sharp, bright enough, nothing clipped.

Sharpness is Tenengrad, the mean squared gradient by Sobel's kernels (Krotkov, "Focusing", Int. J. Computer Vision 1,
1987), among the steadiest of the measures compared by Pertuz, Puig and Garcia ("Analysis of focus measure operators
for shape-from-focus", Pattern Recognition 46, 2013). Its root is taken and divided by the mean brightness, so that
light alone does not change it: in percent of the brightness, a pixel. It compares pictures of one scene only.
"""

from collections.abc import Sequence

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

Region = tuple[int, int, int, int]

# Columns of the histogram: each covers 8 of the 256 values.
BINS = 32
# Sobel's 3 x 3 kernels answer a slope of 1 a pixel with 8.
_SOBEL_GAIN = 8.0
# Divided by at least this brightness: in the dark there is only noise.
_DARKEST_MEAN = 1.0

# Below this brightness of its brightest parts (all but 0.5 % of the pixels), a picture wastes more than half of its
# values, and noise is large beside what is left.
_DIM_PEAK, _PEAK_SHARE = 110, 0.995
# Highlights on metal are a few pixels; more is detail that is gone for good.
_MOST_WHITE_SHARE, _MOST_BLACK_SHARE = 0.01, 0.05
# A twentieth of the pixels below, a twentieth above: a smaller distance between them is a lens cap or grey fog.
_LEAST_CONTRAST, _TAIL_SHARE = 32, 0.05
# A turn of the focus ring past the best loses more than this; noise and vibration lose less.
_OFF_FOCUS_SHARE = 0.85


class Measures(msgspec.Struct, frozen=True, kw_only=True):
    """Of one picture. Shares are of its pixels: black where no channel has light, white where one is at its end.

    `histogram` counts pixels by brightness, darkest first.
    """

    focus: float
    mean: float
    black_share: float
    white_share: float
    histogram: tuple[int, ...]


def measure(picture: NDArray[np.uint8]) -> Measures:
    """Measures of uint8 BGR [height, width, 3]."""
    grey = np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), np.uint8)
    mean = float(grey.mean())
    brightest, pixels = picture.max(axis=2), grey.size
    return Measures(
        focus=100 * _gradient(grey) / max(mean, _DARKEST_MEAN),
        mean=mean,
        black_share=int(np.count_nonzero(brightest == 0)) / pixels,
        white_share=int(np.count_nonzero(brightest == 255)) / pixels,
        histogram=tuple(int(count) for count in np.bincount(grey.ravel() >> 3, minlength=BINS)),
    )


def _gradient(grey: NDArray[np.uint8]) -> float:
    """Root mean square of the slope, values a pixel."""
    across, down = (cv2.Sobel(grey, cv2.CV_32F, *order, ksize=3) for order in ((1, 0), (0, 1)))
    return float(np.sqrt(np.mean(np.square(across) + np.square(down)))) / _SOBEL_GAIN


def cut(picture: NDArray[np.uint8], region: Region | None) -> NDArray[np.uint8]:
    """The region x, y, width, height of a picture. Raises ValueError for one that is not inside it."""
    if region is None:
        return picture
    x, y, width, height = region
    rows, columns = picture.shape[:2]
    if min(x, y) < 0 or min(width, height) < 3 or x + width > columns or y + height > rows:
        raise ValueError(f"{x},{y},{width},{height} is not a region of at least 3 x 3 px inside {columns} x {rows} px")
    return picture[y : y + height, x : x + width]


def brightness_below(histogram: Sequence[int], share: float) -> int:
    """The brightness below which this share of the pixels lies, to the width of a histogram's column."""
    reached = np.cumsum(histogram) >= share * sum(histogram)
    return (int(np.argmax(reached)) + 1) * 256 // BINS - 1


def hints(measures: Measures, best_focus: float) -> list[str]:
    """What to do about a picture, in words; empty where it serves. `best_focus` is the best seen while mounting."""
    told = [*_of_light(measures)]
    if measures.focus < _OFF_FOCUS_SHARE * best_focus:
        told.append(f"focus is {measures.focus / best_focus:.0%} of the best seen: turn the ring back")
    return told


def _of_light(measures: Measures) -> list[str]:
    told: list[str] = []
    peak = brightness_below(measures.histogram, _PEAK_SHARE)
    if peak < _DIM_PEAK:
        told.append(f"too dark: its brightest parts reach {peak} of 255; more light, longer exposure, or a wider iris")
    if measures.white_share > _MOST_WHITE_SHARE:
        told.append(f"too bright: {measures.white_share:.1%} of its pixels are clipped; less light or exposure")
    if measures.black_share > _MOST_BLACK_SHARE:
        told.append(f"{measures.black_share:.1%} of its pixels are black: nothing can be seen there")
    low, high = (brightness_below(measures.histogram, share) for share in (_TAIL_SHARE, 1 - _TAIL_SHARE))
    if high - low < _LEAST_CONTRAST:
        told.append("hardly any contrast: is the lens cap on, or is it far out of focus?")
    return told
