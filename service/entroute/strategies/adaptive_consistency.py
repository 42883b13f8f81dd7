"""`adaptive_consistency`: waves of samples until the leading answer is unlikely to lose."""

from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from entroute.evidence import Outcome, Refusal
from entroute.protocols import Run
from entroute.strategies.drawing import Draw, Manner, Step, drawn
from entroute.strategies.parts import StrategyParts
from entroute.strategies.refusals import refuse_choices, refuse_cold
from entroute.strategies.votes import refuse_judge, vote_outcome, voter_of
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


class AdaptiveConsistency:
    """Draws the fewest samples that could settle the vote, then as many more as it still needs.

    Args:
        rule: When to stop.
        parts: Its voter gives each candidate its canonical answer; one without has no vote.

    Source: see `BetaRule`.
    """

    name = "adaptive_consistency"

    def __init__(self, rule: BetaRule, parts: StrategyParts) -> None:
        self._rule = rule
        self._voter = parts.voter

    def supports(self, run: Run) -> Refusal | None:
        """Refuse several choices, temperature 0 and weights that come after the vote."""
        return refuse_choices(run) or refuse_cold(run) or refuse_judge(run)

    async def run(self, run: Run) -> Outcome:
        """Draw in waves, vote, cancel what is not needed. See `Strategy.run`."""
        voter = voter_of(run, self._voter)
        draw = await drawn(run, run.tier(run.decision.tier), Manner(self._rule, voter))
        return vote_outcome(run, self.name, draw, draw.votes, voter.name)
