"""A dashboard of sections, of lines of panels: variables, links and the JSON that Grafana reads."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as models

from deploy.dashboards.panels import DATASOURCE, AnyPanel

WIDTH = 24
"""Columns of Grafana's grid."""

TAG = "entroute"
EVERYTHING = models.VariableOption(selected=True, text=["All"], value=["$__all"])


@dataclass(frozen=True, slots=True)
class Line:
    """Panels beside each other.

    Attributes:
        height: In rows of Grafana's grid, 30 pixels each.
        panels: Width in columns and the panel; the widths of a line are 24 together.
    """

    height: int
    panels: tuple[tuple[int, AnyPanel], ...]


@dataclass(frozen=True, slots=True)
class Section:
    """Lines under one heading, which asks what they answer."""

    title: str
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Variable:
    """A choice of the reader's: the values of one label.

    Attributes:
        name: As queries name it, without the dollar sign.
        label: What readers see.
        values: The query of its values.
        everything: What "All" stands for as a regular expression; "" for every value there is.
    """

    name: str
    label: str
    values: str
    everything: str = ".*"


@dataclass(frozen=True, slots=True)
class Board:
    """One dashboard.

    Attributes:
        uid: Part of its address; other dashboards and alerts link to it.
        title: What readers see.
        summary: What it answers.
        sections: Its panels, top to bottom.
        variables: Choices beside data source and job.
    """

    uid: str
    title: str
    summary: str
    sections: tuple[Section, ...]
    variables: tuple[Variable, ...] = ()


JOB = Variable("job", "Release", "label_values(entroute_build_info, job)", everything="")
"""All of them are those of entroute only: `up` is of every job that Prometheus scrapes."""


def line(height: int, *panels: tuple[int, AnyPanel]) -> Line:
    """Return panels beside each other.

    Raises:
        ValueError: They do not fill the grid's width exactly.
    """
    if sum(width for width, _ in panels) != WIDTH:
        raise ValueError(f"widths of a line must be {WIDTH} together: {[w for w, _ in panels]}")
    return Line(height, panels)


def section(title: str, *parts: Line) -> Section:
    """Return lines under one heading."""
    return Section(title, parts)


def text(board: Board, titles: Mapping[str, str]) -> str:
    """Return a dashboard's JSON.

    Args:
        board: What it shows.
        titles: Titles of all dashboards by uid, for the links.
    """
    built = (
        dashboard.Dashboard(f"entroute / {board.title}")
        .uid(board.uid)
        .description(board.summary)
        .tags([TAG])
        .editable()
        .timezone("browser")
        .time("now-3h", "now")
        .refresh("30s")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .version(1)
        .variables([_source(), *map(_chosen, (JOB, *board.variables))])
        .links([_link(uid, title) for uid, title in titles.items() if uid != board.uid])
    )
    _place(built, board.sections)
    plain = json.loads(JSONEncoder().encode(built.build()))
    return json.dumps(plain, indent=2, ensure_ascii=False) + "\n"


def _place(built: dashboard.Dashboard, sections: tuple[Section, ...]) -> None:
    top, number = 0, 0
    for section in sections:
        number += 1
        where = models.GridPos(h=1, w=WIDTH, x=0, y=top)
        built.with_row(dashboard.Row(section.title).id(number).grid_pos(where))
        top += 1
        for part in section.lines:
            left = 0
            for width, panel in part.panels:
                number += 1
                made = panel.build()
                made.id_val = number
                made.grid_pos = models.GridPos(h=part.height, w=width, x=left, y=top)
                built.with_panel(panel)
                left += width
            top += part.height


def _source() -> dashboard.DatasourceVariable:
    return dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus")


def _chosen(variable: Variable) -> dashboard.QueryVariable:
    made = (
        dashboard.QueryVariable(variable.name)
        .label(variable.label)
        .query(variable.values)
        .datasource(DATASOURCE)
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .current(EVERYTHING)
    )
    return made.all_value(variable.everything) if variable.everything else made


def _link(uid: str, title: str) -> dashboard.DashboardLink:
    return (
        dashboard.DashboardLink(title)
        .type(models.DashboardLinkType.LINK)
        .url(f"/d/{uid}")
        .icon("dashboard")
        .tooltip(f"entroute / {title}")
        .keep_time(True)
        .include_vars(True)
    )
