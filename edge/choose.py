"""Which bank, which of its experts, and whether the template too: decided on good images alone (`trial.py`).

1. Of the global bank's experts those are dropped that miss clearly more of the flaws drawn into good images than the
   best. Drawn flaws cannot rank experts for real ones, but what is so much worse on them is worse (measured).
2. The global bank is taken where its scores separate deviant copies from good images better, by more than the standard
   error. Else the positional one, which alone knows where things belong.
3. The template is kept where more of the copies then lie above every good image.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from edge import bank
from edge.calibrate import UPPER_QUANTILE
from edge.check_recipes import AnomalyCheck
from edge.experts import Name
from edge.features import Extractor
from edge.fine_trial import Subject
from edge.learner import Box, Plan, Size
from edge.material import Material, Tell, enough
from edge.positional import positional_without_own
from edge.recipe import RegionRecipe
from edge.tiles import ONE, Tiles
from edge.tiling import Room, SizeOf, Tiler
from edge.trial import MOST_IMAGES, Sample, See, Trial, held_out, kept_experts, top_fraction, try_experts, try_out
from edge.view import View

Images = NDArray[np.uint8]

# Bytes of good images that a variation model is learned from: an eighth of what teach may take.
TEMPLATE_BYTES = 128 << 20
# Side of the square of equal area that flaws are drawn at, px: twice the usual working size, or the camera's own.
FLAW_PX = 512


def usual_size(box: Box, extractor: Extractor, working_px: int = 256, tiles: Tiles = ONE) -> Size:
    """Width and height of a tile of a box scaled to the area of a square of `working_px`.

    Sides are those that the backbone takes, halved too.
    """
    multiple = 2 * extractor.backbone.declaration.size_multiple
    sides = box[2] / tiles.columns, box[3] / tiles.rows
    scale = working_px / (sides[0] * sides[1]) ** 0.5
    width, height = (max(1, round(side * scale / multiple)) * multiple for side in sides)
    return width, height


def relative_spread(region: RegionRecipe, stack: Images, extractor: Extractor) -> float:
    """The upper spread of leave-one-image-out scores by a positional bank, as a share of their median."""
    assert region.anomaly is not None
    grid = extractor.grid((stack.shape[2], stack.shape[1]))
    maps = positional_without_own(extractor.features(stack), grid, region.anomaly.per_cell)
    scores = bank.image_score(maps, top_fraction(region.anomaly, "positional"))
    median = float(np.median(scores))
    return (float(np.quantile(scores, UPPER_QUANTILE)) - median) / median


def tile_size(region: RegionRecipe, box: Box, extractor: Extractor) -> SizeOf:
    """Width and height of one tile of a region in any grid of them."""
    wanted = "auto" if region.anomaly is None else region.anomaly.working_px
    working_px = 256 if wanted == "auto" else wanted
    return lambda tiles: usual_size(box, extractor, working_px, tiles)


def plan(
    region: RegionRecipe, box: Box, view: View, material: Material, extractor: Extractor, room: Room, tell: Tell
) -> tuple[Plan, tuple[str, ...]]:
    """How a region is best checked, in tiles that there is room for, and why."""
    if region.anomaly is None:
        return _plan_template(region, box, material, extractor)
    subject = Subject(region, box, view, material, extractor)
    chosen, reasons = Planner(subject, tell).plan()
    may_keep = region.template is not None and region.template.mode == "auto" and view.registration.registered
    finer = _template_size(box, len(material)) if may_keep else chosen.template
    tiled, why = Tiler(subject, tile_size(region, box, extractor), finer).tiled(chosen, room, tell)
    return tiled, (*reasons, *why)


class Planner:
    """Plans a region that has a memory bank."""

    def __init__(self, subject: Subject, tell: Tell) -> None:
        self._anomaly, self._box, self._view = subject.anomaly, subject.box, subject.view
        self._material, self._extractor, self._tell = subject.material, subject.extractor, tell
        wanted = subject.region.template
        self._mode = "off" if wanted is None else wanted.mode
        self._variation = wanted if self._mode == "auto" and self._view.registration.registered else None
        self._size = tile_size(subject.region, self._box, self._extractor)(ONE)

    def plan(self) -> tuple[Plan, tuple[str, ...]]:
        """The plan, and its reasons."""
        kinds: tuple[bank.Kind, ...] = (
            ("positional", "global") if self._anomaly.bank == "auto" else (self._anomaly.bank,)
        )
        if kinds == ("positional",) and self._variation is None:
            return self._plan("positional", (), keeps=self._mode == "on"), (_said(self._anomaly),)
        sample = self._sample(kinds)
        experts, which = self._experts(sample) if "global" in kinds else ((), ())
        if len(kinds) == 1 and self._variation is None:
            return self._plan(kinds[0], experts, keeps=self._mode == "on"), (_said(self._anomaly), *which)
        trial = try_out(
            sample, self._anomaly, kinds, experts, self._variation, self._see(kinds), self._told("comparing methods")
        )
        kind, reason = choose_bank(trial) if len(kinds) > 1 else (kinds[0], _said(self._anomaly))
        reasons = (reason, *(which if kind == "global" else ()))
        if self._variation is None:
            return self._plan(kind, experts, keeps=self._mode == "on"), reasons
        keeps, why = choose_template(trial, kind)
        return self._plan(kind, experts, keeps=keeps), (*reasons, why)

    def _plan(self, kind: bank.Kind, experts: tuple[Name, ...], *, keeps: bool) -> Plan:
        top = top_fraction(self._anomaly, kind)
        finer = _template_size(self._box, len(self._material)) if keeps else None
        experts = experts if kind == "global" else ()
        return Plan(self._size, kind, top, finer, experts, levelled=self._view.registration.registered)

    def _sample(self, kinds: Sequence[bank.Kind]) -> Sample:
        # The others would be cut and seen for nothing.
        chosen = self._material.some(MOST_IMAGES)
        stack = enough(self._material.cut(self._view, self._box, self._size, chosen))
        fine: Mapping[int, Images] = {}
        if "global" in kinds:
            wide = _fine_size(self._box, self._size)
            places = [int(place) for _, part in held_out(len(stack)) for place in part]
            known = [chosen[place] for place in places if place < len(chosen)]
            cut = self._material.cut(self._view, self._box, wide, known)
            fine = dict(zip(places, enough(cut) if len(chosen) == 1 else cut, strict=True))
        grid, levelled = self._extractor.grid(self._size), self._view.registration.registered
        return Sample(stack, self._see(kinds)(stack), grid, fine, levelled)

    def _experts(self, sample: Sample) -> tuple[tuple[Name, ...], tuple[str, ...]]:
        panel = try_experts(sample, self._anomaly, self._see(("global",)), self._told("comparing experts"))
        errors = panel.errors(top_fraction(self._anomaly, "global"))
        kept = kept_experts(errors)
        figures = ", ".join(f"{name} {error:.3f}" for name, error in errors.items())
        return kept, (f"experts kept: {', '.join(kept)} (drawn flaws in the wrong order: {figures})",)

    def _see(self, kinds: Sequence[bank.Kind]) -> See:
        halved = "global" in kinds
        return lambda images: self._extractor.see(images, halved=halved)

    def _told(self, what: str) -> Callable[[int, int], None]:
        return lambda done, total: self._tell(what, done, total)


def _said(anomaly: AnomalyCheck) -> str:
    return f"{anomaly.bank} bank: the recipe says so"


def _fine_size(box: Box, size: Size) -> Size:
    """The size that flaws are drawn at: the camera's, at most FLAW_PX and at least the working size."""
    scale = min(1.0, FLAW_PX / (box[2] * box[3]) ** 0.5)
    return max(size[0], round(box[2] * scale)), max(size[1], round(box[3] * scale))


def _plan_template(
    region: RegionRecipe, box: Box, material: Material, extractor: Extractor
) -> tuple[Plan, tuple[str, ...]]:
    size = usual_size(box, extractor)
    templated = region.template is not None and region.template.mode != "off"
    reason = f"{region.name}: " + (
        "template alone: the recipe has no anomaly check" if templated else "the recipe has no learned check"
    )
    return Plan(size, None, 0.01, _template_size(box, len(material)) if templated else None), (reason,)


def _template_size(box: Box, images: int) -> Size:
    """As fine as the camera's picture, as far as the good images' memory allows."""
    scale = min(1.0, (TEMPLATE_BYTES / (3 * max(1, images) * box[2] * box[3])) ** 0.5)
    return max(8, round(box[2] * scale)), max(8, round(box[3] * scale))


def choose_bank(trial: Trial) -> tuple[bank.Kind, str]:
    """The bank, and why."""
    ahead, error = trial.advantage()
    positional, everywhere = trial.separation("positional"), trial.separation("global")
    figures = (
        f"deviations drawn into good images score above good ones: positional {positional:.3f}, "
        f"global {everywhere:.3f}, standard error of the difference {error:.3f}"
    )
    if ahead > error:
        return "global", f"global bank, as it separates more ({figures})"
    return "positional", f"positional bank, as the global one does not separate more ({figures})"


def choose_template(trial: Trial, chosen: bank.Kind) -> tuple[bool, str]:
    """Whether the template is kept beside the bank, and why."""
    alone, both = trial.found(chosen), trial.found(chosen, "template")
    figures = f"{alone:.0%} of the drawn deviations lie above every good image, {both:.0%} with it"
    return (True, f"template kept: {figures}") if both > alone else (False, f"template left out: {figures}")
