"""One taught region, loaded: what it is shown, and what each of its checks makes of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge import gate, template
from edge.checks.check import Check
from edge.inference import Session
from edge.references import RegionManifest

Image = NDArray[np.uint8]
Map = NDArray[np.float32]


@dataclass(frozen=True)
class RegionScores:
    """Of one image: maps and scores by check, what orders the references by distance [references], and what was seen."""

    maps: dict[str, Map]
    values: dict[str, float]
    distances: Map
    seen: dict[str, Any]


@dataclass(frozen=True)
class Region:
    """A region's gate, graph, template and other checks, and what its good images looked like as a whole.

    `embedding` is [references, e]; `norms` its squared lengths.
    """

    manifest: RegionManifest
    gate: gate.GateLimits
    session: Session | None
    variation: template.VariationModel | None
    checks: tuple[Check[Any], ...]
    embedding: Map
    norms: Map

    @property
    def anomaly(self) -> str:
        """The name of the memory bank's check."""
        return f"{self.manifest.name}.anomaly"

    @property
    def template(self) -> str:
        """The name of the variation model's check."""
        return f"{self.manifest.name}.template"

    @property
    def seen(self) -> str:
        """The name of the mask of what of the template's cut shows the frame, where not all does."""
        return f"{self.manifest.name}.seen"

    def wanted(self) -> dict[str, tuple[tuple[int, int, int, int], tuple[int, int]]]:
        """By name, the boxes of the golden picture to be cut, with the (width, height) of each cut."""
        cuts = {self.manifest.name: (self.manifest.box, self.manifest.size)}
        if self.manifest.template is not None:
            cuts[self.template] = (self.manifest.box, self.manifest.template)
        return cuts | {check.sight: (check.box, check.size) for check in self.checks}

    def score(self, batch: Sequence[Mapping[str, Image]], *, crowded: bool) -> list[RegionScores]:
        """What every check makes of the cuts of a batch of frames, by the names of `wanted`."""
        embeddings, results = self._run_graph(batch, crowded=crowded)
        for cuts, result, embedding in zip(batch, results, embeddings, strict=True):
            if self.variation is not None:
                deviation = template.deviation(self.variation, cuts[self.template], cuts.get(self.seen))
                result.maps[self.template] = deviation
                result.values[self.template] = template.score(deviation)
            for check in self.checks:
                if check.sight not in result.seen:
                    result.seen[check.sight] = check.look(cuts[check.sight], embedding)
        return results

    def _run_graph(
        self, batch: Sequence[Mapping[str, Image]], *, crowded: bool
    ) -> tuple[Sequence[Map | None], list[RegionScores]]:
        """Each image's embedding, and its results as far as the graph gives them."""
        far = np.zeros(len(self.embedding), np.float32)
        if self.session is None:
            return [None] * len(batch), [RegionScores({}, {}, far, {}) for _ in batch]
        found = self.session.run(np.stack([cuts[self.manifest.name] for cuts in batch]), crowded=crowded)
        # Nearest in |q|^2 - 2 q.r + |r|^2; |q|^2 is the same for every reference. By einsum, because a product would
        # wake NumPy's own threads, which then fight with the session's for a millisecond.
        distances = self.norms - 2 * np.einsum("re,ne->nr", self.embedding, found["embedding"])
        results = [
            RegionScores(
                {self.anomaly: found["map"][row]}, {self.anomaly: float(found["score"][row])}, distances[row], {}
            )
            for row in range(len(batch))
        ]
        return list(found["embedding"]), results
