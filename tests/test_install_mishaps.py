"""goldline install where things go wrong: two at once, a release that does not come up, a full disk, odd users."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edge.errors import GoldlineError
from edge.installing import layout, lock, manifest, observe
from edge.installing.carry_out import InstallError
from edge.installing.device import Installation, Options, Removal, default_program

OLD, NEW = Path("/opt/goldline-1/bin/goldline"), Path("/opt/goldline-2/bin/goldline")


def install(root: Path, program: Path = OLD, user: str | None = None) -> None:
    options = Options(root=root, program=program, station_id="press-7", user=user)
    Installation(options).carry_out(lambda step, note: None)


def known(root: Path) -> manifest.Manifest:
    found = manifest.load(observe.place(root, manifest.PATH))
    assert found is not None
    return found


def goldline(*words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edge", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_second_one_at_the_same_time_is_refused_and_does_nothing(tmp_path: Path) -> None:
    install(tmp_path)
    before = known(tmp_path)
    with lock.alone(tmp_path):
        for command in (("install", "--program", NEW), ("uninstall", "--purge")):
            refused = goldline(*command, "--root", tmp_path)
            assert refused.returncode == 2 and "another goldline install or uninstall is at work" in refused.stderr
            assert refused.stderr.count("\n") == 1
        assert goldline("install", "--program", NEW, "--root", tmp_path, "--dry-run").returncode == 0
    assert known(tmp_path) == before
    assert goldline("uninstall", "--root", tmp_path).returncode == 0
    assert not (tmp_path / "usr/local/lib/goldline").exists()


def test_a_lock_that_was_removed_meanwhile_lets_nobody_in(tmp_path: Path) -> None:
    file = tmp_path / "lock"
    handle = os.open(file, os.O_RDWR | os.O_CREAT)
    file.unlink()
    with pytest.raises(GoldlineError, match="another goldline"):
        lock._take(handle, file)
    os.close(handle)


def test_there_is_a_way_back_from_a_release_that_did_not_come_up(tmp_path: Path) -> None:
    install(tmp_path)
    rules = tmp_path / "etc/udev/rules.d"
    kept = {file.name: file.read_bytes() for file in rules.iterdir()}
    for file in rules.iterdir():
        file.unlink()
    rules.rmdir()
    rules.write_text("in the way")
    with pytest.raises(InstallError, match="run it again to go on"):
        install(tmp_path, NEW)
    assert known(tmp_path).previous == str(OLD)
    rules.unlink()
    rules.mkdir()
    for name, content in kept.items():
        (rules / name).write_bytes(content)
    install(tmp_path, OLD)
    assert (known(tmp_path).program, known(tmp_path).previous) == (str(OLD), str(NEW))


def test_going_back_is_asked_of_the_program_before_whatever_the_words(tmp_path: Path) -> None:
    before = tmp_path / "opt/goldline-1/bin/goldline"
    before.parent.mkdir(parents=True)
    before.write_text('#!/bin/sh\nfor word; do echo "$word"; done\n')
    before.chmod(0o755)
    install(tmp_path)
    install(tmp_path, NEW)
    # As argparse takes it: a word cut short must not be handed on, or the one before asks the one before it, for ever.
    done = goldline("install", "--root", tmp_path, "--rollb", "--no-start")
    assert done.stdout.split() == ["install", "--root", str(tmp_path), "--program", str(OLD), "--no-start"]
    before.write_text("#!/opt/gone/python\n")
    refused = goldline("install", "--root", tmp_path, "--rollback")
    assert refused.returncode == 2 and refused.stderr.count("\n") == 1 and "install the older wheel" in refused.stderr


def test_the_service_keeps_the_user_that_it_was_given(tmp_path: Path) -> None:
    install(tmp_path, user="inspector")
    install(tmp_path, NEW)
    assert "User=inspector\n" in (tmp_path / "etc/systemd/system/goldline.service").read_text()
    assert known(tmp_path).user == "inspector"


@pytest.mark.parametrize("user", ["root", "", "a b", "a\nExecStart=/bin/sh", r"\1", "-x", "a:b"])
def test_what_cannot_be_the_services_user_is_refused(user: str) -> None:
    with pytest.raises(GoldlineError, match="must be a user of its own"):
        layout.refuse_user(user)


def test_users_are_found_among_lines_of_other_kinds(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text("# ours\n\n+::::::\nbroken\ngoldline:x:1007:1008::/home/g:/bin/sh\n")
    assert observe.numbers(tmp_path, "goldline") == (1007, 1008)
    assert observe.users(tmp_path) == {0: "root", 1007: "goldline"}


def test_a_manifest_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "usr").write_text("a file where a folder should be")
    refused = goldline("install", "--root", tmp_path, "--program", OLD)
    assert refused.returncode == 2 and refused.stderr.count("\n") == 1 and str(tmp_path / "usr") in refused.stderr


def test_an_environment_that_was_moved_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path))
    script = tmp_path / "goldline"
    script.write_text("#!/opt/gone/bin/python\nimport sys\n")
    with pytest.raises(GoldlineError, match=r"/opt/gone/bin/python is gone: .*make it anew"):
        default_program()
    script.write_text(f"#!{sys.executable}\n")
    assert default_program() == script


def test_purging_takes_every_station_and_nothing_else(tmp_path: Path) -> None:
    install(tmp_path)
    for name in ("etc/goldline/second/config.toml", "var/lib/goldline-second/outbox.sqlite3", "var/lib/goldline.bak/x"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text("")
    dropin = tmp_path / "etc/systemd/system/goldline.service.d/limits.conf"
    dropin.parent.mkdir()
    dropin.write_text("[Service]\n")
    removal = Removal(tmp_path, is_purged=True)
    # The configuration says which stations there are: were it gone first, a cut would leave their state for ever.
    assert removal.trees[-1] == tmp_path / "etc/goldline"
    removal.carry_out(lambda step, note: None)
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert left - {"etc/passwd", "etc/group", "etc/shadow", "etc/gshadow", "etc/.pwd.lock"} == {
        "var/lib/goldline.bak/x",
        "etc/systemd/system/goldline.service.d/limits.conf",
    }


def test_a_second_purge_goes_on_where_one_was_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path)
    monkeypatch.setattr(Path, "is_mount", lambda path: path.name == "goldline" and path.parent.name == "lib")
    (tmp_path / "var/lib/goldline/outbox.sqlite3").write_text("")
    Removal(tmp_path, is_purged=True).carry_out(lambda step, note: None)
    # A disk of its own is emptied, not removed.
    assert list((tmp_path / "var/lib/goldline").iterdir()) == []
    assert json.dumps([str(path) for path in (tmp_path / "etc").glob("goldline")]) == "[]"
