"""The compute-optimal policy: what it ranks, what it refuses to promise, and what load does."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entroute.deciding import MEETS, plan_strategies
from entroute.decisions import Decision, Estimate, Load, TierLoad
from entroute.profile.linear import Linear, logit
from entroute.profile.plans import Plan
from entroute.profile.profile import Profile
from entroute.protocols import Run, Strategy
from entroute.routing.compute_optimal import ComputeOptimal, ComputeOptimalConfig, PolicyParts
from entroute.routing.threshold import ThresholdConfig
from entroute.spending import Price
from entroute.strategies.cascade import CascadeConfig
from entroute.strategies.reasc import ReascConfig
from entroute.strategies.single import Single
from entroute.types import Options, Principal
from tests.builders import a_budget, a_request, a_run, a_tier
from tests.fakes import strategy_parts
from tests.profiles import a_plan, a_profile
from tests.scripted import FakeClock

SMALL = a_plan("small x1", 0.4, 0.3)
LARGE = a_plan("large x1", 0.7, 1.0, tier="large")
VOTES = a_plan("small votes", 0.55, 1.2, strategy={"kind": "reasc", "samples": 8}, worst_calls=9)
PLANS = (SMALL, LARGE, VOTES)
KNOWN = Estimate(
    0.6, "learned", "by hand", p_right={"small": 0.4, "large": 0.7}, checkable="number"
)
IDLE = Load({})


class NoLabels:
    """Corrections that correct nothing, or what they are told to."""

    def __init__(
        self, *, stale: str | None = None, share: float = 0.0, factor: float = 1.0
    ) -> None:
        self.stale = stale
        self.audit_share = share
        self._factor = factor

    def corrected(self, plan: str, p: float) -> float:
        return p * self._factor


def policy_of(
    profile: Profile, corrections: NoLabels | None = None, **config: Any
) -> ComputeOptimal:
    clock = config.pop("clock", None) or FakeClock()
    parts = strategy_parts()
    strategies: dict[str, Strategy] = {
        "single": Single(),
        "cascade": CascadeConfig().build(parts),
        "reasc": ReascConfig().build(parts),
    }
    return ComputeOptimal(
        ComputeOptimalConfig(**config),
        PolicyParts(
            profile,
            plan_strategies(profile, parts),
            MEETS,
            ThresholdConfig().build(strategies),
            corrections or NoLabels(),
            clock,
        ),
    )


def run_of(**facts: Any) -> Run:
    tiers = facts.pop("tiers", None) or (
        a_tier("small", price=Price(1, 1)),
        a_tier("large", price=Price(3, 3)),
    )
    return a_run(*tiers, **facts)


def decided(*plans: Plan, run: Run | None = None, **facts: Any) -> Decision:
    estimate = facts.pop("estimate", KNOWN)
    load = facts.pop("load", IDLE)
    corrections = facts.pop("corrections", None)
    config = {name: facts.pop(name) for name in ("trade_off", "load_weight") if name in facts}
    policy = policy_of(a_profile(*(plans or PLANS), **facts), corrections, **config)
    return policy.decide(run or run_of(), estimate, load)


@pytest.mark.parametrize(
    ("price", "plan"), [(0.0, "large x1"), (0.1, "large x1"), (0.5, "small x1")]
)
def test_the_plan_whose_promise_is_worth_its_cost_is_chosen(price: float, plan: str) -> None:
    decision = decided(trade_off=price)
    assert (decision.plan, decision.basis) == (plan, "predicted")
    assert [ranked.chosen for ranked in decision.plans] == [True, False, False]
    assert decision.plans[0].plan == plan


def test_a_decision_shows_promise_and_price() -> None:
    decision = decided(trade_off=0.1)
    assert decision.predicted_quality == pytest.approx(0.7)
    assert decision.predicted_cost_usd is not None
    assert decision.predicted_cost_usd > 0
    worth = [plan.p_right - 0.1 * plan.cost for plan in decision.plans]
    assert worth == sorted(worth, reverse=True)
    assert "P(right) 0.70" in decision.reason


@given(st.floats(0, 5), st.floats(0, 5))
def test_a_higher_price_never_buys_a_dearer_plan(one: float, other: float) -> None:
    low, high = sorted((one, other))
    costs = {plan.name: plan.cost for plan in PLANS}
    assert costs[decided(trade_off=high).plan] <= costs[decided(trade_off=low).plan]


def test_harder_prompts_go_up_where_success_depends_on_the_prompt() -> None:
    small = a_plan("small x1", 0.4, 0.3, success=Linear(weights={"logit small": 1.0}))
    large = a_plan("large x1", 0.4, 1.0, tier="large", success=Linear(weights={"logit large": 1}))

    def plan(p_small: float) -> str:
        estimate = Estimate(
            1 - p_small,
            "learned",
            p_right={"small": p_small, "large": 0.9},
            checkable="number",
        )
        return decided(small, large, estimate=estimate, trade_off=0.2).plan

    assert [plan(p) for p in (0.2, 0.5, 0.85)] == ["large x1", "large x1", "small x1"]


@pytest.mark.parametrize(
    ("quality", "plan", "unmet"),
    [(0.3, "small x1", False), (0.5, "large x1", False), (0.9, "large x1", True)],
)
def test_a_target_is_met_at_least_cost_or_said_to_be_unmet(
    *, quality: float, plan: str, unmet: bool
) -> None:
    decision = decided(run=run_of(options=Options(quality=quality)))
    assert (decision.plan, decision.quality_unmet) == (plan, unmet)
    assert decision.basis == "target"


def busy(in_flight: int, age_s: float = 0.0) -> Load:
    tiers = {name: TierLoad(in_flight, 1, 1) for name in ("small", "large")}
    return Load(tiers, age_s)


def under_load(load: Load, *, quality: float | None = None, seconds: int = 60) -> list[str]:
    """Return the plan of each of so many seconds under a load."""
    clock = FakeClock()
    policy = policy_of(a_profile(*PLANS, trade_off=0.1), clock=clock)
    plans = []
    for _ in range(seconds):
        clock.now += 1
        run = run_of(options=Options(quality=quality), clock=clock)
        plans.append(policy.decide(run, KNOWN, load).plan)
    return plans


def test_compute_shrinks_under_load_and_grows_back() -> None:
    clock = FakeClock()
    policy = policy_of(a_profile(*PLANS, trade_off=0.2), clock=clock)

    def plans(load: Load, seconds: int) -> list[str]:
        found = []
        for _ in range(seconds):
            clock.now += 1
            found.append(policy.decide(run_of(clock=clock), KNOWN, load).plan)
        return found

    assert set(plans(busy(0), 5)) == {"large x1"}
    loaded = plans(busy(8), 60)
    assert loaded[-1] == "small x1"
    assert loaded[0] == "large x1"  # one burst changes nothing
    assert plans(busy(0), 60)[-1] == "large x1"


def test_load_never_relaxes_a_target() -> None:
    assert set(under_load(busy(100), quality=0.5)) == {"large x1"}


def test_stale_load_is_ignored() -> None:
    assert set(under_load(busy(100, age_s=3600.0))) == {"large x1"}


def test_prompts_it_knows_nothing_of_get_the_static_plan_and_no_promise() -> None:
    estimate = Estimate(None, "learned", "unlike the others", checkable="number")
    decision = decided(estimate=estimate, static_plan="large x1")
    assert (decision.plan, decision.basis) == ("large x1", "unfamiliar")
    assert decision.predicted_quality is None


def test_an_uncalibrated_estimate_is_no_prediction() -> None:
    estimate = Estimate(0.1, "lexical", "short", checkable="number")
    assert decided(estimate=estimate).basis == "unfamiliar"


def test_free_form_prompts_get_a_cascade_and_no_promise() -> None:
    estimate = Estimate(0.5, "learned", p_right={"small": 0.5, "large": 0.8})
    decision = decided(estimate=estimate)
    assert (decision.plan, decision.strategy, decision.basis) == (
        "free form",
        "cascade",
        "free_form",
    )
    assert decision.predicted_quality is None


def test_a_target_on_a_prompt_without_a_promise_is_unmet() -> None:
    estimate = Estimate(None, "learned", "unlike the others", checkable="number")
    assert decided(estimate=estimate, run=run_of(options=Options(quality=0.5))).quality_unmet


def test_plans_that_the_budget_does_not_hold_are_left_out() -> None:
    run = run_of(budget=a_budget(max_calls=8))
    assert {plan.plan for plan in decided(run=run).plans} == {"small x1", "large x1"}
    tight = run_of(budget=a_budget(max_generated_tokens=500))
    assert "small votes" not in {plan.plan for plan in decided(run=tight).plans}


def test_plans_too_slow_for_the_deadline_are_left_out() -> None:
    slow = a_plan("small slow", 0.95, 0.1, p95_answers=50.0)
    clock = FakeClock()
    run = run_of(clock=clock, budget=a_budget(deadline=clock() + 10))
    assert decided(slow, *PLANS, run=run).plan == "large x1"
    patient = run_of(clock=clock, budget=a_budget(deadline=clock() + 100))
    assert decided(slow, *PLANS, run=patient).plan == "small slow"


def test_where_all_are_too_slow_the_fastest_is_tried() -> None:
    slow = a_plan("small slow", 0.95, 0.1, p95_answers=50.0)
    slower = a_plan("small slower", 0.99, 0.1, p95_answers=60.0)
    clock = FakeClock()
    run = run_of(clock=clock, budget=a_budget(deadline=clock() + 10))
    assert decided(slower, slow, run=run).plan == "small slow"


def test_other_answer_forms_need_plans_of_their_own() -> None:
    code = Estimate(0.5, "learned", p_right={"small": 0.5, "large": 0.8}, checkable="code")
    assert decided(estimate=code).basis == "fallback"
    coded = a_plan("small code", 0.5, 0.3, forms=("code",))
    assert decided(*PLANS, coded, estimate=code).plan == "small code"


def test_plans_that_need_examples_serve_only_prompts_that_show_some() -> None:
    checked = a_plan("small checked", 0.9, 0.1, forms=("code",), needs=("examples",))
    plain = a_plan("small code", 0.5, 0.3, forms=("code",))
    code = Estimate(0.5, "learned", p_right={"small": 0.5, "large": 0.8}, checkable="code")
    shown = a_request("def add(a, b):\n    '''Add.\n\n    >>> add(1, 2)\n    3\n    '''\n")
    assert decided(checked, plain, estimate=code, run=run_of(request=shown)).plan == checked.name
    assert decided(checked, plain, estimate=code).plan == "small code"


def test_a_plan_whose_strategy_refuses_the_request_is_left_out() -> None:
    run = run_of(request=a_request(temperature=0.0))  # votes are no use at temperature 0
    assert "small votes" not in {plan.plan for plan in decided(run=run).plans}


def test_a_principal_gets_only_strategies_it_may_use() -> None:
    run = run_of(principal=Principal(strategies=frozenset({"reasc"})))
    assert {plan.plan for plan in decided(run=run).plans} == {"small votes"}


def test_a_tier_that_is_down_is_noted_by_plans_that_would_use_it() -> None:
    tiers = (a_tier("small"), a_tier("large", available=False))
    decision = decided(run=run_of(tiers=tiers))
    assert decision.plan != "large x1"
    down = (a_tier("small", available=False), a_tier("large"))
    assert decided(run=run_of(tiers=down)).plan == "large x1"


def test_a_stale_profile_degrades_to_the_threshold_policy() -> None:
    decision = decided(corrections=NoLabels(stale="labels disagree"))
    assert decision.basis == "fallback"
    assert decision.degraded == ("profile",)
    assert "labels disagree" in decision.reason
    assert decision.plan == ""


def test_labels_correct_what_the_profile_promises() -> None:
    decision = decided(corrections=NoLabels(factor=0.5))
    assert decision.predicted_quality == pytest.approx(0.5 * (decision.profile_quality or 0))


def test_audits_draw_any_plan_and_say_how_likely_it_was() -> None:
    policy = policy_of(a_profile(*PLANS), NoLabels(share=0.3))
    run = run_of()
    decisions = [policy.decide(run, KNOWN, IDLE) for _ in range(600)]
    audited = [d for d in decisions if d.basis == "audit"]
    assert 120 < len(audited) < 240
    assert {d.plan for d in audited} == {plan.name for plan in PLANS}
    assert {round(d.propensity, 9) for d in decisions} == {0.1, 0.8}
    shares = {round(d.propensity, 9) for d in decisions if d.plan == "large x1"}
    assert shares == {0.8}


def test_audits_go_on_while_the_profile_is_stale() -> None:
    policy = policy_of(a_profile(*PLANS), NoLabels(stale="labels disagree", share=0.3))
    run = run_of()
    bases = {policy.decide(run, KNOWN, IDLE).basis for _ in range(100)}
    assert bases == {"fallback", "audit"}


def test_audits_of_a_stale_profile_are_all_equally_likely() -> None:
    policy = policy_of(a_profile(*PLANS), NoLabels(stale="labels disagree", share=0.3))
    run = run_of()
    audits = [policy.decide(run, KNOWN, IDLE) for _ in range(300)]
    assert {round(d.propensity, 9) for d in audits if d.basis == "audit"} == {0.1}


def test_a_plan_may_use_only_tiers_that_the_request_may_use() -> None:
    both = a_plan("small gate -> large", 0.95, 0.2)
    both = both.model_copy(update={"spend": {**both.spend, "large": both.spend["small"]}})
    alone = run_of(tiers=(a_tier("small"),))
    assert both.name not in {plan.plan for plan in decided(both, *PLANS, run=alone).plans}
    assert decided(both, *PLANS).plan == both.name


def test_a_target_is_never_audited() -> None:
    policy = policy_of(a_profile(*PLANS), NoLabels(share=0.9))
    run = run_of(options=Options(quality=0.5))
    assert {policy.decide(run, KNOWN, IDLE).basis for _ in range(50)} == {"target"}


def test_the_reason_quotes_nothing_of_the_prompt() -> None:
    estimate = Estimate(
        0.6,
        "learned",
        "by hand",
        p_right={"small": 0.4, "large": 0.7},
        checkable="number",
        features=(("s3cret", 1.0),),
    )
    assert "s3cret" not in decided(estimate=estimate).reason


def test_logits_keep_away_from_the_ends() -> None:
    assert logit(0.0) == pytest.approx(-logit(1.0))
    assert logit(0.5) == 0
