"""Metrics of searches for workers, read when Prometheus asks."""

from collections.abc import Iterator, Sequence
from typing import Protocol

from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector


class _PoolView(Protocol):
    @property
    def tier(self) -> str:
        """The tier's name."""
        ...


class RosterView(Protocol):
    """What is exported of one tier's search."""

    @property
    def pool(self) -> _PoolView:
        """Whose workers are searched."""
        ...

    @property
    def failures(self) -> int:
        """How often nothing could be found."""
        ...


class DiscoveryMetrics(Collector):
    """Exports `discovery_failures_total`.

    Args:
        rosters: All searches.
    """

    def __init__(self, rosters: Sequence[RosterView]) -> None:
        self._rosters = tuple(rosters)

    def collect(self) -> Iterator[Metric]:
        """Read the searches."""
        failures = CounterMetricFamily(
            "entroute_discovery_failures",
            "Searches for a tier's workers that found nothing out.",
            labels=("tier",),
        )
        for roster in self._rosters:
            failures.add_metric((roster.pool.tier,), roster.failures)
        yield failures
