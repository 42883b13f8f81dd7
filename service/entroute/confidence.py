"""How sure a model was of a run of tokens: one number in [0, 1] for gates, probes and verdicts."""

from collections.abc import Sequence
from math import exp

from entroute.types import TokenLogprob, chosen_logprob, top_logprobs
from entroute.uncertainty import bottom_mean, entropy_lower, token_confidence, window_means

GATE_TOP_LOGPROBS = 5
"""Alternatives a token to ask for: entropy's lower bound changes little beyond five."""

_NO_NUMBER = (AttributeError, KeyError, TypeError, ValueError)
"""What reading a log-probability raises where a worker sent something else."""


def token_entropy(token: TokenLogprob) -> float:
    """Return a token's entropy in nats, a lower bound.

    Its surprisal where no alternatives came, or where they cannot be probabilities; 0 where that
    is no number either: a worker that reports nonsense makes a gate less sharp, it never fails a
    request.
    """
    try:
        top = top_logprobs(token)
        return entropy_lower(top) if top else _surprisal(token)
    except _NO_NUMBER:
        return _surprisal(token)


def _surprisal(token: TokenLogprob) -> float:
    try:
        return -min(0.0, chosen_logprob(token))
    except _NO_NUMBER:
        return 0.0


def confidence(tokens: Sequence[TokenLogprob], window: int) -> float | None:
    """Return exp(-H), H the mean entropy of the least certain window of `window` tokens.

    The reciprocal of that window's perplexity under the model's own distribution: 1 when every
    token was certain, 1/k when the model hesitated between k equal choices throughout. A run
    shorter than a window is one window. None when there are no tokens.

    Source: least window confidence after DeepConf (2508.15260), with entropy in place of C_t.
    """
    if not tokens:
        return None
    entropies = [token_entropy(token) for token in tokens]
    return exp(-max(window_means(entropies, min(window, len(entropies)))))


def tail_confidence(tokens: Sequence[TokenLogprob], fraction: float = 0.1) -> float | None:
    """Return the mean C_t of an answer's least certain tokens: nats, HIGHER is more certain.

    Over the `GATE_TOP_LOGPROBS` most probable alternatives of each token, since C_t depends on
    their number. None where no token has alternatives, or where they are no probabilities.

    Source: ReASC's bottom-10% signal (2601.02970), with DeepConf's C_t (2508.15260) in place of
    self-certainty, which needs the whole vocabulary.
    """
    try:
        ranked = [sorted(top_logprobs(token), reverse=True) for token in tokens]
        seen = [token_confidence(top[:GATE_TOP_LOGPROBS]) for top in ranked if top]
    except _NO_NUMBER:
        return None
    return bottom_mean(seen, fraction) if seen else None
