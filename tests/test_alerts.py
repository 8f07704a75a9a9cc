"""The alert rules that are shipped: valid, about what exists, each seen to fire and not to, each with its runbook."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from edge.__main__ import parser
from edge.metric_table import ROWS
from tests.needs import needs_program

ROOT = Path(__file__).parents[1]
PROMETHEUS = ROOT / "deploy" / "prometheus"
RULES = PROMETHEUS / "goldline.rules.yml"
TESTS = tuple(RULES.with_suffix(f".{kind}") for kind in ("test.yml", "slow.test.yml"))
RUNBOOKS = ROOT / "docs" / "runbooks"
ALERTS = re.findall(r"alert: (\w+)", RULES.read_text())
# What a runbook answers, in this order.
QUESTIONS = ("What it means.", "What the line does meanwhile.", "First look.", "Mend.", "Over when.")
# Of Prometheus' own, about each scrape.
OWN = {"up", "scrape_samples_scraped", "scrape_duration_seconds"}


def run(program: Path, *words: object) -> None:
    done = subprocess.run([program, *words], capture_output=True, text=True, check=False, cwd=PROMETHEUS)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_rules_are_valid_and_the_configuration_that_names_them():
    promtool = needs_program("promtool", "prometheus")
    run(promtool, "check", "rules", "--lint=all", "--lint-fatal", RULES)
    run(promtool, "check", "config", PROMETHEUS / "prometheus.yml")


@pytest.mark.parametrize("tests", TESTS, ids=lambda path: path.name)
def test_each_alert_fires_when_it_should_and_only_then(tests):
    run(needs_program("promtool", "prometheus"), "test", "rules", tests)


def tried() -> dict[str, str]:
    """Each test by its name."""
    found: dict[str, str] = {}
    for path in TESTS:
        for one in path.read_text().split("\n  - name: ")[1:]:
            name, _, text = one.partition("\n")
            found[name] = text
    return found


def test_no_alert_lacks_a_test_of_either():
    assert ALERTS
    assert len(ALERTS) == len(set(ALERTS))
    blocks = tried()
    assert set(ALERTS) <= blocks.keys()
    for alert in ALERTS:
        # One station that somebody is called for, and another, or an earlier time, that nobody is.
        stations = set(re.findall(r'instance="([\w ]+)"', blocks[alert]))
        assert "bad" in stations, alert
        assert len(stations) > 1 or "exp_alerts: []" in blocks[alert], alert
        assert f'alertname="{alert}"' in blocks[alert] or f"alertname: {alert}" in blocks[alert]


def test_every_alert_has_a_runbook_and_every_runbook_an_alert():
    assert {path.stem for path in RUNBOOKS.glob("Goldline*.md")} == set(ALERTS)
    assert re.findall(r"runbook_url: (\S+)", RULES.read_text()) == [f"docs/runbooks/{one}.md" for one in ALERTS]
    for alert in ALERTS:
        text = (RUNBOOKS / f"{alert}.md").read_text()
        assert text.startswith(f"# {alert}\n")
        assert tuple(re.findall(r"^\*\*(.+?)\*\*", text, re.MULTILINE)) == QUESTIONS
        for page in re.findall(r"\]\(([^)#]+)\)", text):
            assert (RUNBOOKS / page).is_file(), f"{alert}: {page}"
    index = (RUNBOOKS / "README.md").read_text()
    assert [one for one in ALERTS if f"({one}.md)" not in index] == []


def test_the_alerts_are_about_metrics_and_labels_that_exist():
    rules = RULES.read_text()
    recorded = set(re.findall(r"record: (\S+)", rules))
    used = {name.removesuffix("_bucket") for name in re.findall(r"\bgoldline_\w+", rules)}
    assert used
    assert used <= ROWS.keys()
    assert set(re.findall(r"\bgoldline:[\w:]+", rules)) == recorded
    known = {"instance", "job", *(label for name in used for label in ROWS[name].labels)}
    assert set(re.findall(r"\$labels\.(\w+)", rules)) <= known
    # A value that a rule asks for is one that its label can have.
    for label, value in re.findall(r'(\w+)!?="(\w+)"', re.sub(r"\{\{.*?\}\}", "", rules)):
        if label != "job":
            assert any(value in (ROWS[name].labels.get(label) or ()) for name in used), (label, value)


def test_runbooks_name_metrics_commands_and_units_that_exist(monkeypatch):
    units = {path.stem for path in (ROOT / "systemd").glob("*.service")}
    for page in RUNBOOKS.glob("*.md"):
        text = page.read_text()
        assert set(re.findall(r"\bgoldline_\w+", text)) <= ROWS.keys(), page.name
        for command in re.findall(r"`goldline ([a-z][^`]*)`", text):
            # A command's own words are known to the parser once it is the one that was called.
            monkeypatch.setattr(sys, "argv", ["goldline", *command.split()])
            parser().parse_args(command.split())
        assert set(re.findall(r"systemctl \w+ ([\w-]+)", text)) <= units, page.name


def test_the_alertmanager_is_told_who_hears_of_what():
    amtool = needs_program("amtool", "prometheus-alertmanager")
    config = PROMETHEUS / "alertmanager.yml"
    run(amtool, "check-config", config)
    for severity, receiver in (("critical", "shift"), ("warning", "maintenance")):
        route = ("config", "routes", "test", f"--config.file={config}", f"--verify.receivers={receiver}")
        run(amtool, *route, f"severity={severity}", "alertname=GoldlineCameraDown")
    assert set(re.findall(r"severity: (\w+)", RULES.read_text())) == {"critical", "warning"}
    named = set(re.findall(r"Goldline\w+", config.read_text()))
    assert named <= set(ALERTS)
