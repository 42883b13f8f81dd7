"""Metrics of the API keys that a gateway holds, read at scrape."""

from collections.abc import Iterator, Mapping
from typing import Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


class KeysView(Protocol):
    """What is exported of the keys."""

    @property
    def source(self) -> str:
        """Where they come from: file or redis."""
        ...

    @property
    def count(self) -> int:
        """How many are held."""
        ...

    @property
    def age_s(self) -> float | None:
        """Seconds since they were last known to be current, None while there are none."""
        ...

    @property
    def reloads(self) -> Mapping[str, int]:
        """Reads so far by what became of them, from a closed set."""
        ...


class KeyMetrics(Collector):
    """Exports how many keys are held, how old the copy is, and how reading went.

    Args:
        keys: What holds them; None where no key is asked for, which exports no series.
    """

    def __init__(self, keys: KeysView | None) -> None:
        self._keys = keys

    def collect(self) -> Iterator[Metric]:
        """Read what is held."""
        held = GaugeMetricFamily("entroute_keys", "API keys held in memory.", labels=("source",))
        age = GaugeMetricFamily(
            "entroute_keys_age_seconds",
            "Seconds since the API keys in memory were last known to be current.",
        )
        reloads = CounterMetricFamily(
            "entroute_key_reloads",
            "Reads of the API keys by result; garbage counts records that were left out.",
            labels=("result",),
        )
        if self._keys is not None:
            held.add_metric((self._keys.source,), self._keys.count)
            if self._keys.age_s is not None:
                age.add_metric((), self._keys.age_s)
            for result, count in self._keys.reloads.items():
                reloads.add_metric((result,), count)
        yield from (held, age, reloads)
