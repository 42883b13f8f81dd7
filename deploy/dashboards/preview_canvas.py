"""What pictures of panels share: size, colours, text, axes and legends."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from deploy.dashboards.preview_answers import Span
from deploy.dashboards.preview_panels import Panel

COLUMN, ROW, GAP = 64, 32, 8
"""Pixels of a column and a row of the grid, and between panels."""

DPI = 100
COLOURS = {
    "green": "#56a64b",
    "yellow": "#d9a400",
    "orange": "#f08a24",
    "red": "#e02f44",
    "blue": "#3274d9",
    "purple": "#a352cc",
    "text": "#9aa0a6",
}
PALETTE = (
    "#1f78c1", "#ef843c", "#508642", "#ba43a9", "#6ed0e0", "#e24d42", "#cca300", "#705da0",
    "#7eb26d", "#962d82", "#447ebc", "#c15c17", "#3f6833", "#64b0c8", "#890f02", "#0a437c",
)  # fmt: skip
INK, SOFT, LINE, WRONG = "#1f2328", "#6a737d", "#e3e6ea", "#fde7e9"
LETTER = 5.5
"""Pixels of a letter of the legend, about."""


def size(panel: Panel) -> tuple[int, int]:
    """Return a panel's width and height in pixels."""
    _, _, width, height = panel.box
    return width * COLUMN - GAP, height * ROW - GAP


def write(figure: Figure, left: float, top: float, text: str, **style: Any) -> None:
    """Write at pixels from the upper left corner; dollars are no formulas."""
    wide, high = figure.get_size_inches() * DPI
    style = {"color": INK, "va": "center", "parse_math": False, **style}
    figure.text(left / wide, 1 - top / high, text, **style)


def axes_at(figure: Figure, left: float, top: float, right: float, bottom: float) -> Axes:
    """Return axes with margins in pixels."""
    wide, high = figure.get_size_inches() * DPI
    box = (left / wide, bottom / high, 1 - (left + right) / wide, 1 - (top + bottom) / high)
    axes = figure.add_axes(box)
    axes.set_facecolor("none")
    axes.tick_params(labelsize=6.5, length=2, colors=SOFT, width=0.5)
    for side in axes.spines.values():
        side.set_visible(False)
    return axes


def over_time(axes: Axes, span: Span) -> None:
    """Make the lower axis the time that is shown."""
    form = "%H:%M" if span.end - span.start > 1200 else "%H:%M:%S"  # noqa: PLR2004
    axes.set_xlim(span.start, span.end)
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 1.5, 3, 6, 10]))
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda at, _: datetime.fromtimestamp(at, UTC).strftime(form))
    )


def painted(panel: Panel, names: Sequence[str]) -> Mapping[str, str]:
    """Return each series' colour, the same one wherever a panel is drawn."""
    free = iter(PALETTE * (1 + len(names) // len(PALETTE)))
    told = {name: panel.painted(name) for name in names}
    return {name: COLOURS[colour] if colour else next(free) for name, colour in told.items()}


def legend(figure: Figure, colours: Mapping[str, str]) -> int:
    """Write the names at the bottom in at most three lines; return their height in pixels."""
    wide, high = figure.get_size_inches() * DPI
    rows: list[list[tuple[float, str, str]]] = [[]]
    left = 10.0
    for name, colour in colours.items():
        need = 16 + LETTER * len(name)
        if left + need > wide and rows[-1]:
            rows.append([])
            left = 10.0
        rows[-1].append((left, name, colour))
        left += need
    for place, row in enumerate(rows[:3]):
        top = high - 8 - 12 * (min(len(rows), 3) - 1 - place)
        for start, name, colour in row:
            write(figure, start, top, "■", size=6, color=colour)
            write(figure, start + 8, top, name, size=6.2, color=SOFT)
    return 12 * min(len(rows), 3)
