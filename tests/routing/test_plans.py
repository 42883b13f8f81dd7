import pytest

from entroute.errors import InvalidRequest, PermissionDenied
from entroute.routing.plans import pinned_decision
from entroute.types import Options, Principal
from tests.builders import a_request, a_run, a_tier
from tests.fakes import FakeVerifier
from tests.routing.test_policies import STRATEGIES


def test_a_pinned_tier_is_answered_by_one_sample() -> None:
    run = a_run(a_tier("small"), pinned="small")
    decision = pinned_decision(run, run.tiers[0], STRATEGIES)
    assert (decision.tier, decision.strategy) == ("small", "single")
    assert decision.reason == "the request names its model"


def test_a_pinned_strategy_is_used() -> None:
    run = a_run(a_tier("small"), options=Options(strategy="self_consistency"), pinned="small")
    decision = pinned_decision(run, run.tiers[0], STRATEGIES)
    assert decision.strategy == "self_consistency"
    assert decision.reason == "the request names its model and strategy"


def test_an_unknown_strategy_is_refused_with_the_known_ones() -> None:
    run = a_run(a_tier("small"), options=Options(strategy="magic"))
    with pytest.raises(InvalidRequest, match="cascade, reasc, self_consistency, single") as caught:
        pinned_decision(run, run.tiers[0], STRATEGIES)
    assert caught.value.param == "entroute.strategy"


def test_a_field_that_the_strategy_cannot_honour_is_named() -> None:
    run = a_run(
        a_tier("small"), request=a_request(n=2), options=Options(strategy="self_consistency")
    )
    with pytest.raises(InvalidRequest, match="cannot honour 'n'") as caught:
        pinned_decision(run, run.tiers[0], STRATEGIES)
    assert caught.value.param == "n"


def test_a_verifier_without_a_strategy_that_uses_it_is_refused() -> None:
    run = a_run(a_tier("small"), pinned="small", verifier=FakeVerifier({}))
    with pytest.raises(InvalidRequest) as caught:
        pinned_decision(run, run.tiers[0], STRATEGIES)
    assert caught.value.param == "entroute.verifier"


def test_a_strategy_that_the_key_may_not_use_is_denied() -> None:
    run = a_run(
        a_tier("small"),
        options=Options(strategy="cascade"),
        principal=Principal(strategies=frozenset({"single"})),
    )
    with pytest.raises(PermissionDenied) as caught:
        pinned_decision(run, run.tiers[0], STRATEGIES)
    assert caught.value.param == "entroute.strategy"


def test_a_target_quality_is_refused() -> None:
    run = a_run(a_tier("small"), pinned="small", options=Options(quality=0.9))
    with pytest.raises(InvalidRequest, match="does not predict quality"):
        pinned_decision(run, run.tiers[0], STRATEGIES)
