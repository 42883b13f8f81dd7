"""Piecewise-linear maps from a signal to a probability."""

from itertools import pairwise

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
