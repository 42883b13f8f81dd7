"""Pure maths of weighted votes: soft counts, the real-valued stopping test, sizes of waves."""

import math
from collections.abc import Hashable, Iterable

from entroute.uncertainty import votes_needed

SOFT_SLOPE = 0.7
"""ReASC's exponent: a sample one deviation surer than usual counts as two (2601.02970)."""

_STEPS = 300  # of the continued fraction; it converges in a few dozen for any votes seen here
_TINY = 1e-300


def soft_count(z: float) -> float:
    """Weigh a vote by its sample's standardised confidence: max(1, e^(0.7 z)), at least 1.

    Source: ReASC (2601.02970), evidence accumulation.
    """
    return max(1.0, math.exp(SOFT_SLOPE * min(z, 10.0)))


def leading_weights(
    votes: Iterable[tuple[Hashable | None, float]],
) -> tuple[Hashable | None, float, float]:
    """Add weights by answer; return the leading answer, its sum and the runner-up's sum.

    None as an answer has no vote. Ties go to the answer seen first. (None, 0, 0) without votes.
    """
    sums: dict[Hashable, float] = {}
    for answer, weight in votes:
        if answer is not None:
            sums[answer] = sums.get(answer, 0.0) + weight
    if not sums:
        return None, 0.0, 0.0
    leader = max(sums, key=lambda answer: sums[answer])
    return leader, sums[leader], max((s for a, s in sums.items() if a != leader), default=0.0)


def soft_confidence(leader: float, runner_up: float) -> float:
    """Compute the probability in [1/2, 1] that the leader's answer is the likelier of the two.

    1 - I_1/2(1 + s1, 1 + s2) for real-valued sums s1 >= s2 >= 0 of weights; with whole numbers
    it equals `uncertainty.beta_confidence`.
    Source: ReASC (2601.02970); adaptive consistency (2305.11860), its Beta criterion.

    Raises:
        ValueError: The sums are negative or the runner-up has more.
    """
    if not leader >= runner_up >= 0:
        raise ValueError(f"weights {leader} and {runner_up}: give leader >= runner-up >= 0")
    a, b = leader + 1.0, runner_up + 1.0
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) - (a + b) * math.log(2.0)
    return 1.0 - math.exp(log_front) * _beta_fraction(a, b) / a


def soft_wave(leader: float, runner_up: float, level: float) -> int:
    """Count the further plain votes for the leader that would settle: at least 1.

    For whole numbers it is `votes_needed(v2) - v1`, the boundary that a wave draws up to.
    """
    if leader == int(leader) and runner_up == int(runner_up):
        return max(1, votes_needed(int(runner_up), level) - int(leader))
    wanted = 1
    while soft_confidence(leader + wanted, runner_up) < level:
        wanted += 1
    return wanted


def _beta_fraction(a: float, b: float) -> float:
    """Return the continued fraction of I_1/2(a, b), a >= b, by Lentz's method (DLMF 8.17.22)."""
    x = 0.5
    c, d = 1.0, 1.0 - (a + b) * x / (a + 1.0)
    d = 1.0 / (d or _TINY)
    value = d
    for m in range(1, _STEPS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = 1.0 / ((1.0 + term * d) or _TINY)
            c = (1.0 + term / c) or _TINY
            value *= c * d
        if abs(c * d - 1.0) < 1e-14:  # noqa: PLR2004 - the last digits of a double
            break
    return value
