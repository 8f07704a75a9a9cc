"""The demo's photographs: the truth beside each is what was drawn."""

import cv2
import numpy as np
import pytest

from edge.cameras import scene
from edge.geometry import pose_matrix
from edge.records import Pose

SIZE = (640, 480)
KINDS = (scene.GOOD, *scene.DEVIATIONS)


def photograph(kind: str, seed: int, size: tuple[int, int] = SIZE) -> tuple[np.ndarray, scene.Truth]:
    return scene.render(kind, np.random.default_rng(seed), size)


def laid_back(picture: np.ndarray, pose: Pose) -> np.ndarray:
    """The picture as it would be in the nominal pose: golden pixels fetched from where the pose says they are."""
    size = picture.shape[1::-1]
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(picture, pose_matrix(pose, size)[:2], size, flags=flags, borderMode=cv2.BORDER_REFLECT_101)


def smooth(picture: np.ndarray) -> np.ndarray:
    """Grey, float, without most of the noise and with its mean taken out of it."""
    grey = cv2.GaussianBlur(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY).astype(np.float32), (0, 0), 2)
    return grey / grey.mean() * 64


def unlike(left: np.ndarray, right: np.ndarray) -> float:
    """Typical difference away from the border, which a pose moves out of the picture; noise-robust."""
    difference = np.abs(smooth(left) - smooth(right))[40:-40, 40:-40]
    return float(np.sqrt((difference**2).mean()))


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_draws_the_same_picture_again(kind: str) -> None:
    picture, truth = photograph(kind, 3)
    again, truth_again = photograph(kind, 3)
    other, _ = photograph(kind, 4)
    assert picture.shape == (SIZE[1], SIZE[0], 3) and picture.dtype == np.uint8
    np.testing.assert_array_equal(picture, again)
    assert truth == truth_again and truth.label == kind
    assert (picture != other).mean() > 0.5


def test_what_was_drawn_before_does_not_change_what_is_drawn_next() -> None:
    alone = photograph(scene.GOOD, 5)[0].copy()
    for seed in range(20):
        for kind in scene.DEVIATIONS:
            photograph(kind, seed)
    np.testing.assert_array_equal(photograph(scene.GOOD, 5)[0], alone)


@pytest.mark.parametrize("size", [(1280, 960), SIZE, (500, 480)])
def test_the_pose_is_where_the_scene_lies(size: tuple[int, int]) -> None:
    for seed in range(5):
        picture, truth = photograph(scene.GOOD, seed, size)
        at_truth = unlike(laid_back(picture, truth.pose), scene.good(size))
        turned_other_way = Pose(dx_px=truth.pose.dx_px, dy_px=truth.pose.dy_px, angle_deg=truth.pose.angle_deg - 0.5)
        for pose in (
            Pose(dx_px=truth.pose.dx_px + 1.0, dy_px=truth.pose.dy_px, angle_deg=truth.pose.angle_deg),
            Pose(dx_px=truth.pose.dx_px - 1.0, dy_px=truth.pose.dy_px, angle_deg=truth.pose.angle_deg),
            Pose(dx_px=truth.pose.dx_px, dy_px=truth.pose.dy_px + 1.0, angle_deg=truth.pose.angle_deg),
            Pose(dx_px=truth.pose.dx_px, dy_px=truth.pose.dy_px - 1.0, angle_deg=truth.pose.angle_deg),
            turned_other_way,
        ):
            assert at_truth < 0.9 * unlike(laid_back(picture, pose), scene.good(size)), (seed, truth.pose, pose)


def test_a_positive_angle_is_clockwise_as_seen() -> None:
    seeds = range(20)
    truths = [photograph(scene.GOOD, seed)[1].pose for seed in seeds]
    seed = max(seeds, key=lambda index: truths[index].angle_deg)
    assert truths[seed].angle_deg > 0.3
    # What lies right of the centre goes down, against what lies left of it: each side's own shift is looked for.
    picture, pose = photograph(scene.GOOD, seed)[0], truths[seed]
    good = scene.good(SIZE)
    falls = [fall(good, picture, slice(60, 260)), fall(good, picture, slice(380, 580))]
    assert falls[1] - falls[0] == pytest.approx(320 * np.sin(np.deg2rad(pose.angle_deg)), abs=1.0)


def fall(good: np.ndarray, picture: np.ndarray, columns: slice) -> float:
    """How far down the columns of `good` moved in `picture`, px."""
    (_, down), _ = cv2.phaseCorrelate(smooth(good)[80:-80, columns], smooth(picture)[80:-80, columns])
    return down


@pytest.mark.parametrize("kind", scene.DEVIATIONS)
def test_a_deviation_is_visible_and_inside_its_box(kind: str) -> None:
    for seed in range(12):
        picture, truth = photograph(kind, seed)
        assert truth.bbox is not None
        x, y, width, height = truth.bbox
        assert x >= 0 and y >= 0 and x + width <= SIZE[0] and y + height <= SIZE[1]
        lying = cv2.warpAffine(
            scene.good(SIZE), pose_matrix(truth.pose, SIZE)[:2], SIZE, borderMode=cv2.BORDER_REFLECT_101
        )
        difference = np.abs(smooth(picture) - smooth(lying))
        inside = difference[y : y + height, x : x + width].copy()
        # Seen: somewhere far beyond what light, noise and resampling do.
        assert inside.max() > 10, (kind, seed)
        difference[y : y + height, x : x + width] = 0
        assert difference.max() < 0.8 * inside.max(), (kind, seed)


def test_a_box_is_no_larger_than_what_deviates() -> None:
    for kind in scene.DEVIATIONS:
        for seed in range(12):
            _x, _y, width, height = photograph(kind, seed)[1].bbox
            assert width * height < 0.35 * SIZE[0] * SIZE[1], (kind, seed)
            assert width > 5 and height > 5


def test_a_good_part_has_no_box() -> None:
    assert photograph(scene.GOOD, 1)[1].bbox is None


def test_good_parts_differ_in_pose_and_light() -> None:
    poses, means = [], []
    for seed in range(30):
        picture, truth = photograph(scene.GOOD, seed)
        poses.append((truth.pose.dx_px, truth.pose.dy_px, truth.pose.angle_deg))
        means.append(picture.mean())
    assert (np.std(poses, axis=0) > (0.5, 0.5, 0.1)).all()
    assert np.std(means) / np.mean(means) > 0.01


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(KeyError):
        photograph("perfect", 0)
