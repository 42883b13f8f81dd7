"""What every store of shared state owes its users, over every store."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from uuid import uuid4

import pytest

from entroute.errors import WrongKind
from entroute.redis_link.budgeted import BudgetedRedis
from entroute.stores import Store
from entroute.stores.memory import MemoryStore
from entroute.stores.redis import RedisStore
from tests.redis_server import RedisServer

TTL_S = 0.8
LONG_S = 60.0

HOSTILE_KEYS = [
    "*",
    "?[a-z]",
    "{tag}:{other}",
    "a:b:c",
    "'; FLUSHALL; '",
    '"quoted"\\',
    "$-1",
    "%s%n",
    "../../etc",
    "k" * 10_000,
]


@dataclass
class Subject:
    """A store, and how to let it age."""

    store: Store
    age: Callable[[float], Awaitable[None]]
    close: Callable[[], Awaitable[None]]


def memory_subject() -> Subject:
    now = [100.0]

    async def age(seconds: float) -> None:
        now[0] += seconds

    store = MemoryStore(2**24, lambda: now[0])
    return Subject(store, age, store.close)


def redis_subject(server: RedisServer) -> Subject:
    link = BudgetedRedis(server.url, 5.0, time.monotonic)
    return Subject(RedisStore(link, f"{uuid4()}:"), asyncio.sleep, link.close)


@pytest.fixture(params=["memory", "redis", "redis8"])
async def subject(request: pytest.FixtureRequest) -> AsyncIterator[Subject]:
    if request.param == "memory":
        made = memory_subject()
    else:
        made = redis_subject(request.getfixturevalue(request.param))
    yield made
    await made.close()


@pytest.fixture
def store(subject: Subject) -> Store:
    return subject.store


@pytest.mark.parametrize("value", [b"", b"\x00\xff\r\n", b"12", b"x" * 1_000_000])
async def test_any_bytes_come_back(store: Store, value: bytes) -> None:
    await store.put("k", value, LONG_S)
    assert await store.get("k") == value
    await store.put_fields("f", {"x": value}, LONG_S)
    assert await store.fields("f") == {"x": value}


async def test_what_was_not_put_is_not_there(store: Store) -> None:
    assert await store.get("k") is None
    assert await store.fields("k") == {}
    assert not await store.delete("k")


async def test_hostile_keys_are_keys(store: Store) -> None:
    for number, key in enumerate(HOSTILE_KEYS):
        await store.put(key, str(number).encode(), LONG_S)
    for number, key in enumerate(HOSTILE_KEYS):
        assert await store.get(key) == str(number).encode()
        assert await store.delete(key)
        assert await store.claim(key, b"t", LONG_S)
        assert await store.extend(key, b"t", LONG_S)
        assert await store.release(key, b"t")
        await store.put_fields(key, {key: b"v"}, LONG_S)
        assert await store.fields(key) == {key: b"v"}


async def test_a_key_is_dropped_whatever_it_holds(store: Store) -> None:
    await store.put("value", b"1", LONG_S)
    await store.put_fields("fields", {"x": b"1"}, LONG_S)
    assert await store.delete("value")
    assert await store.delete("fields")
    assert await store.get("value") is None
    assert await store.fields("fields") == {}


async def test_everything_is_gone_after_its_time(subject: Subject) -> None:
    store = subject.store
    await store.put("value", b"1", TTL_S)
    await store.claim("claim", b"1", TTL_S)
    await store.put_fields("fields", {"x": b"1"}, TTL_S)
    await subject.age(TTL_S + 0.3)
    assert await store.get("value") is None
    assert await store.fields("fields") == {}
    assert not await store.extend("claim", b"1", TTL_S)
    assert await store.claim("claim", b"2", TTL_S)


async def test_a_put_starts_the_time_again(subject: Subject) -> None:
    await subject.store.put("k", b"1", TTL_S)
    await subject.store.put("k", b"2", LONG_S)
    await subject.age(TTL_S + 0.3)
    assert await subject.store.get("k") == b"2"


async def test_of_many_claims_at_once_one_is_granted(store: Store) -> None:
    tokens = [str(number).encode() for number in range(30)]
    granted = await asyncio.gather(*(store.claim("k", token, LONG_S) for token in tokens))
    assert granted.count(True) == 1
    assert await store.get("k") == tokens[granted.index(True)]


async def test_a_claim_refused_leaves_the_first_as_it_was(subject: Subject) -> None:
    await subject.store.claim("k", b"mine", TTL_S)
    assert not await subject.store.claim("k", b"yours", LONG_S)
    assert await subject.store.get("k") == b"mine"
    await subject.age(TTL_S + 0.3)
    assert await subject.store.get("k") is None  # nor did it live longer


async def test_only_the_holder_extends_and_releases(store: Store) -> None:
    await store.claim("k", b"mine", LONG_S)
    assert not await store.extend("k", b"yours", LONG_S)
    assert not await store.release("k", b"yours")
    assert await store.extend("k", b"mine", LONG_S)
    assert await store.release("k", b"mine")
    assert not await store.release("k", b"mine")
    assert not await store.extend("k", b"mine", LONG_S)


async def test_a_late_release_does_not_drop_the_next_holders_claim(subject: Subject) -> None:
    store = subject.store
    await store.claim("k", b"first", TTL_S)
    await subject.age(TTL_S + 0.3)
    await store.claim("k", b"second", LONG_S)
    assert not await store.release("k", b"first")
    assert not await store.extend("k", b"first", LONG_S)
    assert await store.get("k") == b"second"


async def test_an_extension_is_a_life_from_now(subject: Subject) -> None:
    await subject.store.claim("k", b"t", TTL_S)
    await subject.store.extend("k", b"t", LONG_S)
    await subject.age(TTL_S + 0.3)
    assert await subject.store.get("k") == b"t"


async def test_fields_join_those_that_are_there_and_replace_their_like(store: Store) -> None:
    await store.put_fields("k", {"a": b"1", "b": b"2"}, LONG_S)
    await store.put_fields("k", {"b": b"3", "": b"4"}, LONG_S)
    assert await store.fields("k") == {"a": b"1", "b": b"3", "": b"4"}


async def test_new_fields_give_all_fields_a_new_life(subject: Subject) -> None:
    store = subject.store
    await store.put_fields("k", {"old": b"1"}, TTL_S)
    await store.put_fields("k", {"new": b"2"}, LONG_S)
    await subject.age(TTL_S + 0.3)
    assert await store.fields("k") == {"old": b"1", "new": b"2"}
    await store.put_fields("k", {}, TTL_S)
    await subject.age(TTL_S + 0.3)
    assert await store.fields("k") == {}


async def test_no_fields_make_no_key(store: Store) -> None:
    await store.put_fields("k", {}, LONG_S)
    assert await store.claim("k", b"t", LONG_S)


async def test_fields_of_many_writers_at_once_are_all_kept(store: Store) -> None:
    names = [f"n{number}" for number in range(50)]
    await asyncio.gather(*(store.put_fields("k", {name: b"1"}, LONG_S) for name in names))
    assert sorted(await store.fields("k")) == sorted(names)


async def test_a_value_is_not_read_as_fields_nor_fields_as_a_value(store: Store) -> None:
    await store.put("value", b"1", LONG_S)
    await store.put_fields("fields", {"x": b"1"}, LONG_S)
    with pytest.raises(WrongKind):
        await store.get("fields")
    with pytest.raises(WrongKind):
        await store.fields("value")
    with pytest.raises(WrongKind):
        await store.put_fields("value", {"x": b"2"}, LONG_S)
    with pytest.raises(WrongKind):
        await store.extend("fields", b"t", LONG_S)
    assert not await store.claim("fields", b"t", LONG_S)
    assert await store.get("value") == b"1"


async def test_a_value_replaces_what_is_of_another_kind(store: Store) -> None:
    await store.put_fields("k", {"x": b"1"}, LONG_S)
    await store.put("k", b"2", LONG_S)
    assert await store.get("k") == b"2"


async def test_many_at_once_each_get_their_own(store: Store) -> None:
    keys = [str(number) for number in range(200)]
    await asyncio.gather(*(store.put(key, key.encode(), LONG_S) for key in keys))
    found = await asyncio.gather(*(store.get(key) for key in keys))
    assert found == [key.encode() for key in keys]
