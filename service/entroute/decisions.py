"""What is known before anything is spent, and what was decided on it: immutable values.

Times are seconds, probabilities and scores in [0, 1].
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Basis = Literal["", "predicted", "target", "audit", "free_form", "unfamiliar", "fallback"]


@dataclass(frozen=True, slots=True)
class Estimate:
    """How hard a prompt is.

    Attributes:
        difficulty: In [0, 1], 1 hardest; None when the estimator abstains.
        source: Which estimator said so.
        reason: Why, in words.
        p_right: Calibrated probability of a right answer by tier; empty when not calibrated.
        checkable: The answer form that the prompt asks for, or None.
        task: Class of the task, or None when the estimator does not tell classes apart.
        output_tokens: Completion tokens that one answer is expected to take, or None.
        features: What spoke for and against, strongest first: (name, contribution); a positive
            one makes the prompt harder. Its unit is the estimator's own.
    """

    difficulty: float | None
    source: str
    reason: str = ""
    p_right: Mapping[str, float] = field(default_factory=dict)
    checkable: str | None = None
    task: str | None = None
    output_tokens: float | None = None
    features: tuple[tuple[str, float], ...] = ()

    @property
    def abstained(self) -> bool:
        """Whether the estimator has nothing to say about this prompt."""
        return self.difficulty is None


@dataclass(frozen=True, slots=True)
class WorkerLoad:
    """What a worker said of its own load.

    Attributes:
        running: Calls it was answering, of all gateways.
        waiting: Calls queued in it.
        others: Calls of both kinds that were not this gateway's.
        kv_use: Share of its KV cache in use, [0, 1], None where it did not say.
        read_at: Monotonic seconds.
    """

    running: int
    waiting: int
    others: int
    kv_use: float | None
    read_at: float


@dataclass(frozen=True, slots=True)
class TierLoad:
    """What a tier is busy with.

    Attributes:
        in_flight: Calls of this gateway.
        workers: All workers of the tier.
        healthy: Those of them that can be called.
        waiting: Calls queued in the workers, None where unknown.
        kv_use: Share of the workers' KV cache in use, [0, 1], None where unknown.
        queued: Calls that wait in this gateway for a worker with room.
        capacity: Calls that this gateway may have in its callable workers at once.
    """

    in_flight: int
    workers: int
    healthy: int
    waiting: int | None = None
    kv_use: float | None = None
    queued: int = 0
    capacity: int = 0

    @property
    def pressure(self) -> float:
        """Calls in flight and queued over those that there is room for, 0 and up; 1 is full."""
        return (self.in_flight + self.queued) / self.capacity if self.capacity else 0.0


@dataclass(frozen=True, slots=True)
class Load:
    """A snapshot of every tier's load.

    Attributes:
        tiers: By tier name.
        age_s: Seconds since the workers were last asked.
    """

    tiers: Mapping[str, TierLoad]
    age_s: float = 0.0


@dataclass(frozen=True, slots=True)
class RankedPlan:
    """One plan as the policy saw it.

    Attributes:
        plan: Its name in the profile.
        tier: Tier it starts on.
        strategy: Strategy it spends by.
        p_right: Probability of a right answer in [0, 1].
        cost: Expected cost; unit: one mean answer of the largest tier.
        cost_usd: The same in dollars, None where the tiers have no price.
        reason: Why it was not chosen, or why it was.
        chosen: Whether it was.
    """

    plan: str
    tier: str
    strategy: str
    p_right: float
    cost: float
    cost_usd: float | None = None
    reason: str = ""
    chosen: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """What to spend: where, how, how much, and why.

    Attributes:
        tier: Tier to start on.
        strategy: Name of the strategy.
        reason: Why, in words.
        predicted_quality: Probability of a right answer in [0, 1], or None when not calibrated.
        predicted_cost_usd: Dollars, or None when not known.
        alternatives: Other plans considered, best first, in words.
        degraded: Parts whose absence forced this decision.
        plan: Name of the profile's plan, "" when none was chosen.
        plans: Every plan of the profile that the request allows, best first.
        profile_quality: What the profile alone predicted, before labels of traffic corrected it.
        propensity: Probability with which chance chose this plan, in (0, 1]; 1 when none had a say.
        quality_unmet: Whether the client's target quality is beyond every plan.
        basis: What decided: `predicted`, `target` (the client's quality), `audit` (chance),
            `free_form` or `unfamiliar` (a fixed plan), `fallback` (another policy), "" elsewhere.
    """

    tier: str
    strategy: str
    reason: str
    predicted_quality: float | None = None
    predicted_cost_usd: float | None = None
    alternatives: tuple[str, ...] = ()
    degraded: tuple[str, ...] = ()
    plan: str = ""
    plans: tuple[RankedPlan, ...] = ()
    profile_quality: float | None = None
    propensity: float = 1.0
    quality_unmet: bool = False
    basis: Basis = ""
