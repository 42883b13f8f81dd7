"""Keys in Redis: a copy in memory that outlives it."""

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from entroute.errors import KeysUnavailable
from entroute.redis_link.budgeted import BudgetedRedis
from entroute.tenants.keys import digest_of
from entroute.tenants.keys_books import RedisBook
from entroute.tenants.keys_edits import revoked
from entroute.tenants.keys_redis import HASH, RedisKeys, read_records
from tests.keys import an_entry
from tests.redis_server import RedisServer, redis_server
from tests.scripted import FakeClock


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@asynccontextmanager
async def linked(server: RedisServer, timeout_s: float = 2.0) -> AsyncIterator[BudgetedRedis]:
    link = BudgetedRedis(server.url, timeout_s, time.monotonic, probe_every_s=0.05)
    try:
        yield link
    finally:
        await link.close()


@asynccontextmanager
async def watching(
    server: RedisServer, clock: FakeClock, *, patience_s: float = 2.0, wait_s: float = 2.0
) -> AsyncIterator[RedisKeys]:
    """Yield a source that has looked once and looks again only when told."""
    async with linked(server, patience_s) as link:
        keys = RedisKeys(link, wait_s, clock)
        try:
            await keys.look()
            yield keys
        finally:
            await keys.close()


async def make(server: RedisServer, *secrets: str) -> None:
    new = [an_entry(secret, name=secret) for secret in secrets]
    await asyncio.to_thread(RedisBook(server.url).change, lambda old: [*old, *new])


async def until_held(keys: RedisKeys, secret: str) -> None:
    """Look until a key is found: the link to a Redis that is back needs a moment to see it."""
    end = time.monotonic() + 20
    while keys.find(digest_of(secret)) is None:
        assert time.monotonic() < end
        await asyncio.sleep(0.02)
        await keys.look()


async def write_raw(server: RedisServer, field: str, value: str) -> None:
    async with linked(server) as link:
        await link.ask(lambda redis: redis.hset(HASH, field, value))


async def test_keys_are_found_once_they_have_been_made(server: RedisServer):
    clock = FakeClock()
    async with watching(server, clock) as keys:
        assert (keys.count, keys.age_s) == (0, 0)
        await make(server, "one")
        clock.advance(1)
        found = await keys.find_again(digest_of("one"))
        assert found is not None
        assert keys.find(digest_of("one")) is found
        assert keys.by_id(found.id) is found


async def test_a_keys_priority_is_kept(server: RedisServer):
    async with watching(server, FakeClock()) as keys:
        new = [an_entry("one", priority="high"), an_entry("other", name="o")]
        await asyncio.to_thread(RedisBook(server.url).change, lambda _: new)
        await keys.look()
        found = [keys.find(digest_of(secret)) for secret in ("one", "other")]
        assert [key and key.principal.priority for key in found] == ["high", "normal"]


async def test_a_revoked_key_is_gone_with_the_next_look(server: RedisServer):
    await make(server, "one", "two")
    async with watching(server, FakeClock()) as keys:
        await asyncio.to_thread(RedisBook(server.url).change, lambda old: revoked(old, "one"))
        await keys.look()
        assert keys.find(digest_of("one")) is None
        assert keys.find(digest_of("two")) is not None


async def test_no_secret_is_stored(server: RedisServer):
    await make(server, "one")
    async with linked(server) as link:
        stored = await link.ask(lambda redis: redis.hgetall(HASH))
    assert stored.keys() == {b"version", digest_of("one").encode()}
    assert digest_of("one").encode() not in stored[digest_of("one").encode()]


async def test_nothing_is_read_while_the_version_stands(server: RedisServer):
    await make(server, "one")
    clock = FakeClock()
    async with watching(server, clock) as keys:
        for _ in range(3):
            await keys.look()
        assert keys.reloads["loaded"] == 1
        clock.advance(60)  # by then everything is read, whatever the version says
        await keys.look()
        assert keys.reloads["loaded"] == 2


async def test_unknown_keys_ask_redis_at_most_once_a_second(server: RedisServer):
    clock = FakeClock()
    async with watching(server, clock) as keys:
        await make(server, "one")
        assert await keys.find_again(digest_of("one")) is None  # it was asked just now
        clock.advance(1)
        many = [digest_of(f"guess {n}") for n in range(100)]
        assert set(await asyncio.gather(*map(keys.find_again, many))) == {None}
        assert keys.reloads["loaded"] == 2
        assert keys.find(digest_of("one")) is not None


async def test_while_redis_is_down_the_last_copy_serves_and_it_is_said_once(
    server: RedisServer, caplog: pytest.LogCaptureFixture
):
    await make(server, "one")
    clock = FakeClock()
    async with watching(server, clock) as keys:
        server.kill()
        with caplog.at_level(logging.WARNING):
            for _ in range(3):
                clock.advance(2)
                await keys.look()
        assert keys.find(digest_of("one")) is not None
        assert await keys.find_again(digest_of("two")) is None  # unknown, not unavailable
        assert keys.age_s == 6
        assert keys.reloads["failed"] == 3
        assert len([r for r in caplog.records if r.name == "entroute.keys"]) == 1
        server.start()  # empty
        await make(server, "two")
        await until_held(keys, "two")
        assert keys.find(digest_of("one")) is None
        assert keys.age_s == 0


async def test_with_no_copy_yet_nobody_is_called_a_stranger(server: RedisServer):
    server.kill()
    clock = FakeClock()
    async with watching(server, clock) as keys:
        assert keys.age_s is None
        with pytest.raises(KeysUnavailable):
            await keys.find_again(digest_of("one"))
        server.start()
        await make(server, "one")
        await until_held(keys, "one")


async def test_a_hung_redis_costs_an_unknown_key_its_budget_and_a_known_one_nothing(
    server: RedisServer,
):
    await make(server, "one")
    clock = FakeClock()
    async with watching(server, clock, patience_s=20.0, wait_s=0.05) as keys:
        server.pause()
        try:
            clock.advance(1)
            began = time.monotonic()
            for _ in range(3):
                assert await keys.find_again(digest_of("two")) is None
            assert keys.find(digest_of("one")) is not None
            assert time.monotonic() - began < 5
        finally:
            server.resume()


async def test_a_client_that_leaves_does_not_stop_the_look_of_others(server: RedisServer):
    clock = FakeClock()
    async with watching(server, clock) as keys:
        await make(server, "one")
        clock.advance(1)
        leaves = asyncio.create_task(keys.find_again(digest_of("one")))
        stays = asyncio.create_task(keys.find_again(digest_of("one")))
        await asyncio.sleep(0)
        leaves.cancel()
        assert await stays is not None


GARBAGE = {
    "not JSON": "{",
    "not a record": '["er-secret"]',
    "null": "null",
    "bytes": "\udcff",
    "another schema": json.dumps({"name": "a", "tenant": "b", "schema": 9}),
    "a wrong type": json.dumps({"name": "a", "tenant": ["er-secret"]}),
    "deep": "[" * 100_000,
}


@pytest.mark.parametrize("value", GARBAGE.values(), ids=GARBAGE.keys())
async def test_a_record_that_cannot_be_read_is_left_out_and_named_by_its_id(
    server: RedisServer, value: str, caplog: pytest.LogCaptureFixture
):
    await make(server, "one")
    async with linked(server) as link:
        raw = value.encode(errors="surrogateescape")
        await link.ask(lambda redis: redis.hset(HASH, digest_of("bad"), raw))
    with caplog.at_level(logging.WARNING):
        async with watching(server, FakeClock()) as keys:
            assert keys.find(digest_of("one")) is not None
            assert keys.find(digest_of("bad")) is None
            assert keys.reloads["garbage"] == 1
    (line,) = [record.getMessage() for record in caplog.records]
    assert digest_of("bad")[:12] in line
    assert digest_of("bad") not in line
    assert "secret" not in line


async def test_a_field_that_is_no_hash_is_never_shown(
    server: RedisServer, caplog: pytest.LogCaptureFixture
):
    await write_raw(server, "er-secret-pasted-here", "{}")
    with caplog.at_level(logging.WARNING):
        async with watching(server, FakeClock()) as keys:
            assert (keys.count, keys.reloads["garbage"]) == (0, 1)
    assert "er-secret" not in caplog.text


async def test_two_records_of_one_id_are_one_key(server: RedisServer):
    await make(server, "one")
    record = json.dumps({"name": "twin", "tenant": "t", "id": digest_of("one")[:12]})
    await write_raw(server, "f" * 64, record)
    async with linked(server) as link:
        records = await read_records(link)
    assert [entry.name for entry in records.entries] == ["one"]
    assert records.garbage == ("f" * 12,)


async def test_keys_under_something_else_than_a_hash_keep_the_last_copy(server: RedisServer):
    await make(server, "one")
    async with watching(server, FakeClock()) as keys, linked(server) as link:
        await link.ask(lambda redis: redis.set(HASH, "garbage"))
        await keys.look()
        assert keys.find(digest_of("one")) is not None
        assert keys.reloads["failed"] == 1


async def test_a_started_source_looks_by_itself(server: RedisServer):
    async with linked(server) as link:
        keys = RedisKeys(link, 2.0, time.monotonic)
        await keys.start()
        try:
            await make(server, "one")
            end = time.monotonic() + 20
            while keys.find(digest_of("one")) is None:
                assert time.monotonic() < end
                await asyncio.sleep(0.02)
        finally:
            await keys.close()
