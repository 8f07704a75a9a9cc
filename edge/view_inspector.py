"""One camera role of a product, ready to judge its pictures.

prepare   gate, align, cut the regions out at the part's pose        any thread
score     one graph run a region for the whole batch; other checks   the accelerator's thread
judge     decide, and only where something deviates: say where       the accelerator's thread
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge import defects, gate, judge, register
from edge.judge import Calibration, Finding
from edge.manifest import ViewManifest
from edge.records import Defect, Outcome, Pose, Reason, Verdict, error
from edge.region import Region
from edge.view import View

Image = NDArray[np.uint8]
Map = NDArray[np.float32]
Size = tuple[int, int]


@dataclass(frozen=True)
class Prepared:
    """A frame's cuts by name, or why it cannot be judged. `size` is the frame's.

    `gain` takes it to the golden picture's brightness; `sharpness` is 1 where it is as sharp as good pictures are.
    """

    role: str
    size: Size
    pose: Pose | None
    regions: Mapping[str, Image]
    refusal: str | None = None
    gain: float | None = None
    sharpness: float | None = None


@dataclass(frozen=True)
class Scores:
    """Raw scores by check, the maps they came from (float32 [h, w], in the check's unit), and the closest reference.

    `seen` is what the checks that look for one thing saw, by their sights.
    """

    values: Mapping[str, float]
    maps: Mapping[str, Map]
    closest: str | None
    seen: Mapping[str, Any]


NO_SCORES = Scores({}, {}, None, {})


class ViewInspector:
    """Judges one role's pictures. Pure once loaded: the same frame, the same verdict."""

    def __init__(
        self,
        manifest: ViewManifest,
        registration: register.Registration,
        regions: Sequence[Region],
        calibration: Calibration,
        least_area_px: int,
    ) -> None:
        self.manifest, self.calibration = manifest, calibration
        self.regions = tuple(regions)
        self.view = View(registration, manifest.any_size, manifest.normalised)
        self._least_area_px = least_area_px

    # --- prepare

    def prepare(self, image: Image) -> Prepared:
        """The cuts of one frame [h, w, 3] BGR; the frame is not kept."""
        size = (image.shape[1], image.shape[0])
        refusal = self.view.refusal(image)
        if refusal is not None:
            return self._refused(size, refusal)
        alignment = self.view.align(image)
        if alignment.problem is not None:
            return self._refused(size, alignment.problem, alignment.pose)
        return self._cut(image, alignment)

    def _refused(self, size: Size, refusal: str, pose: Pose | None = None) -> Prepared:
        return Prepared(self.manifest.camera, size, pose, {}, refusal)

    def _cut(self, image: Image, alignment: register.Alignment) -> Prepared:
        size, pose = (image.shape[1], image.shape[0]), alignment.pose
        cuts: dict[str, Image] = {}
        sharpness: list[float] = []
        for region in self.regions:
            name = region.manifest.name
            # What several checks want in the same way is cut once.
            ways = dict.fromkeys(region.wanted().values())
            by_way = {way: self.view.cut(image, alignment, *way) for way in ways}
            cuts |= {wanted: by_way[way] for wanted, way in region.wanted().items()}
            if region.manifest.template is not None:
                mask = self.view.seen(region.manifest.box, region.manifest.template, pose, size)
                cuts |= {} if mask is None else {region.seen: mask}
            measured = gate.measure(cuts[name])
            refusal = self.view.hidden(region.manifest.box, pose) or gate.refusal(region.gate, measured)
            if refusal is not None:
                return self._refused(size, f"{name}: {refusal}", pose)
            sharpness.append(measured.sharpness / max(region.gate.usual_sharpness, 1e-6))
        return Prepared(
            self.manifest.camera, size, pose, cuts, gain=alignment.gain, sharpness=sum(sharpness) / len(sharpness)
        )

    # --- score

    def score(self, batch: Sequence[Prepared], *, crowded: bool = False) -> list[Scores]:
        """Scores in the order of the batch, of which none was refused. `crowded`: more frames wait."""
        by_region = [region.score([prepared.regions for prepared in batch], crowded=crowded) for region in self.regions]
        return [self._scores([scores[row] for scores in by_region]) for row in range(len(batch))]

    def _scores(self, regions: Sequence[Any]) -> Scores:
        nearest = int(np.sum([region.distances for region in regions], axis=0).argmin())
        return Scores(
            values={name: value for region in regions for name, value in region.values.items()},
            maps={name: values for region in regions for name, values in region.maps.items()},
            closest=self.manifest.references[nearest],
            seen={name: seen for region in regions for name, seen in region.seen.items()},
        )

    # --- judge

    def judge(self, prepared: Prepared, scores: Scores, expect: Mapping[str, str]) -> Verdict:
        """The verdict on one frame, in the light of what an order expects of it."""
        if prepared.refusal is not None:
            refused = error(Reason.CANNOT_JUDGE, prepared.refusal)
            return msgspec.structs.replace(refused, pose=prepared.pose)
        findings = self._findings(prepared, scores, expect)
        boxed = self._boxed(prepared, scores)
        small = frozenset(name for name, places in boxed.items() if not places)
        verdict = judge.decide(scores.values, self.calibration, findings, small)
        found = self._defects(prepared, verdict, boxed, findings) if verdict.outcome is Outcome.FAIL else ()
        return msgspec.structs.replace(
            verdict, defects=found, pose=prepared.pose, closest_reference=scores.closest, answers=self.answers
        )

    @property
    def answers(self) -> tuple[str, ...]:
        """The keys of an order that some check answers."""
        return tuple(sorted({key for region in self.regions for check in region.checks for key in check.answers}))

    def _findings(self, prepared: Prepared, scores: Scores, expect: Mapping[str, str]) -> dict[str, Finding]:
        pose = prepared.pose or Pose()
        return {
            check.name: check.hold(check.posed(scores.seen[check.sight], pose), expect)
            for region in self.regions
            for check in region.checks
        }

    def _boxed(self, prepared: Prepared, scores: Scores) -> dict[str, list[Defect]]:
        """Of every map that reaches its check's review limit: where it deviates, over enough of the picture to count.

        A score is a mean of the worst cells, so above a limit some cell is too.
        """
        found: dict[str, list[Defect]] = {}
        for region in self.regions:
            for name in (region.anomaly, region.template):
                scale = self.calibration.scales.get(name)
                if scale is None or name not in scores.maps:
                    continue
                review = judge.check_limits(scale, self.calibration.limits).review
                if scores.values[name] >= review:
                    found[name] = self._places(name, region, scores.maps[name], review, prepared)
        return found

    def _places(self, name: str, region: Region, deviation: Map, review: float, prepared: Prepared) -> list[Defect]:
        grid, pose = (deviation.shape[1], deviation.shape[0]), prepared.pose or Pose()

        def to_image(box: defects.Box) -> defects.Box:
            return self.view.to_frame(box, region.manifest.box, grid, pose, prepared.size)

        places = defects.defects(name, deviation, review, to_image, self._least_area_px)
        return [place for place in places if place.bbox[2] * place.bbox[3] >= self._least_area_px]

    def _defects(
        self,
        prepared: Prepared,
        verdict: Verdict,
        boxed: Mapping[str, list[Defect]],
        findings: Mapping[str, Finding],
    ) -> tuple[Defect, ...]:
        """Boxes of the checks that failed, those furthest beyond their limits first."""
        found = [one for places in boxed.values() for one in places]
        for region in self.regions:
            for check in region.checks:
                found += self._found(check, findings[check.name], verdict, prepared)
        found.sort(
            key=lambda one: -judge.level(one.check, one.score, verdict.checks[one.check].limits, self.calibration)
        )
        return tuple(found[: defects.MOST_DEFECTS])

    def _found(self, check: Any, finding: Finding, verdict: Verdict, prepared: Prepared) -> list[Defect]:
        """What a check that looks for one thing found wrong, in the frame's px; without boxes, all that it looked at."""
        told = verdict.checks.get(check.name)
        if told is None or told.score < told.limits.review:
            return []
        boxes = finding.boxes or ((0, 0, *check.size),)
        pose = prepared.pose or Pose()
        return [
            Defect(
                check=check.name,
                bbox=self.view.to_frame(box, check.box, check.size, pose, prepared.size),
                score=told.score,
            )
            for box in boxes
        ]

    # --- offline

    def deviation(self, prepared: Prepared, scores: Scores) -> Map:
        """How far every pixel of a judged frame lies from good, in spreads: [h, w] at the frame's size.

        Where no region looks it is the least there is.
        """
        layers = [
            self.view.to_frame_map(
                (scores.maps[name] - scale.median) / scale.spread,
                region.manifest.box,
                prepared.pose or Pose(),
                prepared.size,
            )
            for region in self.regions
            for name in (region.anomaly, region.template)
            if (scale := self.calibration.scales.get(name)) is not None
        ]
        return np.max(layers, axis=0) if layers else np.zeros(prepared.size[::-1], np.float32)
