"""The page that Prometheus reads, made beside an event loop."""

import time
from collections.abc import Callable, Iterator

from prometheus_client import generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector


def give_way() -> None:
    """Let another thread run: one that computes keeps the interpreter for 5 ms at a time."""
    time.sleep(0)


def rendered(registry: Collector, between: Callable[[], None] = give_way) -> bytes:
    """Return Prometheus' text of what a registry holds now; to be called in a thread of its own.

    A page of two thousand series takes 10 ms; whole, it would hold the loop up by as much.

    Args:
        registry: What is rendered.
        between: Called after each metric.
    """
    parts = []
    for family in registry.collect():
        parts.append(generate_latest(_One(family)))
        between()
    return b"".join(parts)


class _One(Collector):
    """Collects one metric."""

    def __init__(self, family: Metric) -> None:
        self._family = family

    def collect(self) -> Iterator[Metric]:
        """Return it."""
        yield self._family
