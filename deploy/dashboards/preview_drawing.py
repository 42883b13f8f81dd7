"""Pictures of single panels, by matplotlib; one function a kind."""

import io
from collections.abc import Callable, Iterator, Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from deploy.dashboards.preview_answers import Answer, Series, Span, buckets, table
from deploy.dashboards.preview_canvas import (
    COLOURS,
    DPI,
    LETTER,
    LINE,
    SOFT,
    WRONG,
    axes_at,
    legend,
    over_time,
    painted,
    size,
    write,
)
from deploy.dashboards.preview_panels import Panel
from deploy.dashboards.preview_units import told

MOST_BARS = 14


def drawn(panel: Panel, answer: Answer, span: Span) -> bytes:
    """Return the PNG of one panel, red where something is wrong."""
    wide, high = size(panel)
    ground = WRONG if answer.problems else "white"
    figure = Figure(figsize=(wide / DPI, high / DPI), dpi=DPI, facecolor=ground)
    FigureCanvasAgg(figure)
    write(figure, 8, 14, panel.title, size=8.5, weight="bold")
    if answer.problems:
        lines = [part for problem in answer.problems for part in _wrapped(problem, wide // 6)]
        for place, line in enumerate(lines[: high // 14 - 2]):
            write(figure, 8, 32 + 13 * place, line, size=6.5, color=COLOURS["red"])
    else:
        _KINDS[panel.kind](figure, panel, answer.series, span)
    figure.patch.set_linewidth(1)
    figure.patch.set_edgecolor(LINE)
    out = io.BytesIO()
    figure.savefig(out, format="png", facecolor=ground)
    return out.getvalue()


def _wrapped(text: str, letters: int) -> list[str]:
    return [text[at : at + letters] for at in range(0, len(text), letters)]


def _lines(figure: Figure, panel: Panel, series: Sequence[Series], span: Span) -> None:
    colours = painted(panel, sorted({each.name for each in series}))
    axes = axes_at(figure, 52, 28, 24, 24 + legend(figure, colours))
    mode = panel.field.get("custom", {}).get("stacking", {}).get("mode", "none")
    if mode == "none":
        for each in series:
            colour = colours[each.name]
            for part in _unbroken(each.points, span.step_s):
                alone = "o" if len(part) == 1 else ""
                axes.plot(*zip(*part, strict=True), marker=alone, ms=2.5, lw=1.4, color=colour)
    else:
        _piled(axes, series, colours, span.step_s, share=mode == "percent")
    for step in panel.field["thresholds"]["steps"][1:]:
        low, high = axes.get_ylim()
        if low <= step["value"] <= high:
            axes.axhline(step["value"], color=COLOURS[step["color"]], lw=0.8, ls="--")
    flat = all(value == 0 for each in series for _, value in each.points)
    axes.set_ylim(panel.field.get("min"), 1 if flat else panel.field.get("max"))
    axes.grid(visible=True, color=LINE, lw=0.6)
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: told(v, panel.unit)))
    over_time(axes, span)


def _unbroken(
    points: Sequence[tuple[float, float]], step_s: float
) -> Iterator[Sequence[tuple[float, float]]]:
    """Yield the parts of a series between gaps."""
    start = 0
    for place in range(1, len(points)):
        if points[place][0] - points[place - 1][0] > 1.5 * step_s:
            yield points[start:place]
            start = place
    yield points[start:]


def _piled(
    axes: Axes,
    series: Sequence[Series],
    colours: Mapping[str, str],
    step_s: float,
    *,
    share: bool,
) -> None:
    seen = sorted({at for each in series for at, _ in each.points})
    times = [seen[0] + step_s * n for n in range(1 + round((seen[-1] - seen[0]) / step_s))]
    values = [
        [_at(each.points, step_s).get(n, 0.0) for n in _grid(times, step_s)] for each in series
    ]
    if share:
        sums = [sum(column) or 1.0 for column in zip(*values, strict=True)]
        values = [[v / s for v, s in zip(row, sums, strict=True)] for row in values]
    paint = [colours[each.name] for each in series]
    axes.stackplot(times, *values, colors=paint, alpha=0.55, lw=0)


def _grid(times: Sequence[float], step_s: float) -> list[int]:
    return [round(at / step_s) for at in times]


def _at(points: Sequence[tuple[float, float]], step_s: float) -> dict[int, float]:
    return {round(at / step_s): value for at, value in points}


def _number(figure: Figure, panel: Panel, series: Sequence[Series], span: Span) -> None:
    wide, high = size(panel)
    named = panel.options.get("textMode") == "value_and_name" or len(series) > 1
    course = panel.options.get("graphMode") == "area"
    for place, each in enumerate(series):
        left = 10 + place * wide / len(series)
        value = each.points[-1][1]
        said = told(value, panel.unit, panel.decimals)
        large = min(19, (wide / len(series) - 16) / max(len(said), 4) * 1.15, high / 5)
        write(figure, left, high * 0.5, said, size=large, color=COLOURS[panel.colour(value)])
        if named:
            write(figure, left, high * 0.5 + large + 4, each.name, size=7, color=SOFT)
    if course and len(series[0].points) > 1:
        axes = axes_at(figure, 0, high * 0.68, 0, 0)
        axes.axis("off")
        at, values = zip(*series[0].points, strict=True)
        colour = COLOURS[panel.colour(values[-1])]
        axes.fill_between(at, values, color=colour, alpha=0.18, lw=0)
        axes.plot(at, values, color=colour, lw=1)
        axes.set_xlim(span.start, span.end)
        axes.set_ylim(0 if min(values) >= 0 else None, max(values) * 1.05 or 1)


def _bars(figure: Figure, panel: Panel, series: Sequence[Series], _: Span) -> None:
    if panel.targets[0].form == "heatmap":
        series = buckets(series)
    shown = list(series)[:MOST_BARS]
    wide, high = size(panel)
    most = max(each.points[-1][1] for each in shown) or 1.0
    left = min(0.5 * wide, 16 + LETTER * 1.1 * max(len(each.name) for each in shown))
    room = wide - left - 56
    step = min(26.0, (high - 34) / len(shown))
    for place, each in enumerate(shown):
        value, top = each.points[-1][1], 34 + step * (place + 0.5)
        named = panel.painted(each.name)
        colour = COLOURS[named or panel.colour(value)]
        write(figure, left - 6, top, panel.shown(each.name), size=6.5, ha="right", color=SOFT)
        _bar(figure, (left, top, room, 0.62 * step), LINE)
        _bar(figure, (left, top, room * value / most, 0.62 * step), colour)
        said = told(value, panel.unit, panel.decimals)
        write(figure, left + room + 5, top, said, size=6.5)


def _bar(figure: Figure, box: tuple[float, float, float, float], colour: str) -> None:
    """Paint a bar: left, middle, width and thickness in pixels."""
    axes = figure.add_axes((0, 0, 1, 1), label=f"{box}{colour}")
    axes.axis("off")
    wide, high = figure.get_size_inches() * DPI
    axes.set(xlim=(0, wide), ylim=(high, 0))
    axes.barh(box[1], box[2], left=box[0], height=box[3], color=colour)


def _heat(figure: Figure, panel: Panel, series: Sequence[Series], span: Span) -> None:
    alone = buckets(series)
    times = sorted({at for each in alone for at, _ in each.points})
    cells = [[dict(each.points).get(at, 0.0) or float("nan") for at in times] for each in alone]
    axes = axes_at(figure, 52, 28, 24, 24)
    edges = [*(at - span.step_s for at in times), times[-1]]
    axes.pcolormesh(edges, range(len(alone) + 1), cells, cmap="Blues", vmin=0, lw=0)
    unit = str(panel.options["yAxis"]["unit"])
    names = ["∞" if each.name == "+Inf" else told(float(each.name), unit) for each in alone]
    every = 1 + len(names) // MOST_BARS
    places = range(0, len(names), every)
    axes.set_yticks([place + 1 for place in places], [names[place] for place in places])
    axes.set_ylim(0, len(alone))
    over_time(axes, span)


def _timeline(figure: Figure, panel: Panel, series: Sequence[Series], span: Span) -> None:
    states = {
        float(value): (each["text"], COLOURS[each["color"]])
        for mapping in panel.field["mappings"]
        for value, each in mapping["options"].items()
    }
    foot = legend(figure, dict(states.values()))
    widest = max(len(each.name) for each in series)
    axes = axes_at(figure, 14 + LETTER * widest, 28, 24, 24 + foot)
    for place, each in enumerate(series):
        for at, value in each.points:
            colour = states.get(value, ("", COLOURS["text"]))[1]
            axes.barh(place, span.step_s, left=at, height=0.72, color=colour, lw=0)
    axes.set_yticks(range(len(series)), [each.name for each in series])
    axes.set_ylim(len(series) - 0.5, -0.5)
    over_time(axes, span)


def _table(figure: Figure, panel: Panel, series: Sequence[Series], _: Span) -> None:
    wide, high = size(panel)
    columns, rows = table(panel, series)
    first = min(0.45 * wide, 30 + 5.2 * max(len(name) for name, _ in rows))
    each = (wide - first - 10) / len(columns)
    for place, heading in enumerate(columns):
        at = first + each * (place + 1)
        write(figure, at, 38, heading, size=7, ha="right", color=SOFT, weight="bold")
    step = min(22.0, (high - 56) / max(len(rows), 1))
    for line, (name, values) in enumerate(rows):
        top = 58 + step * line
        write(figure, 10, top, name, size=7)
        for place, heading in enumerate(columns):
            value = values.get(heading)
            said = "" if value is None else told(value, *panel.form(heading))
            write(figure, first + each * (place + 1), top, said, size=7, ha="right")


_KINDS: Mapping[str, Callable[[Figure, Panel, Sequence[Series], Span], None]] = {
    "timeseries": _lines,
    "stat": _number,
    "bargauge": _bars,
    "heatmap": _heat,
    "state-timeline": _timeline,
    "table": _table,
}
