"""Parts at any angle, against drawn truth: found, laid upright, and everything taken back to where it lies."""

import io
from dataclasses import replace

import cv2
import numpy as np
import pytest

from edge import register, silhouette
from edge.check_recipes import RegistrationRecipe
from edge.errors import GoldlineError
from edge.fit import FitReport, fit
from edge.geometry import Image, decimate, pose_matrix
from edge.register import Registration
from edge.view import View
from tests.drawn_part import Kind, photograph, place

AUTO = RegistrationRecipe()
SIZE = (640, 480)
# The key reaches 180 px from its middle: so far it may be off and still lie in the picture at any angle.
REACH = (100, 40)


def anywhere(count: int, seed: int = 0) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    return [place(*(random.uniform(-1, 1, 2) * REACH), float(random.uniform(0, 360)), SIZE) for _ in range(count)]


def fitted(kind: Kind, **looks) -> tuple[FitReport, list[np.ndarray]]:
    places = anywhere(12)
    return fit([photograph(kind, where, seed=seed, **looks) for seed, where in enumerate(places)], AUTO), places


@pytest.fixture(scope="module")
def key() -> tuple[Registration, np.ndarray]:
    """The registration, and what takes pixels of the part's square to those of the golden picture."""
    report, places = fitted("key")
    return report.registration, to_golden(report, places, "key")


def to_golden(report: FitReport, places: list[np.ndarray], kind: Kind, **looks) -> np.ndarray:
    index = report.golden_index
    image = photograph(kind, places[index], seed=index, **looks)
    pose = register.align(report.registration, image).pose
    return np.linalg.inv(pose_matrix(pose, report.registration.image_size, SIZE)) @ places[index]


def off(registration: Registration, golden: np.ndarray, image: Image, truth: np.ndarray) -> tuple[float, float]:
    """How far a pose is from the truth: px in the middle of the part, degrees."""
    found = register.align(registration, image)
    assert found.accepted, found.problem
    size = (image.shape[1], image.shape[0])
    error = np.linalg.inv(truth) @ pose_matrix(found.pose, registration.image_size, size) @ golden
    middle = error @ [199.5, 199.5, 1.0] - [199.5, 199.5, 1.0]
    return float(np.hypot(*middle[:2])), abs(float(np.degrees(np.arctan2(error[1, 0], error[0, 0]))))


# what a silhouette is


def test_a_silhouette_is_found_whatever_the_background():
    for seed, colour in enumerate([(205.0, 210.0, 215.0), (20.0, 24.0, 30.0), (200.0, 120.0, 60.0)]):
        found = silhouette.find(decimate(photograph("key", place(0, 0, 30, SIZE), seed=seed, colour=colour), 3))
        assert found is not None and not found.touches and found.next_area == 0
        assert found.shape.area == pytest.approx(1718, rel=0.04)
        assert 2.5 < found.shape.length / found.shape.width < 6


def test_holes_do_not_count_and_the_axis_points_to_the_longer_tail():
    mask = np.zeros((100, 200), np.uint8)
    mask[30:70, 20:60], mask[45:55, 60:180] = 1, 1
    shape = silhouette.measure(mask)
    assert shape.angle_deg == pytest.approx(0, abs=0.5) and shape.area == 2800
    assert abs(silhouette.measure(np.ascontiguousarray(mask[:, ::-1])).angle_deg) == pytest.approx(180, abs=0.5)
    picture = np.full((100, 200, 3), 200, np.uint8)
    picture[20:80, 60:120] = 60
    picture[40:60, 80:100] = 200
    found = silhouette.find(picture)
    assert found is not None and found.shape.area == pytest.approx(3600, rel=0.02)


@pytest.mark.parametrize("level", [0, 90, 255])
def test_an_empty_picture_has_none(level: int):
    assert silhouette.find(np.full((160, 213, 3), level, np.uint8)) is None
    noise = np.random.default_rng(0).normal(level, 3, (160, 213, 3)).clip(0, 255).astype(np.uint8)
    assert silhouette.find(noise) is None


def test_something_at_the_border_is_not_the_part():
    image = photograph("key", place(0, 60, 0, SIZE))
    image[:60] = 30
    found = silhouette.find(decimate(image, 3))
    assert found is not None and not found.touches and found.shape.area == pytest.approx(1718, rel=0.06)


def test_the_whole_part_is_in_the_golden_picture(key: tuple[Registration, np.ndarray]):
    registration, _ = key
    assert registration.part is not None
    ys, xs = np.nonzero(registration.part.mask)
    height, width = registration.part.mask.shape
    assert min(xs.min(), ys.min(), width - 1 - xs.max(), height - 1 - ys.max()) >= 3
    assert width > 2 * height and registration.golden.shape == (height, width)


# the pose


def test_a_key_is_found_at_any_angle(key: tuple[Registration, np.ndarray]):
    registration, golden = key
    assert registration.method == "silhouette" and registration.registered
    for seed, truth in enumerate(anywhere(24, seed=5)):
        shift, turn = off(registration, golden, photograph("key", truth, seed=50 + seed), truth)
        assert shift < 0.5 and turn < 0.3, (seed, shift, turn)


@pytest.mark.parametrize("colour", [(205.0, 210.0, 215.0), (200.0, 120.0, 60.0)])
def test_a_round_part_is_turned_by_what_is_on_it(colour: tuple[float, float, float]):
    report, places = fitted("disc", colour=colour)
    assert report.registration.method == "silhouette", report.reasons
    golden = to_golden(report, places, "disc", colour=colour)
    for seed, truth in enumerate(anywhere(24, seed=6)):
        shift, turn = off(report.registration, golden, photograph("disc", truth, seed=seed, colour=colour), truth)
        assert shift < 0.6 and turn < 0.6, (seed, shift, turn)


@pytest.mark.parametrize("fault", ["end missing", "foreign object", "mark"])
def test_a_fault_hardly_moves_the_pose(key: tuple[Registration, np.ndarray], fault: str):
    registration, golden = key
    for seed, truth in enumerate(anywhere(8, seed=7)):
        image = photograph("key", truth, seed=seed, mark=(180, 200, 14) if fault == "mark" else None)
        if fault != "mark":
            x, y, _ = truth @ ([335, 215, 1] if fault == "end missing" else [170, 168, 1])
            level = tuple(float(value) for value in image[:9].mean((0, 1))) if fault == "end missing" else (70.0,) * 3
            cv2.circle(image, (round(x), round(y)), 26, level, -1)
        shift, turn = off(registration, golden, image, truth)
        assert shift < 1.5 and turn < 0.6, (seed, shift, turn)


def test_frames_of_other_sizes_are_taken_at_their_own_scale(key: tuple[Registration, np.ndarray]):
    registration, golden = key
    size = (500, 560)
    truth = place(20, -30, 77, size)
    shift, turn = off(registration, golden, photograph("key", truth, size), truth)
    assert shift < 0.5 and turn < 0.3
    view = View(registration, any_size=True, normalised=False)
    image = photograph("key", truth, size)
    assert view.refusal(image) is None and view.align(image).accepted
    assert "500 x 560" in str(View(registration, any_size=False, normalised=False).refusal(image))


# what cannot be laid


def problem(registration: Registration, image: Image) -> str | None:
    found = register.align(registration, image)
    assert found.accepted == (found.problem is None)
    return found.problem


def test_what_cannot_be_laid_is_refused_with_the_reason(key: tuple[Registration, np.ndarray]):
    registration, _ = key
    empty = np.full((480, 640, 3), 200, np.uint8)
    assert problem(registration, empty) == "no part in the picture"
    assert "cut off" in str(problem(registration, photograph("key", place(250, 0, 10, SIZE))))
    first = photograph("key", place(0, -120, 3, SIZE))
    second = photograph("key", place(0, 120, 170, SIZE), under=first)
    assert "more than one" in str(problem(registration, second))


def test_a_part_with_a_third_missing_is_laid_for_the_checks_to_see(key: tuple[Registration, np.ndarray]):
    registration, _ = key
    image = photograph("key", place(0, 0, 0, SIZE))
    image[:, 380:] = image[:, 380:500].min(axis=1, keepdims=True).max()
    assert problem(registration, image) is None


# back to the frame


@pytest.mark.parametrize("angle", [0, 33, 90, 145, 180, 251, 303])
def test_a_mark_is_cut_and_shown_where_it_is(key: tuple[Registration, np.ndarray], angle: float):
    registration, _ = key
    view = View(registration, any_size=False, normalised=False)
    truth = place(25, -12, angle, SIZE)
    plain, marked = photograph("key", truth), photograph("key", truth, mark=(280, 200, 9))
    x, y, _ = truth @ [280, 200, 1]
    alignment = view.align(marked)
    region, size = (0, 0, *view.size), (288, 96)
    cuts = [view.cut(image, alignment, region, size).astype(int) for image in (plain, marked)]
    differs = np.abs(cuts[0] - cuts[1]).max(axis=2) > 40
    rows, columns = np.nonzero(differs)
    box = (int(columns.min()), int(rows.min()), int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1)
    left, top, width, height = view.to_frame(box, region, size, alignment.pose, SIZE)
    assert abs(left + width / 2 - x) < 4 and abs(top + height / 2 - y) < 4
    assert min(width, height) > 14 and max(width, height) < 40
    shown = view.to_frame_map(differs.astype(np.float32), region, alignment.pose, SIZE)
    ys, xs = np.nonzero(shown > 0.5)
    assert shown.shape == (480, 640) and np.hypot(xs.mean() - x, ys.mean() - y) < 2
    assert view.hidden(region, alignment.pose) is None


def test_regions_lie_over_each_other_at_any_angle(key: tuple[Registration, np.ndarray]):
    registration, _ = key
    view = View(registration, any_size=False, normalised=False)
    cuts = []
    for truth in anywhere(10, seed=9):
        image = photograph("key", truth)
        cuts.append(view.cut(image, view.align(image), (0, 0, *view.size), (288, 96)).astype(float))
    assert np.std(cuts, axis=0).mean() < 6


# how it is chosen


def test_silhouettes_are_chosen_by_themselves_and_the_reason_is_given():
    report, _ = fitted("key")
    assert report.registered and report.registration.method == "silhouette"
    assert report.reasons[0].startswith("silhouette: ") and "without" in report.reasons[0]
    assert np.median(report.similarities) > 0.8 and len(report.similarities) == 12


def test_parts_that_lie_still_need_no_silhouette():
    images = [photograph("key", place(0, 0, 20, SIZE), seed=seed) for seed in range(6)]
    assert fit(images, AUTO).registration.method in ("none", "shift", "rigid")


def test_a_fixture_that_lies_still_does_not_hide_a_part_that_does_not():
    fixture = photograph("key", place(0, 0, 0, SIZE))
    fixture[:] = 205
    for x in range(20, 640, 24):
        cv2.line(fixture, (x, 0), (x, 24), (120, 120, 120), 2)
        cv2.line(fixture, (x, 456), (x, 479), (120, 120, 120), 2)
    images = [photograph("key", where, seed=seed, under=fixture) for seed, where in enumerate(anywhere(10))]
    assert fit(images, AUTO).registration.method == "silhouette"


def test_goods_with_no_silhouette_in_common_stay_in_free_pose():
    random = np.random.default_rng(0)
    texture = [random.integers(0, 255, (480, 640, 3), dtype=np.uint8) for _ in range(4)]
    report = fit(texture, AUTO)
    assert not report.registered and "silhouettes do not help" in report.reasons[0]
    with pytest.raises(GoldlineError, match="one whole part"):
        fit(texture, RegistrationRecipe(method="silhouette"))


def test_the_recipe_may_ask_for_silhouettes_even_for_one_image():
    report = fit([photograph("key", place(0, 0, 200, SIZE))], RegistrationRecipe(method="silhouette"))
    assert report.registration.method == "silhouette" and report.golden_index == 0 and "recipe" in report.reasons[0]


def test_it_is_stored_without_pickling(key: tuple[Registration, np.ndarray]):
    registration, _ = key
    file = io.BytesIO()
    np.savez(file, **registration.to_arrays())
    file.seek(0)
    loaded = Registration.from_arrays(np.load(file, allow_pickle=False))
    assert loaded.part is not None and registration.part is not None
    assert np.array_equal(loaded.part.mask, registration.part.mask)
    assert replace(loaded, golden=registration.golden, part=registration.part) == registration
    assert loaded.frame_size == SIZE and loaded.scale == pytest.approx(1 / 3)
    image = photograph("key", place(0, 0, 100, SIZE))
    assert register.align(loaded, image) == register.align(registration, image)
