"""Metrics of the links to Redis, read at scrape."""

from collections.abc import Iterator, Mapping
from typing import Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


class LinksView(Protocol):
    """What is exported of the links to Redis."""

    @property
    def up(self) -> bool | None:
        """Whether every Redis answers, None where none is used."""
        ...

    @property
    def calls(self) -> Mapping[str, int]:
        """Calls so far by what became of them, from a closed set."""
        ...


class RedisMetrics(Collector):
    """Exports `redis_up` and `redis_calls_total`; without a Redis they have no series.

    Args:
        links: All links.
    """

    def __init__(self, links: LinksView) -> None:
        self._links = links

    def collect(self) -> Iterator[Metric]:
        """Read the links."""
        up = GaugeMetricFamily("entroute_redis_up", "Whether every Redis in use answers in time.")
        calls = CounterMetricFamily(
            "entroute_redis_calls", "Calls to Redis by what became of them.", labels=("result",)
        )
        if self._links.up is not None:
            up.add_metric((), float(self._links.up))
            for result, count in self._links.calls.items():
                calls.add_metric((result,), count)
        yield from (up, calls)
