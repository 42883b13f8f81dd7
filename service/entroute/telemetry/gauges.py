"""Gauges of the workers, read when Prometheus asks: a worker that is gone has no series."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


class BreakerView(Protocol):
    """What is exported of a worker's breaker."""

    @property
    def state(self) -> int:
        """0 closed, 1 half open, 2 open."""
        ...

    @property
    def opened(self) -> int:
        """How often it has opened."""
        ...


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

    @property
    def breaker(self) -> BreakerView:
        """Lets calls through, or not."""
        ...

    @property
    def ejected(self) -> bool:
        """Whether it is ejected as one that does worse than the others."""
        ...

    @property
    def weight(self) -> float:
        """Share of its usual calls that it should take, in [0, 1]."""
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

    @property
    def ejections(self) -> Mapping[str, int]:
        """Ejections so far by reason."""
        ...


_GAUGES: Mapping[str, tuple[str, Callable[[MemberView], float]]] = {
    "entroute_worker_up": (
        "Whether a worker is healthy: 1 unless the last health sweep or a call found it dead.",
        lambda member: float(member.healthy),
    ),
    "entroute_worker_inflight": ("Calls in a worker.", lambda member: member.in_flight),
    "entroute_worker_breaker_state": (
        "A worker's circuit breaker: 0 closed, 1 half open, 2 open.",
        lambda member: member.breaker.state,
    ),
    "entroute_worker_ejected": (
        "Whether a worker is ejected: it does worse than the others of its tier.",
        lambda member: float(member.ejected),
    ),
    "entroute_worker_weight": (
        "Share of its usual calls that a worker takes, less than 1 while it warms up.",
        lambda member: member.weight,
    ),
}


_EJECTIONS = dict.fromkeys(("failures", "slowness"), 0)
"""Exported from the start: a rate does not see the burst with which a counter begins."""


class WorkerGauges(Collector):
    """Exports what is known of workers and how attempts at them ended.

    Args:
        pools: All pools.
    """

    def __init__(self, pools: Iterable[PoolView]) -> None:
        self._pools = list(pools)

    def collect(self) -> Iterator[Metric]:
        """Read the pools."""
        labels = ("tier", "worker")
        for name, (meaning, read) in _GAUGES.items():
            gauge = GaugeMetricFamily(name, meaning, labels=labels)
            for pool in self._pools:
                for member in pool.members:
                    gauge.add_metric((pool.tier, member.name), read(member))
            yield gauge
        opened = CounterMetricFamily(
            "entroute_breaker_opened", "Times a worker's circuit breaker opened.", labels=labels
        )
        ejections = CounterMetricFamily(
            "entroute_ejections",
            "Times a worker was ejected, for failures or slowness.",
            labels=("tier", "reason"),
        )
        attempts = CounterMetricFamily(
            "entroute_upstream_attempts", "Attempts at workers.", labels=("tier", "outcome")
        )
        for pool in self._pools:
            for member in pool.members:
                opened.add_metric((pool.tier, member.name), member.breaker.opened)
            for reason, count in {**_EJECTIONS, **pool.ejections}.items():
                ejections.add_metric((pool.tier, reason), count)
            for outcome, count in pool.attempts_by_outcome.items():
                attempts.add_metric((pool.tier, outcome), count)
        yield from (opened, ejections, attempts)
