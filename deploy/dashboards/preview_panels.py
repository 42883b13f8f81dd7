"""A dashboard's file as the preview reads it: what each panel asks and how it shows the answer."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_LABEL = re.compile(r"\{\{\s*([^}\s]+)\s*\}\}")


@dataclass(frozen=True, slots=True)
class Target:
    """One query of a panel.

    Attributes:
        ref: Its letter.
        expression: PromQL with Grafana's variables.
        legend: What its series are called.
        form: `time_series`, `heatmap` or `table`.
        instant: Whether it asks for one moment only.
    """

    ref: str
    expression: str
    legend: str
    form: str
    instant: bool

    def name(self, labels: Mapping[str, str]) -> str:
        """Return what a series is called."""
        return _LABEL.sub(lambda found: labels.get(found[1], ""), self.legend)


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel, or the heading of a row (`kind` is `row`).

    Attributes:
        title: Its heading.
        says: What to read from it.
        kind: Grafana's name of its kind.
        box: Left, top, width and height in the grid.
        targets: What it asks.
        field: Unit, bounds, thresholds, mappings.
        options: What its kind needs.
        overrides: Fields of single series, by matcher.
        renamed: Headings of a table's columns.
    """

    title: str
    says: str
    kind: str
    box: tuple[int, int, int, int]
    targets: Sequence[Target]
    field: Mapping[str, Any]
    options: Mapping[str, Any]
    overrides: Sequence[Mapping[str, Any]]
    renamed: Mapping[str, str]

    @property
    def unit(self) -> str:
        """Unit of its values."""
        return str(self.field.get("unit", "short"))

    @property
    def decimals(self) -> int | None:
        """Digits after the point, None where Grafana chooses."""
        return self.field.get("decimals")

    def colour(self, value: float) -> str:
        """Return the name of the colour that the thresholds give a value."""
        chosen = "blue"
        for step in self.field.get("thresholds", {}).get("steps", ()):
            if step["value"] is None or value >= step["value"]:
                chosen = str(step["color"])
        return chosen

    def painted(self, name: str) -> str | None:
        """Return the colour that an override gives a series, None without one."""
        colour = self._overridden(name).get("color")
        return None if colour is None else str(colour["fixedColor"])

    def shown(self, name: str) -> str:
        """Return what a series is called on the picture."""
        return str(self._overridden(name).get("displayName", name))

    def form(self, column: str) -> tuple[str, int | None]:
        """Return the unit of a table's column and its digits after the point."""
        said = self._overridden(column)
        return said.get("unit", self.unit), said.get("decimals", self.decimals)

    def _overridden(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for override in self.overrides:
            kind, options = override["matcher"]["id"], override["matcher"]["options"]
            holds = re.fullmatch(options, name) if kind == "byRegexp" else options == name
            if holds:
                found |= {each["id"]: each["value"] for each in override["properties"]}
        return found


def panels(dashboard: Mapping[str, Any]) -> Iterator[Panel]:
    """Yield what a dashboard shows, in its own order."""
    for raw in dashboard["panels"]:
        grid, fields = raw["gridPos"], raw.get("fieldConfig", {})
        renamed: Mapping[str, str] = {}
        for change in raw.get("transformations", ()):
            renamed = change["options"].get("renameByName", renamed)
        yield Panel(
            title=raw["title"],
            says=raw.get("description", ""),
            kind=raw["type"],
            box=(grid["x"], grid["y"], grid["w"], grid["h"]),
            targets=[_target(each) for each in raw.get("targets", ())],
            field=fields.get("defaults", {}),
            options=raw.get("options") or {},
            overrides=fields.get("overrides", ()),
            renamed=renamed,
        )


def _target(raw: Mapping[str, Any]) -> Target:
    return Target(
        ref=raw["refId"],
        expression=raw["expr"],
        legend=raw.get("legendFormat", ""),
        form=raw.get("format", "time_series"),
        instant=bool(raw.get("instant")),
    )
