"""Which pixels of a frame show what a recipe looks at, and how they are copied out of it. Pure.

What is copied is the box round all that is looked at, in the camera's own pixel format; pixels of it that nothing
looks at are 0. A region turned with its part is cut along its turned edge, to the pixel, and where several pixels share
their bytes (`10p`, `12Packed`, `YUV422_8`) to those: at most three pixels beside the edge come along.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.images import as_bgr
from edge.pixel_formats import PIXEL_FORMATS

Bytes = NDArray[np.uint8]
# 8 or 16 bits.
Values = NDArray[np.uint8] | NDArray[np.uint16]
Box = tuple[int, int, int, int]
Size = tuple[int, int]
# Corners [4, 2] in px of the frame, pixel centres at whole numbers.
Polygon = NDArray[np.float64]

# Masks are drawn to a sixteenth of a pixel, which is what OpenCV rounds to inside.
SHIFT = 4
# A region this close to lying straight is its box: nothing of a pixel's size is gained by cutting along its edge.
STRAIGHT_PX = 1.0
BAYER = "Bayer"


@dataclass(frozen=True)
class Cutout:
    """What is kept of a frame: `box` in its px, and 255 where something is looked at, [h, w]; None: everywhere."""

    box: Box
    mask: Bytes | None = None


def whole(size: Size) -> Cutout:
    """All of a frame of size (width, height)."""
    return Cutout((0, 0, *size))


def around(polygons: Sequence[Polygon], size: Size, pixel_format: str) -> Cutout | None:
    """What lies inside any polygon, in a frame of `size` (width, height). None: nothing does.

    The box begins and ends where pixels can be taken apart: between groups that share bytes, and on even rows and
    columns where colours alternate.
    """
    corners = np.concatenate(polygons) if polygons else np.zeros((0, 2))
    if not len(corners) or not np.isfinite(corners).all():
        return None
    across, down = _grain(pixel_format)
    left, right = _span(corners[:, 0], size[0], across)
    top, bottom = _span(corners[:, 1], size[1], down)
    if left >= right or top >= bottom:
        return None
    box = (left, top, right - left, bottom - top)
    return Cutout(box, None if len(polygons) == 1 and _is_straight(polygons[0]) else _mask(polygons, box))


def _grain(pixel_format: str) -> Size:
    known = PIXEL_FORMATS[pixel_format]
    if known.colour.startswith(BAYER):
        return max(2, known.packing.pixels), 2
    return known.packing.pixels, 1


def _span(values: NDArray[np.float64], limit: int, grain: int) -> tuple[int, int]:
    """The pixels from the least of the edges to the greatest, inside the frame and in whole grains."""
    # An edge at n - 0.5 lies between two pixels; a hundredth of a pixel is rounding noise.
    first, last = np.floor(values.min() + 0.51), np.ceil(values.max() + 0.49)
    first, last = (int(min(max(value, 0.0), limit)) for value in (first, last))
    return first // grain * grain, min(limit, -(-last // grain) * grain)


def _is_straight(polygon: Polygon) -> bool:
    """Every edge goes across or down."""
    edges = abs(polygon - np.roll(polygon, 1, axis=0))
    return bool(edges.min(1).max() < STRAIGHT_PX)


def _mask(polygons: Sequence[Polygon], box: Box) -> Bytes | None:
    mask = np.zeros((box[3], box[2]), np.uint8)
    for polygon in polygons:
        # What is further off than OpenCV's numbers reach lies outside all the same.
        placed = np.clip(polygon - box[:2], -20_000, 40_000)
        cv2.fillConvexPoly(mask, np.round(placed * 2**SHIFT).astype(np.int32), 255, cv2.LINE_8, shift=SHIFT)
    return None if mask.all() else mask


# --- pixels


@dataclass(frozen=True)
class Layout:
    """How a picture of one format lies in memory: `rows` of `columns` cells, each `cell` values of `kind`.

    A cell is a pixel, or a group of pixels that share their bytes.
    """

    rows: int
    columns: int
    cell: int
    kind: str
    pixels: int

    @property
    def bytes(self) -> int:
        """Of the whole picture."""
        return self.rows * self.columns * self.cell * np.dtype(self.kind).itemsize

    def view(self, memory: Bytes) -> Values:
        """The picture in the first bytes of `memory`: [rows, columns, cell], without a copy."""
        values = memory[: self.bytes] if self.kind == "u1" else memory[: self.bytes].view(np.dtype("<u2"))
        return values.reshape(self.rows, self.columns, self.cell)


def layout(size: Size, pixel_format: str) -> Layout | None:
    """Of a picture (width, height); None where its rows cannot be told apart: a JPEG, or groups across the row's end."""
    width, height = size
    known = PIXEL_FORMATS[pixel_format]
    packing = known.packing
    if known.colour == "JPEG" or width % packing.pixels:
        return None
    if packing.pixels == 1 and packing.bytes == 2:
        return Layout(height, width, 1, "<u2", 1)
    return Layout(height, width // packing.pixels, packing.bytes, "u1", packing.pixels)


def copy(frame: Bytes, size: Size, pixel_format: str, cutout: Cutout, into: Bytes) -> int | None:
    """Copy a cutout of a frame (its bytes, flat) into the first bytes of `into`, and return how many they are.

    None: its rows cannot be told apart, or `into` is too small.
    """
    source, target = layout(size, pixel_format), layout(cutout.box[2:], pixel_format)
    if source is None or target is None or target.bytes > into.size:
        return None
    left, top, width, height = cutout.box
    first = left // source.pixels
    taken = source.view(frame)[top : top + height, first : first + width // source.pixels]
    out = target.view(into)
    if cutout.mask is None:
        out[...] = taken
        return target.bytes
    out[...] = 0
    if source.pixels == 1:
        # OpenCV does in 0.1 ms a megabyte what takes NumPy ten times that.
        cv2.copyTo(taken, cutout.mask, out)
    else:
        looked_at = cutout.mask.reshape(height, -1, source.pixels).max(2) > 0
        np.copyto(out, taken, where=looked_at[..., None])
    return target.bytes


def as_picture(kept: Bytes, size: Size, pixel_format: str) -> Bytes:
    """Kept pixels for looking at, [h, w, 3] BGR. Raises ImageError."""
    return as_bgr(kept, *size, pixel_format, kept.size)
