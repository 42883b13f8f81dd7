"""Many clients at once, and clients that leave: by the worker's own gauges and counters."""

import asyncio

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam

from tests.vllm.conftest import MODEL, Server, text_of
from tests.vllm.metrics import GENERATED, RUNNING, page, seconds_until, total

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(420)]

STORY: list[ChatCompletionMessageParam] = [
    {"role": "user", "content": "Write a story about a sailor, at least 1000 words long."}
]


async def test_eight_streams_run_at_once_and_are_all_counted(
    server: Server, client: openai.AsyncOpenAI
) -> None:
    all_begun = asyncio.Barrier(8)
    running: list[float] = []

    async def one(number: int) -> tuple[str, int]:
        stream = await client.chat.completions.create(
            model=MODEL,
            messages=[{"role": "user", "content": f"Count from {number} to 1000, one a line."}],
            max_tokens=96,
            temperature=0,
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks = [await anext(stream)]
        if await all_begun.wait() == 0:
            running.append(total(await page(server.worker_url), RUNNING))
        chunks += [chunk async for chunk in stream]
        usage = chunks[-1].usage
        return text_of(chunks), usage.completion_tokens if usage else 0

    before = total(await page(server.worker_url), GENERATED)
    answers = await asyncio.gather(*(one(number) for number in range(8)))
    after = total(await page(server.worker_url), GENERATED)

    assert running == [8]
    assert all(text for text, _ in answers)
    assert sum(tokens for _, tokens in answers) == after - before


async def test_leaving_a_stream_frees_the_worker_within_a_second(
    server: Server, client: openai.AsyncOpenAI
) -> None:
    stream = await client.chat.completions.create(
        model=MODEL, messages=STORY, max_tokens=600, stream=True
    )
    async for chunk in stream:
        if text_of([chunk]):
            break
    assert total(await page(server.worker_url), RUNNING) == 1

    await stream.close()

    await seconds_until(server.worker_url, RUNNING, 0, within_s=1)


async def test_leaving_an_unstreamed_request_frees_the_worker_within_a_second(
    server: Server, client: openai.AsyncOpenAI
) -> None:
    request = asyncio.create_task(
        client.chat.completions.create(
            model=MODEL, messages=STORY, max_tokens=600, extra_body={"min_tokens": 500}
        )
    )
    await seconds_until(server.worker_url, RUNNING, 1, within_s=30)

    request.cancel()
    await asyncio.wait([request])

    assert request.cancelled()
    await seconds_until(server.worker_url, RUNNING, 0, within_s=1)
