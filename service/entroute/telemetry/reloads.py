"""Metrics of reloads of the configuration."""

from typing import Literal, get_args

from prometheus_client import CollectorRegistry, Counter

Result = Literal["applied", "unchanged", "refused"]


class ReloadMetrics:
    """Counts reloads of the configuration by what became of them.

    Args:
        registry: Where the metric is registered.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._count = Counter(
            "entroute_reloads",
            "Reloads of the configuration: applied, unchanged or refused.",
            ("result",),
            registry=registry,
        )
        for result in get_args(Result):
            self._count.labels(result)

    def count(self, result: Result) -> None:
        """Count one."""
        self._count.labels(result).inc()
