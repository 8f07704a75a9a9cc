"""`goldline camera` as a test says it: a station, a command line, what it printed."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
STATION = """
[cameras.trunk]
source = "simulated"
width = 320
height = 240
rate_hz = 20.0
[cameras.asked]
source = "simulated"
width = 320
height = 240
trigger = { mode = "software" }
[cameras.top]
source = "gige"
address = "127.0.0.1"
trigger = { mode = "software" }
shot = [
    { name = "bright", role = "bright", features = { GainRaw = 3 } },
    { name = "dark", role = "dark", features = { GainRaw = 0 } },
]
"""


def command(config: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "edge", "camera", *words, "--config", str(config)]


def goldline(config: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run to its end, in this test's network."""
    return subprocess.run(command(config, *words), capture_output=True, text=True, check=False, cwd=ROOT, timeout=120)


def said(config: Path, *words: str) -> str:
    ran = goldline(config, *words)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def refused(config: Path, *words: str) -> str:
    """One clear line, exit code 2, nothing on stdout."""
    ran = goldline(config, *words)
    assert (ran.returncode, ran.stdout) == (2, ""), ran
    assert ran.stderr.count("\n") == 1, ran.stderr
    return ran.stderr.removeprefix("goldline: ").strip()


def readings(config: Path, *words: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in said(config, "watch", *words, "--json").splitlines()]
