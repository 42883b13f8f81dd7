"""Every built-in strategy by name, over HTTP, before real workers and a real sandbox."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import openai
import pytest
import pytest_asyncio
from openai.types.chat import ChatCompletionUserMessageParam

from entroute.strategies import DEFAULT_STRATEGIES
from tests.api.conftest import Client, Workers, base_settings, client_of
from tests.api.ways import BUBBLEWRAP, WAYS, Way, every_way, idle, scripted
from tests.gateway_process import serving

pytestmark = pytest.mark.asyncio(loop_scope="session")

streamed = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def sandboxed_gateway(fake_workers: Workers) -> AsyncIterator[str]:
    settings = base_settings(fake_workers, sandbox=BUBBLEWRAP, server={"keep_alive_s": 0.1})
    async with serving(settings) as url:
        yield url


@pytest_asyncio.fixture(loop_scope="session")
async def sandboxed(sandboxed_gateway: str, workers: Workers, http: httpx.AsyncClient) -> Client:
    """A gateway that runs programs, before workers that answer these tests' prompts."""
    await scripted(workers)
    return client_of(sandboxed_gateway, http)


def messages(way: Way) -> list[ChatCompletionUserMessageParam]:
    return [{"role": "user", "content": way.prompt}]


async def by_sdk(gateway: Client, way: Way, *, stream: bool) -> tuple[str, dict[str, Any]]:
    """Ask with OpenAI's SDK; return the text and the `entroute` object with its usage."""
    completions = gateway.sdk.chat.completions
    options = {"entroute": way.entroute()}
    if not stream:
        answer = await completions.create(
            model=way.model, messages=messages(way), extra_body=options
        )
        assert answer.usage is not None
        shown = answer.model_extra["entroute"] if answer.model_extra else {}
        assert answer.usage.model_extra is not None
        assert answer.usage.model_extra["entroute"] == shown["usage"]
        return answer.choices[0].message.content or "", shown
    text, shown = "", {}
    chunks = await completions.create(
        model=way.model, messages=messages(way), extra_body=options, stream=True
    )
    async for chunk in chunks:
        text += "".join(choice.delta.content or "" for choice in chunk.choices)
        shown = (chunk.model_extra or {}).get("entroute", {})
    return text, shown


async def counted(workers: Workers) -> dict[str, tuple[float, float]]:
    """Return prompt and generated tokens that each worker has counted, by tier."""
    both = {"small": workers.small, "large": workers.large}
    metrics = {tier: await worker.metrics() for tier, worker in both.items()}
    names = ("vllm:prompt_tokens_total", "vllm:generation_tokens_total")
    return {tier: (m[names[0]], m[names[1]]) for tier, m in metrics.items()}


def of_tier(usage: dict[str, Any], tier: str, field: str) -> int:
    return sum(row[field] for row in usage["by"] if row["tier"] == tier)


async def test_no_strategy_is_left_out() -> None:
    assert {way.kind for way in WAYS} == {config.kind for config in DEFAULT_STRATEGIES}


@every_way
@streamed
async def test_it_answers_by_name_and_reports_what_the_workers_counted(
    sandboxed: Client, workers: Workers, way: Way, *, stream: bool
) -> None:
    before = await counted(workers)
    text, shown = await by_sdk(sandboxed, way, stream=stream)
    assert await idle(workers)
    now = await counted(workers)
    assert text == way.answer
    assert shown["strategy"] == shown["decision"]["strategy"] == way.kind
    usage = shown["usage"]
    for field in ("prompt_tokens", "completion_tokens", "calls", "cost_usd"):
        assert usage[field] == pytest.approx(sum(row[field] for row in usage["by"]))
    received = await workers.bodies("small") + await workers.bodies("large")
    # What a cancelled call had sent is all that can be known of it.
    whole = usage["partial_calls"] == 0
    assert usage["calls"] == len(received) if whole else usage["calls"] <= len(received)
    for tier, (prompt, generated) in before.items():
        made = (now[tier][0] - prompt, now[tier][1] - generated)
        told = tuple(of_tier(usage, tier, f"{kind}_tokens") for kind in ("prompt", "completion"))
        assert told == made if whole else all(t <= m for t, m in zip(told, made, strict=True))


@every_way
@streamed
async def test_explain_shows_candidates_verdicts_and_why_it_stopped(
    sandboxed: Client, way: Way, *, stream: bool
) -> None:
    _, shown = await by_sdk(sandboxed, way, stream=stream)
    assert shown["stop_reason"] in way.stops
    assert shown["degraded"] == []
    assert shown["candidates"]
    assert len(shown["verdicts"]) in {0, len(shown["candidates"])}
    assert bool(shown["verdicts"]) == (shown["verifier"] is not None)
    assert all(0 <= verdict["score"] <= 1 for verdict in shown["verdicts"])
    assert all(candidate["completion_tokens"] > 0 for candidate in shown["candidates"])


@pytest.mark.parametrize("way", [w for w in WAYS if w.sandboxed], ids=lambda way: way.kind)
@streamed
async def test_what_runs_programs_is_refused_where_no_sandbox_is_on(
    gateway: Client, workers: Workers, way: Way, *, stream: bool
) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        await by_sdk(gateway, way, stream=stream)
    assert refused.value.param == "entroute.strategy"
    assert way.kind in refused.value.message
    assert "sandbox" in refused.value.message
    assert await workers.bodies() == []
