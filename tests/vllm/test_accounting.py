"""The gateway's accounts against the counters of the worker that did the work."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam

from tests.vllm.conftest import MODEL, sdk
from tests.vllm.metrics import GENERATED, PROMPTED, RUNNING, page, seconds_until, total

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(420)]

SPENT = "entroute_tokens_total"
FINISHED = "entroute_requests_total"
STORY: list[ChatCompletionMessageParam] = [
    {"role": "user", "content": "Write a story about a sailor, at least 1000 words long."}
]


@dataclass(frozen=True, slots=True)
class Counters:
    """Tokens counted so far by both sides.

    Attributes:
        worker_prompt: Prompt tokens, by vLLM.
        worker_generated: Generated tokens, by vLLM.
        prompt: Prompt tokens, cached or not, by the gateway.
        generated: Generated tokens, by the gateway.
    """

    worker_prompt: float
    worker_generated: float
    prompt: float
    generated: float

    def __sub__(self, other: "Counters") -> "Counters":
        return Counters(
            self.worker_prompt - other.worker_prompt,
            self.worker_generated - other.worker_generated,
            self.prompt - other.prompt,
            self.generated - other.generated,
        )


@dataclass(frozen=True, slots=True)
class Gateway:
    """The gateway, its worker and a client of it."""

    url: str
    worker_url: str
    client: openai.AsyncOpenAI

    async def counters(self) -> Counters:
        worker, gateway = await page(self.worker_url), await page(self.url)
        fresh, cached = (total(gateway, SPENT, kind=kind) for kind in ("prompt", "cached"))
        return Counters(
            total(worker, PROMPTED),
            total(worker, GENERATED),
            fresh + cached,
            total(gateway, SPENT, kind="completion"),
        )

    async def finished(self, **labels: str) -> float:
        return total(await page(self.url), FINISHED, **labels)


@pytest.fixture
async def gateway(gateway_url: str, vllm_url: str) -> AsyncIterator[Gateway]:
    async with sdk(gateway_url) as client:
        yield Gateway(gateway_url, vllm_url, client)


def everything(usage: Any) -> dict[str, Any]:
    """Return what the gateway says it spent on a request."""
    spent: dict[str, Any] = usage.model_dump()["entroute"]
    return spent


async def test_reported_usage_is_what_the_worker_counted(gateway: Gateway) -> None:
    before = await gateway.counters()
    chat = gateway.client.chat.completions
    whole = await chat.create(model=MODEL, messages=STORY, max_tokens=11)
    stream = await chat.create(
        model=MODEL,
        messages=STORY,
        max_tokens=13,
        stream=True,
        stream_options={"include_usage": True},
    )
    *_, last = [chunk async for chunk in stream]
    two = await chat.create(model=MODEL, messages=STORY, max_tokens=7, n=2, temperature=1.0)
    text = await gateway.client.completions.create(model=MODEL, prompt="Once", max_tokens=5)
    usages = [everything(answer.usage) for answer in (whole, last, two, text)]
    counted = await gateway.counters() - before

    assert sum(u["completion_tokens"] for u in usages) == counted.worker_generated == 43
    assert sum(u["prompt_tokens"] for u in usages) == counted.worker_prompt
    assert counted.generated == counted.worker_generated
    assert counted.prompt == counted.worker_prompt
    assert [u["calls"] for u in usages] == [1, 1, 2, 1]


async def test_usage_of_the_answer_is_that_of_one_call(gateway: Gateway) -> None:
    answer = await gateway.client.chat.completions.create(
        model=MODEL, messages=STORY, max_tokens=11
    )

    assert answer.usage is not None
    assert answer.usage.completion_tokens == 11
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + 11
    assert everything(answer.usage)["completion_tokens"] == 11
    assert everything(answer.usage)["prompt_tokens"] == answer.usage.prompt_tokens


async def test_a_stream_left_halfway_is_accounted_up_to_there(gateway: Gateway) -> None:
    before, finished = await gateway.counters(), await gateway.finished()
    stream = await gateway.client.chat.completions.create(
        model=MODEL, messages=STORY, max_tokens=600, stream=True
    )
    received = 0
    async for chunk in stream:
        received += bool(chunk.choices and chunk.choices[0].delta.content)
        if received == 10:
            break

    await stream.close()

    await seconds_until(gateway.worker_url, RUNNING, 0, within_s=1)
    await seconds_until(gateway.url, FINISHED, finished + 1, within_s=1)
    counted = await gateway.counters() - before
    assert received <= counted.generated <= counted.worker_generated < 100
    assert counted.worker_generated - counted.generated <= 5, "at most what was on its way"
    assert counted.prompt == counted.worker_prompt


async def test_an_unstreamed_request_left_halfway_is_recorded_as_cancelled(
    gateway: Gateway,
) -> None:
    before, cancelled = await gateway.counters(), await gateway.finished(outcome="cancelled")
    request = asyncio.create_task(
        gateway.client.chat.completions.create(
            model=MODEL, messages=STORY, max_tokens=600, extra_body={"min_tokens": 500}
        )
    )
    await seconds_until(gateway.worker_url, RUNNING, 1, within_s=30)
    await asyncio.sleep(1.0)

    request.cancel()
    await asyncio.wait([request])

    await seconds_until(gateway.worker_url, RUNNING, 0, within_s=1)
    counted = await gateway.counters() - before
    assert await gateway.finished(outcome="cancelled") == cancelled + 1
    # It goes upstream unstreamed, so the worker never said what it had generated.
    assert counted.generated <= counted.worker_generated
    assert 0 < counted.worker_generated < 200


async def test_votes_that_were_cancelled_are_accounted(gateway: Gateway) -> None:
    before = await gateway.counters()
    answer = await gateway.client.chat.completions.create(
        model="auto",
        messages=[
            {
                "role": "user",
                "content": "What is 7 + 5? Think step by step, then end with '#### ' and the "
                "number.",
            }
        ],
        max_tokens=120,
        temperature=0.7,
        extra_body={"entroute": {"strategy": "self_consistency", "budget": {"max_calls": 8}}},
    )
    await seconds_until(gateway.worker_url, RUNNING, 0, within_s=1)
    counted = await gateway.counters() - before
    spent = everything(answer.usage)

    assert 1 < spent["calls"] <= 8
    assert counted.generated == spent["completion_tokens"]
    assert counted.generated <= counted.worker_generated
    assert counted.worker_generated - counted.generated <= 5 * spent["calls"]
