"""Processes killed at random under load: every accepted trigger gets exactly one answer, and the consumer has it.

The long run with figures is `benchmarks/chaos.py`; this is one minute of it, and the proof that it would tell.
"""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import chaos_joined
import pytest
from chaos_joined import Logs

ROOT = Path(__file__).parents[1]
STREAM = "8c8b1e1e-0000-4000-8000-000000000001"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_minute_of_kills_breaks_no_promise(tmp_path: Path) -> None:
    """Teaching and draining come on top; a busy machine gets all the time it needs."""
    words = ["--seconds", "60", "--rate", "24", "--every", "2.2", "--json", "--record", str(tmp_path / "record")]
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "chaos.py", *words],
        check=False,
        capture_output=True,
        text=True,
        timeout=560,
    )
    assert done.returncode == 0, (done.stdout[-3000:], done.stderr[-3000:])
    figures = json.loads(done.stdout)
    assert figures["triggers"] == figures["verdicts"] > 100
    assert [figures[name] for name in ("duplicates", "missing", "pass_without_frame", "consumer_missing")] == [0] * 4
    assert figures["kills"] >= 15
    assert figures["recovery_ms"]["max"] is not None
    assert figures["detail"]["verdicts"]["PASS"] > 0 < figures["detail"]["verdicts"]["FAIL"]


def event(number: int, **changed: Any) -> dict[str, Any]:
    """A row of the record: trigger `number`, judged on a frame of its own."""
    row = {
        "sequence": number, "stream": STREAM, "trigger_id": number, "camera": "left", "verdict": "PASS", "reason": None,
        "detail": None, "on_time": True, "frame_id": number, "unit_identifier": f"left-{number}", "score": 0.5,
        "triggered": 100.0 + number, "captured": 100.1 + number, "decided": 100.2 + number,
    }  # fmt: skip
    return row | changed


def logs(record: list[dict[str, Any]], **changed: Any) -> Logs:
    """What three orders leave when all is well, but for what is changed."""
    triggers = [{"trigger_id": n, "camera": "left", "unit_identifier": f"left-{n}", "t": 100.0 + n} for n in (1, 2, 3)]
    kills = [{"t": 101.5, "signal": "SIGKILL", "worker": "capture@left"}]
    given = {"triggers": triggers, "orders": [], "events": [row | {"received": 0.0} for row in record], "kills": kills}
    return Logs(record=record, **(given | changed))


WELL = [event(1), event(2), event(3)]


def test_a_run_without_fault_is_told_as_such() -> None:
    figures = chaos_joined.joined(logs(WELL, truth={"left": ["PASS"]}))
    assert chaos_joined.broken(figures) == []
    assert (figures["triggers"], figures["verdicts"], figures["kills"]) == (3, 3, 1)
    assert figures["recovery_ms"] == {"p50": 700, "max": 700}, (
        "trigger 2 was taken after the kill and decided 0.7 s later"
    )


def test_an_order_without_an_answer_counts_once_its_event_shows_that_it_was_taken() -> None:
    unanswered = [{"unit_identifier": f"left-{n}", "outcome": "unanswered", "t": 0.0} for n in (3, 4)]
    found = logs(WELL, orders=unanswered)
    found.triggers.pop()
    figures = chaos_joined.joined(found)
    assert chaos_joined.broken(figures) == []
    assert (figures["triggers"], figures["detail"]["unanswered"], figures["detail"]["unanswered_but_taken"]) == (
        3,
        2,
        1,
    )


@pytest.mark.parametrize(
    ("record", "broken"),
    [
        ([event(1), event(2)], "missing"),
        ([event(1), event(2), event(3), event(4, trigger_id=2)], "duplicates"),
        ([event(1), event(2), event(3), event(4, unit_identifier="left-1")], "duplicates"),
        ([event(1), event(2), event(3, frame_id=None)], "pass_without_frame"),
        ([event(1), event(2), event(3, captured=102.9)], "pass_without_frame"),
        ([event(1), event(2, captured=103.1), event(3)], "pass_without_frame"),
        ([event(1), event(2), event(3), event(4)], "strangers"),
        ([event(1), event(2), event(3, verdict="FAIL")], "other_than_the_plain_loop"),
        ([event(1), event(2), event(3, sequence=4)], "gaps"),
    ],
)
def test_each_broken_promise_is_found(record: list[dict[str, Any]], broken: str) -> None:
    assert broken in chaos_joined.broken(chaos_joined.joined(logs(record, truth={"left": ["PASS"]})))


def test_an_id_that_was_used_and_has_no_event_is_missing_though_nobody_heard_of_it() -> None:
    found = logs([event(1), event(3, sequence=2)])
    found.triggers.pop(1)
    assert chaos_joined.joined(found)["missing"] == 1


def test_what_the_consumer_lacks_or_has_twice_is_found() -> None:
    row = WELL[1] | {"received": 0.0}
    lacks, twice = logs(WELL, events=[WELL[0], row]), logs(WELL, events=[WELL[0], row, row, WELL[2]])
    assert chaos_joined.joined(lacks)["consumer_missing"] == 1
    assert "duplicates" in chaos_joined.broken(chaos_joined.joined(twice))


def test_the_page_of_promises_names_tests_that_are_there() -> None:
    page = (ROOT / "docs" / "reliability.md").read_text()
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", page)
    assert len(named) > 20
    assert [f"{file}::{name}" for file, name in named if name not in functions(ROOT / file)] == []


def functions(file: Path) -> set[str]:
    """The tests that this file defines; none if it is not there."""
    if not file.exists():
        return set()
    return {node.name for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.FunctionDef)}
