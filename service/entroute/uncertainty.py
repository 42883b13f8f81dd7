"""Pure maths on log-probabilities and votes: no input or output, no state, no imports of ours.

Log-probabilities are in nats. A "top-k" is what an engine reports for ONE token: k of them in any
order. Engines mask tokens with -inf or -9999 and round, so zero probabilities, values slightly
above 0 and sums slightly above 1 are accepted; a NaN, a value clearly above 0, a sum clearly above
1 and an empty sequence where something must be averaged raise `ValueError`, everywhere below.
A "trace" holds one number a token, in the order of generation. Answers are canonical and hashable;
None is an unparsable one: it counts as a sample and never as a vote.
"""

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from fractions import Fraction

LOGPROB_FLOOR = -30.0  # nats; a masked token (-inf, -9999) would otherwise swallow every mean
TOLERANCE = 0.05  # half-precision engines report sums this far above 1


# --- one token -------------------------------------------------------------------------------


def bits(nats: float) -> float:
    """Convert nats to bits, the unit of Entropy Adaptive Decoding's threshold (2502.06833)."""
    return nats / math.log(2)


def entropy_lower(logprobs: Sequence[float], *, ranked: int | None = None) -> float:
    """Bound a token's entropy from below by its top-k: nats, 0 (certain) and up.

    No unreported token beats the smallest ranked one, so H >= -sum p ln p - r ln min(r, p_k) with
    r the unreported mass. `ranked` is the k asked for: an engine may append the sampled token
    beyond rank k, and that one caps nothing. No top-k at all gives 0.
    Source: grouping property of Shannon's entropy, a top-k's order as the cap.

    Raises:
        ValueError: `ranked` is below 1, or the log-probabilities are impossible.
    """
    if ranked is not None:
        _at_least_one("ranked", ranked)
    probabilities = _probabilities(logprobs)
    rest = _rest(probabilities)
    cap = min(probabilities[:ranked], default=1.0)
    tail = -rest * math.log(min(rest, cap)) if rest > 0 and cap > 0 else 0.0
    return _entropy(probabilities) + tail


def entropy_upper(logprobs: Sequence[float], vocabulary: int) -> float:
    """Bound a token's entropy from above by its top-k: nats in [0, ln vocabulary].

    The unreported mass r is spread evenly: H <= -sum p ln p - r ln r + r ln(V - k). No top-k at
    all gives ln V. Source: grouping property and maximum of Shannon's entropy.

    Raises:
        ValueError: `vocabulary` is smaller than the top-k, or these are impossible.
    """
    if vocabulary < max(1, len(logprobs)):
        raise ValueError(f"vocabulary is {vocabulary}: it must hold the {len(logprobs)} reported")
    probabilities = _probabilities(logprobs)
    rest, unseen = _rest(probabilities), vocabulary - len(probabilities)
    tail = -rest * math.log(rest / unseen) if rest > 0 and unseen else 0.0
    return min(math.log(vocabulary), _entropy(probabilities) + tail)


def varentropy(logprobs: Sequence[float]) -> float:
    """Measure how unevenly surprising a top-k is: variance of -ln p, nats squared, 0 and up.

    Over the reported tokens, renormalised; 0 is one token or a tie. Source: 1212.3142.
    """
    reported = [p for p in _probabilities(logprobs) if p > 0]
    total = math.fsum(reported)
    shares = [p / total for p in reported]
    entropy = _entropy(shares)
    return math.fsum(p * (-math.log(p) - entropy) ** 2 for p in shares if p > 0)


def margin(logprobs: Sequence[float]) -> float:
    """Subtract the second probability from the first: in [0, 1], 1 most certain.

    With one token reported the second is as large as it can be; with none the margin is 0.
    """
    probabilities = _probabilities(logprobs)
    if not probabilities:
        return 0.0
    first = probabilities[0]
    second = probabilities[1] if len(probabilities) > 1 else min(first, _rest(probabilities))
    return first - second


def token_confidence(logprobs: Sequence[float]) -> float:
    """Average the surprise of a top-k, C_t = -(1/k) sum_j ln p_t(j): nats in [0, 30].

    HIGHER is more certain. It depends on k: compare only values of one k. No top-k gives 0.
    Source: DeepConf (2508.15260), token confidence.
    """
    return max(0.0, -_mean(_floored(logprobs))) if logprobs else 0.0


def p_true(top: Iterable[tuple[str, float]]) -> float | None:
    """Read P(True) from the (token, log-probability) pairs of a True/False token.

    Adds every variant of each word ("True", " true", word-piece marks): P(True) / (P(True) +
    P(False)) in [0, 1], higher is better; None when neither is there. Source: 2207.05221.
    """
    pairs = list(top)
    mass = {"true": 0.0, "false": 0.0}
    for (token, _), logprob in zip(pairs, _floored([value for _, value in pairs]), strict=True):
        word = token.strip(" \t\n\u0120\u2581\"'*.").lower()
        if word in mass and logprob > LOGPROB_FLOOR:
            mass[word] += math.exp(logprob)
    total = mass["true"] + mass["false"]
    return mass["true"] / total if total > 0 else None


# --- one trace -------------------------------------------------------------------------------


def rolling_mean(values: Sequence[float], window: int) -> list[float]:
    """Average each value with up to window - 1 before it: same length and unit.

    Source: Entropy Adaptive Decoding (2502.06833), w = 5 tokens.
    """
    _at_least_one("window", window)
    return [_mean(values[max(0, end - window) : end]) for end in range(1, len(values) + 1)]


def window_means(values: Sequence[float], window: int) -> list[float]:
    """Average every full window (stride 1), or the whole trace when it is shorter than one.

    Source: DeepConf (2508.15260), group confidence; 16 to 32 tokens suit short answers.
    """
    _at_least_one("window", window)
    last_start = max(0, len(values) - window)
    return [_mean(values[start : start + window]) for start in range(last_start + 1)]


def bottom_mean(values: Sequence[float], fraction: float = 0.1) -> float:
    """Average the lowest share of the values, at least one of them: same unit.

    Of token confidences this is ReASC's signal. Source: 2601.02970; DeepConf (2508.15260).

    Raises:
        ValueError: there is no value, or `fraction` is outside (0, 1].
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"fraction is {fraction}: give a share in (0, 1]")
    return _mean(sorted(values)[: math.ceil(fraction * len(values))])


def trace_confidence(confidences: Sequence[float], window: int = 16) -> float:
    """Average the lowest 10% of window means: nats, HIGHER is more certain (DeepConf)."""
    return bottom_mean(window_means(confidences, window))


def last_window(confidences: Sequence[float], window: int = 16) -> float:
    """Average the last window: nats, HIGHER is more certain (DeepConf's tail confidence)."""
    return window_means(confidences[-window:], window)[-1]


def least_window(confidences: Sequence[float], window: int = 16) -> float:
    """Take the lowest window mean: nats, HIGHER is more certain (DeepConf)."""
    return min(window_means(confidences, window))


def mean_logprob(sampled: Sequence[float]) -> float:
    """Average the sampled tokens' log-probabilities: nats in [-30, 0], higher is likelier."""
    return _mean(_floored(sampled))


def bottom_logprob(sampled: Sequence[float], fraction: float = 0.1) -> float:
    """Average the least likely share of the sampled tokens: nats in [-30, 0], higher is better."""
    return bottom_mean(_floored(sampled), fraction)


# --- several answers -------------------------------------------------------------------------


def leading_votes(answers: Iterable[Hashable | None]) -> tuple[int, int]:
    """Count the votes of the first and second answer (v1 >= v2 >= 0); None has no vote."""
    counts = Counter(answer for answer in answers if answer is not None)
    first, second = ([count for _, count in counts.most_common(2)] + [0, 0])[:2]
    return first, second


def answer_entropy(answers: Sequence[Hashable | None]) -> float:
    """Measure disagreement, H = -sum_c p(c) ln p(c) over n samples: nats in [0, ln n].

    Each None is a class of its own: it agrees with nobody, not even with another None.
    Source: discrete semantic entropy (Farquhar et al. 2024).
    """
    total = _at_least_one("the number of answers", len(answers))
    counts = Counter(answer for answer in answers if answer is not None)
    unparsable = total - sum(counts.values())
    return _entropy([n / total for n in sorted(counts.values())] + [1 / total] * unparsable)


def certaindex(answers: Sequence[Hashable | None]) -> float:
    """Measure agreement, (ln n - H) / ln n: in [0, 1], 1 when all n >= 2 samples agree.

    Source: Dynasor (2412.20993), eq. for certaindex; None as in `answer_entropy`.

    Raises:
        ValueError: there are fewer than two samples.
    """
    if len(answers) < 2:  # noqa: PLR2004 - agreement needs two
        raise ValueError("certaindex of fewer than two answers is undefined: draw another sample")
    most = math.log(len(answers))
    return min(1.0, max(0.0, (most - answer_entropy(answers)) / most))


def borda_weights(ranks: Sequence[int], power: float) -> list[float]:
    """Turn ranks (1 is best) into vote weights (N - rank + 1)^power: 1 to N^power, same order.

    Source: self-certainty's Borda voting (2502.18581); its power is to be fitted.

    Raises:
        ValueError: a rank is outside 1..N, or `power` is negative.
    """
    if power < 0 or any(not 1 <= rank <= len(ranks) for rank in ranks):
        raise ValueError(f"ranks {list(ranks)}, power {power}: give ranks in 1..N and a power >= 0")
    return [float(len(ranks) - rank + 1) ** power for rank in ranks]


# --- when to stop sampling -------------------------------------------------------------------


def beta_confidence(leader: int, runner_up: int) -> Fraction:
    """Compute the probability in [1/2, 1) that the leader's answer is the likelier of the two.

    Exactly: 1 - I_1/2(v1 + 1, v2 + 1) = Pr[Bin(v1 + v2 + 1, 1/2) <= v1].
    Source: adaptive consistency (2305.11860), its Beta criterion.

    Raises:
        ValueError: the votes are negative or the runner-up has more.
    """
    if not leader >= runner_up >= 0:
        raise ValueError(f"votes {leader} and {runner_up}: give leader >= runner-up >= 0")
    throws = leader + runner_up + 1
    return Fraction(sum(math.comb(throws, heads) for heads in range(leader + 1)), 2**throws)


def beta_settled(leader: int, runner_up: int, level: float = 0.95) -> bool:
    """Decide whether `beta_confidence` reaches a level in [1/2, 1); repeated looks loosen it.

    Raises:
        ValueError: impossible votes, or a level that is always or never reached.
    """
    if not 0.5 <= level < 1:  # noqa: PLR2004 - a coin decides as well
        raise ValueError(f"level is {level}: give a probability in [0.5, 1)")
    return beta_confidence(leader, runner_up) >= Fraction(str(level))


def votes_needed(runner_up: int, level: float = 0.95) -> int:
    """Find the least v1 that settles against v2 votes; a wave draws up to it (at .95: 4 for 0)."""
    leader = runner_up
    while not beta_settled(leader, runner_up, level):
        leader += 1
    return leader


def lossless_settled(leader: int, runner_up: int, remaining: int) -> bool:
    """Decide whether `remaining` (>= 0) further votes cannot change the winner: v1 - v2 > them."""
    return leader - runner_up > remaining


# --- shared ----------------------------------------------------------------------------------


def _floored(logprobs: Sequence[float]) -> list[float]:
    for value in logprobs:
        if math.isnan(value) or value > TOLERANCE:
            raise ValueError(f"log-probability {value}: it must be a number of nats, at most 0")
    return [min(0.0, max(LOGPROB_FLOOR, value)) for value in logprobs]


def _probabilities(logprobs: Sequence[float]) -> list[float]:
    _floored(logprobs)
    probabilities = sorted((math.exp(min(value, 0.0)) for value in logprobs), reverse=True)
    total = math.fsum(probabilities)
    if total > 1 + TOLERANCE:
        raise ValueError(f"top-k probabilities sum to {total:.3f}: is one token reported twice?")
    return [p / total for p in probabilities] if total > 1 else probabilities


def _rest(probabilities: Sequence[float]) -> float:
    return max(0.0, 1.0 - math.fsum(probabilities))


def _entropy(probabilities: Sequence[float]) -> float:
    return max(0.0, -math.fsum(p * math.log(p) for p in probabilities if p > 0))


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / _at_least_one("the number of values", len(values))


def _at_least_one(name: str, value: int) -> int:
    if value < 1:
        raise ValueError(f"{name} is {value}: it must be at least 1")
    return value
