"""An installed station on a device with systemd as PID 1, for the scripts that measure it. They share it with the tests."""

import sys
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from command_line import cannot, need, without, without_root, without_tests

if lacking := without_tests():
    cannot(f"needs {lacking}")

from edge import rehearsal
from tests.booted import booted
from tests.debian_root import debian, dependencies, wheel
from tests.installed import add_station, lay_out
from tests.stations import write_recipe

REFERENCES = 12


def need_a_device():
    need(without_root(), without("mmdebstrap", "mmdebstrap"), without("ip", "iproute2"))


def teach(folder, recipe, size):
    """The drawn product, taught from a dozen pictures."""
    rehearsal.draw_good_parts(folder / "good", REFERENCES, size)
    write_recipe(folder, recipe)
    camera = {"source": "simulated", "width": size[0], "height": size[1]}
    config = rehearsal.write_config(folder, {"left": camera})
    rehearsal.goldline("teach", rehearsal.PRODUCT, "--good", folder / "good", "--config", config)
    return folder


@contextmanager
def installed(folder, taught, cameras):
    """Not started. What it writes lies on the disk of `folder`."""
    state = folder / "disk"
    state.mkdir()
    with booted(dependencies(), debian(), state=state) as device:
        device.install(wheel(folder))
        lay_out(device)
        yield add_station(device, folder / "station", taught, cameras)
