"""Quality of predicted probabilities, in figures that mean something below 1,000 prompts."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

Array = NDArray[np.float64]
_BINS = 10
_SIMULATIONS = 400


def calibration_of(
    p: Array, right: Array, seed: int, prompts: Sequence[int] | None = None
) -> Mapping[str, float]:
    """Return Brier skill, slope, intercept and debiased ECE of predictions.

    Args:
        p: Predicted probabilities, in (0, 1).
        right: What happened: shares of right answers, in [0, 1].
        seed: Of the simulation that tells how large ECE is by chance alone.
        prompts: Which prompt each prediction is of, where some are of the same one.

    Returns:
        brier; brier_skill: 1 - brier / brier of the mean, higher is better, 0 is no skill; slope
        (1 is calibrated, below 1 overconfident); intercept (0 is calibrated); ece: the excess
        over that of a perfect predictor on as many prompts, 0 and up; prompts: how many.
    """
    of = np.arange(len(p)) if prompts is None else np.unique(prompts, return_inverse=True)[1]
    brier = float(np.mean((p - right) ** 2))
    base = float(np.mean((right.mean() - right) ** 2))
    slope, intercept = _line(p, right)
    chance = _chance(p, right, of, np.random.default_rng(seed))
    return {
        "brier": brier,
        "brier_skill": 1 - brier / base if base else 0.0,
        "slope": slope,
        "intercept": intercept,
        "ece": max(0.0, float(_ece(p, right - p)) - chance),
        "prompts": float(of.max() + 1),
    }


def _chance(p: Array, right: Array, of: NDArray[np.int64], rng: np.random.Generator) -> float:
    """Return the ECE that a perfect predictor shows by chance: signs of misses flipped by prompt.

    Shares of several answers scatter less than single ones, and plans on one prompt miss
    together: flipping what was missed keeps both as they are.
    """
    signs = rng.choice([-1.0, 1.0], (_SIMULATIONS, int(of.max()) + 1))
    return float(_ece(p, (right - p) * signs[:, of]).mean())


def _line(p: Array, right: Array) -> tuple[float, float]:
    """Return slope and intercept of a logistic fit of what happened on the logit of p."""
    kept = np.clip(p, 1e-4, 1 - 1e-4)
    x = np.log(kept / (1 - kept)).reshape(-1, 1)
    if right.min() == right.max() or np.ptp(x) == 0:
        return 0.0, 0.0
    both = np.vstack([x, x])
    labels = np.concatenate([np.ones(len(x)), np.zeros(len(x))])
    weights = np.concatenate([right, 1 - right])
    model = LogisticRegression(C=1e6).fit(both, labels, sample_weight=weights)
    return float(model.coef_[0, 0]), float(model.intercept_[0])


def _ece(p: Array, missed: Array) -> Array:
    """Return the expected calibration error over ten bins of equal size, of each row of misses."""
    order = np.argsort(p, kind="stable")
    starts = np.unique(np.linspace(0, len(p), _BINS, endpoint=False).astype(int))
    gaps: Array = np.abs(np.add.reduceat(missed[..., order], starts, axis=-1))
    total: Array = gaps.sum(axis=-1) / len(p)
    return total
