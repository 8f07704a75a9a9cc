"""What stands beside the station: a real Prometheus scrapes a running one by the file that is shipped."""

import json
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import pytest

from edge import rehearsal
from tests.needs import needs_program
from tests.stations import CAMERA, station

ROOT = Path(__file__).parents[1]
CONFIG = ROOT / "deploy" / "prometheus" / "prometheus.yml"

pytestmark = pytest.mark.timeout(120)


def test_the_scrape_configuration_is_valid() -> None:
    promtool = needs_program("promtool", "prometheus")
    checked = subprocess.run([promtool, "check", "config", str(CONFIG)], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr


def test_the_receive_buffer_default_is_what_the_sysctl_allows() -> None:
    allowed = int((ROOT / "deploy/sysctl.d/60-goldline.conf").read_text().rpartition("=")[2])
    from edge.camera_config import GigeCamera

    assert GigeCamera.model_fields["receive_buffer_bytes"].default == allowed


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
            until = time.monotonic() + 40
            while not query(address, "goldline_verdicts_total{verdict='PASS'}") > 10:
                assert time.monotonic() < until, (tmp_path / "log").read_text()[-500:]
                time.sleep(0.2)
            assert query(address, "up{job='goldline'}") == 1
            assert query(address, "sum(goldline_worker_up)") == 3
            assert query(address, "count({__name__=~'goldline_.*'})") < 500
            seen = query(address, "sum(goldline_triggers_total)")
            assert 10 < seen <= daemon.total("goldline_triggers_total")
        finally:
            scraping.terminate()
            scraping.wait()
