"""The demo product, taught from drawn photographs: a station's first verdicts without a camera or a part.

python -m edge.demo --config /etc/goldline/config.toml
"""

import argparse
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np

from edge.camera_config import SimulatedCamera
from edge.cameras import scene
from edge.config import Station, load_station
from edge.errors import GoldlineError
from edge.recipe import load_recipe
from edge.references import ReferenceSetError, Store, refuse_other_recipe
from edge.teach import teach
from edge.terminal import stages

# Enough to learn how good parts differ, and taught within a minute.
GOOD_PARTS = 40
# The least that limits can be taken from: half the time, on a device whose technician waits for it.
FEW_GOOD_PARTS = 20
# Added to the camera's seed: the station then inspects no part that it was taught from.
OTHER_SEED = 1_000_003
EXIT_CANNOT_RUN = 2


def camera_of(station: Station) -> SimulatedCamera:
    """The camera whose parts are drawn. Raises GoldlineError where the station has none, or no product."""
    cameras = [camera for camera in station.cameras.values() if isinstance(camera, SimulatedCamera)]
    if station.product is None or not cameras:
        raise GoldlineError("the demo needs a product and a simulated camera")
    return cameras[0]


def is_taught(station: Station, product: str) -> bool:
    """Whether the station can judge the product as its recipe is now; a demo of another day may have had another."""
    store, recipe = Store(station.state_dir, product), load_recipe(station, product)
    try:
        refuse_other_recipe(recipe, store.load())
    except ReferenceSetError:
        return False
    return True


def draw(folder: Path, camera: SimulatedCamera, count: int = GOOD_PARTS) -> None:
    """Photographs of good parts, as the simulated camera would take them."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(camera.seed + OTHER_SEED)
    for number in range(count):
        picture, _truth = scene.render("good", generator, (camera.width, camera.height))
        # Compressed least: a third of the time, for files a little larger.
        cv2.imwrite(str(folder / f"{number:02}.png"), picture, [cv2.IMWRITE_PNG_COMPRESSION, 1])


def teach_once(station: Station) -> bool:
    """Teach the station's product unless it has been taught. Returns whether it was done now. Raises GoldlineError."""
    camera = camera_of(station)
    product = str(station.product)
    if is_taught(station, product):
        return False
    with tempfile.TemporaryDirectory() as folder, stages() as tell:
        draw(Path(folder), camera, FEW_GOOD_PARTS)
        teach(station, product, Path(folder), tell)
    return True


def main() -> int:
    """Teach the demo of this configuration; 0 when it is taught."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, required=True, help="the station's config.toml")
    try:
        teach_once(load_station(parser.parse_args().config))
    except GoldlineError as problem:
        sys.stderr.write(f"demo: {problem}\n")
        return EXIT_CANNOT_RUN
    return 0


if __name__ == "__main__":
    sys.exit(main())
