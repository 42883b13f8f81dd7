"""Usage: the delivered answer as one call's, everything spent beside it, all of it the workers'."""

from dataclasses import dataclass
from typing import Any

import pytest

from tests.api.conftest import (
    OPEN,
    PROBED_EASY,
    PROBED_HARD,
    PROBED_MIDDLE_SURE,
    PROBED_MIDDLE_UNSURE,
    Client,
    Workers,
)

pytestmark = pytest.mark.asyncio(loop_scope="session")

ALL_SAMPLES = {"strategy": "self_consistency", "verifier": {"kind": "exact", "answer": "4"}}


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a worker counted itself."""

    prompt: int
    completion: int


async def counted(workers: Workers, tier: str) -> Tokens:
    worker = workers.small if tier == "small" else workers.large
    metrics = await worker.metrics()
    return Tokens(
        int(metrics["vllm:prompt_tokens_total"]), int(metrics["vllm:generation_tokens_total"])
    )


def of_tier(spent: dict[str, Any], tier: str) -> Tokens:
    rows = [row for row in spent["by"] if row["tier"] == tier]
    return Tokens(
        sum(row["prompt_tokens"] for row in rows), sum(row["completion_tokens"] for row in rows)
    )


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"n": 3},
        {"model": "auto"},
        {"model": "auto", "n": 2},
        {"max_tokens": 3},
        {"entroute": ALL_SAMPLES},
        {"model": "large", "entroute": ALL_SAMPLES},
        {"model": "auto", "entroute": {"strategy": "cascade"}},
    ],
    ids=str,
)
@pytest.mark.parametrize("stream", [False, True])
async def test_what_is_reported_is_what_the_workers_counted(
    gateway: Client, workers: Workers, fields: dict[str, Any], *, stream: bool
):
    await workers.small.script(answers=["one 1", "one two 2"], certainty=PROBED_EASY)
    before = {tier: await counted(workers, tier) for tier in ("small", "large")}
    if stream:
        events = await gateway.events(OPEN, stream_options={"include_usage": True}, **fields)
        usage = events.chunks[-1]["usage"]
        assert events.chunks[-1]["entroute"]["usage"] == usage["entroute"]
    else:
        usage = (await gateway.answer(OPEN, **fields))["usage"]
    spent = usage["entroute"]
    for tier, earlier in before.items():
        now = await counted(workers, tier)
        assert of_tier(spent, tier) == Tokens(
            now.prompt - earlier.prompt, now.completion - earlier.completion
        )
    received = await workers.bodies("small") + await workers.bodies("large")
    assert spent["calls"] == len(received)
    assert spent["partial_calls"] == 0


async def test_the_top_describes_one_answer_although_more_was_spent(
    gateway: Client, workers: Workers
):
    await workers.small.script(answer="The answer is 4.")
    usage = (await gateway.answer(entroute=ALL_SAMPLES))["usage"]
    spent = usage["entroute"]
    assert usage["completion_tokens"] == 5
    assert usage["total_tokens"] == usage["prompt_tokens"] + 5
    assert spent["calls"] == 5
    assert spent["completion_tokens"] == 25
    assert spent["prompt_tokens"] == 5 * usage["prompt_tokens"]


async def test_purposes_tell_samples_from_the_answer(gateway: Client, workers: Workers):
    await workers.small.script(answer="The answer is 4.")
    spent = (await gateway.answer(entroute=ALL_SAMPLES))["usage"]["entroute"]
    calls = {(row["tier"], row["purpose"]): row["calls"] for row in spent["by"]}
    assert calls == {("small", "answer"): 1, ("small", "sample"): 4}


async def test_an_escalation_charges_what_the_small_tier_had_sent_as_discarded(
    gateway: Client, workers: Workers
):
    await workers.small.script(certainty=PROBED_MIDDLE_UNSURE, tokens=500, tokens_per_second=500)
    await workers.large.script(answer="Eight.")
    answer = await gateway.answer(OPEN, model="auto")
    rows = {(row["tier"], row["purpose"]): row for row in answer["usage"]["entroute"]["by"]}
    assert set(rows) == {("small", "discarded"), ("large", "answer")}
    discarded = rows["small", "discarded"]
    assert discarded["partial_calls"] == 1
    assert 32 <= discarded["completion_tokens"] < 500
    assert answer["usage"]["completion_tokens"] == 2


async def test_a_probe_that_sends_the_request_up_is_charged(gateway: Client, workers: Workers):
    await workers.small.script(certainty=PROBED_HARD, tokens=500, tokens_per_second=500)
    spent = (await gateway.answer(OPEN, model="auto"))["usage"]["entroute"]
    rows = {(row["tier"], row["purpose"]): row for row in spent["by"]}
    assert 16 <= rows["small", "probe"]["completion_tokens"] < 500
    assert rows["large", "answer"]["completion_tokens"] == 16


async def test_a_probe_whose_stream_becomes_the_answer_is_no_second_call(
    gateway: Client, workers: Workers
):
    await workers.small.script(certainty=PROBED_MIDDLE_SURE, tokens=60)
    spent = (await gateway.answer(OPEN, model="auto"))["usage"]["entroute"]
    assert [(row["purpose"], row["calls"]) for row in spent["by"]] == [("answer", 1)]
    assert spent["completion_tokens"] == 60


async def test_samples_that_are_no_longer_needed_are_cancelled_and_charged_in_part(
    gateway: Client, workers: Workers
):
    slow = {"text": "word " * 400 + "The answer is 5."}
    quick = "The answer is 4."
    await workers.small.script(answers=[quick, quick, quick, slow, slow], tokens_per_second=400)
    answer = await gateway.answer(entroute={"strategy": "self_consistency", "explain": True})
    assert answer["entroute"]["stop_reason"] == "settled"
    assert answer["entroute"]["cancelled"] == 2
    spent = answer["usage"]["entroute"]
    assert spent["calls"] == 5
    assert spent["partial_calls"] == 2
    assert spent["completion_tokens"] < 300


async def test_cost_is_tokens_at_the_tiers_price(gateway: Client):
    for tier, prompt, completion in (("small", 1.0, 2.0), ("large", 10.0, 20.0)):
        spent = (await gateway.answer(model=tier))["usage"]["entroute"]
        expected = (spent["prompt_tokens"] * prompt + spent["completion_tokens"] * completion) / 1e6
        assert spent["cost_usd"] == pytest.approx(expected)
        assert spent["cost_usd"] > 0


async def test_cached_prompt_tokens_are_told(gateway: Client):
    text = "a long prompt " * 30 + "told twice"
    first = (await gateway.answer(text))["usage"]
    second = (await gateway.answer(text))["usage"]
    assert first["prompt_tokens_details"]["cached_tokens"] == 0
    assert second["prompt_tokens_details"]["cached_tokens"] > 0
    assert second["entroute"]["cached_tokens"] == second["prompt_tokens_details"]["cached_tokens"]


async def test_metrics_count_the_same_tokens(gateway: Client):
    name, labels = "entroute_tokens_total", {"tier": "small", "kind": "completion"}
    before = await gateway.sample(name, **labels)
    spent = (await gateway.answer(entroute=ALL_SAMPLES))["usage"]["entroute"]
    assert await gateway.sample(name, **labels) - before == spent["completion_tokens"]
