"""Features of many images at once, for teaching: the same graph that the line will run, up to the comparison."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.backbone import Backbone, feature_graph, feature_grid
from edge.bank import Features, Grid
from edge.config import InferenceConfig
from edge.errors import GoldlineError
from edge.inference import Session

Images = NDArray[np.uint8]
Size = tuple[int, int]
Progress = Callable[[int, int], None]

# Images in the feature graph at a time: the largest batch a session runs at once.
FEATURE_BATCH = 8
# What float16 holds: features beyond it would turn infinite when stored.
LARGEST_FLOAT16 = 65504.0


def unheard(done: int, total: int) -> None:
    """Progress nobody waits for."""


class Extractor:
    """Runs one backbone on stacks of images; a session for each size is made once."""

    def __init__(self, backbone: Backbone, inference: InferenceConfig) -> None:
        self.backbone = backbone
        self._inference = inference
        self._sessions: dict[Size, Session] = {}

    def grid(self, size: Size) -> Grid:
        """Rows and columns of the cells of pictures of (width, height)."""
        return feature_grid(self.backbone, size)

    def features(self, images: Images, tell: Progress = unheard) -> Features:
        """[n, h, w, 3] to float16 [n, cells, c]: half the memory, and far finer than parts differ."""
        size = (images.shape[2], images.shape[1])
        if size not in self._sessions:
            self._sessions[size] = self.session(feature_graph(self.backbone, size))
        return self.outputs(self._sessions[size], "feat", images, tell).astype(np.float16)

    def session(self, graph: bytes) -> Session:
        """A session as the station would run it."""
        return Session(
            graph,
            provider=self._inference.provider,
            threads=self._inference.threads,
            allow_fallback=self._inference.allow_fallback,
        )

    def outputs(self, session: Session, output: str, images: Images, tell: Progress = unheard) -> NDArray[Any]:
        """One output of a graph for any number of images. Raises GoldlineError where float16 could not hold it."""
        parts: list[NDArray[Any]] = []
        for start in range(0, len(images), FEATURE_BATCH):
            found = session.run(images[start : start + FEATURE_BATCH])[output]
            if not np.abs(found).max() < LARGEST_FLOAT16:
                raise GoldlineError(f"backbone {self.backbone.name}: features beyond float16; scale its input")
            parts.append(found.astype(np.float16) if output == "feat" else found)
            tell(min(start + FEATURE_BATCH, len(images)), len(images))
        return np.concatenate(parts)
