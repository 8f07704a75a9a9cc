"""`make demo`: a station without hardware, from nothing to verdicts on the terminal.

1. Draw photographs of good parts, and teach the product from them, unless it has been taught here before, by the
   recipe as it is now.
2. Run the station of config.toml, and beside it print its events as they come.

Ctrl-C, or the end of `--for SECONDS` (or $FOR), ends it. Exits as `goldline run` does.
"""

import argparse
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np

from edge.camera_config import SimulatedCamera
from edge.cameras import scene
from edge.config import Station, load_station
from edge.errors import GoldlineError
from edge.recipe import load_recipe
from edge.references import ReferenceSetError, Store, refuse_other_recipe

# Enough to learn how good parts differ, and taught within a minute.
GOOD_PARTS = 40
# Added to the camera's seed: the station then inspects no part that it was taught from.
OTHER_SEED = 1_000_003
# From the station's end to that of the printing, so that the last events are seen.
LAST_EVENTS_S = 0.3


def main() -> int:
    """Teach once, then run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=Path("config.toml"), help="default: %(default)s")
    parser.add_argument("--for", dest="seconds", default=os.environ.get("FOR"), help="end by itself after this long")
    arguments = parser.parse_args()
    try:
        return teach(load_station(arguments.config), arguments.config) or run(arguments.config, arguments.seconds)
    except GoldlineError as problem:
        print(f"demo: {problem}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def teach(station: Station, config: Path) -> int:
    """The exit code of `goldline teach`, or 0 where the product has its reference set."""
    cameras = [camera for camera in station.cameras.values() if isinstance(camera, SimulatedCamera)]
    if station.product is None or not cameras:
        raise GoldlineError(f"{config}: the demo needs a product and a simulated camera")
    if is_taught(station, station.product):
        return 0
    good = station.state_dir / "demo" / "good"
    draw(good, cameras[0])
    return subprocess.run(
        goldline("teach", station.product, "--good", str(good), config=config), check=False
    ).returncode


def is_taught(station: Station, product: str) -> bool:
    """Whether the station can judge the product as its recipe is now; a demo of another day may have had another."""
    store, recipe = Store(station.state_dir, product), load_recipe(station, product)
    try:
        refuse_other_recipe(recipe, store.load())
    except ReferenceSetError:
        return False
    return True


def goldline(*words: str, config: Path) -> list[str]:
    """The command line `goldline WORDS --config CONFIG`."""
    return [sys.executable, "-m", "edge", *words, "--config", str(config)]


def draw(folder: Path, camera: SimulatedCamera) -> None:
    """Photographs of good parts, as the simulated camera would take them."""
    print(f"demo: drawing {GOOD_PARTS} good parts into {folder}", flush=True)
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(camera.seed + OTHER_SEED)
    for number in range(GOOD_PARTS):
        picture, _truth = scene.render("good", generator, (camera.width, camera.height))
        # Compressed least: a third of the time, for files a little larger.
        cv2.imwrite(str(folder / f"{number:02}.png"), picture, [cv2.IMWRITE_PNG_COMPRESSION, 1])


def run(config: Path, seconds: str | None) -> int:
    """The station, and its events on the terminal; the station's exit code."""
    events = subprocess.Popen(goldline("tail", config=config))
    station = subprocess.Popen(goldline("run", *(["--for", seconds] if seconds else []), config=config))
    # A terminal's Ctrl-C reaches the station by itself; a signal to this process alone is passed on. The station then
    # ends in its own time, and is waited for.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: station.send_signal(signal.SIGTERM))
    code = station.wait()
    time.sleep(LAST_EVENTS_S)
    events.terminate()
    events.wait()
    return code


if __name__ == "__main__":
    sys.exit(main())
