"""Every series that there is: entroute's, vLLM's, those that rules record, Prometheus' own."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from docs.exported import Exported, exported
from tests.deploy.promql import Series, Vocabulary, names, result_labels
from tests.deploy.queries import Query

CAPTURED = Path(__file__).parents[1] / "vllm" / "metrics_0_32.txt"
"""A page of a real vLLM; `make vllm-test` holds it against the newest one."""

_OWN: Vocabulary = {
    "up": Series(frozenset()),
    "ALERTS": Series(frozenset({"alertname", "alertstate", "severity"})),
}


def vocabulary(rules: Sequence[Query] = ()) -> Vocabulary:
    """Return every series that queries may ask for, those of recording rules among them."""
    known = {**_OWN, **_entroute(exported()), **_vllm(CAPTURED.read_text(encoding="utf-8"))}
    recording = [rule for rule in rules if rule.recorded]
    for rule in (*recording, *recording):  # a rule may read what a later one records
        labels = result_labels(rule.expression, known) | set(rule.added)
        before = known[rule.recorded].labels if rule.recorded in known else frozenset[str]()
        known[rule.recorded] = Series(labels | before)
    return known


def _entroute(families: Iterable[Exported]) -> Vocabulary:
    known: dict[str, Series] = {}
    for family in families:
        for name in family.series:
            bounds = {"le"} if name.endswith("_bucket") else set()
            known[name] = Series(frozenset(family.labels) | bounds, family.values)
        if family.kind != "gauge":
            created = family.name.removesuffix("_total") + "_created"
            known[created] = Series(frozenset(family.labels), family.values)
    return known


def _vllm(page: str) -> Vocabulary:
    labels: defaultdict[str, set[str]] = defaultdict(set)
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            labels[sample.name] |= sample.labels.keys()
    return {
        name: Series(frozenset(each)) for name, each in labels.items() if name.startswith("vllm:")
    }


def unused(families: Iterable[Exported], queries: Sequence[Query]) -> list[str]:
    """Return the metrics that no query asks for; what only fills an unread record is not used."""
    seen = {name for query in queries if not query.recorded for name in asked_for(query)}
    recording = [query for query in queries if query.recorded]
    for _ in recording:  # a chain of records is no longer
        read = [rule for rule in recording if rule.recorded in seen]
        seen |= {name for rule in read for name in asked_for(rule)}
    return [family.name for family in families if not seen & set(family.series)]


def asked_for(query: Query) -> list[str]:
    """Return the names of the series that a query asks for."""
    return names(query.expression) if query.expression else []
