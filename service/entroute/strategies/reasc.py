"""`reasc`: one sample if it looks sure, else votes that count for more the surer they look."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from entroute.confidence import GATE_TOP_LOGPROBS, tail_confidence
from entroute.evidence import Outcome, Refusal, Verdict
from entroute.protocols import Run, Verifier
from entroute.strategies.climbing import Climb, answered_above, climb_outcome, higher
from entroute.strategies.drawing import Draw, Manner, Step, drawn, drawn_on
from entroute.strategies.parts import StrategyParts
from entroute.strategies.plain import one_sample
from entroute.strategies.refusals import refuse_choices, refuse_cold
from entroute.strategies.votes import refuse_judge, vote_outcome, voter_of, weighted
from entroute.types import Completion
from entroute.uncertainty import leading_votes
from entroute.voting import (
    AGREEING,
    leading_weights,
    plurality_settled,
    plurality_wave,
    soft_confidence,
    soft_count,
    soft_wave,
)


class SignalProfile(BaseModel):
    """What calibration found of one model's confidence, at one prompt form and temperature."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = Field(min_length=1, description="Model that a tier serves.")
    mean: float = Field(description="Mean confidence of its samples, nats.")
    deviation: float = Field(gt=0, description="Their standard deviation, nats.")
    accept_above: float | None = Field(
        default=None, description="Confidence from which one sample is enough; never if left out."
    )


class ReascConfig(BaseModel):
    """Majority vote with a gate on the first sample and votes weighted by confidence."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["reasc"] = "reasc"
    samples: int = Field(default=16, ge=3, le=64, description="Samples at most.")
    level: float = Field(
        default=0.95, gt=0.5, lt=1, description="Probability that the leader stays ahead."
    )
    give_up_after: int = Field(
        default=3,
        ge=0,
        le=64,
        description="Samples without two that agree after which the next tier answers once; 0 for "
        "never. Not on a pinned tier.",
    )
    profiles: tuple[SignalProfile, ...] = Field(
        default=(),
        description="By model; a model without one has no gate, and each of its votes counts once.",
    )

    def build(self, parts: StrategyParts) -> "Reasc":
        """Return the strategy."""
        profiles = {profile.model: profile for profile in self.profiles}
        return Reasc(SoftRule(self.samples, self.level, profiles), self.give_up_after, parts)


@dataclass(frozen=True, slots=True)
class SoftRule:
    """Accept one sure sample, else draw waves up to the boundary of the soft-count test.

    Two must agree before that test is asked. A model without a profile has plain votes, which
    settle as `voting.plurality_settled` has it: as soon as those that are left hardly can change
    the winner.

    Attributes:
        most: Samples at most.
        level: Of `voting.soft_confidence`, in [0.5, 1).
        profiles: By model.
        give_up_after: Samples without two that agree after which votes are no use, 0 for never;
            those that the budget cut off are not counted.

    Source: ReASC (2601.02970), single-sample gate and evidence accumulation.
    """

    most: int
    level: float
    profiles: Mapping[str, SignalProfile] = field(default_factory=dict)
    give_up_after: int = 0

    def step(self, draw: Draw) -> Step:
        """See `StoppingRule.step`."""
        profile = self.profiles.get(draw.tier.model)
        gated = profile is not None and profile.accept_above is not None
        if gated and not draw.calls:
            return Step(draw=1)
        if len(draw.calls) == 1 and draw.done and self._sure(profile, draw):
            return Step(stop="confident")
        settled, wave = self._counted(draw) if profile is None else self._weighed(draw)
        if settled:
            return Step(stop="settled")
        if draw.live:
            return Step()
        whole = len(draw.done) - len(draw.cut)
        if 0 < self.give_up_after <= whole and leading_votes(draw.answers)[0] < AGREEING:
            return Step(stop="escalated")
        if len(draw.calls) < self.give_up_after:
            wave = min(wave, self.give_up_after - len(draw.calls))
        return Step(draw=min(wave, self.most - len(draw.calls)))

    def _counted(self, draw: Draw) -> tuple[bool, int]:
        """Return whether plain votes settle, and how many more would if all agreed."""
        first, second = leading_votes(draw.answers)
        votes = first, second, len(draw.done) - first - second
        left = draw.live + self.most - len(draw.calls)
        settled = first >= AGREEING and left > 0 and plurality_settled(*votes, left, self.level)
        return settled, plurality_wave(*votes, left, self.level)

    def _weighed(self, draw: Draw) -> tuple[bool, int]:
        """Return the same for votes that count by their confidence."""
        weights = self.weights(draw)
        leader, first, second = leading_weights(zip(draw.answers, weights, strict=True))
        agreed = leader is not None and draw.answers.count(str(leader)) >= AGREEING
        settled = agreed and soft_confidence(first, second) >= self.level
        return settled, soft_wave(first, second, self.level)

    def weights(self, draw: Draw) -> list[float]:
        """Return the soft count of each finished sample: 1 and up."""
        profile = self.profiles.get(draw.tier.model)
        return [1.0 if profile is None else _weight(profile, sample) for sample in draw.done]

    def _sure(self, profile: SignalProfile | None, draw: Draw) -> bool:
        if profile is None or profile.accept_above is None or draw.answers[0] is None:
            return False
        seen = tail_confidence(draw.done[0].logprobs)
        return seen is not None and seen >= profile.accept_above


def _weight(profile: SignalProfile, sample: Completion) -> float:
    seen = tail_confidence(sample.logprobs)
    return 1.0 if seen is None else soft_count((seen - profile.mean) / profile.deviation)


class Reasc:
    """Draws one sample, and more only while the answer is in doubt.

    Where the first samples all differ, votes would only find the commonest mistake: the next tier
    answers in their place, if there is one that the request may use and afford; else votes go on.

    Args:
        rule: When to stop, and what a vote counts.
        give_up_after: Of the rule, where a next tier can answer.
        parts: Its voter gives each candidate its canonical answer; one without has no vote.

    Source: see `SoftRule`.
    """

    name = "reasc"

    def __init__(self, rule: SoftRule, give_up_after: int, parts: StrategyParts) -> None:
        self._rule = rule
        self._give_up_after = give_up_after
        self._voter = parts.voter

    def supports(self, run: Run) -> Refusal | None:
        """Refuse several choices, temperature 0 and weights that come after the vote."""
        return refuse_choices(run) or refuse_cold(run) or refuse_judge(run)

    async def run(self, run: Run) -> Outcome:
        """Gate, then draw in waves and vote. See `Strategy.run`."""
        voter = voter_of(run, self._voter)
        tier = run.tier(run.decision.tier)
        looks = GATE_TOP_LOGPROBS if tier.model in self._rule.profiles else None
        rule = self._rule
        if higher(run, tier) is not None:
            rule = replace(rule, give_up_after=self._give_up_after)
        manner = Manner(rule, voter, looks)
        draw = await drawn(run, tier, manner)
        climb = Climb([draw], draw.moves, draw.stop)
        if draw.stop == "escalated":
            chosen = await self._above(run, climb, voter)
            if chosen is not None:
                return climb_outcome(run, self.name, voter.name, climb, chosen)
            if climb.stop == "deadline":
                draw.stop = "deadline"
            else:
                await drawn_on(run, draw, replace(manner, rule=replace(rule, give_up_after=0)))
        verdicts = _softened(draw.votes, rule.weights(draw))
        outcome = vote_outcome(run, self.name, draw, verdicts, voter.name)
        return replace(outcome, failures=(*outcome.failures, *climb.failures))

    async def _above(self, run: Run, climb: Climb, voter: Verifier) -> Completion | None:
        """Have the next tier answer if the budget holds that; None where votes go on."""
        larger, before = higher(run, climb.draws[0].tier), run.ledger.exhausted
        if larger is None or not run.affords(larger):
            run.ledger.exhausted = before  # it has only kept the votes where they are
            return None
        return await answered_above(run, climb, one_sample(voter))


def _softened(votes: Sequence[Verdict], weights: Sequence[float]) -> tuple[Verdict, ...]:
    """Return votes whose score is their answer's share of all soft counts."""
    counts = [
        Verdict(weight / max(weights), vote.reason, vote.abstained, vote.answer)
        for vote, weight in zip(votes, weights, strict=True)
    ]
    return weighted(votes, counts)
