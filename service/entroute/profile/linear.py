"""Small linear models over named features: what a profile holds instead of pickled objects."""

from collections.abc import Mapping
from math import exp, log

from pydantic import BaseModel, ConfigDict

_SURE = 0.02

TASK = "task "
"""What features of the class of a task begin with."""


class Linear(BaseModel):
    """A weighted sum of named features; a feature that is absent counts 0."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    intercept: float = 0.0
    weights: Mapping[str, float] = {}

    def value(self, features: Mapping[str, float]) -> float:
        """Return intercept + sum of weight x feature, without bound."""
        weights = self.weights
        return self.intercept + sum(
            weight * features[name] for name, weight in weights.items() if name in features
        )

    def probability(self, features: Mapping[str, float]) -> float:
        """Return the logistic of `value`, in (0, 1)."""
        return sigmoid(self.value(features))


def sigmoid(value: float) -> float:
    """Return 1 / (1 + exp(-value)), in [0, 1], for any finite value."""
    if value >= 0:
        return 1 / (1 + exp(-value))
    small = exp(value)
    return small / (1 + small)


def logit(probability: float, least: float = _SURE) -> float:
    """Return ln(p / (1 - p)), with p kept within [least, 1 - least].

    By default within [.02, .98]: beyond, a fit on a few hundred prompts has seen nothing.
    """
    p = min(max(probability, least), 1 - least)
    return log(p / (1 - p))


def plan_features(
    p_right: Mapping[str, float], form: str | None, task: str | None = None
) -> dict[str, float]:
    """Return what plans are predicted from: each tier's logit P(right), the form, both, the class.

    Args:
        p_right: By tier, in [0, 1].
        form: The answer form that the prompt asks for, or None.
        task: The class of the task as the text has it, or None.
    """
    features = {f"logit {tier}": logit(p) for tier, p in p_right.items()}
    if form is not None:
        features |= {f"{form} {name}": value for name, value in features.items()}
        features[f"form {form}"] = 1.0
    if task is not None:
        features[f"{TASK}{task}"] = 1.0
    return features
