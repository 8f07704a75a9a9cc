"""`goldline logs`: what a line means, for a person and for a program, and the service's own lines."""

import json
import os
import subprocess
import sys

import pytest

from edge import __main__
from edge.logs import catalogue


@pytest.fixture
def goldline(monkeypatch, capsys):
    """Runs the command line in this process; returns exit code, stdout and stderr."""

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["goldline", *words])
        code = __main__.main()
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def test_a_code_is_explained_with_what_to_do(goldline):
    code, said, _ = goldline("logs", "explain", "GL-CAM-001")
    entry = catalogue.entries()["GL-CAM-001"]
    assert code == 0
    assert said.startswith("GL-CAM-001  camera down (warning)\n")
    assert entry.why in said and entry.verdicts in said
    assert all(f"  {number}. {step}\n" in said for number, step in enumerate(entry.do, 1))
    assert "alerts: GoldlineCameraDown" in said and "page: docs/cameras.md" in said


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["deadline"], "GL-ERR-011"),
        (["disk_full"], "GL-OUT-011"),
        (["worker", "died"], "GL-WRK-001"),
        (["goldline: /run/goldline: another goldline run uses this runtime directory"], "GL-RUN-002"),
        (["--", "<4>capture@left: camera down [GL-CAM-001]: problem=away"], "GL-CAM-001"),
    ],
)
def test_a_name_or_the_line_itself_will_do(goldline, words, code):
    assert goldline("logs", "explain", *words)[1].startswith(f"{code}  ")


def test_a_program_reads_the_same(goldline):
    one = json.loads(goldline("logs", "explain", "gl-err-011", "--json")[1])
    assert (one["code"], one["name"], one["title"]) == ("GL-ERR-011", "deadline", "ERROR(deadline)")
    assert one["do"] and one["why"] and one["verdicts"]
    every = json.loads(goldline("logs", "explain", "--json")[1])
    assert [entry["code"] for entry in every] == list(catalogue.entries())


def test_without_a_code_there_is_one_line_for_each(goldline):
    code, said, _ = goldline("logs", "explain")
    assert code == 0
    assert [line.split()[0] for line in said.splitlines()] == list(catalogue.entries())


@pytest.mark.parametrize(
    ("word", "meant"), [("deadlin", "deadline"), ("GL-CAM-01", "GL-CAM-001"), ("gl-cm-001", "GL-")]
)
def test_a_code_that_is_misspelt_is_one_line_and_cannot_be_explained(goldline, word, meant):
    code, said, problem = goldline("logs", "explain", word)
    assert (code, said) == (2, "")
    assert f"{word}: no such code, name or line; did you mean " in problem
    assert meant in problem and problem.count("\n") == 1


def test_what_is_like_nothing_says_where_the_list_is(goldline):
    code, _, problem = goldline("logs", "explain", "§§§§")
    assert code == 2
    assert "`goldline logs explain` lists what there is" in problem


def test_lines_are_shown_by_journalctl(tmp_path):
    """In the place of this process; one that only prints its arguments stands in for it, `test_log_journal.py` has the real."""
    program = tmp_path / "journalctl"
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    program.chmod(0o755)
    words = ["--camera", "left", "--since", "1h", "--follow"]
    said = subprocess.run(
        [sys.executable, "-m", "edge", "logs", "show", *words],
        env=os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    assert said == ["--unit=goldline.service", "--priority=7", "--since=-1h", "--follow", "GOLDLINE_CAMERA=left"]


def test_without_journalctl_it_says_so(goldline, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    code, _, problem = goldline("logs", "show")
    assert code == 2
    assert problem.startswith("goldline: journalctl: No such file or directory")
