"""What a sample's tokens say of it, in a few numbers that its row keeps."""

import math
from collections.abc import Sequence
from dataclasses import replace
from hashlib import blake2b

from entroute.confidence import tail_confidence, token_entropy
from entroute.evaluation.samples import Entropy, Sample
from entroute.types import TokenLogprob
from entroute.uncertainty import mean_logprob

DECIMALS = 4
"""Of nats that are kept."""

_SHARE = 0.9


def digest_of(text: str) -> str:
    """Return the blake2b digest of a conversation's text (`ChatRequest.text`), 32 hex digits."""
    return blake2b(text.encode(errors="surrogatepass"), digest_size=16).hexdigest()


def measured(sample: Sample) -> Sample:
    """Return a sample with digest, entropy and mean log-probability of what it holds."""
    return replace(
        sample,
        digest=digest_of(sample.message),
        entropy=entropy_of(sample.token_logprobs),
        mean_logprob=_rounded(mean_logprob(sample.logprobs)) if sample.logprobs else None,
    )


def entropy_of(tokens: Sequence[TokenLogprob]) -> Entropy | None:
    """Return the summary of the tokens' entropies, None where there are no tokens."""
    if not tokens:
        return None
    entropies = sorted(token_entropy(token) for token in tokens)
    tail = tail_confidence(tokens)
    return Entropy(
        mean=_rounded(math.fsum(entropies) / len(entropies)),
        p90=_rounded(entropies[math.ceil(_SHARE * len(entropies)) - 1]),
        max=_rounded(entropies[-1]),
        tail=None if tail is None else _rounded(tail),
    )


def _rounded(nats: float) -> float:
    return round(nats, DECIMALS)
