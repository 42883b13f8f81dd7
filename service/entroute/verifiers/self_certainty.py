"""`self_certainty`: Borda weights for votes, by how certain each sample's tokens were."""

from collections.abc import Sequence
from math import fsum
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from entroute.evidence import Verdict
from entroute.types import ChatRequest, Completion, top_logprobs
from entroute.uncertainty import borda_weights, token_confidence
from entroute.verifiers.judging import abstained
from entroute.verifiers.parts import VerifierParts

TOP_LOGPROBS = 20
"""Alternatives a token that C_t averages; it depends on their number, so no more are read."""


class SelfCertaintyConfig(BaseModel):
    """Weigh samples by the rank of their certainty among all samples."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["self_certainty"] = "self_certainty"
    power: float = Field(
        default=1.0, ge=0, le=10, description="How steeply weights fall with rank; 0 is no weight."
    )

    def build(self, parts: VerifierParts) -> "SelfCertainty":
        """Return the verifier."""
        return SelfCertainty(self.power)


class SelfCertainty:
    """Scores ((N - rank + 1) / N)^power over the N candidates that it can rank, rank 1 best.

    Ranked by the mean of C_t over tokens; equals share the better rank. Abstains where no token
    has alternatives.

    Args:
        power: 0 or more; 0 gives everyone 1.

    Source: Borda voting by self-certainty (2502.18581), with C_t of DeepConf (2508.15260) in its
    place, since an engine reports a top-k and not the whole vocabulary.
    """

    name = "self_certainty"
    top_logprobs: int | None = TOP_LOGPROBS
    compares = True
    calls = 0

    def __init__(self, power: float) -> None:
        self._power = power

    async def score(
        self, request: ChatRequest, candidates: Sequence[Completion]
    ) -> tuple[Verdict, ...]:
        """Rank all candidates. See `Verifier.score`."""
        seen = [_certainty(candidate) for candidate in candidates]
        known = [value for value in seen if value is not None]
        ranks = [1 + sum(other > value for other in known) for value in known]
        best = float(len(known)) ** self._power
        scored = iter(zip(ranks, borda_weights(ranks, self._power), strict=True))
        verdicts = []
        for value in seen:
            if value is None:
                verdicts.append(abstained("the worker sent no alternatives of its tokens"))
                continue
            rank, weight = next(scored)
            reason = f"rank {rank} of {len(known)}, mean C_t {value:.2f}"
            verdicts.append(Verdict(weight / best, reason))
        return tuple(verdicts)


def _certainty(candidate: Completion) -> float | None:
    """Return the mean C_t of a sample's tokens, in nats, or None where it cannot be known."""
    try:
        ranked = [sorted(top_logprobs(token), reverse=True) for token in candidate.logprobs]
        seen = [token_confidence(top[:TOP_LOGPROBS]) for top in ranked if top]
    except (AttributeError, KeyError, TypeError, ValueError):
        return None
    return fsum(seen) / len(seen) if seen else None
