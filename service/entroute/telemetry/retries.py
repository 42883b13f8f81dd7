"""Counters of what was tried again and of second calls, read when Prometheus asks."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

_RETRIES = dict.fromkeys(("ok", "failed", "budget"), 0)
_HEDGES = dict.fromkeys(("won", "lost", "no_worker", "no_room", "budget"), 0)
# Exported from the start: a rate does not see the burst with which a counter begins.


class RetryingView(Protocol):
    """What is exported of one tier's retries."""

    @property
    def results(self) -> Mapping[str, int]:
        """Retries so far by how they ended."""
        ...

    @property
    def hedges(self) -> Mapping[str, int]:
        """Second calls so far by what came of them."""
        ...


class RetriedView(Protocol):
    """A tier's pool, as far as it is exported here."""

    @property
    def tier(self) -> str:
        """The tier's name."""
        ...

    @property
    def retrying(self) -> RetryingView:
        """Its retries."""
        ...


class RetryMetrics(Collector):
    """Exports `retries_total` and `hedges_total`.

    Args:
        pools: All pools.
    """

    def __init__(self, pools: Iterable[RetriedView]) -> None:
        self._pools: Sequence[RetriedView] = list(pools)

    def collect(self) -> Iterator[Metric]:
        """Read the pools."""
        labels = ("tier", "result")
        retries = CounterMetricFamily(
            "entroute_retries", "Attempts after a failed one, and those not made.", labels=labels
        )
        hedges = CounterMetricFamily(
            "entroute_hedges", "Second calls for one answer, and those not made.", labels=labels
        )
        for pool in self._pools:
            for result, count in {**_RETRIES, **pool.retrying.results}.items():
                retries.add_metric((pool.tier, result), count)
            for result, count in {**_HEDGES, **pool.retrying.hedges}.items():
                hedges.add_metric((pool.tier, result), count)
        yield from (retries, hedges)
