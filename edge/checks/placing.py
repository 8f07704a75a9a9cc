"""Learns from good images where a region's object lies, and how far each lies and looks from what the others taught.

1. The golden image's object is looked for in every image: their median place is the object's home.
2. In eight rounds (or one a lot), an eighth of the images is left out, and found by what the others agree about. When
   the golden image is left out itself, the image that is most like it takes its place.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edge.calibrate import Scores
from edge.checks import locate
from edge.checks.locate import Sought
from edge.checks.place import Layout, Place, Seen, beside, distance_px, see
from edge.errors import GoldlineError
from edge.recipe import RegionRecipe
from edge.records import Offset, Pose

# Rounds: eight leave seven eighths of the images to learn from.
_ROUNDS = 8
# Other things than the object, and its empty place, are alike by 0.2 and seldom more.
_LEAST_SIMILARITY = 0.4


@dataclass(frozen=True)
class Goods:
    """Good images of one region: its layout's cuts [n, h, w, 3], n >= 2, of which `golden` is the index of one.

    `poses` say where the golden picture lies in each image's frame. `lots` name what was taken together, or are empty.
    """

    cuts: NDArray[np.uint8]
    golden: int
    poses: Sequence[Pose]
    lots: Sequence[str] = ()


@dataclass(frozen=True)
class Learned:
    """The place, and by check (presence, position) each image's score by images without it [n]."""

    place: Place
    scores: dict[str, Scores]


def learn(region: RegionRecipe, at: Layout, goods: Goods) -> Learned:
    """What presence and position hold a part against. Raises GoldlineError where good images have nothing to be found."""
    learner = _Learner(region, at, goods)
    unseen = learner.unseen()
    usual = float(np.median([seen.similarity for seen, _ in unseen]))
    if usual < _LEAST_SIMILARITY:
        figures = f"alike by {usual:.2f}, {_LEAST_SIMILARITY:g} is the least"
        raise GoldlineError(f"region {region.name}: good images show nothing in common to be found: {figures}")
    place = Place(at, learner.sought(), learner.home(()), usual)
    scores: dict[str, Scores] = {}
    if region.presence is not None:
        scores["presence"] = np.array([1 - seen.similarity for seen, _ in unseen])
    if region.position is not None:
        scores["position"] = np.array([distance_px(at, beside(seen.offset, home)) for seen, home in unseen])
    return Learned(place, scores)


class _Learner:
    """The golden object, and where it was found in every image."""

    def __init__(self, region: RegionRecipe, at: Layout, goods: Goods) -> None:
        self._at, self._goods = at, goods
        self._in_frame = region.position is not None and region.position.relative_to == "picture"
        try:
            self._sought = self._taken(goods.golden)
        except GoldlineError as problem:
            raise GoldlineError(f"region {region.name}: {problem}") from None
        self._found = [see(at, self._sought, cut) for cut in goods.cuts]

    def home(self, left_out: Sequence[int]) -> Offset:
        """The median place in all other images."""
        kept = self._kept(left_out)
        offsets = [self._placed(self._found[index].offset, index) for index in kept]
        # Angles are medians of what they differ from one of them: those about half a turn do not wrap.
        turns = [beside(offset, offsets[0]).angle_deg for offset in offsets]
        return Offset(
            dx_px=float(np.median([offset.dx_px for offset in offsets])),
            dy_px=float(np.median([offset.dy_px for offset in offsets])),
            angle_deg=offsets[0].angle_deg + float(np.median(turns)),
        )

    def sought(self) -> Sought:
        """What to look for, by all images."""
        return self._by(self._goods.golden, ())

    def unseen(self) -> list[tuple[Seen, Offset]]:
        """Each image as others see it, and where they have their home."""
        found: dict[int, tuple[Seen, Offset]] = {}
        for left_out in self._rounds():
            golden, home = self._golden(left_out), self.home(left_out)
            sought = self._by(golden, left_out)
            for index in left_out:
                seen = see(self._at, sought, self._goods.cuts[index])
                offset = _sum(seen.offset, self._found[golden].offset)
                found[index] = replace(seen, offset=self._placed(offset, index)), home
        return [found[index] for index in range(len(self._goods.cuts))]

    def _rounds(self) -> list[list[int]]:
        count, lots = len(self._goods.cuts), self._goods.lots
        if len(set(lots)) > 1:
            return [[index for index in range(count) if lots[index] == lot] for lot in sorted(set(lots))]
        return [list(range(first, count, _ROUNDS)) for first in range(min(_ROUNDS, count))]

    def _kept(self, left_out: Sequence[int]) -> list[int]:
        return [index for index in range(len(self._goods.cuts)) if index not in left_out]

    def _golden(self, left_out: Sequence[int]) -> int:
        if self._goods.golden not in left_out:
            return self._goods.golden
        return max(self._kept(left_out), key=lambda index: self._found[index].similarity)

    def _by(self, golden: int, left_out: Sequence[int]) -> Sought:
        sought = self._sought if golden == self._goods.golden else self._taken(golden)
        others = [self._goods.cuts[index] for index in self._kept(left_out) if index != golden]
        return locate.agree(sought, others) if others else sought

    def _taken(self, golden: int) -> Sought:
        return locate.learn(self._goods.cuts[golden], self._at.region_in_cut, self._at.reach)

    def _placed(self, offset: Offset, index: int) -> Offset:
        return self._at.in_frame(offset, self._goods.poses[index]) if self._in_frame else offset


def _sum(first: Offset, second: Offset) -> Offset:
    """Both are small, so their order does not matter."""
    return Offset(
        dx_px=first.dx_px + second.dx_px,
        dy_px=first.dy_px + second.dy_px,
        angle_deg=first.angle_deg + second.angle_deg,
    )
