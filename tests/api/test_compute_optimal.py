"""Requests that a profile decides: what clients get, and what they are told of it."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from entroute.embedded.engine import free_port
from entroute.profile.text_model import Familiarity
from tests.api.conftest import Workers
from tests.api.promises import (
    LARGE,
    LETTER,
    NUMBER,
    SMALL,
    VOTES,
    Decide,
    deciding_gateways,
    decision_of,
    knows,
    plan_of,
)
from tests.gateway_process import two_tiers
from tests.profiles import a_plan, a_text_model

pytestmark = pytest.mark.asyncio(loop_scope="session")

EXPLAIN = {"explain": True}
TOOL = {
    "type": "function",
    "function": {"name": "count", "parameters": {"type": "object", "properties": {}}},
}
DIFFERENT = ["The answer is 12.", "The answer is 13.", "The answer is 14.", "The answer is 15."]


@pytest_asyncio.fixture(loop_scope="session")
async def decide(
    workers: Workers, http: httpx.AsyncClient, tmp_path: Path
) -> AsyncIterator[Decide]:
    """Start gateways of a test's own. See `deciding_gateways`."""
    async with deciding_gateways(workers, http, tmp_path) as start:
        yield start


@pytest.mark.parametrize(
    ("trade_off", "plan", "tier"), [(0.1, "large x1", "large"), (0.5, "small x1", "small")]
)
async def test_the_plan_whose_promise_is_worth_its_cost_answers(
    decide: Decide, trade_off: float, plan: str, tier: str
):
    gateway = await decide(trade_off=trade_off)
    response = await gateway.chat(NUMBER, model="auto", entroute=EXPLAIN)
    assert response.headers["x-entroute-tier"] == tier
    assert response.headers["x-entroute-strategy"] == "single"
    assert response.headers["x-entroute-difficulty"] == "0.5000"
    assert "x-entroute-degraded" not in response.headers
    assert response.json()["model"] == f"qwen-{tier}"
    assert decision_of(response.json())["plan"] == plan


async def test_the_operators_trade_off_goes_before_the_profiles(decide: Decide):
    gateway = await decide(trade_off=0.1, changes={"policy": {"trade_off": 0.5}})
    assert await plan_of(gateway) == "small x1"


async def test_explain_ranks_every_plan_with_promise_cost_and_reason(decide: Decide):
    decision = decision_of(await (await decide()).answer(NUMBER, model="auto", entroute=EXPLAIN))
    plans = decision["plans"]
    assert [plan["plan"] for plan in plans] == ["large x1", "small reasc <=3", "small x1"]
    assert [plan["chosen"] for plan in plans] == [True, False, False]
    assert [plan["p_right"] for plan in plans] == pytest.approx([0.7, 0.55, 0.4], abs=1e-3)
    assert [plan["cost"] for plan in plans] == pytest.approx([1.0, 1.2, 0.3], abs=1e-3)
    assert [plan["strategy"] for plan in plans] == ["single", "reasc", "single"]
    assert [plan["tier"] for plan in plans] == ["large", "small", "small"]
    assert plans[0]["reason"] == "worth 0.600"
    assert plans[0]["cost_usd"] == pytest.approx(100 * 20e-6, rel=0.2)  # and a short prompt
    assert decision["predicted_quality"] == pytest.approx(0.7, abs=1e-3)
    assert decision["predicted_cost_usd"] == plans[0]["cost_usd"]
    assert decision["basis"] == "predicted"
    assert decision["quality_unmet"] is False
    assert "large x1" in decision["reason"]
    assert len(decision["alternatives"]) == 2


async def test_explain_shows_what_the_estimate_went_by(decide: Decide):
    gateway = await decide(text=knows("apples", "violins"))
    answer = await gateway.answer(NUMBER, model="auto", entroute=EXPLAIN)
    estimate = answer["entroute"]["estimate"]
    assert estimate["source"] == "learned"
    assert estimate["checkable"] == "number"
    assert set(estimate["p_right"]) == {"small", "large"}
    assert estimate["p_right"]["small"] < 0.5
    assert estimate["difficulty"] == pytest.approx(1 - estimate["p_right"]["small"], abs=1e-3)
    (feature,) = estimate["features"]
    assert feature["feature"] == "apples"
    assert feature["harder"] > 0
    assert {"task", "output_tokens"} <= set(estimate)


@pytest.mark.parametrize(
    ("quality", "plan", "unmet"), [(0.3, "small x1", False), (0.6, "large x1", False)]
)
async def test_a_target_is_met_by_the_cheapest_plan(
    decide: Decide, quality: float, plan: str, *, unmet: bool
):
    gateway = await decide(trade_off=0.0)
    options = {**EXPLAIN, "quality": quality}
    decision = decision_of(await gateway.answer(NUMBER, model="auto", entroute=options))
    assert (decision["plan"], decision["basis"]) == (plan, "target")
    assert decision["quality_unmet"] is unmet


async def test_a_target_out_of_reach_gets_the_best_and_is_said_to_be_unmet(decide: Decide):
    gateway = await decide(trade_off=5.0)
    answer = await gateway.answer(
        NUMBER, model="auto", entroute=EXPLAIN, headers={"x-entroute-quality": "0.99"}
    )
    decision = decision_of(answer)
    assert decision["plan"] == "large x1"
    assert decision["quality_unmet"] is True
    assert "out of reach" in decision["reason"]


@pytest.mark.parametrize("stream", [False, True])
async def test_what_nothing_can_check_is_cascaded_and_promised_nothing(
    decide: Decide, *, stream: bool
):
    gateway = await decide()
    if stream:
        events = await gateway.events(LETTER, model="auto", entroute=EXPLAIN, max_tokens=16)
        pieces = [c for chunk in events.chunks for c in chunk["choices"]]
        assert len([piece for piece in pieces if piece["delta"].get("content")]) > 2
        shown = events.chunks[-1]["entroute"]
    else:
        shown = (await gateway.answer(LETTER, model="auto", entroute=EXPLAIN))["entroute"]
    assert shown["strategy"] == "cascade"
    decision = shown["decision"]
    assert (decision["plan"], decision["basis"]) == ("free form", "free_form")
    assert decision["predicted_quality"] is None
    assert decision["plans"] == []


async def test_a_poem_after_a_sum_is_promised_nothing(decide: Decide):
    turns = [
        {"role": "user", "content": NUMBER},
        {"role": "assistant", "content": "12"},
        {"role": "user", "content": "Thank you. Write a poem about them."},
    ]
    answer = await (await decide()).answer(messages=turns, model="auto", entroute=EXPLAIN)
    assert decision_of(answer)["basis"] == "free_form"


async def test_an_unfamiliar_prompt_gets_the_static_plan(decide: Decide):
    strict = Familiarity(least_known=0.5, most_odd=1e9)
    text = a_text_model({"small": 0.5, "large": 0.8}, familiarity=strict)
    gateway = await decide(text=text, static_plan="small x1")
    answer = await gateway.answer(NUMBER, model="auto", entroute={**EXPLAIN, "quality": 0.1})
    decision = decision_of(answer)
    assert (decision["plan"], decision["basis"]) == ("small x1", "unfamiliar")
    assert decision["predicted_quality"] is None
    assert decision["quality_unmet"] is True
    assert "p_right" not in answer["entroute"]["estimate"]
    assert await gateway.sample("entroute_decisions_total", basis="unfamiliar") == 1


@pytest.mark.parametrize("text", [NUMBER, LETTER])
@pytest.mark.parametrize(
    "verifier", [{"kind": "majority"}, {"kind": "exact", "answer": "12"}, {"kind": "confidence"}]
)
async def test_a_request_with_a_verifier_is_served_by_it(
    decide: Decide, workers: Workers, text: str, verifier: dict[str, Any]
):
    await workers.small.script(answers=["The answer is 12."])
    await workers.large.script(answers=["The answer is 12."])
    gateway = await decide()
    answer = await gateway.answer(text, model="auto", entroute={**EXPLAIN, "verifier": verifier})
    assert answer["entroute"]["verifier"] == verifier["kind"]
    assert answer["choices"][0]["message"]["content"] == "The answer is 12."


async def test_what_the_request_names_itself_is_not_decided(decide: Decide):
    gateway = await decide()
    pinned = await gateway.answer(NUMBER, model="small", entroute=EXPLAIN)
    assert pinned["model"] == "qwen-small"
    assert "plan" not in decision_of(pinned)
    options = {**EXPLAIN, "strategy": "self_consistency"}
    named = await gateway.answer(NUMBER, model="auto", entroute=options)
    assert named["entroute"]["calls"] == 5
    assert "plan" not in decision_of(named)
    assert await gateway.sample("entroute_decisions_total") == 0
    refused = await gateway.chat(NUMBER, model="small", entroute={"quality": 0.5})
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == "entroute.quality"


@pytest.mark.parametrize("text", [NUMBER, LETTER])
async def test_tools_and_several_choices_are_served(decide: Decide, text: str):
    gateway = await decide()
    tools = await gateway.answer(text, model="auto", tools=[TOOL], entroute=EXPLAIN)
    assert tools["entroute"]["strategy"] == "single"
    several = await gateway.answer(text, model="auto", n=2, entroute=EXPLAIN)
    assert len(several["choices"]) == 2
    assert several["entroute"]["strategy"] == "single"


async def test_at_temperature_0_no_plan_votes_and_the_cache_answers(decide: Decide):
    gateway = await decide()
    answer = await gateway.answer(NUMBER, model="auto", temperature=0, entroute=EXPLAIN)
    assert {plan["plan"] for plan in decision_of(answer)["plans"]} == {"small x1", "large x1"}
    again = await gateway.chat(NUMBER, model="auto", temperature=0, entroute=EXPLAIN)
    assert again.headers["x-entroute-cache"] == "exact"


@pytest.mark.parametrize("budget", [{"max_calls": 1}, {"max_generated_tokens": 299}])
async def test_only_plans_that_the_budget_holds_are_considered(
    decide: Decide, budget: dict[str, int]
):
    gateway = await decide(SMALL, a_plan("small votes", 0.9, 0.1, worst_calls=3), LARGE)
    options = {**EXPLAIN, "budget": budget}
    answer = await gateway.answer(NUMBER, model="auto", entroute=options)
    assert {plan["plan"] for plan in decision_of(answer)["plans"]} == {"small x1", "large x1"}
    assert answer["entroute"]["calls"] == 1
    assert await plan_of(gateway) == "small votes"


async def test_an_answer_is_expected_no_longer_than_its_client_wants_it(decide: Decide):
    gateway = await decide()
    answer = await gateway.answer(NUMBER, model="auto", max_tokens=10, entroute=EXPLAIN)
    costs = {plan["plan"]: plan["cost"] for plan in decision_of(answer)["plans"]}
    assert costs == pytest.approx({"small x1": 0.03, "large x1": 0.1, "small reasc <=3": 0.12})


async def test_plans_dearer_than_the_clients_dollars_are_left_out(decide: Decide):
    gateway = await decide()
    options = {**EXPLAIN, "budget": {"max_cost_usd": 0.001}}
    answer = await gateway.answer(NUMBER, model="auto", entroute=options)
    assert {plan["tier"] for plan in decision_of(answer)["plans"]} == {"small"}


async def test_a_tier_that_is_down_is_done_without_and_named(decide: Decide, workers: Workers):
    tiers = two_tiers(workers.small.url, f"http://127.0.0.1:{free_port()}")["tiers"]
    gateway = await decide(changes={"tiers": tiers})
    response = await gateway.chat(NUMBER, model="auto", entroute=EXPLAIN)
    assert response.headers["x-entroute-tier"] == "small"
    assert response.headers["x-entroute-degraded"] == "tier:large"
    assert decision_of(response.json())["plan"] == "small reasc <=3"


async def test_a_tier_that_is_down_is_not_named_where_it_would_not_have_answered(
    decide: Decide, workers: Workers
):
    tiers = two_tiers(workers.small.url, f"http://127.0.0.1:{free_port()}")["tiers"]
    gateway = await decide(trade_off=0.5, changes={"tiers": tiers})
    response = await gateway.chat(NUMBER, model="auto")
    assert response.headers["x-entroute-tier"] == "small"
    assert "x-entroute-degraded" not in response.headers


async def test_decisions_and_promises_are_counted_by_plan(decide: Decide):
    gateway = await decide()
    await gateway.answer(NUMBER, model="auto")
    await gateway.answer(NUMBER, model="auto", entroute={"quality": 0.3})
    await gateway.answer(LETTER, model="auto")
    decisions = "entroute_decisions_total"
    assert await gateway.sample(decisions, plan="large x1", basis="predicted") == 1
    assert await gateway.sample(decisions, plan="small x1", basis="target") == 1
    assert await gateway.sample(decisions, plan="free form", basis="free_form") == 1
    promises = "entroute_predicted_quality_sum"
    assert await gateway.sample(promises, plan="large x1") == pytest.approx(0.7, abs=1e-3)
    assert await gateway.sample(promises, plan="free form") == 0


async def test_a_plan_spends_by_its_own_thresholds(decide: Decide, workers: Workers):
    await workers.small.script(answers=DIFFERENT)
    gateway = await decide(VOTES, changes={"strategies": [{"kind": "reasc", "samples": 5}]})
    planned = await gateway.answer(NUMBER, model="auto", entroute=EXPLAIN)
    assert decision_of(planned)["plan"] == VOTES.name
    assert planned["entroute"]["calls"] == 3
    named = await gateway.answer(NUMBER, model="small", entroute={**EXPLAIN, "strategy": "reasc"})
    assert named["entroute"]["calls"] == 5


async def test_the_official_client_sees_the_decision(decide: Decide):
    gateway = await decide()
    messages: list[Any] = [{"role": "user", "content": NUMBER}]
    answer = await gateway.sdk.chat.completions.create(
        model="auto", messages=messages, extra_body={"entroute": EXPLAIN}
    )
    assert answer.model == "qwen-large"
    assert answer.model_extra is not None
    assert decision_of(answer.model_extra)["plan"] == "large x1"
    stream = await gateway.sdk.chat.completions.create(
        model="auto", messages=messages, stream=True, extra_body={"entroute": EXPLAIN}
    )
    chunks = [chunk async for chunk in stream]
    assert chunks[-1].model_extra is not None
    assert decision_of(chunks[-1].model_extra)["plan"] == "large x1"
