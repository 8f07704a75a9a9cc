"""The systemd unit: valid, closed, and in step with what the program promises."""

import re
import subprocess
from configparser import ConfigParser
from pathlib import Path

import pytest

from tests.needs import needs_program

SYSTEMD = Path(__file__).parent.parent / "systemd"
UNIT = SYSTEMD / "goldline.service"
UNITS = sorted(SYSTEMD.glob("*.service"))
# In tenths: what a network service with camera and GPU devices can be closed to. A bare unit has 92.
EXPOSURE = 15


def settings(unit: Path = UNIT) -> dict[str, str]:
    """The [Service] section; of a key given several times, the last."""
    parser = ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str
    parser.read(unit)
    return dict(parser["Service"])


def run(*command: str | Path) -> str:
    """Output and errors of a command that must succeed."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_finds_nothing_wrong(unit: Path, tmp_path: Path) -> None:
    analyze = needs_program("systemd-analyze", package="systemd")
    # The programs are not installed here: any other stands in for them.
    copy = tmp_path / unit.name.replace("@", "@left")
    copy.write_text(re.sub(r"/opt/goldline/bin/\S+", "/bin/true", unit.read_text()))
    assert run(analyze, "verify", copy) == ""


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_the_service_is_closed(unit: Path) -> None:
    analyze = needs_program("systemd-analyze", package="systemd")
    run(analyze, "security", "--offline=true", f"--threshold={EXPOSURE}", unit)


def test_the_users_and_groups_they_run_as_are_made() -> None:
    sysusers = needs_program("systemd-sysusers", package="systemd")
    file = SYSTEMD / "sysusers.d" / "goldline.conf"
    run(sysusers, "--dry-run", file)
    named = {line.split()[1] for line in file.read_text().splitlines() if line[:1] in ("u", "g")}
    wanted = {settings(unit)[key] for unit in UNITS for key in ("User", "Group")}
    assert named == wanted | {*settings()["SupplementaryGroups"].split()}


def test_it_is_watched_restarted_and_given_time_to_stop():
    service = settings()
    assert (service["Type"], service["NotifyAccess"], service["Restart"]) == ("notify", "main", "always")
    assert service["WatchdogSec"] == "10"
    # Workers are stopped in order by the supervisor within 10 s; only what is left then is killed.
    assert service["KillMode"] == "mixed"
    assert int(service["TimeoutStopSec"]) > 10


def test_the_trigger_logs_outlive_a_restart_and_belong_to_it_alone():
    service = settings()
    assert service["RuntimeDirectoryPreserve"] == "restart"
    assert (service["StateDirectoryMode"], service["RuntimeDirectoryMode"], service["UMask"]) == (
        "0700",
        "0700",
        "0077",
    )


def test_it_starts_the_documented_command():
    assert settings()["ExecStart"] == "/opt/goldline/bin/goldline run --config /etc/goldline/config.toml"


def test_the_template_is_the_same_service_with_folders_of_its_own():
    lines = UNIT.read_text()
    for name in ("/etc/goldline", "ConfigurationDirectory=goldline"):
        lines = lines.replace(name, f"{name}/%i")
    for name in ("StateDirectory=goldline", "RuntimeDirectory=goldline", "/var/lib/goldline"):
        lines = lines.replace(f"{name}\n", f"{name}-%i\n")
    lines = lines.replace("Goldline visual inspection", "Goldline visual inspection, station %i")
    head, unit, rest = (SYSTEMD / "goldline@.service").read_text().partition("[Unit]\n")
    assert unit + rest == lines
    assert all(line.startswith("#") for line in head.splitlines())
