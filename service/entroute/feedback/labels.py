"""Outcome labels: what turned out right, and the bounded windows that learning looks back on."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from entroute.feedback.decided import Decided

LabelResult = Literal["accepted", "replaced", "no_plan", "unknown", "foreign", "invalid"]
"""What became of a label; a closed set, also in the metrics."""

LABEL_RESULTS: tuple[LabelResult, ...] = (
    "accepted",
    "replaced",
    "no_plan",
    "unknown",
    "foreign",
    "invalid",
)
Share = Annotated[float, Field(ge=0, le=1)]
MOST_CHANGES = 5
"""How often the label of one answer may change."""

MOST_PLANS = 64
"""Plans whose labels are kept; a profile has about eight."""


@dataclass(frozen=True, slots=True)
class Label:
    """One label and what had been predicted.

    Attributes:
        key: Names the answer.
        plan: The plan that made it.
        predicted: The profile's own P(right) in [0, 1], uncorrected.
        served: P(right) in [0, 1] as the decision said it.
        propensity: Probability in (0, 1] with which the plan was chosen.
        value: How right the answer was in [0, 1]; 1 right, 0 wrong.
        at: Seconds since the epoch at which the label came.
        replaces: Whether the answer had another label before.
    """

    key: str
    plan: str
    predicted: Share
    served: Share
    propensity: Annotated[float, Field(gt=0, le=1)]
    value: Share
    at: float
    replaces: bool = False


def label_of(decided: Decided, value: float, at: float, profile: str) -> Label | None:
    """Return the label that an answer's prediction learns from.

    Returns:
        None where it teaches nothing: the answer came from the cache, no plan was chosen or it
        claimed no probability, or another profile predicted.
    """
    quality = decided.profile_quality
    if decided.cached or not decided.plan or quality is None or decided.profile != profile:
        return None
    served = quality if decided.predicted_quality is None else decided.predicted_quality
    return Label(
        decided.key,
        decided.plan,
        quality,
        served,
        decided.propensity,
        value,
        at,
        replaces=decided.label is not None,
    )


class Window:
    """The last labels of each plan, and the last of all.

    Args:
        size: Labels kept a plan, and over all plans.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._all: OrderedDict[str, Label] = OrderedDict()
        self._by_plan: OrderedDict[str, OrderedDict[str, Label]] = OrderedDict()

    @property
    def recent(self) -> tuple[Label, ...]:
        """The last labels over all plans, oldest first."""
        return tuple(self._all.values())

    @property
    def plans(self) -> tuple[str, ...]:
        """Plans that have labels."""
        return tuple(self._by_plan)

    def of(self, plan: str) -> tuple[Label, ...]:
        """Return the last labels of a plan, oldest first."""
        return tuple(self._by_plan.get(plan, {}).values())

    def held(self) -> tuple[Label, ...]:
        """Return every label once, in the order they came."""
        labels = {label.key: label for plan in self._by_plan.values() for label in plan.values()}
        labels.update(self._all)
        return tuple(sorted(labels.values(), key=lambda label: label.at))

    def find(self, label: Label) -> Label | None:
        """Return the label that the same answer has so far."""
        own = self._by_plan.get(label.plan)
        return None if own is None else own.get(label.key)

    def add(self, label: Label) -> None:
        """Keep a label, in place of the one that its answer had."""
        own = self._by_plan.setdefault(label.plan, OrderedDict())
        self._by_plan.move_to_end(label.plan)
        again = label.key in own
        own[label.key] = label
        if not again or label.key in self._all:
            self._all[label.key] = label
        for held in (own, self._all):
            while len(held) > self._size:
                held.popitem(last=False)
        while len(self._by_plan) > MOST_PLANS:
            self._by_plan.popitem(last=False)
