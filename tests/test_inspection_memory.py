"""Inspection holds the memory that its product takes: not that of the largest batch it tried, nor of products before it."""

import json
import subprocess
import sys
from pathlib import Path

# Kept before were 318 MiB for the batch that was not chosen, and 90 to 120 MiB of products before.
MOST_MIB = 40.0
# Lines that both programs begin with. In MiB.
RESIDENT = """
import json, re, sys, threading
from pathlib import Path
def resident():
    return int(re.search(r"VmRSS:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024
"""
# A batch of eight is tried, and one is chosen.
CALIBRATES = """
from edge.backbone import feature_graph, load_backbone
from edge.inference import Session
session = Session(feature_graph(load_backbone(), (320, 320)), threads=2)
session._time = lambda size, runs, crowded: session._run(session._noise(size), 0, crowded=crowded) and float(size)
session.run(session._noise(1))
before = resident()
assert session.calibrate(allowed=(1, 8)).max_batch == 1
print(json.dumps([before, resident()]))
"""
# Products one after the other, each beside the one before, as `prepare` has it; then what glibc still had to give back.
PREPARES = """
from edge import judging, rehearsal
from edge.config import load_station
from edge.metrics import Page, page_size
import ctypes, os
station, memory = load_station(Path(sys.argv[1])), os.memfd_create("page")
os.posix_fallocate(memory, 0, page_size("inspection", ["left"]))
page, found, in_force = Page(memory, "inspection", ["left"]), [], None
def load():
    global ready
    ready = judging.load(station, rehearsal.PRODUCT, None)
for _ in range(4):
    thread = threading.Thread(target=load)
    thread.start()
    thread.join()
    in_force, ready = judging.Judging.begin(ready, 1, page, {"left": "main"}), None
    for other in threading.enumerate():
        if other.name == "trim":
            other.join()
    found.append(resident())
ctypes.CDLL(None).malloc_trim(0)
found.append(resident())
print(json.dumps(found))
"""


def figures(program: str, *words: str | Path) -> list[float]:
    """What the program prints."""
    command = [sys.executable, "-c", RESIDENT + program, *words]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def test_after_its_calibration_a_session_holds_what_the_batches_that_it_chose_take() -> None:
    before, after = figures(CALIBRATES)
    assert after - before < MOST_MIB


def test_what_products_before_took_is_given_back(taught: Path) -> None:
    *found, trimmed = figures(PREPARES, taught / "config.toml")
    assert found[-1] - trimmed < MOST_MIB, found
