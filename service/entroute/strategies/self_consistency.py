"""`self_consistency`: several samples side by side, the majority of canonical answers wins."""

from dataclasses import dataclass, replace
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from entroute.evidence import Outcome, Refusal, Verdict
from entroute.protocols import Run, Verifier
from entroute.strategies.drawing import Draw, Manner, Step, drawn
from entroute.strategies.judging import verdicts_of
from entroute.strategies.parts import StrategyParts
from entroute.strategies.refusals import refuse_choices, refuse_cold
from entroute.strategies.votes import (
    answer_weights,
    judge_of,
    vote_outcome,
    voter_of,
    weighted,
)
from entroute.uncertainty import leading_votes, lossless_settled


class SelfConsistencyConfig(BaseModel):
    """Majority vote over samples of one tier."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["self_consistency"] = "self_consistency"
    samples: int = Field(
        default=5, ge=3, le=64, description="Samples at most; a vote of two equals one sample."
    )

    def build(self, parts: StrategyParts) -> "SelfConsistency":
        """Return the strategy."""
        return SelfConsistency(self.samples, parts)


@dataclass(frozen=True, slots=True)
class FixedRule:
    """Draw everything at once; stop when no open sample can change the majority.

    Attributes:
        most: Samples.
        weighted: Whether votes have weights that are known only at the end.

    Source: stopping when v1 - v2 exceeds what is left loses nothing (2305.11860).
    """

    most: int
    weighted: bool = False

    def step(self, draw: Draw) -> Step:
        """See `StoppingRule.step`."""
        if not draw.calls:
            return Step(draw=self.most)
        leader, runner_up = leading_votes(draw.answers)
        if draw.live and not self.weighted and lossless_settled(leader, runner_up, draw.live):
            # A majority of fewer samples than wanted is one that the budget has cut.
            return Step(stop="settled" if len(draw.calls) == self.most else "budget")
        return Step()


class SelfConsistency:
    """Draws samples concurrently and returns one with the answer most of them give.

    With a verifier in the request the vote is weighted by its scores, and all samples are drawn,
    since a weight is known only at the end; where it gives no answer any, plain votes count. A
    `majority` verifier is the voter instead.

    Args:
        samples: Most samples drawn.
        parts: Its voter gives each candidate its canonical answer; one without has no vote.

    Source: self-consistency (2203.11171); weighted votes argmax_a sum_{i: a_i = a} w_i
    (2310.10047).
    """

    name = "self_consistency"

    def __init__(self, samples: int, parts: StrategyParts) -> None:
        self._samples = samples
        self._voter = parts.voter

    def supports(self, run: Run) -> Refusal | None:
        """Refuse several choices, and temperature 0, at which all samples are one."""
        return refuse_choices(run) or refuse_cold(run)

    async def run(self, run: Run) -> Outcome:
        """Draw, vote, cancel what is not needed. See `Strategy.run`."""
        judge = judge_of(run)
        voter = voter_of(run, self._voter)
        manner = Manner(FixedRule(self._samples, weighted=judge is not None), voter)
        if judge is not None:
            manner = replace(manner, top_logprobs=judge.top_logprobs, judging=judge.calls)
        draw = await drawn(run, run.tier(run.decision.tier), manner)
        weighed = None if judge is None else await self._weighed(run, draw, judge)
        if judge is None or weighed is None:
            return vote_outcome(run, self.name, draw, draw.votes, voter.name)
        return vote_outcome(run, self.name, draw, weighed, judge.name)

    async def _weighed(self, run: Run, draw: Draw, judge: Verifier) -> tuple[Verdict, ...] | None:
        """Return the votes weighed by a judge's scores, None where those weigh no answer."""
        judged = await verdicts_of(run, judge, draw.done)
        draw.unjudged = judged.limit
        if judged.late:
            draw.stop = "deadline"
            return None
        if all(verdict.abstained for verdict in judged.verdicts):
            run.trace.degrade("verifier")
        if not any(answer_weights(draw.votes, judged.verdicts).values()):
            return None
        return weighted(draw.votes, judged.verdicts)
