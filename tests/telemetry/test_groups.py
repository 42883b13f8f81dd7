"""Metrics by group: bounded labels, whatever operators name."""

from prometheus_client import CollectorRegistry

from entroute.evidence import Trace
from entroute.spending import Charge, Usage
from entroute.telemetry.groups import MOST_GROUPS, GroupMetrics


def a_trace(group: str, **facts: object) -> Trace:
    charge = Charge(0, "small", "answer", Usage(10, 4, 7, 1), 0.25)
    trace = Trace("r", "chat", 0.0, group=group, result="ok", charges=(charge,))
    for name, value in facts.items():
        setattr(trace, name, value)
    return trace


def a_registry(*traces: Trace) -> CollectorRegistry:
    registry = CollectorRegistry()
    metrics = GroupMetrics(registry, lambda: 3)
    for trace in traces:
        metrics.record(trace)
    return registry


def test_a_group_is_counted_with_all_its_keys() -> None:
    registry = a_registry(a_trace("team"), a_trace("team", result="cancelled"), a_trace("else"))
    values = {
        ("requests", "outcome", "ok"): 1,
        ("requests", "outcome", "cancelled"): 1,
        ("tokens", "kind", "prompt"): 12,
        ("tokens", "kind", "cached"): 8,
        ("tokens", "kind", "completion"): 14,
    }
    for (name, label, value), count in values.items():
        labels = {"group": "team", label: value}
        assert registry.get_sample_value(f"entroute_group_{name}_total", labels) == count
    cost = registry.get_sample_value("entroute_group_cost_usd_total", {"group": "team"})
    assert cost == 0.5


def test_keys_without_a_group_are_counted_as_none() -> None:
    registry = a_registry(a_trace(""))
    labels = {"group": "none", "outcome": "ok"}
    assert registry.get_sample_value("entroute_group_requests_total", labels) == 1


def test_groups_beyond_the_fiftieth_share_a_label() -> None:
    registry = a_registry(*(a_trace(f"team-{n}") for n in [*range(MOST_GROUPS + 5), 0]))
    seen = {
        sample.labels["group"]
        for family in registry.collect()
        for sample in family.samples
        if sample.name == "entroute_group_requests_total"
    }
    assert len(seen) == MOST_GROUPS + 1
    other = {"group": "other", "outcome": "ok"}
    assert registry.get_sample_value("entroute_group_requests_total", other) == 5
    first = {"group": "team-0", "outcome": "ok"}
    assert registry.get_sample_value("entroute_group_requests_total", first) == 2


def test_refusals_and_leases_are_exported() -> None:
    registry = a_registry(a_trace("team", limited="tokens_per_minute", result="client_error"))
    labels = {"limit": "tokens_per_minute", "group": "team"}
    assert registry.get_sample_value("entroute_limited_total", labels) == 1
    assert registry.get_sample_value("entroute_limit_leases") == 3
