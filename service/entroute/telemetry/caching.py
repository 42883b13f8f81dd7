"""Metrics of kept answers beside look-ups, read at scrape."""

from collections.abc import Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector


class CacheMetrics(Collector):
    """Exports how many answers were not given again or not kept.

    Args:
        discarded: How many so far, by reason, from a closed set.
    """

    def __init__(self, discarded: Mapping[str, int]) -> None:
        self._discarded = discarded

    def collect(self) -> Iterator[Metric]:
        """Read the counts."""
        family = CounterMetricFamily(
            "entroute_cache_discarded",
            "Answers not given again (version, damaged, wrong_type, invalidated) or not kept "
            "(too_large).",
            labels=("reason",),
        )
        for reason, count in self._discarded.items():
            family.add_metric((reason,), count)
        yield family


class ExecutionMetrics(Collector):
    """Exports what became of programs whose results may be kept.

    Args:
        counts: How many so far, by result, from a closed set.
    """

    def __init__(self, counts: Mapping[str, int]) -> None:
        self._counts = counts

    def collect(self) -> Iterator[Metric]:
        """Read the counts."""
        family = CounterMetricFamily(
            "entroute_executions",
            "Programs by what became of them: not run (hit, shared with an equal one under way) "
            "or run (miss, fresh, changing, damaged, error).",
            labels=("result",),
        )
        for result, count in self._counts.items():
            family.add_metric((result,), count)
        yield family
