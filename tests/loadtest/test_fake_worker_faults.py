"""The fake worker breaks as it is told and counts only what it made."""

import asyncio
import os
import signal
import time
from typing import Any

import aiohttp
import openai
import pytest
from openai import AsyncOpenAI

from loadtest.spawn import FakeWorker, fake_worker

BODY: dict[str, Any] = {"model": "small", "messages": [{"role": "user", "content": "Hi"}]}


async def gauge(worker: FakeWorker, value: float) -> float:
    """Return the seconds until the running gauge has a value."""
    started = time.monotonic()
    while (await worker.metrics())["vllm:num_requests_running"] != value:
        assert time.monotonic() - started < 2
        await asyncio.sleep(0.005)
    return time.monotonic() - started


async def read(worker: FakeWorker, **changes: Any) -> bytes:
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{worker.url}/v1/chat/completions", json={**BODY, **changes}) as answer,
    ):
        return await answer.read()


@pytest.mark.parametrize("stream", [True, False])
async def test_closing_the_connection_aborts_generation(worker: FakeWorker, stream: bool):  # noqa: FBT001
    await worker.script(tokens=1000, tokens_per_second=100)
    task = asyncio.create_task(read(worker, stream=stream))
    await gauge(worker, 1)
    await asyncio.sleep(0.2)
    task.cancel()
    assert await gauge(worker, 0) < 0.25
    after = await worker.metrics()
    await asyncio.sleep(0.1)
    assert (await worker.metrics())["vllm:generation_tokens_total"] == (
        after["vllm:generation_tokens_total"]
    )
    assert 10 <= after["vllm:generation_tokens_total"] < 200
    assert after["vllm:request_success_total"] == 1
    assert after["vllm:kv_cache_usage_perc"] == 0


async def test_requests_beyond_the_slots_wait():
    async with fake_worker(model="small", max_num_seqs=1, ttft_ms=200) as worker:
        tasks = [asyncio.create_task(read(worker)) for _ in range(3)]
        await gauge(worker, 1)
        assert (await worker.metrics())["vllm:num_requests_waiting"] == 2
        await asyncio.gather(*tasks)
        assert (await worker.metrics())["vllm:num_requests_waiting"] == 0


async def test_pace_and_first_token_delay_are_kept(worker: FakeWorker):
    await worker.script(ttft_ms=100, tokens_per_second=100, tokens=11)
    started = time.monotonic()
    await read(worker)
    assert 0.19 < time.monotonic() - started < 1


async def test_a_status_is_given_for_the_next_requests_only(worker: FakeWorker, sdk: AsyncOpenAI):
    await worker.script(failure={"kind": "status", "status": 429, "retry_after_s": 2, "times": 2})
    for _ in range(2):
        with pytest.raises(openai.RateLimitError) as caught:
            await sdk.chat.completions.create(**BODY)
        assert caught.value.response.headers["retry-after"] == "2"
    assert (await sdk.chat.completions.create(**BODY)).choices


@pytest.mark.parametrize("kind", ["refuse", "reset", "close"])
@pytest.mark.parametrize("stream", [True, False])
async def test_broken_connections_are_client_errors(worker: FakeWorker, kind: str, stream: bool):  # noqa: FBT001
    await worker.script(failure={"kind": kind, "after_tokens": 3})
    with pytest.raises(aiohttp.ClientError):
        await read(worker, stream=stream)
    made = (await worker.metrics())["vllm:generation_tokens_total"]
    assert made == (0 if kind == "refuse" else 3)


async def test_a_truncated_stream_ends_cleanly_without_done(worker: FakeWorker):
    await worker.script(failure={"kind": "truncated", "after_tokens": 2})
    body = await read(worker, stream=True)
    assert body.count(b"data: ") == 4  # the role, two tokens, half an event
    assert not body.endswith(b"\n\n")
    assert b"[DONE]" not in body


async def test_malformed_json_comes_with_status_200(worker: FakeWorker, sdk: AsyncOpenAI):
    await worker.script(failure={"kind": "malformed", "after_tokens": 1})
    with pytest.raises(ValueError):  # noqa: PT011  # any JSON error
        await sdk.chat.completions.create(**BODY)
    stream = await sdk.chat.completions.create(**BODY, stream=True)
    with pytest.raises(ValueError):  # noqa: PT011  # any JSON error
        _ = [chunk async for chunk in stream]


@pytest.mark.parametrize(("kind", "received"), [("hang", b""), ("stall", b"word0")])
async def test_hanging_sends_nothing_more(worker: FakeWorker, kind: str, received: bytes):
    await worker.script(failure={"kind": kind, "after_tokens": 1})
    chunks = b""

    async def consume() -> None:
        nonlocal chunks
        async with (
            aiohttp.ClientSession() as session,
            session.post(
                f"{worker.url}/v1/chat/completions", json={**BODY, "stream": True}
            ) as answer,
        ):
            async for chunk in answer.content.iter_any():
                chunks += chunk

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(consume(), 0.3)
    assert (chunks == b"") == (received == b"")
    assert received in chunks
    await gauge(worker, 0)


async def test_health_follows_the_script(worker: FakeWorker):
    async with aiohttp.ClientSession() as session:
        statuses = []
        for healthy in (True, False):
            await worker.script(healthy=healthy)
            async with session.get(f"{worker.url}/health") as answer:
                statuses.append(answer.status)
    assert statuses == [200, 503]


async def test_a_killed_worker_does_not_trouble_its_starter():
    async with fake_worker(model="small") as worker:
        os.kill(worker.pid, signal.SIGKILL)
        await asyncio.sleep(0.1)
        with pytest.raises(aiohttp.ClientError):
            await worker.metrics()


async def test_wrong_flags_are_told():
    with pytest.raises(RuntimeError, match="did not start"):
        async with fake_worker(no_such_flag=1):
            pytest.fail("it started")
