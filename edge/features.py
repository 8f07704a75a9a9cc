"""Features of many images at once, for teaching: the same graph that the line will run, up to the comparison."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.backbone import BUNDLED, Backbone, feature_graph, feature_grid, load_backbone
from edge.bank import Features, Grid, Seen, only
from edge.config import InferenceConfig
from edge.errors import GoldlineError
from edge.inference import Session
from edge.tensors import Tensors
from edge.tiles import Tiles

Images = NDArray[np.uint8]
Size = tuple[int, int]
Progress = Callable[[int, int], None]

# Images in the feature graph at a time: eight take no less time each on a CPU, and 130 MB more for each session.
FEATURE_BATCH = 2
# What float16 holds: features beyond it would turn infinite when stored.
LARGEST_FLOAT16 = 65504.0


def unheard(done: int, total: int) -> None:
    """Progress nobody waits for."""


class Extractor:
    """Runs one backbone on stacks of images; a session for each size is made once."""

    def __init__(self, backbone: Backbone, inference: InferenceConfig) -> None:
        self.backbone = backbone
        self._inference = inference
        self._sessions: dict[tuple[Size, bool], Session] = {}

    @classmethod
    def of(cls, inference: InferenceConfig) -> "Extractor":
        """By the backbone that the station names, or the bundled one. Raises GoldlineError where it cannot be read."""
        return cls(load_backbone(inference.backbone or BUNDLED), inference)

    def grid(self, size: Size) -> Grid:
        """Rows and columns of the cells of pictures of (width, height)."""
        return feature_grid(self.backbone, size)

    def features(self, images: Images, tell: Progress = unheard) -> Features:
        """[n, h, w, 3] to float16 [n, cells, c]: half the memory, and far finer than parts differ."""
        return self.see(images, tell, halved=False).whole

    def see(self, images: Images, tell: Progress = unheard, *, halved: bool) -> Seen:
        """The features of images [n, h, w, 3] in float16, with `halved` also at half their size."""
        size = (images.shape[2], images.shape[1])
        if (size, halved) not in self._sessions:
            self._sessions[size, halved] = self.session(feature_graph(self.backbone, size, halved=halved))
        session = self._sessions[size, halved]
        if halved:
            return Seen(*self._outputs(session, ("feat", "half"), images, tell))
        return only(self._outputs(session, ("feat",), images, tell)[0])

    def release(self) -> None:
        """Keep no session any longer: some 100 MB for each size that was looked at."""
        self._sessions.clear()

    def embedding(self, scorer: Session, images: Images, tiles: Tiles) -> NDArray[np.float32]:
        """What images of so many tiles look like as a whole, by the graph that the line runs: float32 [n, e]."""
        parts = [tiles.slice(images, number) for number in range(len(tiles))]
        return tiles.embedding([self._outputs(scorer, ("embedding",), part, unheard)[0] for part in parts])

    def session(self, graph: bytes, tensors: Tensors | None = None) -> Session:
        """A session as the station would run it."""
        return Session(
            graph,
            tensors=tensors,
            provider=self._inference.provider,
            threads=self._inference.threads,
            allow_fallback=self._inference.allow_fallback,
        )

    def _outputs(self, session: Session, outputs: Sequence[str], images: Images, tell: Progress) -> list[NDArray[Any]]:
        """Outputs of a graph for any number of images. Raises GoldlineError where float16 could not hold them."""
        parts: list[list[NDArray[Any]]] = [[] for _ in outputs]
        for start in range(0, len(images), FEATURE_BATCH):
            # Of a tile these are not in one piece, and all of them copied at once would be 60 MB of 300.
            found = session.run(np.ascontiguousarray(images[start : start + FEATURE_BATCH]))
            for name, part in zip(outputs, parts, strict=True):
                if not np.abs(found[name]).max() < LARGEST_FLOAT16:
                    raise GoldlineError(f"backbone {self.backbone.name}: features beyond float16; scale its input")
                part.append(found[name] if name == "embedding" else found[name].astype(np.float16))
            tell(min(start + FEATURE_BATCH, len(images)), len(images))
        return [np.concatenate(part) for part in parts]
