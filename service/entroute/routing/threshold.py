"""`threshold`: easy prompts small, hard prompts large, the rest through a cascade."""

from collections.abc import Mapping
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from entroute.evidence import Decision, Estimate, Load
from entroute.protocols import Run, Strategy
from entroute.routing.plans import first_supported, refuse_quality, usable_tiers


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

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.easy_below > self.hard_above:
            raise ValueError("easy_below must not be above hard_above")
        return self

    def build(self, strategies: Mapping[str, Strategy]) -> "Threshold":
        """Return the policy."""
        return Threshold(self.easy_below, self.hard_above, self.middle, strategies)


class Threshold:
    """Cuts difficulty into easy, middle and hard; an abstained estimate counts as middle.

    Args:
        easy_below: Difficulty under which the cheapest tier answers alone.
        hard_above: Difficulty over which the largest tier answers at once.
        middle: Strategy between, started on the cheapest tier.
        strategies: All strategies by name.
    """

    def __init__(
        self,
        easy_below: float,
        hard_above: float,
        middle: str,
        strategies: Mapping[str, Strategy],
    ) -> None:
        self._easy_below = easy_below
        self._hard_above = hard_above
        self._middle = middle
        self._strategies = strategies

    def decide(self, run: Run, estimate: Estimate, load: Load) -> Decision:
        """Compare the difficulty with the thresholds. See `Policy.decide`."""
        refuse_quality(run)
        up = usable_tiers(run)
        cheapest, largest = up[0], up[-1]
        easy, middle, hard = (cheapest, "single"), (cheapest, self._middle), (largest, "single")
        difficulty = estimate.difficulty
        if difficulty is None:
            plans, reason = (middle, hard), "difficulty unknown"
        elif difficulty < self._easy_below:
            plans, reason = (easy, hard), f"difficulty {difficulty:.2f} < {self._easy_below:g}"
        elif difficulty > self._hard_above:
            plans, reason = (hard, easy), f"difficulty {difficulty:.2f} > {self._hard_above:g}"
        else:
            plans, reason = (middle, hard), f"difficulty {difficulty:.2f} lies between"
        tier, name = first_supported(run, plans, self._strategies)
        others = (easy, middle, hard)
        alternatives = tuple(f"{n} on {t.name}" for t, n in others if (t, n) != (tier, name))
        return Decision(
            tier.name,
            name,
            f"{reason} ({estimate.source}: {estimate.reason})",
            alternatives=alternatives,
            degraded=_missing(run),
        )


def _missing(run: Run) -> tuple[str, ...]:
    """Name the tiers that would fit but are down."""
    return tuple(
        f"tier:{tier.name}" for tier in run.tiers if tier.fits(run.request) and not tier.available
    )
