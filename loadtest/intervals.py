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


def clopper_pearson_upper(successes: int, trials: int, confidence: float = 0.95) -> float:
    """Return the one-sided upper bound of a share: it is lower with this confidence.

    The share at which as few successes as these, or fewer, have probability 1 - confidence.

    Source: Clopper and Pearson, The use of confidence or fiducial limits (1934), section 4.

    Raises:
        ValueError: there were no trials.
    """
    if trials <= 0:
        raise ValueError("clopper_pearson_upper needs at least one trial")
    if successes >= trials:
        return 1.0
    low, high = successes / trials, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if _at_most(successes, trials, middle) > 1 - confidence:
            low = middle
        else:
            high = middle
    return high


def _at_most(successes: int, trials: int, share: float) -> float:
    """Return the probability of at most so many successes, 0 < share < 1."""
    total = math.lgamma(trials + 1)
    return math.fsum(
        math.exp(
            total
            - math.lgamma(k + 1)
            - math.lgamma(trials - k + 1)
            + k * math.log(share)
            + (trials - k) * math.log1p(-share)
        )
        for k in range(successes + 1)
        if 0 < share < 1
    )


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
