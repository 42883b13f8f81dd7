"""`weighted`: several verifiers together, each with a weight."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from entroute.errors import InvalidRequest
from entroute.evidence import Verdict
from entroute.protocols import Verifier
from entroute.types import ChatRequest, Completion
from entroute.verifiers.kinds import build_simple
from entroute.verifiers.parts import VerifierParts


class WeightedPart(BaseModel):
    """One verifier of a combination."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    verifier: dict[str, Any] = Field(description="Its configuration; any kind but weighted.")
    weight: float = Field(default=1.0, ge=0, le=100, description="How much it counts.")


class WeightedConfig(BaseModel):
    """Score by the weighted mean of several verifiers."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["weighted"] = "weighted"
    parts: tuple[WeightedPart, ...] = Field(
        min_length=1, max_length=8, description="The verifiers; one weight must be above 0."
    )
    quorum: float = Field(
        default=0.5, ge=0, le=1, description="Least share of all weight that must have judged."
    )

    def build(self, parts: VerifierParts) -> "Weighted":
        """Return the verifier.

        Raises:
            InvalidRequest: All weights are 0, or one verifier is wrong; `param` is its path.
        """
        if not any(part.weight for part in self.parts):
            raise InvalidRequest("One weight must be above 0.", param="entroute.verifier.parts")
        built = [
            build_simple(part.verifier, parts, f"entroute.verifier.parts.{i}.verifier")
            for i, part in enumerate(self.parts)
        ]
        weights = [part.weight for part in self.parts]
        return Weighted(
            [Weighed(v, w) for v, w in zip(built, weights, strict=True) if w > 0], self.quorum
        )


@dataclass(frozen=True, slots=True)
class Weighed:
    """A verifier and its weight, above 0."""

    verifier: Verifier
    weight: float


class Weighted:
    """Scores the weighted mean of the verifiers that did not abstain.

    Abstains on a candidate that verifiers of less than `quorum` of all weight have judged, or
    none has. Its verdict has failed, abstained or not, where one of theirs has: it is less than
    was asked for. It compares candidates where one of them does. All judge concurrently; one of
    weight 0 is not asked.

    Args:
        parts: At least one.
        quorum: In [0, 1].
    """

    name = "weighted"

    def __init__(self, parts: Sequence[Weighed], quorum: float) -> None:
        self._parts = tuple(parts)
        self._quorum = quorum
        wanted = [part.verifier.top_logprobs for part in parts]
        self.top_logprobs = max((k for k in wanted if k is not None), default=None)
        self.calls = sum(part.verifier.calls for part in parts)
        self.compares = any(part.verifier.compares for part in parts)

    async def score(
        self, request: ChatRequest, candidates: Sequence[Completion]
    ) -> tuple[Verdict, ...]:
        """Combine each candidate's verdicts. See `Verifier.score`."""
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(_scored(part.verifier, request, candidates))
                for part in self._parts
            ]
        by_candidate = zip(*(task.result() for task in tasks), strict=True)
        return tuple(self._combined(verdicts) for verdicts in by_candidate)

    def _combined(self, verdicts: Sequence[Verdict]) -> Verdict:
        pairs = list(zip(self._parts, verdicts, strict=True))
        judged = [(part.weight, verdict.score) for part, verdict in pairs if not verdict.abstained]
        weight = fsum(w for w, _ in judged)
        reason = "; ".join(_line(part, verdict) for part, verdict in pairs)
        failed = any(verdict.failed for verdict in verdicts)
        if not judged or weight < self._quorum * fsum(part.weight for part in self._parts):
            return Verdict(0.0, f"too few judged: {reason}", abstained=True, failed=failed)
        answer = next((v.answer for v in verdicts if v.answer is not None), None)
        mean = fsum(w * score for w, score in judged) / weight
        return Verdict(min(1.0, max(0.0, mean)), reason, answer=answer, failed=failed)


async def _scored(
    verifier: Verifier, request: ChatRequest, candidates: Sequence[Completion]
) -> tuple[Verdict, ...]:
    return await verifier.score(request, candidates)


def _line(part: Weighed, verdict: Verdict) -> str:
    said = "abstained" if verdict.abstained else f"{verdict.score:.2f}"
    return f"{part.verifier.name} (weight {part.weight:g}) {said}: {verdict.reason}"
