"""The alert rules that are shipped: valid, about what exists, and each seen to fire."""

import re
import subprocess
from pathlib import Path

from edge.metric_table import METRICS
from tests.needs import needs_program

ROOT = Path(__file__).parents[1]
RULES = ROOT / "deploy" / "goldline.rules.yml"


def test_the_alerts_are_valid_and_fire_when_they_should() -> None:
    promtool = needs_program("promtool", "prometheus")
    for words in (["check", "rules", RULES], ["test", "rules", RULES.with_suffix(".test.yml")]):
        checked = subprocess.run([promtool, *words], capture_output=True, text=True, check=False, cwd=ROOT)
        assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_alerts_are_about_metrics_and_labels_that_exist() -> None:
    table = {metric.name: metric for metrics in METRICS.values() for metric in metrics}
    rules = RULES.read_text()
    used = set(re.findall(r"goldline_\w+", rules))
    assert used
    assert used <= table.keys()
    known = {"instance", *(label for name in used for label in table[name].labels)}
    assert set(re.findall(r"\$labels\.(\w+)", rules)) <= known


def test_every_alert_is_tried() -> None:
    alerts = re.findall(r"alert: (\w+)", RULES.read_text())
    assert alerts
    assert all(f'"{alert}"' in RULES.with_suffix(".test.yml").read_text() for alert in alerts)
