"""The pose between two pictures of the same thing, to a fraction of a pixel, in the presence of what does not match.

1. `structure`: noise, lighting and contrast are taken out of a grey picture; what is left is shape.
2. `Coarse`: the golden picture, small and turned by a few angles, is matched over the live one (normalised
   correlation). This brings every later step within reach.
3. `refine`: inverse compositional Gauss-Newton on half the scale, then on the whole (Baker and Matthews, "Lucas-Kanade
   20 Years On", 2004), with a gain beside the pose. Each pixel is weighted by how well it fits (Geman and McClure), so
   a missing or foreign object does not pull the pose. Nothing here can fail: what does not converge is left as it was
   found, and the caller compares similarities.

Matrices are [3, 3] and map golden to live pixels at the scale of the maps given.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.geometry import Image, Matrix, Size, block_matrix, pose_matrix
from edge.records import Pose

Map = NDArray[np.float32]

# Noise is smoothed over about a pixel, which also makes the pictures smooth enough to be warped.
_SMOOTHING_PX = 1.0
# Lighting changes over more than this share of the picture's long side; structure is finer. A larger share lets what
# comes into view, or a foreign object, disturb its surroundings: 0.25 makes the error of the pose five times as large.
_LIGHTING_SHARE = 0.1
# Contrast below this many grey levels is noise, and is not made into structure.
_LEAST_CONTRAST = 2.0
# Long side of the coarse maps, px: a part moved by one of them is still within reach of the fine steps.
_COARSE_PX = 64
# Share of the golden picture that is matched coarsely; the rest is room to move in.
_COARSE_SHARE = 0.8
# A turn by half of this moves the corner of a coarse map by less than a pixel.
_ANGLE_STEP_DEG = 2.5
# What lies outside the live picture: far from any structure (whose deviation is below 1), so that it gets no weight.
_OUTSIDE = 1e6
# What tells inside from outside where a picture was warped: the least share of a float32 of what lies beyond is far above
# any structure.
_BEYOND, _STRUCTURED = 1e12, 1e3
_FLAGS = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
# Errors beyond this many robust deviations belong to something else than noise and lighting.
_OUTLIER = 3.0
# Share of the golden picture whose slopes are the steepest, where a pose that is off shows. On flat ground the error is
# nothing at any pose: a median over all pixels would take every displaced edge of a line drawing for an outlier.
_STEEPEST_SHARE = 0.1
# A step that moves no corner by more than this is the last: each is about a quarter of the one before.
DONE_PX = 0.02


@dataclass(frozen=True)
class Level:
    """Pixels of a golden structure map [h, w] by which a pose is told: `places` are their flat indices.

    `values` [pixels] is their structure; `steepest` [3 or 4, pixels] how it changes with each pose parameter (dx, dy[,
    angle]) and with the gain; `probes` are places among them of the steepest of all, by which the scale of the error is
    told.
    """

    golden: Map
    size: Size
    places: NDArray[np.intp]
    values: Map
    steepest: Map
    probes: NDArray[np.intp]


def structure(grey: Image, whole_px: int | None = None) -> Map:
    """A grey picture without lighting, in units of its surroundings' contrast: everything in it counts alike.

    `whole_px` is the long side of the whole picture where this is a cutting of one.

    Without the division one object of high contrast outweighs the fixture around it, and where it is missing or
    misplaced the pose goes wrong with it.
    """
    sharp = cv2.GaussianBlur(grey.astype(np.float32), (0, 0), _SMOOTHING_PX)
    side = int((whole_px or max(grey.shape)) * _LIGHTING_SHARE) | 1
    detail = np.asarray(sharp - _surroundings(sharp, side), np.float32)
    contrast = _surroundings(detail * detail, side)
    np.sqrt(np.maximum(contrast, 0, out=contrast), out=contrast)
    contrast += np.float32(_LEAST_CONTRAST)
    return np.divide(detail, contrast, out=detail)


def _surroundings(values: cv2.typing.MatLike, side: int) -> Map:
    return np.asarray(cv2.blur(values, (side, side), borderType=cv2.BORDER_REFLECT), np.float32)


def half(fine: Map) -> Map:
    """At half the scale; an odd last row or column is dropped."""
    even = fine[: fine.shape[0] // 2 * 2, : fine.shape[1] // 2 * 2]
    return np.asarray(cv2.resize(even, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.float32)


def level(golden: Map, *, turns: bool, within: NDArray[np.bool_] | None = None, share: float = 1.0) -> Level:
    """What `refine` needs of the golden picture, or of what lies `within` it: of the steepest `share` of its pixels."""
    height, width = golden.shape
    along_x = np.asarray(cv2.Sobel(golden, cv2.CV_32F, 1, 0, ksize=3, scale=1 / 8), np.float32)
    along_y = np.asarray(cv2.Sobel(golden, cv2.CV_32F, 0, 1, ksize=3, scale=1 / 8), np.float32)
    x = np.arange(width, dtype=np.float32) - np.float32((width - 1) / 2)
    y = np.arange(height, dtype=np.float32)[:, None] - np.float32((height - 1) / 2)
    turning = [np.asarray(x * along_y - y * along_x, np.float32)] if turns else []
    images = [along_x, along_y, *turning, golden]
    counting = np.arange(golden.size) if within is None else np.flatnonzero(within)
    slopes = (np.square(along_x) + np.square(along_y)).ravel()[counting]
    chosen = _steepest(slopes, max(1, int(slopes.size * share)))
    places = counting[chosen]
    return Level(
        golden=golden,
        size=(width, height),
        places=places,
        values=golden.ravel()[places],
        steepest=np.stack([each.ravel()[places] for each in images]),
        # Every fourth is enough to know a median.
        probes=_steepest(slopes[chosen], max(1, int(slopes.size * _STEEPEST_SHARE)))[::4],
    )


def _steepest(slopes: Map, count: int) -> NDArray[np.intp]:
    """Places of the `count` steepest, in order."""
    return np.sort(np.argpartition(slopes, slopes.size - count)[-count:])


def refine(at: Level, live: Map, matrix: Matrix, rounds: int, done_px: float = DONE_PX) -> Matrix:
    """The pose of least robust error near `matrix`, after at most `rounds` steps, or one of less than `done_px`."""
    corner = np.array([at.size[0], at.size[1], 1.0])
    for _ in range(rounds):
        step = _step(at, live, matrix)
        matrix = matrix @ np.asarray(cv2.invert(step)[1])
        if float(np.abs(step @ corner - corner).max()) < done_px:
            break
    return matrix


def similarity(golden: Map, live: Map, matrix: Matrix, within: Map | None = None) -> float:
    """Correlation of the golden structure with the live one at a pose, over what lies in both, -1 to 1.

    `within` is 1 where the golden picture counts, 0 elsewhere; None is everywhere.
    """
    moved = _warp(live, matrix, (golden.shape[1], golden.shape[0]), _BEYOND)
    inside, whole = (moved < _STRUCTURED).astype(np.float32), float(golden.size)
    if within is not None:
        inside, whole = inside * within, float(within.sum())
    count = float(inside.sum())
    if count < whole / 4:  # less than a quarter in common is no alignment
        return -1.0
    return _correlation(golden * inside, moved * inside, count)


def unmoved_similarity(golden: Map, live: Map) -> float:
    """`similarity` of maps of one size as they lie, without the work of warping one."""
    return _correlation(golden, live, golden.size)


def _correlation(first: Map, second: Map, count: float) -> float:
    first, second = first.ravel(), second.ravel()
    first_mean, second_mean = float(first.sum()) / count, float(second.sum()) / count
    product = float(first @ second) - count * first_mean * second_mean
    squares = (float(first @ first) - count * first_mean**2) * (float(second @ second) - count * second_mean**2)
    return product / math.sqrt(squares) if squares > 0 else 0.0


@dataclass(frozen=True)
class Coarse:
    """The golden picture, small, turned by each angle that is looked for; its middle part only."""

    factor: int
    size: Size
    margin: Size
    room: Size
    turned: tuple[tuple[float, Map], ...]

    def find(self, live: Map) -> Matrix:
        """The best whole-pixel pose, at the scale of `live`."""
        small = cv2.copyMakeBorder(
            shrink(live, self.factor), self.room[1], self.room[1], self.room[0], self.room[0], cv2.BORDER_CONSTANT
        )
        best, found, angle = -2.0, (0, 0), 0.0
        for candidate, golden in self.turned:
            _, value, _, place = cv2.minMaxLoc(cv2.matchTemplate(small, golden, cv2.TM_CCOEFF_NORMED))
            if value > best:
                best, found, angle = value, (place[0], place[1]), candidate
        dx, dy = (found[axis] - self.room[axis] - self.margin[axis] for axis in (0, 1))
        blocks = block_matrix(self.factor)
        return np.linalg.inv(blocks) @ pose_matrix(Pose(dx_px=dx, dy_px=dy, angle_deg=angle), self.size) @ blocks


def coarse(golden: Map, max_shift: float, max_angle_deg: float) -> Coarse:
    """Prepare to find the golden map anywhere within `max_shift` (share of each side) and `max_angle_deg`."""
    factor = max(1, round(max(golden.shape) / _COARSE_PX))
    small = shrink(golden, factor)
    height, width = small.shape
    margin = tuple(int(side * (1 - _COARSE_SHARE) / 2) for side in (width, height))
    room = tuple(max(0, math.ceil(side * max_shift) - edge) for side, edge in zip((width, height), margin, strict=True))
    steps = math.ceil(max_angle_deg / _ANGLE_STEP_DEG)
    angles = [0.0] if steps == 0 else [max_angle_deg * step / steps for step in range(-steps, steps + 1)]
    return Coarse(
        factor=factor,
        size=(width, height),
        margin=(margin[0], margin[1]),
        room=(room[0], room[1]),
        turned=tuple((angle, _turned(small, angle, margin)) for angle in angles),
    )


def _turned(small: Map, angle: float, margin: tuple[int, ...]) -> Map:
    height, width = small.shape
    matrix = pose_matrix(Pose(angle_deg=angle), (width, height))
    turned = cv2.warpAffine(small, matrix[:2], (width, height), flags=cv2.INTER_LINEAR)
    return np.asarray(turned[margin[1] : height - margin[1], margin[0] : width - margin[0]], np.float32)


def shrink(fine: Map, factor: int) -> Map:
    """At a scale smaller by a whole factor; what is left over at the right and below is dropped."""
    rows, columns = fine.shape[0] // factor, fine.shape[1] // factor
    whole = fine[: rows * factor, : columns * factor]
    return np.asarray(cv2.resize(whole, (columns, rows), interpolation=cv2.INTER_AREA), np.float32)


def _warp(live: Map, matrix: Matrix, size: Size, beyond: float) -> Map:
    return np.asarray(cv2.warpAffine(live, matrix[:2], size, flags=_FLAGS, borderValue=(beyond,)), np.float32)


def _step(at: Level, live: Map, matrix: Matrix) -> Matrix:
    """One Gauss-Newton step as a rigid matrix about the centre; the identity when the picture says nothing."""
    error = _warp(live, matrix, at.size, _OUTSIDE).ravel()[at.places] - at.values
    # A thousandth of the structure's deviation is as good as none, and keeps the squares below within float32.
    scale = max(1e-3, 1.4826 * median(np.abs(error[at.probes])))
    weights = 1 / np.square(1 + np.square(error * (1 / (_OUTLIER * scale))))
    weighted = at.steepest * weights
    hessian = (weighted @ at.steepest.T).astype(np.float64)
    # A millionth of the largest keeps what the picture does not show (a turn of a disc) where it is.
    hessian.flat[:: len(hessian) + 1] += hessian.max() * 1e-6 + 1e-12
    moments = (weighted @ error[:, None]).astype(np.float64)
    _, found = cv2.solve(hessian, moments, flags=cv2.DECOMP_CHOLESKY)
    dx, dy, *turn, _gain = np.asarray(found, np.float64).ravel().tolist()
    return pose_matrix(Pose(dx_px=dx, dy_px=dy, angle_deg=math.degrees(sum(turn))), at.size)


def median(values: Map) -> float:
    """Of one value at least; of an even number, the upper one. NumPy's own takes twice as long for a few hundred."""
    middle = values.size // 2
    return float(np.partition(values, middle)[middle])
