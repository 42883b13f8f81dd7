from collections import Counter
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, generate_latest

from entroute.telemetry.gauges import WorkerGauges
from tests.fakes import FakeWorkerView


@dataclass
class FakePool:
    tier: str
    members: list[FakeWorkerView]
    attempts_by_outcome: Counter[str] = field(default_factory=Counter)


def test_workers_are_read_at_scrape_and_vanish_with_their_series() -> None:
    pool = FakePool("small", [FakeWorkerView("h:1"), FakeWorkerView("h:2", healthy=False)])
    registry = CollectorRegistry()
    registry.register(WorkerGauges([pool]))
    one, two = {"tier": "small", "worker": "h:1"}, {"tier": "small", "worker": "h:2"}
    assert registry.get_sample_value("entroute_worker_up", one) == 1
    assert registry.get_sample_value("entroute_worker_up", two) == 0
    pool.members[0].in_flight = 3
    assert registry.get_sample_value("entroute_worker_inflight", one) == 3
    del pool.members[0]
    assert registry.get_sample_value("entroute_worker_up", one) is None


def test_attempts_are_counted_by_how_they_ended() -> None:
    pool = FakePool("large", [], Counter(ok=5, WorkerTimeout=2))
    registry = CollectorRegistry()
    registry.register(WorkerGauges([pool]))
    labels = {"tier": "large", "outcome": "WorkerTimeout"}
    assert registry.get_sample_value("entroute_upstream_attempts_total", labels) == 2
    assert b"# TYPE entroute_upstream_attempts_total counter" in generate_latest(registry)


def test_without_pools_there_are_no_series() -> None:
    registry = CollectorRegistry()
    registry.register(WorkerGauges([]))
    assert b"entroute_worker_up{" not in generate_latest(registry)
