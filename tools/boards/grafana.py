"""The boards as Grafana's JSON, by Grafana's own builders."""

import json
from collections.abc import Callable, Sequence
from typing import Any

from grafana_foundation_sdk.builders import (
    common,
    dashboard,
    heatmap,
    prometheus,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as words
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models import heatmap as heat_words
from grafana_foundation_sdk.models import prometheus as prometheus_words

from tools.boards.annotations import ANNOTATIONS
from tools.boards.panel import STATION, Board, Panel, Query

SOURCE = model.DataSourceRef(type_val="prometheus", uid="${datasource}")
# What of a panel's letters name its queries.
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
GRID_WIDTH = 24
# Columns that only say how the station was scraped, or when.
UNSAID = ("Time", "job", "__name__", "quantity")
TAG = "goldline"


def rendered(board: Board) -> str:
    """The file that Grafana reads."""
    built = json.loads(json.dumps(_dashboard(board).build(), cls=JSONEncoder))
    return json.dumps(_without_nulls(built), indent=1, sort_keys=True) + "\n"


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
        "stat": _stat,
        "lines": _series,
        "areas": _series,
        "bars": _series,
        "states": _states,
        "table": _table,
        "heatmap": _heatmap,
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


def _thresholds(panel: Panel) -> dashboard.ThresholdsConfig:
    steps = [model.Threshold(value=value, color=colour) for value, colour in panel.steps]
    return dashboard.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(steps)


def _by(mode: model.FieldColorModeId) -> dashboard.FieldColor:
    return dashboard.FieldColor().mode(mode)


def _stat(panel: Panel) -> stat.Panel:
    return (
        stat.Panel()
        .thresholds(_thresholds(panel))
        .color_scheme(_by(model.FieldColorModeId.THRESHOLDS))
        .color_mode(words.BigValueColorMode.BACKGROUND)
        .graph_mode(words.BigValueGraphMode.NONE)
        .text_mode(words.BigValueTextMode.VALUE)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .no_value("no parts")
    )


def _series(panel: Panel) -> timeseries.Panel:
    made = (
        timeseries.Panel()
        .thresholds(_thresholds(panel))
        .color_scheme(_by(model.FieldColorModeId.PALETTE_CLASSIC_BY_NAME))
        .min(0 if not _goes_below_zero(panel) else None)
        .line_width(1)
        .fill_opacity({"lines": 0, "areas": 60, "bars": 80}[panel.kind])
        .draw_style(words.GraphDrawStyle.BARS if panel.kind == "bars" else words.GraphDrawStyle.LINE)
        .show_points(words.VisibilityMode.NEVER)
        .legend(_legend(panel))
        .tooltip(common.VizTooltipOptions().mode(words.TooltipDisplayMode.MULTI).sort(words.SortOrder.DESCENDING))
    )
    if panel.kind != "lines":
        made.stacking(common.StackingConfig().mode(words.StackingMode.NORMAL).group("A"))
    if panel.top is not None:
        made.max(panel.top)
    if panel.is_limit:
        made.thresholds_style(common.GraphThresholdsStyleConfig().mode(words.GraphThresholdsStyleMode.DASHED))
    if panel.dashed:
        made.override_by_regexp(
            panel.dashed,
            _properties(
                {"custom.lineStyle": {"fill": "dash", "dash": [8, 6]}, "color": {"mode": "fixed", "fixedColor": "red"}}
            ),
        )
    for name, colour in panel.colours.items():
        made.override_by_name(name, _properties({"color": {"mode": "fixed", "fixedColor": colour}}))
    return made


def _goes_below_zero(panel: Panel) -> bool:
    return any(value is not None and value < 0 for value, _ in panel.steps) or panel.unit == "celsius"


def _legend(panel: Panel) -> common.VizLegendOptions:
    legend = common.VizLegendOptions().show_legend(True)
    if panel.width >= 12:
        legend.display_mode(words.LegendDisplayMode.TABLE).placement(words.LegendPlacement.RIGHT)
        return legend.calcs(["lastNotNull", "max"])
    return legend.display_mode(words.LegendDisplayMode.LIST).placement(words.LegendPlacement.BOTTOM).calcs([])


def _states(panel: Panel) -> statetimeline.Panel:
    meanings = {
        str(value): model.ValueMappingResult(text=text, color=colour, index=index)
        for index, (value, (text, colour)) in enumerate(panel.words.items())
    }
    return (
        statetimeline.Panel()
        .thresholds(_thresholds(panel))
        .mappings([model.ValueMap(options=meanings)])
        .merge_values(True)
        .show_value(words.VisibilityMode.NEVER)
        .row_height(0.8)
        .fill_opacity(80)
        .legend(
            common.VizLegendOptions()
            .show_legend(True)
            .display_mode(words.LegendDisplayMode.LIST)
            .placement(words.LegendPlacement.BOTTOM)
            .calcs([])
        )
        .tooltip(common.VizTooltipOptions().mode(words.TooltipDisplayMode.SINGLE).sort(words.SortOrder.NONE))
    )


def _table(panel: Panel) -> table.Panel:
    """One row for each set of labels, a column for each label and each query."""
    names = {_column(panel, letter): query.legend for letter, query in zip(LETTERS, panel.queries, strict=False)}
    made = (
        table.Panel()
        .thresholds(_thresholds(panel))
        .color_scheme(_by(model.FieldColorModeId.THRESHOLDS))
        .show_header(True)
        .no_value("none")
        .with_transformation(model.DataTransformerConfig(id_val="merge", options={}))
        .with_transformation(
            model.DataTransformerConfig(
                id_val="organize",
                options={"excludeByName": dict.fromkeys(UNSAID, True), "indexByName": {}, "renameByName": names},
            )
        )
    )
    for name, unit in panel.units.items():
        made.override_by_name(name, _properties({"unit": unit}))
    # Alerts name their runbooks.
    link = {"title": "What to do", "url": "${runbooks}/${__value.text}.md", "targetBlank": True}
    made.override_by_name("alertname", _properties({"links": [link]}))
    return made


def _column(panel: Panel, letter: str) -> str:
    """What the transformation `merge` calls a query's values."""
    return f"Value #{letter}" if len(panel.queries) > 1 else "Value"


def _heatmap(panel: Panel) -> heatmap.Panel:
    """Of a histogram's buckets, which Grafana takes apart by their upper edges."""
    return (
        heatmap.Panel()
        .calculate(False)
        .color(heatmap.HeatmapColorOptions().mode(heat_words.HeatmapColorMode.SCHEME).scheme("Blues").steps(64))
        .y_axis(heatmap.YAxisConfig().unit(panel.unit))
        .show_legend()
        .show_tooltip()
    )


def _properties(values: dict[str, Any]) -> list[model.DynamicConfigValue]:
    return [model.DynamicConfigValue(id_val=name, value=value) for name, value in values.items()]


def files(boards: Sequence[Board]) -> dict[str, str]:
    """Name and text of each dashboard's file."""
    return {f"{board.uid.removeprefix('goldline-')}.json": rendered(board) for board in boards}
