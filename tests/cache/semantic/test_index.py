"""What every index does, in this process, over a stream of Redis 6, in a vector set of Redis 8."""

import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from entroute.cache.semantic.index import Index
from entroute.cache.semantic.journal import StreamJournal
from entroute.cache.semantic.local import LocalIndex
from entroute.cache.semantic.vector_sets import ServerIndex, VectorSetIndex
from entroute.errors import StoreUnavailable
from entroute.redis_link.budgeted import BudgetedRedis
from tests.builders import until
from tests.cache.semantic.meanings import DIMENSIONS, link_to, vector_of
from tests.redis_server import REDIS_6, REDIS_8, RedisServer

MOST = 4
TTL_S = 60.0


@dataclass
class Shelf:
    """An index, and another one that looks at the same things, as another gateway would."""

    index: Index
    another: Callable[[], Index]
    scope: str

    async def add(self, *texts: str, scope: str = "") -> None:
        for text in texts:
            await self.index.add(scope or self.scope, f"key of {text}", text, vector_of(text))

    async def near(self, text: str, count: int = 5, index: Index | None = None) -> list[str]:
        found = await (index or self.index).near(self.scope, vector_of(text), count)
        return [neighbour.text for neighbour in found]


def over(link: BudgetedRedis, ttl_s: float = TTL_S, most: int = MOST) -> Index:
    """Return the index that a server gets."""
    journal = StreamJournal(link, most, ttl_s, DIMENSIONS)
    return ServerIndex(link, VectorSetIndex(link, most, ttl_s), LocalIndex(most, 8, journal))


@pytest_asyncio.fixture(params=["memory", "redis", "redis8"])
async def shelf(request: pytest.FixtureRequest) -> AsyncIterator[Shelf]:
    scope = uuid4().hex
    if request.param == "memory":
        index = LocalIndex(MOST, 8)
        yield Shelf(index, lambda: index, scope)
        return
    link = link_to(request.getfixturevalue(request.param).url)
    yield Shelf(over(link), lambda: over(link), scope)
    await link.close()


async def test_the_most_similar_come_first_with_their_similarity(shelf: Shelf) -> None:
    await shelf.add("How tall is Mount Fuji?", "What do spiders eat?")
    found = await shelf.index.near(shelf.scope, vector_of("How tall is Mount Fuji"), 5)
    assert [neighbour.text for neighbour in found] == [
        "How tall is Mount Fuji?",
        "What do spiders eat?",
    ]
    assert found[0].key == "key of How tall is Mount Fuji?"
    expected = vector_of("How tall is Mount Fuji?") @ vector_of("How tall is Mount Fuji")
    assert found[0].similarity == pytest.approx(float(expected), abs=2e-3)
    assert found[0].similarity > found[1].similarity


async def test_an_unknown_scope_is_empty(shelf: Shelf) -> None:
    assert await shelf.near("anything") == []


async def test_scopes_never_see_each_other(shelf: Shelf) -> None:
    await shelf.add("a secret of another", scope=uuid4().hex)
    assert await shelf.near("a secret of another") == []


async def test_no_more_than_asked_for_come_back(shelf: Shelf) -> None:
    await shelf.add("one", "two", "three")
    assert len(await shelf.near("one", count=2)) == 2


async def test_an_entry_of_the_same_key_takes_the_place_of_the_older(shelf: Shelf) -> None:
    await shelf.index.add(shelf.scope, "k", "old", vector_of("old"))
    await shelf.index.add(shelf.scope, "k", "new", vector_of("new"))
    assert await shelf.near("new") == ["new"]


async def test_what_is_dropped_is_not_found_again(shelf: Shelf) -> None:
    await shelf.add("one", "two")
    assert len(await shelf.near("one")) == 2
    await shelf.index.drop(shelf.scope, "key of one")
    assert await shelf.near("one") == ["two"]
    await shelf.index.drop(shelf.scope, "key of nothing")


async def test_what_one_gateway_adds_another_finds(shelf: Shelf) -> None:
    other = shelf.another()
    assert await shelf.near("one", index=other) == []
    await shelf.add("one")
    assert await shelf.near("one", index=other) == ["one"]
    await other.add(shelf.scope, "k2", "two", vector_of("two"))
    assert sorted(await shelf.near("one")) == ["one", "two"]
    assert sorted(await shelf.near("one", index=shelf.another())) == ["one", "two"]


async def test_a_scope_is_bounded(shelf: Shelf) -> None:
    texts = [f"question number {number}" for number in range(3 * MOST)]
    await shelf.add(*texts)
    found = await shelf.near(texts[-1], count=3 * MOST)
    assert texts[-1] in found
    assert len(found) == MOST


async def test_any_text_comes_back_as_it_was(shelf: Shelf) -> None:
    text = 'C\'est « ça » ? \n\t"x" {} 打开 \U0001f600'
    await shelf.add(text)
    assert await shelf.near(text) == [text]


async def test_scopes_of_one_gateway_are_bounded_too() -> None:
    index = LocalIndex(MOST, 2)
    for scope in "abc":
        await index.add(scope, "k", "text", vector_of("text"))
    found = [bool(await index.near(scope, vector_of("text"), 1)) for scope in "cba"]
    assert found == [True, True, False]


async def test_in_redis_every_scope_has_a_life(redis: RedisServer, redis8: RedisServer) -> None:
    for server in (redis, redis8):
        link, scope = link_to(server.url), uuid4().hex
        await over(link).add(scope, "k", "text", vector_of("text"))
        async with Redis.from_url(server.url) as watcher:
            (key,) = [key async for key in watcher.scan_iter(f"entroute:semantic:*{scope}")]
            assert 0 < await watcher.pttl(key) <= TTL_S * 1000
        await link.close()


async def test_a_gateway_that_comes_late_catches_up_in_a_few_look_ups(redis: RedisServer) -> None:
    link, scope = link_to(redis.url), uuid4().hex
    first = over(link, most=1000)
    for number in range(300):
        await first.add(scope, f"k{number}", f"question {number}", vector_of(f"question {number}"))
    late = over(link, most=1000)
    sizes = [len(await late.near(scope, vector_of("question 1"), 1000)) for _ in range(2)]
    assert sizes == [256, 300]
    await link.close()


@pytest.mark.parametrize("fixture", ["redis", "redis8"])
async def test_what_somebody_else_wrote_is_left_out_or_an_error(
    request: pytest.FixtureRequest, fixture: str
) -> None:
    server = request.getfixturevalue(fixture)
    link, scope, other = link_to(server.url), uuid4().hex, uuid4().hex
    index = over(link)
    async with Redis.from_url(server.url) as writer:
        if fixture == "redis":
            key = "entroute:semantic:"
            await writer.xadd(f"{key}{scope}", {"vector": b"short", "key": b"k", "text": b"t"})
            await writer.xadd(f"{key}{scope}", {"x": b"y"})
            await writer.xadd(
                f"{key}{scope}", {"vector": b"\0" * 768, "key": b"k", "text": b"\xff"}
            )
        else:
            key = "entroute:semantic:v:"
            await writer.execute_command(  # type: ignore[no-untyped-call]
                "VADD", f"{key}{scope}", "VALUES", DIMENSIONS, *([1] * DIMENSIONS), "stranger"
            )
        await writer.set(f"{key}{other}", "a string")
    assert await index.near(scope, vector_of("t"), 5) == ()
    with pytest.raises(StoreUnavailable):
        await index.near(other, vector_of("t"), 5)
    with pytest.raises(StoreUnavailable):
        await index.add(other, "k", "t", vector_of("t"))
    await link.close()


async def test_a_redis_that_is_gone_is_an_error_and_may_come_back_as_another_version() -> None:
    with TemporaryDirectory(prefix="redis-") as folder:
        old = RedisServer(Path(folder), binary=REDIS_6)
        new = RedisServer(Path(folder), binary=REDIS_8)
        old.start()
        link = BudgetedRedis(old.url, 2.0, time.monotonic, probe_every_s=0.05)
        index = over(link)
        try:
            await index.add("s", "k", "text", vector_of("text"))
            old.kill()
            with pytest.raises(StoreUnavailable):
                await index.near("s", vector_of("text"), 5)
            with pytest.raises(StoreUnavailable):
                await index.add("s", "k", "text", vector_of("text"))
            new.start()
            await until(lambda: link.up)
            await index.add("s", "k", "text", vector_of("text"))
            async with Redis.from_url(new.url) as watcher:
                assert await watcher.type("entroute:semantic:v:s") == b"vectorset"
        finally:
            old.kill()
            new.kill()
            await link.close()
