"""`exact`: equality with an answer that the client knows."""

import re
from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from entroute.answers import Answer, extract, same
from entroute.evidence import Verdict
from entroute.types import ChatRequest, Completion
from entroute.verifiers.majority import answer_of
from entroute.verifiers.parts import VerifierParts
from entroute.verifiers.symbolic import SymbolicEquality

_SENTENCE = re.compile(r"[A-Za-z]{2,}\s|\s[A-Za-z]{2,}")


class ExactConfig(BaseModel):
    """Score 1 for the reference answer, 0 for any other."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["exact"] = "exact"
    answer: str = Field(
        min_length=1, max_length=1000, description="Number, choice letter, LaTeX or text."
    )

    def build(self, parts: VerifierParts) -> "Exact":
        """Return the verifier."""
        return Exact(self.answer, parts.symbolic)


class Exact:
    """Scores equality with a reference: numbers by value, choices by letter, LaTeX by algebra.

    Args:
        reference: The right answer, in any writing that `answers.extract` reads.
        symbolic: Decides equality of formulas.
    """

    name = "exact"
    top_logprobs: int | None = None
    compares = False
    calls = 0

    def __init__(self, reference: str, symbolic: SymbolicEquality) -> None:
        self._symbolic = symbolic
        self._reference = read_reference(reference)
        self._words = extract(reference, "text")

    async def score(
        self,
        request: ChatRequest,
        candidates: Sequence[Completion],
    ) -> tuple[Verdict, ...]:
        """Score each candidate on its own. See `Verifier.score`."""
        return tuple([await self._judge(candidate) for candidate in candidates])

    async def _judge(self, candidate: Completion) -> Verdict:
        if self._words is not None and extract(candidate.content, "text") == self._words:
            return Verdict(1.0, "equals the reference", answer=self._reference.canonical)
        form = "auto" if self._reference.form == "boxed" else self._reference.form
        answer = answer_of(candidate, form)
        if answer is None:
            return Verdict(0.0, "no answer can be read")
        verdict = same(answer, self._reference)
        if verdict is None:
            verdict = await self._symbolic.same(answer.canonical, self._reference.canonical)
        if verdict is None:
            busy = self._symbolic.gave_up(answer.canonical, self._reference.canonical)
            words = "nobody was free to compare" if busy else "equality cannot be decided"
            return Verdict(0.0, words, abstained=True, answer=answer.canonical, failed=busy)
        words = "equals the reference" if verdict else "differs from the reference"
        return Verdict(float(verdict), words, answer=answer.canonical)


def read_reference(reference: str) -> Answer:
    r"""Return a reference in canonical form.

    It is the answer itself, so it is read as if a model had boxed it: `2\sqrt{2}` and `x^2+1` are
    formulas, not the numbers they hold. Only a sentence is searched for the answer it ends on.
    """
    boxed = extract(rf"\boxed{{{reference}}}")
    prose = "\\" not in reference and _SENTENCE.search(reference)
    found = extract(reference) if prose or "\\boxed" in reference or "```" in reference else None
    return found or boxed or Answer("text", reference.strip())
