"""How well predictions fit what came of them, on few labels: values that do not flatter."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import fmean

LEAST = 20
"""Labels below which a slope or a calibration error says nothing."""

_BINS = 10
_LEAST_A_BIN = 5


@dataclass(frozen=True, slots=True)
class Scored:
    """One prediction and what came of it.

    Attributes:
        p: Predicted P(right) in [0, 1].
        y: How right it was, in [0, 1].
    """

    p: float
    y: float


@dataclass(frozen=True, slots=True)
class Measures:
    """Calibration over the last labels.

    Attributes:
        labels: How many.
        brier: Mean of (p - y)^2 in [0, 1], 0 perfect; None without labels.
        skill: 1 - brier / brier of always predicting the mean label; above 0 better than that,
            at most 1; None where all labels are alike or they are few.
        error: Debiased calibration error in [0, 1], 0 perfect; None where labels are few.
        slope: Slope of the labels on the predictions, in units of probability; 1 calibrated,
            below 1 overconfident; None where the predictions are alike or labels few.
    """

    labels: int = 0
    brier: float | None = None
    skill: float | None = None
    error: float | None = None
    slope: float | None = None


def measured(scored: Sequence[Scored]) -> Measures:
    """Return the calibration of predictions."""
    if not scored:
        return Measures()
    brier = fmean((one.p - one.y) ** 2 for one in scored)
    if len(scored) < LEAST:
        return Measures(len(scored), brier)
    mean = fmean(one.y for one in scored)
    plain = fmean((mean - one.y) ** 2 for one in scored)
    skill = 1 - brier / plain if plain else None
    return Measures(len(scored), brier, skill, debiased_error(scored), slope_of(scored))


def debiased_error(scored: Sequence[Scored]) -> float:
    """Return the root of the mean squared calibration error, freed of the noise of its bins.

    Bins hold equally many predictions. A perfect predictor's plain error is far above 0 on few
    labels; here each bin's squared gap is lessened by the variance of its mean label, s^2 / n.

    Source: Kumar, Liang, Ma (1909.10155), the debiased estimator, section 5.
    """
    ordered = sorted(scored, key=lambda one: one.p)
    bins = max(1, min(_BINS, len(ordered) // _LEAST_A_BIN))
    total = 0.0
    for number in range(bins):
        held = ordered[number * len(ordered) // bins : (number + 1) * len(ordered) // bins]
        size = len(held)
        label = fmean(one.y for one in held)
        gap = fmean(one.p for one in held) - label
        noise = sum((one.y - label) ** 2 for one in held) / (size - 1) / size if size > 1 else 0.0
        total += size / len(ordered) * (gap * gap - noise)
    return sqrt(max(0.0, total))


def slope_of(scored: Sequence[Scored]) -> float | None:
    """Return the least-squares slope of labels on predictions, None where those are alike.

    Source: Cox (1958) regresses on logits; on probabilities it needs no iteration and is as
    telling between .1 and .9.
    """
    p_mean, y_mean = fmean(one.p for one in scored), fmean(one.y for one in scored)
    spread = sum((one.p - p_mean) ** 2 for one in scored)
    if spread < len(scored) * 1e-6:
        return None
    return sum((one.p - p_mean) * (one.y - y_mean) for one in scored) / spread
