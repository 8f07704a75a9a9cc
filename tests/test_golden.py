"""One golden picture, or a few: what is found and what is let pass, in a colour print and on line art."""

import cv2
import numpy as np
import pytest

from edge import template
from edge.check_recipes import TemplateCheck
from edge.elastic import REACH_PX, Elastic

CHECK = TemplateCheck()
HEIGHT, WIDTH = 200, 320
PAPER, INK, LOGO = (200, 225, 235), (60, 40, 30), (40, 60, 190)


def draw() -> np.ndarray:
    """A label: text, a logo of two colours, lines of one and two pixels, a patch of plain colour."""
    print_ = np.full((HEIGHT, WIDTH, 3), PAPER, np.uint8)
    cv2.putText(print_, "Goldline 2.4", (20, 50), cv2.FONT_HERSHEY_SIMPLEX, 1.2, INK, 2, cv2.LINE_AA)
    cv2.putText(print_, "LOT 0815", (20, 180), cv2.FONT_HERSHEY_PLAIN, 1.5, INK, 1, cv2.LINE_AA)
    cv2.circle(print_, (270, 120), 30, LOGO, -1, cv2.LINE_AA)
    cv2.rectangle(print_, (30, 80), (110, 140), (150, 120, 60), -1)
    cv2.line(print_, (130, 80), (210, 80), INK, 1, cv2.LINE_AA)
    cv2.line(print_, (130, 100), (210, 140), INK, 2, cv2.LINE_AA)
    return print_


def seen(
    print_: np.ndarray, seed: int, *, shift: float = 0.0, angle_deg: float = 0.0, brightness: float = 1.0
) -> np.ndarray:
    """A live picture of the print, after registration: what is left of shift and turn, with the camera's noise."""
    matrix = cv2.getRotationMatrix2D((WIDTH / 2, HEIGHT / 2), angle_deg, 1.0)
    matrix[:, 2] += shift
    live = cv2.warpAffine(print_, matrix, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REPLICATE).astype(np.float32)
    noise = np.random.default_rng(seed).normal(0, 2, live.shape)
    return np.clip(live * brightness + noise + 0.5, 0, 255).astype(np.uint8)


PRINT = draw()
MODEL = template.learn(PRINT[None], CHECK)
VARIATIONS = [
    {"shift": 0.4},
    {"shift": -1.5, "angle_deg": 0.15},
    {"angle_deg": -0.4},
    {"brightness": 1.02, "shift": 0.7},
    {"brightness": 0.97, "shift": -0.5},
]


def score(image: np.ndarray) -> float:
    return template.score(template.deviation(MODEL, image))


@pytest.mark.parametrize("variation", VARIATIONS)
def test_good_prints_lie_within_the_limits_of_the_one(variation: dict[str, float]):
    for seed in range(3):
        assert score(seen(PRINT, seed, **variation)) < 1


@pytest.mark.parametrize("variation", VARIATIONS)
@pytest.mark.parametrize("channel", [0, 1, 2])
@pytest.mark.parametrize("place", [(20, 280), (110, 70), (120, 270), (40, 155)])
def test_a_mark_in_a_single_channel_is_found(place: tuple[int, int], channel: int, variation: dict[str, float]):
    spoiled, (y, x) = PRINT.copy(), place
    patch = spoiled[y : y + 7, x : x + 7, channel]
    patch[:] = np.where(patch.astype(int) > 127, patch - 60, patch + np.uint8(60))
    assert score(seen(spoiled, 0, **variation)) > 1


@pytest.mark.parametrize("variation", VARIATIONS)
def test_a_missing_line_is_found_however_thin(variation: dict[str, float]):
    spoiled = PRINT.copy()
    spoiled[77:84, 150:190] = PAPER
    assert score(seen(spoiled, 0, **variation)) > 1


@pytest.mark.parametrize("by", [90, -90])
@pytest.mark.parametrize("angle", [0, 13, 45, 77, 90, 153])
def test_a_scratch_one_pixel_thin_is_found_on_plain_ground(angle: float, by: int):
    model = template.learn(np.full((1, 96, 96, 3), 120, np.uint8), CHECK)
    drawn = np.zeros((96, 96), np.uint8)
    reach = 15 * np.array([np.cos(np.radians(angle)), np.sin(np.radians(angle))])
    first, last = (tuple(int(value) for value in (48, 48) + side * reach) for side in (-1, 1))
    cv2.line(drawn, first, last, 1, 1, cv2.LINE_8)
    image = np.where(drawn[..., None] == 1, np.uint8(120 + by), np.uint8(120)).repeat(3, axis=2)
    assert template.score(template.deviation(model, image)) > 1


def test_a_pinhole_is_found():
    spoiled = PRINT.copy()
    spoiled[109:112, 69:72] = PAPER
    assert score(seen(spoiled, 0, shift=0.4)) > 1


def test_a_digit_too_many_is_found():
    spoiled = PRINT.copy()
    cv2.putText(spoiled, "1", (145, 180), cv2.FONT_HERSHEY_PLAIN, 1.5, INK, 1, cv2.LINE_AA)
    assert score(seen(spoiled, 0, shift=-0.6, angle_deg=0.1)) > 1


def test_edges_within_reach_are_let_pass_and_beyond_it_not():
    def bar(width: int) -> np.ndarray:
        image = np.full((120, 120, 3), 40, np.uint8)
        image[20:100, 60 - width : 60 + width] = 210
        return image

    model = template.learn(bar(20)[None], CHECK)
    scores = [template.score(template.deviation(model, bar(20 + wider))) for wider in (1, 2, 6)]
    assert scores[0] < 1 and scores[1] < 1 < scores[2]


def test_the_place_of_a_deviation_covers_it():
    spoiled = PRINT.copy()
    spoiled[15:27, 260:280] = INK
    rows, columns = np.nonzero(template.deviation(MODEL, seen(spoiled, 0, shift=0.3)) > 1)
    for found, true in zip((rows.min(), columns.min(), -rows.max(), -columns.max()), (15, 260, -26, -279), strict=True):
        assert true - 6 <= found <= true + 1


def test_what_either_of_two_good_prints_shows_is_good():
    other = PRINT.copy()
    other[60:70, 230:250] = INK
    live = seen(other, 0, shift=0.5)
    both = template.learn(np.stack([PRINT, other]), CHECK)
    assert score(live) > 1 > template.score(template.deviation(both, live))


def test_few_goods_show_no_limit_near_their_tolerance():
    stack = np.stack([seen(PRINT, seed, shift=seed / 10) for seed in range(4)])
    assert template.leave_one_out_scores(stack, CHECK).tolist() == [1.5] * 4
    assert template.leave_one_out_scores(stack[:1], CHECK).tolist() == [1.5]
    stack[2, 60:70, 230:250] = INK
    assert template.leave_one_out_scores(stack, CHECK).argmax() == 2


def test_a_region_is_laid_over_the_golden_picture_within_reach():
    moved = seen(PRINT, 0, shift=2.0, angle_deg=0.3)
    before, after = (
        np.abs(image.astype(int) - PRINT)[8:-8, 8:-8].mean() for image in (moved, Elastic(PRINT).laid(moved))
    )
    assert after < before / 2
    far = np.roll(PRINT, round(3 * REACH_PX), axis=1)
    assert score(far) > 1, "so far off is not where it belongs"


@pytest.mark.parametrize("size", [(16, 16), (33, 61), (8, 200)])
def test_any_size_of_region_can_be_judged(size: tuple[int, int]):
    image = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8)
    found = template.deviation(template.learn(image[None], CHECK), image)
    assert found.shape == size and found.dtype == np.float32 and not found.any()


@pytest.mark.parametrize("count", [1, 10])
def test_a_widened_model_lets_pass_what_it_was_shown(count: int):
    model = template.learn(np.stack([seen(PRINT, seed) for seed in range(count)]), CHECK)
    other = PRINT.copy()
    other[60:70, 230:250] = INK
    wider = template.widen(model, seen(other, 20)[None])
    live = seen(other, 21)
    assert template.score(template.deviation(model, live)) > 2
    assert template.score(template.deviation(wider, live)) < 1.3


def test_lines_as_dark_as_their_ground_are_laid_over_by_their_colour():
    print_ = np.full((HEIGHT, WIDTH, 3), (60, 140, 60), np.uint8)
    for x in range(40, WIDTH - 40, 40):
        cv2.line(print_, (x, 20), (x + 15, HEIGHT - 20), (63, 60, 214), 5, cv2.LINE_AA)
    model, live = template.learn(print_[None], CHECK), seen(print_, 0, shift=3.6)
    assert template.score(template.deviation(model, live)) < 1
    live[90:98, 60:68] = (63, 60, 214)
    assert template.score(template.deviation(model, live)) > 1


@pytest.mark.parametrize("radius", [15, 20, 25])
def test_a_pad_that_grew_is_not_laid_away(radius: int):
    def pad(size: int) -> np.ndarray:
        image = np.full((300, 300, 3), 40, np.uint8)
        return np.asarray(cv2.circle(image, (150, 150), size, (210, 210, 210), -1, cv2.LINE_AA), np.uint8)

    model = template.learn(pad(radius)[None], CHECK)
    assert template.score(template.deviation(model, pad(radius + 5))) > 1


def test_a_print_that_is_bent_by_a_lens_is_let_pass():
    print_ = np.full((640, 640, 3), PAPER, np.uint8)
    for place in range(40, 640, 60):
        cv2.line(print_, (place, 0), (place, 639), INK, 6, cv2.LINE_AA)
        cv2.line(print_, (0, place), (639, place), LOGO, 3, cv2.LINE_AA)
    y, x = np.mgrid[:640, :640].astype(np.float32)
    off = (5.5 * np.sin(np.pi * x / 640) * np.sin(np.pi * y / 640)).astype(np.float32)
    bent = np.asarray(cv2.remap(print_, x + off, y - off, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.uint8)
    model = template.learn(print_[None], CHECK)
    assert template.score(template.deviation(model, bent)) < 1
    bent[350:360, 250:260] = INK
    assert template.score(template.deviation(model, bent)) > 1
