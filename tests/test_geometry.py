"""Poses as matrices, regions cut out at a pose, and boxes taken back to the image."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge import geometry
from edge.records import Pose
from tests.drawn import Scene


def test_a_turn_is_clockwise_as_seen_and_about_the_centre():
    matrix = geometry.pose_matrix(Pose(angle_deg=90), (101, 81))
    assert np.allclose(matrix @ [50, 40, 1], [50, 40, 1])
    assert np.allclose(matrix @ [60, 40, 1], [50, 50, 1])  # what was right of the centre is now below it


@given(st.floats(-200, 200), st.floats(-200, 200), st.floats(-170, 170))
def test_a_pose_comes_back_from_its_matrix(dx: float, dy: float, angle: float):
    pose = Pose(dx_px=dx, dy_px=dy, angle_deg=angle)
    found = geometry.matrix_pose(geometry.pose_matrix(pose, (640, 480)), (640, 480))
    assert np.allclose([found.dx_px, found.dy_px, found.angle_deg], [dx, dy, angle], atol=1e-9)


@given(st.floats(-200, 200), st.floats(-200, 200), st.floats(-179, 179))
def test_a_golden_picture_of_another_size_than_frames_turns_about_its_own_centre(dx: float, dy: float, angle: float):
    pose, golden, frame = Pose(dx_px=dx, dy_px=dy, angle_deg=angle), (300, 100), (640, 480)
    matrix = geometry.pose_matrix(pose, golden, frame)
    assert np.allclose(matrix @ [149.5, 49.5, 1], [319.5 + dx, 239.5 + dy, 1])
    found = geometry.matrix_pose(matrix, golden, frame)
    assert np.allclose([found.dx_px, found.dy_px, found.angle_deg], [dx, dy, angle], atol=1e-9)


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


@given(st.floats(-30, 30), st.floats(-20, 20), st.floats(-20, 20))
def test_what_is_seen_is_what_a_white_frame_shows_of_a_cut(dx: float, dy: float, angle: float) -> None:
    pose = Pose(dx_px=dx, dy_px=dy, angle_deg=angle)
    box, image_size, size = (4, 6, 70, 50), (90, 64), (70, 50)
    mask = geometry.seen(box, pose, image_size, size)
    white = np.zeros((image_size[1] + 200, image_size[0] + 200, 3), np.uint8)
    white[100 : 100 + image_size[1], 100 : 100 + image_size[0]] = 255
    # The same cut from a larger picture, black around the frame: no edge is repeated.
    matrix = geometry.pose_matrix(pose, image_size) @ np.array([[1.0, 0, box[0]], [0, 1, box[1]], [0, 0, 1]])
    # And two pixels larger all round, to see an edge that lies just beyond the cut.
    shifted = geometry.shift_matrix(100, 100) @ matrix @ geometry.shift_matrix(-2, -2)
    larger = (size[0] + 4, size[1] + 4)
    shown = cv2.warpAffine(white, shifted[:2], larger, flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP)[..., 0]
    # They may differ along the frame's edge, by a pixel.
    ring = cv2.morphologyEx(shown, cv2.MORPH_GRADIENT, np.ones((5, 5), np.uint8))
    assert ((mask == shown[2:-2, 2:-2]) | (ring[2:-2, 2:-2] > 0)).all()


@given(st.floats(-12, 12), st.floats(-12, 12), st.floats(-5, 5))
def test_a_box_is_inside_where_all_of_it_is_seen(dx: float, dy: float, angle: float) -> None:
    pose, box, image_size = Pose(dx_px=dx, dy_px=dy, angle_deg=angle), (10, 8, 60, 40), (80, 56)
    mask = geometry.seen(box, pose, image_size, (60, 40))
    inside = geometry.inside(box, pose, image_size)
    # The corners of the outermost pixels lie half a pixel beyond their centres, which are what is seen.
    assert mask.all() if inside else cv2.erode(mask, np.ones((3, 3), np.uint8), borderValue=0).min() == 0
    assert (geometry.visible_share(box, pose, image_size) == 1) is inside or mask.all()


@given(st.floats(-60, 60), st.floats(-50, 50), st.sampled_from([0.0, 1e-12, 1e-8, -1e-10, 1e-4, 7.0]))
def test_a_visible_share_is_the_share_of_points_that_are_seen(dx: float, dy: float, angle: float) -> None:
    pose, box, image_size = Pose(dx_px=dx, dy_px=dy, angle_deg=angle), (10, 8, 60, 40), (80, 56)
    mask = geometry.seen(box, pose, image_size, (240, 160))
    assert geometry.visible_share(box, pose, image_size) == pytest.approx(float((mask > 0).mean()), abs=0.02)
