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

from edge.config import Station, load_station
from edge.demo import GOOD_PARTS, camera_of, draw, is_taught
from edge.errors import GoldlineError

# From the station's end to that of the printing, so that the last events are seen.
LAST_EVENTS_S = 0.3
# The printing waits for the station as long as a slow device may take to load and warm it; it is ended with it anyway.
START_S = 600


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
    camera, product = camera_of(station), str(station.product)
    if is_taught(station, product):
        return 0
    good = station.state_dir / "demo" / "good"
    print(f"demo: drawing {GOOD_PARTS} good parts into {good}", flush=True)
    draw(good, camera)
    return subprocess.run(goldline("teach", product, "--good", str(good), config=config), check=False).returncode


def goldline(*words: str, config: Path) -> list[str]:
    """The command line `goldline WORDS --config CONFIG`."""
    return [sys.executable, "-m", "edge", *words, "--config", str(config)]


def run(config: Path, seconds: str | None) -> int:
    """The station, and its events on the terminal; the station's exit code."""
    events = subprocess.Popen(goldline("tail", "--silence", str(START_S), config=config))
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
