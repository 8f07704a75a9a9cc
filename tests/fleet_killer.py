"""Puts two bundles in force by turns, and kills the process that does it at its next step each time: `fleet_killer CONFIG A B`.

Every process is forked, and kills itself with SIGKILL before the n-th thing that it does to the file system. After each
death this process looks at the disk as inspection would that starts then. Prints how many deaths there were.
"""

import os
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path

from edge import product_switch
from edge.config import Station, load_station
from edge.fleet import product_files
from edge.fleet.arrival import Arrivals
from edge.fleet.kept import Kept
from edge.fleet.plan import WantedProduct
from tests.fleet_product import PRODUCT

TOUCHES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.symlink", "os.truncate", "shutil.copyfile")


def put(station: Station, bundle: str, serial: int) -> Arrivals:
    kept = Kept(station.state_dir)
    kept.make()
    arrivals = Arrivals(station, kept)
    arrivals.put_in_force(PRODUCT, WantedProduct(bundle=bundle), serial, datetime.now(UTC))
    return arrivals


def die_at(step: int) -> None:
    """Of the things that change the disk; of those in the folder where bundles are unpacked, one in thirty."""
    left, unpacked = step, 0

    def count(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal left, unpacked
        is_write = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if event in TOUCHES or is_write:
            is_unpacking = "/fleet/staging/" in str(arguments[0])
            unpacked += is_unpacking
            if is_unpacking and unpacked % 30:
                return
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)


def killed_at(step: int, station: Station, bundle: str, serial: int) -> bool:
    child = os.fork()
    if child == 0:
        die_at(step)
        put(station, bundle, serial)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    assert status in (0, signal.SIGKILL), status
    return status == signal.SIGKILL


def main() -> int:
    station, names = load_station(Path(sys.argv[1])), sys.argv[2:4]
    pairs = {}
    for serial, name in enumerate((*names, names[0]), start=1):
        put(station, name, serial)
        pairs[name] = product_files.on_disk(station, PRODUCT)
    deaths, serial, now = 0, 10, names[0]
    while True:
        serial, wanted = serial + 1, names[1] if now == names[0] else names[0]
        was_killed = killed_at(deaths + 1, station, wanted, serial)
        product_switch.finish(station, PRODUCT)
        found = product_files.on_disk(station, PRODUCT)
        assert found in (pairs[now], pairs[wanted]), (deaths, found, pairs)
        if not was_killed:
            assert found == pairs[wanted]
            print(deaths)
            return 0
        deaths += 1
        arrivals = put(station, wanted, serial)
        assert product_files.on_disk(station, PRODUCT) == pairs[wanted], deaths
        known = arrivals.record.of(PRODUCT)
        assert known.active is not None and known.active.bundle == wanted
        assert known.previous is not None and known.previous.bundle == now, (deaths, known)
        now = wanted


if __name__ == "__main__":
    sys.exit(main())
