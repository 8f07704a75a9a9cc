"""The NATS servers' units under a systemd of their own as PID 1: hardened as they are, they run and come back."""

import shutil
from pathlib import Path

import pytest

from tests.booted import booted
from tests.debian_root import debian
from tests.installed import lay_out
from tests.needs import needs_module, needs_root

needs_module("nats", "fleet")

from edge.fleet import servers  # noqa: E402
from tests.fleet_bench import HUB_CONF, nats_server  # noqa: E402

pytestmark = pytest.mark.timeout(300)
EXPOSURE = 1.5


def test_the_servers_run_behind_their_units_and_come_back(tmp_path):
    needs_root()
    seed, public = servers.new_seed()
    leaf = servers.leaf_conf(
        station="cell",
        hub="nats-leaf://127.0.0.1:7422",
        seed=seed,
        store_dir=Path("/var/lib/goldline-nats"),
        ca_file=None,
        port=4333,
        max_file_store=1 << 28,
    )
    with booted(debian()) as device:
        lay_out(device)
        device.run("mkdir", "-p", "/opt/goldline/bin", "/etc/goldline-nats", "/etc/goldline-hub")
        shutil.copy(nats_server(), device.path("/opt/goldline/bin/nats-server"))
        device.path("/etc/goldline-nats/leaf.conf").write_text(leaf)
        # The disk of this machine may be smaller than a plant's.
        device.path("/etc/goldline-hub/hub.conf").write_text(HUB_CONF.read_text().replace("500GB", "1GB"))
        device.path("/etc/goldline-hub/devices.conf").write_text(servers.devices_conf({"cell": public}))
        for name in ("goldline-hub", "goldline-nats"):
            folder = f"/etc/{name}"
            device.run("chown", "-R", f"root:{name}", folder)
            device.run("chmod", "-R", "u=rwX,g=rX,o=", folder)
            device.run("systemctl", "start", f"{name}.service")
        hub = "goldline-hub.service"
        device.wait(lambda: "Leafnode connection created" in device.journal(hub), "the device is let in")
        device.run("systemctl", "kill", "--signal=KILL", "goldline-nats.service")
        device.wait(lambda: device.unit("goldline-nats.service", "NRestarts") == "1", "it comes back")
        device.wait(lambda: device.unit("goldline-nats.service", "ActiveState") == "active", "and runs")
        for name in ("goldline-hub", "goldline-nats"):
            seen = device.run("systemd-analyze", "security", "--no-pager", f"{name}.service")
            assert float(seen.rpartition(f"level for {name}.service: ")[2].split()[0]) <= EXPOSURE
            device.run("systemctl", "reload", f"{name}.service")
            device.run("systemctl", "stop", f"{name}.service")
            assert device.unit(f"{name}.service", "Result") == "success"
