"""Which bank, which of its experts, and whether the template too: decided on good images alone (`trial.py`).

1. Of the global bank's experts those are dropped that miss clearly more of the flaws drawn into good images than the
   best. Drawn flaws cannot rank experts for real ones, but what is so much worse on them is worse (measured).
2. The bank whose scores separate deviant copies from good images better is taken, where it does so clearly. Else the
   positional one, which alone knows where things belong; but the global one where good pictures are hardly more alike
   at the same place than at others, so that nothing belongs anywhere.
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
from edge.learner import Box, Plan, Size
from edge.material import Material, Tell, enough
from edge.positional import place_share, positional_without_own
from edge.recipe import RegionRecipe
from edge.trial import MOST_IMAGES, Sample, See, Trial, held_out, kept_experts, top_fraction, try_experts, try_out
from edge.view import View

Images = NDArray[np.uint8]

# The global bank is taken only where it leaves at least this share fewer pairs of good and deviant in the wrong order,
# and by more standard errors than chance: patches drawn anywhere show what looks wrong by itself, which it sees best,
# and hardly the right thing in a slightly wrong place, which only the positional bank sees.
CLEAR_SHARE = 1 / 3
CLEAR_ERRORS = 2.0
# From this share on, what is at a place says little about it. Photographed biscuits that lie anyhow came to 0.62, drawn
# discs to 0.56; textures to 0.74 (woven) to 0.86 (gravel), and magnetic tiles to 0.77.
NOTHING_BELONGS = 0.7
# Bytes of good images that a variation model is learned from: an eighth of what teach may take.
TEMPLATE_BYTES = 128 << 20
# Side of the square of equal area that flaws are drawn at, px: twice the usual working size, or the camera's own.
FLAW_PX = 512


def usual_size(box: Box, extractor: Extractor, working_px: int = 256) -> Size:
    """Width and height of a box scaled to the area of a square of `working_px`, with sides that the backbone takes, halved too."""
    multiple = 2 * extractor.backbone.declaration.size_multiple
    scale = working_px / (box[2] * box[3]) ** 0.5
    width, height = (max(1, round(side * scale / multiple)) * multiple for side in box[2:])
    return width, height


def relative_spread(region: RegionRecipe, stack: Images, extractor: Extractor) -> float:
    """The upper spread of leave-one-image-out scores by a positional bank, as a share of their median."""
    assert region.anomaly is not None
    grid = extractor.grid((stack.shape[2], stack.shape[1]))
    maps = positional_without_own(extractor.features(stack), grid, region.anomaly.per_cell)
    scores = bank.image_score(maps, top_fraction(region.anomaly, "positional"))
    median = float(np.median(scores))
    return (float(np.quantile(scores, UPPER_QUANTILE)) - median) / median


def plan(
    region: RegionRecipe, box: Box, view: View, material: Material, extractor: Extractor, tell: Tell
) -> tuple[Plan, tuple[str, ...]]:
    """How a region is best checked, and why."""
    if region.anomaly is None:
        return _plan_template(region, box, material, extractor)
    return Planner(region, region.anomaly, box, view, material, extractor, tell).plan()


class Planner:
    """Plans a region that has a memory bank."""

    def __init__(
        self,
        region: RegionRecipe,
        anomaly: AnomalyCheck,
        box: Box,
        view: View,
        material: Material,
        extractor: Extractor,
        tell: Tell,
    ) -> None:
        self._anomaly, self._box, self._view, self._material = anomaly, box, view, material
        self._extractor, self._tell = extractor, tell
        wanted = region.template
        self._mode = "off" if wanted is None else wanted.mode
        self._variation = wanted if self._mode == "auto" and view.registration.registered else None
        self._size = usual_size(box, extractor, 256 if anomaly.working_px == "auto" else anomaly.working_px)

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
        kind, reason = (
            choose_bank(trial, place_share(sample.seen.whole)) if len(kinds) > 1 else (kinds[0], _said(self._anomaly))
        )
        reasons = (reason, *(which if kind == "global" else ()))
        if self._variation is None:
            return self._plan(kind, experts, keeps=self._mode == "on"), reasons
        keeps, why = choose_template(trial, kind)
        return self._plan(kind, experts, keeps=keeps), (*reasons, why)

    def _plan(self, kind: bank.Kind, experts: tuple[Name, ...], *, keeps: bool) -> Plan:
        top = top_fraction(self._anomaly, kind)
        finer = _template_size(self._box, len(self._material)) if keeps else None
        return Plan(self._size, kind, top, finer, experts if kind == "global" else ())

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
        return Sample(stack, self._see(kinds)(stack), self._extractor.grid(self._size), fine)

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
    reason = "template alone: the recipe has no anomaly check" if templated else "the recipe has no learned check"
    return Plan(size, None, 0.01, _template_size(box, len(material)) if templated else None), (reason,)


def _template_size(box: Box, images: int) -> Size:
    """As fine as the camera's picture, as far as the good images' memory allows."""
    scale = min(1.0, (TEMPLATE_BYTES / (3 * max(1, images) * box[2] * box[3])) ** 0.5)
    return max(8, round(box[2] * scale)), max(8, round(box[3] * scale))


def choose_bank(trial: Trial, place: float) -> tuple[bank.Kind, str]:
    """The bank, and why. `place` is how alike good pictures are at the same place, as a share of how alike elsewhere."""
    ahead, error = trial.advantage()
    positional, everywhere = trial.separation("positional"), trial.separation("global")
    figures = (
        f"deviations drawn into good images score above good ones: positional {positional:.3f}, "
        f"global {everywhere:.3f}, standard error of the difference {error:.3f}; "
        f"distance of good pictures at the same place {place:.2f} of that at others"
    )
    if ahead > CLEAR_ERRORS * error and ahead > CLEAR_SHARE * (1 - positional):
        return "global", f"global bank, as it separates clearly more ({figures})"
    if -ahead > CLEAR_ERRORS * error and -ahead > CLEAR_SHARE * (1 - everywhere):
        return "positional", f"positional bank, as it separates clearly more ({figures})"
    if place > NOTHING_BELONGS:
        return "global", f"global bank, as hardly anything has a place of its own ({figures})"
    return "positional", f"positional bank, as things have a place of their own ({figures})"


def choose_template(trial: Trial, chosen: bank.Kind) -> tuple[bool, str]:
    """Whether the template is kept beside the bank, and why."""
    alone, both = trial.found(chosen), trial.found(chosen, "template")
    figures = f"{alone:.0%} of the drawn deviations lie above every good image, {both:.0%} with it"
    return (True, f"template kept: {figures}") if both > alone else (False, f"template left out: {figures}")
