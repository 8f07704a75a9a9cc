"""A trial of fine flaws: a few px of the camera's picture, drawn into held-out good images, by whatever would judge a region.

Flaws are drawn into the picture as the camera saw it, and the region is cut out as on the line: so every method sees what
its own working resolution leaves of them.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edge import bank, memory, synthetic, template
from edge.calibrate import Scores
from edge.check_recipes import AnomalyCheck
from edge.features import Extractor
from edge.learner import LEAST_SPREADS, Box, Plan, Size
from edge.material import Material, Tell, evenly
from edge.recipe import RegionRecipe
from edge.records import Pose
from edge.tensors import Bank
from edge.tiles import Scales, unseen
from edge.trial import Trial
from edge.view import View

Images = NDArray[np.uint8]
Indices = NDArray[np.int64]

# Images that the trial's banks and template are built of, and others that flaws are drawn into: seconds of work.
BUILT_OF, DRAWN_INTO = 20, 12
# Of fewer than twice as many images some are held out in turn, in so many parts.
FEW_PARTS = 3
# What is drawn, in squares of these sides, camera px: spots from 5 to 25 px across, marks from 13 to 60 px long and 1 px
# wide, of a contrast that is seen at once.
FLAWS = tuple((kind, side) for side in (128, 256) for kind in ("spot", "mark"))
DRAWN_OF_EACH = 2
MOST_PX = max(side for _, side in FLAWS)


@dataclass(frozen=True)
class Subject:
    """A region with a memory bank that is to be planned: where it lies, its good images, and what sees them."""

    region: RegionRecipe
    box: Box
    view: View
    material: Material
    extractor: Extractor

    @property
    def anomaly(self) -> AnomalyCheck:
        """The region's memory bank, as the recipe has it."""
        assert self.region.anomaly is not None
        return self.region.anomaly


class FineTrial:
    """Tries a region's plans out; `finer` is the template's size where it is kept or may be."""

    def __init__(self, subject: Subject, finer: Size | None) -> None:
        self._anomaly, self._variation = subject.anomaly, subject.region.template
        self._box, self._view, self._material = subject.box, subject.view, subject.material
        self._extractor, self._finer = subject.extractor, finer

    def run(self, plan: Plan, many: Plan, tell: Tell) -> Trial:
        """Good images and copies with fine flaws by the plan as it is, and by `many` tiles."""
        found = HeldOut()
        random = np.random.default_rng(0)
        parts = list(splits(len(self._material)))
        for built, drawn in parts:
            judges = self._judges((plan, many), built.tolist())
            for place in drawn:
                cuts = self._cuts(int(place), [judge.size for judge in judges], random)
                found.add([judge.score(cut) for judge, cut in zip(judges, cuts, strict=True)])
                tell("comparing tiles", len(found.images), sum(len(part) for _, part in parts))
        return found.trial((plan, many))

    def _judges(self, plans: Sequence[Plan], built: Sequence[int]) -> list["Judge"]:
        """What would score a region, each by itself: the banks of each plan, and the template where it may be kept."""
        wanted = [(self._box, plan.size) for plan in plans]
        variation, finer = self._variation, self._finer
        if variation is None or finer is None:
            stacks = self._material.cut_all(self._view, wanted, built)
            return [self._judge(plan, stack) for plan, stack in zip(plans, stacks, strict=True)]
        *stacks, pictures = self._material.cut_all(self._view, [*wanted, (self._box, finer)], built)
        model = template.learn(pictures, variation)
        banked = [self._judge(plan, stack) for plan, stack in zip(plans, stacks, strict=True)]
        return [*banked, Judge(finer, lambda cuts: _by_template(model, cuts))]

    def _judge(self, plan: Plan, stack: Images) -> "Judge":
        banks = [self._bank(plan, plan.tiles.slice(stack, number)) for number in range(len(plan.tiles))]

        def score(cuts: Images) -> Scores:
            parts = (plan.tiles.slice(cuts, number) for number in range(len(banks)))
            return np.stack([self._by_bank(plan, one, part) for one, part in zip(banks, parts, strict=True)], axis=1)

        return Judge(plan.size, score)

    def _by_bank(self, plan: Plan, compared: Bank, cuts: Images) -> Scores:
        """Scores [n] of one tile's cuts; those that are equal to the first, where a flaw lies in another tile, have its."""
        differs = (cuts != cuts[:1]).any((1, 2, 3))
        differs[0] = True
        apart = memory.apart_of(compared, self._see(plan, cuts[differs]))
        found = bank.image_score(memory.maps_of(compared, apart), plan.top_fraction)
        scores = np.full(len(cuts), found[0])
        scores[differs] = found
        return scores

    def _bank(self, plan: Plan, stack: Images) -> Bank:
        assert plan.bank is not None
        grid = self._extractor.grid((stack.shape[2], stack.shape[1]))
        seen = self._see(plan, stack)
        built, apart = memory.learn_bank(plan.bank, plan.experts, self._anomaly, seen, grid, None, _unheard)
        return memory.levelled(built, apart, None)[0] if plan.levelled else built

    def _see(self, plan: Plan, images: Images) -> bank.Seen:
        return self._extractor.see(np.ascontiguousarray(images), halved="half" in plan.experts)

    def _cuts(self, place: int, sizes: Sequence[Size], random: np.random.Generator) -> list[Images]:
        """A good image's region, and of copies with flaws, at each size: [1 + copies, h, w, 3]."""
        picture, alignment = self._material.picture(place)
        rows = [
            [self._view.cut(one, alignment, self._box, size) for size in sizes]
            for one in flawed_pictures(picture, lambda: self._anywhere(picture, alignment.pose, random), random)
        ]
        return [np.stack(cuts) for cuts in zip(*rows, strict=True)]

    def _anywhere(self, picture: Images, pose: Pose, random: np.random.Generator) -> tuple[int, int]:
        """X and y in a picture, of a point of the region by chance, so far inside that what is drawn lies within."""
        sides = self._box[2:]
        margins = [min(MOST_PX, side) // 2 for side in sides]
        x, y = (
            int(random.integers(edge, max(edge + 1, side - edge))) for edge, side in zip(margins, sides, strict=True)
        )
        return self._view.to_frame((x, y, 1, 1), self._box, sides, pose, (picture.shape[1], picture.shape[0]))[:2]


@dataclass(frozen=True)
class Judge:
    """What scores a region's cuts of (width, height) `size`: [n, h, w, 3] to [n, k], a score for each of its k tiles."""

    size: Size
    score: Callable[[Images], Scores]


@dataclass
class HeldOut:
    """Scores [1 + copies, k] by each of the judges, of each image that was held out, the first row, and its copies."""

    images: list[Sequence[Scores]] = field(default_factory=list[Sequence[Scores]])

    def add(self, scores: Sequence[Scores]) -> None:
        """Of one more image."""
        self.images.append(scores)

    def trial(self, plans: Sequence[Plan]) -> Trial:
        """By the bank of the first plan, by "tiles" of the second, and by the template if there is one."""
        names = (str(plans[0].bank), "tiles", "template")
        trial = Trial(owner=[row for row, scores in enumerate(self.images) for _ in scores[0][1:]])
        for number, name in enumerate(names[: len(self.images[0])]):
            good = [*np.stack([scores[number][0] for scores in self.images], axis=1)]
            least = LEAST_SPREADS[names[0]]
            trial.good[name], trial.bad[name] = unseen(good, least).tolist(), self._copies(number, good, least)
        return trial

    def _copies(self, number: int, good: Sequence[Scores], least: float) -> list[float]:
        """By one judge, the scores of all copies; each by scales without the image [k, n] that it is a copy of."""
        found: list[float] = []
        for row, scores in enumerate(self.images):
            scales = Scales.learned([np.delete(one, row) for one in good], least)
            found += scales.score([*scores[number][1:].T]).tolist()
        return found


def splits(count: int) -> Iterator[tuple[Indices, Indices]]:
    """Indices to build of and indices to draw into; a few are taken in turn, so that most are built of."""
    used = evenly(count, BUILT_OF + DRAWN_INTO)
    drawn = used[evenly(len(used), DRAWN_INTO)]
    parts = 1 if len(used) >= 2 * DRAWN_INTO else FEW_PARTS
    for part in range(parts):
        yield np.setdiff1d(used, drawn[part::parts]), drawn[part::parts]


def flawed_pictures(
    picture: Images, anywhere: Callable[[], tuple[int, int]], random: np.random.Generator
) -> Iterator[Images]:
    """The picture [h, w, 3] as it is, then with one fine flaw after another, each in the same memory as the last.

    Drawn round the x and y of `anywhere`; what cannot be seen there is left out.
    """
    yield picture
    canvas = picture.copy()
    for kind, side in FLAWS * DRAWN_OF_EACH:
        x, y = anywhere()
        top, left = max(0, y - side // 2), max(0, x - side // 2)
        place = np.s_[top : top + side, left : left + side]
        flaw = synthetic.deviate(kind, picture[place], picture[place], random)
        if flaw is not None:
            canvas[place] = flaw
            yield canvas
            canvas[place] = picture[place]


def _by_template(model: template.VariationModel, cuts: Images) -> Scores:
    return np.array([[template.score(template.deviation(model, cut))] for cut in cuts])


def _unheard(stage: str, done: int, total: int) -> None:
    """Progress of what takes no time."""
