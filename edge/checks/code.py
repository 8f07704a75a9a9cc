"""What does the code in this region say? Data Matrix, QR and bar codes, read by zxing-cpp.

What cannot be read fails: an unread code never passes. As long as nothing is read, the cut is searched again, each time
changed in a way that brings out codes of one kind, as far as the picture is not too large for that:

1. as it is
2. smoothed, its contrast stretched        noise, dots that were pecked or printed apart
3. doubled                                 modules of two pixels
4. doubled, smoothed, equalised            faint codes, also beside a reflection
5. smoothed more                           larger dots
6. bar codes: inverted; turned by 30 and by 60 degrees, since they are searched for along rows and columns only

Searching costs by what there is to see: a plain picture next to nothing, noise and textures ten times as much. So that
it ends in time, a large picture is searched

a. made small, whole                       codes of larger modules
b. as it is, whole, for bar codes          which cost little
c. as above, all but its busiest places made plain: small modules make a place busy, more so than most textures
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import cast, get_args

import cv2
import numpy as np
import zxingcpp
from numpy.typing import NDArray

from edge.check_recipes import CodeCheck, CodeFormat
from edge.checks.check import Box, Floats, Image, Size
from edge.judge import EXACT, RIGHT, WRONG, Finding
from edge.records import Pose

Matrix = NDArray[np.float64]

# Pixels of all attempts together, plain or not.
MOST_SEARCHED_PX = 4_000_000
# Of one attempt, those that are not made plain: 770 x 770 px are searched whole. By both bounds the worst pictures take
# a core some 0.17 s, where they took 0.3 s (docs/benchmarks.md).
MOST_BUSY_PX = 600_000
# The same of a doubled picture, of which each pixel costs half: 640 x 480 px doubled are searched whole.
_DOUBLED_BUSY_PX = 1_250_000
# Side of the squares that are made plain or left, px: the smallest codes are twice as large.
_BLOCK_PX = 32
# Their check digit is optional, and short ones are found in noise: they are only read where the recipe names them.
_UNCHECKED: frozenset[CodeFormat] = frozenset({"Codabar", "ITF"})
# Of bars, not of cells.
_LINEAR: frozenset[CodeFormat] = frozenset({
    "Codabar", "Code128", "Code39", "Code93", "EAN13", "EAN8", "ITF", "UPCA", "UPCE",
})  # fmt: skip
# Standard deviations of the smoothings, px of the cut: dots 6 to 10 px apart become a line, and modules of 5 px and
# more stay apart.
_SMOOTH_PX, _SMOOTHER_PX = 2.0, 3.0
# The same for the doubled cut, px of that: it still shows modules of two pixels of the cut.
_DOUBLED_SMOOTH_PX = 1.5
# Contrast-limited equalisation over 4 x 4 tiles; beyond 3 noise becomes modules.
_EQUALISED, _TILES = 3.0, (4, 4)
# A bar code is read up to some 17 degrees off.
_TURNS_DEG = (30.0, 60.0)


@dataclass(frozen=True)
class Reading:
    """One code that was read: its text as people write it, everything else that is the same text, and where it is.

    GS1 texts are written `(01)09506000134352(10)AB`, or as the code has them, with U+001D between fields; other control
    characters as something visible, or as they are; a UPC's number with 13 digits, with 12, or with the 8 of UPC-E.
    """

    text: str
    writings: frozenset[str]
    box: Box


@dataclass(frozen=True)
class _Attempt:
    """`change` makes of a cut, grey [h, w], the picture that is searched, and the [2, 3] from it to the cut.

    `size` is that picture's (width, height), from the cut's; `most_busy_px` of it are not made plain.
    """

    change: Callable[[Image], tuple[Image, Matrix]]
    size: Callable[[Size], Size] = lambda size: size
    only_bars: bool = False
    most_busy_px: int = MOST_BUSY_PX


@dataclass(frozen=True)
class CodeReader:
    """Reads the codes of one region. `box` is the region's, in px of the golden picture."""

    region: str
    box: Box
    check: CodeCheck

    @property
    def name(self) -> str:
        """Region and kind."""
        return f"{self.region}.code"

    @property
    def size(self) -> Size:
        """The box's own width and height, as far as that many pixels may be searched."""
        width, height = self.box[2:]
        share = min(1.0, math.sqrt(MOST_SEARCHED_PX / (width * height)))
        return max(1, int(width * share)), max(1, int(height * share))

    @property
    def answers(self) -> frozenset[str]:
        """An order says `code`."""
        return frozenset({"code"})

    @property
    def sight(self) -> str:
        """A cut of its own."""
        return self.name

    def look(self, cut: Image, embedding: Floats | None) -> tuple[Reading, ...]:
        """Every code on a cut [h, w, 3] BGR that can be read; none where there is nothing, whatever the picture."""
        if not cut.size:
            return ()
        grey = np.asarray(cv2.cvtColor(cut, cv2.COLOR_BGR2GRAY), np.uint8)
        size = (cut.shape[1], cut.shape[0])
        found = self._read_large(grey) if grey.size > MOST_BUSY_PX else ()
        searched = 0
        for attempt in _ATTEMPTS:
            px, formats = math.prod(attempt.size(size)), self._formats(only_bars=attempt.only_bars)
            if not formats or (searched and (found or searched + px > MOST_SEARCHED_PX)):
                continue
            searched += px
            picture, to_cut = attempt.change(grey)
            found = _joined(found, _read(_calmed(picture, attempt.most_busy_px), formats, to_cut, size))
        return found

    def posed(self, seen: tuple[Reading, ...], pose: Pose) -> tuple[Reading, ...]:
        """The same at any pose."""
        return seen

    def hold(self, seen: tuple[Reading, ...], expect: Mapping[str, str]) -> Finding:
        """Right where one of the codes is what the order expects; else the recipe's text, its pattern, or any code."""
        wanted = expect.get("code", self.check.expect)
        is_right = any(self._is_right(reading, wanted) for reading in seen)
        pattern = None if self.check.pattern is None else f"/{self.check.pattern}/"
        return Finding(
            score=RIGHT if is_right else WRONG,
            limits=EXACT,
            found=", ".join(dict.fromkeys(reading.text for reading in seen)) or None,
            expected=pattern if wanted is None else wanted,
            boxes=() if is_right else tuple(reading.box for reading in seen),
        )

    def _is_right(self, reading: Reading, wanted: str | None) -> bool:
        if wanted is not None:
            return wanted in reading.writings
        pattern = self.check.pattern
        return pattern is None or any(re.fullmatch(pattern, writing) for writing in reading.writings)

    def _read_large(self, grey: Image) -> tuple[Reading, ...]:
        """What is read on a large picture with nothing made plain: codes of larger modules, and bar codes."""
        size = (grey.shape[1], grey.shape[0])
        small, to_cut = _small(grey)
        large = _read(small, self._formats(), to_cut, size)
        return _joined(large, _read(grey, self._formats(only_bars=True), _ITSELF, size))

    def _formats(self, *, only_bars: bool = False) -> list[zxingcpp.BarcodeFormat]:
        names = self.check.formats or tuple(name for name in get_args(CodeFormat) if name not in _UNCHECKED)
        return [zxingcpp.BarcodeFormat[name] for name in names if name in _LINEAR or not only_bars]


def _stretched(grey: Image) -> Image:
    """From black to white, as far as neighbours agree: one hot pixel is not white."""
    least, most, _, _ = cv2.minMaxLoc(cv2.blur(grey, (3, 3)))
    table = (np.arange(256) - least) * (255 / max(most - least, 1))
    return np.asarray(cv2.LUT(grey, np.clip(table, 0, 255).astype(np.uint8)), np.uint8)


def _smoothed(grey: Image, sigma: float) -> Image:
    return np.asarray(cv2.GaussianBlur(grey, (0, 0), sigma), np.uint8)


def _equalised(grey: Image) -> Image:
    return np.asarray(cv2.createCLAHE(_EQUALISED, _TILES).apply(grey), np.uint8)


def _doubled(grey: Image) -> tuple[Image, Matrix]:
    # Pixel centres lie at whole numbers: twice as large, they are a quarter pixel off.
    halved = np.array([[0.5, 0, -0.25], [0, 0.5, -0.25]])
    return np.asarray(cv2.resize(grey, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC), np.uint8), halved


def _doubled_size(size: Size) -> Size:
    return 2 * size[0], 2 * size[1]


def _brought_out(grey: Image) -> tuple[Image, Matrix]:
    picture, halved = _doubled(grey)
    return _equalised(_smoothed(picture, _DOUBLED_SMOOTH_PX)), halved


def _turned_size(size: Size) -> Size:
    side = math.ceil(math.hypot(*size))
    return side, side


def _turned(grey: Image, angle_deg: float) -> tuple[Image, Matrix]:
    """Turned about its middle, on a square that holds all of it; its edge is repeated around it."""
    height, width = grey.shape
    side, _ = _turned_size((width, height))
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle_deg, 1)
    matrix[:, 2] += ((side - width) / 2, (side - height) / 2)
    turned = cv2.warpAffine(grey, matrix, (side, side), borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(turned, np.uint8), np.asarray(cv2.invertAffineTransform(matrix), np.float64)


def _small(grey: Image) -> tuple[Image, Matrix]:
    """Of as many px as are searched whole."""
    share = math.sqrt(MOST_BUSY_PX / grey.size)
    width, height = max(1, int(grey.shape[1] * share)), max(1, int(grey.shape[0] * share))
    across, down = grey.shape[1] / width, grey.shape[0] / height
    to_cut = np.array([[across, 0, (across - 1) / 2], [0, down, (down - 1) / 2]])
    return np.asarray(cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA), np.uint8), to_cut


_ITSELF = np.eye(2, 3)
_ATTEMPTS = (
    _Attempt(lambda grey: (grey, _ITSELF)),
    _Attempt(lambda grey: (_smoothed(_stretched(grey), _SMOOTH_PX), _ITSELF)),
    _Attempt(_doubled, _doubled_size, most_busy_px=_DOUBLED_BUSY_PX),
    _Attempt(_brought_out, _doubled_size, most_busy_px=_DOUBLED_BUSY_PX),
    _Attempt(lambda grey: (_smoothed(_stretched(grey), _SMOOTHER_PX), _ITSELF)),
    _Attempt(lambda grey: (np.asarray(cv2.bitwise_not(grey), np.uint8), _ITSELF), only_bars=True),
    *(_Attempt(partial(_turned, angle_deg=angle), _turned_size, only_bars=True) for angle in _TURNS_DEG),
)


def _calmed(picture: Image, most_busy_px: int) -> Image:
    """The picture with all but its busiest places made plain: squares of the brightness that they have."""
    if picture.size <= most_busy_px:
        return picture
    height, width = picture.shape
    grid = math.ceil(width / _BLOCK_PX), math.ceil(height / _BLOCK_PX)
    # Halved, single pixels of noise are no edges any more, and modules of two pixels still are.
    halved = cv2.resize(picture, (math.ceil(width / 2), math.ceil(height / 2)), interpolation=cv2.INTER_AREA)
    fine = cv2.convertScaleAbs(cv2.Laplacian(halved, cv2.CV_16S))
    edges = cv2.resize(fine, grid, interpolation=cv2.INTER_AREA)
    # With its neighbours: a code's own rim counts as the code does.
    busy = cv2.blur(edges.astype(np.float32), (3, 3)).ravel()
    kept = np.zeros(busy.size, np.uint8)
    kept[np.argsort(-busy, kind="stable")[: most_busy_px // _BLOCK_PX**2]] = 255
    mask = cv2.resize(kept.reshape(grid[::-1]), (width, height), interpolation=cv2.INTER_NEAREST)
    plain = cv2.resize(cv2.resize(picture, grid, interpolation=cv2.INTER_AREA), (width, height))
    cv2.copyTo(picture, mask, plain)
    return np.asarray(plain, np.uint8)


def _read(picture: Image, formats: list[zxingcpp.BarcodeFormat], to_cut: Matrix, size: Size) -> tuple[Reading, ...]:
    """What is read on one picture; codes with errors left in them, or nothing in them, are not."""
    if not formats:
        return ()
    wanted = zxingcpp.BarcodeFormats(formats)
    codes = zxingcpp.read_barcodes(picture, formats=wanted, text_mode=zxingcpp.TextMode.HRI)
    return tuple(Reading(code.text, _writings(code), _box(code, to_cut, size)) for code in codes if code.text)


def _joined(found: tuple[Reading, ...], others: tuple[Reading, ...]) -> tuple[Reading, ...]:
    """Both, as far as they say something else."""
    known = {reading.text for reading in found}
    return found + tuple(reading for reading in others if reading.text not in known)


def _writings(code: zxingcpp.Barcode) -> frozenset[str]:
    writings = {code.text}
    if code.bytes.isascii():
        writings.add(code.bytes.decode("ascii"))
    if code.symbology is zxingcpp.BarcodeFormat.EANUPC and len(code.text) == 13 and code.text.startswith("0"):
        writings.add(code.text[1:])
    if code.format is zxingcpp.BarcodeFormat.UPCE:
        writings.add(str(cast("Mapping[str, object]", code.extra)["UPCE"]))
    return frozenset(writings)


def _box(code: zxingcpp.Barcode, to_cut: Matrix, size: Size) -> Box:
    """Around a code, in px of the cut of this (width, height), clipped to it."""
    at = code.position
    corners = np.array([[point.x, point.y] for point in (at.top_left, at.top_right, at.bottom_right, at.bottom_left)])
    placed = corners @ to_cut[:, :2].T + to_cut[:, 2]
    left, top = (int(edge) for edge in np.clip(placed.min(axis=0), 0, np.array(size) - 1))
    right, bottom = (int(edge) for edge in np.clip(placed.max(axis=0), 0, np.array(size) - 1))
    return left, top, right - left + 1, bottom - top + 1
