"""`lexical`: difficulty from the look of the whole conversation, in microseconds.

A rough first guess: keyword scores are known to rank prompts badly, so the thresholds that act on
it should be far apart and leave the middle to the probe.
"""

import re
from math import exp, log1p
from typing import Literal

from pydantic import BaseModel, ConfigDict

from entroute.answers import recognised_form
from entroute.decisions import Estimate
from entroute.profile.text_model import TextModel
from entroute.protocols import Run

_MAX_CHARACTERS = 100_000
_CUES: tuple[tuple[str, float, re.Pattern[str]], ...] = (
    ("proof or derivation", 1.6, re.compile(r"(?i)\b(?:prove|derive|theorem|lemma|induction)\b")),
    (
        "formulas",
        1.2,
        re.compile(r"(?i)\\(?:frac|sum|int|sqrt|lim)|\bintegral\b|\bmatri(?:x|ces)\b"),
    ),
    (
        "program",
        0.9,
        re.compile(r"(?i)```|\bdef \w+\(|\b(?:implement|algorithm|function|class)\b"),
    ),
    (
        "conditions",
        0.5,
        re.compile(r"(?i)\b(?:at least|at most|unless|remaining|percent|twice|each)\b"),
    ),
    (
        "comparison",
        0.4,
        re.compile(r"(?i)\b(?:compare|contrast|trade-?offs?|analy[sz]e|optimi[sz]e)\b"),
    ),
)
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_BIAS, _PER_LOG_WORD, _PER_LOG_NUMBER = -3.4, 0.5, 0.6


class LexicalConfig(BaseModel):
    """Guess from length, numbers and cues."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["lexical"] = "lexical"

    def build(self, model: TextModel | None = None) -> "Lexical":
        """Return the estimator; it needs no model."""
        return Lexical()


class Lexical:
    """Scores length, numbers and cues of the whole conversation, not of its last turn.

    Difficulty is a logistic of log(1 + words), log(1 + numbers) and the cues present; the weights
    were set by hand and are no probability of anything. Abstains without text.
    """

    name = "lexical"

    async def estimate(self, run: Run) -> Estimate:
        """Guess from the text. See `Estimator.estimate`."""
        return self.read(run.request.text[-_MAX_CHARACTERS:], run.request.asked)

    def read(self, text: str, asked: str | None = None) -> Estimate:
        """Return the estimate of a text, difficulty in (0, 1).

        Args:
            text: Of the whole conversation.
            asked: Its last question, which says what form the answer has; the text when left out.
        """
        words = len(text.split())
        if words == 0:
            return Estimate(None, self.name, "there is no text")
        numbers = len(_NUMBER.findall(text))
        found = [(name, weight) for name, weight, cue in _CUES if cue.search(text)]
        score = _BIAS + _PER_LOG_WORD * log1p(words) + _PER_LOG_NUMBER * log1p(numbers)
        score += sum(weight for _, weight in found)
        cues = "".join(f", {name}" for name, _ in found)
        return Estimate(
            difficulty=1 / (1 + exp(-score)),
            source=self.name,
            reason=f"{words} words, {numbers} numbers{cues}",
            checkable=recognised_form(text if asked is None else asked),
        )
