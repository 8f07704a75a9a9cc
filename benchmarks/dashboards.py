"""A faulty line for some minutes, its boards as pictures and as a table: `python -m benchmarks.dashboards`.

A camera goes and comes, inspection and a lane die, a deadline is changed; Prometheus scrapes as it is shipped.
"""

import argparse
import contextlib
import io
import sys
import tempfile
import time
from pathlib import Path

from edge import rehearsal
from tests.faulty_station import Faulty, faulty
from tests.stations import CAMERA, RECIPE, SIZE, write_recipe
from tools import dashboard_table, draw_dashboards

# Of one camera: on a machine with time to spare it keeps most of it.
DEADLINE_MS = 40.0


def taught(directory: Path) -> Path:
    rehearsal.draw_good_parts(directory / "good", 12, SIZE)
    write_recipe(directory, RECIPE)
    config = rehearsal.write_config(directory, {"left": CAMERA})
    rehearsal.goldline("teach", rehearsal.PRODUCT, "--good", directory / "good", "--config", config)
    return directory


def live(line: Faulty, minutes: float) -> None:
    """What happens at which share of the time."""
    events = (
        (0.25, lambda: line.take_camera_away(minutes * 3)),
        (0.45, lambda: line.kill("inspection")),
        (0.6, lambda: line.change_deadline(1500.0)),
        (0.75, lambda: line.kill("lane@modbus")),
    )
    start = time.monotonic()
    for share, happen in (*events, (1.0, lambda: None)):
        time.sleep(max(0.0, start + share * minutes * 60 - time.monotonic()))
        happen()


def shown(main: object, *words: str) -> str:
    """What a tool says, called with these words."""
    sys.argv = ["tool", *words]
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        main()
    return output.getvalue()


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--minutes", type=float, default=12.0, help="how long (default: %(default)s)")
    arguments.add_argument("--into", type=Path, default=Path("docs/pictures"), help="folder (default: %(default)s)")
    chosen = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="boards-") as folder:
        station = Path(folder, "station")
        station.mkdir()
        with faulty(taught(Path(folder, "taught")), station, hastens=False, deadline_ms=DEADLINE_MS) as line:
            live(line, chosen.minutes)
            url = ["--prometheus", line.prometheus.url]
            minutes = f"{chosen.minutes:g}"
            shown(draw_dashboards.main, *url, "--minutes", minutes, "--into", str(chosen.into))
            print(shown(dashboard_table.main, *url, "--range", f"{chosen.minutes * 60:.0f}s"))


if __name__ == "__main__":
    main()
