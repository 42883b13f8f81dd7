"""A client that leaves: its upstream calls end at once, and what they spent is counted."""

import asyncio
import json
from typing import Any

import httpx
import pytest

from tests.api.conftest import OPEN, PROBED_HARD, Client, Workers, eventually
from tests.openai_wire import read_events

pytestmark = pytest.mark.asyncio(loop_scope="session")

LONG: dict[str, Any] = {"tokens": 2000, "tokens_per_second": 100}


async def running(workers: Workers) -> float:
    """Return how many requests both workers are answering."""
    both = [await worker.metrics() for worker in (workers.small, workers.large)]
    return sum(metrics["vllm:num_requests_running"] for metrics in both)


async def made(workers: Workers) -> float:
    return (await workers.small.metrics())["vllm:generation_tokens_total"]


async def counted(gateway: Client) -> float:
    return await gateway.sample("entroute_tokens_total", tier="small", kind="completion")


async def cancelled(gateway: Client) -> float:
    return await gateway.sample("entroute_requests_total", outcome="cancelled")


@pytest.mark.parametrize("strategy", ["single", "cascade"])
async def test_leaving_a_stream_cancels_its_call_and_counts_what_it_had_sent(
    gateway: Client, workers: Workers, strategy: str
):
    await workers.small.script(**LONG)
    before, made_before = await counted(gateway), await made(workers)
    cancelled_before = await cancelled(gateway)
    body = json.dumps(
        {
            "model": "auto",
            "messages": [{"role": "user", "content": "Hi"}],
            "stream": True,
            "entroute": {"strategy": strategy},
        }
    )
    seen = 0
    async with gateway.http.stream(
        "POST",
        f"{gateway.url}/v1/chat/completions",
        content=body,
        headers={"content-type": "application/json"},
    ) as response:
        async for line in response.aiter_lines():
            seen += '"content":"' in line and '"content":""' not in line
            if seen == 10:
                assert await running(workers) == 1
                break
    assert await eventually(lambda: running(workers), 0, within_s=1)
    assert await eventually(lambda: cancelled(gateway), cancelled_before + 1)
    spent = await counted(gateway) - before
    assert seen <= spent <= await made(workers) - made_before


@pytest.mark.parametrize(
    ("fields", "calls"),
    [
        ({}, 1),
        ({"n": 3}, 3),
        ({"model": "auto", "entroute": {"strategy": "cascade"}}, 1),
        ({"entroute": {"strategy": "self_consistency"}}, 5),
    ],
    ids=str,
)
@pytest.mark.parametrize("stream", [False, True])
async def test_leaving_before_the_answer_cancels_every_call(
    gateway: Client, workers: Workers, fields: dict[str, Any], calls: int, *, stream: bool
):
    await workers.small.script(**LONG, ttft_ms=3000)
    before = await cancelled(gateway)
    asking = asyncio.create_task(gateway.chat(stream=stream, **fields))
    assert await eventually(lambda: running(workers), calls)
    asking.cancel()
    await asyncio.wait([asking])
    assert await eventually(lambda: running(workers), 0, within_s=1)
    assert await eventually(lambda: cancelled(gateway), before + 1)


async def test_leaving_a_whole_answer_counts_what_a_streamed_call_had_sent(
    gateway: Client, workers: Workers
):
    await workers.small.script(**LONG)
    before = await counted(gateway)
    asking = asyncio.create_task(gateway.chat(entroute={"strategy": "self_consistency"}))
    await asyncio.sleep(0.3)
    asking.cancel()
    await asyncio.wait([asking])
    assert await eventually(lambda: running(workers), 0, within_s=1)
    assert await counted(gateway) - before > 5


async def test_leaving_during_the_probe_cancels_it(gateway: Client, workers: Workers):
    await workers.small.script(**LONG, ttft_ms=3000, certainty=PROBED_HARD)
    asking = asyncio.create_task(gateway.chat(OPEN, model="auto"))
    assert await eventually(lambda: running(workers), 1)
    asking.cancel()
    await asyncio.wait([asking])
    assert await eventually(lambda: running(workers), 0, within_s=1)


async def test_a_shared_answer_goes_on_for_those_who_stay(gateway: Client, workers: Workers):
    await workers.small.script(tokens=40, tokens_per_second=80)
    body = {
        "model": "small",
        "messages": [{"role": "user", "content": "Asked by two, at once"}],
        "temperature": 0,
        "stream": True,
    }
    leader = asyncio.create_task(gateway.post("chat/completions", body))
    assert await eventually(lambda: running(workers), 1)
    follower = asyncio.create_task(gateway.post("chat/completions", body))
    await asyncio.sleep(0.1)
    leader.cancel()
    await asyncio.wait([leader])
    response: httpx.Response = await follower
    assert response.headers["x-entroute-cache"] == "exact"
    events = read_events(response.text)
    assert len(events.text.split()) == 40
    assert events.done
    assert events.chunks[-1]["entroute"]["usage"]["calls"] == 0
    assert len(await workers.bodies()) == 1


async def test_no_request_stays_in_flight(gateway: Client):
    assert await eventually(lambda: gateway.sample("entroute_requests_in_flight"), 0)
    assert await eventually(lambda: gateway.sample("entroute_worker_inflight"), 0)


async def test_leaving_while_the_body_is_sent_is_no_error(
    gateway: Client, caplog: pytest.LogCaptureFixture
):
    port = int(gateway.url.rpartition(":")[2])
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n"
        b"content-type: application/json\r\n\r\n{"
    )
    await writer.drain()
    await asyncio.sleep(0.05)
    writer.close()
    await asyncio.sleep(0.1)
    assert (await gateway.get("/healthz")).status_code == 200
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []
