"""`rejection`: samples until the request's verifier accepts one, then the next tier."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from entroute.evidence import Outcome, Refusal
from entroute.protocols import Run, Verifier
from entroute.strategies.climbing import AcceptRule, best_of, climb_outcome, climbed
from entroute.strategies.drawing import Manner
from entroute.strategies.judging import OneByOne
from entroute.strategies.parts import StrategyParts
from entroute.strategies.refusals import need_verifier, refuse_choices, refuse_comparing

BLIND = 3
"""Samples on which the verifier abstains before the tier is given up: nobody is judging."""

Wave = Annotated[int, Field(ge=1, le=64)]


class RejectionConfig(BaseModel):
    """Sample until the request's verifier accepts, tier by tier."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["rejection"] = "rejection"
    samples: int = Field(default=8, ge=1, le=64, description="Samples of a tier at most.")
    waves: tuple[Wave, ...] = Field(
        default=(1, 2, 4),
        min_length=1,
        max_length=16,
        description="Samples drawn side by side, wave after wave; the last size repeats.",
    )
    accept: float = Field(
        default=1.0, gt=0, le=1, description="Least score of the verifier that accepts a sample."
    )

    def build(self, parts: StrategyParts) -> "Rejection":
        """Return the strategy."""
        return Rejection(AcceptRule(self.samples, self.waves, self.accept, patience=BLIND))


@dataclass(frozen=True, slots=True)
class Filtered:
    """What rejection sampling makes of a prompt, uncapped.

    Attributes:
        accuracy: Probability that the accepted answer is right, in [0, 1].
        draws: Samples expected until one is accepted, 1 or more; infinite if none ever is.
    """

    accuracy: float
    draws: float


def filtered(pass_rate: float, accept_right: float, accept_wrong: float) -> Filtered:
    """Compute accuracy and samples of one tier, drawn one by one until a verifier accepts.

    With pi the share of right samples, T = P(accept | right) and F = P(accept | wrong): accuracy
    T pi / (T pi + F (1 - pi)) and expected draws 1 / (T pi + F (1 - pi)). Accuracy rises above pi
    only where T > F. Where nothing is ever accepted, the accuracy is 0.
    Source: Bayes' rule; mean of the geometric distribution.

    Args:
        pass_rate: pi, in [0, 1].
        accept_right: T, in [0, 1].
        accept_wrong: F, in [0, 1].

    Raises:
        ValueError: A rate is outside [0, 1].
    """
    for rate in (pass_rate, accept_right, accept_wrong):
        if not 0 <= rate <= 1:
            raise ValueError(f"rate is {rate}: give a probability in [0, 1]")
    right = accept_right * pass_rate
    accepted = right + accept_wrong * (1 - pass_rate)
    if accepted == 0:
        return Filtered(0.0, float("inf"))
    return Filtered(right / accepted, 1 / accepted)


class Rejection:
    """Draws in growing waves until the verifier accepts; the next tier follows a rejected one.

    With pi a tier's share of right samples, T = P(accept | right) and F = P(accept | wrong), an
    uncapped tier's accepted answer is right with probability T pi / (T pi + F (1 - pi)), after
    1 / (T pi + F (1 - pi)) samples on average drawn one by one: see `filtered`. That is each tier's
    cost; a wave may draw more than it needs, the judging of every sample comes on top, and a tier
    that accepts nothing is paid for before the next. Nothing accepted returns the best score.

    Args:
        rule: When to accept.

    Source: rejection sampling against a verifier; accuracy by Bayes' rule, samples by the mean of
    the geometric distribution.
    """

    name = "rejection"

    def __init__(self, rule: AcceptRule) -> None:
        self._rule = rule

    def supports(self, run: Run) -> Refusal | None:
        """Refuse several choices, and a request without a verifier that judges alone."""
        return refuse_choices(run) or need_verifier(run) or refuse_comparing(run)

    async def run(self, run: Run) -> Outcome:
        """Draw, judge, accept or climb. See `Strategy.run`."""
        judge = OneByOne(self._judge(run))
        # At temperature 0 a second sample of a tier is the first one again.
        most = 1 if run.request.temperature == 0 else self._rule.most
        rule = AcceptRule(most, self._rule.waves, self._rule.accept, self._rule.patience)
        climb = await climbed(run, rule, lambda fitted: Manner(fitted, judge, judge.top_logprobs))
        if climb.blind:
            run.trace.degrade("verifier")
        return climb_outcome(run, self.name, judge.name, climb, best_of(climb.draws))

    def _judge(self, run: Run) -> Verifier:
        if run.verifier is None:
            raise RuntimeError("a request that is not supported was run")
        return run.verifier
