"""What Prometheus reads of outcome labels."""

from collections import Counter
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, generate_latest

from entroute.feedback.labels import LABEL_RESULTS
from entroute.telemetry.feedback import FeedbackMetrics
from tests.feedback.traffic import a_feedback, decided_trace


@dataclass
class FakeMeasures:
    labels: int = 0
    brier: float | None = None
    skill: float | None = None
    error: float | None = None
    slope: float | None = None


@dataclass
class FakeFeedback:
    counts: Counter[str] = field(default_factory=Counter)
    drifted: bool = False
    drift_evidence: float = 0.0
    store_failures: int = 0
    now: FakeMeasures = field(default_factory=FakeMeasures)

    def measures(self) -> FakeMeasures:
        return self.now


def exported(feedback: FakeFeedback) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(FeedbackMetrics(feedback))
    return registry


def value(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(f"entroute_{name}", labels)


def test_labels_are_counted_by_what_became_of_them() -> None:
    registry = exported(FakeFeedback(Counter(accepted=3, foreign=1), store_failures=2))
    assert value(registry, "feedback_labels_total", result="accepted") == 3
    assert value(registry, "feedback_labels_total", result="foreign") == 1
    assert value(registry, "feedback_store_failures_total") == 2


def test_calibration_is_read_at_scrape() -> None:
    feedback = FakeFeedback()
    registry = exported(feedback)
    assert value(registry, "calibration_brier") is None
    assert value(registry, "calibration_drift") == 0
    feedback.now = FakeMeasures(40, 0.2, 0.1, 0.05, 0.9)
    feedback.drifted, feedback.drift_evidence = True, 5.0
    assert value(registry, "feedback_window_labels") == 40
    assert value(registry, "calibration_brier") == 0.2
    assert value(registry, "calibration_skill") == 0.1
    assert value(registry, "calibration_error") == 0.05
    assert value(registry, "calibration_slope") == 0.9
    assert value(registry, "calibration_drift") == 1
    assert value(registry, "calibration_drift_evidence") == 5.0


async def test_the_real_thing_has_a_series_for_every_result_and_none_for_clients() -> None:
    feedback = a_feedback()
    feedback.record(decided_trace("secret-id", "secret-tenant"))
    await feedback.label("secret-id", "secret-tenant", 1.0)
    registry = CollectorRegistry()
    registry.register(FeedbackMetrics(feedback))
    for result in LABEL_RESULTS:
        assert value(registry, "feedback_labels_total", result=result) == (result == "accepted")
    assert b"secret" not in generate_latest(registry)
