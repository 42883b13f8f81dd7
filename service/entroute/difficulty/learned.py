"""`learned`: difficulty = 1 - calibrated P(right) of the cheapest tier, from the text alone."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from entroute.answers import recognised_form
from entroute.decisions import Estimate
from entroute.profile.text_model import TextModel
from entroute.protocols import Run


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
        return self.read(run.request.text, run.request.asked)

    def read(self, text: str, asked: str | None = None) -> Estimate:
        """Return the estimate of a text, difficulty in (0, 1).

        Args:
            text: Of the whole conversation.
            asked: Its last question, which says what form the answer has; the text when left out.
        """
        form = recognised_form(text if asked is None else asked)
        if self._model is None:
            return self._abstain("no profile is loaded", form)
        if not text.strip():
            return Estimate(None, self.name, "there is no text")
        found = self._model.predict(text)
        if found.off_distribution:
            return self._abstain("the text is unlike those the profile was fitted on", form)
        tier, p_right = next(iter(found.p_right.items()))
        return Estimate(
            difficulty=1 - p_right,
            source=self.name,
            reason=f"P(right) of {tier} {p_right:.2f}",  # no word of the text: it is logged
            p_right=found.p_right,
            checkable=form,
            task=found.task,
            output_tokens=found.output_tokens,
            features=found.features,
        )

    def _abstain(self, reason: str, form: str | None) -> Estimate:
        return Estimate(None, self.name, reason, checkable=form)
