"""Each kind of panel by Grafana's own builder."""

from typing import Any

from grafana_foundation_sdk.builders import common, dashboard, heatmap, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.models import common as words
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models import heatmap as heat_words

from tools.boards.panel import Panel

# What of a panel's letters name its queries.
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
# Columns that only say how the station was scraped, or when.
UNSAID = ("Time", "job", "__name__")


def _thresholds(panel: Panel) -> dashboard.ThresholdsConfig:
    steps = [model.Threshold(value=value, color=colour) for value, colour in panel.steps]
    return dashboard.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(steps)


def _by(mode: model.FieldColorModeId) -> dashboard.FieldColor:
    return dashboard.FieldColor().mode(mode)


def stat_panel(panel: Panel) -> stat.Panel:
    """One number on its colour."""
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


def series_panel(panel: Panel) -> timeseries.Panel:
    """Lines over time, areas and bars stacked."""
    made = (
        timeseries.Panel()
        .thresholds(_thresholds(panel))
        .color_scheme(_by(model.FieldColorModeId.PALETTE_CLASSIC_BY_NAME))
        .line_width(1)
        .fill_opacity({"lines": 0, "areas": 60, "bars": 80}[panel.kind])
        .draw_style(words.GraphDrawStyle.BARS if panel.kind == "bars" else words.GraphDrawStyle.LINE)
        .show_points(words.VisibilityMode.NEVER)
        .legend(_legend(panel))
        .tooltip(common.VizTooltipOptions().mode(words.TooltipDisplayMode.MULTI).sort(words.SortOrder.DESCENDING))
    )
    if not _goes_below_zero(panel):
        made.min(0)
    if panel.kind != "lines":
        made.stacking(common.StackingConfig().mode(words.StackingMode.NORMAL).group("A"))
    if panel.top is not None:
        made.max(panel.top)
    if panel.is_limit:
        made.thresholds_style(common.GraphThresholdsStyleConfig().mode(words.GraphTresholdsStyleMode.DASHED))
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


def states_panel(panel: Panel) -> statetimeline.Panel:
    """A band for each series, coloured by what its number means."""
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


def table_panel(panel: Panel) -> table.Panel:
    """One row for each set of labels, a column for each label and each query."""
    columns = {_column(panel, letter): query.legend for letter, query in zip(LETTERS, panel.queries, strict=False)}
    # A query without a name of its column says by its labels alone.
    unsaid = (*UNSAID, *(column for column, name in columns.items() if not name))
    names = {column: name for column, name in columns.items() if name}
    made = (
        table.Panel()
        .thresholds(_thresholds(panel))
        .color_scheme(_by(model.FieldColorModeId.THRESHOLDS))
        .show_header(True)
        .no_value("none")
        # Prometheus counts between its looks, and so in fractions.
        .decimals(0)
        .with_transformation(model.DataTransformerConfig(id_val="merge", options={}))
        .with_transformation(
            model.DataTransformerConfig(
                id_val="organize",
                options={"excludeByName": dict.fromkeys(unsaid, True), "indexByName": {}, "renameByName": names},
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


def heatmap_panel(panel: Panel) -> heatmap.Panel:
    """Of a histogram's buckets, which Grafana takes apart by their upper edges."""
    return (
        heatmap.Panel()
        .calculate(False)
        .color(heatmap.HeatmapColorOptions().mode(heat_words.HeatmapColorMode.SCHEME).scheme("Blues").steps(64))
        .y_axis(heatmap.YAxisConfig().unit(panel.unit))
        .show_legend()
    )


def _properties(values: dict[str, Any]) -> list[model.DynamicConfigValue]:
    return [model.DynamicConfigValue(id_val=name, value=value) for name, value in values.items()]
