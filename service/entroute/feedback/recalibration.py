"""Online recalibration from outcome labels only: a shared Platt correction, and one a plan.

Corrected P(right) = sigmoid(a + b logit p), p the profile's own prediction. The pair (a, b) is the
mode of a Bayesian logistic regression over a bounded window, so that few labels move it little:
the correction of all plans is drawn to (0, 1), no correction; each plan's is drawn to that.

Source: Platt scaling (Platt 1999); learning from outcome labels alone while serving is the idea of
PRIME (2502.01456). The policy labels only plans that it chose; weights 1 / propensity (Horvitz and
Thompson 1952) undo that where chance drew the plan for a share of requests.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log1p

from entroute.feedback.labels import Label
from entroute.profile.linear import logit, sigmoid

MOST_WEIGHT = 20.0
"""Clip of 1 / propensity: bounds what one audited label can move, at the price of some bias."""

_SLOPES = (0.1, 3.0)
_TRIES = 25
_HALVINGS = 20
_CLOSE = 1e-7

_LEAST = 1e-4  # a promise near 1 stays near 1: a client may aim there


def _logit(p: float) -> float:
    return logit(p, _LEAST)


@dataclass(frozen=True, slots=True)
class Platt:
    """A correction of probabilities.

    Attributes:
        intercept: a, in logits; above 0 raises every probability.
        slope: b, above 0; below 1 draws probabilities together.
    """

    intercept: float = 0.0
    slope: float = 1.0

    def corrected(self, p: float) -> float:
        """Return the corrected probability, in [0, 1]; never falls as `p` rises."""
        if self is NOTHING:
            return p
        return sigmoid(self.intercept + self.slope * _logit(p))


NOTHING = Platt()


@dataclass(frozen=True, slots=True)
class Prior:
    """What a correction is before any label: normal, independent.

    Attributes:
        mean: Its mode.
        intercept_sd: Standard deviation of the intercept, in logits.
        slope_sd: Standard deviation of the slope.
    """

    mean: Platt = NOTHING
    intercept_sd: float = 0.5
    slope_sd: float = 0.25


_PLAN_SDS = (0.25, 0.15)


class Recalibration:
    """The corrections that are in force.

    Args:
        most_weight: Clip of 1 / propensity, at least 1.
    """

    def __init__(self, most_weight: float = MOST_WEIGHT) -> None:
        self._most_weight = most_weight
        self._shared = NOTHING
        self._plans: dict[str, Platt] = {}

    @property
    def shared(self) -> Platt:
        """The correction of plans that have no labels of their own."""
        return self._shared

    def of(self, plan: str) -> Platt:
        """Return a plan's correction."""
        return self._plans.get(plan, self._shared)

    def fit_shared(self, labels: Sequence[Label]) -> None:
        """Fit the correction that all plans share to the last labels of all."""
        self._shared = fitted(labels, Prior(), self._most_weight, self._shared)

    def fit_plan(self, plan: str, labels: Sequence[Label]) -> None:
        """Fit a plan's correction to its last labels, drawn to the shared one."""
        prior = Prior(self._shared, *_PLAN_SDS)
        self._plans[plan] = fitted(labels, prior, self._most_weight, self.of(plan))

    def keep_only(self, plans: Sequence[str]) -> None:
        """Forget plans that have no labels left."""
        self._plans = {plan: self._plans[plan] for plan in plans if plan in self._plans}


def fitted(
    labels: Sequence[Label],
    prior: Prior,
    most_weight: float = MOST_WEIGHT,
    start: Platt = NOTHING,
) -> Platt:
    """Return the most probable correction.

    A label between 0 and 1 counts as that share of a right answer. Weights are scaled so that
    they sum to Kish's effective number of labels, (sum w)^2 / sum w^2: a few heavy ones weigh
    against the prior as few labels should.

    Args:
        labels: What came of predictions.
        prior: What the correction is without them.
        most_weight: Clip of 1 / propensity, at least 1.
        start: Where to begin looking: the last fit, which is close.
    """
    if not labels:
        return prior.mean
    weights = effective([min(1 / label.propensity, most_weight) for label in labels])
    rows = [
        (_logit(label.predicted), label.value, weight)
        for label, weight in zip(labels, weights, strict=True)
    ]
    found = _newton(rows, prior, start, slope_moves=True)
    low, high = _SLOPES
    if low <= found.slope <= high:
        return found
    edge = Platt(found.intercept, min(max(found.slope, low), high))
    return _newton(rows, prior, edge, slope_moves=False)


def effective(weights: Sequence[float]) -> list[float]:
    """Return weights scaled to sum to the effective number of labels.

    Source: Kish, Survey Sampling (1965), (sum w)^2 / sum w^2.
    """
    scale = sum(weights) / sum(weight * weight for weight in weights)
    return [weight * scale for weight in weights]


_Row = tuple[float, float, float]  # logit of the prediction, label, weight


def _newton(rows: Sequence[_Row], prior: Prior, here: Platt, *, slope_moves: bool) -> Platt:
    """Minimise the negative log posterior, which is strictly convex, by damped Newton steps."""
    loss = _loss(rows, prior, here)
    for _ in range(_TRIES):
        step_a, step_b = _step(rows, prior, here, slope_moves=slope_moves)
        share = 1.0
        for _ in range(_HALVINGS):
            there = Platt(here.intercept - share * step_a, here.slope - share * step_b)
            found = _loss(rows, prior, there)
            if found <= loss:
                break
            share /= 2
        else:
            return here
        gained, here, loss = loss - found, there, found
        if gained < _CLOSE:
            return here
    return here


def _loss(rows: Sequence[_Row], prior: Prior, here: Platt) -> float:
    a = (here.intercept - prior.mean.intercept) / prior.intercept_sd
    b = (here.slope - prior.mean.slope) / prior.slope_sd
    loss = (a * a + b * b) / 2
    for x, y, weight in rows:
        z = here.intercept + here.slope * x
        loss += weight * (log1p(exp(-abs(z))) + max(z, 0.0) - y * z)
    return loss


def _step(
    rows: Sequence[_Row], prior: Prior, here: Platt, *, slope_moves: bool
) -> tuple[float, float]:
    """Return the Newton step: the inverse Hessian times the gradient."""
    haa, hbb, hab = prior.intercept_sd**-2, prior.slope_sd**-2, 0.0
    ga = haa * (here.intercept - prior.mean.intercept)
    gb = hbb * (here.slope - prior.mean.slope)
    for x, y, weight in rows:
        p = sigmoid(here.intercept + here.slope * x)
        off, bend = weight * (p - y), weight * p * (1 - p)
        ga += off
        gb += off * x
        haa += bend
        hab += bend * x
        hbb += bend * x * x
    if not slope_moves:
        return ga / haa, 0.0
    determinant = haa * hbb - hab * hab
    return (hbb * ga - hab * gb) / determinant, (haa * gb - hab * ga) / determinant
