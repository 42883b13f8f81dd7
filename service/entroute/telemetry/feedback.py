"""Metrics of outcome labels and of the predictions that they check, read at scrape."""

from collections.abc import Iterator, Mapping
from typing import Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


class MeasuresView(Protocol):
    """Calibration over the last labels; what they are too few to tell is None."""

    @property
    def labels(self) -> int:
        """How many labels."""
        ...

    @property
    def brier(self) -> float | None:
        """Mean squared error of predictions, 0 best."""
        ...

    @property
    def skill(self) -> float | None:
        """Brier skill, 1 best."""
        ...

    @property
    def error(self) -> float | None:
        """Debiased calibration error, 0 best."""
        ...

    @property
    def slope(self) -> float | None:
        """Slope of labels on predictions, 1 calibrated."""
        ...


class FeedbackView(Protocol):
    """What is exported of outcome labels."""

    @property
    def counts(self) -> Mapping[str, int]:
        """Labels so far by what became of them, from a closed set."""
        ...

    @property
    def drifted(self) -> bool:
        """Whether the drift alarm is on."""
        ...

    @property
    def drift_evidence(self) -> float:
        """Natural logarithm of the drift test's e-value."""
        ...

    @property
    def store_failures(self) -> int:
        """How often a label or an answer could not be kept."""
        ...

    def measures(self) -> MeasuresView:
        """Return the calibration over the last labels."""
        ...


class FeedbackMetrics(Collector):
    """Exports labels, calibration and drift.

    Args:
        feedback: What takes labels.
    """

    def __init__(self, feedback: FeedbackView) -> None:
        self._feedback = feedback

    def collect(self) -> Iterator[Metric]:
        """Read what labels have shown."""
        labels = CounterMetricFamily(
            "entroute_feedback_labels", "Outcome labels by what became of them.", labels=("result",)
        )
        for result, count in self._feedback.counts.items():
            labels.add_metric((result,), count)
        yield labels
        failures = CounterMetricFamily(
            "entroute_feedback_store_failures", "Labels or answers that could not be kept."
        )
        failures.add_metric((), self._feedback.store_failures)
        yield failures
        measures = self._feedback.measures()
        gauges: tuple[tuple[str, str, float | None], ...] = (
            ("feedback_window_labels", "Labels that calibration is measured on.", measures.labels),
            ("calibration_brier", "Mean squared error of predicted P(right).", measures.brier),
            ("calibration_skill", "Brier skill against the mean label, 1 best.", measures.skill),
            ("calibration_error", "Debiased calibration error of predictions.", measures.error),
            ("calibration_slope", "Slope of labels on predictions, 1 calibrated.", measures.slope),
            ("calibration_drift", "Whether the drift alarm is on.", self._feedback.drifted),
            (
                "calibration_drift_evidence",
                "Natural logarithm of the drift test's e-value.",
                self._feedback.drift_evidence,
            ),
        )
        for name, text, value in gauges:
            gauge = GaugeMetricFamily(f"entroute_{name}", text)
            if value is not None:
                gauge.add_metric((), float(value))
            yield gauge
