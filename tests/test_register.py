"""Registration against drawn truth: the pose is known, so it is compared with what is found."""

import io
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge import geometry, register
from edge.errors import GoldlineError
from edge.fit import fit
from edge.images import list_images, read_image
from edge.recipe import RegistrationRecipe
from edge.records import Pose
from edge.register import Method, Registration, align
from tests.drawn import Scene
from tests.needs import needs_data

AUTO = RegistrationRecipe()
# What a pose may be off on a textured scene.
SHIFT_PX, ANGLE_DEG = 0.3, 0.1


def registered(scene: Scene, method: Method = "rigid", min_similarity: float = 0.4) -> Registration:
    golden = register.working_grey(scene.view(), scene.size)
    return Registration(method, True, golden, scene.size, AUTO.max_shift, AUTO.max_angle_deg, min_similarity)


def assert_found(pose: Pose, truth: Pose) -> None:
    errors = abs(pose.dx_px - truth.dx_px), abs(pose.dy_px - truth.dy_px), abs(pose.angle_deg - truth.angle_deg)
    assert max(errors[:2]) < SHIFT_PX and errors[2] < ANGLE_DEG, f"{pose} is not {truth}"


def with_object_removed(image: np.ndarray, share: float = 0.15) -> np.ndarray:
    """The middle of the picture gone, down to bare grey: `share` of its area."""
    height, width = image.shape[:2]
    half_height, half_width = (int(side * share**0.5 / 2) for side in (height, width))
    removed = image.copy()
    removed[
        height // 2 - half_height : height // 2 + half_height, width // 2 - half_width : width // 2 + half_width
    ] = 90
    return removed


# poses


def test_a_turn_is_clockwise_as_seen_and_about_the_centre():
    matrix = geometry.pose_matrix(Pose(angle_deg=90), (101, 81))
    assert np.allclose(matrix @ [50, 40, 1], [50, 40, 1])
    assert np.allclose(matrix @ [60, 40, 1], [50, 50, 1])  # what was right of the centre is now below it


@given(st.floats(-200, 200), st.floats(-200, 200), st.floats(-170, 170))
def test_a_pose_comes_back_from_its_matrix(dx: float, dy: float, angle: float):
    pose = Pose(dx_px=dx, dy_px=dy, angle_deg=angle)
    found = geometry.matrix_pose(geometry.pose_matrix(pose, (640, 480)), (640, 480))
    assert np.allclose([found.dx_px, found.dy_px, found.angle_deg], [dx, dy, angle], atol=1e-9)


@pytest.mark.parametrize("size", [(640, 480), (1280, 960), (1000, 333)])
@pytest.mark.parametrize("seed", range(4))
def test_a_drawn_pose_is_found(size: tuple[int, int], seed: int):
    random, scene = np.random.default_rng(seed), Scene(seed, size)
    registration = registered(scene)
    for _ in range(2):
        shift = random.uniform(-0.1, 0.1, 2) * size
        truth = Pose(dx_px=shift[0], dy_px=shift[1], angle_deg=random.uniform(-10, 10))
        found = align(registration, scene.view(truth, brightness=random.uniform(0.85, 1.15)))
        assert found.accepted and found.similarity > 0.9
        assert_found(found.pose, truth)


@pytest.mark.parametrize("share", [0.15, 0.25])
@pytest.mark.parametrize("seed", range(3))
def test_a_removed_object_does_not_move_the_pose(share: float, seed: int):
    scene, truth = Scene(seed), Pose(dx_px=23.4, dy_px=-17.8, angle_deg=3.3)
    found = align(registered(scene), with_object_removed(scene.view(truth), share))
    assert found.accepted
    assert_found(found.pose, truth)


def test_a_foreign_object_does_not_move_the_pose():
    scene, truth = Scene(1), Pose(dx_px=-12.3, dy_px=8.7, angle_deg=-2.1)
    image = scene.view(truth)
    image[150:330, 200:450] = Scene(99).view()[150:330, 200:450]
    found = align(registered(scene), image)
    assert found.accepted
    assert_found(found.pose, truth)


def test_a_shift_is_found_by_the_cheaper_method_too():
    scene, truth = Scene(2), Pose(dx_px=31.6, dy_px=-22.3)
    found = align(registered(scene, "shift"), with_object_removed(scene.view(truth)))
    assert_found(found.pose, truth)
    assert found.pose.angle_deg == 0


def test_a_part_that_lies_as_the_golden_one_stays_there():
    scene = Scene(3)
    assert_found(align(registered(scene), scene.view(noise=8)).pose, Pose())


def test_without_a_method_nothing_moves():
    scene = Scene(4)
    found = align(registered(scene, "none"), scene.view(Pose(dx_px=3)))
    assert found.pose == Pose() and found.accepted


# what is not judged


@pytest.mark.parametrize(
    ("truth", "why"),
    [(Pose(dx_px=60), "px off"), (Pose(dy_px=-50), "px off"), (Pose(angle_deg=5), "turned by")],
    ids=["too far right", "too far up", "turned too far"],
)
def test_a_part_beyond_the_range_is_refused_with_the_reason(truth: Pose, why: str):
    scene = Scene(5)
    narrow = replace(registered(scene), max_shift=0.08, max_angle_deg=4.0)
    found = align(narrow, scene.view(truth))
    assert not found.accepted and found.problem is not None and why in found.problem


def test_another_thing_altogether_is_refused():
    found = align(registered(Scene(6)), Scene(7).view())
    assert not found.accepted and "unlike" in str(found.problem)


@pytest.mark.parametrize("method", ["none", "shift", "rigid"])
@pytest.mark.parametrize("level", [0, 90, 255])
def test_a_blank_picture_is_refused_and_never_an_error(method: Method, level: int):
    scene = Scene(6)
    found = align(registered(scene, method), np.full((480, 640, 3), level, np.uint8))
    assert found.pose == Pose() and not found.accepted


@pytest.mark.parametrize("method", ["none", "shift", "rigid"])
def test_a_blank_golden_picture_is_never_an_error(method: Method):
    registration = registered(Scene(6), method, min_similarity=-1.0)
    blank = replace(registration, golden=np.full_like(registration.golden, 90))
    assert align(blank, Scene(6).view()).pose == Pose()


def test_the_similarity_is_never_below_that_of_the_image_as_it_lies():
    golden = Scene(8)
    for seed in range(6):
        image = Scene(seed + 20).view()
        unmoved = align(registered(golden, "none", -1.0), image).similarity
        assert align(registered(golden, "rigid", -1.0), image).similarity >= unmoved


def test_neither_the_image_nor_the_golden_picture_is_written_to():
    scene = Scene(9, (256, 256))  # no scaling, and a size that transforms work on in place
    registration, image = registered(scene), scene.view(Pose(dx_px=5))
    before = image.copy(), registration.golden.copy()
    first = align(registration, image)
    assert np.array_equal(image, before[0]) and np.array_equal(registration.golden, before[1])
    assert align(registration, image) == first


# brightness


@pytest.mark.parametrize("brightness", [0.8, 1.0, 1.2])
def test_a_region_is_brought_to_the_golden_brightness(brightness: float):
    scene = Scene(10)
    image = with_object_removed(scene.view(Pose(dx_px=9, dy_px=4), brightness=brightness))
    found = align(registered(scene), image)
    assert found.gain == pytest.approx(1 / brightness, rel=0.02)
    assert register.normalise(image, found.gain)[:60].mean() == pytest.approx(image[:60].mean() / brightness, rel=0.03)


def test_lighting_that_fails_is_not_made_up_for():
    scene = Scene(10)
    assert align(registered(scene), scene.view(brightness=0.4)).gain == pytest.approx(1.4)


# regions


@pytest.mark.parametrize("size", [(200, 160), (100, 80), (64, 64), (33, 21)])
@pytest.mark.parametrize("truth", [Pose(), Pose(dx_px=13.5, dy_px=-8.25), Pose(dx_px=-6, dy_px=9, angle_deg=7)])
def test_a_region_follows_the_part(size: tuple[int, int], truth: Pose):
    scene, box = Scene(11), (180, 140, 200, 160)
    golden = geometry.warp(scene.view(noise=0), box, Pose(), scene.size, size)
    live = geometry.warp(scene.view(truth, noise=0), box, truth, scene.size, size)
    assert live.shape == (size[1], size[0], 3)
    # What is left is interpolation. A slip of half a pixel, the usual mistake between scales, costs several times it.
    assert np.abs(live[2:-2, 2:-2].astype(int) - golden[2:-2, 2:-2]).mean() < 1.5


def test_scaling_moves_nothing():
    ramp = np.repeat(2 * np.arange(120, dtype=np.uint8)[None, :, None], 120, axis=0).repeat(3, axis=2)
    for box, size in (((0, 0, 120, 120), (30, 30)), ((20, 10, 96, 96), (32, 32)), ((7, 9, 100, 80), (40, 32))):
        scale = box[2] / size[0]
        expected = box[0] + (np.arange(size[0]) + 0.5) * scale - 0.5
        found = geometry.warp(ramp, box, Pose(), (120, 120), size)[size[1] // 2, :, 0]
        assert np.abs(found / 2 - expected).max() <= 0.26


def test_no_box_is_the_whole_picture():
    image = Scene(12).view()
    whole = geometry.warp(image, None, Pose(), (640, 480), (640, 480))
    assert np.array_equal(whole, image)


def test_a_picture_of_another_size_is_taken_as_a_stretched_one():
    image = cv2.GaussianBlur(Scene(12).view(noise=0), (0, 0), 4)
    larger = np.asarray(cv2.resize(image, (960, 960)), np.uint8)
    cut = geometry.warp(image, (64, 48, 320, 240), Pose(), (640, 480), (160, 120))
    assert np.abs(geometry.warp(larger, (64, 48, 320, 240), Pose(), (640, 480), (160, 120)).astype(int) - cut).max() < 6


@given(
    st.integers(0, 60), st.integers(0, 44), st.integers(1, 16), st.integers(1, 12),
    st.floats(-40, 40), st.floats(-40, 40), st.floats(-20, 20),
)  # fmt: skip
def test_a_box_goes_to_the_image_and_stays_in_it(x: int, y: int, w: int, h: int, dx: float, dy: float, angle: float):
    pose, region, grid = Pose(dx_px=dx, dy_px=dy, angle_deg=angle), (100, 80, 400, 300), (76, 56)
    left, top, width, height = geometry.to_image((x, y, w, h), region, pose, (640, 480), grid)
    assert all(isinstance(value, int) for value in (left, top, width, height))
    assert left >= 0 and top >= 0 and width >= 1 and height >= 1 and left + width <= 640 and top + height <= 480
    middle = np.array([100 + (x + w / 2) * 400 / 76 - 0.5, 80 + (y + h / 2) * 300 / 56 - 0.5, 1])
    found = geometry.pose_matrix(pose, (640, 480)) @ middle
    if 0 <= found[0] <= 639 and 0 <= found[1] <= 479:
        assert left - 1 <= found[0] <= left + width and top - 1 <= found[1] <= top + height


def test_a_mark_is_found_where_it_was_drawn():
    scene, truth = Scene(13), Pose(dx_px=18, dy_px=-11, angle_deg=4)
    image, region, size = scene.view(truth, noise=0), (120, 90, 400, 300), (200, 150)
    marked = image.copy()
    marked[200:216, 300:324] = 255 - marked[200:216, 300:324]
    cuts = [geometry.warp(picture, region, truth, scene.size, size).astype(int) for picture in (image, marked)]
    rows, columns = np.nonzero(np.abs(cuts[0] - cuts[1]).max(axis=2) > 20)
    cells = (columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1)
    left, top, width, height = geometry.to_image(cells, region, truth, scene.size, size)
    assert abs(left - 300) <= 5 and abs(top - 200) <= 5 and abs(width - 24) <= 10 and abs(height - 16) <= 10


def test_what_lies_outside_the_picture_is_known():
    assert geometry.visible_share(None, Pose(), (640, 480)) == 1
    assert geometry.visible_share(None, Pose(dx_px=160), (640, 480)) == pytest.approx(0.75, abs=0.02)
    assert geometry.visible_share((0, 0, 100, 100), Pose(dx_px=-50, dy_px=-50), (640, 480)) == pytest.approx(
        0.25, abs=0.02
    )
    assert geometry.visible_share((0, 0, 10, 10), Pose(dx_px=-50), (640, 480)) == 0


# fitting


def poses(count: int, shift: float, angle: float, seed: int = 0) -> list[Pose]:
    random = np.random.default_rng(seed)
    places = random.uniform(-1, 1, (count, 3)) * (shift, shift, angle)
    return [Pose(dx_px=dx, dy_px=dy, angle_deg=turn) for dx, dy, turn in places]


@pytest.mark.parametrize(
    ("shift", "angle", "noise", "method"),
    [
        (0.0, 0.0, 2.0, "none"),
        (0.0, 0.0, 12.0, "none"),
        (6.0, 0.0, 2.0, "shift"),
        (0.8, 0.0, 2.0, "shift"),
        (6.0, 3.0, 2.0, "rigid"),
        (1.5, 0.4, 4.0, "rigid"),
    ],
)
def test_the_cheapest_method_that_is_needed_is_chosen(shift: float, angle: float, noise: float, method: str):
    scene = Scene(14)
    report = fit([scene.view(pose, noise=noise) for pose in poses(10, shift, angle)], AUTO)
    assert report.registration.method == method and report.registered, report.reasons
    assert report.similarities.min() > 0.8 and report.similarities[report.golden_index] == pytest.approx(1, abs=1e-3)
    assert report.reasons[0].startswith(method)


def test_the_golden_picture_is_a_central_one_and_never_the_odd_one():
    scene = Scene(15)
    images = [scene.view(Pose(dx_px=dx)) for dx in (-30, -14, -2, 13, 31)]
    report = fit([Scene(77).view(), *images], AUTO)
    assert report.golden_index == 3
    assert report.similarities.argmin() == 0


def test_every_good_part_is_accepted_and_one_with_an_object_missing_too():
    scene = Scene(16)
    images = [scene.view(pose) for pose in poses(8, 20, 4)]
    registration = fit(images, AUTO).registration
    assert all(align(registration, image).accepted for image in images)
    assert align(registration, with_object_removed(images[0])).accepted


def test_the_recipe_may_name_the_method():
    scene = Scene(17)
    report = fit([scene.view() for _ in range(3)], RegistrationRecipe(method="rigid"))
    assert report.registration.method == "rigid" and "recipe" in report.reasons[0]


def test_one_image_is_enough_to_be_golden():
    report = fit([Scene(18).view()], AUTO)
    assert report.registration.method == "rigid" and report.registered and report.golden_index == 0


def test_different_things_are_in_free_pose():
    report = fit([Scene(seed).view() for seed in range(6)], AUTO)
    assert not report.registered and report.registration.method == "none" and "free pose" in report.reasons[0]
    found = align(report.registration, Scene(50).view(Pose(dx_px=30)))
    assert found.accepted and found.pose == Pose()


def test_blank_pictures_are_in_free_pose():
    assert not fit([np.full((96, 128, 3), level, np.uint8) for level in (90, 91, 92)], AUTO).registered


def test_images_of_different_sizes_are_in_free_pose_and_cannot_be_aligned():
    images = [Scene(19, size).view() for size in ((320, 240), (300, 240))]
    report = fit(images, AUTO)
    assert not report.registered and "different sizes" in report.reasons[0]
    with pytest.raises(GoldlineError, match="300x240 and 320x240"):
        fit(images, RegistrationRecipe(method="shift"))


def test_no_image_is_refused():
    with pytest.raises(GoldlineError, match="at least one"):
        fit([], AUTO)


def test_a_registration_is_stored_without_pickling():
    registration = fit([Scene(20).view()], AUTO).registration
    file = io.BytesIO()
    np.savez(file, **registration.to_arrays())
    file.seek(0)
    loaded = Registration.from_arrays(np.load(file, allow_pickle=False))
    assert np.array_equal(loaded.golden, registration.golden)
    assert replace(loaded, golden=registration.golden) == registration
    assert loaded.scale == pytest.approx(1 / 3)


# real pictures


@pytest.mark.parametrize("folder", ["cookies", "magnetic_tile"])
def test_goods_photographed_anywhere_are_in_free_pose(folder: str):
    paths = list_images(needs_data(folder) / "train" / "good")[:20]
    report = fit([read_image(path) for path in paths], AUTO)
    assert not report.registered, report.reasons


def test_a_real_board_lies_over_its_template_in_spite_of_its_defects():
    templates = [path for path in list_images(needs_data("deeppcb")) if path.name.endswith("_temp.jpg")]
    similarities: list[float] = []
    for template in templates[::8]:
        registration = fit([read_image(template)], AUTO).registration
        found = align(registration, read_image(template.with_name(template.name.replace("_temp", "_test"))))
        assert (
            found.accepted and abs(found.pose.angle_deg) < 0.5 and max(abs(found.pose.dx_px), abs(found.pose.dy_px)) < 3
        )
        similarities.append(found.similarity)
    assert len(similarities) >= 10 and min(similarities) > 0.9
