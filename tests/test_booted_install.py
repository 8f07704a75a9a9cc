"""goldline install on a booted device: from the wheel to a verdict, a newer release, the way back, and off again."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge import rehearsal
from edge.installing import manifest
from tests.booted import Device, booted
from tests.debian_root import ROOT, debian, dependencies, wheel
from tests.installed import Installed, Orders
from tests.stations import TRIGGERED, record
from tests.test_booted_service import assert_nothing_lost

pytestmark = pytest.mark.timeout(300)
NEWER = "99.0.0"
PROGRAM = "/opt/goldline/bin/goldline"
NEWER_PROGRAM = "/opt/goldline-newer/bin/goldline"


@pytest.fixture
def device() -> Iterator[Device]:
    with booted(dependencies(), debian(), name="press-7") as device:
        yield device


def newer_wheel(folder: Path) -> Path:
    """Of this tree as a later release would be: under another version."""
    tree = folder / "tree"
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if name.startswith(("tests/", "docs/", "benchmarks/")) or not (ROOT / name).is_file():
            continue
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, tree / name)
    for name in ("pyproject.toml", "edge/__init__.py"):
        file = tree / name
        file.write_text(file.read_text().replace('ersion = "0.1.0"', f'ersion = "{NEWER}"').replace(
            '__version__ = "0.1.0"', f'__version__ = "{NEWER}"'
        ))  # fmt: skip
    return wheel_of(tree, folder)


def wheel_of(tree: Path, folder: Path) -> Path:
    from tests import debian_root

    debian_root._run(debian_root._uv(), "build", "--quiet", "--wheel", "--out-dir", folder, tree)
    return next(folder.glob(f"goldline-{NEWER}-*.whl"))


def add_environment(device: Device, wheel: Path) -> None:
    """A second one, with the first one's dependencies."""
    device.run("python3", "-m", "venv", "--without-pip", "/opt/goldline-newer")
    site = next(device.path("/opt/goldline-newer/lib").glob("python3*")) / "site-packages"
    (site / "dependencies.pth").write_text(f"/opt/goldline/lib/{site.parent.name}/site-packages\n")
    device.path(f"/run/{wheel.name}").write_bytes(wheel.read_bytes())
    pip = ("/opt/goldline/bin/python", "-m", "pip", "--python", "/opt/goldline-newer/bin/python", "install")
    device.run(*pip, "--quiet", "--no-index", "--no-deps", "--ignore-installed", f"/run/{wheel.name}")


def prepared(device: Device, folder: Path, taught: Path) -> Installed:
    """Configuration and a taught product as somebody put them there beforehand, all root's."""
    config = rehearsal.write_config(folder, {"left": TRIGGERED})
    text = config.read_text().replace(
        'state_dir = "state"', 'state_dir = "/var/lib/goldline"\nruntime_dir = "/run/goldline"'
    )
    config.write_text(text)
    for path, source in (
        ("/etc/goldline/pipelines", "pipelines"),
        ("/var/lib/goldline/references", "state/references"),
    ):
        device.path(path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(taught / source, device.path(path), symlinks=True)
    device.path("/etc/goldline/config.toml").write_text(text)
    (folder / "state").mkdir()
    return Installed(device, "goldline.service", "", config)


def streams(station: Installed) -> set[str]:
    station.fetch_record()
    return {str(event.id).partition("/")[0] for event in record(station.config)}


def test_install_upgrade_rollback_and_uninstall(device: Device, taught: Path, tmp_path: Path) -> None:
    device.install(wheel(tmp_path))
    station = prepared(device, tmp_path / "station", taught)
    said = device.run(PROGRAM, "install")
    assert "keep      /etc/goldline/config.toml  (changed by you)" in said
    assert "goldline check:\nok   station rehearsal" in said and "goldline doctor:" in said
    assert station.is_active and device.unit("goldline", "UnitFileState") == "enabled"
    # What root had put there is the service's now.
    assert device.run("find", "/var/lib/goldline", "!", "-user", "goldline") == ""
    add_environment(device, newer_wheel(tmp_path))
    listener = station.listen()
    with Orders(station, "left", 0.1) as orders:
        orders.wait_for(5)
        before = streams(station)
        device.run(NEWER_PROGRAM, "install")
        assert device.run("goldline", "--version").strip() == f"goldline {NEWER}"
        assert "goldline-newer" in device.run("cat", f"/proc/{station.pid}/cmdline")
        orders.wait_for(5)
        device.run("goldline", "install", "--rollback")
        assert "goldline-newer" not in device.run("cat", f"/proc/{station.pid}/cmdline")
        orders.wait_for(5)
    assert_nothing_lost(station, listener, orders)
    assert streams(station) == before and len(before) == 1

    device.run("goldline", "uninstall")
    assert device.unit("goldline", "LoadState") == "not-found"
    assert device.path("/var/lib/goldline/outbox.sqlite3").exists()
    assert device.path("/etc/goldline/config.toml").exists() and not device.path(manifest.PATH).exists()
