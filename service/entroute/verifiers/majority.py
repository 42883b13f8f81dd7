"""`majority`: each candidate's share of the votes over canonical answers."""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from entroute.answers import Answer, AnswerForm, extract, recognised_form, same
from entroute.evidence import Verdict
from entroute.tool_calls import PATH_PATTERN, canonical_tool_calls
from entroute.types import ChatRequest, Completion
from entroute.verifiers.parts import VerifierParts
from entroute.verifiers.symbolic import SymbolicEquality

_NO_ALGEBRA = frozenset({"code", "text"})  # "text" is what tool calls are written as

IgnoredPath = Annotated[str, StringConstraints(pattern=PATH_PATTERN, max_length=200)]


class MajorityConfig(BaseModel):
    """Score by how many samples give the same answer."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["majority"] = "majority"
    ignore: tuple[IgnoredPath, ...] = Field(
        default=(),
        max_length=32,
        description="Dotted paths of tool-call arguments that do not count in a vote, such as "
        "'timestamp' or 'items.*.id'; * is every key or every element of a list.",
    )

    def build(self, parts: VerifierParts) -> "Majority":
        """Return the verifier."""
        return Majority(parts.symbolic, self.ignore)


class Majority:
    """Scores a candidate by its answer's share of all candidates.

    An answer that cannot be read scores 0 and has no vote, but counts as a sample. Formulas that
    differ only in writing vote together where the symbolic check says so in time. Tool calls vote
    by name and canonical arguments, see `tool_calls.canonical_tool_calls`.

    Args:
        symbolic: Decides equality of formulas.
        ignore: Dotted paths of tool-call arguments that do not count.

    Source: self-consistency (2203.11171).
    """

    name = "majority"
    top_logprobs: int | None = None
    compares = True
    calls = 0

    def __init__(self, symbolic: SymbolicEquality, ignore: Sequence[str] = ()) -> None:
        self._symbolic = symbolic
        self._ignore = ignore

    async def score(
        self, request: ChatRequest, candidates: Sequence[Completion]
    ) -> tuple[Verdict, ...]:
        """Score by votes. See `Verifier.score`."""
        form = asked_form(request)
        kinds: list[Answer] = []
        answers: list[Answer | None] = []
        for candidate in candidates:
            answer = answer_of(candidate, form, self._ignore)
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
            if verdict is None and _NO_ALGEBRA.isdisjoint({answer.form, kind.form}):
                verdict = await self._symbolic.same(answer.canonical, kind.canonical)
            if verdict:
                return kind
        kinds.append(answer)
        return answer


def asked_form(request: ChatRequest) -> AnswerForm:
    """Return the answer form that the last user message asks for, "auto" if none is recognised."""
    return recognised_form(request.asked) or "auto"


def answer_of(candidate: Completion, form: AnswerForm, ignore: Sequence[str] = ()) -> Answer | None:
    """Return a candidate's answer: its tool calls where it has any, else what its text ends on.

    An answer that ran into its token limit counts only if it was stated before that.
    `ignore` are dotted paths of tool-call arguments that do not count.
    """
    if candidate.tool_calls:
        return Answer("text", canonical_tool_calls(candidate.tool_calls, ignore))
    cut = candidate.finish_reason == "length"
    return extract(candidate.content, form, cut=cut) or (
        extract(candidate.content, cut=cut) if form != "auto" else None
    )
