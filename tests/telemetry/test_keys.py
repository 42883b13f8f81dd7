"""Metrics of the API keys that a gateway holds."""

from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, generate_latest

from entroute.telemetry.keys import KeyMetrics


@dataclass
class Held:
    source: str = "redis"
    count: int = 3
    age_s: float | None = 1.5
    reloads: dict[str, int] = field(default_factory=lambda: {"loaded": 4, "failed": 0})


def page(held: Held | None) -> list[str]:
    registry = CollectorRegistry()
    registry.register(KeyMetrics(held))
    return [line for line in generate_latest(registry).decode().splitlines() if line[0] != "#"]


def test_number_age_and_reloads_are_exported():
    assert page(Held()) == [
        'entroute_keys{source="redis"} 3.0',
        "entroute_keys_age_seconds 1.5",
        'entroute_key_reloads_total{result="loaded"} 4.0',
        'entroute_key_reloads_total{result="failed"} 0.0',
    ]


def test_keys_that_were_never_read_have_no_age():
    assert page(Held(count=0, age_s=None))[:2] == [
        'entroute_keys{source="redis"} 0.0',
        'entroute_key_reloads_total{result="loaded"} 4.0',
    ]


def test_without_keys_there_are_no_series():
    assert page(None) == []
