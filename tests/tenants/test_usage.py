"""What keys have used: every charge counted once, whatever fails on the way to the book."""

import time
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime
from uuid import uuid4

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis

from entroute.errors import StoreUnavailable
from entroute.evidence import Trace
from entroute.redis_link.budgeted import BudgetedRedis
from entroute.spending import Charge, Price, Purpose, Usage
from entroute.tenants.tallies import PICO, Spent, Tally, summed, tally_of
from entroute.tenants.usage import Batch, Days, Place, UsageBook, UsageKeeper
from entroute.tenants.usage_memory import MemoryUsage
from entroute.tenants.usage_redis import RedisUsage
from tests.redis_server import RedisServer, redis_server
from tests.tenants.books import Time

PURPOSES: tuple[Purpose, ...] = ("answer", "sample", "probe", "verify", "discarded")
PRICES = {"small": Price(0.05, 0.1), "large|odd": Price(0.333333, 1.75)}
MONTH = "2026-11"
PLACE = Place("0123456789ab", MONTH)


class FlakyUsage:
    """A book that sometimes fails: `lost` before a batch is added, `deaf` after."""

    def __init__(self, book: UsageBook, fates: list[str]) -> None:
        self.fates = fates
        self._book = book

    async def add(self, place: Place, batch: Batch) -> None:
        """Add a batch, or fail."""
        fate = self.fates.pop(0) if self.fates else "ok"
        if fate != "lost":
            await self._book.add(place, batch)
        if fate != "ok":
            raise StoreUnavailable(fate)

    async def read(self, place: Place) -> Days:
        """Return the sums."""
        return await self._book.read(place)


@pytest_asyncio.fixture(params=["memory", "redis"])
async def book(request: pytest.FixtureRequest, redis: RedisServer) -> AsyncIterator[UsageBook]:
    if request.param == "memory":
        yield MemoryUsage()
        return
    link = BudgetedRedis(redis.url, 5.0, time.monotonic)
    yield RedisUsage(link, f"test-{uuid4().hex}:")
    await link.close()


def a_trace(*charges: Charge, key: str = PLACE.key, **facts: object) -> Trace:
    trace = Trace("r", "chat", 0.0, key=key, charges=charges, result="ok", finished=1.0)
    for name, value in facts.items():
        setattr(trace, name, value)
    return trace


def a_charge(tier: str = "small", purpose: Purpose = "answer", tokens: int = 10) -> Charge:
    usage = Usage(tokens, tokens // 3, tokens // 2, 1, tokens % 2)
    return Charge(0, tier, purpose, usage, PRICES[tier].cost(usage))


async def told(keeper: UsageKeeper, key: str = PLACE.key, month: str = MONTH) -> Tally:
    return tally_of(summed((await keeper.read(key, month)).values()))


async def test_requests_errors_and_cached_answers_are_counted(book: UsageBook) -> None:
    keeper = UsageKeeper(book, Time().wall, "gateway")
    keeper.record(a_trace(a_charge()))
    keeper.record(a_trace(cache="exact"))
    keeper.record(a_trace(cache="miss", result="client_error"))
    keeper.record(a_trace(result="server_error"))
    keeper.record(a_trace(a_charge(), result="cancelled"))
    keeper.record(a_trace(endpoint="other", result="client_error"))
    tally = await told(keeper)
    assert (tally.requests, tally.errors, tally.cache_hits) == (5, 2, 1)


async def test_days_and_months_are_those_of_utc() -> None:
    clock = Time()
    keeper = UsageKeeper(MemoryUsage(), clock.wall, "gateway")
    keeper.record(a_trace(a_charge()))
    clock.now += 86_400.0
    keeper.record(a_trace(a_charge()))
    clock.now += 14 * 86_400.0
    keeper.record(a_trace(a_charge()))
    assert sorted(await keeper.read(PLACE.key, MONTH)) == [18, 19]
    assert sorted(await keeper.read(PLACE.key, "2026-12")) == [3]
    assert await keeper.read(PLACE.key, "2026-10") == {}


async def test_keys_are_told_apart() -> None:
    keeper = UsageKeeper(MemoryUsage(), Time().wall, "gateway")
    keeper.record(a_trace(a_charge(), key="a"))
    keeper.record(a_trace(a_charge(), a_charge(), key="b"))
    assert (await told(keeper, "a")).total.usage.calls == 1
    assert (await told(keeper, "b")).total.usage.calls == 2


CHARGES = st.lists(
    st.builds(
        a_charge, st.sampled_from(sorted(PRICES)), st.sampled_from(PURPOSES), st.integers(0, 10**6)
    ),
    max_size=4,
)
FATES = st.lists(st.sampled_from(["ok", "lost", "deaf"]), max_size=12)


@given(st.lists(st.tuples(CHARGES, st.booleans()), max_size=12), FATES, FATES)
async def test_usage_is_the_sum_of_all_charges_whatever_fails(
    requests: list[tuple[list[Charge], bool]], fates: list[str], others: list[str]
) -> None:
    book, wall = MemoryUsage(), Time().wall
    keepers = [
        UsageKeeper(FlakyUsage(book, list(f)), wall, str(n)) for n, f in enumerate((fates, others))
    ]
    spent: dict[tuple[str, str], Spent] = {}
    for place, (charges, flush) in enumerate(requests):
        keeper = keepers[place % 2]
        keeper.record(a_trace(*charges))
        for charge in charges:
            kind = (charge.tier, charge.purpose)
            cost = round(charge.cost_usd * PICO)
            spent[kind] = spent.get(kind, Spent()) + Spent(charge.usage, cost)
        if flush:
            await keeper.flush()
    for keeper in keepers:
        for _ in range(30):
            await keeper.flush()
    tally = await told(keepers[0])
    assert tally.requests == len(requests)
    assert {k: s for k, s in tally.spent.items() if s.usage.calls} == spent


async def test_prices_add_up_without_a_rounding() -> None:
    keeper = UsageKeeper(MemoryUsage(), Time().wall, "gateway")
    for _ in range(1000):
        keeper.record(a_trace(a_charge(tokens=1)))  # 5e-8 dollars each
    assert (await told(keeper)).total.cost_usd == 5e-5


async def test_a_batch_is_added_once(book: UsageBook) -> None:
    batch = Batch("gateway", 2, {18: {"requests": 3, "small|answer|prompt": 7}})
    await book.add(PLACE, batch)
    await book.add(PLACE, batch)
    await book.add(PLACE, Batch("gateway", 1, {18: {"requests": 9}}))
    await book.add(PLACE, Batch("another", 1, {18: {"requests": 1}, 19: {"requests": 5}}))
    assert await book.read(PLACE) == {
        18: {"requests": 4, "small|answer|prompt": 7},
        19: {"requests": 5},
    }


async def test_books_of_other_keys_and_months_are_apart(book: UsageBook) -> None:
    await book.add(PLACE, Batch("gateway", 1, {18: {"requests": 1}}))
    assert await book.read(Place("another", MONTH)) == {}
    assert await book.read(Place(PLACE.key, "2026-12")) == {}


async def test_what_cannot_be_booked_waits_up_to_a_bound() -> None:
    keeper = UsageKeeper(FlakyUsage(MemoryUsage(), ["lost"] * 2), Time().wall, "g", most_waiting=2)
    for key in ("a", "b", "a", "c"):
        keeper.record(a_trace(a_charge(), key=key))
    assert keeper.lost == 1
    await keeper.flush()  # both fail
    await keeper.flush()
    assert [(await told(keeper, key)).requests for key in "abc"] == [2, 1, 0]


async def test_usage_survives_an_outage_of_redis_and_is_booked_at_close() -> None:
    with redis_server() as server:
        link = BudgetedRedis(server.url, 0.3, time.monotonic)
        keeper = UsageKeeper(RedisUsage(link), time.time, "gateway")
        await keeper.start()
        server.pause()
        for _ in range(5):
            keeper.record(a_trace(a_charge()))
        with suppress(StoreUnavailable):
            await keeper.flush()
        keeper.record(a_trace(a_charge()))
        server.resume()
        await keeper.close()
        plain = Redis.from_url(server.url)
        (name,) = [n async for n in plain.scan_iter("*")]
        day = f"{datetime.now(UTC).day}"
        assert await plain.hget(name, f"{day}|requests") == b"6"
        assert 0 < await plain.ttl(name) <= 400 * 86_400
        await plain.aclose()
        await link.close()


async def test_a_book_that_holds_garbage_is_read_as_far_as_it_can_be(redis: RedisServer) -> None:
    link, prefix = BudgetedRedis(redis.url, 5.0, time.monotonic), f"test-{uuid4().hex}:"
    book, plain = RedisUsage(link, prefix), Redis.from_url(redis.url)
    await book.add(PLACE, Batch("gateway", 1, {18: {"requests": 3}}))
    (name,) = [n async for n in plain.scan_iter(f"{prefix}*")]
    await plain.hset(name, mapping={"18|errors": "\x00", "nonsense": "1", "x|y": "2"})
    assert await book.read(PLACE) == {18: {"requests": 3}}
    await plain.set(name, b"garbage")
    with pytest.raises(StoreUnavailable):
        await book.read(PLACE)
    await plain.aclose()
    await link.close()
