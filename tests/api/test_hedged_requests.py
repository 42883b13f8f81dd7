"""Second calls, retries and deadlines together, over HTTP; and a gateway behind a gateway."""

import json
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from loadtest.spawn import FakeWorker
from tests.api.conftest import Client, Serve, Workers, base_settings, client_of
from tests.api.ways import idle
from tests.gateway_process import serving
from tests.openai_wire import read_events
from tests.workers import running

pytestmark = pytest.mark.asyncio(loop_scope="session")

streamed = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
HEDGED: dict[str, Any] = {"retries": {"hedge_after_ms": 100}}


def a_tier(*workers: FakeWorker) -> list[dict[str, Any]]:
    """Return the small tier with these workers, in turn."""
    urls = [{"url": f"{worker.url}/v1"} for worker in workers]
    return [
        {"name": "small", "model": "qwen-small", "workers": urls, "balancer": "round_robin"},
    ]


async def took(gateway: Client, *, stream: bool, **fields: Any) -> tuple[httpx.Response, float]:
    since = time.perf_counter()
    response = await gateway.chat(stream=stream, **fields)
    return response, time.perf_counter() - since


def spent_of(response: httpx.Response, *, stream: bool) -> dict[str, Any]:
    last = read_events(response.text).chunks[-1] if stream else response.json()
    usage: dict[str, Any] = last["entroute"]["usage"]
    return usage


@streamed
async def test_hedging_cuts_the_tail_and_charges_what_it_costs(
    serve: Serve, workers: Workers, second: FakeWorker, *, stream: bool
) -> None:
    gateway = await serve(tiers=a_tier(workers.small, second), **HEDGED)
    await workers.small.script(ttft_ms=4000)
    spent = []
    for _ in range(4):
        explained = {"entroute": {"explain": True}}
        response, seconds = await took(gateway, stream=stream, **explained)
        assert response.status_code == 200
        assert seconds < 3
        spent.append(spent_of(response, stream=stream))
    asked = len(await workers.small.requests()) + len(await second.requests())
    assert sum(one["calls"] for one in spent) == asked > 4
    assert {row["purpose"] for one in spent for row in one["by"]} == {"answer", "discarded"}
    won = await gateway.sample("entroute_hedges_total", tier="small", result="won")
    assert won == asked - 4
    await running(workers.small, 0)


async def test_without_being_asked_nothing_is_hedged(
    serve: Serve, workers: Workers, second: FakeWorker
) -> None:
    gateway = await serve(tiers=a_tier(workers.small, second))
    await workers.small.script(ttft_ms=500)
    for _ in range(2):
        await gateway.answer()
    assert [len(await workers.small.requests()), len(await second.requests())] == [1, 1]


@streamed
async def test_a_deadline_holds_with_retries_and_second_calls(
    serve: Serve, workers: Workers, second: FakeWorker, *, stream: bool
) -> None:
    gateway = await serve(tiers=a_tier(workers.small, second), **HEDGED)
    await workers.small.script(failure={"kind": "status", "status": 500})
    await second.script(failure={"kind": "hang"})
    budget = {"entroute": {"budget": {"deadline_ms": 700}}}
    response, seconds = await took(gateway, stream=stream, **budget)
    assert response.status_code == 504
    assert response.json()["error"]["code"] == "deadline_exceeded"
    assert 0.6 < seconds < 2.5
    assert len(await second.requests()) == 1
    await running(second, 0)


async def told_ms(worker: FakeWorker) -> list[float]:
    """Return the time left that each request told a worker, in milliseconds."""
    received = await worker.requests()
    return [json.loads(one["headers"]["x-entroute-budget"])["deadline_ms"] for one in received]


@pytest_asyncio.fixture(loop_scope="session")
async def inner(workers: Workers) -> AsyncIterator[str]:
    """A gateway that answers within five seconds at most."""
    async with serving(base_settings(workers, limits={"deadline_s": 5})) as url:
        yield url


@pytest_asyncio.fixture(loop_scope="session")
async def outer(inner: str, http: httpx.AsyncClient) -> AsyncIterator[Client]:
    """A gateway whose one worker is another gateway."""
    behind = [{"name": "small", "model": "small", "workers": [{"url": f"{inner}/v1"}]}]
    settings = {"server": {"host": "127.0.0.1", "port": 0}, "tiers": behind}
    async with serving(settings) as url:
        yield client_of(url, http)


@streamed
async def test_a_gateway_behind_a_gateway_ends_when_the_first_one_must(
    outer: Client, workers: Workers, *, stream: bool
) -> None:
    await workers.small.script(failure={"kind": "hang"})
    budget = {"entroute": {"budget": {"deadline_ms": 900}}}
    response, seconds = await took(outer, stream=stream, **budget)
    assert response.status_code == 504
    assert 0.8 < seconds < 3
    (told,) = await told_ms(workers.small)
    assert 0 < told <= 900
    assert await idle(workers)


async def test_a_gateway_caps_the_time_left_with_its_own_limit(
    outer: Client, workers: Workers
) -> None:
    await outer.answer()
    (told,) = await told_ms(workers.small)
    assert 3000 < told <= 5000
