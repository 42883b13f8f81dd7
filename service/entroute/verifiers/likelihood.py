"""`likelihood`: how probable the model found its own sample."""

import sys
from collections.abc import Sequence
from math import exp
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from entroute.evidence import Verdict
from entroute.types import ChatRequest, Completion, chosen_logprob
from entroute.uncertainty import mean_logprob
from entroute.verifiers.judging import abstained
from entroute.verifiers.parts import VerifierParts


class LikelihoodConfig(BaseModel):
    """Score by the probability of each sample's own tokens."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["likelihood"] = "likelihood"
    normalise: bool = Field(
        default=True,
        description="Average over tokens; false gives the whole sequence's probability, a weight "
        "for votes that is tiny for long answers.",
    )

    def build(self, parts: VerifierParts) -> "Likelihood":
        """Return the verifier."""
        return Likelihood(normalise=self.normalise)


class Likelihood:
    """Scores exp(mean log-probability) of a sample's tokens, in (0, 1], higher is likelier.

    Without normalising it is exp(sum), never below the smallest normal float. Abstains without
    log-probabilities.

    Args:
        normalise: Whether to average over tokens.

    Source: sharpening (2412.01951), length-normalised self-reward log pi(y | x); the sequence
    probability as weight of votes is RPC's (2510.15444).
    """

    name = "likelihood"
    top_logprobs: int | None = 0
    compares = False
    calls = 0

    def __init__(self, *, normalise: bool) -> None:
        self._normalise = normalise

    async def score(
        self, request: ChatRequest, candidates: Sequence[Completion]
    ) -> tuple[Verdict, ...]:
        """Score each candidate on its own. See `Verifier.score`."""
        return tuple(self._judge(candidate) for candidate in candidates)

    def _judge(self, candidate: Completion) -> Verdict:
        if not candidate.logprobs:
            return abstained("the worker sent no log-probabilities")
        try:
            mean = mean_logprob([chosen_logprob(token) for token in candidate.logprobs])
        except (KeyError, TypeError, ValueError):
            return abstained("the worker's log-probabilities are no log-probabilities")
        tokens = len(candidate.logprobs)
        nats = mean if self._normalise else mean * tokens
        return Verdict(
            max(exp(nats), sys.float_info.min),
            f"mean log-probability {mean:.3f} of {tokens} tokens",
        )
