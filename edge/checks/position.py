"""Is what the golden picture shows in a region there, and does it lie where it should?

Both checks look at one `Place`, and see the same: where the object lies, and how alike it is.

Presence  score = 1 - similarity, held against that of good parts.
Position  score = how far it lies from where good parts have it, px, held against how far theirs do; its turn counts as
          what it moves the region's corner by. With a tolerance the score is the share of it, and 1 is the limit. The
          place of what is not there is not unknown, but wrong: it is found "missing", and the check fails.

The axes of an offset are those of the golden picture; relative to the picture, those of the camera's.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import msgspec

from edge.check_recipes import PositionCheck
from edge.checks.check import Box, Floats, Image, Size
from edge.checks.place import Place, Seen, beside, distance_px
from edge.judge import EXACT, WRONG, Finding
from edge.records import Offset, Pose

MISSING = "missing"


@dataclass(frozen=True)
class _AtPlace:
    """A check of one kind, looking at the place of a region."""

    region: str
    place: Place
    kind: ClassVar[str]

    @property
    def name(self) -> str:
        """Region and kind."""
        return f"{self.region}.{self.kind}"

    @property
    def sight(self) -> str:
        """What it looks at: checks of one sight see the same."""
        return f"{self.region}.place"

    @property
    def box(self) -> Box:
        """The region with the margin that is searched."""
        return self.place.layout.box

    @property
    def size(self) -> Size:
        """Width and height that the box is scaled to."""
        return self.place.layout.size

    @property
    def answers(self) -> frozenset[str]:
        """No key of an order."""
        return frozenset()

    def look(self, cut: Image, embedding: Floats | None) -> Seen:
        """Where the object is, and how alike."""
        return self.place.look(cut)


@dataclass(frozen=True)
class Presence(_AtPlace):
    """Whether the object is there."""

    kind = "presence"

    def posed(self, seen: Seen, pose: Pose) -> Seen:
        """The same at any pose."""
        return seen

    def raw_score(self, seen: Seen) -> float:
        """What good parts are compared by."""
        return 1 - seen.similarity

    def hold(self, seen: Seen, expect: Mapping[str, str]) -> Finding:
        """How unlike the object what was found is."""
        return Finding(score=self.raw_score(seen), boxes=(self.place.layout.region_box,))


@dataclass(frozen=True)
class Position(_AtPlace):
    """Whether the object lies in its place. `mm_per_px` is the scale of the camera's picture, where it is known."""

    kind = "position"
    check: PositionCheck
    mm_per_px: float | None

    @property
    def is_exact(self) -> bool:
        """Whether the recipe gives a tolerance; else good parts do."""
        return self._tolerance_px is not None or self.check.tolerance_deg is not None

    def posed(self, seen: Seen, pose: Pose) -> Seen:
        """What was seen where the golden picture lies at `pose`: to be held instead, as far as that matters."""
        if self.check.relative_to == "part":
            return seen
        return replace(seen, offset=self.place.layout.in_frame(seen.offset, pose))

    def raw_score(self, seen: Seen) -> float:
        """What good parts are compared by, whatever tolerance the recipe gives: px."""
        return distance_px(self.place.layout, beside(seen.offset, self.place.home))

    def hold(self, seen: Seen, expect: Mapping[str, str]) -> Finding:
        """How far the object lies from its place."""
        limits, expected = EXACT if self.is_exact else None, self._expected
        if self.place.is_missing(seen):
            # As far as can be: further than anything is looked for.
            score = WRONG if self.is_exact else 2 * self.place.layout.half_diagonal_px
            return Finding(score, limits, found=MISSING, expected=expected, boxes=(self.place.layout.region_box,))
        offset = beside(seen.offset, self.place.home)
        return Finding(self._score(offset), limits, expected=expected, offset=self._in_mm(offset), boxes=(seen.box,))

    @property
    def _tolerance_px(self) -> float | None:
        check = self.check
        if check.tolerance_mm is None or self.mm_per_px is None:
            return check.tolerance_px
        return check.tolerance_mm / self.mm_per_px

    @property
    def _expected(self) -> str | None:
        """What the recipe allows, as it writes it: `within 10 px, 4°`; None where good parts say it."""
        check = self.check
        wanted = ((check.tolerance_px, " px"), (check.tolerance_mm, " mm"), (check.tolerance_deg, "°"))
        told = ", ".join(f"{most:g}{unit}" for most, unit in wanted if most is not None)
        return f"within {told}" if told else None

    def _score(self, offset: Offset) -> float:
        if not self.is_exact:
            return distance_px(self.place.layout, offset)
        tolerance_px, tolerance_deg = self._tolerance_px, self.check.tolerance_deg
        shift = 0.0 if tolerance_px is None else math.hypot(offset.dx_px, offset.dy_px) / tolerance_px
        turn = 0.0 if tolerance_deg is None else abs(offset.angle_deg) / tolerance_deg
        return max(shift, turn)

    def _in_mm(self, offset: Offset) -> Offset:
        scale = self.mm_per_px
        if scale is None:
            return offset
        return msgspec.structs.replace(offset, dx_mm=offset.dx_px * scale, dy_mm=offset.dy_px * scale)
