"""What every cache owes the walk, over every cache."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from entroute.protocols import Cache
from entroute.redis_link.budgeted import BudgetedRedis
from entroute.stores.memory import MemoryStore
from entroute.stores.redis import RedisStore
from tests.cache.caches import answers_in
from tests.cache.samples import outcome
from tests.redis_server import RedisServer

TTL_S = 0.3


@dataclass
class Subject:
    """A cache, how to let it age, and how to spoil one of its values."""

    cache: Cache
    age: Callable[[float], Awaitable[None]]
    spoil: Callable[[str], Awaitable[None]]
    close: Callable[[], Awaitable[None]]


def memory_subject() -> Subject:
    now = [100.0]
    store = MemoryStore(2**23, lambda: now[0])
    cache = answers_in(store, ttl_s=TTL_S)

    async def age(seconds: float) -> None:
        now[0] += seconds

    async def spoil(key: str) -> None:
        stored = await store.get(f"answer:{key}")
        assert stored is not None
        await store.put(f"answer:{key}", b"\x00" + stored[1:], TTL_S)

    return Subject(cache, age, spoil, cache.close)


def redis_subject(server: RedisServer) -> Subject:
    prefix = f"{uuid4()}:"
    loop = asyncio.get_running_loop()
    link = BudgetedRedis(server.url, 2.0, loop.time)
    cache = answers_in(RedisStore(link, prefix), ttl_s=TTL_S)
    prefix += "answer:"

    async def spoil(key: str) -> None:
        async with Redis.from_url(server.url) as redis:
            assert await redis.getrange(prefix + key, 0, 1) == b"er"
            await redis.setrange(prefix + key, 0, "\x00")

    return Subject(cache, asyncio.sleep, spoil, link.close)


@pytest.fixture(params=["memory", "redis"])
async def subject(request: pytest.FixtureRequest) -> AsyncIterator[Subject]:
    if request.param == "memory":
        made = memory_subject()
    else:
        made = redis_subject(request.getfixturevalue("redis"))
    yield made
    await made.close()


async def test_what_was_put_comes_back(subject: Subject) -> None:
    assert await subject.cache.put("k", outcome("6 times 7"))
    assert await subject.cache.get("k") == outcome("6 times 7")


async def test_an_unknown_key_is_a_miss(subject: Subject) -> None:
    await subject.cache.put("k", outcome())
    assert await subject.cache.get("another") is None


async def test_the_last_put_wins(subject: Subject) -> None:
    await subject.cache.put("k", outcome("old"))
    await subject.cache.put("k", outcome("new"))
    assert await subject.cache.get("k") == outcome("new")


async def test_a_large_answer_comes_back_whole(subject: Subject) -> None:
    await subject.cache.put("k", outcome("word " * 20_000))
    assert await subject.cache.get("k") == outcome("word " * 20_000)


async def test_an_entry_is_gone_after_its_time(subject: Subject) -> None:
    await subject.cache.put("k", outcome())
    await subject.age(TTL_S + 0.1)
    assert await subject.cache.get("k") is None


async def test_a_new_put_starts_the_time_again(subject: Subject) -> None:
    await subject.cache.put("k", outcome())
    await subject.age(TTL_S * 0.6)
    await subject.cache.put("k", outcome())
    await subject.age(TTL_S * 0.6)
    assert await subject.cache.get("k") == outcome()


async def test_a_damaged_value_is_a_miss_and_can_be_replaced(subject: Subject) -> None:
    await subject.cache.put("k", outcome())
    await subject.spoil("k")
    assert await subject.cache.get("k") is None
    await subject.cache.put("k", outcome("again"))
    assert await subject.cache.get("k") == outcome("again")


async def test_many_at_once_each_get_their_own(subject: Subject) -> None:
    keys = [str(number) for number in range(200)]
    await asyncio.gather(*(subject.cache.put(key, outcome(key)) for key in keys))
    found = await asyncio.gather(*(subject.cache.get(key) for key in keys))
    assert found == [outcome(key) for key in keys]


async def test_closing_twice_is_harmless(subject: Subject) -> None:
    await subject.cache.put("k", outcome())
    await subject.cache.close()
    await subject.cache.close()
