"""A fresh Debian becomes a station: every command a technician gives, what it took, and the first verdict.

    sudo .venv/bin/python benchmarks/fresh_device.py

Runs on a device of its own, in namespaces of this machine (tests/booted.py). It has no network: Goldline's wheel and
those it needs come as a folder, as on a device in a plant (docs/install.md). Needs root, mmdebstrap, uv and pip.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.booted import Device, booted
from tests.debian_root import debian, wheel

Result = TypeVar("Result")
# A machine that is busy with other things takes many times what a device does.
WITHIN_S = 900.0
VENV = "/opt/goldline"
INSTALL_PIP = ("install", "--quiet", "--no-index", "--find-links", "/media/wheels", "--disable-pip-version-check")


class Log:
    """Prints each command with its seconds."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def timed(self, what: str, do: Callable[[], Result]) -> Result:
        """Do it, and say how long it took."""
        began_s = time.monotonic()
        result = do()
        self.seconds[what] = round(time.monotonic() - began_s, 1)
        print(f"{self.seconds[what]:7.1f} s  {what}", flush=True)
        return result


def make_wheelhouse(folder: Path) -> Path:
    """Goldline's wheel and those it needs, in one folder."""
    own = wheel(folder)
    words = ("download", "--quiet", "--disable-pip-version-check", "--dest", folder, f"goldline[cpu] @ file://{own}")
    subprocess.run([sys.executable, "-m", "pip", *map(str, words)], check=True)
    return folder


def copy(device: Device, folder: Path) -> None:
    device.run("mkdir", "-p", "/media/wheels")
    for file in folder.glob("*.whl"):
        device.path(f"/media/wheels/{file.name}").write_bytes(file.read_bytes())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wheels", type=Path, help="a folder with Goldline's wheel and all that it needs")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    arguments = parser.parse_args()
    log = Log()
    with tempfile.TemporaryDirectory() as place:
        root = log.timed("mmdebstrap (or taken from the cache)", debian)
        house = arguments.wheels or log.timed("uv build --wheel; pip download", lambda: make_wheelhouse(Path(place)))
        with booted(root, name="press-shop-7") as device:
            set_up(device, house, log)
    if arguments.json:
        print(json.dumps(log.seconds))


def set_up(device: Device, house: Path, log: Log) -> None:
    def give(*words: str) -> str:
        return log.timed(" ".join(words), lambda: device.run(*words, timeout_s=WITHIN_S))

    log.timed("copy the wheels onto it", lambda: copy(device, house))
    began_s = time.monotonic()
    give("python3", "-m", "venv", VENV)
    give(f"{VENV}/bin/pip", *INSTALL_PIP, "goldline[cpu]")
    give(f"{VENV}/bin/goldline", "install", "--dry-run")
    print(give(f"{VENV}/bin/goldline", "install"))
    print(give("systemctl", "is-active", "goldline"))
    print(give("goldline", "tail", "--count", "3"))
    print(f"{time.monotonic() - began_s:7.1f} s  from the bare system to three verdicts")
    print(give("goldline", "install").splitlines()[0])


if __name__ == "__main__":
    main()
