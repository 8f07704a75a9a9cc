"""The variation model: what it finds, and what it lets pass."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge import template
from edge.check_recipes import TemplateCheck
from edge.images import list_images, read_image
from tests.drawn import Scene
from tests.needs import needs_data

CHECK = TemplateCheck()
SIZE = (128, 128)


def goods(count: int, noise: float = 3.0) -> np.ndarray:
    scene = Scene(1, SIZE)
    return np.stack([scene.view(noise=noise) for _ in range(count)])


STACK = goods(31)
GOODS, LIVE = STACK[:30], STACK[30]
MODEL = template.learn(GOODS, CHECK)
GOOD_SCORE = template.score(template.deviation(MODEL, LIVE))


def score(image: np.ndarray) -> float:
    return template.score(template.deviation(MODEL, image))


def brightened(image: np.ndarray, by: int) -> np.ndarray:
    return np.clip(image.astype(int) + by, 0, 255).astype(np.uint8)


def flat_model(level: int = 100, count: int = 8) -> template.VariationModel:
    return template.learn(np.full((count, 32, 32, 3), level, np.uint8), CHECK)


def test_a_good_part_lies_within_its_limits():
    assert GOOD_SCORE < 1


def test_a_tolerance_off_is_one():
    model = flat_model()
    for level, expected in ((100, 0.0), (112, 1.0), (88, 1.0), (106, 0.5), (124, 2.0)):
        found = template.deviation(model, np.full((32, 32, 3), level, np.uint8))
        assert found.shape == (32, 32) and found.dtype == np.float32
        assert np.allclose(found, expected) and template.score(found) == pytest.approx(expected)


@pytest.mark.parametrize("by", [60, -60])
@pytest.mark.parametrize("angle", [0, 13, 26.57, 37, 45, 63.43, 77, 90, 120, 153.43])
def test_a_line_one_pixel_thin_is_found_at_any_angle(angle: float, by: int):
    drawn = np.zeros(SIZE, np.uint8)
    reach = 20 * np.array([np.cos(np.radians(angle)), np.sin(np.radians(angle))])
    first, last = (tuple(int(value) for value in (64, 64) + side * reach) for side in (-1, 1))
    cv2.line(drawn, first, last, 1, 1, cv2.LINE_8)
    image = np.where(drawn[..., None] == 1, brightened(LIVE, by), LIVE)
    assert score(image) > 1.5 > GOOD_SCORE


@pytest.mark.parametrize("by", [50, -50])
@pytest.mark.parametrize("place", [(0, 0), (40, 90), (125, 125), (0, 60)])
def test_a_mark_of_3_by_3_is_found_even_in_a_corner(place: tuple[int, int], by: int):
    image = np.full((128, 128, 3), 120, np.uint8)
    model = template.learn(np.stack([image] * 8), CHECK)
    y, x = place
    image[y : y + 3, x : x + 3] = 120 + by
    assert template.score(template.deviation(model, image)) > 2


@pytest.mark.parametrize("channel", [0, 1, 2])
def test_one_channel_is_enough(channel: int):
    image = LIVE.copy()
    image[60:66, 60:66, channel] = brightened(image, -60)[60:66, 60:66, channel]
    assert score(image) > 2


def test_isolated_noise_is_let_pass():
    image = LIVE.copy()
    image[4::9, 4::9] = 255
    image[8::9, 8::9] = 0
    assert score(image) == pytest.approx(GOOD_SCORE, abs=0.3)


def test_the_place_of_a_mark_is_in_the_map():
    image = LIVE.copy()
    image[80:86, 30:38] = brightened(image, 70)[80:86, 30:38]
    rows, columns = np.nonzero(template.deviation(MODEL, image) > 1)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (80, 85, 30, 37)


def test_bright_and_dark_have_limits_of_their_own():
    stack = np.full((40, 32, 32, 3), 100, np.uint8)
    stack[::4] = 150  # some good parts are brighter, none is darker
    model = template.learn(stack, CHECK)
    assert model.parts.bright.min() > 50 and np.allclose(model.parts.dark, CHECK.absolute)


def test_each_tolerance_can_be_the_largest():
    flat = np.full((8, 32, 32, 3), 100, np.uint8)
    assert np.allclose(template.learn(flat, TemplateCheck(absolute=20)).parts.bright, 20)
    edge = flat.copy()
    edge[:, :, 16:] = 180
    model = template.learn(edge, CHECK).parts
    assert np.allclose(model.bright[:, 15], 40) and np.allclose(model.dark[:, 16], 40)
    assert np.allclose(model.dark[:, 15], CHECK.absolute) and np.allclose(model.bright[:, 3], CHECK.absolute)
    random = np.random.default_rng(0)
    noisy = np.clip(random.normal(100, 8, (200, 32, 32, 3)) + 0.5, 0, 255).astype(np.uint8)
    spread = template.learn(noisy, TemplateCheck(edge=0)).parts.bright / CHECK.sigmas
    assert spread.mean() == pytest.approx(8, rel=0.05)


def test_an_edge_half_a_pixel_off_is_within_the_limits_and_three_pixels_are_not():
    step = np.full((32, 96, 3), 60, np.uint8)
    step[:, 48:] = 200
    soft = cv2.GaussianBlur(step, (0, 0), 1)
    model = template.learn(np.stack([soft] * 8), CHECK)

    def shifted(by: float) -> np.ndarray:
        return cv2.warpAffine(soft, np.array([[1.0, 0, by], [0, 1, 0]]), (96, 32), borderMode=cv2.BORDER_REPLICATE)

    assert template.score(template.deviation(model, shifted(0.5))) <= 1.1
    assert template.score(template.deviation(model, shifted(3))) > 2


def test_a_bad_image_among_the_good_moves_little():
    spoiled = GOODS.copy()
    spoiled[7, 40:80, 40:80] = 255
    model = template.learn(spoiled, CHECK)
    assert template.score(template.deviation(model, spoiled[7])) > 1.5
    assert np.abs(model.parts.centre.astype(int) - MODEL.parts.centre).max() <= 4


@given(st.integers(8, 17), st.integers(0, 2**31))
def test_the_centre_is_the_median(count: int, seed: int):
    stack = np.random.default_rng(seed).integers(0, 256, (count, 3, 4, 3), dtype=np.uint8)
    assert np.array_equal(template.learn(stack, CHECK).parts.centre, np.sort(stack, axis=0)[count // 2])


@given(st.integers(0, 2**31), st.integers(1, 120))
def test_more_of_a_deviation_never_scores_less(seed: int, by: int):
    random = np.random.default_rng(seed)
    y, x = (int(value) for value in random.integers(0, 120, 2))
    base = np.minimum(np.maximum(LIVE, MODEL.parts.centre), 130)
    model = template.learn(np.stack([base] * 8), CHECK)
    less, more = base.copy(), base.copy()
    less[y : y + 5, x : x + 5] += np.uint8(by)
    more[y : y + 5, x : x + 5] += np.uint8(by + 4)
    assert template.score(template.deviation(model, more)) >= template.score(template.deviation(model, less))


def test_no_image_votes_for_itself():
    alone = template.leave_one_out_scores(GOODS, CHECK, [f"lot {index}" for index in range(30)])
    assert alone.shape == (30,) and alone.dtype == np.float32
    for index in (0, 11, 29):
        model = template.learn(np.delete(GOODS, index, axis=0), CHECK)
        assert alone[index] == pytest.approx(template.score(template.deviation(model, GOODS[index])))


def test_no_lot_votes_for_itself():
    stack = GOODS[:16].copy()
    stack[:8, 40:60, 40:60] = 200
    together = template.leave_one_out_scores(stack, CHECK, ["first"] * 8 + ["second"] * 8)
    assert together.min() > 2 > template.leave_one_out_scores(stack, CHECK).max()


def test_leave_one_out_shows_the_bad_image_among_the_good():
    stack = GOODS.copy()
    stack[11, 30:50, 30:50] = 255
    scores = template.leave_one_out_scores(stack, CHECK)
    assert scores.argmax() == 11 and scores[11] > 2 * np.delete(scores, 11).max()


def test_a_new_good_part_scores_as_the_good_ones_did_without_themselves():
    scores = template.leave_one_out_scores(GOODS, CHECK)
    assert scores.min() * 0.7 < GOOD_SCORE < scores.max() * 1.3


@pytest.mark.parametrize("count", [4, 12])
def test_nothing_is_written_to(count: int):
    stack, live = GOODS[:count].copy(), LIVE.copy()
    model = template.learn(stack, CHECK)
    before = {name: values.copy() for name, values in model.to_arrays().items()}
    template.deviation(model, live)
    assert np.array_equal(stack, GOODS[:count]) and np.array_equal(live, LIVE)
    assert all(np.array_equal(values, before[name]) for name, values in model.to_arrays().items())


@pytest.mark.parametrize("count", [1, 4, 12])
def test_a_model_comes_back_from_its_arrays(count: int):
    model = template.learn(GOODS[:count], CHECK)
    again = template.VariationModel.from_arrays(model.to_arrays())
    assert np.array_equal(template.deviation(model, LIVE), template.deviation(again, LIVE))


@pytest.mark.parametrize("count", [1, 12])
def test_what_the_camera_did_not_see_is_not_judged(count: int):
    model, seen = template.learn(GOODS[:count], CHECK), np.ones(SIZE, np.uint8)
    image = LIVE.copy()
    image[:, 100:], seen[:, 100:] = 255, 0
    assert template.score(template.deviation(model, image)) > 2
    assert template.score(template.deviation(model, image, seen)) <= 1.1


def test_defects_of_a_real_board_lie_outside_the_limits_of_its_template():
    templates = [path for path in list_images(needs_data("deeppcb")) if path.name.endswith("_temp.jpg")]
    found = total = 0
    for path in templates[::6]:
        model = template.learn(read_image(path)[None], CHECK)
        test = read_image(path.with_name(path.name.replace("_temp", "_test")))
        outside = template.deviation(model, test) > 1
        for line in path.with_name(path.name.replace("_temp.jpg", ".txt")).read_text().splitlines():
            left, top, right, bottom = (int(value) for value in line.split()[:4])
            found, total = found + bool(outside[top:bottom, left:right].any()), total + 1
    assert total > 80 and found / total > 0.95
