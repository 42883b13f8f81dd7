from collections import Counter
from dataclasses import dataclass, field
from typing import get_args

from prometheus_client import CollectorRegistry, generate_latest

from entroute.backends.outliers import Reason
from entroute.telemetry.gauges import WorkerGauges
from tests.fakes import FakeBreakerView, FakeWorkerView


@dataclass
class FakePool:
    tier: str
    members: list[FakeWorkerView]
    attempts_by_outcome: Counter[str] = field(default_factory=Counter)
    ejections: Counter[str] = field(default_factory=Counter)


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


def test_what_spares_a_worker_is_shown_of_each() -> None:
    ejected = FakeWorkerView("h:1", breaker=FakeBreakerView(2, 3), ejected=True, weight=0.4)
    pool = FakePool("small", [ejected, FakeWorkerView("h:2")], ejections=Counter(slowness=2))
    registry = CollectorRegistry()
    registry.register(WorkerGauges([pool]))
    shown = {
        "entroute_worker_breaker_state": (2, 0),
        "entroute_worker_ejected": (1, 0),
        "entroute_worker_weight": (0.4, 1),
        "entroute_breaker_opened_total": (3, 0),
    }
    for name, values in shown.items():
        read = [
            registry.get_sample_value(name, {"tier": "small", "worker": member.name})
            for member in pool.members
        ]
        assert tuple(read) == values, name
    labels = {"tier": "small", "reason": "slowness"}
    assert registry.get_sample_value("entroute_ejections_total", labels) == 2


def test_ejections_are_counted_from_nought() -> None:
    registry = CollectorRegistry()
    registry.register(WorkerGauges([FakePool("small", [])]))
    for reason in get_args(Reason):
        labels = {"tier": "small", "reason": reason}
        assert registry.get_sample_value("entroute_ejections_total", labels) == 0


def test_without_pools_there_are_no_series() -> None:
    registry = CollectorRegistry()
    registry.register(WorkerGauges([]))
    assert b"entroute_worker_up{" not in generate_latest(registry)
