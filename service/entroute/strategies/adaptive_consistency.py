"""`adaptive_consistency`: waves of samples until the leading answer is unlikely to lose."""

from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from entroute.strategies.counted import CountedVote
from entroute.strategies.drawing import Draw, Step
from entroute.strategies.parts import StrategyParts
from entroute.uncertainty import beta_settled, leading_votes, lossless_settled, votes_needed


class AdaptiveConsistencyConfig(BaseModel):
    """Majority vote that stops as soon as the Beta criterion holds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["adaptive_consistency"] = "adaptive_consistency"
    samples: int = Field(default=16, ge=3, le=64, description="Samples at most.")
    level: float = Field(
        default=0.95, gt=0.5, lt=1, description="Probability that the leader stays ahead."
    )

    def build(self, parts: StrategyParts) -> "AdaptiveConsistency":
        """Return the strategy."""
        return AdaptiveConsistency(BetaRule(self.samples, self.level), parts)


@dataclass(frozen=True, slots=True)
class BetaRule:
    """Draw up to the boundary at which the leader settles against the runner-up.

    Attributes:
        most: Samples at most.
        level: Of `uncertainty.beta_confidence`, in [0.5, 1).

    Source: adaptive consistency (2305.11860), its Beta criterion, looked at after every sample.
    """

    most: int
    level: float

    def step(self, draw: Draw) -> Step:
        """See `StoppingRule.step`."""
        leader, runner_up = leading_votes(draw.answers)
        unknown = draw.live + self.most - len(draw.calls)
        if beta_settled(leader, runner_up, self.level) or lossless_settled(
            leader, runner_up, unknown
        ):
            return Step(stop="settled")
        if draw.live:
            return Step()
        boundary = votes_needed(runner_up, self.level) - leader
        return Step(draw=min(boundary, self.most - len(draw.calls)))


class AdaptiveConsistency(CountedVote):
    """Draws the fewest samples that could settle the vote, then as many more as it still needs.

    Args:
        rule: When to stop.
        parts: Its voter gives each candidate its canonical answer; one without has no vote.

    Source: see `BetaRule`.
    """

    name = "adaptive_consistency"
