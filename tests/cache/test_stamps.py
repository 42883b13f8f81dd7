import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entroute.cache.stamps import MAKING_S, Stamps
from entroute.errors import StoreUnavailable
from entroute.stores.memory import MemoryStore
from tests.cache.caches import tokens

TTL_S = 60.0
tags = st.lists(st.text("abc./:-_", min_size=1, max_size=3), min_size=1, max_size=8, unique=True)


class Stage:
    """Stamps, their store and its clock."""

    def __init__(self) -> None:
        self.now = 0.0
        self.store = MemoryStore(2**20, lambda: self.now)
        self.stamps = Stamps(self.store, TTL_S, tokens())


async def test_a_tag_keeps_its_stamp_until_it_is_invalidated() -> None:
    stage = Stage()
    first = await stage.stamps.of("t", ["a"])
    assert await stage.stamps.of("t", ["a"]) == first
    assert await stage.stamps.stand(first)
    await stage.stamps.invalidate("t", ["a"])
    assert not await stage.stamps.stand(first)
    assert await stage.stamps.of("t", ["a"]) != first
    assert not await stage.stamps.stand(first)


async def test_one_invalid_tag_of_several_is_enough() -> None:
    stage = Stage()
    both = await stage.stamps.of("t", ["a", "b"])
    await stage.stamps.invalidate("t", ["b"])
    assert not await stage.stamps.stand(both)
    assert not await stage.stamps.hold(both)


async def test_an_invalidation_while_an_answer_is_made_wins() -> None:
    stage = Stage()
    before = await stage.stamps.of("t", ["a"])
    await stage.stamps.invalidate("t", ["a"])
    await stage.stamps.of("t", ["a"])  # somebody else begins another
    assert not await stage.stamps.hold(before)


@given(tags, tags)
async def test_a_tenant_never_touches_anothers_stamps(mine: list[str], yours: list[str]) -> None:
    stage = Stage()
    held = await stage.stamps.of("mine", mine)
    await stage.stamps.of("yours", yours)
    await stage.stamps.invalidate("yours", [*yours, *mine])
    assert await stage.stamps.stand(held)


@given(st.text(max_size=3), st.text(max_size=3), st.text(max_size=3), st.text(max_size=3))
async def test_keys_tell_every_tenant_and_tag_apart(t: str, a: str, u: str, b: str) -> None:
    stage = Stage()
    one, other = await stage.stamps.of(t, [a]), await stage.stamps.of(u, [b])
    assert (one.keys() == other.keys()) is ((t, a) == (u, b))


async def test_no_tag_nor_tenant_is_in_a_key() -> None:
    (key,) = await Stage().stamps.of("secret-tenant", ["secret-tag"])
    assert "secret" not in key
    assert key.startswith("tag:")


async def test_a_held_stamp_outlives_the_answer_that_carries_it() -> None:
    stage = Stage()
    held = await stage.stamps.of("t", ["a"])
    stage.now = MAKING_S - 1  # the longest an answer is made
    assert await stage.stamps.hold(held)
    stage.now += TTL_S
    assert await stage.stamps.stand(held)


async def test_a_lost_stamp_invalidates() -> None:
    stage = Stage()
    held = await stage.stamps.of("t", ["a"])
    await stage.store.close()  # as a Redis that evicts, or starts empty
    assert not await stage.stamps.stand(held)


async def test_many_who_stamp_a_new_tag_at_once_get_one_stamp() -> None:
    stage = Stage()
    found = await asyncio.gather(*(stage.stamps.of("t", ["a", "b"]) for _ in range(20)))
    assert all(stamps == found[0] for stamps in found)


async def test_no_tags_ask_nothing() -> None:
    stamps = Stamps(Dead(0, lambda: 0.0), TTL_S, tokens())
    assert await stamps.of("t", []) == {}
    assert await stamps.hold({})
    assert await stamps.stand({})


class Dead(MemoryStore):
    """A store that cannot be reached."""

    async def get(self, key: str) -> bytes | None:
        raise StoreUnavailable("dead")

    async def delete(self, key: str) -> bool:
        raise StoreUnavailable("dead")


async def test_a_dead_store_is_said_to_be() -> None:
    stamps = Stamps(Dead(0, lambda: 0.0), TTL_S, tokens())
    with pytest.raises(StoreUnavailable):
        await stamps.of("t", ["a", "b"])
    with pytest.raises(StoreUnavailable):
        await stamps.invalidate("t", ["a", "b"])
