"""Registration against drawn truth: the pose is known, so it is compared with what is found."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from edge import register, solver
from edge.check_recipes import RegistrationRecipe
from edge.geometry import shift_matrix
from edge.records import Pose
from edge.register import Method, Registration, align
from tests.drawn import Scene, with_object_removed

AUTO = RegistrationRecipe()
# What a pose may be off on a textured scene.
SHIFT_PX, ANGLE_DEG = 0.3, 0.1


def registered(scene: Scene, method: Method = "rigid", min_similarity: float = 0.4) -> Registration:
    golden = register.working_grey(scene.view(), scene.size)
    return Registration(method, True, golden, scene.size, AUTO.max_shift, AUTO.max_angle_deg, min_similarity)


def assert_found(pose: Pose, truth: Pose) -> None:
    errors = abs(pose.dx_px - truth.dx_px), abs(pose.dy_px - truth.dy_px), abs(pose.angle_deg - truth.angle_deg)
    assert max(errors[:2]) < SHIFT_PX and errors[2] < ANGLE_DEG, f"{pose} is not {truth}"


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


@pytest.mark.parametrize("missing", [False, True], ids=["misplaced", "missing"])
@pytest.mark.parametrize("seed", range(3))
def test_an_object_that_stands_out_does_not_take_the_pose_along(seed: int, missing: bool):
    scene, truth = Scene(seed), Pose(dx_px=7.4, dy_px=-9.8, angle_deg=1.3)

    def on_a_faint_fixture(image: np.ndarray, left: int | None) -> np.ndarray:
        faint = (110 + (image.astype(np.float32) - 110) / 4).astype(np.uint8)
        if left is not None:
            cv2.rectangle(faint, (left, 190), (left + 120, 290), (235, 235, 235), -1)
            cv2.circle(faint, (left + 50, 240), 30, (10, 10, 10), -1)
        return faint

    grey = register.working_grey(on_a_faint_fixture(scene.view(), 260), scene.size)
    live = on_a_faint_fixture(scene.view(truth), None if missing else 310)
    found = align(replace(registered(scene), golden=grey), live)
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


def test_what_lies_outside_by_a_hair_is_no_structure():
    """A pixel on the frame's edge is interpolated with what lies beyond it by whatever share, down to a rounding error."""
    structure = solver.structure(register.working_grey(Scene(9).view(), Scene(9).size))
    for shift in (0.0, 1e-7, 1e-6, 3e-5, 1e-3, 0.02):
        for sign in (-1, 1):
            moved = solver.similarity(structure, structure, shift_matrix(sign * shift, -sign * shift))
            assert moved > 0.99


def test_a_small_step_of_a_usual_part_is_found():
    """Within a pixel of its place, where few steps are taken and not all pixels counted."""
    random, scene = np.random.default_rng(3), Scene(10)
    registration = registered(scene, min_similarity=0.3 * 0.9)
    for _ in range(12):
        dx, dy, angle = random.normal(0, (1.0, 1.0, 0.3))
        truth = Pose(dx_px=dx, dy_px=dy, angle_deg=angle)
        assert_found(align(registration, scene.view(truth)).pose, truth)


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
