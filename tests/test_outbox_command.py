"""`goldline outbox`: who has acknowledged what, and to forget one, while the station has the file open."""

import json
from pathlib import Path

import pytest

from edge.__main__ import main
from edge.outbox import Outbox
from tests.test_outbox import draft


@pytest.fixture
def goldline(tmp_path, monkeypatch, capsys):
    config = tmp_path / "config.toml"
    config.write_text('state_dir = "state"\n[cameras.left]\nsource = "simulated"\n')
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["goldline", "outbox", *words])
        code = main()
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def opened(folder: Path) -> Outbox:
    return Outbox(folder / "state" / "outbox.sqlite3", "run")


def test_it_says_who_has_what(goldline, tmp_path):
    with opened(tmp_path) as outbox:
        outbox.commit([draft(number) for number in range(1, 6)])
        outbox.commit([], {"mes": 3, "spc": 5})
        code, said, _ = goldline("status", "--json")
        found = json.loads(said)
        assert code == 0
        assert (found["low"], found["head"]) == (1, 5)
        assert [(one["name"], one["upto"], one["unacknowledged"]) for one in found["consumers"]] == [
            ("mes", 3, 2),
            ("spc", 5, 0),
        ]
        code, said, _ = goldline("status")
        assert (code, "events 1 to 5" in said, "mes                  has up to 3, 2 to come" in said) == (0, True, True)


def test_a_consumer_is_forgotten_while_the_station_writes(goldline, tmp_path):
    with opened(tmp_path) as outbox:
        outbox.commit([draft(1)], {"mes": 1, "spc": 0})
        assert goldline("forget", "spc")[0] == 0
        outbox.commit([draft(2)])
        assert [one.name for one in outbox.consumers()] == ["mes"]
        code, said, _ = goldline("forget", "spc")
        assert (code, said) == (1, "no consumer 'spc': known are mes\n")


def test_what_is_not_there_is_said_in_one_line(goldline, tmp_path):
    code, _, problem = goldline("status")
    assert code == 2
    assert problem.endswith("outbox.sqlite3: there is no outbox yet\n")
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "outbox.sqlite3").write_bytes(b"nothing of the kind" * 100)
    code, _, problem = goldline("forget", "spc")
    assert code == 2
    assert "the outbox cannot be used" in problem
    assert problem.count("\n") == 1
