"""`compute_optimal`: of all plans, the one whose chance of a right answer is worth its cost."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field

from entroute.decisions import Basis, Decision, Estimate, Load
from entroute.profile.linear import plan_features
from entroute.profile.plans import Asked, Need, Plan, Way
from entroute.profile.profile import Profile
from entroute.protocols import Clock, Policy, Run, Strategy, Tier
from entroute.routing.options import (
    Audit,
    Option,
    in_words,
    ranked_by,
    reason_of,
    shown,
    under_load,
)
from entroute.routing.plans import down_tiers, usable_tiers
from entroute.routing.utilisation import Utilisation
from entroute.spending import Price

_LOG = logging.getLogger(__name__)


class ComputeOptimalConfig(BaseModel):
    """Choose among the profile's plans by predicted success against predicted cost."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["compute_optimal"] = "compute_optimal"
    trade_off: float | None = Field(
        default=None,
        ge=0,
        description="Probability of a right answer that one mean large answer's cost must be "
        "worth; the profile's own when left out. Higher spends less.",
    )
    load_weight: float = Field(
        default=3.0, ge=0, description="How fast spending shrinks as the workers fill up."
    )
    smoothing_s: float = Field(
        default=5.0, gt=0, description="Seconds over which the load is averaged."
    )
    stale_load_s: float = Field(
        default=20.0, gt=0, description="Age in seconds from which the load is not believed."
    )

    @property
    def named(self) -> tuple[str, ...]:
        """Strategies it names: none, the profile does."""
        return ()


class Corrections(Protocol):
    """What labels of traffic say about the profile."""

    @property
    def stale(self) -> str | None:
        """Why the profile can no longer be believed, or None."""
        ...

    @property
    def audit_share(self) -> float:
        """Share of requests whose plan chance draws, in [0, 1)."""
        ...

    def corrected(self, plan: str, p: float) -> float:
        """Return a plan's probability of a right answer as the labels have it."""
        ...


@dataclass(frozen=True, slots=True)
class PolicyParts:
    """What the policy is built with.

    Attributes:
        profile: What calibration found.
        strategies: Each plan's own strategy, by the plan's name.
        meets: Whether a request has what a plan needs.
        fallback: Decides where the profile can no longer be believed.
        corrections: What labels of traffic say.
        clock: Monotonic seconds.
    """

    profile: Profile
    strategies: Mapping[str, Strategy]
    meets: Mapping[Need, Callable[[Run], bool]]
    fallback: Policy
    corrections: Corrections
    clock: Clock


class ComputeOptimal:
    """Maximises P(right) - lambda x cost over whole plans, or meets a target at least cost.

    lambda = trade-off x (1 + load weight x max(0, (u - .7) / .3)), u the smoothed utilisation. A
    target `quality` is met by the cheapest plan that promises it, whatever the load; where none
    does, by the most promising one, and the decision says so. Prompts unlike those the profile
    was fitted on, and prompts whose answers nothing can check, get a fixed plan and no promise.

    Args:
        config: Its numbers.
        parts: What it is built with.

    Source: compute-optimal scaling (2408.03314); plans as in BEST-Route (2506.22716).
    """

    def __init__(self, config: ComputeOptimalConfig, parts: PolicyParts) -> None:
        profile = parts.profile
        self._config = config
        self._parts = parts
        self._profile = profile
        self._runtimes = profile.runtimes
        self._trade_off = profile.trade_off if config.trade_off is None else config.trade_off
        self._utilisation = Utilisation(
            {tier.name: tier.runtime.batch for tier in profile.tiers},
            parts.clock,
            smoothing_s=config.smoothing_s,
            stale_s=config.stale_load_s,
        )
        self._warned = ""

    def decide(self, run: Run, estimate: Estimate, load: Load) -> Decision:
        """Rank the plans. See `Policy.decide`."""
        excess = self._utilisation.excess(load)
        corrections = self._parts.corrections
        stale = corrections.stale
        share = 0.0 if run.options.quality is not None else corrections.audit_share
        audit = Audit(share, drawn=run.rng.random() < share, alone=stale is not None)
        if stale is not None and not audit.drawn:  # audits find out when it holds again
            return self._stale(run, estimate, load, stale)
        up = usable_tiers(run)
        if (fixed := self._fixed(run, estimate)) is not None:
            return self._by_rote(run, estimate, load, up, fixed)
        options = self._options(run, estimate, up)
        if not options:
            return self._fallback(run, estimate, load, "no plan can serve this request")
        price = self._trade_off * (1 + self._config.load_weight * excess)
        ranked = under_load(ranked_by(options, run.options.quality, price), run.ledger)
        decision = self._decision(run, ranked, price, audit)
        missed = self._missed(run, estimate, up, price)
        return decision if missed is None else replace(decision, degraded=(missed,))

    def _fixed(self, run: Run, estimate: Estimate) -> tuple[Way, Basis, str] | None:
        """Return the fixed plan of a prompt that nothing can be promised for, and why."""
        profile = self._profile
        if estimate.checkable is None and run.verifier is None:
            return profile.free_form, "free_form", "nothing can check its answer"
        if estimate.abstained or not estimate.p_right:
            why = f"no prediction ({estimate.source}: {estimate.reason})"
            return profile.plan(profile.static_plan), "unfamiliar", why
        return None

    def _by_rote(
        self,
        run: Run,
        estimate: Estimate,
        load: Load,
        up: Sequence[Tier],
        fixed: tuple[Way, Basis, str],
    ) -> Decision:
        plan, basis, why = fixed
        if plan.tier not in {tier.name for tier in up} or not self._allowed(
            run, plan, self._meets(run)
        ):
            return self._fallback(run, estimate, load, f"{why}, and '{plan.name}' cannot serve it")
        return Decision(
            plan.tier,
            plan.kind,
            f"plan '{plan.name}': {why}",
            plan=plan.name,
            degraded=_missing(run, plan),
            quality_unmet=run.options.quality is not None,
            basis=basis,
        )

    def _fallback(self, run: Run, estimate: Estimate, load: Load, why: str) -> Decision:
        """Let the other policy decide."""
        options = replace(run.options, quality=None)
        decision = self._parts.fallback.decide(replace(run, options=options), estimate, load)
        unmet = run.options.quality is not None
        reason = f"{why}; {decision.reason}"
        return replace(decision, reason=reason, quality_unmet=unmet, basis="fallback")

    def _stale(self, run: Run, estimate: Estimate, load: Load, why: str) -> Decision:
        """Decide without the profile, and warn once for each reason."""
        if why != self._warned:
            self._warned = why
            _LOG.warning("the threshold policy decides in the profile's place: %s", why)
        decision = self._fallback(run, estimate, load, f"the profile is stale: {why}")
        return replace(decision, degraded=(*decision.degraded, "profile"))

    def _options(self, run: Run, estimate: Estimate, tiers: Sequence[Tier]) -> list[Option]:
        """Return what request, budget and deadline leave; the fastest plan if all are late."""
        profile, budget = self._profile, run.ledger.budget
        output_tokens = estimate.output_tokens or profile.answer_tokens
        prompt = Asked(
            plan_features(estimate.p_right, estimate.checkable, estimate.task),
            prompt_tokens=len(run.request.text) / profile.characters_per_token,
            output_tokens=min(output_tokens, run.request.max_tokens or output_tokens),
        )
        prices = {tier.name: tier.price for tier in tiers}
        meets = self._meets(run)
        options = [
            self._option(plan, prompt, prices)
            for plan in profile.plans
            if estimate.checkable in plan.forms
            and plan.spend.keys() <= prices.keys()
            and _affordable(run, plan, prompt.output_tokens)
            and self._allowed(run, plan, meets)
        ]
        if budget.max_cost_usd is not None:
            options = [option for option in options if option.usd <= budget.max_cost_usd]
        left_s = budget.deadline - run.clock()
        in_time = [option for option in options if option.p95_s <= left_s]
        return in_time or sorted(options, key=lambda option: option.p95_s)[:1]

    def _option(self, plan: Plan, prompt: Asked, prices: Mapping[str, Price]) -> Option:
        """Return what a plan promises and costs; tiers without a price are free."""
        profile = self._profile
        expected = plan.expected(prompt, self._runtimes, prices)
        p = plan.success.probability(prompt.features)
        return Option(
            plan,
            p,
            self._parts.corrections.corrected(plan.name, p),
            expected.seconds / profile.unit_s,
            expected.usd,
            plan.p95_answers * profile.answer_s * prompt.output_tokens / profile.answer_tokens,
        )

    def _missed(self, run: Run, estimate: Estimate, up: Sequence[Tier], price: float) -> str | None:
        """Name a tier that is down and that the best plan might have used, or None."""
        down = down_tiers(run)
        if not down:
            return None
        options = self._options(run, estimate, (*up, *down))
        best = ranked_by(options, run.options.quality, price)[0].plan
        return next((f"tier:{tier.name}" for tier in down if tier.name in best.spend), None)

    def _meets(self, run: Run) -> Callable[[Need], bool]:
        """Return what tells whether the request has what a plan needs, found out once."""
        meets = self._parts.meets
        return cache(lambda need: meets[need](run))

    def _allowed(self, run: Run, plan: Way, meets: Callable[[Need], bool]) -> bool:
        """Whether the principal may use it, and the request has what it needs."""
        permitted = run.principal.strategies
        if permitted is not None and plan.kind not in permitted:
            return False
        if self._parts.strategies[plan.name].supports(run) is not None:
            return False
        return all(map(meets, plan.needs))  # last: it may read a program

    def _decision(self, run: Run, ranked: Sequence[Option], price: float, audit: Audit) -> Decision:
        target = run.options.quality
        chosen = run.rng.choice(ranked) if audit.drawn else ranked[0]
        basis: Basis = "predicted" if target is None else "target"
        if audit.drawn:
            basis = "audit"
        return Decision(
            chosen.plan.tier,
            chosen.plan.kind,
            reason_of(chosen, basis, target or 0.0, price),
            predicted_quality=chosen.p,
            predicted_cost_usd=chosen.usd,
            alternatives=tuple(in_words(option) for option in ranked if option is not chosen),
            plan=chosen.plan.name,
            plans=tuple(shown(o, price, chosen=o is chosen) for o in ranked),
            profile_quality=chosen.profile_p,
            propensity=audit.propensity(len(ranked), best=chosen is ranked[0]),
            quality_unmet=target is not None and chosen.p < target,
            basis=basis,
        )


def _affordable(run: Run, plan: Plan, output_tokens: float) -> bool:
    """Whether the budget holds the most calls that the plan may make, at the expected length."""
    calls, ledger = plan.worst_calls, run.ledger
    room = ledger.holds(plan.tier, run.request, calls)  # what was kept takes none
    tokens = min(calls, ledger.calls_left) * output_tokens
    return room and tokens <= ledger.budget.max_generated_tokens


def _missing(run: Run, plan: Way) -> tuple[str, ...]:
    """Name the tiers that fit but are down, if the plan might have used them."""
    down = down_tiers(run)
    used = plan.spend.keys() if isinstance(plan, Plan) else {tier.name for tier in down}
    return tuple(f"tier:{tier.name}" for tier in down if tier.name in used)
