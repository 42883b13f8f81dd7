"""`self_evaluation`: P(True), how probable a model finds it that an answer is right."""

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from entroute.evidence import Verdict
from entroute.protocols import Run, Tier
from entroute.types import ChatRequest, Completion, TokenLogprob
from entroute.uncertainty import p_true
from entroute.verifiers.judging import (
    abstained,
    asked,
    chat_options,
    each_once,
    named_tier,
    text_of,
)
from entroute.verifiers.parts import VerifierParts

TOP_LOGPROBS = 20
_TOKENS = 2  # some tokenisers begin an answer with a lone space
_QUESTION = "Is the proposed answer: True or False?"
_INSTRUCTION = "Answer with one word, True or False."


class SelfEvaluationConfig(BaseModel):
    """Score by asking a tier whether the answer is true."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["self_evaluation"] = "self_evaluation"
    tier: str | None = Field(
        default=None,
        min_length=1,
        max_length=64,
        description="Tier to ask; left out, each candidate's own.",
    )

    def build(self, parts: VerifierParts) -> "SelfEvaluation":
        """Return the verifier.

        Raises:
            InvalidRequest: The request has no such tier.
        """
        tier = None if self.tier is None else named_tier(parts.run, self.tier)
        return SelfEvaluation(parts.run, tier)


class SelfEvaluation:
    """Scores P(True) / (P(True) + P(False)) of one short call a distinct candidate.

    Abstains where the call fails, the candidate is empty or neither word is among the
    alternatives.

    Args:
        run: The request; its ledger is charged.
        tier: Tier to ask, None for each candidate's own.

    Source: self-evaluation, P(True) (2207.05221).
    """

    name = "self_evaluation"
    top_logprobs: int | None = None
    compares = False
    calls = 1

    def __init__(self, run: Run, tier: Tier | None) -> None:
        self._run = run
        self._tier = tier
        self._known: dict[tuple[str, str], Verdict] = {}

    async def score(
        self, request: ChatRequest, candidates: Sequence[Completion]
    ) -> tuple[Verdict, ...]:
        """Ask about all distinct candidates concurrently. See `Verifier.score`."""

        async def judge(key: tuple[str, str]) -> Verdict:
            return await self._judge(request, *key)

        keys = [(text_of(c), self._tier_of(c)) for c in candidates]
        return await each_once(keys, judge, self._known)

    def _tier_of(self, candidate: Completion) -> str:
        return candidate.tier if self._tier is None else self._tier.name

    async def _judge(self, request: ChatRequest, text: str, name: str) -> Verdict:
        tier = next((tier for tier in self._run.tiers if tier.name == name), None)
        if tier is None:
            return abstained(f"its tier '{name}' is none of this request's")
        if not text.strip():
            return abstained("the candidate is empty")
        question = _question(request, text)
        answer = await asked(self._run, tier, question, top_logprobs=TOP_LOGPROBS)
        if isinstance(answer, Verdict):
            return answer
        score = _read(answer.logprobs)
        if score is None:
            return abstained(f"tier '{name}' found neither True nor False likely")
        return Verdict(score, f"P(True) {score:.3f} by tier '{name}'")


def _question(request: ChatRequest, text: str) -> ChatRequest:
    """Return the question whether `text` answers the request; a completion if that was asked."""
    body = f"Question: {request.text}\n\nProposed answer: {text}\n\n{_QUESTION}"
    if request.prompt is not None:
        prompt = f"{body}\nThe proposed answer is:"
        return ChatRequest(request.model, prompt=prompt, max_tokens=_TOKENS, temperature=0.0)
    return ChatRequest(
        request.model,
        messages=({"role": "user", "content": f"{body} {_INSTRUCTION}"},),
        max_tokens=_TOKENS,
        temperature=0.0,
        extra=chat_options(request),
    )


def _read(tokens: Sequence[TokenLogprob]) -> float | None:
    """Return P(True) at the first token that is one of both words, else where one was likely."""
    found: list[tuple[bool, float]] = []
    for token in tokens:
        try:
            tops = [(str(t["token"]), float(t["logprob"])) for t in token.get("top_logprobs") or ()]
            score = p_true(tops)
            said = p_true([(str(token["token"]), 0.0)]) is not None
        except (AttributeError, KeyError, TypeError, ValueError):
            continue
        if score is not None:
            found.append((said, score))
    return max(found, key=lambda reading: reading[0])[1] if found else None
