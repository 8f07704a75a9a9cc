"""A cable that is cut between station and reader: nothing is lost, and a stopped reader takes nothing from another."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.needs import in_ci, needs_program, needs_root


@pytest.mark.slow
def test_a_cut_cable_and_a_stopped_reader_cost_nobody_an_event():
    needs_root()
    needs_program("ip", "iproute2")
    script = Path(__file__).parents[1] / "benchmarks" / "network_faults.py"
    command = [sys.executable, script, "--rate", "50", "--events", "2000", "--cuts", "6"]
    done = subprocess.run(
        [*command, "--stall", "3", "--repeats", "1", "--json"], capture_output=True, text=True, check=False, timeout=150
    )
    if "needs root and network namespaces" in done.stderr and not in_ci():
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr[-2000:]
    result = json.loads(done.stdout)
    assert result["away"]["lost"]["max"] == 0
    assert result["cut_6_s"]["lost"]["max"] == 0
    assert (result["stalled"]["healthy_lost"], result["stalled"]["stalled_lost"]) == (0, 0)
    # After 2 s without a word, and some more on a busy machine; TCP by itself would not have noticed at all.
    assert result["cut_6_s"]["noticed_s"]["max"] < 6
