"""What `goldline camera watch` shows, on pictures whose answer is known."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge import focus


def scene(seed: int = 3) -> np.ndarray:
    """Noise of several scales between 60 and 200: something to focus on."""
    generator = np.random.default_rng(seed)
    layers = [
        cv2.resize(generator.uniform(-1, 1, (96 // size, 128 // size)).astype(np.float32), (128, 96))
        for size in (1, 2, 4, 8)
    ]
    grey = np.sum(layers, axis=0)
    grey = 60 + 140 * (grey - grey.min()) / (grey.max() - grey.min())
    return np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2)


def test_the_sharper_of_two_pictures_has_more_focus():
    picture = scene()
    blurred = [focus.measure(cv2.GaussianBlur(picture, (0, 0), sigma)).focus for sigma in (0.5, 1, 2, 4)]
    assert sorted([focus.measure(picture).focus, *blurred], reverse=True) == [focus.measure(picture).focus, *blurred]
    assert blurred[-1] < focus.measure(picture).focus / 3


def test_light_alone_changes_focus_little():
    picture = scene()
    darker = (picture * 0.5).astype(np.uint8)
    assert focus.measure(darker).focus == pytest.approx(focus.measure(picture).focus, rel=0.03)


def test_a_slope_of_one_value_a_pixel_is_one_by_its_brightness():
    ramp = np.tile(np.arange(40, 168, dtype=np.uint8)[None, :, None], (96, 1, 3))
    inner = focus.cut(ramp, (0, 0, 128, 96))
    measures = focus.measure(inner)
    # Sobel mirrors the border: the outermost columns have no slope.
    assert measures.focus == pytest.approx(100 * np.sqrt(126 / 128) / measures.mean, rel=1e-6)


def test_clipped_shares_are_exact():
    picture = np.full((10, 20, 3), 128, np.uint8)
    picture[0, :7] = 0
    picture[1, :3] = 255
    picture[2, :2] = (255, 10, 10)  # one channel at its end: that colour is not known
    picture[3, :5] = (0, 0, 1)  # not black
    measures = focus.measure(picture)
    assert measures.black_share == 7 / 200
    assert measures.white_share == 5 / 200
    assert sum(measures.histogram) == 200
    assert measures.histogram[128 // 8] == 200 - 7 - 3 - 2 - 5


@given(value=st.integers(0, 255))
def test_an_even_picture_has_its_own_brightness_and_no_focus(value):
    measures = focus.measure(np.full((8, 9, 3), value, np.uint8))
    assert (measures.mean, measures.focus) == (value, 0)
    assert measures.histogram[value // 8] == 72
    assert focus.brightness_below(measures.histogram, 0.5) == value // 8 * 8 + 7


def test_the_region_alone_is_measured():
    picture = np.zeros((40, 60, 3), np.uint8)
    picture[10:20, 30:50] = 200
    assert focus.measure(focus.cut(picture, (30, 10, 20, 10))).mean == 200
    assert focus.cut(picture, None) is picture


@pytest.mark.parametrize("region", [(-1, 0, 5, 5), (0, 0, 61, 5), (58, 0, 5, 5), (0, 0, 2, 5)])
def test_a_region_that_is_not_inside_is_refused(region):
    with pytest.raises(ValueError, match="is not a region of at least 3 x 3 px inside 60 x 40 px"):
        focus.cut(np.zeros((40, 60, 3), np.uint8), region)


def hints(picture: np.ndarray, best: float = 0.0) -> str:
    return "\n".join(focus.hints(focus.measure(picture), best))


def test_a_good_picture_needs_no_hint():
    picture = scene()
    assert hints(picture, best=focus.measure(picture).focus) == ""


def test_hints_name_what_is_wrong():
    picture = scene()
    assert "too dark: its brightest parts reach 71 of 255" in hints((picture * 0.4).astype(np.uint8))
    assert "too bright" in hints(np.minimum(picture.astype(int) * 3, 255).astype(np.uint8))
    assert "pixels are black" in hints(np.maximum(picture.astype(int) - 120, 0).astype(np.uint8))
    assert "lens cap" in hints(np.full((20, 20, 3), 130, np.uint8))
    assert "of the best seen" in hints(cv2.GaussianBlur(picture, (0, 0), 2), best=focus.measure(picture).focus)
