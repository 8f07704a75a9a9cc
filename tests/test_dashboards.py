"""The dashboards that are shipped: as generated, as Grafana reads them, about what exists, and with nothing left out."""

import copy
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.needs import needs_group, needs_program

needs_group("boards", "grafana_foundation_sdk", "promql_parser", "yaml")

import yaml  # noqa: E402

from edge.metric_table import ROWS  # noqa: E402
from tests.board_rules import RULES, panels, targets, variable  # noqa: E402
from tests.grafana_types import complaints  # noqa: E402
from tests.promql import words_of  # noqa: E402
from tools import dashboards  # noqa: E402
from tools.boards.grafana import files  # noqa: E402
from tools.boards.panel import counted  # noqa: E402

ROOT = Path(__file__).parents[1]
GRAFANA = ROOT / "deploy" / "grafana"
RULES_FILE = ROOT / "deploy" / "prometheus" / "goldline.rules.yml"
# What Prometheus itself says of a target, and of its alerts.
OF_PROMETHEUS = {
    "up": {"job", "instance"},
    "scrape_duration_seconds": {"job", "instance"},
    "ALERTS": {"job", "instance"},
}
SUFFIX = re.compile("_(bucket|sum|count)$")


def boards() -> dict[str, dict[str, Any]]:
    return {path.stem: json.loads(path.read_text()) for path in sorted((GRAFANA / "dashboards").glob("*.json"))}


BOARDS = boards()


def test_they_are_what_the_program_writes() -> None:
    written = files(dashboards.BOARDS)
    assert {path.name for path in dashboards.FOLDER.iterdir()} == written.keys()
    for name, text in written.items():
        assert (dashboards.FOLDER / name).read_text() == text, "run: python -m tools.dashboards"


def test_grafanas_own_types_take_them(tmp_path: Path) -> None:
    assert complaints(tmp_path, BOARDS) == ""


# Where in the Line board, and what Grafana has no use for.
WRONG: dict[str, tuple[tuple[str | int, ...], object]] = {
    "height": (("panels", 1, "gridPos", "h"), "4"),
    "option": (("panels", 1, "options", "colorMode"), "backgruond"),
    "enumeration": (("panels", 1, "fieldConfig", "defaults", "thresholds", "mode"), "relative"),
    "variable": (("templating", "list", 1, "multi"), "yes"),
    "annotation": (("annotations", "list", 0, "enable"), "yes"),
    "number": (("refresh",), 10),
    "null": (("uid",), None),
}


def broken_at(place: tuple[str | int, ...], wrong: object) -> dict[str, Any]:
    broken: Any = copy.deepcopy(BOARDS["line"])
    part = broken
    for step in place[:-1]:
        part = part[step]
    assert part[place[-1]] != wrong
    part[place[-1]] = wrong
    return broken


def test_grafanas_own_types_refuse_what_is_wrong(tmp_path: Path) -> None:
    broken = {name: broken_at(*where) for name, where in WRONG.items()}
    said = complaints(tmp_path, broken)
    assert set(re.findall(r"^(\w+)\.ts\(.*error TS", said, re.MULTILINE)) == WRONG.keys(), said


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("name", BOARDS)
def test_the_linters_rules_are_kept(name: str, rule: Any) -> None:
    assert list(rule(BOARDS[name])) == []


BROKEN: dict[str, Any] = {
    "template_datasource": lambda board: variable(board, "datasource").update(query="loki"),
    "template_job": lambda board: variable(board, "job").update(multi=False),
    "template_instance": lambda board: variable(board, "instance").update(allValue=".*"),
    "template_label_promql": lambda board: variable(board, "instance").update(query="label_values(instance)"),
    "template_on_time_change_reload": lambda board: variable(board, "job").update(refresh=1),
    "panel_datasource": lambda board: panels(board)[3]["datasource"].update(uid="abc"),
    "panel_title_description": lambda board: panels(board)[3].update(description=""),
    "panel_units": lambda board: panels(board)[3]["fieldConfig"]["defaults"].pop("unit"),
    "panel_no_targets": lambda board: panels(board)[3].update(targets=[]),
    "target_promql": lambda board: ask(board, "rate(x[5m)"),
    "target_rate_interval": lambda board: ask(board, 'sum(rate(x_total{job=~"$job", instance=~"$instance"}[5m]))'),
    "target_job": lambda board: ask(board, 'up{instance=~"$instance"}'),
    "target_instance": lambda board: ask(board, 'up{job=~"$job"} + up{job=~"$job", instance=~"$instance"}'),
    "target_counter_agg": lambda board: ask(board, 'sum(x_total{job=~"$job", instance=~"$instance"})'),
    "uneditable_dashboard": lambda board: board.update(editable=True),
}


def ask(board: dict[str, Any], expression: str) -> None:
    panels(board)[0]["targets"][0]["expr"] = expression


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_each_rule_sees_what_breaks_it(rule: Any) -> None:
    broken = copy.deepcopy(BOARDS["line"])
    BROKEN[rule.__name__](broken)
    assert list(rule(broken))


def expressions(board: dict[str, Any]) -> list[str]:
    marked = [one["expr"] for one in board["annotations"]["list"]]
    asked = [
        re.sub(r"label_values\((.+), \w+\)", r"\1", one["query"])
        for one in board["templating"]["list"]
        if one["type"] == "query"
    ]
    return [expression for _, expression in targets(board)] + marked + asked


@pytest.mark.parametrize("name", BOARDS)
def test_every_metric_and_label_that_is_named_exists(name: str) -> None:
    for expression in expressions(BOARDS[name]):
        words = words_of(expression)
        known = {"le"}
        for one in words.selected:
            labels = OF_PROMETHEUS.get(one.metric) or {"job", "instance", "le", *labels_of(one.metric)}
            assert {label for label, _, _ in one.matchers} <= labels, expression
            for label, operator, value in one.matchers:
                values = (
                    ROWS[SUFFIX.sub("", one.metric)].labels.get(label) if one.metric.startswith("goldline") else None
                )
                # A value of a closed set is one that can occur.
                assert values is None or operator not in {"=", "!="} or value in every_value(one.metric, label), (
                    expression
                )
            known |= labels
        assert words.labels <= known, expression


def labels_of(metric: str) -> set[str]:
    """Of a row of the table; a histogram's series have suffixes, and nothing else has."""
    row = ROWS.get(metric) or ROWS[SUFFIX.sub("", metric)]
    assert (row.kind == "histogram") == bool(SUFFIX.search(metric)), metric
    return set(row.labels)


def every_value(metric: str, label: str) -> set[str]:
    from edge.metric_table import METRICS

    rows = [row for rows in METRICS.values() for row in rows if row.name == SUFFIX.sub("", metric)]
    return {value for row in rows for value in row.labels[label] or ()}


def test_legends_name_labels_that_their_series_have() -> None:
    for board in BOARDS.values():
        for panel in panels(board):
            for target in panel["targets"]:
                words = words_of(target["expr"])
                of_series = words.labels or {
                    label
                    for one in words.selected
                    for label in {
                        *OF_PROMETHEUS.get(one.metric, ()),
                        *(labels_of(one.metric) if one.metric not in OF_PROMETHEUS else ()),
                    }
                } | {"instance", "job", "le"}
                assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= of_series, target


def named(text_of: list[str]) -> set[str]:
    return {SUFFIX.sub("", one.metric) for text in text_of for one in words_of(text).selected} & ROWS.keys()


def shown() -> set[str]:
    return named([expression for board in BOARDS.values() for _, expression in targets(board)])


def alerted() -> set[str]:
    """Named by a rule that alerts, or by one that records for it."""
    return {SUFFIX.sub("", word) for word in re.findall(r"goldline_\w+", RULES_FILE.read_text())} & ROWS.keys()


def test_every_metric_is_shown_or_alerted_on_or_has_a_reason_why_not() -> None:
    neither = tomllib.loads((GRAFANA / "neither.toml").read_text())
    assert neither.keys() == ROWS.keys() - shown() - alerted()
    assert all(len(reason) > 20 and reason.endswith(".") for reason in neither.values())


def test_every_alert_has_its_runbook_where_a_panel_links_to_it() -> None:
    alerts = set(re.findall(r"alert: (\w+)", RULES_FILE.read_text()))
    for board in BOARDS.values():
        for panel in panels(board):
            for link in panel.get("links", []):
                (name,) = re.findall(r"^\$\{runbooks\}/(\w+)\.md$", link["url"])
                assert name in alerts
                assert (ROOT / "docs" / "runbooks" / f"{name}.md").is_file()


def test_commands_and_pages_that_panels_name_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    from edge.__main__ import parser

    text = " ".join(panel["description"] for board in BOARDS.values() for panel in panels(board))
    assert all((ROOT / page).is_file() for page in re.findall(r"docs/[\w/-]+\.md", text))
    for command in re.findall(r"`goldline ([a-z][^`]*)`", text):
        # A command's own words are known to the parser once it is the one that was called.
        monkeypatch.setattr(sys, "argv", ["goldline", *command.split()])
        parser().parse_args(command.split())


def test_panels_fill_their_rows_and_none_overlap() -> None:
    for board in BOARDS.values():
        taken: set[tuple[int, int]] = set()
        for panel in board["panels"]:
            place = panel["gridPos"]
            cells = {
                (x, y)
                for x in range(place["x"], place["x"] + place["w"])
                for y in range(place["y"], place["y"] + place["h"])
            }
            assert not cells & taken
            assert max(x for x, _ in cells) < 24
            taken |= cells
        assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
        assert len({panel["title"] for panel in panels(board)}) == len(panels(board))


def test_what_a_series_was_born_with_is_counted() -> None:
    words = words_of(counted("x_total{}", "$__rate_interval").replace("{STATION}", '{job="goldline"}'))
    assert [one.metric for one in words.selected] == ["x_total", "x_total", "up", "x_total"]


def test_what_was_counted_before_a_gap_is_not_counted_again(tmp_path: Path) -> None:
    """Prometheus itself, on a series that is born, one that was always there, and one over scrapes that failed."""
    promtool = needs_program("promtool", "prometheus")
    expression = counted("x_total{}", "5m").replace("{STATION}", '{job="goldline"}')
    labels = '{job="goldline", instance="s", reason="%s"}'
    series = {
        'up{job="goldline", instance="s"}': "1x20 0x3 1x12",
        f"x_total{labels % 'old'}": "7x20 _x3 7x12",
        f"x_total{labels % 'born'}": "_x31 2x4",
    }
    test = {
        "rule_files": [],
        "evaluation_interval": "15s",
        "tests": [
            {
                "interval": "15s",
                "input_series": [{"series": name, "values": values} for name, values in series.items()],
                "promql_expr_test": [
                    {
                        "expr": f"sum by (reason) ({expression}) > 0",
                        "eval_time": "8m45s",
                        "exp_samples": [{"labels": '{reason="born"}', "value": 2}],
                    }
                ],
            }
        ],
    }
    path = tmp_path / "test.yml"
    path.write_text(yaml.safe_dump(test))
    done = subprocess.run([promtool, "test", "rules", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_provisioning_leads_grafana_to_both() -> None:
    (source,) = yaml.safe_load((GRAFANA / "provisioning/datasources/goldline.yaml").read_text())["datasources"]
    assert (source["type"], source["isDefault"]) == ("prometheus", True)
    (provider,) = yaml.safe_load((GRAFANA / "provisioning/dashboards/goldline.yaml").read_text())["providers"]
    assert provider["options"]["path"] == "/var/lib/grafana/dashboards"
    assert not provider["allowUiUpdates"]
    assert {board["uid"] for board in BOARDS.values()} == {"goldline-line", "goldline-device"}
