"""A report on one page: figures of quality against cost, tables, and the command that made it.

The page is one file that asks no host for anything, is the same for the same input, and follows
the reader's choice of light or dark.
"""

import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

from entroute.errors import ConfigurationError

INK = "#010203"  # of text and axes in a figure; becomes the page's own colour
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8A8A8A")
"""Okabe and Ito's palette: told apart by colour-blind readers, seen on light and dark."""
MARKERS = "osD^vPX"
BAND_POINTS = 3  # a curve with fewer has bars in place of a band

STYLE_RC = {
    "font.family": ["sans-serif"],
    "font.size": 11.0,
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "entroute",  # the same page for the same input
    "text.parse_math": False,  # a price in dollars is no formula
}

STYLE = """
:root { color-scheme: light dark; --ink: #1c1e21; --page: #ffffff; --soft: #5b6169;
  --line: #d9dde2; --row: #f5f7f9; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8ea; --page: #15181c; --soft: #a2a9b2;
  --line: #343a41; --row: #1d2126; } }
body { margin: 0 auto; max-width: 62rem; padding: 1.5rem; background: var(--page);
  color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .75rem; }
h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; }
pre { background: var(--row); border: 1px solid var(--line); border-radius: 6px; margin: 0 0 1rem;
  padding: .6rem .8rem; white-space: pre-wrap; overflow-wrap: anywhere; font-size: .85rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1rem; margin: 0; }
dt, .note { color: var(--soft); }
dd { margin: 0; overflow-wrap: anywhere; }
figure { margin: 0; }
figure svg { display: block; width: 100%; max-width: 50rem; height: auto; color: var(--ink); }
.note { font-size: .9rem; margin: .4rem 0 0; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .8rem; text-align: right; border-bottom: 1px solid var(--line);
  white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
thead th { color: var(--soft); font-weight: 600; border-bottom-width: 2px; }
tbody tr:nth-child(even) { background: var(--row); }
"""

Point = tuple[float, float, float | None, float | None]
"""Cost, quality, and the interval of the quality or None."""


@dataclass(frozen=True, slots=True)
class Curve:
    """One arm of a comparison.

    Attributes:
        label: Its name in the legend.
        points: Cost, quality, lower and upper bound of the quality or None; in any order.
    """

    label: str
    points: Sequence[Point]


@dataclass(frozen=True, slots=True)
class CurveFigure:
    """Curves on common axes.

    Attributes:
        title: What it shows.
        cost: What is on the horizontal axis, with its unit.
        quality: What is on the vertical axis, with its unit.
        curves: The arms.
        note: What a reader has to know to read it, if anything.
    """

    title: str
    cost: str
    quality: str
    curves: Sequence[Curve]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text; the first column names the row.

    Attributes:
        title: What it shows.
        columns: Heads of the columns.
        rows: As many cells each as there are columns.
        note: What a reader has to know to read it, if anything.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """What one run found.

    Attributes:
        title: Of the page.
        command: The command that makes it again.
        facts: What was run on: files, seeds, numbers of prompts.
        figures: Drawn first.
        tables: Below them.
    """

    title: str
    command: str
    facts: Mapping[str, str] = field(default_factory=dict)
    figures: Sequence[CurveFigure] = ()
    tables: Sequence[Table] = ()


def render_html(report: Report) -> str:
    """Return the report as one HTML page.

    Raises:
        ConfigurationError: There are figures, and matplotlib is not installed.
        ValueError: A table's row has more or fewer cells than the table has columns.
    """
    parts = [
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(report.title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>",
        f"<h1>{escape(report.title)}</h1>\n<pre>{escape(report.command)}</pre>",
        _facts(report.facts),
        *(_figure(figure) for figure in report.figures),
        *(_table(table) for table in report.tables),
        "</body>\n</html>\n",
    ]
    return "\n".join(part for part in parts if part)


def report_json(report: Report) -> dict[str, Any]:
    """Return the report as plain values, figures as their points."""
    return {
        "title": report.title,
        "command": report.command,
        "facts": dict(report.facts),
        "figures": [
            {
                "title": figure.title,
                "cost": figure.cost,
                "quality": figure.quality,
                "note": figure.note,
                "curves": [
                    {"label": curve.label, "points": [list(point) for point in curve.points]}
                    for curve in figure.curves
                ],
            }
            for figure in report.figures
        ],
        "tables": [
            {
                "title": table.title,
                "columns": list(table.columns),
                "rows": [list(row) for row in table.rows],
                "note": table.note,
            }
            for table in report.tables
        ],
    }


def draw_svg(figure: CurveFigure) -> str:
    """Draw a figure as an SVG element whose ink is the page's `currentColor`.

    Raises:
        ConfigurationError: matplotlib is not installed.
    """
    try:
        from matplotlib import rc_context  # noqa: PLC0415 - an extra: only drawing needs it
        from matplotlib.backends.backend_svg import FigureCanvasSVG  # noqa: PLC0415 - likewise
        from matplotlib.figure import Figure  # noqa: PLC0415 - likewise
    except ImportError as error:
        raise ConfigurationError(
            "--html draws with matplotlib, which is not installed: "
            "run `pip install 'entroute[plots]'`, or leave --html out"
        ) from error
    ink = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")
    style: dict[Any, Any] = dict.fromkeys(ink, INK) | STYLE_RC
    drawn = io.StringIO()
    with rc_context(style):
        canvas = Figure(figsize=(8.0, 4.8), layout="constrained")
        FigureCanvasSVG(canvas)
        _axes(canvas.add_subplot(), figure)
        canvas.savefig(drawn, format="svg", transparent=True, metadata={"Date": None})
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", drawn.getvalue(), flags=re.DOTALL)
    svg = svg[svg.index("<svg") :].replace(INK, "currentColor").strip()
    label = escape(f"{figure.title}: {figure.quality} against {figure.cost}", quote=True)
    return svg.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)


def _axes(axes: Any, figure: CurveFigure) -> None:
    for at, curve in enumerate(figure.curves):
        points = sorted(curve.points, key=lambda point: point[0])
        look = {"color": COLOURS[at % len(COLOURS)], "marker": MARKERS[at % len(MARKERS)]}
        costs = [point[0] for point in points]
        # matplotlib leaves a label that starts with "_" out of the legend
        axes.plot(
            costs, [p[1] for p in points], label=curve.label.lstrip("_"), markersize=5, **look
        )
        bounded = [(c, q, low, high) for c, q, low, high in points if None not in (low, high)]
        _interval(axes, bounded, look["color"])
    axes.set_xlabel(figure.cost)
    axes.set_ylabel(figure.quality)
    axes.grid(visible=True, color=INK, alpha=0.15, linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    if figure.curves:
        axes.legend(frameon=False, loc="best")


def _interval(axes: Any, points: Sequence[tuple[Any, ...]], colour: str) -> None:
    costs, qualities, lows, highs = (
        list(values) for values in (zip(*points, strict=True) if points else ([], [], [], []))
    )
    if len(points) >= BAND_POINTS:
        axes.fill_between(costs, lows, highs, color=colour, alpha=0.15, linewidth=0)
    elif points:
        below = [quality - low for quality, low in zip(qualities, lows, strict=True)]
        above = [high - quality for quality, high in zip(qualities, highs, strict=True)]
        axes.errorbar(costs, qualities, [below, above], fmt="none", ecolor=colour, capsize=3)


def _facts(facts: Mapping[str, str]) -> str:
    if not facts:
        return ""
    pairs = (f"<dt>{escape(key)}</dt><dd>{escape(value)}</dd>" for key, value in facts.items())
    return "<dl>\n" + "\n".join(pairs) + "\n</dl>"


def _figure(figure: CurveFigure) -> str:
    return f"<h2>{escape(figure.title)}</h2>\n<figure>\n{draw_svg(figure)}\n</figure>" + _note(
        figure.note
    )


def _table(table: Table) -> str:
    for row in table.rows:
        if len(row) != len(table.columns):
            raise ValueError(
                f"table {table.title!r}: a row of {len(row)} cells in {len(table.columns)} columns"
            )
    head = _cells("th", table.columns)
    body = "\n".join(f"<tr>{_cells('td', row)}</tr>" for row in table.rows)
    return (
        f'<h2>{escape(table.title)}</h2>\n<div class="scroll"><table>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table></div>"
        + _note(table.note)
    )


def _cells(tag: str, texts: Iterable[str]) -> str:
    return "".join(f"<{tag}>{escape(text)}</{tag}>" for text in texts)


def _note(note: str) -> str:
    return f'\n<p class="note">{escape(note)}</p>' if note else ""
