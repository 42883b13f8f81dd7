"""Who may ask what of the walk, and how much it may spend."""

from dataclasses import replace

import pytest

from entroute.errors import (
    BudgetExhausted,
    ConfigurationError,
    InvalidRequest,
    NotFound,
    PermissionDenied,
    TierUnavailable,
    WorkerFailed,
)
from entroute.spending import BudgetLimits
from entroute.types import Options, Principal
from tests.builders import a_request, backend_of
from tests.fakes import (
    no_task_left,
)
from tests.scripted import fails, says
from tests.walks import LIMITS, WARM, walk

__all__ = ["no_task_left"]


@pytest.mark.parametrize(("model", "tier"), [("large", "large"), ("large-model", "large")])
async def test_a_named_model_is_asked_directly(model: str, tier: str) -> None:
    w = walk()
    outcome = await w.ask(a_request(model=model))
    assert (outcome.tier, outcome.strategy) == (tier, "single")
    assert w.estimator.asked == 0
    assert w.trace.estimate is None


async def test_a_named_strategy_decides_itself() -> None:
    w = walk()
    outcome = await w.ask(WARM, Options(strategy="self_consistency"))
    assert outcome.strategy == "self_consistency"
    assert w.estimator.asked == 0


async def test_a_pinned_tier_that_is_down_fails() -> None:
    w = walk(fails(TierUnavailable("small")))
    with pytest.raises(TierUnavailable):
        await w.ask(a_request(model="small"))
    assert w.trace.result == "server_error"


async def test_an_unknown_model_is_not_found_and_the_known_ones_are_named() -> None:
    w = walk()
    with pytest.raises(NotFound, match="auto, small, large, small-model, large-model") as caught:
        await w.ask(a_request(model="gpt-x"))
    assert (caught.value.param, caught.value.code) == ("model", "model_not_found")
    assert (w.trace.result, w.trace.error) == ("client_error", "NotFound")


@pytest.mark.parametrize("model", ["large", "large-model"])
async def test_a_principal_may_not_pin_a_tier_it_may_not_use(model: str) -> None:
    only_small = Principal(tiers=frozenset({"small"}))
    with pytest.raises(PermissionDenied):
        await walk().ask(a_request(model=model), principal=only_small)


async def test_a_principal_without_a_tier_is_denied() -> None:
    with pytest.raises(PermissionDenied):
        await walk().ask(principal=Principal(tiers=frozenset({"huge"})))


async def test_a_principals_tiers_bound_fallbacks_too() -> None:
    w = walk(fails(WorkerFailed("w", "500")))
    with pytest.raises(WorkerFailed):
        await w.ask(principal=Principal(tiers=frozenset({"small"})))
    assert backend_of(w.tiers[1]).calls == []


@pytest.mark.parametrize(
    ("server", "principal", "client", "expected"),
    [(40, None, None, 40), (40, 30, None, 30), (40, 30, 20, 20), (40, 30, 99, 30)],
)
async def test_the_tightest_of_the_servers_the_principals_and_the_clients_limits_holds(
    server: int, principal: int | None, client: int | None, expected: int
) -> None:
    w = walk(limits=replace(LIMITS, max_generated_tokens=server))
    await w.ask(
        a_request(max_tokens=100),
        Options(limits=BudgetLimits(max_generated_tokens=client)),
        Principal(limits=BudgetLimits(max_generated_tokens=principal)),
    )
    assert w.small.calls[0].max_tokens == expected


async def test_the_deadline_counts_from_the_arrival() -> None:
    w = walk()
    w.clock.advance(5)
    await w.ask(options=Options(limits=BudgetLimits(deadline_s=20)))
    assert w.small.calls[0].deadline == 120


async def test_a_request_that_arrives_too_late_is_refused() -> None:
    w = walk()
    w.clock.advance(61)
    with pytest.raises(BudgetExhausted):
        await w.ask()
    assert (w.trace.result, w.trace.exhausted) == ("server_error", "deadline")


async def test_a_limit_of_nothing_allows_nothing() -> None:
    w = walk(says("x"))
    with pytest.raises(BudgetExhausted) as caught:
        await w.ask(principal=Principal(limits=BudgetLimits(max_cost_usd=0.0)))
    assert caught.value.limit == "max_cost_usd"
    assert w.small.calls == []


async def test_a_wrong_verifier_is_refused() -> None:
    w = walk()
    with pytest.raises(InvalidRequest):
        await w.ask(options=Options(verifier={"kind": "magic"}))
    assert w.trace.result == "client_error"


def test_a_server_without_limits_is_misconfigured() -> None:
    with pytest.raises(ConfigurationError, match="max_calls"):
        walk(limits=BudgetLimits(max_calls=1))
