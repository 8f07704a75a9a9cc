"""Finding an object against drawn truth: where the triangle was put is compared with where it is found."""

import io

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edge.cameras import trunk
from edge.check_recipes import PositionCheck
from edge.checks import locate
from edge.checks.locate import Reach, Sought
from edge.checks.place import layout
from edge.checks.sweep import Sweep
from edge.errors import GoldlineError
from edge.geometry import warp
from edge.recipe import RegionRecipe
from edge.records import Pose
from tests import trunks

AT = layout(RegionRecipe(name="triangle", position=PositionCheck()), trunks.TRIANGLE, trunks.SIZE)


def cut(picture):
    return warp(picture, AT.box, Pose(), trunks.SIZE, AT.size)


@pytest.fixture(scope="module")
def sought() -> Sought:
    return locate.learn(cut(trunks.photograph(trunks.floor())), AT.region_in_cut, AT.reach)


def error_of(sought: Sought, picture, dx, dy, turn_deg):
    """Of the shift, px of the camera's picture; of the turn, degrees; and the similarity."""
    found, truth = locate.find(sought, cut(picture)), trunks.offset_of(dx, dy, turn_deg)
    across, down = found.dx_px * AT.scale - truth.dx_px, found.dy_px * AT.scale - truth.dy_px
    return float(np.hypot(across, down)), abs(found.angle_deg - turn_deg), found.similarity


@settings(max_examples=25)
@given(dx=st.floats(-30, 30), dy=st.floats(-30, 30), turn_deg=st.floats(-12, 12), seed=st.integers(0, 1000))
@example(dx=0.5, dy=0.0, turn_deg=0.0, seed=1)
@example(dx=0.0, dy=0.0, turn_deg=12.0, seed=1)
def test_the_offset_found_is_the_offset_drawn(sought: Sought, dx: float, dy: float, turn_deg: float, seed: int):
    shift, turn, similarity = error_of(
        sought, trunks.photograph(trunks.floor(dx, dy, turn_deg), seed), dx, dy, turn_deg
    )
    assert shift < 0.3 and turn < 0.1 and similarity > 0.9


def test_shifts_are_right_to_a_tenth_of_a_pixel_on_the_whole(sought: Sought):
    random, errors = np.random.default_rng(2), []
    for seed in range(20):
        dx, dy, turn_deg = (float(value) for value in random.uniform(-1, 1, 3) * (25, 25, 10))
        errors.append(error_of(sought, trunks.photograph(trunks.floor(dx, dy, turn_deg), seed), dx, dy, turn_deg))
    shifts, turns, _ = np.array(errors).T
    assert np.sqrt(np.mean(shifts**2)) < 0.1 and np.sqrt(np.mean(turns**2)) < 0.05


@pytest.mark.parametrize("kind", ["missing", "wrong_object"])
@pytest.mark.parametrize("seed", range(3))
def test_what_is_not_there_is_not_found(sought: Sought, kind: str, seed: int):
    picture = trunks.photograph(trunk.draw(kind, np.random.default_rng(seed)), seed)
    assert locate.find(sought, cut(picture)).similarity < 0.3


@pytest.mark.parametrize("gain", [0.6, 0.8, 1.25])
def test_brightness_changes_neither_place_nor_likeness(sought: Sought, gain: float):
    lit = np.clip(trunks.floor(12, -7, 5) * gain, 0, 255).astype(np.uint8)
    shift, turn, similarity = error_of(sought, trunks.photograph(lit), 12, -7, 5)
    assert shift < 0.3 and turn < 0.1 and similarity > 0.9


def test_light_from_one_side_changes_neither(sought: Sought):
    slope = np.linspace(0.7, 1.2, trunks.SIZE[0])[None, :, None]
    lit = np.clip(trunks.floor(12, -7, 5) * slope, 0, 255).astype(np.uint8)
    shift, turn, similarity = error_of(sought, trunks.photograph(lit), 12, -7, 5)
    assert shift < 0.3 and turn < 0.1 and similarity > 0.9


@pytest.mark.parametrize(("share", "similarity"), [(0.2, 0.8), (0.35, 0.7), (0.5, 0.55)])
def test_a_covered_object_is_found_and_less_alike(sought: Sought, share: float, similarity: float):
    covered = trunks.floor(12, -7, 5).copy()
    x, y, width, height = trunks.TRIANGLE
    covered[y : y + height, x : x + int(width * share)] = 90
    shift, turn, found = error_of(sought, trunks.photograph(covered), 12, -7, 5)
    assert shift < 0.5 and turn < 0.2
    assert similarity < found < 0.95


def test_foreign_things_beside_it_do_not_matter(sought: Sought):
    crowded = trunks.floor(12, -7, 5).copy()
    cv2.circle(crowded, (560, 230), 50, (240, 240, 240), -1)
    cv2.rectangle(crowded, (880, 150), (950, 330), (20, 200, 20), -1)
    cv2.line(crowded, (490, 560), (970, 590), (0, 0, 0), 15)
    shift, turn, similarity = error_of(sought, trunks.photograph(crowded), 12, -7, 5)
    assert shift < 0.3 and turn < 0.1 and similarity > 0.9


def test_a_ground_that_stays_where_it_is_does_not_hold_the_object():
    """A box of a quarter object and three quarters ground, which has as much contrast as the object."""
    random = np.random.default_rng(4)
    ground = cv2.resize(random.integers(60, 160, (20, 20, 1), np.uint8), (200, 200), interpolation=cv2.INTER_CUBIC)
    ground = cv2.cvtColor(np.asarray(ground, np.uint8), cv2.COLOR_GRAY2BGR)

    def picture(dx: int, dy: int):
        drawn = ground.copy()
        cv2.rectangle(drawn, (80 + dx, 85 + dy), (120 + dx, 115 + dy), (40, 90, 190), -1)
        cv2.circle(drawn, (90 + dx, 95 + dy), 5, (30, 30, 30), -1)
        return cv2.GaussianBlur(drawn, (0, 0), 0.8)

    sought = locate.learn(picture(0, 0), (65.0, 65.0, 70.0, 70.0), Reach(25, 25, 10))
    found = locate.find(sought, picture(17, -11))
    # A degree moves the corner of so small an object by less than half a pixel.
    assert abs(found.dx_px - 17) < 0.1 and abs(found.dy_px + 11) < 0.1 and abs(found.angle_deg) < 1
    assert found.similarity > 0.9


def test_an_object_without_colour_is_found():
    grey = [cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR) for picture in
            (trunks.photograph(trunks.floor(), 1), trunks.photograph(trunks.floor(9, 14, -4), 2))]  # fmt: skip
    sought = locate.learn(cut(np.asarray(grey[0], np.uint8)), AT.region_in_cut, AT.reach)
    shift, turn, _ = error_of(sought, np.asarray(grey[1], np.uint8), 9, 14, -4)
    assert shift < 0.5 and turn < 0.2


def test_an_object_that_cannot_turn_is_not_turned():
    still = locate.learn(cut(trunks.photograph(trunks.floor())), AT.region_in_cut, Reach(28, 28, 0))
    found = locate.find(still, cut(trunks.photograph(trunks.floor(8, 4, 0), 3)))
    assert found.angle_deg == pytest.approx(0, abs=1e-9)
    assert found.dx_px * AT.scale == pytest.approx(8, abs=0.3)


@pytest.mark.parametrize("strange", ["black", "white", "noise"])
def test_a_strange_picture_is_unlike(sought: Sought, strange: str):
    noise = np.random.default_rng(0).integers(0, 256, (AT.size[1], AT.size[0], 3), np.uint8)
    found = locate.find(sought, {"black": noise * 0, "white": noise * 0 + 255, "noise": noise}[strange])
    assert np.isfinite([found.dx_px, found.dy_px, found.angle_deg]).all()
    assert found.similarity < 0.3


def test_a_region_without_a_margin_counts_whole():
    picture = cut(trunks.photograph(trunks.floor()))
    whole = locate.learn(picture, (0.0, 0.0, float(AT.size[0]), float(AT.size[1])), Reach(10, 10, 0))
    assert (whole.weights == 255).all()
    assert locate.find(whole, picture).similarity == pytest.approx(1, abs=0.01)


def test_where_there_is_nothing_to_see_there_is_nothing_to_find():
    with pytest.raises(GoldlineError, match=r"nothing to find: contrast of 0\.0 grey levels"):
        locate.learn(np.full((100, 120, 3), 128, np.uint8), (20.0, 20.0, 80.0, 60.0), Reach(10, 10, 5))


def test_what_good_pictures_disagree_about_counts_less(sought: Sought):
    """The hollow of the triangle is told from it by colour; a label on its lower bar is not."""

    def labelled(index: int):
        picture = trunks.floor(index % 3 - 1).copy()
        colour = [(240, 240, 240), (20, 20, 20), (30, 160, 30), (160, 30, 160)][index % 4]
        cv2.rectangle(picture, (690, 500), (770, 522), colour, -1)
        return cut(trunks.photograph(picture, index))

    agreed = locate.agree(sought, [labelled(index) for index in range(8)])
    left, top = ((at - begin) // AT.scale for at, begin in zip((700, 504), AT.box[:2], strict=True))
    label, twin = (slice(top, top + 7), slice(left, left + 30)), (slice(top, top + 7), slice(left - 50, left - 20))
    assert sought.weights[label].mean() > 200
    assert agreed.weights[label].mean() < 0.6 * agreed.weights[twin].mean()


def test_the_same_pictures_teach_the_same(sought: Sought):
    cv2.setRNGSeed(99)
    again = locate.learn(sought.golden, AT.region_in_cut, AT.reach)
    assert np.array_equal(again.weights, sought.weights)


def test_stored_without_pickle_it_finds_the_same(sought: Sought):
    file = io.BytesIO()
    np.savez(file, **sought.to_arrays())
    file.seek(0)
    with np.load(file, allow_pickle=False) as arrays:
        restored = Sought.from_arrays(dict(arrays))
    picture = cut(trunks.photograph(trunks.floor(5, 5, 2), 1))
    assert locate.find(restored, picture) == locate.find(sought, picture)


@settings(max_examples=40)
@given(seed=st.integers(0, 10_000), dx=st.integers(-5, 5), dy=st.integers(-4, 4), step=st.integers(-2, 2))
def test_a_sweep_finds_every_whole_shift_and_step(seed: int, dx: int, dy: int, step: int):
    random = np.random.default_rng(seed)
    live = np.asarray(cv2.GaussianBlur(random.normal(size=(60, 70)).astype(np.float32), (0, 0), 1.5), np.float32)
    angle = step * 5.0
    middle = (30.0 + dx, 25.0 + dy)
    upright = cv2.getRotationMatrix2D(middle, angle, 1.0)
    upright[:, 2] -= (dx, dy)
    golden = np.asarray(cv2.warpAffine(live, upright, (70, 60)), np.float32)[15:36, 18:43]
    weights = np.asarray(cv2.ellipse(np.zeros((21, 25), np.float32), (12, 10), (11, 9), 0, 0, 360, (1.0,), -1))
    matrix = Sweep(golden, weights, 1, Reach(5, 4, 10)).find(live, (18, 15))
    assert np.degrees(np.arctan2(matrix[1, 0], matrix[0, 0])) == pytest.approx(angle, abs=1e-6)
    assert matrix[:2] @ [12, 10, 1] == pytest.approx(middle, abs=1e-6)
