"""Leases on one store, each `Leases` as another gateway."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from entroute.cache.leases import MARK_S, Lease, Leases
from entroute.errors import StoreUnavailable
from entroute.stores.memory import MemoryStore
from tests.cache.caches import tokens

LEASE_S = 1.5


class FailingStore(MemoryStore):
    """A store that stops answering when told."""

    dead = False

    async def get(self, key: str) -> bytes | None:
        self._check()
        return await super().get(key)

    async def extend(self, key: str, token: bytes, ttl_s: float) -> bool:
        self._check()
        return await super().extend(key, token, ttl_s)

    def _check(self) -> None:
        if self.dead:
            raise StoreUnavailable("dead")


@pytest.fixture
def store() -> FailingStore:
    return FailingStore(2**20, time.monotonic)


def gateway(store: MemoryStore, name: str, *, lease_s: float = LEASE_S) -> Leases:
    return Leases(store, 30.0, tokens(name), time.monotonic, lease_s)


def soon(seconds: float = 10.0) -> float:
    return time.monotonic() + seconds


async def claimed(leases: Leases) -> Lease:
    lease = await leases.claim("k")
    assert lease is not None
    return lease


async def test_one_gateway_at_a_time_has_a_lease(store: FailingStore) -> None:
    one, other = gateway(store, "a"), gateway(store, "b")
    lease = await claimed(one)
    assert await other.claim("k") is None
    assert await other.claim("another") is not None
    lease.marks = False
    await one.end(lease)
    assert await other.claim("k") is not None


async def test_a_lease_is_renewed_while_its_holder_works(store: FailingStore) -> None:
    one, other = gateway(store, "a"), gateway(store, "b")
    async with one.held(await claimed(one)):
        await asyncio.sleep(LEASE_S * 2)
        assert await other.claim("k") is None


async def test_who_died_is_succeeded_by_one(store: FailingStore) -> None:
    await claimed(gateway(store, "dead"))  # and never renewed
    others = [gateway(store, name) for name in "abcdef"]
    ends = await asyncio.gather(*(other.ended("k", soon()) for other in others))
    assert set(ends) == {"free"}
    leases = await asyncio.gather(*(other.claim("k") for other in others))
    assert len([lease for lease in leases if lease is not None]) == 1


async def test_what_was_not_kept_is_told_to_those_who_wait(store: FailingStore) -> None:
    one, other = gateway(store, "a"), gateway(store, "b")
    async with one.held(await claimed(one)):
        waiting = asyncio.create_task(other.ended("k", soon()))
        await asyncio.sleep(0.05)
        assert not waiting.done()
    assert await waiting == "not_kept"


async def test_a_mark_is_forgotten(store: FailingStore) -> None:
    one, other = gateway(store, "a"), gateway(store, "b")
    async with one.held(await claimed(one)):
        pass
    assert await other.claim("k") is None
    await asyncio.sleep(MARK_S + 0.1)
    assert await other.claim("k") is not None


async def test_an_error_of_the_holder_leaves_the_mark(store: FailingStore) -> None:
    one, other = gateway(store, "a"), gateway(store, "b")
    with pytest.raises(KeyError):
        async with one.held(await claimed(one)):
            raise KeyError
    assert await other.ended("k", soon()) == "not_kept"


async def test_a_holder_that_is_cancelled_drops_its_lease(store: FailingStore) -> None:
    one, other = gateway(store, "a"), gateway(store, "b")
    lease = await claimed(one)

    async def work() -> None:
        async with one.held(lease):
            await asyncio.sleep(60)

    task = asyncio.create_task(work())
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait([task])
    assert await other.ended("k", soon()) == "free"


async def test_a_stream_that_is_closed_drops_its_lease(store: FailingStore) -> None:
    one, other = gateway(store, "a"), gateway(store, "b")
    lease = await claimed(one)

    async def stream() -> AsyncGenerator[int, None]:
        async with one.held(lease):
            yield 1
            yield 2

    async with aclosing(stream()) as items:
        await anext(items)
    assert await other.ended("k", soon()) == "free"


async def test_waiting_ends_in_time(store: FailingStore) -> None:
    one, other = gateway(store, "a", lease_s=60), gateway(store, "b")
    await claimed(one)
    start = time.monotonic()
    assert await other.ended("k", soon(0.3)) == "late"
    assert 0.3 <= time.monotonic() - start < 2
    assert await other.ended("k", soon(-1)) == "late"


async def test_a_holder_whose_lease_ran_out_does_not_end_its_successors(
    store: FailingStore,
) -> None:
    one, other = gateway(store, "a"), gateway(store, "b")
    lease = await claimed(one)
    await asyncio.sleep(LEASE_S + 0.1)
    await claimed(other)
    await one.end(lease)
    lease.marks = False
    await one.end(lease)
    assert await one.claim("k") is None


async def test_a_store_that_fails_is_counted_and_the_work_goes_on(store: FailingStore) -> None:
    one = gateway(store, "a", lease_s=0.03)
    lease = await claimed(one)
    async with one.held(lease):
        store.dead = True
        await asyncio.sleep(0.1)
    assert lease.failures >= 2  # of renewals, and of the end
    with pytest.raises(StoreUnavailable):
        await one.ended("k", soon())


class SlowStore(MemoryStore):
    """A store that grants a claim and is slow to say so."""

    async def claim(self, key: str, token: bytes, ttl_s: float) -> bool:
        granted = await super().claim(key, token, ttl_s)
        await asyncio.sleep(60)
        return granted


async def test_a_claim_that_nobody_waits_for_any_more_is_given_back() -> None:
    store = SlowStore(2**20, time.monotonic)
    task = asyncio.create_task(gateway(store, "a").claim("k"))
    await asyncio.sleep(0.01)
    assert await store.get("lease:k") is not None
    task.cancel()
    await asyncio.wait([task])
    assert await store.get("lease:k") is None
