"""`confidence`: how sure the model was of its own tokens."""

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from entroute.confidence import GATE_TOP_LOGPROBS, confidence
from entroute.evidence import Verdict
from entroute.types import ChatRequest, Completion
from entroute.verifiers.parts import VerifierParts


class ConfidenceConfig(BaseModel):
    """Score by the least certain stretch of each sample's own log-probabilities."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["confidence"] = "confidence"
    window: int = Field(
        default=16, ge=1, le=4096, description="Tokens over which entropy is averaged."
    )

    def build(self, parts: VerifierParts) -> "Confidence":
        """Return the verifier."""
        return Confidence(self.window)


class Confidence:
    """Scores exp(-H) of the least certain window; abstains without log-probabilities.

    Args:
        window: Tokens over which entropy is averaged.

    Source: see `entroute.confidence.confidence`.
    """

    name = "confidence"
    top_logprobs: int | None = GATE_TOP_LOGPROBS
    compares = False
    calls = 0

    def __init__(self, window: int) -> None:
        self._window = window

    async def score(
        self,
        request: ChatRequest,
        candidates: Sequence[Completion],
    ) -> tuple[Verdict, ...]:
        """Score each candidate on its own. See `Verifier.score`."""
        return tuple(self._judge(candidate) for candidate in candidates)

    def _judge(self, candidate: Completion) -> Verdict:
        seen = confidence(candidate.logprobs, self._window)
        if seen is None:
            return Verdict(0.0, "the worker sent no log-probabilities", abstained=True)
        return Verdict(seen, f"least certain window of {self._window} tokens")
