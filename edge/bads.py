"""The known bad images of a reference set: kept whole, so that every later version can be tried on them."""

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.kept import PNG_SETTINGS
from edge.manifest import ViewManifest
from edge.references import ReferenceSet

Image = NDArray[np.uint8]


def bad_file(place: int) -> str:
    """Where a known bad image lies below the folder of its camera role."""
    return f"bads/{place:04d}.png"


def pack_bad(image: Image) -> bytes:
    """A picture [h, w, 3], lossless."""
    return cv2.imencode(".png", image, PNG_SETTINGS)[1].tobytes()


def known_bads(found: ReferenceSet, manifest: ViewManifest) -> Iterator[tuple[str, Image]]:
    """Each known bad image with its name, [h, w, 3] BGR."""
    for place, name in enumerate(manifest.bads):
        content = np.frombuffer(found.read(f"{manifest.camera}/{bad_file(place)}"), np.uint8)
        yield name, np.asarray(cv2.imdecode(content, cv2.IMREAD_COLOR), np.uint8)
