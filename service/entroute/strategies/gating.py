"""What a gate makes of a held-back window: a confidence, calibrated or not, and a threshold."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from entroute.confidence import confidence
from entroute.types import TokenLogprob

Points = tuple[tuple[float, float], ...]
"""A piecewise-linear map: pairs (confidence, probability of a right answer), both rising."""


def check_points(points: Points) -> Points:
    """Return the points of a calibration, or none of them.

    Raises:
        ValueError: They are no map that rises from [0, 1] to [0, 1].
    """
    if len(points) == 1:
        raise ValueError("give at least two [confidence, p_right] points, or none")
    if any(not 0 <= value <= 1 for point in points for value in point):
        raise ValueError("every confidence and every p_right must be in [0, 1]")
    if any(b[0] <= a[0] or b[1] < a[1] for a, b in pairwise(points)):
        raise ValueError("confidences must increase from point to point, and p_right not fall")
    return points


def interpolated(points: Points, value: float) -> float:
    """Return the height of a piecewise-linear map at `value`; beyond its ends it is level."""
    if value <= points[0][0]:
        return points[0][1]
    for (left, low), (right, high) in pairwise(points):
        if value <= right:
            return low + (high - low) * (value - left) / (right - left)
    return points[-1][1]


@dataclass(frozen=True, slots=True)
class Gate:
    """Decides whether a window may be released.

    Attributes:
        smoothing: Tokens over which entropy is averaged.
        threshold: Least value to release, in [0, 1].
        thresholds: The same for single tiers, by name.
        calibration: Turns confidence into P(right); the value is the confidence itself if empty.
    """

    smoothing: int
    threshold: float
    thresholds: Mapping[str, float] = field(default_factory=dict)
    calibration: Points = ()

    def value(self, tokens: Sequence[TokenLogprob]) -> float | None:
        """Return how sure a window was, in [0, 1], or None where it has no tokens."""
        raw = confidence(tokens, self.smoothing)
        return raw if raw is None or not self.calibration else interpolated(self.calibration, raw)

    def releases(self, tier: str, value: float) -> bool:
        """Whether that is enough for an answer of `tier`."""
        return value >= self.thresholds.get(tier, self.threshold)
