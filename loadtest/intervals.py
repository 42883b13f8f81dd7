"""How sure a measured share or difference is."""

import math
import random
from collections.abc import Sequence


def wilson(successes: int, trials: int, z: float = 1.959964) -> tuple[float, float]:
    """Return the interval of a share, at 95% by default.

    Source: Wilson, Probable inference (1927), eq. for the score interval.

    Raises:
        ValueError: there were no trials.
    """
    if trials <= 0:
        raise ValueError("wilson needs at least one trial")
    share, spread = successes / trials, z * z / trials
    centre = (share + spread / 2) / (1 + spread)
    half = z / (1 + spread) * math.sqrt(share * (1 - share) / trials + spread / (4 * trials))
    return max(centre - half, 0.0), min(centre + half, 1.0)


def paired_bootstrap(
    differences: Sequence[float], rng: random.Random, *, resamples: int = 10_000
) -> tuple[float, float]:
    """Return the 95% percentile interval of the mean of paired differences.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), section 13.3.

    Raises:
        ValueError: there are no differences.
    """
    if not differences:
        raise ValueError("paired_bootstrap needs at least one pair")
    count = len(differences)
    means = sorted(sum(rng.choices(differences, k=count)) / count for _ in range(resamples))
    return means[int(0.025 * resamples)], means[int(0.975 * resamples) - 1]
