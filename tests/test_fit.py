"""What is made of good images: the golden one, the method, and the verdict that they do not lie over each other."""

import io
from dataclasses import replace

import numpy as np
import pytest

from edge.check_recipes import RegistrationRecipe
from edge.errors import GoldlineError
from edge.fit import fit
from edge.images import list_images, read_image
from edge.records import Pose
from edge.register import Registration, align
from tests.drawn import Scene, with_object_removed
from tests.needs import needs_data

AUTO = RegistrationRecipe()


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


def test_parts_that_lie_beyond_the_range_are_in_free_pose_and_one_mishap_is_not():
    scene, turned = Scene(17), [Pose(angle_deg=angle) for angle in (-19, -17, -15, 16, 18)]
    usual = [scene.view(pose) for pose in poses(20, 5, 6)]
    mishap = fit([*usual, scene.view(turned[0])], AUTO)
    assert mishap.registered and mishap.registration.method == "rigid"
    anyhow = [*usual, *(scene.view(pose) for pose in turned)]
    report = fit(anyhow, AUTO)
    assert not report.registered and "5 of 25 good images, laid by rigid, lie beyond" in report.reasons[0]
    assert all(align(report.registration, image).accepted for image in anyhow)
    wanted = fit(anyhow, RegistrationRecipe(method="rigid")).registration
    assert wanted.registered and sum(not align(wanted, image).accepted for image in anyhow) == 5


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
