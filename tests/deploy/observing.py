"""Whether a query says anything of what happened on the stage."""

from collections.abc import Iterable
from math import isnan

from tests.deploy.prometheus_server import EVERY_S, QueryFailed
from tests.deploy.promql import observed, selected
from tests.deploy.queries import Query
from tests.deploy.stage import Stage


def silent(stage: Stage, queries: Iterable[Query]) -> list[str]:
    """Return what is wrong with queries, each after its origin: errors, and what returns nothing.

    A query speaks if it returns a number at any second of the play. An alert is not to fire there:
    of it each selector must find series, and what it looks at must return a number, which is the
    expression without its comparisons, conditions (`and`, `unless`) and offsets.
    """
    found: list[str] = []
    for query in queries:
        for expression in _asked(query):
            fault = _fault(stage, expression)
            if fault:
                found.append(f"{query.origin}: {fault}: {expression}")
    return found


def _asked(query: Query) -> list[str]:
    if query.kind == "alert":
        return [*selected(query.expression), observed(query.expression)]
    return [query.expression] if query.expression else []


def _fault(stage: Stage, expression: str) -> str:
    """Return what is wrong with an expression in words, "" for nothing."""
    prometheus = stage.prometheus
    try:
        found = prometheus.query_range(expression, stage.began, stage.ended, EVERY_S)
    except QueryFailed as error:
        return f"Prometheus refuses it ({error})"
    if not found:
        return "it returns nothing"
    numbers = (value for points in found.values() for _, value in points)
    return "" if any(not isnan(number) for number in numbers) else "it returns NaN only"
