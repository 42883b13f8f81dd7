"""`reasc`: one sample if it looks sure, else votes that count for more the surer they look."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from entroute.confidence import GATE_TOP_LOGPROBS, tail_confidence
from entroute.evidence import Outcome, Refusal, Verdict
from entroute.protocols import Run
from entroute.strategies.drawing import Draw, Manner, Step, drawn
from entroute.strategies.parts import StrategyParts
from entroute.strategies.refusals import refuse_choices, refuse_cold
from entroute.strategies.votes import refuse_judge, vote_outcome, voter_of, weighted
from entroute.types import Completion
from entroute.voting import leading_weights, soft_confidence, soft_count, soft_wave


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
    profiles: tuple[SignalProfile, ...] = Field(
        default=(),
        description="By model; a model without one has no gate, and each of its votes counts once.",
    )

    def build(self, parts: StrategyParts) -> "Reasc":
        """Return the strategy."""
        profiles = {profile.model: profile for profile in self.profiles}
        return Reasc(SoftRule(self.samples, self.level, profiles), parts)


@dataclass(frozen=True, slots=True)
class SoftRule:
    """Accept one sure sample, else draw waves up to the boundary of the soft-count test.

    Attributes:
        most: Samples at most.
        level: Of `voting.soft_confidence`, in [0.5, 1).
        profiles: By model.

    Source: ReASC (2601.02970), single-sample gate and evidence accumulation.
    """

    most: int
    level: float
    profiles: Mapping[str, SignalProfile] = field(default_factory=dict)

    def step(self, draw: Draw) -> Step:
        """See `StoppingRule.step`."""
        profile = self.profiles.get(draw.tier.model)
        gated = profile is not None and profile.accept_above is not None
        if gated and not draw.calls:
            return Step(draw=1)
        if len(draw.calls) == 1 and draw.done and self._sure(profile, draw):
            return Step(stop="confident")
        weights = self.weights(draw)
        leader, first, second = leading_weights(zip(draw.answers, weights, strict=True))
        if leader is not None and soft_confidence(first, second) >= self.level:
            return Step(stop="settled")
        if draw.live:
            return Step()
        wave = soft_wave(first, second, self.level)
        return Step(draw=min(wave, self.most - len(draw.calls)))

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

    Args:
        rule: When to stop, and what a vote counts.
        parts: Its voter gives each candidate its canonical answer; one without has no vote.

    Source: see `SoftRule`.
    """

    name = "reasc"

    def __init__(self, rule: SoftRule, parts: StrategyParts) -> None:
        self._rule = rule
        self._voter = parts.voter

    def supports(self, run: Run) -> Refusal | None:
        """Refuse several choices, temperature 0 and weights that come after the vote."""
        return refuse_choices(run) or refuse_cold(run) or refuse_judge(run)

    async def run(self, run: Run) -> Outcome:
        """Gate, then draw in waves and vote. See `Strategy.run`."""
        voter = voter_of(run, self._voter)
        tier = run.tier(run.decision.tier)
        looks = GATE_TOP_LOGPROBS if tier.model in self._rule.profiles else None
        draw = await drawn(run, tier, Manner(self._rule, voter, looks))
        verdicts = _softened(draw.votes, self._rule.weights(draw))
        return vote_outcome(run, self.name, draw, verdicts, voter.name)


def _softened(votes: Sequence[Verdict], weights: Sequence[float]) -> tuple[Verdict, ...]:
    """Return votes whose score is their answer's share of all soft counts."""
    counts = [
        Verdict(weight / max(weights), vote.reason, vote.abstained, vote.answer)
        for vote, weight in zip(votes, weights, strict=True)
    ]
    return weighted(votes, counts)
