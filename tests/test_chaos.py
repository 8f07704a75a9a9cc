"""Processes killed at random under load: every accepted trigger gets exactly one answer, and the consumer has it.

The long run with figures is `benchmarks/chaos.py`; this is one minute of it, and the proof that it would tell.
"""

import ast
import json
import re
import statistics
import subprocess
import sys
from collections import Counter
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
    assert recounted(tmp_path / "record") == {name: value for name, value in figures.items() if name != "detail"}


def recounted(directory: Path) -> dict[str, Any]:
    """The figures by somebody who has the three logs and nothing else."""
    triggers, events, kills = (
        [json.loads(line) for line in (directory / f"{name}.jsonl").read_text().splitlines()]
        for name in ("triggers", "events", "kills")
    )
    accepted = {row["trigger_id"] for row in triggers}
    answered = Counter(row["trigger_id"] for row in events)
    numbers = sorted(row["sequence"] for row in events)
    passed = [row for row in events if row["verdict"] == "PASS"]
    recovered = [took_ms for kill in kills if (took_ms := recovery_ms(kill, events)) is not None]
    return {
        "triggers": len(triggers),
        "verdicts": len(accepted & answered.keys()),
        "duplicates": sum(count > 1 for count in answered.values()) + len(numbers) - len(set(numbers)),
        "missing": len(accepted - answered.keys()),
        "kills": len(kills),
        "pass_without_frame": sum(
            row["frame_id"] is None or row["captured"] < row["triggered"] - 0.001 for row in passed
        ),
        "consumer_missing": len(set(range(1, numbers[-1] + 1)) - set(numbers)),
        "recovery_ms": {"p50": round(statistics.median(recovered)), "max": round(max(recovered))},
    }


def recovery_ms(kill: dict[str, Any], events: list[dict[str, Any]]) -> float | None:
    """Until the next verdict that is not ERROR, on a frame taken after it; of the camera, where its process was meant."""
    role, _, camera = kill["worker"].partition("@")
    decided = [
        row["decided"]
        for row in events
        if row["verdict"] != "ERROR" and row["captured"] > kill["t"] and (role != "capture" or row["camera"] == camera)
    ]
    return (min(decided) - kill["t"]) * 1000 if decided and role != "consumer" else None


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
    given: dict[str, Any] = {
        "triggers": triggers,
        "orders": [],
        "events": [row | {"received": 0.0} for row in record],
        "kills": kills,
    }
    return Logs(record=record, **(given | {"deadline_s": 1.0} | changed))


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
        (
            [event(1), event(2, unit_identifier="left-3"), event(3, unit_identifier="left-2")],
            "answers_to_another_order",
        ),
        ([event(1), event(2, camera="right"), event(3)], "answers_to_another_order"),
        ([event(1), event(2), event(3, decided=104.1)], "late_and_not_said"),
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


def test_every_page_names_scripts_and_tests_that_are_there() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    named = {
        (page.name, file) for page in pages for file in re.findall(r"(?:benchmarks|tests)/[\w/]+\.py", page.read_text())
    }
    assert len(named) > 50
    assert [each for each in sorted(named) if not (ROOT / each[1]).exists()] == []


def functions(file: Path) -> set[str]:
    """The tests that this file defines; none if it is not there."""
    if not file.exists():
        return set()
    return {node.name for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.FunctionDef)}
