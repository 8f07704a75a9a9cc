"""One taught region, loaded: what it is shown, and what each of its checks makes of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge import gate, template
from edge.checks.check import Check
from edge.inference import Session
from edge.manifest import RegionManifest
from edge.tiles import Scales, Tiles

Image = NDArray[np.uint8]
Map = NDArray[np.float32]

# Directions in which references are told apart: with all 2,432 numbers, a thousand references took a millisecond.
MOST_AXES = 32


@dataclass(frozen=True)
class RegionScores:
    """Of one image: maps and scores by check, what orders the references by distance [references], and what was seen."""

    maps: dict[str, Map]
    values: dict[str, float]
    distances: Map
    seen: dict[str, Any]


@dataclass(frozen=True)
class Compared:
    """What the memory bank makes of n pictures: `scores` [n], `maps` [n, rows, columns], and their looks [n, e]."""

    scores: NDArray[np.floating]
    maps: Map
    embeddings: Map


@dataclass(frozen=True)
class Closest:
    """Which reference a picture is most like as a whole, along the few directions in which references differ most.

    `axes` [d, e]; `places` [references, d] and half of their squared lengths `halves` [references].
    """

    axes: Map
    places: Map
    halves: Map

    @classmethod
    def of(cls, embedding: Map) -> "Closest":
        """From the references' embeddings [n, e], by their principal components."""
        centred = (embedding - embedding.mean(0)).astype(np.float64)
        _, vectors = np.linalg.eigh(centred @ centred.T)
        axes = centred.T @ vectors[:, -MOST_AXES:]
        axes /= np.maximum(np.linalg.norm(axes, axis=0), 1e-12)
        places = (embedding @ axes).astype(np.float32)
        return cls(np.ascontiguousarray(axes.T, np.float32), places, np.square(places).sum(1) / 2)

    def distances(self, embedding: Map) -> Map:
        """Of pictures [n, e], what orders their distances to the references: [n, references].

        By einsum, because a product would wake NumPy's own threads, which then fight with the session's.
        """
        return self.halves - np.einsum("rd,nd->nr", self.places, np.einsum("de,ne->nd", self.axes, embedding))


@dataclass(frozen=True)
class Region:
    """A region's gate, graph, template and other checks, and what its good images looked like as a whole.

    The graph compares a tile of the region, with the set of tensors of the tile's number.
    """

    manifest: RegionManifest
    gate: gate.GateLimits
    session: Session | None
    tiles: Tiles
    scales: Scales
    variation: template.VariationModel | None
    checks: tuple[Check[Any], ...]
    closest: Closest

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

    def compare(self, session: Session, cuts: Image, *, crowded: bool = False) -> Compared:
        """Cuts [n, h, w, 3] by the graph, tile by tile."""
        found = [
            session.run(self.tiles.slice(cuts, number), tensors=number, crowded=crowded)
            for number in range(len(self.tiles))
        ]
        return Compared(
            scores=self.scales.score([one["score"] for one in found]),
            maps=self.tiles.map(self.scales.maps([one["map"] for one in found])),
            embeddings=self.tiles.embedding([one["embedding"] for one in found]),
        )

    def _run_graph(
        self, batch: Sequence[Mapping[str, Image]], *, crowded: bool
    ) -> tuple[Sequence[Map | None], list[RegionScores]]:
        """Each image's embedding, and its results as far as the graph gives them."""
        far = np.zeros(len(self.closest.places), np.float32)
        if self.session is None:
            return [None] * len(batch), [RegionScores({}, {}, far, {}) for _ in batch]
        found = self.compare(self.session, np.stack([cuts[self.manifest.name] for cuts in batch]), crowded=crowded)
        distances = self.closest.distances(found.embeddings)
        results = [
            RegionScores({self.anomaly: found.maps[row]}, {self.anomaly: float(found.scores[row])}, distances[row], {})
            for row in range(len(batch))
        ]
        return list(found.embeddings), results
