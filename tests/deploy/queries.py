"""Every query that is shipped, and where it comes from: dashboards, rules, autoscalers."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from tests.deploy.chart import CHART, Object, of_kind
from tests.deploy.promql import named, selectors

DASHBOARDS = CHART / "files" / "dashboards"
RULES = CHART / "files" / "rules"
ADAPTER = CHART / "files" / "adapter" / "prometheus-adapter.yaml"

Kind = Literal["panel", "variable", "alert", "recording", "scaler"]

_MACROS = {
    "__rate_interval": "1m",
    "__interval": "15s",
    "__range": "5m",
    "__interval_ms": "15000",
    "__range_s": "300",
}
_VARIABLE = re.compile(r"\$(?:\{(\w+)(?::\w+)?\}|(\w+))")
_LABEL_VALUES = re.compile(r"label_values\((?:(.+),\s*)?(\w+)\)", re.DOTALL)
_QUERY_RESULT = re.compile(r"query_result\((.+)\)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Query:
    """One query.

    Attributes:
        origin: File, and what in it.
        kind: What asks.
        expression: PromQL, Grafana's variables filled in.
        label: Whose values a variable wants, "" for no variable.
        recorded: Name of the series that a recording rule makes, "" for no such rule.
        added: Labels that a recording rule adds.
    """

    origin: str
    kind: Kind
    expression: str
    label: str = ""
    recorded: str = ""
    added: tuple[str, ...] = ()


class Unreadable(ValueError):
    """A query is written in a way that nothing here reads; the message says where."""


def dashboard_queries(folder: Path = DASHBOARDS) -> list[Query]:
    """Return the queries of every panel, variable and annotation.

    Raises:
        Unreadable: One uses a variable that its dashboard does not have, or an unknown macro.
    """
    return [query for path in sorted(folder.glob("*.json")) for query in _of_dashboard(path)]


def _of_dashboard(path: Path) -> Iterator[Query]:
    board = json.loads(path.read_text(encoding="utf-8"))
    variables = {each["name"]: each for each in board["templating"]["list"]}
    for name, variable in variables.items():
        if variable["type"] == "query":
            yield _variable(f"{path.name}: variable {name}", variable["query"], variables)
    for panel in _panels(board["panels"]):
        for target in panel.get("targets", ()):
            origin = f"{path.name}: panel {panel.get('title')!r}, query {target['refId']}"
            yield Query(origin, "panel", filled(target["expr"], variables, origin))
    for note in board.get("annotations", {}).get("list", ()):
        expression = note.get("expr") or note.get("target", {}).get("expr")
        if expression:
            origin = f"{path.name}: annotation {note['name']!r}"
            yield Query(origin, "panel", filled(expression, variables, origin))


def _panels(panels: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    for panel in panels:
        yield panel
        yield from _panels(panel.get("panels", ()))


def _variable(origin: str, asked: str | Mapping[str, Any], variables: Iterable[str]) -> Query:
    text = filled(asked if isinstance(asked, str) else asked["query"], variables, origin)
    if found := _LABEL_VALUES.fullmatch(text.strip()):
        return Query(origin, "variable", found[1] or "", found[2])
    if found := _QUERY_RESULT.fullmatch(text.strip()):
        return Query(origin, "variable", found[1])
    raise Unreadable(f"{origin}: {text}: neither label_values nor query_result")


def filled(text: str, variables: Iterable[str], origin: str) -> str:
    """Return a query as Grafana sends it: variables match everything, times are short.

    Raises:
        Unreadable: It uses a variable that its dashboard does not have, or an unknown macro.
    """
    known = {**dict.fromkeys(variables, ".*"), **_MACROS}

    def value(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        if name not in known:
            raise Unreadable(f"{origin}: there is no variable ${name}")
        return known[name]

    return _VARIABLE.sub(value, text)


def rule_queries(folder: Path = RULES) -> list[Query]:
    """Return the expressions of every alert and recording rule, file by file, in their order."""
    return [
        query
        for path in sorted(folder.glob("*.yaml"))
        for query in of_groups(path.name, yaml.safe_load(path.read_text(encoding="utf-8")))
    ]


def of_groups(source: str, document: Mapping[str, Any]) -> Iterator[Query]:
    """Yield the expressions of a document of rule groups."""
    for group in document["groups"]:
        for rule in group["rules"]:
            expression = str(rule["expr"])
            if alert := rule.get("alert"):
                yield Query(f"{source}: alert {alert}", "alert", expression)
            else:
                name, added = rule["record"], tuple(rule.get("labels", ()))
                origin = f"{source}: recording rule {name}"
                yield Query(origin, "recording", expression, recorded=name, added=added)


def chart_queries(objects: Sequence[Object], source: str) -> list[Query]:
    """Return what rendered objects ask: ScaledObjects, HPAs through the adapter, their own rules.

    Raises:
        Unreadable: An HPA asks for a metric that the adapter does not make.
    """
    found = list(_scaled(objects, source))
    found += [
        query for hpa in of_kind(objects, "HorizontalPodAutoscaler") for query in _hpa(hpa, source)
    ]
    for rule in of_kind(objects, "PrometheusRule"):
        found += of_groups(f"{source}: {rule['metadata']['name']}", rule["spec"])
    return found


def _scaled(objects: Sequence[Object], source: str) -> Iterator[Query]:
    for scaled in of_kind(objects, "ScaledObject"):
        for trigger in scaled["spec"]["triggers"]:
            if trigger["type"] == "prometheus":
                origin = f"{source}: ScaledObject {scaled['metadata']['name']}"
                yield Query(origin, "scaler", trigger["metadata"]["query"])


def _hpa(hpa: Object, source: str) -> Iterator[Query]:
    made = adapted()
    for metric in hpa["spec"]["metrics"]:
        if metric["type"] != "Pods":
            continue
        name = metric["pods"]["metric"]["name"]
        origin = f"{source}: HorizontalPodAutoscaler {hpa['metadata']['name']}, {name}"
        if name not in made:
            raise Unreadable(f"{origin}: {ADAPTER.name} makes {sorted(made)} only")
        yield Query(origin, "scaler", made[name])


def adapted(path: Path = ADAPTER) -> dict[str, str]:
    """Return what the adapter asks Prometheus, by the metric's name in Kubernetes."""
    made: dict[str, str] = {}
    for rule in yaml.safe_load(path.read_text(encoding="utf-8"))["rules"]["custom"]:
        (selector,) = selectors(rule["seriesQuery"])
        renamed = rule.get("name", {"matches": "^(.*)$", "as": "$1"})
        for series in named(selector):
            name = re.sub(renamed["matches"], renamed["as"].replace("$1", r"\1"), series)
            parts = {"Series": series, "LabelMatchers": 'namespace!="",pod!=""', "GroupBy": "pod"}
            query = re.sub(r"<<\.(\w+)>>", lambda part: parts[part[1]], rule["metricsQuery"])  # noqa: B023
            made[name] = query
    return made
