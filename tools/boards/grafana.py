"""The boards as Grafana's JSON, by Grafana's own builders."""

import json
from collections.abc import Callable, Sequence
from typing import Any

from grafana_foundation_sdk.builders import (
    dashboard,
    prometheus,
)
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models import prometheus as prometheus_words

from tools.boards.annotations import ANNOTATIONS
from tools.boards.kinds import LETTERS, heatmap_panel, series_panel, stat_panel, states_panel, table_panel
from tools.boards.panel import STATION, Board, Panel, Query

SOURCE = model.DataSourceRef(type_val="prometheus", uid="${datasource}")
GRID_WIDTH = 24
TAG = "goldline"


def rendered(board: Board) -> str:
    """The file that Grafana reads."""
    built = json.loads(json.dumps(_dashboard(board).build(), cls=JSONEncoder))
    _leave_out_what_was(built)
    return json.dumps(_without_nulls(built), indent=1, sort_keys=True) + "\n"


def _leave_out_what_was(built: dict[str, Any]) -> None:
    """The builders write a few fields that Grafana's newer types do not have."""
    built.pop("style", None)
    for variable in built["templating"]["list"]:
        for name in ("auto", "auto_count", "auto_min", "id"):
            variable.pop(name, None)
    for panel in built["panels"]:
        options = panel.get("options", {})
        options.pop("footer", None)
        if panel["type"] == "heatmap":
            options["tooltip"] = {"mode": "single", "yHistogram": False}


def _without_nulls(value: Any) -> Any:
    """What is not set is left out: Grafana's types allow its absence, not null. A threshold's None means "from below"."""
    if isinstance(value, dict):
        kept = {
            name: some for name, some in value.items() if some is not None or ("color" in value and name == "value")
        }
        return {name: _without_nulls(some) for name, some in kept.items()}
    return [_without_nulls(some) for some in value] if isinstance(value, list) else value


def _dashboard(board: Board) -> dashboard.Dashboard:
    made = (
        dashboard.Dashboard(board.title)
        .uid(board.uid)
        .description(board.description)
        .tags([TAG])
        # Changes are made where it is generated; a change in the browser would be lost with the next release.
        .readonly()
        .refresh("10s")
        .time("now-1h", "now")
        .timezone("browser")
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .link(
            dashboard.DashboardLink("Goldline")
            .type(model.DashboardLinkType.DASHBOARDS)
            .tags([TAG])
            .keep_time(True)
            .include_vars(True)
        )
    )
    _add_variables(made, board)
    for name, expression, colour in ANNOTATIONS:
        made.annotation(
            dashboard.AnnotationQuery().name(name).datasource(SOURCE).enable(True).icon_color(colour).expr(expression)
        )
    _add_panels(made, board)
    return made


def _add_variables(made: dashboard.Dashboard, board: Board) -> None:
    made.with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
    made.with_variable(_variable("job", "label_values(goldline_build_info, job)"))
    made.with_variable(_variable("instance", 'label_values(goldline_build_info{job=~"$job"}, instance)'))
    if board.has_cameras:
        made.with_variable(_variable("camera", f"label_values(goldline_triggers_total{{{STATION}}}, camera)"))
    # Where the runbooks can be read; a plant that keeps them elsewhere sets its own.
    made.with_variable(dashboard.ConstantVariable("runbooks").label("Runbooks").value("/public/goldline/runbooks"))


def _variable(name: str, query: str) -> dashboard.QueryVariable:
    return (
        dashboard.QueryVariable(name)
        .label(name.title())
        .datasource(SOURCE)
        .query(query)
        .multi(True)
        .include_all(True)
        # ".+" is one matcher whatever number of stations there is.
        .all_value(".+")
        .current(model.VariableOption(selected=True, text=["All"], value=["$__all"]))
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(model.VariableSort.ALPHABETICAL_ASC)
    )


def _add_panels(made: dashboard.Dashboard, board: Board) -> None:
    """Rows from above to below, their panels from left to right."""
    y, number = 0, 0
    for row in board.rows:
        number += 1
        made.with_row(dashboard.Row(row.title).id(number).grid_pos(model.GridPos(h=1, w=GRID_WIDTH, x=0, y=y)))
        x, y, deepest = 0, y + 1, 0
        for panel in row.panels:
            if x + panel.width > GRID_WIDTH:
                x, y, deepest = 0, y + deepest, 0
            number += 1
            place = model.GridPos(h=panel.height, w=panel.width, x=x, y=y)
            made.with_panel(_panel(panel).id(number).grid_pos(place))
            x, deepest = x + panel.width, max(deepest, panel.height)
        y += deepest


def _panel(panel: Panel) -> Any:
    makers: dict[str, Callable[[Panel], Any]] = {
        "stat": stat_panel,
        "lines": series_panel,
        "areas": series_panel,
        "bars": series_panel,
        "states": states_panel,
        "table": table_panel,
        "heatmap": heatmap_panel,
    }
    made = makers[panel.kind](panel)
    made.title(panel.title).description(panel.description).datasource(SOURCE).unit(panel.unit)
    for letter, query in zip(LETTERS, panel.queries, strict=False):
        made.with_target(_target(panel, letter, query))
    if panel.alert:
        made.links(
            [
                dashboard.DashboardLink(f"What to do: {panel.alert}")
                .type(model.DashboardLinkType.LINK)
                .url(f"${{runbooks}}/{panel.alert}.md")
                .target_blank(True)
            ]
        )
    return made


def _target(panel: Panel, letter: str, query: Query) -> prometheus.Dataquery:
    target = prometheus.Dataquery().ref_id(letter).expr(query.promql).legend_format(query.legend).datasource(SOURCE)
    if panel.kind in {"stat", "table"}:
        target.instant()
    else:
        target.range()
    formats = {"table": prometheus_words.PromQueryFormat.TABLE, "heatmap": prometheus_words.PromQueryFormat.HEATMAP}
    return target.format(formats.get(panel.kind, prometheus_words.PromQueryFormat.TIME_SERIES))


def files(boards: Sequence[Board]) -> dict[str, str]:
    """Name and text of each dashboard's file."""
    return {f"{board.uid.removeprefix('goldline-')}.json": rendered(board) for board in boards}
