"""Two gateways that run as commands and share their keys' limits through one real Redis."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from tests.api.conftest import Client, Workers, base_settings, client_of
from tests.api.test_limits import bearer, early_in_a_minute
from tests.gateway_process import Served, both_served
from tests.keys import write_key_file
from tests.redis_server import RedisServer, redis_server

pytestmark = pytest.mark.asyncio(loop_scope="session")

KEYS = {
    "minute": {"tenant": "a", "limits": {"requests_per_minute": 40}},
    "other": {"tenant": "b", "limits": {"requests_per_minute": 40}},
    "month": {"tenant": "c", "limits": {"requests_per_month": 60}},
    "tokens": {"tenant": "d", "limits": {"tokens_per_month": 4000}},
    "drained": {"tenant": "e", "limits": {"requests_per_month": 60}},
}


class Pair:
    """Two gateways and their clients."""

    def __init__(
        self, processes: tuple[Served, Served], http: httpx.AsyncClient, server: RedisServer
    ) -> None:
        self.processes = processes
        self.redis = server
        self.clients = tuple(client_of(process.url, http) for process in processes)

    async def ask(self, key: str, times: int) -> list[httpx.Response]:
        """Ask so often at once, half of it at each."""
        return await asyncio.gather(
            *(self.clients[n % 2].chat(f"Hi {n}", headers=bearer(key)) for n in range(times))
        )


@pytest_asyncio.fixture(loop_scope="session")
async def pair(workers: Workers, tmp_path: Path) -> AsyncIterator[Pair]:
    keys = write_key_file(tmp_path / "keys.yaml", KEYS)
    async with AsyncExitStack() as stack:
        server = stack.enter_context(redis_server())
        settings = base_settings(
            workers,
            redis={"url": server.url, "timeout_ms": 2000},
            auth={"keys_file": str(keys), "when_redis_fails": "closed"},
        )
        http = await stack.enter_async_context(httpx.AsyncClient(timeout=90))
        yield Pair(await both_served(stack, tmp_path, settings), http, server)


def statuses(answers: list[httpx.Response]) -> Counter[int]:
    return Counter(answer.status_code for answer in answers)


async def until(client: Client, key: str, wanted: int, within_s: float) -> int:
    """Ask one by one until so many are answered or time is up; return how many were."""
    end, answered = time.monotonic() + within_s, 0
    while answered < wanted and time.monotonic() < end:
        answer = await client.chat("Hi", headers=bearer(key))
        answered += answer.status_code == 200
        await asyncio.sleep(0 if answer.status_code == 200 else 0.2)
    return answered


async def test_a_minutes_limit_is_kept_to_the_request_by_both_together(pair: Pair):
    await early_in_a_minute()
    answers, others = await asyncio.gather(pair.ask("minute", 120), pair.ask("other", 30))
    assert statuses(answers) == {200: 40, 429: 80}
    for answer in answers:
        assert answer.headers["x-ratelimit-limit-requests"] == "40"
        if answer.status_code == 429:
            assert answer.json()["error"]["code"] == "rate_limit_exceeded"
            assert 1 <= int(answer.headers["retry-after"]) <= 60
    assert statuses(others) == {200: 30}  # of another tenant, at the same time


async def test_tokens_of_both_exceed_a_limit_by_no_more_than_was_in_flight(pair: Pair):
    answers = await pair.ask("tokens", 200)
    spent = [a.json()["usage"]["total_tokens"] for a in answers if a.status_code == 200]
    assert statuses(answers)[429] > 0
    # Every answer is smaller than what was set aside for it, so nothing may exceed at all.
    assert 0 < sum(spent) <= 4000
    again = await pair.ask("tokens", 400)  # what was set aside too much was given back
    spent += [a.json()["usage"]["total_tokens"] for a in again if a.status_code == 200]
    assert 0 < sum(spent) <= 4000


async def test_what_a_killed_gateway_held_is_had_again_and_what_it_spent_is_not(pair: Pair):
    victim, survivor = pair.processes[0], pair.clients[1]
    answers = await asyncio.gather(
        *(pair.clients[0].chat(f"Hi {n}", headers=bearer("month")) for n in range(20))
    )
    assert statuses(answers) == {200: 20}
    await asyncio.sleep(1.5)  # it reports every second
    victim.process.kill()
    victim.process.wait()
    answered = await until(survivor, "month", 40, 30.0)
    assert answered == 40
    refused = await survivor.chat("Hi", headers=bearer("month"))
    assert refused.json()["error"]["code"] == "insufficient_quota"


async def test_a_gateway_that_is_stopped_gives_its_slice_back_at_once(pair: Pair):
    stopped, left = pair.processes[0], pair.clients[1]
    for n in range(20):
        answer = await pair.clients[0].chat(f"Hi {n}", headers=bearer("drained"))
        assert answer.status_code == 200
    stopped.terminate()
    await asyncio.to_thread(stopped.process.wait, 60)
    answers = await asyncio.gather(
        *(left.chat(f"Hi {n}", headers=bearer("drained")) for n in range(60))
    )
    assert statuses(answers) == {200: 40, 429: 20}
