"""Which bank, and whether the template too: decided on good images alone, with deviations drawn into them.

1. Some images are held out, at most 20; banks and templates are built from others.
2. The held-out images, and copies of them with deviations (`synthetic.py`), are scored by every method.
3. The bank whose scores separate the copies from the good images better is taken; positional where they tie, as it
   alone knows where things belong.
4. The template is kept where more of the copies then lie above every good image.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edge import bank, synthetic, template
from edge.calibrate import Scores, scale_of, separation
from edge.judge import standardise
from edge.recipe import AnomalyCheck, TemplateCheck

Images = NDArray[np.uint8]
Extract = Callable[[Images], bank.Features]
Tell = Callable[[int, int], None]

# Images scored, and images taken part in all: a hundred separate the methods as well as all of them, sooner.
MOST_HELD_OUT = 20
MOST_IMAGES = 100
# With fewer images than this they are held out in turn, in so many parts, so that the banks keep most of them.
FEW_IMAGES = 60
PARTS = 4
# Areas under the curve closer than this are a tie: what 20 images and 100 copies of them can tell apart.
TIE = 0.01
# Least spreads: an anomaly score has its relative one; a template score of a tenth of its tolerance is nothing.
LEAST_SPREADS = {"positional": 1e-6, "global": 1e-6, "template": 0.1}


@dataclass
class Trial:
    """Scores of the held-out good images and of their deviant copies, by method."""

    good: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    bad: dict[str, list[float]] = field(default_factory=dict[str, list[float]])

    def separation(self, method: str) -> float:
        """How often a deviant copy scores above a good image; a half where nothing could be drawn into them."""
        if not self.bad[method]:
            return 0.5
        return separation(np.array(self.good[method]), np.array(self.bad[method]))

    def found(self, *methods: str) -> float:
        """The share of copies whose largest standardised score lies above every good image's."""
        if not self.bad[methods[0]]:
            return 0.0
        scales = {name: scale_of(np.array(self.good[name]), LEAST_SPREADS[name]) for name in methods}

        def overall(scores: Mapping[str, list[float]]) -> Scores:
            return np.max([[standardise(scales[name], score) for score in scores[name]] for name in methods], axis=0)

        return float((overall(self.bad) > overall(self.good).max()).mean())


def held_out(count: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Indices to build from and indices to score, part by part; `count` is two or more."""
    used = np.unique(np.linspace(0, count - 1, min(count, MOST_IMAGES)).astype(int))
    scored = used[np.unique(np.linspace(0, len(used) - 1, min(len(used), MOST_HELD_OUT)).astype(int))]
    parts = min(PARTS, len(scored)) if len(used) < FEW_IMAGES else 1
    for part in np.array_split(scored, parts):
        yield np.setdiff1d(used, part), part


def try_out(
    stack: Images,
    features: bank.Features,
    grid: bank.Grid,
    anomaly: AnomalyCheck,
    variation: TemplateCheck | None,
    extract: Extract,
    tell: Tell,
) -> Trial:
    """Score held-out images [n, h, w, 3] and deviant copies of them by both banks and, if wanted, the template."""
    trial, random = Trial(), np.random.default_rng(0)
    parts = list(held_out(len(stack)))
    for done, (rest, part) in enumerate(parts):
        copies = _deviants(stack, part, random)
        queries = {"good": (stack[part], features[part]), "bad": (copies, extract(copies))}
        banks: dict[str, bank.Bank] = {
            "positional": bank.build_positional(features[rest], grid, anomaly.per_cell),
            "global": bank.build_global(features[rest], grid, anomaly.coreset),
        }
        model = template.learn(stack[rest], variation) if variation else None
        for label, target in (("good", trial.good), ("bad", trial.bad)):
            images, vectors = queries[label]
            for name, built in banks.items():
                maps = bank.distance_maps(built, vectors)
                target.setdefault(name, []).extend(bank.image_score(maps, anomaly.top_fraction).tolist())
            if model is not None:
                scores = [template.score(template.deviation(model, image)) for image in images]
                target.setdefault("template", []).extend(scores)
        tell(done + 1, len(parts))
    return trial


def _deviants(stack: Images, part: NDArray[np.int64], random: np.random.Generator) -> Images:
    """One copy of each image for every kind of deviation that can be seen on it."""
    copies = [
        synthetic.deviate(kind, stack[index], stack[int(random.integers(len(stack)))], random)
        for index in part
        for kind in synthetic.KINDS
    ]
    seen = [copy for copy in copies if copy is not None]
    return np.stack(seen) if seen else stack[:0]


def choose_bank(trial: Trial) -> tuple[bank.Kind, str]:
    """The bank, and why."""
    positional, everywhere = trial.separation("positional"), trial.separation("global")
    figures = f"positional {positional:.3f}, global {everywhere:.3f} of deviations drawn into good images"
    if everywhere > positional + TIE:
        return "global", f"global bank: it separates more ({figures})"
    tie = "as good as a tie" if abs(everywhere - positional) <= TIE else "it separates more"
    return "positional", f"positional bank: {tie} ({figures})"


def choose_template(trial: Trial, chosen: bank.Kind) -> tuple[bool, str]:
    """Whether the template is kept beside the bank, and why."""
    alone, both = trial.found(chosen), trial.found(chosen, "template")
    figures = f"{alone:.0%} of the drawn deviations lie above every good image, {both:.0%} with it"
    return (True, f"template kept: {figures}") if both > alone else (False, f"template left out: {figures}")
