"""What stands beside the station: udev, networkd and Prometheus themselves read the files that are shipped."""

import json
import shlex
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import pytest

from edge import rehearsal
from tests.needs import in_ci, needs_file, needs_program, needs_root
from tests.stations import CAMERA, station

ROOT = Path(__file__).parents[1]
CONFIG = ROOT / "deploy" / "prometheus" / "prometheus.yml"

pytestmark = pytest.mark.timeout(180)


def test_the_scrape_configuration_is_valid() -> None:
    promtool = needs_program("promtool", "prometheus")
    checked = subprocess.run([promtool, "check", "config", str(CONFIG)], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr


def sysctls() -> dict[str, int]:
    lines = (ROOT / "deploy/sysctl.d/60-goldline.conf").read_text().splitlines()
    pairs = (line.split("=") for line in lines if line and not line.startswith("#"))
    return {name.strip(): int(value) for name, value in pairs}


def test_the_receive_buffer_default_is_what_the_sysctl_allows() -> None:
    from edge.camera_config import GigeCamera

    assert sysctls()["net.core.rmem_max"] == GigeCamera.model_fields["receive_buffer_bytes"].default


def test_every_sysctl_is_one_of_the_kernel() -> None:
    for name in sysctls():
        assert Path("/proc/sys", *name.split(".")).is_file(), name


def alone(script: str) -> str:
    """What a script says, run as root with an empty /run, mounts and a network of its own."""
    needs_root()
    unshare = needs_program("unshare", "util-linux")
    begin = "set -e; mount -t tmpfs none /run; mount -t sysfs none /sys; cd " + shlex.quote(str(ROOT)) + "\n"
    ran = subprocess.run(
        [unshare, "--mount", "--net", "bash", "-c", begin + script], capture_output=True, text=True, check=False
    )
    if "unshare failed" in ran.stderr and not in_ci():
        pytest.skip(f"needs namespaces: {ran.stderr.strip()}")
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_udev_takes_every_line_of_the_rules() -> None:
    needs_program("udevadm", "udev")
    told = alone("""
        mkdir -p /run/udev/rules.d
        cp deploy/udev/60-goldline.rules /run/udev/rules.d
        echo 'NONSENSE=="x", GOTO="nowhere"' >/run/udev/rules.d/61-wrong.rules
        udevadm test --action=add /sys/class/net/lo 2>&1
    """)
    assert "/run/udev/rules.d/61-wrong.rules:1" in told, "udev would not say what is wrong"
    assert "60-goldline.rules" in told
    assert "60-goldline.rules:" not in told, told


def test_udev_sets_the_camera_port_up() -> None:
    """A virtual port stands for the card: it has the address, and no ring that could be set."""
    needs_program("udevadm", "udev")
    told = alone("""
        mkdir -p /run/systemd/network
        cp deploy/networkd/10-goldline-camera.link /run/systemd/network
        ip link add port address 02:00:00:00:00:01 type veth peer name far
        udevadm test-builtin net_setup_link /sys/class/net/port 2>&1
        cat /sys/class/net/port/mtu
    """)
    assert "10-goldline-camera.link is applied" in told
    assert "ID_NET_NAME=camera0" in told
    assert told.splitlines()[-1] == "9000"
    assert "Unknown" not in told and "Failed to parse" not in told


def test_networkd_gives_the_camera_port_its_address_and_jumbo_frames() -> None:
    networkd = needs_file("/usr/lib/systemd/systemd-networkd", "systemd")
    needs_program("ip", "iproute2")
    told = alone(f"""
        mkdir -p /run/systemd/network
        cp deploy/networkd/20-goldline-camera.network /run/systemd/network
        ip link add camera0 type veth peer name far
        ip link set far mtu 9000 up
        mount -o remount,ro /sys  # without udev: networkd takes the port as it is
        {networkd} 2>&1 & daemon=$!
        for _ in $(seq 300); do
            ip -4 -oneline address show dev camera0 | grep -q 192.168.1.1 && break
            sleep 0.1
        done
        ip -oneline link show dev camera0
        ip -4 -oneline address show dev camera0
        kill $daemon
    """)
    assert "mtu 9000" in told
    assert "inet 192.168.1.1/24" in told
    assert not [line for line in told.splitlines() if ".network:" in line], "a line it does not know"


def test_tmpfiles_raises_the_memory_of_usb_cameras(tmp_path: Path) -> None:
    tmpfiles = needs_program("systemd-tmpfiles", "systemd")
    limit = tmp_path / "sys/module/usbcore/parameters/usbfs_memory_mb"
    limit.parent.mkdir(parents=True)
    limit.write_text("16\n")
    command = [tmpfiles, "--create", f"--root={tmp_path}", str(ROOT / "deploy/tmpfiles.d/goldline.conf")]
    subprocess.run(command, check=True)
    assert limit.read_text().strip() == "1000"


def test_every_file_beside_the_station_is_in_the_readme() -> None:
    readme = (ROOT / "deploy/README.md").read_text()
    files = [path.relative_to(ROOT / "deploy") for path in (ROOT / "deploy").rglob("*") if path.is_file()]
    assert [str(path) for path in files if path.name != "README.md" and f"`{path}`" not in readme] == []


def query(address: str, expression: str) -> float:
    """The value of an instant query; nan while there is none."""
    url = f"{address}/api/v1/query?{urllib.parse.urlencode({'query': expression})}"
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            rows = json.load(answer)["data"]["result"]
    except urllib.error.URLError:
        return float("nan")
    return float(rows[0]["value"][1]) if rows else float("nan")


def test_a_real_prometheus_counts_what_the_station_counts(taught: Path, tmp_path: Path) -> None:
    prometheus = needs_program("prometheus", "prometheus")
    config = station(taught, tmp_path, {"left": CAMERA})
    port, web = rehearsal.settings(config)["metrics"]["port"], rehearsal.free_ports(1)[0]
    scrape = CONFIG.read_text().replace("127.0.0.1:9464", f"127.0.0.1:{port}").replace("5s", "1s")
    (tmp_path / "prometheus.yml").write_text(scrape)
    address = f"http://127.0.0.1:{web}"
    command = [
        prometheus,
        f"--config.file={tmp_path}/prometheus.yml",
        f"--storage.tsdb.path={tmp_path}/tsdb",
        f"--web.listen-address=127.0.0.1:{web}",
    ]
    with rehearsal.running(config) as daemon, (tmp_path / "log").open("wb") as log:
        scraping = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            until = time.monotonic() + 100
            while not query(address, "goldline_verdicts_total{verdict='PASS'}") > 10:
                assert time.monotonic() < until, (tmp_path / "log").read_text()[-500:]
                time.sleep(0.2)
            assert query(address, "up{job='goldline'}") == 1
            assert query(address, "sum(goldline_worker_up)") == len(daemon.workers())
            assert query(address, "count({__name__=~'goldline_.*'})") < 500
            seen = query(address, "sum(goldline_triggers_total)")
            assert 10 < seen <= daemon.total("goldline_triggers_total")
        finally:
            scraping.terminate()
            scraping.wait()
