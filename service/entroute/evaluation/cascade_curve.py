"""Quality against total cost of agreement cascades, and its area: APGR with nothing for free."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from entroute.errors import ConfigurationError
from entroute.evaluation.agreement import CascadeReplay

Floats = NDArray[np.float64]

FOLDS = 5
RESAMPLES = 1000
BUDGETS = 101
"""Budgets between the two models' costs at which a curve is measured."""

WEAK, STRONG = "weak alone", "strong alone"


@dataclass(frozen=True, slots=True)
class CascadePoint:
    """One rule at one price.

    Attributes:
        name: The rule.
        cost: Mean cost a prompt, in strong samples, weak ones included.
        quality: Share right.
        escalated: Share of prompts that the strong model answered.
    """

    name: str
    cost: float
    quality: float
    escalated: float


@dataclass(frozen=True, slots=True)
class CascadeCurve:
    """All rules at one price, and the area under those worth having.

    Attributes:
        ratio: Price of a strong sample in weak ones.
        points: Every rule, and the strong model alone.
        apgr: Area on total cost; 0.5 is a coin between the models, can exceed 1.
        apgr_low: 2.5th percentile of a bootstrap over prompts.
        apgr_high: 97.5th.
        apgr_calls: The same area over the share of escalated prompts, weak samples for free.
    """

    ratio: float
    points: tuple[CascadePoint, ...]
    apgr: float
    apgr_low: float
    apgr_high: float
    apgr_calls: float


def cascade_curve(replay: CascadeReplay, ratio: float, *, seed: int = 0) -> CascadeCurve:
    """Price a replay; `ratio` is how many weak samples one strong sample costs, above 1.

    APGR is the trapezoid area of the performance gap recovered, (quality - weak) / (strong -
    weak), over the share of the extra cost spent, (cost - weak) / (strong - weak), from 0 to 1,
    weak and strong being one sample of each model; at share 1 it is at least 1, for one may send
    everything up. Only rules on the upper hull count, the others being worse than a coin between
    two of them; they are chosen on four fifths of the prompts for the last fifth, in turn, so the
    choice among the rules is not graded on the prompts it was made on.
    Source: APGR of RouteLLM (2406.18665), on total cost in place of the share of strong calls.

    Raises:
        ConfigurationError: The ratio is at most 1, fewer prompts than folds, or no gap to recover.
    """
    if ratio <= 1:
        raise ConfigurationError(f"cost ratio {ratio}: a strong sample has to cost more than 1")
    if len(replay.prompts) < FOLDS:
        raise ConfigurationError(f"{len(replay.prompts)} shared prompts: give at least {FOLDS}")
    if replay.strong.mean() <= replay.weak.mean():
        raise ConfigurationError("the strong model is no better than the weak one: swap them?")
    cost, quality, calls = priced(replay, ratio)
    rng = np.random.default_rng(seed)
    fold = rng.permutation(len(replay.prompts)) % FOLDS
    areas = []
    for _ in range(RESAMPLES):
        picked = rng.integers(0, len(fold), len(fold))
        areas.append(cross_fitted(cost[:, picked], quality[:, picked], fold[picked]))
    low, high = np.nanquantile(areas, [0.025, 0.975])
    names = [WEAK, *(rule.name for rule in replay.rules), STRONG]
    points = zip(names, cost.mean(axis=1), quality.mean(axis=1), calls.mean(axis=1), strict=True)
    return CascadeCurve(
        ratio=ratio,
        points=tuple(CascadePoint(n, float(c), float(q), float(e)) for n, c, q, e in points),
        apgr=cross_fitted(cost, quality, fold),
        apgr_low=float(low),
        apgr_high=float(high),
        apgr_calls=cross_fitted(calls, quality, fold),
    )


def priced(replay: CascadeReplay, ratio: float) -> tuple[Floats, Floats, Floats]:
    """Return cost, quality and strong calls of the models alone (first, last) and of the rules."""
    none, one = np.zeros(len(replay.prompts)), np.ones(len(replay.prompts))
    return (
        np.vstack([one / ratio, replay.drawn / ratio + replay.escalated, one]),
        np.vstack([replay.weak, replay.quality, replay.strong]),
        np.vstack([none, replay.escalated, one]),
    )


def cross_fitted(cost: Floats, quality: Floats, fold: NDArray[np.int64]) -> float:
    """Measure the area of rules chosen on other folds' prompts; nan where there is no gap.

    For each budget from the weak model's cost to the strong one's, a fold plays the coin between
    two rules that spends it on the hull of the other folds; what all folds then spend and reach is
    one point of the curve. The first row is the weak model alone and the last one the strong.
    """
    weak, strong = quality[0].mean(), quality[-1].mean()
    if strong <= weak:
        return float("nan")
    start, end = float(cost[0].mean()), float(cost[-1].mean())
    budgets = np.linspace(start, end, BUDGETS)
    spent, reached = np.zeros((2, BUDGETS))
    for held in range(FOLDS):
        here = fold == held
        if here.any() and not here.all():
            chosen = hull(cost[:, ~here].mean(axis=1), quality[:, ~here].mean(axis=1))
            steps = np.arange(len(chosen))
            at = np.interp(budgets, cost[chosen][:, ~here].mean(axis=1), steps)
            spent += np.interp(at, steps, cost[chosen][:, here].sum(axis=1)) / len(fold)
            reached += np.interp(at, steps, quality[chosen][:, here].sum(axis=1)) / len(fold)
    return float((area(spent, reached, start, end) - weak) / (strong - weak))


def area(cost: Floats, quality: Floats, start: float, end: float) -> float:
    """Average quality over costs from `start` to `end`, straight between points, flat outside."""
    order = np.argsort(cost, kind="stable")
    xs, ys = cost[order], quality[order]
    inner = xs[(xs > start) & (xs < end)]
    grid = np.concatenate([[start], inner, [end]])
    return float(np.trapezoid(np.interp(grid, xs, ys), grid) / (end - start))


def hull(cost: Floats, quality: Floats) -> list[int]:
    """Pick the points of the upper hull from the first (cheapest) to the best: dearer is better."""
    order = sorted(range(len(cost)), key=lambda at: (cost[at], -quality[at]))
    kept: list[int] = []
    for at in order:
        if kept and quality[at] <= quality[kept[-1]]:
            continue
        while len(kept) > 1 and _below(kept[-2], kept[-1], at, cost, quality):
            kept.pop()
        kept.append(at)
    return kept


def _below(left: int, middle: int, right: int, cost: Floats, quality: Floats) -> bool:
    rise = (quality[middle] - quality[left]) * (cost[right] - cost[left])
    return bool(rise <= (quality[right] - quality[left]) * (cost[middle] - cost[left]))


def curve_json(curve: CascadeCurve) -> dict[str, object]:
    """Return a curve as plain values."""
    return {
        "ratio": curve.ratio,
        "apgr": curve.apgr,
        "apgr_low": curve.apgr_low,
        "apgr_high": curve.apgr_high,
        "apgr_calls": curve.apgr_calls,
        "points": [_point(point) for point in curve.points],
    }


def on_hull(points: Sequence[CascadePoint]) -> tuple[CascadePoint, ...]:
    """Return the points of the upper hull, cheapest first."""
    cost = np.array([point.cost for point in points])
    quality = np.array([point.quality for point in points])
    return tuple(points[at] for at in hull(cost, quality))


def _point(point: CascadePoint) -> dict[str, object]:
    return {
        "rule": point.name,
        "cost": point.cost,
        "quality": point.quality,
        "escalated": point.escalated,
    }
