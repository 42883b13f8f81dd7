"""Metrics of the tiers' queues and of what load cost, read when Prometheus asks."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

KINDS = ("samples", "optional", "displaced", "full", "timeout")
"""What `shed_total` tells apart."""


class QueueView(Protocol):
    """What is exported of one tier's queue."""

    @property
    def waiting(self) -> int:
        """Calls that wait."""
        ...

    @property
    def shed(self) -> Mapping[str, int]:
        """Calls refused so far, by why."""
        ...


class QueuedPool(Protocol):
    """A tier's workers, as far as calls to them wait."""

    @property
    def tier(self) -> str:
        """The tier's name."""
        ...

    @property
    def queue(self) -> QueueView:
        """Where they wait."""
        ...


class ShedView(Protocol):
    """What was shed of requests before their calls waited."""

    @property
    def counts(self) -> Mapping[str, int]:
        """How often so far, by kind."""
        ...


class QueueMetrics(Collector):
    """Exports `queue_depth` and `shed_total`.

    Args:
        pools: All pools.
        shedding: What load leaves of requests.
    """

    def __init__(self, pools: Iterable[QueuedPool], shedding: ShedView) -> None:
        self._pools = list(pools)
        self._shedding = shedding

    def collect(self) -> Iterator[Metric]:
        """Read the queues."""
        depth = GaugeMetricFamily(
            "entroute_queue_depth", "Calls that wait for a worker with room.", labels=("tier",)
        )
        counts: Counter[str] = Counter(self._shedding.counts)
        for pool in self._pools:
            depth.add_metric((pool.tier,), pool.queue.waiting)
            counts.update(pool.queue.shed)
        shed = CounterMetricFamily(
            "entroute_shed",
            "Left out under load: requests with fewer samples, optional calls, waiting calls "
            "that gave way or came too late, calls that found the queue full.",
            labels=("kind",),
        )
        for kind in KINDS:
            shed.add_metric((kind,), counts[kind])
        yield from (depth, shed)
