"""goldline install and uninstall: what is planned, and what a folder that stands for a device's root has after it."""

import json
import os
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge import config, shipped
from edge.config import load_station
from edge.errors import GoldlineError
from edge.installing import layout, manifest
from edge.installing.device import Installation, Options, Removal
from edge.installing.items import File
from tests.debian_root import wheel

PROGRAM = Path("/opt/goldline/bin/goldline")
TARGET = layout.Target(
    program=str(PROGRAM), python="/opt/goldline/bin/python", share="/opt/share", station_id="press-7"
)


# --- what is laid out


def test_the_units_start_the_program_that_laid_them_out() -> None:
    other = layout.Target(program="/srv/gl-2/bin/goldline", python="p", share="s", station_id="a", user="line")
    files = {item.path: item.content.decode() for item in layout.layout(other, shipped.read) if isinstance(item, File)}
    for name in ("goldline.service", "goldline@.service"):
        unit = files[f"/etc/systemd/system/{name}"]
        assert "ExecStart=/srv/gl-2/bin/goldline run" in unit and "/opt/" not in unit
        assert "User=line\nGroup=line\n" in unit
    assert "\nu line - " in files["/etc/sysusers.d/goldline.conf"]
    assert "\nu goldline-nats - " in files["/etc/sysusers.d/goldline.conf"]


def test_every_unit_that_is_shipped_is_laid_out() -> None:
    paths = {item.path for item in layout.layout(TARGET, shipped.read) if isinstance(item, File)}
    units = {f"/etc/systemd/system/{unit.name}" for unit in (shipped.folder() / "systemd").glob("*.service")}
    assert units <= paths


@pytest.mark.parametrize("folder", ["/home/me/venv", "/root/venv", "/tmp/venv", "/var/lib/goldline/venv"])
def test_an_environment_that_the_service_does_not_see_is_refused(folder: str) -> None:
    with pytest.raises(GoldlineError, match="the service sees nothing below"):
        layout.refuse_hidden(f"{folder}/bin/goldline")


@given(st.text(max_size=80))
def test_every_name_of_a_host_gives_an_id_for_the_station(name: str) -> None:
    found = layout.station_id(name)
    assert 1 <= len(found) <= 40 and set(found) <= set("abcdefghijklmnopqrstuvwxyz0123456789-_")


def test_the_first_configuration_is_one(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_bytes(layout.first_config(shipped.read("config.toml"), TARGET))
    station = load_station(file)
    assert station.station_id == "press-7" and station.product == layout.DEMO
    assert str(station.state_dir) == "/var/lib/goldline"
    assert str(station.pipelines_dir) == "/var/lib/goldline/pipelines"
    assert str(station.runtime_dir) == "/run/goldline"


# --- a folder as the root of a device


def installation(root: Path, program: Path = PROGRAM) -> Installation:
    return Installation(Options(root=root, program=program, station_id="press-7"))


def install(root: Path, program: Path = PROGRAM) -> dict[str, str]:
    """Every step's action by its name, after it was carried out."""
    told: dict[str, str] = {}
    installation(root, program).carry_out(lambda step, note: told.__setitem__(step.name, step.action.value))
    return told


def tree(root: Path) -> dict[str, bytes]:
    """Every file and link, without what systemd-sysusers keeps for itself."""
    files = (path for path in root.rglob("*") if path.is_symlink() or path.is_file())
    return {
        str(path.relative_to(root)): os.readlink(path).encode() if path.is_symlink() else path.read_bytes()
        for path in files
        if not path.name.startswith((".pwd", "passwd", "group", "shadow", "gshadow"))
    }


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    folder.mkdir()
    return folder


def test_a_second_installation_finds_everything_as_it_should_be(root: Path) -> None:
    first = install(root)
    assert first["/etc/goldline/config.toml"] == "create"
    assert os.readlink(root / "usr/local/bin/goldline") == str(PROGRAM)
    assert (Path(os.readlink(root / "usr/local/share/goldline")) / "deploy" / "prometheus").is_dir()
    assert stat.S_IMODE((root / "var/lib/goldline").stat().st_mode) == 0o700
    before = tree(root)
    assert installation(root).is_done
    assert set(install(root).values()) <= {"unchanged", "skip"}
    assert tree(root) == before


def test_an_upgrade_and_the_way_back_keep_what_is_yours(root: Path) -> None:
    install(root)
    (root / "etc/goldline/config.toml").write_text("mine")
    (root / "etc/sysctl.d/60-goldline.conf").write_text("mine, too")
    old = tree(root)
    newer = Path("/opt/goldline-2/bin/goldline")
    assert install(root, newer)["/etc/systemd/system/goldline.service"] == "update"
    assert "ExecStart=/opt/goldline-2/bin/" in (root / "etc/systemd/system/goldline.service").read_text()
    assert (root / "etc/goldline/config.toml").read_text() == "mine"
    assert (root / "etc/sysctl.d/60-goldline.conf").read_text() == "mine, too"
    ours = root / "etc/sysctl.d/60-goldline.conf.new"
    assert ours.read_bytes() == shipped.read("deploy/sysctl.d/60-goldline.conf")
    known = manifest.load(root / manifest.PATH.lstrip("/"))
    assert known is not None and known.previous == str(PROGRAM)
    install(root)
    now = tree(root)
    for name in (manifest.PATH.lstrip("/"), str(ours.relative_to(root))):
        now.pop(name)
        old.pop(name, None)
    assert now == old


def test_what_a_newer_release_lays_out_no_more_is_removed(root: Path) -> None:
    install(root)
    file = root / manifest.PATH.lstrip("/")
    stale = root / "etc/goldline.old"
    stale.write_text("of an older release")
    known = json.loads(file.read_text())
    item = File(path="/etc/goldline.old", content=stale.read_bytes(), owner="root")
    file.write_text(json.dumps(known | {"files": known["files"] | {item.path: [item.sha256]}}))
    assert install(root)["/etc/goldline.old"] == "remove"
    assert not stale.exists()


def test_uninstalling_leaves_configuration_and_state_and_purging_nothing(root: Path) -> None:
    install(root)
    (root / "etc/udev/rules.d/60-goldline.rules").write_text("mine")
    (root / "var/lib/goldline/outbox.sqlite3").write_text("events")
    Removal(root, is_purged=False).carry_out(lambda step, note: None)
    assert set(tree(root)) == {
        "etc/goldline/config.toml",
        "etc/udev/rules.d/60-goldline.rules",
        "var/lib/goldline/outbox.sqlite3",
        "var/lib/goldline/pipelines/trunk/recipe.toml",
    }
    with pytest.raises(GoldlineError, match="nothing was installed"):
        Removal(root, is_purged=False)
    # Installed again, it goes on with what was left.
    assert install(root)["/etc/goldline/config.toml"] == "unchanged"
    Removal(root, is_purged=True).carry_out(lambda step, note: None)
    assert not (root / "var/lib/goldline").exists() and not (root / "etc/goldline").exists()


def test_a_step_that_fails_is_named_and_the_next_run_goes_on(root: Path) -> None:
    (root / "etc").mkdir()
    (root / "etc/udev").write_text("a file where a folder should be")
    with pytest.raises(GoldlineError, match=r"60-goldline.rules: .*run it again to go on"):
        install(root)
    (root / "etc/udev").unlink()
    assert install(root)["/etc/goldline/config.toml"] == "create"
    assert installation(root).is_done


def test_a_manifest_that_cannot_be_read_stops_everything(root: Path) -> None:
    file = root / manifest.PATH.lstrip("/")
    file.parent.mkdir(parents=True)
    file.write_text("{")
    with pytest.raises(GoldlineError, match="nothing is known of what was installed"):
        install(root)
    assert [path.name for path in root.rglob("*") if path.is_file()] == ["manifest.json"]


def goldline(*words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edge", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_command_says_what_it_would_do_and_then_does_it(root: Path) -> None:
    words = ("--root", root, "--program", PROGRAM, "--station-id", "press-7")
    dry = goldline("install", *words, "--dry-run")
    assert dry.returncode == 0 and "create    /etc/goldline/config.toml" in dry.stdout
    assert not list(root.iterdir())
    done = goldline("install", *words, "--json")
    said = json.loads(done.stdout)
    assert said["changed"] > 10 and not said["notes"]
    assert "everything is as it should be" in goldline("install", *words).stdout
    assert goldline("uninstall", "--root", root, "--json").returncode == 0
    for wrong, why in (
        (("--program", "/root/venv/bin/goldline"), "the service sees nothing below /root"),
        (("--rollback",), "no other environment was installed before"),
        (("--root", root / "none"), "no such folder"),
    ):
        refused = goldline("install", "--root", root, *wrong)
        assert refused.returncode == 2 and refused.stderr.count("\n") == 1 and why in refused.stderr


def test_a_command_without_a_file_reads_the_one_here_else_the_installed_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = tmp_path / "installed.toml"
    monkeypatch.setattr(config, "INSTALLED_FILE", installed)
    monkeypatch.chdir(tmp_path)
    assert config.configuration(None, {}) is None
    installed.touch()
    assert config.configuration(None, {}) == installed
    (tmp_path / "config.toml").touch()
    assert config.configuration(None, {}) == Path("config.toml")


def test_a_wheel_carries_all_that_is_laid_out(tmp_path: Path, root: Path) -> None:
    built = wheel(tmp_path)
    with zipfile.ZipFile(built) as files:
        files.extractall(tmp_path / "installed")
    share = tmp_path / "installed" / "edge" / "share"
    for part in shipped.PARTS:
        place = shipped.folder() / part
        wanted = [place] if place.is_file() else [path for path in place.rglob("*") if path.is_file()]
        for path in wanted:
            if "__pycache__" not in path.parts:
                assert (share / path.relative_to(shipped.folder())).read_bytes() == path.read_bytes()
    command = (sys.executable, "-m", "edge", "install", "--root", str(root), "--program", str(PROGRAM), "--json")
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path / "installed")},
        capture_output=True,
        check=True,
    )
    assert json.loads(done.stdout)["changed"] > 10
    assert os.readlink(root / "usr/local/share/goldline") == str(share)
    (share / "config.toml").unlink()
    broken = subprocess.run(
        command,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path / "installed")},
        capture_output=True,
        check=False,
    )
    assert broken.returncode == 2 and b"config.toml is missing: install Goldline's wheel again" in broken.stderr
