"""What such a check is to the inspector: something that is shown a cut of the frame, and answers an order."""

from collections.abc import Mapping
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from edge.judge import Finding
from edge.records import Pose

Image = NDArray[np.uint8]
Floats = NDArray[np.float32]
Box = tuple[int, int, int, int]
Size = tuple[int, int]

SeenT = TypeVar("SeenT")


class Check(Protocol[SeenT]):
    """One check of one region. Looking costs time and knows no order; holding what was seen against one costs none."""

    @property
    def name(self) -> str:
        """Region and kind: `label.code`."""
        ...

    @property
    def box(self) -> Box:
        """What it looks at, in px of the golden picture: x, y, width, height."""
        ...

    @property
    def size(self) -> Size:
        """Width and height that the box is scaled to for it."""
        ...

    @property
    def answers(self) -> frozenset[str]:
        """The keys of an order that it answers."""
        ...

    @property
    def sight(self) -> str:
        """What it looks at, by name: checks of one sight see the same, and it is looked at once."""
        ...

    def look(self, cut: Image, embedding: Floats | None) -> SeenT:
        """What is on a cut [h, w, 3] BGR of its `size`; `embedding` [e] is the region's, where it has a graph."""
        ...

    def posed(self, seen: SeenT, pose: Pose) -> SeenT:
        """What was seen, where the golden picture lies at `pose`: another only to who measures in the camera's picture."""
        ...

    def hold(self, seen: SeenT, expect: Mapping[str, str]) -> Finding:
        """What was seen, held against what an order expects."""
        ...
