"""`learned`: difficulty = 1 - calibrated P(right) of the cheapest tier, from the text alone."""

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict

from entroute.answers import recognised_form
from entroute.decisions import Estimate
from entroute.profile.text_model import TextModel
from entroute.protocols import Run

_NAMED = 3


class LearnedConfig(BaseModel):
    """Predict from the profile's model of texts."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["learned"] = "learned"

    def build(self, model: TextModel | None) -> "Learned":
        """Return the estimator.

        Args:
            model: The profile's; without one every estimate abstains.
        """
        return Learned(model)


class Learned:
    """Predicts each tier's success, the class of the task and the answer's length.

    Abstains without a profile, without text, and on texts unlike those the profile was fitted on:
    then only the form of the answer is told.

    Args:
        model: The profile's, or None.
    """

    name = "learned"

    def __init__(self, model: TextModel | None) -> None:
        self._model = model

    async def estimate(self, run: Run) -> Estimate:
        """Predict from the whole conversation. See `Estimator.estimate`."""
        return self.read(run.request.text)

    def read(self, text: str) -> Estimate:
        """Return the estimate of a text, difficulty in (0, 1)."""
        if self._model is None:
            return self._abstain("no profile is loaded", text)
        if not text.strip():
            return Estimate(None, self.name, "there is no text")
        found = self._model.predict(text)
        if found.off_distribution:
            return self._abstain("the text is unlike those the profile was fitted on", text)
        tier, p_right = next(iter(found.p_right.items()))
        return Estimate(
            difficulty=1 - p_right,
            source=self.name,
            reason=f"P(right) of {tier} {p_right:.2f}{_named(found.features)}",
            p_right=found.p_right,
            checkable=recognised_form(text),
            task=found.task,
            output_tokens=found.output_tokens,
            features=found.features,
        )

    def _abstain(self, reason: str, text: str) -> Estimate:
        return Estimate(None, self.name, reason, checkable=recognised_form(text))


def _named(features: Sequence[tuple[str, float]]) -> str:
    strongest = features[:_NAMED]
    harder = ", ".join(f"'{name}'" for name, contribution in strongest if contribution > 0)
    easier = ", ".join(f"'{name}'" for name, contribution in strongest if contribution < 0)
    return (harder and f"; harder for {harder}") + (easier and f"; easier for {easier}")
