"""Pure maths of votes: soft counts, the real-valued and the foreseeing stopping test, waves."""

import math
from collections.abc import Hashable, Iterable
from fractions import Fraction
from functools import lru_cache

from entroute.uncertainty import beta_settled, votes_needed

SOFT_SLOPE = 0.7
"""ReASC's exponent: a sample one deviation surer than usual counts as two (2601.02970)."""

CEILING_LEVEL = 0.9
"""Of the Beta criterion, at which `plurality_settled` stops in any case up to a level of .95."""

_ABOVE_CEILING = 0.05  # a stricter level raises the Beta criterion's, too

AGREEING = 2
"""Votes that a leader needs before `plurality_settled` may stop."""

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


@lru_cache(maxsize=65536)
def plurality_confidence(leader: int, runner_up: int, others: int, left: int) -> Fraction:
    """Foresee whether the leader is still first after `left` more samples: in [0, 1], 1 is sure.

    `others` are the samples for neither, unparsable ones among them; a tie counts half. Each
    next sample goes to one of the three at the rate that a uniform prior on the three rates and
    the samples so far imply, so k samples are split as x + y + z with probability
    C(v1 + x, x) C(v2 + y, y) C(v3 + z, z) / C(v1 + v2 + v3 + k + 2, k), in whole numbers.
    Unlike the Beta criterion, its limit for two answers and `left` without end, it knows that few
    samples are left: it is 1 as soon as they cannot change the winner.
    Source: Dirichlet-multinomial predictive distribution, as in designs that stop a trial on the
    predictive probability of its outcome (Lee and Liu 2008).

    Raises:
        ValueError: A count is negative or the runner-up has more than the leader.
    """
    if not leader >= runner_up >= 0 or others < 0 or left < 0:
        raise ValueError(
            f"votes {leader} and {runner_up}, others {others}, left {left}: give leader >= "
            "runner-up >= 0 and no negative count"
        )
    halves = 0  # twice the number of splits that keep the leader first
    for shared in range(left + 1):  # the samples that go to the leader or the runner-up
        elsewhere = math.comb(others + left - shared, left - shared)
        kept = 0
        for gained in range(shared + 1):
            ahead = leader + gained - (runner_up + shared - gained)
            if ahead >= 0:
                splits = math.comb(leader + gained, gained)
                splits *= math.comb(runner_up + shared - gained, shared - gained)
                kept += splits * (2 if ahead else 1)
        halves += elsewhere * kept
    return Fraction(halves, 2 * math.comb(leader + runner_up + others + left + 2, left))


def plurality_settled(
    leader: int, runner_up: int, others: int, left: int, level: float = 0.95
) -> bool:
    """Decide whether to stop: two agree, and the leader is foreseen to stay, or Beta holds.

    Never later than the Beta criterion (`uncertainty.beta_settled`) at .90, or at level - .05
    where that is stricter, nor than `uncertainty.lossless_settled`; earlier near the last sample.
    True when none is left.

    Raises:
        ValueError: As `plurality_confidence`, or a level outside [0.5, 1).
    """
    if not 0.5 <= level < 1:  # noqa: PLR2004 - a coin decides as well
        raise ValueError(f"level is {level}: give a probability in [0.5, 1)")
    ceiling = max(CEILING_LEVEL, level - _ABOVE_CEILING)
    if not left or beta_settled(leader, runner_up, ceiling):
        return True
    foreseen = plurality_confidence(leader, runner_up, others, left)
    return leader >= AGREEING and foreseen >= Fraction(str(level))


def plurality_wave(leader: int, runner_up: int, others: int, left: int, level: float = 0.95) -> int:
    """Count the further votes for the leader that would settle: 1 to `left` (0 if none is left)."""
    wanted = min(1, left)
    while not plurality_settled(leader + wanted, runner_up, others, left - wanted, level):
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
