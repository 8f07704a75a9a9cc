"""The rules of Grafana's dashboard-linter, for dashboards that ask Prometheus alone. Each yields what breaks it.

Its rules and their reasons: https://github.com/grafana/dashboard-linter/tree/main/docs/rules
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

from tests.promql import RATE_INTERVAL, parsed, words_of

Dashboard = dict[str, Any]

# Alerts of rules that sum over jobs have none; their instance says whose they are.
WITHOUT_A_JOB = {"ALERTS"}
# Grafana's units that the boards use, of those that it has.
UNITS = {"percentunit", "none", "short", "s", "bytes", "cpm", "cps", "reqps", "celsius", "watt"}
# What may be done with a counter but look at it.
COUNTING = {"rate", "irate", "increase", "resets"}


def panels(board: Dashboard) -> list[dict[str, Any]]:
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def targets(board: Dashboard) -> Iterator[tuple[str, str]]:
    """Title and expression of each."""
    for panel in panels(board):
        for target in panel["targets"]:
            yield panel["title"], target["expr"]


def variable(board: Dashboard, name: str) -> dict[str, Any]:
    return next((one for one in board["templating"]["list"] if one["name"] == name), {})


def template_datasource(board: Dashboard) -> Iterator[str]:
    found = variable(board, "datasource")
    if (found.get("type"), found.get("query"), found.get("label")) != ("datasource", "prometheus", "Data source"):
        yield f"datasource: {found}"


def _template_label(board: Dashboard, name: str) -> Iterator[str]:
    found = variable(board, name)
    wanted = {"type": "query", "label": name.title(), "multi": True, "allValue": ".+", "includeAll": True}
    if {key: found.get(key) for key in wanted} != wanted or found["datasource"]["uid"] != "${datasource}":
        yield f"{name}: {found}"


def template_job(board: Dashboard) -> Iterator[str]:
    yield from _template_label(board, "job")


def template_instance(board: Dashboard) -> Iterator[str]:
    yield from _template_label(board, "instance")


def template_label_promql(board: Dashboard) -> Iterator[str]:
    for one in board["templating"]["list"]:
        if one["type"] == "query":
            call = re.fullmatch(r"label_values\((.+), \w+\)", one["query"])
            if call is None or not words_of(call[1]).selected:
                yield one["name"]


def template_on_time_change_reload(board: Dashboard) -> Iterator[str]:
    yield from (one["name"] for one in board["templating"]["list"] if one["type"] == "query" and one["refresh"] != 2)


def panel_datasource(board: Dashboard) -> Iterator[str]:
    yield from (panel["title"] for panel in panels(board) if panel["datasource"]["uid"] != "${datasource}")


def panel_title_description(board: Dashboard) -> Iterator[str]:
    yield from (str(panel["id"]) for panel in panels(board) if not (panel["title"] and panel["description"]))


def panel_units(board: Dashboard) -> Iterator[str]:
    for panel in panels(board):
        if panel["fieldConfig"]["defaults"].get("unit") not in UNITS:
            yield panel["title"]


def panel_no_targets(board: Dashboard) -> Iterator[str]:
    yield from (panel["title"] for panel in panels(board) if not panel["targets"])


def target_promql(board: Dashboard) -> Iterator[str]:
    for title, expression in targets(board):
        try:
            parsed(expression)
        except ValueError as problem:
            yield f"{title}: {problem}"


def target_rate_interval(board: Dashboard) -> Iterator[str]:
    for title, expression in targets(board):
        for one in words_of(expression).selected:
            if {"rate", "irate"} & set(one.calls) and one.window != RATE_INTERVAL:
                yield f"{title}: {one.metric}"


def target_job(board: Dashboard) -> Iterator[str]:
    yield from _without_matcher(board, "job", WITHOUT_A_JOB)


def target_instance(board: Dashboard) -> Iterator[str]:
    yield from _without_matcher(board, "instance", set())


def _without_matcher(board: Dashboard, label: str, but: set[str]) -> Iterator[str]:
    for title, expression in targets(board):
        for one in words_of(expression).selected:
            if not one.has(label, f"${label}") and one.metric not in but:
                yield f"{title}: {one.metric}"


def target_counter_agg(board: Dashboard) -> Iterator[str]:
    """But in `x and count_over_time(x[W]) < ...`: what a series was born with."""
    for title, expression in targets(board):
        for one in words_of(expression).selected:
            is_counter = one.metric.endswith(("_total", "_sum", "_count", "_bucket"))
            if is_counter and not COUNTING & set(one.calls) and f"and count_over_time({one.metric}" not in expression:
                yield f"{title}: {one.metric}"


def uneditable_dashboard(board: Dashboard) -> Iterator[str]:
    if board["editable"]:
        yield "editable"


RULES: tuple[Callable[[Dashboard], Iterator[str]], ...] = (
    template_datasource,
    template_job,
    template_instance,
    template_label_promql,
    template_on_time_change_reload,
    panel_datasource,
    panel_title_description,
    panel_units,
    panel_no_targets,
    target_promql,
    target_rate_interval,
    target_job,
    target_instance,
    target_counter_agg,
    uneditable_dashboard,
)
