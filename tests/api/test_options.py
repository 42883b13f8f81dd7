"""entroute's own options and the headers that answer them."""

import json
import re
from typing import Any

import pytest

from tests.api.conftest import OPEN, PROBED_MIDDLE_UNSURE, Client, Workers

pytestmark = pytest.mark.asyncio(loop_scope="session")

VOTE = {"strategy": "self_consistency"}


async def test_headers_tell_what_was_done(gateway: Client, workers: Workers):
    await workers.small.script(certainty=PROBED_MIDDLE_UNSURE)
    response = await gateway.chat(OPEN, model="auto")
    headers = response.headers
    assert headers["x-entroute-tier"] == "large"
    assert headers["x-entroute-strategy"] == "cascade"
    assert headers["x-entroute-cache"] == "bypass"
    assert 0.1 < float(headers["x-entroute-difficulty"]) < 0.6
    assert headers["x-entroute-calls"] == "2"
    assert 0 < float(headers["x-entroute-overhead-ms"]) < 1000
    assert "x-entroute-degraded" not in headers
    assert headers["x-request-id"]


async def test_what_was_not_computed_is_absent(gateway: Client):
    headers = (await gateway.chat()).headers
    assert "x-entroute-difficulty" not in headers
    assert "x-entroute-degraded" not in headers


async def test_overhead_leaves_out_the_workers_time(gateway: Client, workers: Workers):
    await workers.small.script(ttft_ms=400)
    headers = (await gateway.chat()).headers
    assert float(headers["x-entroute-overhead-ms"]) < 200


@pytest.mark.parametrize("given", ["a", "Req-1.2:3_4", "x" * 128])
async def test_a_sane_request_id_is_kept(gateway: Client, given: str):
    response = await gateway.chat(headers={"x-request-id": given})
    assert response.headers.get_list("x-request-id") == [given]


@pytest.mark.parametrize("given", ["", "x" * 129, "a b", "a\tb", "ä", '"><script>'])
async def test_any_other_request_id_is_replaced(gateway: Client, given: str):
    response = await gateway.chat(headers={"x-request-id": given.encode()})  # type: ignore[dict-item]
    ids = response.headers.get_list("x-request-id")
    assert len(ids) == 1
    assert re.fullmatch("[0-9a-f]{32}", ids[0])


@pytest.mark.parametrize("path", ["/healthz", "/v1/models", "/nowhere", "/metrics"])
async def test_every_response_has_a_request_id(gateway: Client, path: str):
    response = await gateway.get(path, {"x-request-id": "mine"})
    assert response.headers["x-request-id"] == "mine"


async def test_options_come_by_body(gateway: Client):
    response = await gateway.chat(entroute=VOTE)
    assert response.headers["x-entroute-strategy"] == "self_consistency"


async def test_options_come_by_header(gateway: Client):
    response = await gateway.chat(headers={"x-entroute-strategy": "self_consistency"})
    assert response.headers["x-entroute-strategy"] == "self_consistency"


async def test_structured_options_come_by_header_as_json(gateway: Client):
    headers = {
        "x-entroute-strategy": "self_consistency",
        "x-entroute-budget": json.dumps({"max_calls": 3}),
        "x-entroute-verifier": json.dumps({"kind": "majority"}),
        "x-entroute-explain": "true",
    }
    answer = await gateway.answer(headers=headers)
    assert answer["entroute"]["calls"] == 3
    assert answer["entroute"]["verifier"] == "majority"


async def test_the_body_wins_over_headers(gateway: Client):
    response = await gateway.chat(
        model="auto",
        headers={"x-entroute-strategy": "self_consistency", "x-entroute-cache": "force"},
        entroute={"strategy": "cascade"},
    )
    assert response.headers["x-entroute-strategy"] == "cascade"
    assert response.headers["x-entroute-cache"] == "miss"


@pytest.mark.parametrize(
    ("body", "headers", "param"),
    [
        ({"strateggy": "single"}, {}, "entroute.strateggy"),
        ({"budget": {"max_cals": 1}}, {}, "entroute.budget.max_cals"),
        ({}, {"x-entroute-strateggy": "single"}, "x-entroute-strateggy"),
        ({}, {"x-entroute-budget": '{"max_cals": 1}'}, "x-entroute-budget.max_cals"),
    ],
)
async def test_an_unknown_option_is_refused_by_name(
    gateway: Client, body: dict[str, Any], headers: dict[str, str], param: str
):
    response = await gateway.chat(entroute=body, headers=headers)
    assert response.status_code == 400
    error = response.json()["error"]
    assert error["param"] == param
    assert "strategy, quality, budget" in error["message"]


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"quality": 1.5}, "entroute.quality"),
        ({"cache": "sometimes"}, "entroute.cache"),
        ({"explain": "perhaps"}, "entroute.explain"),
        ({"budget": 3}, "entroute.budget"),
        ({"budget": {"max_calls": 0}}, "entroute.budget.max_calls"),
        ({"budget": {"deadline_ms": -1}}, "entroute.budget.deadline_ms"),
        ({"strategy": 7}, "entroute.strategy"),
        ({"strategy": ""}, "entroute.strategy"),
        ({"quality": "0.5"}, "entroute.quality"),
        ({"explain": 1}, "entroute.explain"),
        ({"explain": "true"}, "entroute.explain"),
        ({"budget": {"max_calls": True}}, "entroute.budget.max_calls"),
        ({"budget": {"max_calls": "3"}}, "entroute.budget.max_calls"),
        ({"budget": {"deadline_ms": "500"}}, "entroute.budget.deadline_ms"),
        ({"verifier": "majority"}, "entroute.verifier"),
        ({"verifier": {}}, "entroute.verifier.kind"),
        ({"verifier": {"kind": ["majority"]}}, "entroute.verifier.kind"),
        ({"verifier": {"kind": "exact"}}, "entroute.verifier.answer"),
        ({"verifier": {"kind": "confidence", "window": 0}}, "entroute.verifier.window"),
    ],
)
async def test_a_wrong_option_is_refused_by_its_path(
    gateway: Client, options: dict[str, Any], param: str
):
    response = await gateway.chat(entroute=options)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == param


@pytest.mark.parametrize("options", ["cascade", 3, [1]])
async def test_options_that_are_no_object_are_refused(gateway: Client, options: Any):
    response = await gateway.chat(entroute=options)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "entroute"


async def test_a_header_that_should_be_json_and_is_not_is_named(gateway: Client):
    response = await gateway.chat(headers={"x-entroute-budget": "3 calls"})
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "x-entroute-budget"


async def test_a_header_nested_deeper_than_a_body_may_be_is_refused(gateway: Client):
    deep = '{"kind": "exact", "answer": ' + "[" * 250 + "]" * 250 + "}"
    response = await gateway.chat(headers={"x-entroute-verifier": deep})
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "x-entroute-verifier"
    assert "deeper" in response.json()["error"]["message"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("strategy", ""),
        ("explain", '"true"'),
        ("quality", '"0.5"'),
        ("budget", '{"max_calls": "3"}'),
    ],
)
async def test_headers_are_as_strict_about_types_as_the_body(
    gateway: Client, name: str, value: str
):
    response = await gateway.chat(headers={f"x-entroute-{name}": value})
    assert response.status_code == 400
    assert response.json()["error"]["param"].startswith(f"x-entroute-{name}")


async def test_an_unknown_strategy_lists_the_known_ones(gateway: Client):
    error = (await gateway.chat(entroute={"strategy": "magic"})).json()["error"]
    assert error["param"] == "entroute.strategy"
    for known in ("single", "cascade", "self_consistency"):
        assert known in error["message"]


async def test_an_unknown_verifier_lists_the_known_ones(gateway: Client):
    options = {**VOTE, "verifier": {"kind": "magic"}}
    error = (await gateway.chat(entroute=options)).json()["error"]
    for known in ("confidence", "exact", "majority"):
        assert known in error["message"]


async def test_explain_shows_decision_estimate_candidates_and_votes(
    gateway: Client, workers: Workers
):
    await workers.small.script(answers=["The answer is 4.", "The answer is 5."])
    options = {**VOTE, "verifier": {"kind": "majority"}, "explain": True}
    shown = (await gateway.answer("What is 2 + 2?", entroute=options))["entroute"]
    assert shown["decision"]["strategy"] == "self_consistency"
    assert "names its model and strategy" in shown["decision"]["reason"]
    assert len(shown["candidates"]) == 5
    assert sorted(v["score"] for v in shown["verdicts"]) == [0.4, 0.4, 0.6, 0.6, 0.6]
    assert {v["answer"] for v in shown["verdicts"]} == {"4", "5"}
    assert shown["stop_reason"] == "exhausted"


async def test_explain_under_auto_shows_the_estimate_and_ranked_alternatives(
    gateway: Client, workers: Workers
):
    await workers.small.script(certainty=PROBED_MIDDLE_UNSURE)
    answer = await gateway.answer(OPEN, model="auto", entroute={"explain": True})
    shown = answer["entroute"]
    assert shown["estimate"]["source"] == "probe"
    assert shown["decision"]["alternatives"] == ["single on small", "single on large"]
    assert shown["escalations"][0]["from"] == "small"
    assert shown["escalations"][0]["reason"] == "unsure"
    assert len(shown["entropy_nats"]) == answer["usage"]["completion_tokens"]


async def test_without_explain_the_body_is_openais_alone(gateway: Client):
    assert "entroute" not in await gateway.answer()


async def test_explain_reaches_the_last_chunk_of_a_stream(gateway: Client):
    events = await gateway.events(entroute={"explain": True})
    assert events.chunks[-1]["entroute"]["decision"]["tier"] == "small"


async def test_of_options_workers_are_told_the_time_left_only(gateway: Client, workers: Workers):
    await gateway.answer(entroute={"explain": True}, headers={"x-entroute-cache": "bypass"})
    received = (await workers.small.requests())[0]
    assert "entroute" not in received["body"]
    told = {name for name in received["headers"] if name.startswith("x-entroute")}
    assert told == {"x-entroute-budget"}
    assert json.loads(received["headers"]["x-entroute-budget"]).keys() == {"deadline_ms"}


async def test_the_clients_key_is_not_sent_to_workers(gateway: Client, workers: Workers):
    await gateway.answer(headers={"authorization": "Bearer secret"})
    assert "authorization" not in (await workers.small.requests())[0]["headers"]


@pytest.mark.parametrize(
    "budget", [{"max_calls": 2}, {"max_generated_tokens": 20}, {"max_cost_usd": 0.0006}]
)
async def test_budgets_bound_a_vote(gateway: Client, workers: Workers, budget: dict[str, Any]):
    answer = await gateway.answer(entroute={**VOTE, "budget": budget})
    spent = answer["usage"]["entroute"]
    assert spent["calls"] <= budget.get("max_calls", 5)
    assert spent["completion_tokens"] <= budget.get("max_generated_tokens", 1000)
    assert spent["cost_usd"] <= budget.get("max_cost_usd", 1.0)
