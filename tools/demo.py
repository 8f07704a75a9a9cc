"""`make demo`: a station without hardware, from nothing to verdicts on the terminal.

1. Draw photographs of good parts, and teach the product from them, if it was never taught here.
2. Run the station of config.toml, and beside it print its events as they come.

Ctrl-C, or the end of `--for SECONDS` (or of $FOR), ends both. Exits as `goldline run` does.
"""

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np

from edge.cameras import scene
from edge.config import SimulatedCamera, Station, load_station
from edge.errors import GoldlineError

GOLDLINE = (sys.executable, "-m", "edge")
# Enough to learn how good parts differ, and taught in seconds.
GOOD_PARTS = 40
# Added to the camera's seed: the station never sees a part that it was taught from.
OTHER_SEED = 1_000_003
# Printing events ends when the station does; it is given this long to print the last.
LAST_EVENTS_S = 1.0


def main() -> int:
    """Teach once, then run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=Path("config.toml"), help="default: %(default)s")
    parser.add_argument("--for", dest="seconds", default=os.environ.get("FOR"), help="end by itself after this long")
    arguments = parser.parse_args()
    # A subscriber of a terminal's Ctrl-C too: the children end by themselves, and this program waits for them.
    try:
        station = load_station(arguments.config)
        taught = teach(station, arguments.config)
    except GoldlineError as problem:
        print(f"demo: {problem}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return taught or run(arguments.config, arguments.seconds)


def teach(station: Station, config: Path) -> int:
    """The exit code of `goldline teach`, or 0 where the product has its reference set."""
    product = station.product or "trunk"
    if (station.state_dir / "references" / product / "active").exists():
        return 0
    good = station.state_dir / "demo" / "good"
    draw(good, next(camera for camera in station.cameras.values() if isinstance(camera, SimulatedCamera)))
    command = [*GOLDLINE, "teach", product, "--good", str(good), "--config", str(config)]
    print(f"demo: goldline {' '.join(command[3:-2])}", flush=True)
    return subprocess.run(command, check=False).returncode


def draw(folder: Path, camera: SimulatedCamera) -> None:
    """Photographs of good parts, as the simulated camera would take them."""
    print(f"demo: drawing {GOOD_PARTS} good parts into {folder}", flush=True)
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(camera.seed + OTHER_SEED)
    for number in range(GOOD_PARTS):
        picture, _truth = scene.render("good", generator, (camera.width, camera.height))
        # The least compression: a third of the time, for files a little larger.
        cv2.imwrite(str(folder / f"{number:02}.png"), picture, [cv2.IMWRITE_PNG_COMPRESSION, 1])


def run(config: Path, seconds: str | None) -> int:
    """The station, and its events on the terminal; the station's exit code."""
    # Ctrl-C reaches the whole foreground group: the station ends in its own time, and is waited for. A SIGTERM, or a
    # SIGINT to this process alone, is passed on.
    station = subprocess.Popen([*GOLDLINE, "run", "--config", str(config), *(["--for", seconds] if seconds else [])])
    events = subprocess.Popen([*GOLDLINE, "tail", "--config", str(config)])
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: station.send_signal(signal.SIGINT))
    try:
        return station.wait()
    finally:
        with contextlib.suppress(subprocess.TimeoutExpired):
            events.wait(LAST_EVENTS_S)
        events.terminate()
        events.wait()


if __name__ == "__main__":
    sys.exit(main())
