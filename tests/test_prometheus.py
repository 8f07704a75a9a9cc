"""A real Prometheus on a real station: what it gets, what that costs, and an alert on its whole way to a person."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from edge import rehearsal
from edge.metric_table import ROWS
from edge.rehearsal import Daemon, free_ports
from tests.needs import needs_program
from tests.watched_station import (
    DEADLINES_S,
    PATIENCE_S,
    Prometheus,
    Receiver,
    alertmanager,
    eventually,
    prometheus,
    write_station,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

# What this station has no part for: no accelerator, perhaps no sensors, and no fleet.
ABSENT = re.compile(r"goldline_(gpu|device_temperature|fleet)_")


@dataclass(frozen=True)
class Watched:
    daemon: Daemon
    prometheus: Prometheus
    receiver: Receiver
    parts: Path


@pytest.fixture(scope="module")
def watched(taught: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    directory = tmp_path_factory.mktemp("watched")
    config = write_station(taught, directory)
    port = rehearsal.settings(config)["metrics"]["port"]
    (alerts,) = free_ports(1)
    receiver = Receiver()
    with (
        rehearsal.running(config) as daemon,
        alertmanager(directory / "alertmanager", alerts, receiver),
        prometheus(directory / "prometheus", port, alerts) as running,
    ):
        eventually(lambda: running.query('up{job="goldline"} == 1'), "the station is scraped")
        yield Watched(daemon, running, receiver, directory / "parts")
    receiver.close()


def test_every_family_of_the_table_arrives(watched):
    for row in ROWS.values():
        if row.tells_why or ABSENT.match(row.name):
            continue
        name = f"{row.name}_bucket" if row.kind == "histogram" else row.name
        eventually(lambda name=name: watched.prometheus.query(name), f"{name} arrives")
    eventually(lambda: watched.prometheus.query("goldline:answer_seconds:p99_5m > 0"), "what is recorded is there")


def test_a_scrape_is_small_and_nothing_is_wrong_with_it(watched):
    promtool = needs_program("promtool", "prometheus")
    status, page = watched.daemon.get("/metrics")
    assert status == 200
    found = subprocess.run(
        [promtool, "check", "metrics", "--extended"], input=page, capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stderr
    assert not found.stderr
    samples = [line for line in page.splitlines() if not line.startswith("#")]
    # All of them are in the table, and by no more labels than stand there.
    always = 0
    for sample in samples:
        name, _, labels = sample.partition("{")
        row = ROWS[re.sub("_(bucket|sum|count)$", "", name.partition(" ")[0])]
        assert set(re.findall(r'(\w+)="', labels)) <= {*row.labels, "le"}
        assert not row.tells_why or not sample.endswith(" 0.0")
        always += not row.tells_why and not ABSENT.match(row.name)
    # What says why comes on top, where there is something to say. An uplink takes 14 more, an accelerator 5, and the
    # sensors of the machine 16 at most: below 500 with all of them.
    assert always < 465
    (target,) = watched.prometheus.targets()
    assert (target["health"], target["lastError"]) == ("up", "")
    assert "level=error" not in watched.prometheus.log.read_text()


def test_every_rule_is_loaded_and_evaluated(watched):
    def pending() -> list[str]:
        return [f"{rule['name']}: {rule['health']}" for rule in watched.prometheus.rules() if rule["health"] != "ok"]

    eventually(lambda: watched.prometheus.rules() and not pending(), f"every rule is well: {pending()}")
    alerts = [rule for rule in watched.prometheus.rules() if rule["type"] == "alerting"]
    assert {rule["name"] for rule in alerts} >= {"GoldlineStationDown", "GoldlineDeadlineBudgetFast"}


def test_the_bucket_at_its_deadline_counts_what_was_on_time(watched):
    def agree() -> bool:
        # Counted one after the other, while it runs: right at one of many looks.
        found = watched.daemon.metrics()
        for camera, deadline_s in DEADLINES_S.items():
            given = sum(found[f'goldline_verdicts_total{{camera="{camera}",verdict="{one}"}}'] for one in VERDICTS)
            late = found[f'goldline_deadline_missed_total{{camera="{camera}"}}']
            within = found[f'goldline_answer_seconds_bucket{{camera="{camera}",le="{deadline_s:g}"}}']
            if not given or within != given - late:
                return False
        return True

    eventually(agree, "bucket and verdicts agree")
    deadlines = {labels["camera"]: value for labels, value in watched.prometheus.query("goldline_deadline_seconds")}
    assert deadlines == DEADLINES_S


VERDICTS = ("PASS", "FAIL", "ERROR")


def counters(daemon: Daemon) -> dict[str, float]:
    found = daemon.metrics()
    families = {name for name, row in ROWS.items() if row.kind != "gauge"}
    return {k: v for k, v in found.items() if re.sub("_(bucket|sum|count)$", "", k.partition("{")[0]) in families}


def test_a_camera_that_is_taken_away_is_told_to_a_person_and_so_is_its_return(watched):
    away = watched.parts.with_name("away")
    assert not watched.receiver.heard("GoldlineCameraDown", "firing", camera="right")
    watched.parts.rename(away)
    (alert, *_) = eventually(
        lambda: watched.receiver.heard("GoldlineCameraDown", "firing", camera="right"), "somebody is told"
    )
    assert alert["receiver"] == "shift"
    assert alert["labels"]["severity"] == "critical"
    assert "camera right does not stream" in alert["annotations"]["summary"]
    assert Path(__file__).parents[1].joinpath(alert["annotations"]["runbook_url"]).is_file()
    away.rename(watched.parts)
    eventually(lambda: watched.receiver.heard("GoldlineCameraDown", "resolved", camera="right"), "and that it is over")
    assert not watched.receiver.heard("GoldlineCameraDown", "firing", camera="left")


def test_a_deadline_that_is_changed_in_flight_is_shown_at_once(watched):
    config = watched.daemon.config
    config.write_text(config.read_text().replace("deadline_ms = 1500.0", "deadline_ms = 1700.0"))
    done = rehearsal.goldline("reload", "--config", config)
    assert done.returncode == 0, done.stdout
    eventually(lambda: watched.prometheus.query('goldline_deadline_seconds{camera="right"} == 1.7'), "it is shown")
    assert watched.daemon.total("goldline_reload_total", outcome="applied") == 1
    assert watched.daemon.total("goldline_configuration_generation") == 2
    # Its bucket comes with the next start: what is killed below must find its page as it was laid out.
    assert 'le="1.5"' in watched.daemon.get("/metrics")[1]


def test_no_counter_of_any_worker_goes_back_when_it_is_killed(watched):
    daemon, last = watched.daemon, counters(watched.daemon)
    victims = daemon.workers()
    for pid in victims.values():
        os.kill(pid, signal.SIGKILL)
    until_s = time.monotonic() + PATIENCE_S
    while deaths(daemon) < victims.keys() or daemon.get("/readyz")[0] != 200:
        assert time.monotonic() < until_s, daemon.get("/readyz")
        now = counters(daemon)
        assert now.keys() >= last.keys()
        assert not {name: (last[name], now[name]) for name in last if now[name] < last[name]}
        last = now
    # The first death of each kind has no 0 before it, and is told of all the same.
    eventually(lambda: deaths_told(watched.prometheus) == victims.keys(), "every death is told")


def deaths(daemon: Daemon) -> set[str]:
    """The workers that died of a signal."""
    pattern = re.compile(r'goldline_worker_restarts_total\{cause="signal",worker="(.+)"\}')
    return {found[1] for name in daemon.metrics() if (found := pattern.fullmatch(name))}


def deaths_told(prometheus: Prometheus) -> set[str]:
    firing = prometheus.query('ALERTS{alertname="GoldlineWorkerRestarted", alertstate="firing"}')
    return {labels["worker"] for labels, _ in firing}
