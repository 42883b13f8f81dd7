from collections import Counter
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry

from entroute.telemetry.retries import RetryMetrics


@dataclass(slots=True)
class FakeRetrying:
    """A tier's counts."""

    results: Counter[str] = field(default_factory=Counter)
    hedges: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class FakePool:
    """A tier as these metrics see it."""

    tier: str
    retrying: FakeRetrying


def test_retries_and_hedges_are_counted_by_tier_and_result() -> None:
    small = FakePool("small", FakeRetrying(Counter(ok=3, budget=1), Counter(won=2)))
    large = FakePool("large", FakeRetrying())
    registry = CollectorRegistry()
    registry.register(RetryMetrics([small, large]))

    def value(name: str, tier: str, result: str) -> float | None:
        return registry.get_sample_value(name, {"tier": tier, "result": result})

    assert value("entroute_retries_total", "small", "ok") == 3
    assert value("entroute_retries_total", "small", "budget") == 1
    assert value("entroute_hedges_total", "small", "won") == 2
    assert value("entroute_retries_total", "large", "ok") == 0
    assert value("entroute_retries_total", "large", "budget") == 0
    assert value("entroute_hedges_total", "large", "won") == 0
    small.retrying.results["ok"] += 1
    assert value("entroute_retries_total", "small", "ok") == 4
