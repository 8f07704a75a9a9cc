"""Kept pixels: cut out of a frame of any format, exact, with nothing beside them, and back from their file."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge import cutout, picture_file
from edge.cutout import Cutout
from edge.images import ImageError
from edge.pixel_formats import PIXEL_FORMATS
from tests import pictures

CUT_SIZE = (48, 20)


@st.composite
def polygons(draw: st.DrawFn) -> list[np.ndarray]:
    """A few rectangles, turned, some of them partly outside."""
    found = []
    for _ in range(draw(st.integers(1, 3))):
        centre = np.array([draw(st.floats(-5, 50)), draw(st.floats(-5, 25))])
        width, height, angle = draw(st.floats(1, 30)), draw(st.floats(1, 15)), draw(st.sampled_from([0.0, 0.3, 1.2]))
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * [width / 2, height / 2]
        found.append(corners @ turn.T + centre)
    return found


def distance_outside(found: list[np.ndarray], x: float, y: float) -> float:
    """How far a pixel's centre lies from the nearest polygon; 0 or less inside."""
    return min(-cv2.pointPolygonTest(one.astype(np.float32), (float(x), float(y)), True) for one in found)


@given(polygons(), st.sampled_from([name for name in PIXEL_FORMATS if name != "JPEG"]), st.integers(0, 2**32 - 1))
def test_what_is_kept_is_exact_and_shows_nothing_beside_what_is_looked_at(found, pixel_format, seed):
    size = CUT_SIZE
    frame = pictures.pixels(seed, PIXEL_FORMATS[pixel_format].frame_bytes(size[0] * size[1])) | 1
    cut = cutout.around(found, size, pixel_format)
    if cut is None:
        return
    into = np.full(frame.size, 255, np.uint8)
    used = cutout.copy(frame, size, pixel_format, cut, into)
    assert used is not None
    left, top, width, height = cut.box
    assert left >= 0 and left + width <= size[0] and top >= 0 and top + height <= size[1]
    source, target = cutout.layout(size, pixel_format), cutout.layout(cut.box[2:], pixel_format)
    assert source is not None and target is not None
    first = left // source.pixels
    original = source.view(frame)[top : top + height, first : first + target.columns]
    seen = target.view(into)
    is_kept = (seen == original).all(2)
    assert ((seen == 0).all(2) | is_kept).all(), "a pixel that the camera did not send"
    reach = 1.5 if source.pixels == 1 else 1.5 + source.pixels
    for row, column in np.argwhere(is_kept):
        xs = [left + column * source.pixels + step for step in range(source.pixels)]
        assert min(distance_outside(found, x, top + row) for x in xs) <= reach + 1, "outside of what is looked at"
    for row, column in np.argwhere(~is_kept):
        xs = [left + column * source.pixels + step for step in range(source.pixels)]
        assert min(distance_outside(found, x, top + row) for x in xs) > -1.5, "a pixel that is looked at is missing"


@pytest.mark.parametrize("pixel_format", [name for name in PIXEL_FORMATS if name != "JPEG"])
def test_every_format_comes_back_from_its_file_to_the_last_bit(pixel_format):
    size = (16, 6)
    pixels = pictures.pixels(3, PIXEL_FORMATS[pixel_format].frame_bytes(size[0] * size[1]))
    content = picture_file.encode(pixels, size, pixel_format)
    back = picture_file.decode(content, size, pixel_format)
    assert picture_file.sha256(back) == picture_file.sha256(pixels)
    assert cutout.as_picture(back, size, pixel_format).shape == (6, 16, 3)


def test_a_file_of_another_picture_is_refused():
    content = picture_file.encode(pictures.pixels(1, 96), (16, 6), "Mono8")
    with pytest.raises(ImageError, match="not 16x6 Mono12"):
        picture_file.decode(content, (16, 6), "Mono12")
    with pytest.raises(ImageError, match="damaged"):
        picture_file.decode(content[:40], (16, 6), "Mono8")


def test_rows_that_cannot_be_told_apart_are_not_cut():
    assert (
        cutout.copy(np.zeros(100, np.uint8), (5, 4), "Mono10p", Cutout((0, 0, 4, 4)), np.zeros(100, np.uint8)) is None
    )
