"""What a reference set keeps of its images, beside what it judges with: enough to add to it, and to try other limits.

<region>.kept.npz   the regions as they were cut, lossless, and each image's distances by references without it
scores.npz          every check's score of every good image, by references without it
bads/               the known bad images, lossless (`bads.py`)
"""

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.references import Arrays

Images = NDArray[np.uint8]
Floats = NDArray[np.float32]

# zlib's fastest: 20 % larger than its best, in a tenth of the time.
PNG_SETTINGS = (cv2.IMWRITE_PNG_COMPRESSION, 1)


def pack_kept(images: Sequence[Images], maps: Floats) -> Arrays:
    """Pictures [h, w, 3] as one run of PNG bytes with where each ends, and their distances [n, cells]."""
    # Grown in place: of 300 pictures in tiles these are 130 MB, and a list of them to be joined would be as many again.
    png, ends = bytearray(), np.zeros(len(images), np.int64)
    for row, image in enumerate(images):
        png += cv2.imencode(".png", image, PNG_SETTINGS)[1].tobytes()
        ends[row] = len(png)
    return {"png": np.frombuffer(png, np.uint8), "ends": ends, "maps": maps.astype(np.float16)}


def append_kept(before: Mapping[str, NDArray[np.generic]], images: Sequence[Images], maps: Floats) -> Arrays:
    """The same with more pictures behind; `maps` [n + m, cells] are all of them."""
    added = pack_kept(images, maps)
    ends = np.asarray(before["ends"], np.int64)
    return {
        "png": np.concatenate([np.asarray(before["png"], np.uint8), added["png"]]),
        "ends": np.concatenate([ends, added["ends"] + ends[-1]]),
        "maps": added["maps"],
    }


def kept_images(arrays: Mapping[str, NDArray[np.generic]], places: Sequence[int]) -> Images:
    """Some of the pictures, [n, h, w, 3]."""
    content = np.asarray(arrays["png"], np.uint8)
    ends = [0, *(int(end) for end in arrays["ends"])]
    return np.stack([
        np.asarray(cv2.imdecode(content[ends[place] : ends[place + 1]], cv2.IMREAD_COLOR), np.uint8)
        for place in places
    ])  # fmt: skip
