"""Metrics of kept responses, read at scrape."""

from collections.abc import Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector


class ResponseMetrics(Collector):
    """Exports what became of responses that were to be kept, read or forgotten.

    Args:
        counts: Operations so far by how they ended, from a closed set.
    """

    def __init__(self, counts: Mapping[str, int]) -> None:
        self._counts = counts

    def collect(self) -> Iterator[Metric]:
        """Read the counts."""
        family = CounterMetricFamily(
            "entroute_stored_responses",
            "Responses kept, looked up and forgotten, by how that ended.",
            labels=("result",),
        )
        for result, count in self._counts.items():
            family.add_metric((result,), count)
        yield family
