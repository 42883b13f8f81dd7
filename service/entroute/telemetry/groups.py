"""Metrics by group of API keys: tenants are never labels, only the groups that operators name."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge

from entroute.evidence import Trace
from entroute.telemetry.metrics import NONE

MOST_GROUPS = 50
"""Groups with a label of their own; those that are seen later are `other` together."""

OTHER = "other"


class GroupMetrics:
    """Counts what groups of keys ask and spend, and what their limits refuse.

    Args:
        registry: Where the metrics are registered.
        leases: Returns how many keys this gateway holds a slice of, read at scrape.
    """

    def __init__(self, registry: CollectorRegistry, leases: Callable[[], int]) -> None:
        self._known: set[str] = set()
        self._requests = Counter(
            "entroute_group_requests",
            "Requests of a group of API keys by how they ended.",
            ("group", "outcome"),
            registry=registry,
        )
        self._tokens = Counter(
            "entroute_group_tokens",
            "Tokens of a group of API keys; prompt excludes cached.",
            ("group", "kind"),
            registry=registry,
        )
        self._cost = Counter(
            "entroute_group_cost_usd",
            "Cost of a group of API keys at the configured prices.",
            ("group",),
            registry=registry,
        )
        self._limited = Counter(
            "entroute_limited",
            "Requests that a limit of their API key refused.",
            ("limit", "group"),
            registry=registry,
        )
        Gauge(
            "entroute_limit_leases",
            "API keys of whose limits this gateway holds a slice.",
            registry=registry,
        ).set_function(leases)

    def record(self, trace: Trace) -> None:
        """Write one finished trace."""
        group = self._label(trace.group)
        self._requests.labels(group, trace.result).inc()
        if trace.limited is not None:
            self._limited.labels(trace.limited, group).inc()
        for charge in trace.charges:
            usage = charge.usage
            self._tokens.labels(group, "prompt").inc(usage.prompt_tokens - usage.cached_tokens)
            self._tokens.labels(group, "cached").inc(usage.cached_tokens)
            self._tokens.labels(group, "completion").inc(usage.completion_tokens)
            self._cost.labels(group).inc(charge.cost_usd)

    def _label(self, group: str) -> str:
        if not group:
            return NONE
        if group not in self._known and len(self._known) < MOST_GROUPS:
            self._known.add(group)
        return group if group in self._known else OTHER
