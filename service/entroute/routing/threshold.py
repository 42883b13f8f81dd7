"""`threshold`: easy prompts small, hard prompts large, the rest through a cascade."""

from collections.abc import Mapping
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from entroute.decisions import Decision, Estimate, Load
from entroute.protocols import Run, Strategy
from entroute.routing.plans import down_tiers, first_supported, refuse_quality, usable_tiers

VOTABLE = frozenset({"number", "choice", "boxed"})
"""Answer forms that votes can compare; programs are compared by what they do, not as text."""


class ThresholdConfig(BaseModel):
    """Two thresholds on difficulty."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["threshold"] = "threshold"
    easy_below: float = Field(
        default=0.1, ge=0, le=1, description="Below this difficulty one small sample will do."
    )
    hard_above: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="Above this difficulty the largest tier answers at once.",
    )
    middle: str = Field(default="cascade", description="Strategy for what lies between.")
    checkable: str = Field(
        default="reasc",
        description="Strategy between for prompts that ask for an answer votes can compare.",
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.easy_below > self.hard_above:
            raise ValueError("easy_below must not be above hard_above")
        return self

    @property
    def named(self) -> tuple[str, ...]:
        """Strategies it names, which must exist."""
        return (self.middle, self.checkable)

    def build(self, strategies: Mapping[str, Strategy]) -> "Threshold":
        """Return the policy."""
        return Threshold(self, strategies)


class Threshold:
    """Cuts difficulty into easy, middle and hard; an abstained estimate counts as middle.

    Args:
        config: The thresholds, and the strategies between them, started on the cheapest tier.
        strategies: All strategies by name.
    """

    def __init__(self, config: ThresholdConfig, strategies: Mapping[str, Strategy]) -> None:
        self._config = config
        self._strategies = strategies

    def decide(self, run: Run, estimate: Estimate, load: Load) -> Decision:
        """Compare the difficulty with the thresholds. See `Policy.decide`."""
        refuse_quality(run)
        up = usable_tiers(run)
        cheapest, largest = up[0], up[-1]
        config, difficulty = self._config, estimate.difficulty
        easy, hard = (cheapest, "single"), (largest, "single")
        between = [(cheapest, config.middle)]
        if estimate.checkable in VOTABLE:
            between.insert(0, (cheapest, config.checkable))
        if difficulty is None:
            plans, reason = (*between, hard), "difficulty unknown"
        elif difficulty < config.easy_below:
            plans, reason = (easy, hard), f"difficulty {difficulty:.2f} < {config.easy_below:g}"
        elif difficulty > config.hard_above:
            plans, reason = (hard, easy), f"difficulty {difficulty:.2f} > {config.hard_above:g}"
        else:
            plans, reason = (*between, hard), f"difficulty {difficulty:.2f} lies between"
        tier, name = first_supported(run, plans, self._strategies)
        others = (easy, *between, hard)
        alternatives = tuple(f"{n} on {t.name}" for t, n in others if (t, n) != (tier, name))
        return Decision(
            tier.name,
            name,
            f"{reason} ({estimate.source}: {estimate.reason})",
            alternatives=alternatives,
            degraded=tuple(f"tier:{tier.name}" for tier in down_tiers(run)),
        )
