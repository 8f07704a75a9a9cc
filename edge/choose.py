"""Which bank, and whether the template too: decided on good images alone, with deviations drawn into them.

1. Some images are held out, at most 30; banks and templates are built from others.
2. The held-out images, and copies of them with deviations (`synthetic.py`), are scored by every method.
3. The bank whose scores separate the copies from the good images better is taken; positional where they tie, as it
   alone knows where things belong. What differs by less than chance would make it differ is a tie.
4. The template is kept where more of the copies then lie above every good image.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edge import bank, synthetic, template
from edge.calibrate import UPPER_QUANTILE, Scores, scale_of, separation
from edge.features import Extractor
from edge.judge import standardise
from edge.learner import Box, Plan, Size
from edge.material import Material, enough
from edge.material import Tell as Tell_
from edge.recipe import AnomalyCheck, RegionRecipe, TemplateCheck
from edge.view import View

Images = NDArray[np.uint8]
Extract = Callable[[Images], bank.Features]
Tell = Callable[[int, int], None]
# The score of an image [h, w, 3] with features [cells, c].
Score = Callable[[Images, bank.Features], float]

# Images scored, and images taken part in all: a hundred separate the methods as well as all of them, sooner.
MOST_HELD_OUT = 30
MOST_IMAGES = 100
# With fewer images than this they are held out in turn, in so many parts, so that the banks keep most of them.
FEW_IMAGES = 60
PARTS = 4
# The global bank is taken only where it leaves at least this share fewer pairs of good and deviant in the wrong order,
# and by more standard errors than chance: patches drawn anywhere show what looks wrong by itself, which it sees best,
# and hardly the right thing in a slightly wrong place, which only the positional bank sees.
CLEAR_SHARE = 1 / 3
CLEAR_ERRORS = 2.0
# Bytes of good images that a variation model is learned from: an eighth of what teach may take.
TEMPLATE_BYTES = 128 << 20
# Least spreads: an anomaly score has its relative one; a template score of a tenth of its tolerance is nothing.
LEAST_SPREADS = {"positional": 1e-6, "global": 1e-6, "template": 0.1}


@dataclass(frozen=True)
class Sample:
    """Good images of a region [n, h, w, 3], and their features on a grid."""

    stack: Images
    features: bank.Features
    grid: bank.Grid


@dataclass
class Trial:
    """Scores by method: `good` of the held-out images, `bad` of deviant copies, `owner` the image of each copy."""

    good: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    bad: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    owner: list[int] = field(default_factory=list[int])

    def separation(self, method: str, without: int | None = None) -> float:
        """How often a deviant copy scores above a good image, perhaps without one image; a half where none are left."""
        good, bad = np.array(self.good[method]), np.array(self.bad.get(method, ()))
        if without is not None:
            good, bad = np.delete(good, without), bad[np.array(self.owner) != without]
        return separation(good, bad) if len(good) and len(bad) else 0.5

    def advantage(self) -> tuple[float, float]:
        """By how much the global bank separates more than the positional one, and the standard error of that.

        The error is the jackknife's over images (Efron 1982), as the copies of one image are not independent.
        """

        def difference(without: int | None = None) -> float:
            return self.separation("global", without) - self.separation("positional", without)

        images = len(self.good["global"])
        left_out = np.array([difference(index) for index in range(images)])
        error = np.sqrt((images - 1) * left_out.var())
        return difference(), float(error)

    def found(self, *methods: str) -> float:
        """The share of copies whose largest standardised score lies above every good image's."""
        if not self.owner:
            return 0.0
        scales = {name: scale_of(np.array(self.good[name]), LEAST_SPREADS[name]) for name in methods}

        def overall(scores: Mapping[str, list[float]]) -> Scores:
            return np.max([[standardise(scales[name], score) for score in scores[name]] for name in methods], axis=0)

        return float((overall(self.bad) > overall(self.good).max()).mean())


def usual_size(box: Box, extractor: Extractor, working_px: int = 256) -> Size:
    """Width and height of a box scaled to the area of a square of `working_px`, with sides that the backbone takes."""
    multiple = extractor.backbone.declaration.size_multiple
    scale = working_px / (box[2] * box[3]) ** 0.5
    width, height = (max(1, round(side * scale / multiple)) * multiple for side in box[2:])
    return width, height


def relative_spread(region: RegionRecipe, stack: Images, extractor: Extractor) -> float:
    """The upper spread of leave-one-image-out scores by a positional bank, as a share of their median."""
    assert region.anomaly is not None
    grid = extractor.grid((stack.shape[2], stack.shape[1]))
    maps = bank.leave_one_out_maps(extractor.features(stack), grid, "positional", per_cell=region.anomaly.per_cell)
    scores = bank.image_score(maps, _top(region.anomaly))
    median = float(np.median(scores))
    return (float(np.quantile(scores, UPPER_QUANTILE)) - median) / median


def _top(anomaly: AnomalyCheck) -> float:
    return 0.01 if anomaly.top_fraction == "auto" else anomaly.top_fraction


def plan(
    region: RegionRecipe, box: Box, view: View, material: Material, extractor: Extractor, tell: Tell_
) -> tuple[Plan, tuple[str, ...]]:
    """How a region is best checked, and why."""
    if region.anomaly is None:
        return _plan_template(region, box, material, extractor)
    px = 256 if region.anomaly.working_px == "auto" else region.anomaly.working_px
    size = usual_size(box, extractor, px)
    stack = enough(material.cut(view, box, size))
    features = extractor.features(stack)
    wanted = region.template
    mode = "off" if wanted is None else wanted.mode
    in_question = mode == "auto" and view.registration.registered
    said = f"{region.anomaly.bank} bank: the recipe says so"
    if region.anomaly.bank != "auto" and not in_question:
        return Plan(size, region.anomaly.bank, _top(region.anomaly), size if mode == "on" else None), (said,)
    trial = try_out(
        Sample(stack, features, extractor.grid(size)),
        region.anomaly,
        wanted if in_question else None,
        extractor.features,
        lambda done, total: tell("comparing methods", done, total),
    )
    kind, reason = choose_bank(trial) if region.anomaly.bank == "auto" else (region.anomaly.bank, said)
    if not in_question:
        return Plan(size, kind, _top(region.anomaly), size if mode == "on" else None), (reason,)
    kept, why = choose_template(trial, kind)
    return Plan(size, kind, _top(region.anomaly), size if kept else None), (reason, why)


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


def held_out(count: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Indices to build from and indices to score, part by part; `count` is two or more."""
    used = np.unique(np.linspace(0, count - 1, min(count, MOST_IMAGES)).astype(int))
    scored = used[np.unique(np.linspace(0, len(used) - 1, min(len(used), MOST_HELD_OUT)).astype(int))]
    parts = min(PARTS, len(scored)) if len(used) < FEW_IMAGES else 1
    for part in np.array_split(scored, parts):
        yield np.setdiff1d(used, part), part


def try_out(
    goods: Sample, anomaly: AnomalyCheck, variation: TemplateCheck | None, extract: Extract, tell: Tell
) -> Trial:
    """Score held-out images and deviant copies of them by both banks and, if wanted, the template."""
    trial, random = Trial(), np.random.default_rng(0)
    parts = list(held_out(len(goods.stack)))
    for done, (rest, part) in enumerate(parts):
        owners, copies = _deviants(goods.stack, part, random)
        before = len(trial.good.get("positional", ()))
        trial.owner += [before + owner for owner in owners]
        methods = _methods(goods, rest, anomaly, variation)
        _score_all(methods, goods.stack[part], goods.features[part], trial.good)
        if owners:
            _score_all(methods, copies, extract(copies), trial.bad)
        tell(done + 1, len(parts))
    return trial


def _methods(
    goods: Sample, rest: NDArray[np.int64], anomaly: AnomalyCheck, variation: TemplateCheck | None
) -> dict[str, Score]:
    """What scores an image and its features, by method, each built from the images `rest`."""
    features = goods.features[rest]
    banks: dict[str, bank.Bank] = {
        "positional": bank.build_positional(features, goods.grid, anomaly.per_cell),
        "global": bank.build_global(features, goods.grid, anomaly.coreset),
    }
    methods: dict[str, Score] = {name: _by_bank(built, _top(anomaly)) for name, built in banks.items()}
    if variation is not None:
        model = template.learn(goods.stack[rest], variation)
        methods["template"] = lambda image, _: template.score(template.deviation(model, image))
    return methods


def _by_bank(built: bank.Bank, top_fraction: float) -> Score:
    def score(_: Images, vectors: bank.Features) -> float:
        return float(bank.image_score(bank.distance_maps(built, vectors[None]), top_fraction)[0])

    return score


def _score_all(
    methods: Mapping[str, Score], images: Images, features: bank.Features, scores: dict[str, list[float]]
) -> None:
    for name, score in methods.items():
        found = [score(image, vectors) for image, vectors in zip(images, features, strict=True)]
        scores.setdefault(name, []).extend(found)


def _deviants(stack: Images, part: NDArray[np.int64], random: np.random.Generator) -> tuple[list[int], Images]:
    """A copy of each image for every kind of deviation that can be seen on it, and whose copies they are."""
    owners: list[int] = []
    copies: list[Images] = []
    for place, index in enumerate(part):
        for kind in synthetic.KINDS:
            copy = synthetic.deviate(kind, stack[index], stack[int(random.integers(len(stack)))], random)
            if copy is not None:
                owners.append(place)
                copies.append(copy)
    return owners, np.stack(copies) if copies else stack[:0]


def choose_bank(trial: Trial) -> tuple[bank.Kind, str]:
    """The bank, and why."""
    ahead, error = trial.advantage()
    positional, everywhere = trial.separation("positional"), trial.separation("global")
    figures = (
        f"deviations drawn into good images score above good ones: positional {positional:.3f}, "
        f"global {everywhere:.3f}, standard error of the difference {error:.3f}"
    )
    if ahead > CLEAR_ERRORS * error and ahead > CLEAR_SHARE * (1 - positional):
        return "global", f"global bank, as it separates clearly more ({figures})"
    less = "it separates more" if ahead < 0 else "the global one leaves less than a third fewer in the wrong order"
    return "positional", f"positional bank, as {less} ({figures})"


def choose_template(trial: Trial, chosen: bank.Kind) -> tuple[bool, str]:
    """Whether the template is kept beside the bank, and why."""
    alone, both = trial.found(chosen), trial.found(chosen, "template")
    figures = f"{alone:.0%} of the drawn deviations lie above every good image, {both:.0%} with it"
    return (True, f"template kept: {figures}") if both > alone else (False, f"template left out: {figures}")
