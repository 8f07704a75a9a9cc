"""Trials on good images alone: some are held out, copies of them get deviations, and every method scores both.

1. Some images are held out, at most 30; banks and templates are built from others.
2. For the experts of the global bank: the held-out images with flaws drawn into them (`flaws.py`), before they are
   shrunk. An expert's error is how often a flawed copy does not score above a good image.
3. For banks and template: the held-out images with parts of them rearranged (`synthetic.py`).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from edge import bank, synthetic, template
from edge.calibrate import Scores, scale_of, separation
from edge.check_recipes import AnomalyCheck, TemplateCheck
from edge.coreset import Floats
from edge.experts import NAMES, Maps, Model, Name, Scale, fit, fuse, maps_by
from edge.experts import scale_of as map_scale
from edge.flaws import FLAWS, flawed
from edge.learner import LEAST_SPREADS
from edge.material import evenly
from edge.positional import build_positional, level_of, positional_maps

Images = NDArray[np.uint8]
# From images [n, h, w, 3] to their features, at half their size as well.
See = Callable[[Images], bank.Seen]
Tell = Callable[[int, int], None]

# Images scored, and images taken part in all: a hundred separate the methods as well as all of them, sooner.
MOST_HELD_OUT = 30
MOST_IMAGES = 100
# With fewer images than this they are held out in turn, in so many parts, so that the banks keep most of them.
FEW_IMAGES = 60
PARTS = 4
# Share of the worst cells that make a score, by bank: what is in the wrong place is small; the fused map is the
# better for more cells.
TOP_FRACTIONS: Mapping[bank.Kind, float] = {"positional": 0.01, "global": 0.03}
# An expert with this many times the errors of the best is the worse one on real defects too; with fewer it may not be.
CLEARLY_WORSE = 1.5
# Errors below this are alike: a few pairs in the wrong order, by chance, of some 900 of each kind.
LEAST_ERROR = 0.02


@dataclass(frozen=True)
class Sample:
    """Good images of a region [n, h, w, 3], their features on a grid, and some of them finer, by their index.

    `levelled`: the parts lie over each other, so that a positional bank allows each place what it varies by.
    """

    stack: Images
    seen: bank.Seen
    grid: bank.Grid
    fine: Mapping[int, Images]
    levelled: bool = False


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
        """By how much the global bank separates more than the positional one, and the standard error of that."""
        return self._jackknife(
            lambda without: self.separation("global", without) - self.separation("positional", without)
        )

    def found(self, *methods: str) -> float:
        """The share of copies whose largest standardised score lies above every good image's."""
        if not self.owner:
            return 0.0
        good, bad = self._overall(methods, None)
        return float((bad > good.max()).mean())

    def wrong(self, *methods: str, without: int | None = None) -> float:
        """How often a copy's largest standardised score does not exceed a good image's, perhaps without one image."""
        good, bad = self._overall(methods, without)
        return 1 - separation(good, bad) if len(good) and len(bad) else 0.5

    def fewer_wrong(self, some: Sequence[str], than: Sequence[str]) -> tuple[float, float]:
        """How many fewer pairs some methods have in the wrong order than others, and the standard error of that."""
        return self._jackknife(lambda without: self.wrong(*than, without=without) - self.wrong(*some, without=without))

    def _overall(self, methods: Sequence[str], without: int | None) -> tuple[Scores, Scores]:
        """The largest standardised score of each good image and of each copy, but one image's."""
        good, bad = (np.array([scores[name] for name in methods]) for scores in (self.good, self.bad))
        good, bad = np.delete(good, [] if without is None else without, 1), bad[:, np.array(self.owner) != without]
        scales = [scale_of(scores, LEAST_SPREADS[name]) for name, scores in zip(methods, good, strict=True)]
        medians, spreads = np.array([[scale.median, scale.spread] for scale in scales]).T[..., None]
        return ((good - medians) / spreads).max(0), ((bad - medians) / spreads).max(0)

    def _jackknife(self, figure: Callable[[int | None], float]) -> tuple[float, float]:
        """A figure and its standard error, by leaving out one image after the other.

        The jackknife's over images (Efron 1982), as the copies of one image are not independent.
        """
        images = len(next(iter(self.good.values())))
        left_out = np.array([figure(index) for index in range(images)])
        return figure(None), float(np.sqrt((images - 1) * left_out.var()))


@dataclass
class Panel:
    """What each expert makes of held-out images: its distances of good ones and of copies, by the kind of flaw."""

    good: dict[Name, list[Floats]] = field(default_factory=dict[Name, list[Floats]])
    bad: dict[str, dict[Name, list[Floats]]] = field(default_factory=dict[str, dict[Name, list[Floats]]])

    def errors(self, top_fraction: float) -> dict[Name, float]:
        """How often a flawed copy does not score above a good image, on average over the kinds of flaws."""

        def error(name: Name) -> float:
            good = bank.image_score(np.stack(self.good[name]), top_fraction)
            bad = [bank.image_score(np.stack(maps[name]), top_fraction) for maps in self.bad.values()]
            return 1 - float(np.mean([separation(good, scores) for scores in bad])) if bad else 0.5

        return {name: error(name) for name in self.good}


def held_out(count: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Indices to build from and indices to score, part by part; `count` is two or more."""
    used = evenly(count, MOST_IMAGES)
    scored = used[evenly(len(used), MOST_HELD_OUT)]
    parts = min(PARTS, len(scored)) if len(used) < FEW_IMAGES else 1
    for part in np.array_split(scored, parts):
        yield np.setdiff1d(used, part), part


def top_fraction(anomaly: AnomalyCheck, kind: bank.Kind) -> float:
    """The share of the worst cells that make a score."""
    return TOP_FRACTIONS[kind] if anomaly.top_fraction == "auto" else anomaly.top_fraction


def try_experts(goods: Sample, anomaly: AnomalyCheck, see: See, tell: Tell) -> Panel:
    """Held-out images and flawed copies of them by every expert."""
    panel, random = Panel(), np.random.default_rng(0)
    parts = list(held_out(len(goods.stack)))
    for done, (rest, part) in enumerate(parts):
        models = _models(goods, rest, anomaly)
        shrunk = see(np.stack([_shrunk(goods.fine[index], goods.stack[0]) for index in part]))
        _add(panel.good, _maps(models, shrunk, goods.grid))
        for kind in FLAWS:
            copies = _flawed(kind, goods, part, random)
            if copies:
                _add(panel.bad.setdefault(kind, {}), _maps(models, see(np.stack(copies)), goods.grid))
        tell(done + 1, len(parts))
    return panel


def kept_experts(errors: Mapping[Name, float]) -> tuple[Name, ...]:
    """All but those with clearly more errors than the best."""
    best = max(min(errors.values()), LEAST_ERROR)
    return tuple(name for name in NAMES if errors[name] < CLEARLY_WORSE * best)


def try_out(
    goods: Sample,
    anomaly: AnomalyCheck,
    kinds: Sequence[bank.Kind],
    experts: Sequence[Name],
    variation: TemplateCheck | None,
    see: See,
    tell: Tell,
) -> Trial:
    """Score held-out images and deviant copies of them by these banks and, if wanted, the template."""
    trial, random = Trial(), np.random.default_rng(0)
    panels: dict[str, dict[Name, list[Floats]]] = {"good": {}, "bad": {}}
    placed: dict[str, list[Floats]] = {"good": [], "bad": []}
    parts = list(held_out(len(goods.stack)))
    for done, (rest, part) in enumerate(parts):
        before = sum(len(known) for _, known in parts[:done])
        owners, copies = _deviants(goods.stack, part, random)
        trial.owner += [before + owner for owner in owners]
        model = None if variation is None else template.learn(goods.stack[rest], variation)
        models = _models(goods, rest, anomaly, experts) if "global" in kinds else {}
        built = (
            build_positional(goods.seen.whole[rest], goods.grid, anomaly.per_cell) if "positional" in kinds else None
        )
        judged = [("good", trial.good, goods.stack[part], goods.seen.take(part))]
        if owners:
            judged.append(("bad", trial.bad, copies, see(copies)))
        for side, scores, images, seen in judged:
            if model is not None:
                deviations = [template.deviation(model, image) for image in images]
                scores.setdefault("template", []).extend(template.score(one) for one in deviations)
            if built is not None:
                placed[side].extend(positional_maps(built, seen.whole))
            _add(panels[side], _maps(models, seen, goods.grid))
        tell(done + 1, len(parts))
    if "positional" in kinds:
        _place_into(trial, placed, top_fraction(anomaly, "positional"), levelled=goods.levelled)
    if "global" in kinds:
        _fuse_into(trial, panels, goods.grid, top_fraction(anomaly, "global"))
    return trial


def _place_into(trial: Trial, placed: Mapping[str, list[Floats]], top: float, *, levelled: bool) -> None:
    """Scores by distances at their place, perhaps less what the good images vary by there."""
    level = level_of(np.stack(placed["good"])) if levelled else np.float32(0)
    for side, scores in (("good", trial.good), ("bad", trial.bad)):
        if placed[side]:
            scores["positional"] = bank.image_score(np.stack(placed[side]) - level, top).tolist()


def _fuse_into(trial: Trial, panels: Mapping[str, Mapping[Name, list[Floats]]], grid: bank.Grid, top: float) -> None:
    """Scores by the fused experts, each on the scale of the good images."""
    scales: dict[Name, Scale] = {name: map_scale(np.stack(maps)) for name, maps in panels["good"].items()}
    for scores, panel in ((trial.good, panels["good"]), (trial.bad, panels["bad"])):
        if panel:
            fused = fuse(scales, {name: np.stack(maps) for name, maps in panel.items()}, grid)
            scores["global"] = bank.image_score(fused, top).tolist()


def _models(
    goods: Sample, rest: NDArray[np.int64], anomaly: AnomalyCheck, names: Sequence[Name] = NAMES
) -> dict[Name, Model]:
    return {name: fit(name, goods.seen.take(rest), goods.grid, anomaly.coreset) for name in names}


def _maps(models: Mapping[Name, Model], seen: bank.Seen, grid: bank.Grid) -> Maps:
    return {name: maps_by(name, model, seen, grid) for name, model in models.items()}


def _add(panel: dict[Name, list[Floats]], maps: Maps) -> None:
    for name, values in maps.items():
        panel.setdefault(name, []).extend(values)


def _flawed(kind: str, goods: Sample, part: NDArray[np.int64], random: np.random.Generator) -> list[Images]:
    """A copy of each image, at the stack's size, with the kind of flaw, where it can be seen."""
    others = list(goods.fine.values())
    copies = [flawed(kind, goods.fine[index], others[int(random.integers(len(others)))], random) for index in part]
    return [_shrunk(copy, goods.stack[0]) for copy in copies if copy is not None]


def _shrunk(image: Images, like: Images) -> Images:
    height, width = like.shape[:2]
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


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
