"""Answers whose entries are odd: too large, of another release, garbage, invalidated."""

import pytest
from redis.asyncio import Redis

from entroute.cache.answers import REASONS, AnswerCache
from entroute.cache.codec import SCHEMA_VERSION, encode
from entroute.redis_link.budgeted import BudgetedRedis
from entroute.stores import Store
from entroute.stores.memory import MemoryStore
from entroute.stores.redis import RedisStore
from tests.cache.caches import answers_in
from tests.cache.samples import incompressible, outcome
from tests.redis_server import RedisServer


@pytest.fixture
def store() -> Store:
    return MemoryStore(2**20, lambda: 0.0)


def counted(cache: AnswerCache) -> dict[str, int]:
    return {reason: number for reason, number in cache.discarded.items() if number}


def of_version(version: int) -> bytes:
    entry = bytearray(encode(outcome()))
    entry[2] = version
    return bytes(entry)


async def test_every_reason_is_exported_from_the_start(store: Store) -> None:
    assert answers_in(store).discarded == dict.fromkeys(REASONS, 0)


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (of_version(SCHEMA_VERSION - 1), "version"),
        (of_version(SCHEMA_VERSION + 1), "version"),
        (b"", "damaged"),
        (b"not an entry", "damaged"),
        (encode(outcome())[:-1], "damaged"),
        (b'{"choices": []}', "damaged"),
    ],
)
async def test_an_entry_that_cannot_be_read_is_a_counted_miss_and_replaced(
    store: Store, entry: bytes, reason: str
) -> None:
    cache = answers_in(store)
    await store.put("answer:k", entry, 60)
    assert await cache.get("k") is None
    assert counted(cache) == {reason: 1}
    assert await cache.put("k", outcome())
    assert await cache.get("k") == outcome()


async def test_a_key_of_another_kind_is_a_counted_miss_and_replaced(store: Store) -> None:
    cache = answers_in(store)
    await store.put_fields("answer:k", {"x": b"1"}, 60)
    assert await cache.get("k") is None
    assert counted(cache) == {"wrong_type": 1}
    assert await cache.put("k", outcome())
    assert await cache.get("k") == outcome()


async def test_an_answer_of_exactly_the_bound_is_kept(store: Store) -> None:
    size = len(encode(outcome()))
    assert await answers_in(store, max_entry_bytes=size).put("k", outcome())
    assert not await answers_in(store, max_entry_bytes=size - 1).put("k", outcome())


async def test_an_answer_that_is_too_large_takes_the_place_of_an_older_one(store: Store) -> None:
    cache = answers_in(store, max_entry_bytes=1000)
    assert await cache.put("k", outcome("old"))
    assert not await cache.put("k", outcome(incompressible(1000)))
    assert counted(cache) == {"too_large": 1}
    assert await cache.get("k") is None


async def test_what_counts_is_the_compressed_size(store: Store) -> None:
    cache = answers_in(store, max_entry_bytes=1000)
    assert await cache.put("k", outcome("a" * 10_000))


async def test_an_answer_whose_stamp_is_gone_is_a_counted_miss(store: Store) -> None:
    cache = answers_in(store)
    await store.put("tag:1", b"s", 60)
    await cache.put("k", outcome(), {"tag:1": "s"})
    assert await cache.get("k") == outcome()
    await store.delete("tag:1")
    assert await cache.get("k") is None
    await cache.put("k", outcome(), {"tag:1": "s"})
    await store.put("tag:1", b"another", 60)
    assert await cache.get("k") is None
    assert counted(cache) == {"invalidated": 2}
    assert await store.get("answer:k") is None  # and leaves room


async def test_answers_without_tags_cost_one_round_trip_and_with_tags_two(
    redis: RedisServer,
) -> None:
    link = BudgetedRedis(redis.url, 5.0, lambda: 0.0)
    cache = answers_in(RedisStore(link, "trips:"))
    async with Redis.from_url(redis.url) as watcher:
        await watcher.set("trips:tag:1", "s")
        await cache.put("plain", outcome())
        await cache.put("tagged", outcome(), {"tag:1": "s"})

        async def trips(key: str) -> int:
            before = (await watcher.info("commandstats")).get("cmdstat_get", {"calls": 0})
            assert await cache.get(key) == outcome()
            after = (await watcher.info("commandstats"))["cmdstat_get"]
            return int(after["calls"] - before["calls"])

        assert await trips("plain") == 1
        assert await trips("tagged") == 2
    await link.close()
