"""What entroute exports, read from the code: names, types, meanings, labels and their values."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, get_args, get_type_hints

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from entroute.api.responses import keeping
from entroute.backends import outliers, retrying
from entroute.cache import answers, executions
from entroute.cache.semantic.guards import GUARDS
from entroute.decisions import Basis, Load
from entroute.errors import Limit
from entroute.evidence import Escalation, Likeness, Result
from entroute.feedback import MemoryFeedbackConfig
from entroute.feedback.feedback import Origin
from entroute.feedback.labels import LABEL_RESULTS
from entroute.redis_link import failures
from entroute.redis_link.links import RedisLinks
from entroute.shedding import Shedding, ShedLimits
from entroute.spending import Purpose, RateLimits
from entroute.telemetry import queues, reloads
from entroute.telemetry.caching import CacheMetrics, ExecutionMetrics
from entroute.telemetry.discovery import DiscoveryMetrics
from entroute.telemetry.feedback import FeedbackMetrics
from entroute.telemetry.gauges import WorkerGauges
from entroute.telemetry.groups import GroupMetrics
from entroute.telemetry.keys import KeyMetrics
from entroute.telemetry.metrics import Metrics
from entroute.telemetry.processes import ProcessMetrics
from entroute.telemetry.queues import QueueMetrics
from entroute.telemetry.redis import RedisMetrics
from entroute.telemetry.reloads import ReloadMetrics
from entroute.telemetry.responses import ResponseMetrics
from entroute.telemetry.retries import RetryMetrics
from entroute.telemetry.tracing import RESULTS, SpanMetrics

Values = Mapping[str, tuple[str, ...]]
"""Every value that a label can have, by label, where the code names them."""

_OUTCOMES = tuple(name for name in get_args(Result) if name != "running")
_ENDPOINTS = ("chat", "completions", "responses", "embeddings", "other")
_KINDS = ("prompt", "cached", "completion")

VALUES: Mapping[str, Values] = {
    "requests": {"endpoint": _ENDPOINTS, "outcome": _OUTCOMES},
    "request_duration_seconds": {"endpoint": _ENDPOINTS},
    "overhead_seconds": {"endpoint": _ENDPOINTS},
    "tokens": {"kind": _KINDS, "purpose": get_args(Purpose)},
    "samples": {"result": ("finished", "resumed", "failed", "cancelled")},
    "tokens_saved": {"reason": ("cache", "resumed", "cancelled", "undrawn")},
    "decisions": {"basis": tuple(filter(None, get_args(Basis)))},
    "escalations": {"reason": get_args(get_type_hints(Escalation)["reason"])},
    "cache_lookups": {
        "kind": ("exact", "semantic", "samples"),
        "result": (
            *("hit", "miss", "shared", "error", "follow_timeout"),
            *(one for one in get_args(get_type_hints(Likeness)["result"]) if one[0] in "gi"),
        ),
    },
    "cache_false_hit_guard": {"guard": tuple(GUARDS)},
    "cache_discarded": {"reason": answers.REASONS},
    "executions": {"result": executions.RESULTS},
    "budget_exhausted": {"limit": get_args(Limit)},
    "group_requests": {"outcome": _OUTCOMES},
    "group_tokens": {"kind": _KINDS},
    "limited": {"limit": (*(each.name for each in fields(RateLimits)), "unavailable")},
    "feedback_labels": {"result": LABEL_RESULTS},
    "keys": {"source": ("file", "redis")},
    "key_reloads": {"result": ("loaded", "failed", "garbage")},
    "redis_calls": {"result": failures.RESULTS},
    "reloads": {"result": get_args(reloads.Result)},
    "stored_responses": {"result": keeping.RESULTS},
    "retries": {"result": get_args(retrying.RetryResult)},
    "hedges": {"result": ("won", "lost", "no_worker", "budget", "no_room")},
    "ejections": {"reason": get_args(outliers.Reason)},
    "shed": {"kind": queues.KINDS},
    "spans": {"result": RESULTS},
}
"""Closed sets of label values, by family without its prefix."""


@dataclass(frozen=True, slots=True)
class Exported:
    """One metric family.

    Attributes:
        name: As Prometheus knows it; a counter's ends in `_total`.
        kind: counter, gauge or histogram.
        text: What it means.
        labels: Label names, `le` of a histogram's buckets left out.
        values: Values of labels whose set the code names.
    """

    name: str
    kind: str
    text: str
    labels: tuple[str, ...]
    values: Values

    @property
    def series(self) -> tuple[str, ...]:
        """Names of its series."""
        if self.kind != "histogram":
            return (self.name,)
        return tuple(f"{self.name}_{part}" for part in ("bucket", "sum", "count"))


def exported() -> list[Exported]:
    """Return every metric family that entroute exports, by name."""
    registry = _Labelled()
    for collector in _collectors(registry):
        registry.register(collector)
    found = [_one(family, registry.labels) for family in registry.collect()]
    return sorted(found, key=lambda one: one.name)


def _one(family: Metric, told: Mapping[str, tuple[str, ...]]) -> Exported:
    labels: tuple[str, ...] = told.get(family.name, ()) or getattr(family, "_labelnames", ())
    suffix = "_total" if family.type == "counter" else ""
    values = VALUES.get(family.name.removeprefix("entroute_"), {})
    if values.keys() - labels:
        raise ValueError(f"docs.exported.VALUES: {family.name} has the labels {labels} only")
    return Exported(family.name + suffix, family.type, family.documentation, labels, values)


class _Labelled(CollectorRegistry):
    """Remembers the label names of what is registered: a family without a series tells none."""

    def __init__(self) -> None:
        super().__init__()
        self.labels: dict[str, tuple[str, ...]] = {}

    def register(self, collector: Collector) -> None:
        super().register(collector)
        named: Any = collector
        if hasattr(collector, "_labelnames"):
            self.labels[named._name] = tuple(named._labelnames)  # noqa: SLF001 - told nowhere else


def _collectors(registry: CollectorRegistry) -> list[Collector]:
    """Return every collector that is to be registered; the others register themselves."""
    metrics = Metrics(registry)
    metrics.export_in_flight(lambda: 0)
    metrics.export_draining(lambda: False)
    metrics.export_build("")
    ReloadMetrics(registry)
    GroupMetrics(registry, lambda: 0)
    ProcessMetrics(registry, lambda: 0)
    links = RedisLinks(time.monotonic)
    return [
        WorkerGauges([]),
        RetryMetrics([]),
        QueueMetrics([], Shedding(ShedLimits(), lambda: Load({}))),
        DiscoveryMetrics([]),
        FeedbackMetrics(MemoryFeedbackConfig().build(time.monotonic, Origin(), links)),
        RedisMetrics(links),
        KeyMetrics(None),
        ResponseMetrics({}),
        CacheMetrics({}),
        ExecutionMetrics({}),
        SpanMetrics({}),
    ]
