"""The page of metrics, made a metric at a time."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from entroute.telemetry.page import rendered


def a_registry() -> CollectorRegistry:
    registry = CollectorRegistry()
    Counter("entroute_x", 'Text with "quotes"\nand lines.', ("tier",), registry=registry).labels(
        'a "tier"\n'
    ).inc()
    Gauge("entroute_y", "Y.", registry=registry).set(float("inf"))
    Histogram("entroute_z", "Z.", ("tier",), registry=registry).labels("small").observe(0.3)
    return registry


def test_it_is_what_the_library_renders() -> None:
    registry = a_registry()
    assert rendered(registry) == generate_latest(registry)


def test_others_may_run_between_two_metrics() -> None:
    pauses: list[None] = []
    rendered(a_registry(), lambda: pauses.append(None))
    assert len(pauses) == 3
