"""What does the code in this region say? Data Matrix, QR and bar codes, read by zxing-cpp.

What cannot be read fails: an unread code never passes. As long as nothing is read, the cut is searched again, each time
changed in a way that brings out codes of one kind:

1. as it is
2. smoothed, its contrast stretched        noise, dots that were pecked or printed apart
3. doubled                                 modules of two pixels
4. doubled, smoothed, equalised            faint codes, also beside a reflection
5. smoothed more                           larger dots
6. bar codes: inverted; turned by 30 and by 60 degrees, since they are searched for along rows and columns only
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
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

# Pixels that are searched for one answer, all attempts together: the noisiest take a core some 0.8 s.
MOST_SEARCHED_PX = 4_000_000
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
    """A grey picture [h, w] to be searched, and the [2, 3] from it to the cut."""

    picture: Image
    formats: zxingcpp.BarcodeFormats
    to_cut: Matrix


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
        searched = 0
        for attempt in self._attempts(cv2.cvtColor(cut, cv2.COLOR_BGR2GRAY).astype(np.uint8, copy=False)):
            if searched and searched + attempt.picture.size > MOST_SEARCHED_PX:
                break
            searched += attempt.picture.size
            found = _read(attempt, (cut.shape[1], cut.shape[0]))
            if found:
                return found
        return ()

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

    def _attempts(self, grey: Image) -> Iterator[_Attempt]:
        names = self.check.formats or tuple(name for name in get_args(CodeFormat) if name not in _UNCHECKED)
        formats, linear = _formats(names), _formats([name for name in names if name in _LINEAR])
        itself = np.eye(2, 3)
        stretched = _stretched(grey)
        yield _Attempt(grey, formats, itself)
        yield _Attempt(_smoothed(stretched, _SMOOTH_PX), formats, itself)
        doubled = np.asarray(cv2.resize(grey, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC), np.uint8)
        # Pixel centres lie at whole numbers: twice as large, they are a quarter pixel off.
        halved = np.array([[0.5, 0, -0.25], [0, 0.5, -0.25]])
        yield _Attempt(doubled, formats, halved)
        yield _Attempt(_equalised(_smoothed(doubled, _DOUBLED_SMOOTH_PX)), formats, halved)
        yield _Attempt(_smoothed(stretched, _SMOOTHER_PX), formats, itself)
        if len(linear):
            yield _Attempt(np.asarray(cv2.bitwise_not(grey), np.uint8), linear, itself)
            for angle in _TURNS_DEG:
                yield _turned(grey, angle, linear)


def _formats(names: "tuple[CodeFormat, ...] | list[CodeFormat]") -> zxingcpp.BarcodeFormats:
    return zxingcpp.BarcodeFormats([zxingcpp.BarcodeFormat[name] for name in names])


def _stretched(grey: Image) -> Image:
    """From black to white, as far as neighbours agree: one hot pixel is not white."""
    least, most, _, _ = cv2.minMaxLoc(cv2.blur(grey, (3, 3)))
    table = (np.arange(256) - least) * (255 / max(most - least, 1))
    return np.asarray(cv2.LUT(grey, np.clip(table, 0, 255).astype(np.uint8)), np.uint8)


def _smoothed(grey: Image, sigma: float) -> Image:
    return np.asarray(cv2.GaussianBlur(grey, (0, 0), sigma), np.uint8)


def _equalised(grey: Image) -> Image:
    return np.asarray(cv2.createCLAHE(_EQUALISED, _TILES).apply(grey), np.uint8)


def _turned(grey: Image, angle_deg: float, formats: zxingcpp.BarcodeFormats) -> _Attempt:
    """Turned about its middle, on a square that holds all of it; its edge is repeated around it."""
    height, width = grey.shape
    side = math.ceil(math.hypot(width, height))
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle_deg, 1)
    matrix[:, 2] += ((side - width) / 2, (side - height) / 2)
    turned = cv2.warpAffine(grey, matrix, (side, side), borderMode=cv2.BORDER_REPLICATE)
    return _Attempt(np.asarray(turned, np.uint8), formats, np.asarray(cv2.invertAffineTransform(matrix), np.float64))


def _read(attempt: _Attempt, size: Size) -> tuple[Reading, ...]:
    """What is read on one picture; codes with errors left in them, or nothing in them, are not."""
    codes = zxingcpp.read_barcodes(attempt.picture, formats=attempt.formats, text_mode=zxingcpp.TextMode.HRI)
    return tuple(Reading(code.text, _writings(code), _box(code, attempt, size)) for code in codes if code.text)


def _writings(code: zxingcpp.Barcode) -> frozenset[str]:
    writings = {code.text}
    if code.bytes.isascii():
        writings.add(code.bytes.decode("ascii"))
    if code.symbology is zxingcpp.BarcodeFormat.EANUPC and len(code.text) == 13 and code.text.startswith("0"):
        writings.add(code.text[1:])
    if code.format is zxingcpp.BarcodeFormat.UPCE:
        writings.add(str(cast("Mapping[str, object]", code.extra)["UPCE"]))
    return frozenset(writings)


def _box(code: zxingcpp.Barcode, attempt: _Attempt, size: Size) -> Box:
    """Around a code, in px of the cut of this (width, height), clipped to it."""
    at = code.position
    corners = np.array([[point.x, point.y] for point in (at.top_left, at.top_right, at.bottom_right, at.bottom_left)])
    placed = corners @ attempt.to_cut[:, :2].T + attempt.to_cut[:, 2]
    left, top = (int(edge) for edge in np.clip(placed.min(axis=0), 0, np.array(size) - 1))
    right, bottom = (int(edge) for edge in np.clip(placed.max(axis=0), 0, np.array(size) - 1))
    return left, top, right - left + 1, bottom - top + 1
