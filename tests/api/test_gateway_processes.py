"""Two gateways that run as commands, before the same workers, on one real Redis."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
import pytest_asyncio

from tests.api.conftest import Client, Workers, base_settings, client_of
from tests.gateway_process import Served, both_served
from tests.redis_server import RedisServer

pytestmark = pytest.mark.asyncio(loop_scope="session")

SLOW_MS = 1500
PROMPTS = 100


@pytest.fixture
def prompt() -> str:
    """A prompt that no other test has asked."""
    return f"How many legs has spider {uuid4().hex}?"


class Pair:
    """Two gateways and their clients."""

    def __init__(self, processes: tuple[Served, Served], http: httpx.AsyncClient) -> None:
        self.processes = processes
        self.one, self.other = (client_of(process.url, http) for process in processes)

    async def sample(self, name: str, **labels: str) -> float:
        """Return the sum of a metric over both."""
        both = [await client.sample(name, **labels) for client in (self.one, self.other)]
        return sum(both)


@pytest_asyncio.fixture(loop_scope="session")
async def pair(workers: Workers, redis: RedisServer, tmp_path: Path) -> AsyncIterator[Pair]:
    cache = {"kind": "redis", "url": redis.url, "timeout_ms": 2000}
    settings = base_settings(workers, cache=cache)
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(httpx.AsyncClient(timeout=90))
        yield Pair(await both_served(stack, tmp_path, settings), http)


async def asked(client: Client, prompt: str) -> tuple[str, str]:
    """Ask and return what the cache had, and the answer."""
    response = await client.chat(prompt, temperature=0)
    assert response.status_code == 200, response.text
    content: str = response.json()["choices"][0]["message"]["content"]
    return response.headers["x-entroute-cache"], content


async def begun(workers: Workers) -> None:
    """Wait until the small worker has a request."""
    async with asyncio.timeout(30):
        while not await workers.bodies():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_twenty_equal_requests_at_each_process_are_one_call(
    pair: Pair, workers: Workers, prompt: str
):
    await workers.small.script(ttft_ms=SLOW_MS)
    asks = [asked(client, prompt) for _ in range(20) for client in (pair.one, pair.other)]
    answers = await asyncio.gather(*asks)
    assert len(await workers.bodies()) == 1
    assert len({content for _, content in answers}) == 1
    assert sorted(cache for cache, _ in answers) == ["exact"] * 39 + ["miss"]
    lookups = "entroute_cache_lookups_total"
    assert await pair.sample(lookups, kind="exact", result="shared") == 39
    assert await pair.sample(lookups, kind="exact", result="miss") == 1


async def test_followers_of_a_gateway_that_is_killed_all_get_an_answer(
    pair: Pair, workers: Workers, prompt: str
):
    await workers.small.script(ttft_ms=60_000)
    lost = asyncio.create_task(pair.one.chat(prompt, temperature=0))
    await begun(workers)
    waiting = [asyncio.create_task(asked(pair.other, prompt)) for _ in range(10)]
    await asyncio.sleep(0.3)
    await workers.small.script(ttft_ms=0)
    os.kill(pair.processes[0].process.pid, signal.SIGKILL)
    with pytest.raises(httpx.TransportError):
        await lost
    answers = await asyncio.gather(*waiting)
    assert len({content for _, content in answers}) == 1
    assert len(await workers.bodies()) == 2  # of who was killed, and of who took over
    assert (await asked(pair.other, prompt))[0] == "exact"


async def test_a_stream_waits_for_the_other_process_and_gets_the_whole_answer(
    pair: Pair, workers: Workers, prompt: str
):
    await workers.small.script(ttft_ms=SLOW_MS)
    leads = asyncio.create_task(asked(pair.one, prompt))
    await begun(workers)
    events = await pair.other.events(prompt, temperature=0)
    assert events.text == (await leads)[1]
    assert events.chunks[-1]["entroute"]["cache"] == "exact"
    assert events.chunks[-1]["entroute"]["calls"] == 0
    assert events.done
    assert len(await workers.bodies()) == 1


async def test_a_second_run_is_served_from_the_cache_by_the_other_process(
    pair: Pair, workers: Workers, prompt: str
):
    prompts = [f"{prompt} {number}" for number in range(PROMPTS)]
    first = [await asked(pair.one, one) for one in prompts]
    second = [await asked(pair.other, one) for one in prompts]
    assert {cache for cache, _ in first} == {"miss"}
    assert {cache for cache, _ in second} == {"exact"}
    assert [content for _, content in first] == [content for _, content in second]
    assert len(await workers.bodies()) == PROMPTS
