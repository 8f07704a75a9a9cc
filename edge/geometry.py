"""Where the golden picture lies in the live image: poses as matrices, regions cut out, boxes taken back.

Points are pixel centres at whole numbers, x to the right and y down, so a picture spans -0.5 to size - 0.5 and its
centre is (size - 1) / 2. Going from one scale to another by s takes x to (x + 0.5) s - 0.5: leave the half pixels out
and everything moves by (s - 1) / 2.
"""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.records import Pose

Image = NDArray[np.uint8]
Matrix = NDArray[np.float64]
Size = tuple[int, int]
BoxXywh = tuple[int, int, int, int]


def pose_matrix(pose: Pose, image_size: Size, frame_size: Size | None = None) -> Matrix:
    """[3, 3]: golden to frame, in px. Clockwise as seen, about the centre of a golden picture (width, height).

    That centre lies (dx, dy) from the frame's; `frame_size` is the frame's (width, height), None for the same.
    """
    angle = math.radians(pose.angle_deg)
    cosine, sine = math.cos(angle), math.sin(angle)
    (centre_x, centre_y), (frame_x, frame_y) = _centre(image_size), _centre(frame_size or image_size)
    return np.array([
        [cosine, -sine, frame_x + pose.dx_px - cosine * centre_x + sine * centre_y],
        [sine, cosine, frame_y + pose.dy_px - sine * centre_x - cosine * centre_y],
        [0.0, 0.0, 1.0],
    ])  # fmt: skip


def matrix_pose(matrix: Matrix, image_size: Size, frame_size: Size | None = None) -> Pose:
    """The pose a rigid [3, 3] stands for: the inverse of `pose_matrix`."""
    moved = matrix[:2] @ [*_centre(image_size), 1.0] - _centre(frame_size or image_size)
    angle = math.degrees(math.atan2(matrix[1, 0], matrix[0, 0]))
    return Pose(dx_px=float(moved[0]), dy_px=float(moved[1]), angle_deg=angle)


def warp(
    image: Image, box: BoxXywh | None, pose: Pose, image_size: Size, size: Size, frame_size: Size | None = None
) -> Image:
    """The region `box` of the golden picture, cut from the live image at its pose: [size h, size w, 3] uint8.

    1. Find the box in the live image: golden pixels of `image_size` (width, height); no box is the whole picture. An
       image of another size than frames have (`frame_size`, None for that of the golden picture) is a stretched one.
    2. Cut out what it covers and average whole blocks of pixels, so that the last step shrinks by less than two.
    3. One bilinear warp into `size` (width, height). Beyond the image its edge is repeated.
    """
    width, height = size
    golden = pose_matrix(pose, image_size, frame_size) @ region_matrix(box or (0, 0, *image_size), size)
    to_live = _live_scale(image, frame_size or image_size) @ golden
    factor = max(1, math.floor(_shrinkage(to_live)))
    left, top, crop = _crop(image, _corners(to_live, size), factor)
    from_crop = block_matrix(factor) @ shift_matrix(-left, -top) @ to_live
    # OpenCV warps four channels in half the time of three.
    cut = cv2.cvtColor(_decimate(crop, factor), cv2.COLOR_BGR2BGRA)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    warped = cv2.warpAffine(cut, from_crop[:2], (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(cv2.cvtColor(warped, cv2.COLOR_BGRA2BGR), np.uint8)


def to_image(
    cells: tuple[float, float, float, float],
    box: BoxXywh | None,
    pose: Pose,
    image_size: Size,
    size: Size,
    frame_size: Size | None = None,
) -> BoxXywh:
    """A box (x, y, width, height) in a region's own pixels or cells, as whole pixels of the frame around it.

    `size` is the region's (width, height) in the units of `cells`: its pixels, or a coarser grid's cells. The result
    is clipped to the frame (`frame_size`, None for that of the golden picture) and at least one pixel wide and high.
    """
    x, y, width, height = cells
    frame = frame_size or image_size
    matrix = pose_matrix(pose, image_size, frame) @ region_matrix(box or (0, 0, *image_size), size)
    corners = np.array([[x, y], [x + width, y], [x, y + height], [x + width, y + height]])
    found = _apply(matrix, corners - 0.5) + 0.5
    left, top = (_clip(math.floor(value), 0, limit - 1) for value, limit in zip(found.min(0), frame, strict=True))
    right, bottom = (math.ceil(value) for value in found.max(0))
    right, bottom = _clip(right, left + 1, frame[0]), _clip(bottom, top + 1, frame[1])
    return left, top, right - left, bottom - top


def inside(box: BoxXywh | None, pose: Pose, image_size: Size, frame_size: Size | None = None) -> bool:
    """Whether all of a region of the golden picture lies inside the live image at this pose."""
    left, top, width, height = box or (0, 0, *image_size)
    across, down = (left - 0.5, left + width - 0.5), (top - 0.5, top + height - 0.5)
    frame = frame_size or image_size
    matrix = pose_matrix(pose, image_size, frame).tolist()
    found = [[row[0] * x + row[1] * y + row[2] + 0.5 for row in matrix[:2]] for x in across for y in down]
    return all(0 <= x <= frame[0] and 0 <= y <= frame[1] for x, y in found)


def visible_share(box: BoxXywh | None, pose: Pose, image_size: Size) -> float:
    """How much of a region of the golden picture lies inside the live image at this pose, 0 to 1."""
    if inside(box, pose, image_size):
        return 1.0
    left, top, width, height = box or (0, 0, *image_size)
    corners = np.array([[left, top], [left + width, top], [left + width, top + height], [left, top + height]]) - 0.5
    # OpenCV's intersection fails on edges that almost lie on each other.
    found = np.round(_apply(pose_matrix(pose, image_size), corners) + 0.5, 3)
    frame = np.array([[0, 0], [image_size[0], 0], image_size, [0, image_size[1]]], np.float32)
    return min(1.0, cv2.intersectConvexConvex(found.astype(np.float32), frame)[0] / (width * height))


def seen(box: BoxXywh | None, pose: Pose, image_size: Size, size: Size, frame_size: Size | None = None) -> Image:
    """Which pixels of a region cut at a pose show the frame, and not its edge repeated: [size h, size w], 255 or 0."""
    frame = frame_size or image_size
    to_frame = pose_matrix(pose, image_size, frame) @ region_matrix(box or (0, 0, *image_size), size)
    right, bottom = frame[0] - 0.5, frame[1] - 0.5
    around = np.array([[-0.5, -0.5], [right, -0.5], [right, bottom], [-0.5, bottom]])
    corners = _apply(np.asarray(np.linalg.inv(to_frame), np.float64), around)
    mask = np.zeros((size[1], size[0]), np.uint8)
    # Corners to a sixteenth of a pixel; what is further off than OpenCV's numbers reach lies outside all the same.
    fixed = np.round(np.clip(corners, -20_000, 20_000) * 16).astype(np.int32)
    cv2.fillConvexPoly(mask, fixed, 255, cv2.LINE_8, shift=4)
    return mask


def decimate(image: Image, factor: int) -> Image:
    """The mean of every whole factor x factor block; what is left over at the right and below is dropped."""
    return _decimate(image[: image.shape[0] // factor * factor, : image.shape[1] // factor * factor], factor)


def _decimate(image: Image, factor: int) -> Image:
    if factor == 1:
        return image
    if factor % 2 == 0:  # OpenCV's path for two is four times as fast as its general one
        image = np.asarray(cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.uint8)
        return _decimate(image, factor // 2)
    size = (image.shape[1] // factor, image.shape[0] // factor)
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def _crop(image: Image, corners: Matrix, factor: int) -> tuple[int, int, Image]:
    """What the corners span in the image, two blocks wider all round, in whole blocks: left, top, view."""
    left, top = (max(0, math.floor(value) - 2 * factor) for value in corners.min(0))
    # Whole blocks may not fill the image to its last rows: take them from the far side of the cut.
    right, bottom = (math.ceil(value) + 2 * factor for value in corners.max(0))
    left, right = _whole_blocks(left, right, image.shape[1], factor)
    top, bottom = _whole_blocks(top, bottom, image.shape[0], factor)
    return left, top, image[top:bottom, left:right]


def _whole_blocks(first: int, last: int, limit: int, factor: int) -> tuple[int, int]:
    """The span moved inside 0..limit and made a multiple of `factor` long, at least one."""
    first = _clip(first, 0, limit - factor)
    blocks = max(1, (min(last, limit) - first) // factor)
    return first, first + blocks * factor


def region_matrix(box: BoxXywh, size: Size) -> Matrix:
    """[3, 3]: pixels or cells of a region (`size` of them across and down) to pixels of the picture that `box` lies in."""
    scale_x, scale_y = box[2] / size[0], box[3] / size[1]
    return np.array([
        [scale_x, 0.0, box[0] + (scale_x - 1) / 2],
        [0.0, scale_y, box[1] + (scale_y - 1) / 2],
        [0.0, 0.0, 1.0],
    ])  # fmt: skip


def _live_scale(image: Image, image_size: Size) -> Matrix:
    """Pixels of a picture of `image_size` to those of the live image: the identity when they agree."""
    return region_matrix((0, 0, image.shape[1], image.shape[0]), image_size)


def block_matrix(factor: int) -> Matrix:
    """Pixels to blocks of factor x factor."""
    return region_matrix((0, 0, 1, 1), (factor, factor))


def shift_matrix(dx: float, dy: float) -> Matrix:
    """[3, 3]: a shift to the right and down."""
    return np.array([[1.0, 0.0, dx], [0.0, 1.0, dy], [0.0, 0.0, 1.0]])


def _shrinkage(matrix: Matrix) -> float:
    """Source pixels for each target pixel, along x or along y, whichever are fewer."""
    # Rounding noise must not drop 4.0 to 3: a thousandth is far below a pixel.
    return float(np.hypot(matrix[0, :2], matrix[1, :2]).min()) + 1e-3


def _centre(size: Size) -> tuple[float, float]:
    return (size[0] - 1) / 2, (size[1] - 1) / 2


def _corners(matrix: Matrix, size: Size) -> Matrix:
    right, bottom = size[0] - 0.5, size[1] - 0.5
    return _apply(matrix, np.array([[-0.5, -0.5], [right, -0.5], [-0.5, bottom], [right, bottom]]))


def _apply(matrix: Matrix, points: Matrix) -> Matrix:
    return points @ matrix[:2, :2].T + matrix[:2, 2]


def _clip(value: int, low: int, high: int) -> int:
    return max(low, min(value, high))
