"""A device's metrics at the plant: a Prometheus agent and a hub as `deploy/prometheus/` has them, the hub killed meanwhile."""

import json
import subprocess
import time
import urllib.parse
import urllib.request
from pathlib import Path

from prometheus_client import CollectorRegistry, Gauge, start_http_server

from tests.fleet_bench import held_ports, killed
from tests.needs import needs_program
from tests.publish_line import until

DEPLOY = Path(__file__).parents[1] / "deploy" / "prometheus"


class Prometheus:
    """One, by a configuration of `deploy/` with these words replaced; killed and started again on the same store."""

    def __init__(self, folder: Path, name: str, words: dict[str, str], *options: str) -> None:
        folder.mkdir()
        text = (DEPLOY / name).read_text()
        for word, other in words.items():
            assert word in text, word
            text = text.replace(word, other)
        (folder / name).write_text(text)
        self._words = [str(needs_program("prometheus", "prometheus")), f"--config.file={folder / name}", *options]
        self.popen: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.popen = subprocess.Popen(self._words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def kill(self) -> None:
        if self.popen is not None:
            self.popen.kill()
            self.popen.wait()
            self.popen = None


def samples(port: int) -> list[tuple[float, float]]:
    """What the hub has of the last minutes: time and value."""
    query = urllib.parse.urlencode({"query": 'goldline_outbox_head_sequence{instance="cell7"}[10m]'})
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/query?{query}", timeout=5) as answer:
            found = json.load(answer)["data"]["result"]
    except OSError:
        return []
    return [(float(at), float(value)) for at, value in found[0]["values"]] if found else []


def test_no_sample_is_missing_after_the_hub_was_away(tmp_path):
    scraped, agent_port, hub_port = held_ports(3)
    registry = CollectorRegistry()
    head = Gauge("goldline_outbox_head_sequence", "A figure of a station.", registry=registry)
    server, thread = start_http_server(scraped, "127.0.0.1", registry)
    agent_words = {
        "127.0.0.1:9464": f"127.0.0.1:{scraped}",
        "instance: station": "instance: cell7",
        "scrape_interval: 5s": "scrape_interval: 250ms",
        "http://127.0.0.1:9090/": f"http://127.0.0.1:{hub_port}/",
        "max_backoff: 30s": "max_backoff: 1s",
        # A batch is sent when it is full, or after 5 s; here it is never full.
        "min_backoff: 1s": "min_backoff: 100ms\n      batch_send_deadline: 200ms",
    }
    agent = Prometheus(
        tmp_path / "agent",
        "agent.yml",
        agent_words,
        "--enable-feature=agent",
        f"--storage.agent.path={tmp_path / 'agent' / 'store'}",
        f"--web.listen-address=127.0.0.1:{agent_port}",
    )
    hub = Prometheus(
        tmp_path / "hub",
        "hub.yml",
        {'rule_files: ["goldline.rules.yml"]': ""},
        "--web.enable-remote-write-receiver",
        f"--storage.tsdb.path={tmp_path / 'hub' / 'store'}",
        f"--web.listen-address=127.0.0.1:{hub_port}",
    )
    try:
        with killed(agent, hub):
            hub.start()
            agent.start()
            head.set(1)
            until(lambda: len(samples(hub_port)) >= 4, "the hub has samples")
            hub.kill()
            head.set(2)
            time.sleep(3)
            head.set(3)
            hub.start()
            until(lambda: [value for _, value in samples(hub_port)][-1:] == [3], "the newest has come")
            values = [value for _, value in samples(hub_port)]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    # Of value 2 are those that were scraped while the hub was away, 12 in 3 s on a machine that has nothing else to do.
    assert sorted(values) == values and set(values) == {1, 2, 3}
    assert values.count(2) >= 3
