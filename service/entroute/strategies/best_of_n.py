"""`best_of_n`: several samples side by side, the one that its judge likes best wins."""

from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from entroute.evidence import Outcome, Refusal
from entroute.protocols import Run, Verifier
from entroute.strategies.drawing import Draw, Manner, Step, drawn, judge_together
from entroute.strategies.judging import Likelihood, as_they_come, silenced
from entroute.strategies.parts import StrategyParts
from entroute.strategies.refusals import refuse_choices, refuse_cold
from entroute.strategies.votes import vote_outcome


class BestOfNConfig(BaseModel):
    """The sample with the best verdict."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["best_of_n"] = "best_of_n"
    samples: int = Field(default=4, ge=2, le=64, description="Samples at most.")
    enough: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="Score at which a sample is taken at once and the others are cancelled.",
    )

    def build(self, parts: StrategyParts) -> "BestOfN":
        """Return the strategy."""
        return BestOfN(self.samples, self.enough)


@dataclass(frozen=True, slots=True)
class EnoughRule:
    """Draw everything at once; stop at a sample that is good enough.

    Attributes:
        most: Samples.
        enough: Score in (0, 1] that ends it, None where scores are not known before the end.
    """

    most: int
    enough: float | None

    def step(self, draw: Draw) -> Step:
        """See `StoppingRule.step`."""
        if not draw.calls:
            return Step(draw=self.most)
        if self.enough is None:
            return Step()
        good = any(not v.abstained and v.score >= self.enough for v in draw.votes)
        return Step(stop="verified") if good else Step()


class BestOfN:
    """Draws samples concurrently and returns the one with the highest score.

    The request's verifier judges; one that looks at each candidate alone does so as they arrive.
    Without a verifier samples are ranked by length-normalised likelihood, which the outcome names:
    without verification more samples help provably less (2502.12118). Where the judge abstains on
    all, the first sample stands.

    Args:
        samples: Most samples drawn.
        enough: Score of the request's verifier, in (0, 1], at which to stop.

    Source: best-of-n sampling against a verifier (2110.14168).
    """

    name = "best_of_n"

    def __init__(self, samples: int, enough: float) -> None:
        self._samples = samples
        self._enough = enough

    def supports(self, run: Run) -> Refusal | None:
        """Refuse several choices, and temperature 0, at which all samples are one."""
        return refuse_choices(run) or refuse_cold(run)

    async def run(self, run: Run) -> Outcome:
        """Draw, judge, cancel what is not needed. See `Strategy.run`."""
        given = run.verifier
        judge: Verifier = given or Likelihood()
        waits = given is None or given.compares
        rule = EnoughRule(self._samples, None if waits else self._enough)
        manner = Manner(rule, as_they_come(judge), judge.top_logprobs)
        draw = await drawn(run, run.tier(run.decision.tier), manner)
        if judge.compares:
            await judge_together(run, draw, judge)
        if all(verdict.abstained for verdict in draw.votes):
            run.trace.degrade("verifier")
        return vote_outcome(run, self.name, draw, silenced(draw.votes), judge.name)
