"""A product to teach in tests: small pictures of one drawn scene, a few pixels off each time, some with a deviation."""

import atexit
import functools
import shutil
import tempfile
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.config import Station, load_station
from edge.records import Pose
from edge.teach import teach
from tests.drawn import Scene

Image = NDArray[np.uint8]

SIZE = (256, 192)
PRODUCT = "lid"
# Small enough to teach in a second or two.
RECIPE = """
[[regions]]
name = "part"
[regions.anomaly]
working_px = 128
"""
# Where the deviation of a bad lid lies: x, y, width, height.
SPOT = (116, 84, 24, 24)


class Lids:
    """Pictures of lids; every call to `good` is another one."""

    def __init__(self, seed: int = 7) -> None:
        self._scene = Scene(3, SIZE)
        self._random = np.random.default_rng(seed)

    def good(self) -> Image:
        """A good one, up to two pixels off."""
        dx, dy = self._random.uniform(-2, 2, 2)
        return self.moved(float(dx), float(dy))

    def moved(self, dx: float, dy: float) -> Image:
        """A good one, so many pixels off."""
        return self._scene.view(Pose(dx_px=dx, dy_px=dy))

    def bad(self) -> Image:
        """One with something foreign at SPOT."""
        image = self.good()
        x, y, width, height = SPOT
        cv2.rectangle(image, (x, y), (x + width, y + height), (20, 220, 250), -1)
        cv2.rectangle(image, (x + 6, y + 6), (x + width - 6, y + height - 6), (10, 10, 200), -1)
        return image


def write(directory: Path, images: dict[str, Image]) -> Path:
    """The images as files of these names, in a folder."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, image in images.items():
        assert cv2.imwrite(str(directory / name), image)
    return directory


def goods(directory: Path, count: int, seed: int = 7) -> Path:
    """A folder of good lids."""
    lids = Lids(seed)
    return write(directory, {f"good-{index:02d}.png": lids.good() for index in range(count)})


def station(directory: Path, recipe: str = RECIPE) -> Station:
    """A station with the lid's recipe and nothing taught."""
    (directory / "pipelines" / PRODUCT).mkdir(parents=True)
    (directory / "pipelines" / PRODUCT / "recipe.toml").write_text(recipe)
    (directory / "config.toml").write_text('state_dir = "state"\npipelines_dir = "pipelines"\n')
    return load_station(directory / "config.toml")


def taught(directory: Path, recipe: str = RECIPE, count: int = 10) -> Station:
    """A station with the lid's recipe, taught from so many good ones, which lie in its folder `good`.

    A copy, the test's own: teaching them takes seconds, so the same are taught once in a run of the tests.
    """
    shutil.copytree(_taught(recipe, count), directory, symlinks=True, dirs_exist_ok=True)
    return load_station(directory / "config.toml")


@functools.cache
def _taught(recipe: str, count: int) -> Path:
    directory = Path(tempfile.mkdtemp(prefix="lids-"))
    atexit.register(shutil.rmtree, directory)
    teach(station(directory, recipe), PRODUCT, goods(directory / "good", count), quiet)
    return directory


def quiet(stage: str, done: int, total: int) -> None:
    """Progress nobody watches."""
