"""Of a judged frame: where in it the recipe looked, and what its maps said, as the archive keeps them. Pure."""

import numpy as np

from edge import geometry, judge
from edge.cutout import Box, Bytes, Polygon
from edge.messages import MAP_REVIEW, KeptMap
from edge.records import Pose
from edge.view_inspector import Map, Prepared, Scores, ViewInspector


def polygons(inspector: ViewInspector, prepared: Prepared) -> list[Polygon]:
    """Everything that is looked at, as corners in px of the frame; where the part was not found, where it was taught.

    None of a frame that is not of this view: nobody knows what it shows.
    """
    taught = inspector.view.registration.frame_size
    if prepared.size != taught and not inspector.view.any_size:
        return []
    matrix = inspector.view.matrix(prepared.pose or Pose(), prepared.size)
    boxes = {box for region in inspector.regions for box, _ in region.wanted().values()}
    return [_corners(box, matrix) for box in sorted(boxes)]


def _corners(box: Box, matrix: geometry.Matrix) -> Polygon:
    left, top, right, bottom = box[0] - 0.5, box[1] - 0.5, box[0] + box[2] - 0.5, box[1] + box[3] - 0.5
    corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
    return corners @ matrix[:2, :2].T + matrix[:2, 2]


def maps(
    inspector: ViewInspector, prepared: Prepared, scores: Scores, corner: tuple[int, int]
) -> list[tuple[KeptMap, Bytes]]:
    """Every map in bytes, [h, w], with where it lies in a kept picture that begins at `corner` of the frame."""
    found: list[tuple[KeptMap, Bytes]] = []
    to_picture = geometry.shift_matrix(-corner[0], -corner[1]) @ inspector.view.matrix(
        prepared.pose or Pose(), prepared.size
    )
    for region in inspector.regions:
        for name in (region.anomaly, region.template):
            scale = inspector.calibration.scales.get(name)
            if scale is not None and name in scores.maps:
                review = judge.check_limits(scale, inspector.calibration.limits).review
                levels = _levels(scores.maps[name], scale.median, review)
                found.append((_placed(name, levels, region.manifest.box, to_picture), levels))
    return found


def _levels(values: Map, median: float, review: float) -> Bytes:
    """0 at the median of good parts and below, MAP_REVIEW at the review limit."""
    per_unit = MAP_REVIEW / max(review - median, 1e-9)
    return np.nan_to_num(np.clip((values - median) * per_unit, 0, 255), nan=255.0).astype(np.uint8)


def _placed(name: str, levels: Bytes, box: Box, to_picture: geometry.Matrix) -> KeptMap:
    height, width = levels.shape
    matrix = to_picture @ geometry.region_matrix(box, (width, height))
    first, second = matrix[:2].tolist()
    return KeptMap(check=name, width=width, height=height, to_picture=(*first, *second))
