"""`majority`: each candidate's share of the votes over canonical answers."""

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict

from entroute.answers import (
    Answer,
    AnswerForm,
    canonical_tool_calls,
    extract,
    recognised_form,
    same,
)
from entroute.evidence import Verdict
from entroute.types import ChatRequest, Completion, message_text
from entroute.verifiers.parts import VerifierParts
from entroute.verifiers.symbolic import SymbolicEquality


class MajorityConfig(BaseModel):
    """Score by how many samples give the same answer."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["majority"] = "majority"

    def build(self, parts: VerifierParts) -> "Majority":
        """Return the verifier."""
        return Majority(parts.symbolic)


class Majority:
    """Scores a candidate by its answer's share of all candidates.

    An answer that cannot be read scores 0 and has no vote, but counts as a sample. Formulas that
    differ only in writing vote together where the symbolic check says so in time.

    Args:
        symbolic: Decides equality of formulas.

    Source: self-consistency (2203.11171).
    """

    name = "majority"
    top_logprobs: int | None = None

    def __init__(self, symbolic: SymbolicEquality) -> None:
        self._symbolic = symbolic

    async def score(
        self, request: ChatRequest, candidates: Sequence[Completion]
    ) -> tuple[Verdict, ...]:
        """Score by votes. See `Verifier.score`."""
        form = asked_form(request)
        kinds: list[Answer] = []
        answers: list[Answer | None] = []
        for candidate in candidates:
            answer = answer_of(candidate, form)
            answers.append(answer and await self._representative(answer, kinds))
        total = len(candidates)
        return tuple(
            Verdict(0.0, "no answer can be read", abstained=True)
            if answer is None
            else Verdict(
                answers.count(answer) / total,
                f"{answers.count(answer)} of {total} samples",
                answer=answer.canonical,
            )
            for answer in answers
        )

    async def _representative(self, answer: Answer, kinds: list[Answer]) -> Answer:
        """Return the first seen answer equal to this one; a new kind represents itself."""
        for kind in kinds:
            verdict = same(answer, kind)
            if verdict is None and "code" not in {answer.form, kind.form}:
                verdict = await self._symbolic.same(answer.canonical, kind.canonical)
            if verdict:
                return kind
        kinds.append(answer)
        return answer


def asked_form(request: ChatRequest) -> AnswerForm:
    """Return the answer form that the last user message asks for, "auto" if none is recognised."""
    users = [m for m in request.messages if m.get("role") == "user"]
    prompt = message_text(users[-1]) if users else request.text
    return recognised_form(prompt) or "auto"


def answer_of(candidate: Completion, form: AnswerForm) -> Answer | None:
    """Return a candidate's answer: its tool calls where it has any, else what its text ends on."""
    if candidate.tool_calls:
        return Answer("text", canonical_tool_calls(candidate.tool_calls))
    return extract(candidate.content, form) or (
        extract(candidate.content) if form != "auto" else None
    )
