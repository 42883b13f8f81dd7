"""Redis that is slow, dead, back again, or unwilling."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from redis.asyncio import Redis

from entroute.cache.answers import AnswerCache
from entroute.errors import StoreUnavailable
from entroute.redis_link.budgeted import BudgetedRedis
from entroute.stores.redis import RedisStore
from tests.cache.caches import answers_in
from tests.cache.samples import outcome
from tests.redis_server import RedisServer, redis_server

PROBE_S = 0.2
BUDGET_S = 0.3  # six times the default: a busy machine stalls for longer than that
IN_TIME_S = BUDGET_S + 0.5


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with redis_server() as own:
        yield own


@asynccontextmanager
async def cache_on(url: str) -> AsyncIterator[AnswerCache]:
    redis = BudgetedRedis(url, BUDGET_S, time.monotonic, PROBE_S)
    try:
        yield answers_in(RedisStore(redis))
    finally:
        await redis.close()


async def refused_after(cache: AnswerCache) -> float:
    """Return the seconds until a look-up was refused."""
    start = time.monotonic()
    with pytest.raises(StoreUnavailable):
        await cache.get("k")
    return time.monotonic() - start


async def answers_again(cache: AnswerCache) -> bool:
    """Ask until it answers, for five seconds at most."""
    give_up = time.monotonic() + 5
    while time.monotonic() < give_up:
        try:
            await cache.get("k")
        except StoreUnavailable:
            await asyncio.sleep(0.02)
        else:
            return True
    return False


async def test_a_paused_redis_is_refused_in_time_and_recovers_by_itself(
    server: RedisServer,
) -> None:
    async with cache_on(server.url) as cache:
        await cache.put("k", outcome())
        server.pause()
        assert await refused_after(cache) < IN_TIME_S
        with pytest.raises(StoreUnavailable):
            await cache.put("another", outcome())
        server.resume()
        assert await answers_again(cache)
        assert await cache.get("k") == outcome()


async def test_a_killed_redis_is_refused_and_its_successor_found(server: RedisServer) -> None:
    async with cache_on(server.url) as cache:
        await cache.put("k", outcome())
        server.kill()
        assert await refused_after(cache) < IN_TIME_S
        server.start()
        assert await answers_again(cache)
        await cache.put("k", outcome("new"))
        assert await cache.get("k") == outcome("new")


async def test_answers_do_not_swap_places_after_calls_that_ran_out_of_time(
    server: RedisServer,
) -> None:
    async with cache_on(server.url) as cache:
        for name in "abcd":
            await cache.put(name, outcome(name))
        server.pause()
        await asyncio.gather(*(cache.get(name) for name in "abcd"), return_exceptions=True)
        server.resume()
        assert await answers_again(cache)
        found = await asyncio.gather(*(cache.get(name) for name in "dcba"))
        assert found == [outcome(name) for name in "dcba"]


async def test_an_abandoned_look_up_leaves_no_answer_for_the_next(server: RedisServer) -> None:
    async with cache_on(server.url) as cache:
        await cache.put("a", outcome("a"))
        await cache.put("b", outcome("b"))
        server.pause()
        abandoned = asyncio.create_task(cache.get("a"))
        await asyncio.sleep(BUDGET_S / 5)
        abandoned.cancel()
        await asyncio.wait([abandoned])
        server.resume()
        assert await cache.get("b") == outcome("b")


async def test_an_address_where_nothing_listens_is_refused_in_time() -> None:
    async with cache_on("redis://127.0.0.1:1/0") as cache:
        assert await refused_after(cache) < IN_TIME_S


async def test_a_value_of_another_kind_is_a_counted_miss_and_can_be_replaced(
    server: RedisServer,
) -> None:
    async with Redis.from_url(server.url) as redis, cache_on(server.url) as cache:
        await redis.sadd("entroute:answer:set", "x")
        assert await cache.get("set") is None
        assert cache.discarded["wrong_type"] == 1
        assert await cache.put("set", outcome())
        assert await cache.get("set") == outcome()


async def test_more_calls_than_connections_wait_for_one(redis: RedisServer) -> None:
    link = BudgetedRedis(redis.url, 5.0, time.monotonic)
    cache = answers_in(RedisStore(link, "many:"))
    await asyncio.gather(*(cache.put(str(number), outcome()) for number in range(500)))
    async with Redis.from_url(redis.url) as watcher:
        assert len(await watcher.client_list()) < 100
    await link.close()


async def test_keys_carry_the_prefix_and_a_time_to_live(redis: RedisServer) -> None:
    link = BudgetedRedis(redis.url, 2.0, time.monotonic)
    cache = answers_in(RedisStore(link, "mine:"))
    await cache.put("k", outcome())
    async with Redis.from_url(redis.url) as watcher:
        assert 50 < await watcher.ttl("mine:answer:k") <= 60
    await link.close()
