"""What a Prometheus answers to panels, with Grafana's variables filled in."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from deploy.dashboards.preview_panels import Panel, Target

_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_LABELS = re.compile(r"label_values\((.+), (\w+)\)")
_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Span:
    """The time that is shown.

    Attributes:
        start: Seconds since the epoch.
        end: Likewise.
        step_s: Seconds between two points.
        rate_s: Seconds over which rates are taken.
    """

    start: float
    end: float
    step_s: float
    rate_s: float

    @property
    def variables(self) -> Mapping[str, str]:
        """What Grafana fills in for its own names."""
        return {
            "__rate_interval": f"{math.ceil(self.rate_s)}s",
            "__interval": f"{math.ceil(self.step_s)}s",
            "__range": f"{math.ceil(self.end - self.start)}s",
        }


@dataclass(frozen=True, slots=True)
class Series:
    """Values of one series.

    Attributes:
        name: As the legend calls it.
        labels: Its labels.
        ref: The query that it answers.
        points: Seconds since the epoch and value; values are finite.
    """

    name: str
    labels: Mapping[str, str]
    ref: str
    points: Sequence[tuple[float, float]]


@dataclass(slots=True)
class Answer:
    """What a panel's queries brought.

    Attributes:
        series: All series.
        problems: What is wrong: queries that failed or found nothing.
    """

    series: list[Series] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def filled(expression: str, values: Mapping[str, str]) -> str:
    """Return an expression with its variables replaced.

    Raises:
        KeyError: A variable that nobody defines; it is named.
    """
    return _VARIABLE.sub(lambda found: values[found[1] or found[2]], expression)


def chosen(
    http: httpx.Client, span: Span, variables: Sequence[Mapping[str, Any]]
) -> Mapping[str, str]:
    """Return what "All" stands for in each variable of a dashboard, as regular expressions.

    Raises:
        ValueError: A variable's query is none of a label's values.
    """
    values: dict[str, str] = {}
    for variable in variables:
        if variable["type"] != "query":
            continue
        query = filled(variable["query"], values)
        found = _LABELS.fullmatch(query)
        if found is None:
            raise ValueError(f"{variable['name']}: only label_values(SERIES, LABEL) can be asked")
        told = {"match[]": found[1], "start": str(span.start), "end": str(span.end)}
        body = http.get(f"/api/v1/label/{found[2]}/values", params=told, timeout=_TIMEOUT_S).json()
        each = "|".join(re.escape(value) for value in body["data"])
        values[variable["name"]] = variable.get("allValue") or each
    return values


def ask(http: httpx.Client, panel: Panel, span: Span, values: Mapping[str, str]) -> Answer:
    """Return what every query of a panel brings.

    Args:
        http: Has Prometheus's address.
        panel: What asks.
        span: The time that is shown.
        values: Of the dashboard's variables, as regular expressions.
    """
    answer = Answer()
    for target in panel.targets:
        try:
            expression = filled(target.expression, {**values, **span.variables})
            series = _asked(http, target, expression, span)
        except KeyError as error:
            answer.problems.append(f"{target.ref}: no such variable: {error}")
        except (httpx.HTTPError, ValueError) as error:
            answer.problems.append(f"{target.ref}: {error}")
        else:
            answer.series += series
            if not series:
                answer.problems.append(f"{target.ref} is empty: {expression}")
    return answer


def _asked(http: httpx.Client, target: Target, expression: str, span: Span) -> list[Series]:
    if target.instant:
        told = {"query": expression, "time": str(span.end)}
        path = "/api/v1/query"
    else:
        first = span.start - span.start % span.step_s + span.step_s
        told = {
            "query": expression,
            "start": str(first),
            "end": str(span.end),
            "step": str(span.step_s),
        }
        path = "/api/v1/query_range"
    body = http.post(path, data=told, timeout=_TIMEOUT_S).json()
    if body["status"] != "success":
        raise ValueError(body["error"])
    return [made for raw in body["data"]["result"] if (made := _series(target, raw)).points]


def _series(target: Target, raw: Mapping[str, Any] | Sequence[Any]) -> Series:
    """Return one series; a scalar comes as (second, value) alone."""
    if not isinstance(raw, Mapping):
        raise ValueError("it is a scalar and has no series; wrap it in vector()")  # noqa: TRY004
    pairs = raw["values"] if "values" in raw else [raw["value"]]
    points = [(float(at), float(value)) for at, value in pairs]
    finite = [(at, value) for at, value in points if math.isfinite(value)]
    return Series(target.name(raw["metric"]), raw["metric"], target.ref, finite)


def buckets(series: Sequence[Series]) -> list[Series]:
    """Return the buckets of a histogram each by itself, from those that count up to `le`."""
    rising = sorted(series, key=lambda each: float(each.labels["le"]))
    below: dict[float, float] = {}
    alone: list[Series] = []
    for each in rising:
        points = [(at, max(0.0, value - below.get(at, 0.0))) for at, value in each.points]
        below = dict(each.points)
        alone.append(Series(each.name, each.labels, each.ref, points))
    return alone


def table(
    panel: Panel, series: Sequence[Series]
) -> tuple[list[str], list[tuple[str, Mapping[str, float]]]]:
    """Return a table's headings, and its rows with what each column holds."""
    rows: dict[str, dict[str, float]] = {}
    for each in series:
        row = rows.setdefault(" ".join(each.labels.values()), {})
        row[panel.renamed[f"Value #{each.ref}"]] = each.points[-1][1]
    return list(panel.renamed.values()), sorted(rows.items())
