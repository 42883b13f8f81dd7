"""The kinds of panels, one function each; all take a title, what to read from it, and queries."""

from dataclasses import dataclass
from typing import TypeVar

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    dashboard,
    heatmap,
    prometheus,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import common as kinds
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from deploy.dashboards.style import PLAIN, SHARE, Look, overrides, thresholds

DATASOURCE = models.DataSourceRef(type_val="prometheus", uid="${datasource}")

AnyPanel = Builder[models.Panel]
Kind = TypeVar(
    "Kind",
    timeseries.Panel,
    stat.Panel,
    bargauge.Panel,
    heatmap.Panel,
    statetimeline.Panel,
    table.Panel,
)


@dataclass(frozen=True, slots=True)
class Query:
    """One expression and what its series are called.

    Attributes:
        expression: PromQL.
        legend: Name of a series; `{{label}}` stands for a label's value.
    """

    expression: str
    legend: str


@dataclass(frozen=True, slots=True)
class Column:
    """One column of numbers in a table.

    Attributes:
        title: Its heading.
        expression: PromQL; its labels find the row.
        unit: Unit of its numbers.
        decimals: Digits after the point.
    """

    title: str
    expression: str
    unit: str
    decimals: int


@dataclass(frozen=True, slots=True)
class State:
    """One value of a gauge that stands for a state."""

    value: int
    text: str
    colour: str


def lines(
    title: str, says: str, unit: str, *queries: Query, look: Look = PLAIN
) -> timeseries.Panel:
    """Return values over time, piled up where `look` says so."""
    piled = look.stacked != "none"
    panel = _headed(timeseries.Panel(), title, says, look).unit(unit)
    if look.stacked == "percent":
        panel.unit(SHARE)
    if look.least is not None:
        panel.min(look.least)
    if look.steps:
        style = common.GraphThresholdsStyleConfig().mode(kinds.GraphTresholdsStyleMode.DASHED)
        panel.thresholds_style(style)
    return (
        _asking(panel, queries, PromQueryFormat.TIME_SERIES)
        .overrides(overrides(look.colours))
        .stacking(common.StackingConfig().mode(kinds.StackingMode(look.stacked)).group("A"))
        .fill_opacity(45 if piled else 8)
        .line_width(1 if piled else 2)
        .show_points(kinds.VisibilityMode.AUTO)
        .color_scheme(dashboard.FieldColor().mode(models.FieldColorModeId.PALETTE_CLASSIC_BY_NAME))
        .legend(_legend())
        .tooltip(
            common.VizTooltipOptions()
            .mode(kinds.TooltipDisplayMode.MULTI)
            .sort(kinds.SortOrder.DESCENDING)
        )
    )


def number(title: str, says: str, unit: str, query: Query, look: Look = PLAIN) -> stat.Panel:
    """Return one large number with its course behind it."""
    panel = _headed(stat.Panel(), title, says, look).unit(unit)
    return (
        _asking(panel, (query,), PromQueryFormat.TIME_SERIES)
        .reduce_options(_last())
        .graph_mode(kinds.BigValueGraphMode.AREA)
        .color_mode(kinds.BigValueColorMode.VALUE)
        .text_mode(kinds.BigValueTextMode.AUTO)
    )


def total(title: str, says: str, unit: str, query: Query, look: Look = PLAIN) -> stat.Panel:
    """Return one large number of the whole time that is shown."""
    panel = number(title, says, unit, query, look).graph_mode(kinds.BigValueGraphMode.NONE)
    return panel.targets([_target(query, 0, PromQueryFormat.TIME_SERIES).instant()])


def names(title: str, says: str, unit: str, query: Query, look: Look = PLAIN) -> stat.Panel:
    """Return the series that there are by name, each with its number."""
    panel = total(title, says, unit, query, look)
    return panel.text_mode(kinds.BigValueTextMode.VALUE_AND_NAME)


def bars(title: str, says: str, unit: str, *queries: Query, look: Look = PLAIN) -> bargauge.Panel:
    """Return one bar a series, of the whole time that is shown."""
    return _bars(title, says, unit, look).targets(
        [
            _target(query, place, PromQueryFormat.TIME_SERIES).instant()
            for place, query in enumerate(queries)
        ]
    )


def distribution(
    title: str, says: str, unit: str, query: Query, look: Look = PLAIN
) -> bargauge.Panel:
    """Return one bar a bucket of a histogram; the query's series are the buckets up to `le`."""
    target = _target(query, 0, PromQueryFormat.HEATMAP).instant()
    rest = models.DynamicConfigValue("displayName", "more")
    return _bars(title, says, unit, look).targets([target]).override_by_name("+Inf", [rest])


def hot(title: str, says: str, unit: str, query: Query, look: Look = PLAIN) -> heatmap.Panel:
    """Return a histogram over time; the query's series are the buckets up to `le`."""
    panel = _headed(heatmap.Panel(), title, says, look)
    return (
        _asking(panel, (query,), PromQueryFormat.HEATMAP)
        .calculate(False)
        .unit("short")
        .color(
            heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Blues").steps(64)
        )
        .y_axis(heatmap.YAxisConfig().unit(unit).axis_placement(kinds.AxisPlacement.LEFT))
        .filter_values(heatmap.FilterValueRange().le(1e-9))
        .show_legend()
        .show_tooltip()
    )


def timeline(
    title: str, says: str, states: tuple[State, ...], query: Query, look: Look = PLAIN
) -> statetimeline.Panel:
    """Return what state each series is in over time."""
    texts = {
        str(state.value): models.ValueMappingResult(
            text=state.text, color=state.colour, index=place
        )
        for place, state in enumerate(states)
    }
    panel = _headed(statetimeline.Panel(), title, says, look).unit("none")
    return (
        _asking(panel, (query,), PromQueryFormat.TIME_SERIES)
        .mappings([models.ValueMap(options=texts)])
        .color_scheme(dashboard.FieldColor().mode(models.FieldColorModeId.THRESHOLDS))
        .show_value(kinds.VisibilityMode.NEVER)
        .merge_values(True)
        .row_height(0.8)
        .legend(_legend())
    )


def rows(title: str, says: str, by: str, *columns: Column, look: Look = PLAIN) -> table.Panel:
    """Return a table with a row for each value of the label `by`, of the time that is shown."""
    panel = _headed(table.Panel(), title, says, look).unit("short").show_header(True)
    queries = [Query(column.expression, column.title) for column in columns]
    values = {f"Value #{_ref(place)}": column.title for place, column in enumerate(columns)}
    order = {by: 0} | {name: place + 1 for place, name in enumerate(values)}
    for column in columns:
        unit = models.DynamicConfigValue("unit", column.unit)
        decimals = models.DynamicConfigValue("decimals", column.decimals)
        panel.override_by_name(column.title, [unit, decimals])
    return panel.targets(
        [
            _target(query, place, PromQueryFormat.TABLE).instant()
            for place, query in enumerate(queries)
        ]
    ).transformations(
        [
            models.DataTransformerConfig(id_val="merge", options={}),
            models.DataTransformerConfig(
                id_val="organize",
                options={
                    "excludeByName": {"Time": True},
                    "indexByName": order,
                    "renameByName": values,
                },
            ),
        ]
    )


def _headed(panel: Kind, title: str, says: str, look: Look) -> Kind:
    panel.title(title).description(says).datasource(DATASOURCE).no_value(look.empty)
    panel.thresholds(thresholds(look))
    if look.most is not None:
        panel.max(look.most)
    if look.decimals is not None:
        panel.decimals(look.decimals)
    return panel


def _asking(panel: Kind, queries: tuple[Query, ...], form: PromQueryFormat) -> Kind:
    return panel.targets(
        [_target(query, place, form).range() for place, query in enumerate(queries)]
    )


def _target(query: Query, place: int, form: PromQueryFormat) -> prometheus.Dataquery:
    return (
        prometheus.Dataquery()
        .datasource(DATASOURCE)
        .expr(query.expression)
        .legend_format(query.legend)
        .format(form)
        .ref_id(_ref(place))
    )


def _ref(place: int) -> str:
    return chr(ord("A") + place)


def _bars(title: str, says: str, unit: str, look: Look) -> bargauge.Panel:
    return (
        _headed(bargauge.Panel(), title, says, look)
        .unit(unit)
        .min(0)
        .reduce_options(_last())
        .orientation(kinds.VizOrientation.HORIZONTAL)
        .display_mode(kinds.BarGaugeDisplayMode.BASIC)
        .show_unfilled(True)
        .overrides(overrides(look.colours))
    )


def _last() -> common.ReduceDataOptions:
    return common.ReduceDataOptions().calcs(["lastNotNull"]).values(False)


def _legend() -> common.VizLegendOptions:
    return (
        common.VizLegendOptions()
        .show_legend(True)
        .display_mode(kinds.LegendDisplayMode.LIST)
        .placement(kinds.LegendPlacement.BOTTOM)
        .calcs([])
    )
