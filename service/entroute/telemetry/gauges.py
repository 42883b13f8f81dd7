"""Gauges of the workers, read when Prometheus asks: a worker that is gone has no series."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


class MemberView(Protocol):
    """What is exported of one worker."""

    @property
    def name(self) -> str:
        """Host and port."""
        ...

    @property
    def healthy(self) -> bool:
        """Whether it may be called."""
        ...

    @property
    def in_flight(self) -> int:
        """Calls it is answering."""
        ...


class PoolView(Protocol):
    """What is exported of one tier's workers."""

    @property
    def tier(self) -> str:
        """The tier's name."""
        ...

    @property
    def members(self) -> Sequence[MemberView]:
        """Its workers."""
        ...

    @property
    def attempts_by_outcome(self) -> Mapping[str, int]:
        """Upstream attempts so far by how they ended."""
        ...


class WorkerGauges(Collector):
    """Exports `worker_up`, `worker_inflight` and `upstream_attempts_total`.

    Args:
        pools: All pools.
    """

    def __init__(self, pools: Iterable[PoolView]) -> None:
        self._pools = list(pools)

    def collect(self) -> Iterator[Metric]:
        """Read the pools."""
        labels = ("tier", "worker")
        up = GaugeMetricFamily(
            "entroute_worker_up", "Whether a worker may be called.", labels=labels
        )
        busy = GaugeMetricFamily("entroute_worker_inflight", "Calls in a worker.", labels=labels)
        attempts = CounterMetricFamily(
            "entroute_upstream_attempts", "Attempts at workers.", labels=("tier", "outcome")
        )
        for pool in self._pools:
            for member in pool.members:
                up.add_metric((pool.tier, member.name), float(member.healthy))
                busy.add_metric((pool.tier, member.name), member.in_flight)
            for outcome, count in pool.attempts_by_outcome.items():
                attempts.add_metric((pool.tier, outcome), count)
        yield from (up, busy, attempts)
