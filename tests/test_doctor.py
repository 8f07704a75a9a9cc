"""`goldline doctor` on real things in a wrong state: full disks, foreign permissions, held ports."""

import fcntl
import json
import os
import re
import shlex
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from edge import rehearsal
from edge.config import InferenceConfig, Station, load_station
from edge.doctor import accelerator, examination, host, ports
from edge.doctor.finding import Finding, Machine, Person, Status, in_bytes
from edge.errors import GoldlineError
from edge.running import is_station_running
from tests.needs import in_ci, needs_program, needs_root
from tests.patients import NOBODY, camera, only, tree
from tests.stations import CAMERA, station

ROOT = Path(__file__).parents[1]


# --- the computer


def goldline(*words: str, before: str = "true") -> tuple[int, dict[str, list[dict[str, str]]]]:
    """`goldline doctor` with mounts of its own, after this shell command."""
    needs_root()
    unshare = needs_program("unshare", "util-linux")
    command = shlex.join([sys.executable, "-m", "edge", "doctor", "--json", *words])
    ran = subprocess.run(
        [unshare, "--mount", "sh", "-ec", f"{before}\n{command}"], capture_output=True, text=True, check=False, cwd=ROOT
    )
    if "unshare failed" in ran.stderr and not in_ci():
        pytest.skip(f"needs namespaces: {ran.stderr.strip()}")
    return ran.returncode, json.loads(ran.stdout or "{}")


def test_a_full_disk_is_bad_and_a_roomy_one_is_well(tmp_path) -> None:
    (tmp_path / "config.toml").write_text('state_dir = "full"')
    (tmp_path / "full").mkdir()
    for size, code, status in (("8m", 1, "bad"), ("1g", 0, "warn"), ("6g", 0, "ok")):
        mount = f"mount -t tmpfs -o size={size} none {tmp_path}/full"
        returned, told = goldline("disk", "--config", f"{tmp_path}/config.toml", before=mount)
        assert (returned, told["findings"][0]["status"]) == (code, status), told


def test_a_state_directory_of_somebody_else_is_bad(open_folder) -> None:
    machine = Machine(person=NOBODY)
    for state in (open_folder, open_folder / "not" / "yet"):
        found = only(host.disk(state, machine))
        assert (found.status, "nobody may not write" in found.seen) == (Status.BAD, True)
    open_folder.chmod(0o777)
    assert "may not" not in only(host.disk(open_folder, machine)).seen
    (open_folder / "mine").mkdir(mode=0o700)
    (open_folder / "mine" / "yours").mkdir()
    (open_folder / "mine" / "yours").chmod(0o777)
    assert only(host.disk(open_folder / "mine" / "yours", machine)).status is Status.BAD, "it cannot be reached"


@pytest.mark.parametrize("owner", [(0, 0), (65534, 0), (0, 65534), (0, 44), (65534, 65534)])
def test_who_may_what_is_as_the_kernel_has_it(open_folder, owner) -> None:
    needs_root()
    person = Person(name="nobody", uid=65534, groups=frozenset({65534, 44}))
    file = open_folder / "file"
    file.touch()
    os.chown(file, *owner)
    for mode in (0o600, 0o060, 0o006, 0o640, 0o664, 0o666, 0o400, 0o000, 0o070, 0o604):
        file.chmod(mode)
        for wanted in (os.R_OK, os.W_OK, os.R_OK | os.W_OK):
            assert person.may(file, wanted) == as_nobody(file, wanted), (oct(mode), wanted)
    open_folder.chmod(0o700)
    assert not person.may(file, os.R_OK) and not as_nobody(file, os.R_OK)


def as_nobody(file: Path, wanted: int) -> bool:
    """What the kernel answers to user and group 65534, with group 44 besides."""
    child = os.fork()
    if child == 0:
        os.setgroups([44])
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)
        os._exit(0 if os.access(file, wanted) else 1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def governor(root: Path, driver: str, mode: str, preference: str = "") -> Finding:
    policy = "/sys/devices/system/cpu/cpufreq/policy0"
    files = {f"{policy}/scaling_driver": driver, f"{policy}/scaling_governor": mode}
    if preference:
        files[f"{policy}/energy_performance_preference"] = preference
    return only(host.power(tree(root, **files)))


@pytest.mark.parametrize(
    ("driver", "mode", "preference", "status"),
    [
        ("acpi-cpufreq", "powersave", "", "warn"),
        ("acpi-cpufreq", "schedutil", "", "ok"),
        ("intel_pstate", "powersave", "balance_performance", "ok"),
        ("intel_pstate", "powersave", "power", "warn"),
        ("intel_pstate", "performance", "performance", "ok"),
    ],
)
def test_processors_that_save_power_are_named(tmp_path, driver, mode, preference, status) -> None:
    assert governor(tmp_path, driver, mode, preference).status == status


def test_where_no_speed_is_managed_nothing_is_claimed(tmp_path) -> None:
    assert only(host.power(tree(tmp_path))).status is Status.SKIPPED


def test_the_clock_is_asked_of_the_kernel() -> None:
    assert only(host.clock()).status in (Status.OK, Status.WARN, Status.SKIPPED)
    assert host.kept(is_kept=True, error_ms=12.4).seen == "synchronized, off by at most 12 ms"
    assert (host.kept(is_kept=False, error_ms=0).status, host.kept(is_kept=False, error_ms=0).mend != "") == (
        "warn",
        True,
    )


def test_rings_that_do_not_fit_into_memory_are_bad(tmp_path) -> None:
    machine = tree(tmp_path, **{"/proc/meminfo": "MemTotal:  100000 kB\nMemAvailable:   60000 kB"})
    size = {"Width": 1920, "Height": 1200, "PixelFormat": "Mono8"}
    found = only(host.memory(camera(features=size, slots=16) | {"side": camera()["top"]}, machine))
    assert found.status is Status.BAD
    assert found.seen == (
        "rings of 1 camera(s) take 35.2 MiB; 1 more whose size is not in config.toml; 58.6 MiB are available"
    )
    assert only(host.memory(camera(features=size, slots=4), machine)).status is Status.OK
    assert list(host.memory(camera(), machine)) == []


# --- the station


def test_ports_are_free_or_name_who_holds_them() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        station = Station.model_validate(
            {"metrics": {"port": port}, "events": {"live": "ipc:///x", "command": "tcp://127.0.0.1:*"}}
        )
        found = only(ports.ports(station, Machine(), station_runs=False))
        assert (found.status, found.check) == (Status.BAD, "ports")
        assert re.match(rf"metrics.port: {port} is held by process {os.getpid()}: ", found.seen)
        assert only(ports.ports(station, Machine(), station_runs=True)).status is Status.OK
    assert only(ports.ports(station, Machine(), station_runs=False)).seen == f"free: {port}"


def test_a_running_station_is_known_by_its_lock(tmp_path) -> None:
    assert is_station_running(tmp_path) is False
    (tmp_path / "lock").touch()
    assert is_station_running(tmp_path) is False
    with open(tmp_path / "lock", "w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert is_station_running(tmp_path) is True
    assert is_station_running(tmp_path) is False


def test_the_provider_that_is_configured_is_the_one_that_is_tried() -> None:
    assert only(accelerator.provider(InferenceConfig())).status is Status.OK
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this machine may have CUDA")
    refused = only(accelerator.provider(InferenceConfig(provider="cuda")))
    assert (refused.status, "CPUExecutionProvider" in refused.seen) == (Status.BAD, True)
    assert only(accelerator.provider(InferenceConfig(provider="cuda", allow_fallback=True))).status is Status.WARN


def wheel(folder: Path, name: str) -> None:
    info = folder / f"{name.replace('-', '_')}-1.2.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")


def test_both_wheels_at_once_are_bad(tmp_path, monkeypatch) -> None:
    assert only(accelerator.wheels()).status is Status.OK
    for name in ("onnxruntime", "onnxruntime-gpu"):
        wheel(tmp_path, name)
    monkeypatch.syspath_prepend(tmp_path)
    found = only(accelerator.wheels())
    assert (found.status, found.seen) == (Status.BAD, "onnxruntime 1.2, onnxruntime-gpu 1.2")
    monkeypatch.setattr(sys, "path", [])
    assert only(accelerator.wheels()).seen == "no ONNX Runtime is installed"


# --- as a whole


def test_checks_are_chosen_by_name_and_each_is_documented(tmp_path) -> None:
    station = Station(state_dir=tmp_path)
    assert {finding.check for finding in examination.examine(station, ["ports", "clock"])} == {"ports", "clock"}
    with pytest.raises(GoldlineError, match=r"nonsense: no such check; there are clock, power, "):
        examination.examine(station, ["nonsense"])
    documented = re.findall(r"^\| `([a-z-]+)` \|", (ROOT / "docs/doctor.md").read_text(), re.MULTILINE)
    from edge.cameras.discovery import Discovery

    assert documented == list(examination.checks(station, Discovery(found=()), Machine()))


def test_every_file_that_a_mend_refers_to_is_there() -> None:
    sources = "\n".join(path.read_text() for path in (ROOT / "edge/doctor").glob("*.py"))
    named = set(re.findall(r"deploy/[\w./-]*\w", sources))
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_command_answers_by_its_exit_code(tmp_path) -> None:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "edge", "doctor", *words, "--config", str(tmp_path / "config.toml")]
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)

    (tmp_path / "config.toml").write_text("")
    well = run("ports", "wheels", "--json")
    assert (well.returncode, json.loads(well.stdout)["ok"]) == (0, True)
    (tmp_path / "config.toml").write_text('[cameras.a]\nsource = "folder"\npath = "nowhere"')
    bad = run("cameras")
    assert bad.returncode == 1
    assert f"BAD  cameras         a: folder {tmp_path}/nowhere is absent: no such folder" in bad.stdout
    assert f"     mend:   mkdir -p {tmp_path}/nowhere" in bad.stdout
    (tmp_path / "config.toml").write_text("porduct = 3")
    unreadable = run()
    assert (unreadable.returncode, unreadable.stdout, unreadable.stderr.count("\n")) == (2, "", 1)


def test_what_the_running_station_holds_is_well(taught, tmp_path) -> None:
    config = station(taught, tmp_path, {"left": CAMERA})
    with rehearsal.running(config):
        loaded = load_station(config)
        findings = examination.examine(loaded, ["ports", "cameras", "disk", "memory"])
    assert {finding.status for finding in findings} <= {Status.OK, Status.WARN}
    assert "held by the station that runs here" in " ".join(finding.seen for finding in findings)


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (208 << 10, "208 KiB"), (16 << 20, "16 MiB"), (1010 << 20, "1010 MiB"), (5 << 40, "5 TiB")],
)
def test_bytes_are_told_for_reading(count, text) -> None:
    assert in_bytes(count) == text
