"""The benchmarks' command lines: what cannot be run is one line and exit code 2, and nothing is measured without its fault."""

import importlib
import json
from pathlib import Path

import command_line
import disk_faults
import pytest

from tests.needs import needs_module

SCRIPTS = (
    "archive", "chaos", "disk_faults", "fleet", "fleet_rollout", "lanes", "latency", "network_faults", "overload", "plc", "power_cuts", "prepare",
    "reload", "service", "soak", "strangers",
)  # fmt: skip
WRONG = {
    "archive": "--parts 0", "chaos": "--rate 0", "disk_faults": "--only nothing",
    "fleet": "--stations 3", "fleet_rollout": "--running 9", "lanes": "--count x",
    "latency": "--events -1", "network_faults": "--cuts 5,x", "overload": "--loads 0", "plc": "--load nan",
    "power_cuts": "--cuts 0", "prepare": "--references 1", "reload": "--cameras 1", "service": "--runs 0", "soak": "--minutes 0",
    "strangers": "--silent 0",
}  # fmt: skip


@pytest.mark.parametrize("name", SCRIPTS)
def test_wrong_words_are_one_line_and_exit_code_2(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if name.startswith("fleet"):
        needs_module("nats", "fleet")
        needs_module("cryptography", "fleet")
    script = importlib.import_module(name)
    for words in (["--nonsense"], WRONG[name].split()):
        monkeypatch.setattr("sys.argv", [f"{name}.py", *words])
        with pytest.raises(SystemExit) as end:
            command_line.run(script.main)
        printed = capsys.readouterr()
        assert end.value.code == 2
        assert printed.out == "" and printed.err.count("\n") == 1 and printed.err.startswith(f"{name}.py: ")


def test_a_fault_whose_program_is_not_there_is_named_and_not_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row = ("clock +1 h and back", disk_faults.clock(1), {}, ("/nowhere/*/libfaketimeMT.so.1", "faketime"))
    found = disk_faults.measure(tmp_path / "0", tmp_path / "taught", row, 1.0)
    assert found == {"fault": row[0], "missing": "libfaketimeMT.so.1 (apt-get install faketime)"}
    assert capsys.readouterr().err.count("\n") == 1
    assert json.loads(json.dumps(found)) == found and not (tmp_path / "0").exists()


def test_a_fault_that_cannot_be_put_right_here_is_a_line_and_no_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    def fails() -> None:
        raise command_line.GoldlineError("the station did not get ready")

    with pytest.raises(SystemExit) as end:
        command_line.run(fails)
    assert end.value.code == 2 and capsys.readouterr().err.endswith(": the station did not get ready\n")
