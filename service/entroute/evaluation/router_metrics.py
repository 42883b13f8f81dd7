"""RouteLLM's router metrics: how much of the strong model's lead a router keeps, at which share.

Source: RouteLLM (2406.18665), section 4, with the thresholds of its published code: the edges of
ten quantile bins of the router's scores.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

BINS = 10


@dataclass(frozen=True, slots=True)
class Curve:
    """Quality against the share of prompts that the strong model answers.

    Attributes:
        shares: In [0, 1], rising; the first is 0, the last 1.
        qualities: Mean score at each share.
    """

    shares: Numbers
    qualities: Numbers


def curve(scores: Numbers, weak: Numbers, strong: Numbers) -> Curve:
    """Return a router's curve.

    Thresholds are the 11 edges of 10 quantile bins, duplicates dropped; the strong model answers
    where score >= edge, strictly greater at the last edge.

    Args:
        scores: The router's, higher where the strong model is wanted more.
        weak: Score of the weak model's answer, prompt by prompt.
        strong: The same of the strong model's.
    """
    edges = np.unique(np.quantile(scores, np.linspace(0, 1, BINS + 1)))
    order = np.argsort(-scores, kind="stable")
    gains = np.r_[0.0, np.cumsum((strong - weak)[order])] / len(scores)
    rising = scores[order][::-1]
    counts = len(scores) - np.searchsorted(rising, edges, side="left")
    counts[-1] = len(scores) - np.searchsorted(rising, edges[-1], side="right")
    counts = np.unique(np.r_[counts, len(scores)])  # one edge only: the router knows nothing
    return Curve(counts / len(scores), weak.mean() + gains[counts])


def best_curve(weak: Numbers, strong: Numbers) -> Curve:
    """Return the oracle's curve, at every share: no router's lies above it anywhere."""
    gains = np.sort(strong - weak)[::-1]
    qualities = weak.mean() + np.r_[0.0, np.cumsum(gains)] / len(gains)
    return Curve(np.linspace(0, 1, len(gains) + 1), qualities)


def apgr(found: Curve) -> float:
    """Return the average performance gap recovered: .5 is chance, above 1 is possible.

    Source: RouteLLM (2406.18665), equation 6: (area under the curve - weak) / (strong - weak). NaN
    where strong and weak are equally good.
    """
    weak, strong = found.qualities[0], found.qualities[-1]
    if strong == weak:
        return float("nan")
    return float((np.trapezoid(found.qualities, found.shares) - weak) / (strong - weak))


def cpt(found: Curve, share_of_gap: float) -> float | None:
    """Return the call-performance threshold: the least strong share that recovers so much.

    Source: RouteLLM (2406.18665), section 4; interpolated between thresholds.

    Args:
        found: A router's curve.
        share_of_gap: Of the gap between weak and strong to recover, in (0, 1].

    Returns:
        A share in [0, 1]; None where the strong model is not the better one.
    """
    weak, strong = found.qualities[0], found.qualities[-1]
    if strong <= weak:
        return None
    wanted = weak + share_of_gap * (strong - weak)
    above = int(np.argmax(found.qualities >= wanted))
    left, right = found.shares[above - 1], found.shares[above]
    low, high = found.qualities[above - 1], found.qualities[above]
    return float(left + (right - left) * (wanted - low) / (high - low))


def hull(points: Sequence[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    """Return the upper concave hull of (cost, quality) points, as far as quality rises.

    Mixing two neighbours at random reaches every point between them.
    """
    kept: list[tuple[float, float]] = []
    for cost, quality in sorted(points, key=_cheapest_then_best):
        if kept and quality <= kept[-1][1]:
            continue
        while len(kept) > 1 and _below(kept[-2], kept[-1], (cost, quality)):
            kept.pop()
        kept.append((cost, quality))
    return tuple(kept)


def _cheapest_then_best(point: tuple[float, float]) -> tuple[float, float]:
    return point[0], -point[1]


def _below(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> bool:
    """Whether b lies on or under the line from a to c."""
    return (b[1] - a[1]) * (c[0] - a[0]) <= (c[1] - a[1]) * (b[0] - a[0])
