"""Where a region's object is looked for, and where good parts have it: what presence and position share.

`layout` says what to cut; `Place` is what good parts taught, and looks. `placing.py` learns it.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.check_recipes import PositionCheck
from edge.checks import locate
from edge.checks.check import Box, Image, Size
from edge.checks.locate import Sought
from edge.checks.sweep import Reach
from edge.errors import GoldlineError
from edge.geometry import pose_matrix
from edge.recipe import RegionRecipe
from edge.records import Offset, Pose

# Longest side of a cut, px: beyond it the time grows, and a place known to some hundredths of these hardly changes.
_WORKING_PX = 256
# Shorter side of a region in its cut, px: fewer are alike anywhere.
_LEAST_PX = 8
# Below this share of good parts' similarity the object is not there: half covered it keeps more, its empty place less.
_PRESENT_SHARE = 0.6


@dataclass(frozen=True)
class Layout:
    """What is cut: `box` in px of the golden picture, of which `scale` are one of the cut, along a side.

    `region` is the object's own box in px of the golden picture, `reach` how far it is looked for in px of the cut.
    `image_size` is the golden picture's, `frame_size` that of the frames it is cut from.
    """

    region: Box
    box: Box
    scale: int
    reach: Reach
    image_size: Size
    frame_size: Size

    @property
    def size(self) -> Size:
        """(width, height) of the cut."""
        return self.box[2] // self.scale, self.box[3] // self.scale

    @property
    def region_in_cut(self) -> tuple[float, float, float, float]:
        """The region's x, y, width and height in px of the cut."""
        x, y, width, height = self.region
        left, top = x - self.box[0], y - self.box[1]
        return left / self.scale, top / self.scale, width / self.scale, height / self.scale

    @property
    def region_box(self) -> Box:
        """The same in whole px."""
        left, top, width, height = self.region_in_cut
        x, y = int(left), int(top)
        return (
            x,
            y,
            min(self.size[0] - x, math.ceil(left + width) - x),
            min(self.size[1] - y, math.ceil(top + height) - y),
        )

    @property
    def half_diagonal_px(self) -> float:
        """From the region's middle to its corner."""
        return math.hypot(*self.region[2:]) / 2

    def in_frame(self, offset: Offset, pose: Pose) -> Offset:
        """An offset in the golden picture as one in the frame, where the golden picture lies at `pose`.

        It is from where the region's middle would be if the golden picture lay in the middle of the frame, upright.
        """
        x, y, width, height = self.region
        middle = np.array([x + (width - 1) / 2, y + (height - 1) / 2, 1.0])
        placed, upright = (pose_matrix(at, self.image_size, self.frame_size) for at in (pose, Pose()))
        moved = placed @ (middle + np.array([offset.dx_px, offset.dy_px, 0.0])) - upright @ middle
        dx, dy = float(moved[0]), float(moved[1])
        return Offset(dx_px=dx, dy_px=dy, angle_deg=offset.angle_deg + pose.angle_deg)


def layout(region: RegionRecipe, box: Box, image_size: Size, frame_size: Size | None = None) -> Layout:
    """What a region's presence and position checks search: its `box`, wider all round. Sizes are (width, height).

    They search alike, as far as the one that searches further. Raises GoldlineError when the region is too small.
    """
    wanted = [check for check in (region.presence, region.position) if check is not None]
    search = max((check.search for check in wanted), default=0.0)
    angle = (region.position or PositionCheck()).max_angle_deg
    across, down = (math.ceil(side * search) for side in box[2:])
    left, top = max(0, box[0] - across), max(0, box[1] - down)
    right, bottom = min(image_size[0], box[0] + box[2] + across), min(image_size[1], box[1] + box[3] + down)
    # Whole blocks of px become one: what falls between blocks would make patterns that move.
    scale = math.ceil(max(right - left, bottom - top) / _WORKING_PX)
    if min(box[2:]) < _LEAST_PX * scale:
        raise GoldlineError(f"region {region.name}: {box[2]} x {box[3]} px is too small to find what it shows")
    wider = (left, top, (right - left) // scale * scale, (bottom - top) // scale * scale)
    reach = Reach(box[2] * search / scale, box[3] * search / scale, angle)
    return Layout(box, wider, scale, reach, image_size, frame_size or image_size)


@dataclass(frozen=True)
class Seen:
    """How far the object lies from the golden picture's, in px of that and degrees, and how alike it is, -1 to 1.

    `box` surrounds it in the cut, in px of that.
    """

    offset: Offset
    similarity: float
    box: Box


@dataclass(frozen=True)
class Place:
    """Where good parts have the object: `home` beside the golden picture's, and how alike it usually is."""

    layout: Layout
    sought: Sought
    home: Offset
    usual_similarity: float

    def look(self, cut: Image) -> Seen:
        """Find the object in a cut of the layout's box and size."""
        return see(self.layout, self.sought, cut)

    def is_missing(self, seen: Seen) -> bool:
        """Whether what was found is something else."""
        return seen.similarity < _PRESENT_SHARE * self.usual_similarity

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        """Plain arrays that a .npz holds without pickling; the layout follows from the recipe."""
        home = self.home
        learned = np.array([home.dx_px, home.dy_px, home.angle_deg, self.usual_similarity])
        return {f"place_{name}": array for name, array in {**self.sought.to_arrays(), "home": learned}.items()}

    @classmethod
    def from_arrays(cls, at: Layout, arrays: Mapping[str, NDArray[np.generic]]) -> "Place":
        """The inverse of `to_arrays`; others may lie among them. Raises KeyError for a missing array."""
        own = {name.removeprefix("place_"): array for name, array in arrays.items() if name.startswith("place_")}
        dx, dy, angle, usual = (float(value) for value in own["home"].tolist())
        return cls(at, Sought.from_arrays(own), Offset(dx_px=dx, dy_px=dy, angle_deg=angle), usual)


def see(at: Layout, sought: Sought, cut: Image) -> Seen:
    """What is found in a cut, in px of the golden picture."""
    found = locate.find(sought, cut)
    offset = Offset(dx_px=found.dx_px * at.scale, dy_px=found.dy_px * at.scale, angle_deg=found.angle_deg)
    return Seen(offset, found.similarity, _surrounding(at, found))


def distance_px(at: Layout, offset: Offset) -> float:
    """How far something lies off, px: its shift, or what its turn moves the region's corner by."""
    turned = 2 * math.sin(math.radians(min(180.0, abs(offset.angle_deg))) / 2) * at.half_diagonal_px
    return max(math.hypot(offset.dx_px, offset.dy_px), turned)


def beside(offset: Offset, home: Offset) -> Offset:
    """How far one offset lies from another; the turn is the shorter way round."""
    turn = (offset.angle_deg - home.angle_deg + 180) % 360 - 180
    return Offset(dx_px=offset.dx_px - home.dx_px, dy_px=offset.dy_px - home.dy_px, angle_deg=turn)


def _surrounding(at: Layout, found: locate.Found) -> Box:
    """The region's box moved and turned, as a box around it, clipped to the cut."""
    x, y, width, height = at.region_in_cut
    cosine, sine = (abs(share(math.radians(found.angle_deg))) for share in (math.cos, math.sin))
    half_width, half_height = (width * cosine + height * sine) / 2, (width * sine + height * cosine) / 2
    middle_x, middle_y = x + width / 2 + found.dx_px, y + height / 2 + found.dy_px
    left, right = (round(min(max(edge, 0), at.size[0])) for edge in (middle_x - half_width, middle_x + half_width))
    top, bottom = (round(min(max(edge, 0), at.size[1])) for edge in (middle_y - half_height, middle_y + half_height))
    return left, top, max(1, right - left), max(1, bottom - top)
