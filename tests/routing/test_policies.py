"""Both policies on requests they can and cannot serve."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from entroute.decisions import Decision, Estimate, Load
from entroute.errors import (
    ContextLengthExceeded,
    InvalidRequest,
    PermissionDenied,
    TierUnavailable,
)
from entroute.protocols import Policy, Run, Strategy, Tier
from entroute.routing.static import StaticConfig
from entroute.routing.threshold import ThresholdConfig
from entroute.strategies.cascade import CascadeConfig
from entroute.strategies.reasc import ReascConfig
from entroute.strategies.self_consistency import SelfConsistencyConfig
from entroute.strategies.single import Single
from entroute.types import ChatRequest, Options, Principal
from tests.builders import a_request, a_run, a_tier
from tests.fakes import FakeVerifier, strategy_parts

STRATEGIES: dict[str, Strategy] = {
    "single": Single(),
    "cascade": CascadeConfig().build(strategy_parts()),
    "self_consistency": SelfConsistencyConfig().build(strategy_parts()),
    "reasc": ReascConfig().build(strategy_parts()),
}
PICTURE = ChatRequest(
    model="auto",
    messages=({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]},),
)
POLICIES: list[Policy] = [
    StaticConfig().build(STRATEGIES),
    ThresholdConfig(easy_below=0.2, hard_above=0.7).build(STRATEGIES),
]
any_policy = pytest.mark.parametrize("policy", POLICIES, ids=["static", "threshold"])


def tiers() -> tuple[Tier, ...]:
    return a_tier("small"), a_tier("medium"), a_tier("large")


def decide(policy: Policy, run: Run, difficulty: float | None = 0.5) -> Decision:
    return policy.decide(run, Estimate(difficulty, "fake", "made up"), Load({}))


def threshold(**facts: object) -> Policy:
    facts = {"easy_below": 0.2, "hard_above": 0.7} | facts
    return ThresholdConfig.model_validate(facts).build(STRATEGIES)


@pytest.mark.parametrize(
    ("difficulty", "tier", "strategy"),
    [
        (0.1, "small", "single"),
        (0.2, "small", "cascade"),
        (0.5, "small", "cascade"),
        (0.7, "small", "cascade"),
        (0.8, "large", "single"),
        (None, "small", "cascade"),
    ],
)
def test_easy_goes_small_hard_goes_large_and_the_rest_between(
    difficulty: float | None, tier: str, strategy: str
) -> None:
    decision = decide(threshold(), a_run(*tiers()), difficulty)
    assert (decision.tier, decision.strategy) == (tier, strategy)
    assert "fake: made up" in decision.reason
    assert len(decision.alternatives) == 2
    assert f"{strategy} on {tier}" not in decision.alternatives
    assert decision.degraded == ()


@given(st.floats(0, 1), st.floats(0, 1))
def test_harder_never_means_a_smaller_tier(one: float, other: float) -> None:
    easier, harder = sorted((one, other))
    order = ["small", "medium", "large"]
    run = a_run(*tiers())
    first, second = (decide(threshold(), run, d).tier for d in (easier, harder))
    assert order.index(first) <= order.index(second)


def test_the_middle_may_be_another_strategy() -> None:
    decision = decide(threshold(middle="self_consistency"), a_run(*tiers()))
    assert decision.strategy == "self_consistency"


@pytest.mark.parametrize(
    ("form", "strategy"),
    [("number", "reasc"), ("choice", "reasc"), ("code", "cascade"), (None, "cascade")],
)
def test_answers_that_votes_can_compare_have_a_strategy_of_their_own(
    form: str | None, strategy: str
) -> None:
    estimate = Estimate(0.5, "fake", "made up", checkable=form)
    decision = threshold().decide(a_run(*tiers()), estimate, Load({}))
    assert (decision.tier, decision.strategy) == ("small", strategy)
    assert "cascade on small" in (*decision.alternatives, f"{decision.strategy} on small")


def test_votes_that_cannot_serve_the_request_give_way_to_the_middle() -> None:
    estimate = Estimate(0.5, "fake", "made up", checkable="number")
    run = a_run(*tiers(), request=a_request(temperature=0.0))
    assert threshold().decide(run, estimate, Load({})).strategy == "cascade"


def test_a_middle_that_cannot_serve_the_request_gives_way_to_the_large_tier() -> None:
    run = a_run(*tiers(), request=a_request(extra={"tools": [{}]}))
    decision = decide(threshold(), run)
    assert (decision.tier, decision.strategy) == ("large", "single")


def test_a_tier_that_is_down_is_left_out_and_named() -> None:
    small, medium, _ = tiers()
    run = a_run(small, medium, a_tier("large", available=False))
    decision = decide(threshold(), run, 0.9)
    assert (decision.tier, decision.degraded) == ("medium", ("tier:large",))
    run = a_run(a_tier("small", available=False), medium)
    assert decide(threshold(), run, 0.1).tier == "medium"


def test_thresholds_in_the_wrong_order_are_refused() -> None:
    with pytest.raises(ValidationError, match="easy_below must not be above hard_above"):
        ThresholdConfig(easy_below=0.8, hard_above=0.2)


def test_the_static_policy_decides_the_same_for_everyone() -> None:
    policy = StaticConfig(tier="medium", strategy="cascade").build(STRATEGIES)
    for difficulty in (0.0, 0.5, 1.0, None):
        decision = decide(policy, a_run(*tiers()), difficulty)
        assert (decision.tier, decision.strategy) == ("medium", "cascade")


def test_the_static_policy_takes_the_cheapest_unless_told() -> None:
    decision = decide(POLICIES[0], a_run(*tiers()))
    assert (decision.tier, decision.strategy) == ("small", "single")


def test_the_static_policy_falls_back_to_what_is_up_and_supported() -> None:
    policy = StaticConfig(tier="large", strategy="cascade").build(STRATEGIES)
    small = a_tier("small")
    down = decide(policy, a_run(small, a_tier("large", available=False)))
    assert (down.tier, down.degraded) == ("small", ("tier:large",))
    several = decide(policy, a_run(*tiers(), request=a_request(n=2)))
    assert (several.tier, several.strategy) == ("large", "single")


@any_policy
def test_tiers_that_do_not_take_images_are_passed_over(policy: Policy) -> None:
    run = a_run(a_tier("blind"), a_tier("seeing", vision=True), request=PICTURE)
    assert decide(policy, run).tier == "seeing"


@any_policy
def test_images_and_tools_that_no_tier_takes_are_the_clients_to_change(policy: Policy) -> None:
    with pytest.raises(InvalidRequest, match="images") as caught:
        decide(policy, a_run(*tiers(), request=PICTURE))
    assert caught.value.param == "messages"
    tools = a_request(extra={"tools": [{}]})
    with pytest.raises(InvalidRequest, match="tools") as caught:
        decide(policy, a_run(a_tier("small", tools=False), request=tools))
    assert caught.value.param == "tools"


@any_policy
def test_a_tier_too_short_for_the_completion_is_passed_over(policy: Policy) -> None:
    run = a_run(
        a_tier("short", context_length=100),
        a_tier("long", context_length=4096),
        request=a_request(max_tokens=500),
    )
    assert decide(policy, run).tier == "long"


@any_policy
def test_a_completion_longer_than_every_context_is_refused(policy: Policy) -> None:
    run = a_run(a_tier("short", context_length=100), request=a_request(max_tokens=500))
    with pytest.raises(ContextLengthExceeded, match="100 tokens") as caught:
        decide(policy, run)
    assert caught.value.code == "context_length_exceeded"


@any_policy
def test_all_tiers_down_is_unavailable(policy: Policy) -> None:
    run = a_run(a_tier("small", available=False), a_tier("large", available=False))
    with pytest.raises(TierUnavailable, match="small, large"):
        decide(policy, run)


@any_policy
def test_a_target_quality_is_refused_where_nothing_predicts_it(policy: Policy) -> None:
    with pytest.raises(InvalidRequest) as caught:
        decide(policy, a_run(*tiers(), options=Options(quality=0.9)))
    assert caught.value.param == "entroute.quality"


@any_policy
@pytest.mark.parametrize("difficulty", [0.1, 0.5, 0.9])
def test_a_verifier_is_served_by_a_strategy_that_has_a_use_for_it(
    policy: Policy, difficulty: float
) -> None:
    run = a_run(*tiers(), verifier=FakeVerifier({}))
    assert decide(policy, run, difficulty).strategy == "self_consistency"


@any_policy
def test_a_verifier_that_nothing_has_a_use_for_is_named(policy: Policy) -> None:
    run = a_run(*tiers(), verifier=FakeVerifier({}), request=a_request(n=2))
    with pytest.raises(InvalidRequest, match=r"No strategy of the server's policy") as caught:
        decide(policy, run)
    assert caught.value.param in {"entroute.verifier", "n"}


@any_policy
def test_a_principal_gets_only_the_strategies_it_may_use(policy: Policy) -> None:
    only = Principal(strategies=frozenset({"single"}))
    assert decide(policy, a_run(*tiers(), principal=only)).strategy == "single"
    none = Principal(strategies=frozenset({"cascade"}))
    with pytest.raises(PermissionDenied):
        decide(policy, a_run(*tiers(), principal=none, request=a_request(n=2)))
