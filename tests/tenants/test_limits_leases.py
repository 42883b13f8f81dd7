"""The books of limits: in memory and in Redis they say the same, and never lease too much."""

import time
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
import pytest_asyncio
from hypothesis import given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from entroute.errors import StoreUnavailable
from entroute.redis_link.budgeted import BudgetedRedis
from entroute.tenants.leases import FOLD_MS, LEASE_MS, Granted, Leases, Report, Share
from entroute.tenants.limits import NOTHING, UNLIMITED, Amounts, window_at
from entroute.tenants.limits_memory import MemoryLeases
from entroute.tenants.limits_redis import RedisLeases
from tests.redis_server import RedisServer
from tests.tenants.books import START_S, Time

LIMITS = (10, 1000, UNLIMITED)
NONE = (UNLIMITED,) * 3
START = round(START_S * 1000)
MONTH = window_at(1, START)[0]
KEY = "0123456789ab"


def report(
    number: int,
    *,
    member: str = "one",
    start: int = START,
    limits: Amounts = LIMITS,
    spent: Amounts = NOTHING,
    keep: Amounts = NOTHING,
    need: Amounts = NOTHING,
    want: Amounts = NOTHING,
    month: Amounts = NONE,
) -> Report:
    minute = Share(start, limits, spent, keep, need, want)
    return Report(member, number, (minute, Share(MONTH, month, spent, keep, need, want)))


class RedisAt(RedisLeases):
    """Redis books that go by a test's clock: the server's time is moved to it."""

    def __init__(self, redis: BudgetedRedis, clock: Time) -> None:
        super().__init__(redis, f"test-{uuid4().hex}:")
        self._clock = clock

    async def exchange(self, key: str, report: Report) -> Granted:
        """Take a report at the test's time."""
        self._ahead_ms = round((self._clock.wall() - time.time()) * 1000) + 5
        return await super().exchange(key, report)


@pytest.fixture
def clock() -> Time:
    return Time(START_S + 1.0)


@pytest_asyncio.fixture(params=["memory", "redis"])
async def books(
    request: pytest.FixtureRequest, clock: Time, redis: RedisServer
) -> AsyncIterator[Leases]:
    if request.param == "memory":
        yield MemoryLeases(clock.wall)
        return
    link = BudgetedRedis(redis.url, 5.0, time.monotonic)
    yield RedisAt(link, clock)
    await link.close()


async def test_a_gateway_gets_what_it_needs_and_no_more_than_a_fair_share_ahead(
    books: Leases,
) -> None:
    minute = (await books.exchange(KEY, report(1, need=(2, 100, 0), want=(9, 900, 5)))).windows[0]
    assert minute.caps == (2, 250, UNLIMITED)  # a quarter of what is left, or the need
    assert (minute.start, minute.end) == (START, START + 60_000)


async def test_what_one_holds_another_cannot_have(books: Leases) -> None:
    await books.exchange(KEY, report(1, need=(7, 0, 0)))
    other = await books.exchange(KEY, report(1, member="two", need=(7, 0, 0)))
    assert other.windows[0].caps[0] == 3


async def test_what_is_given_back_another_can_have(books: Leases) -> None:
    await books.exchange(KEY, report(1, need=(7, 0, 0)))
    await books.exchange(KEY, report(2, spent=(4, 10, 0), keep=(4, 10, 0)))
    other = await books.exchange(KEY, report(1, member="two", need=(7, 0, 0)))
    assert other.windows[0].caps[0] == 6
    assert other.windows[0].others == (4, 10, 0)


async def test_a_cap_that_is_kept_stays(books: Leases) -> None:
    await books.exchange(KEY, report(1, need=(7, 0, 0)))
    again = await books.exchange(KEY, report(2, spent=(1, 0, 0), keep=(7, 0, 0)))
    assert again.windows[0].caps[0] == 7


async def test_nobody_keeps_more_than_was_leased(books: Leases) -> None:
    await books.exchange(KEY, report(1, need=(2, 0, 0)))
    again = await books.exchange(KEY, report(2, keep=(9, 0, 0)))
    assert again.windows[0].caps[0] == 2


async def test_a_report_that_comes_twice_or_late_changes_nothing(books: Leases) -> None:
    await books.exchange(KEY, report(5, spent=(3, 30, 0), need=(2, 0, 0)))
    for number in (5, 4):
        with pytest.raises(StoreUnavailable):
            await books.exchange(KEY, report(number, spent=(1, 10, 0)))
    other = await books.exchange(KEY, report(1, member="two", need=(10, 0, 0)))
    assert other.windows[0].others == (3, 30, 0)
    assert other.windows[0].caps[0] == 5


async def test_a_gateway_that_died_gives_back_what_it_had_not_spent(
    books: Leases, clock: Time
) -> None:
    await books.exchange(KEY, report(1, spent=(2, 0, 0), need=(5, 0, 0)))
    clock.now += LEASE_MS / 1000 + 0.1
    other = await books.exchange(KEY, report(1, member="two", need=(10, 0, 0)))
    assert other.windows[0].others[0] == 2
    assert other.windows[0].caps[0] == 8


async def test_a_lease_that_lapsed_is_not_kept(books: Leases, clock: Time) -> None:
    await books.exchange(KEY, report(1, need=(8, 0, 0)))
    clock.now += LEASE_MS / 1000 + 0.1
    await books.exchange(KEY, report(1, member="two", need=(9, 0, 0)))
    again = await books.exchange(KEY, report(2, spent=(3, 0, 0), keep=(8, 0, 0)))
    assert again.windows[0].caps[0] == 3  # what it spent meanwhile counts, no more


async def test_a_new_minute_begins_with_nothing_spent(books: Leases, clock: Time) -> None:
    await books.exchange(KEY, report(1, spent=(10, 0, 0)))
    clock.now += 60.0
    fresh = (await books.exchange(KEY, report(2, spent=(10, 0, 0), need=(1, 0, 0)))).windows[0]
    assert (fresh.start, fresh.others) == (START + 60_000, NOTHING)
    assert fresh.caps[0] >= 1


async def test_a_month_outlives_minutes_and_ends(books: Leases, clock: Time) -> None:
    await books.exchange(KEY, report(1, spent=(4, 0, 0), month=LIMITS))
    clock.now += 86_400.0
    later = await books.exchange(KEY, report(1, member="two", need=(10, 0, 0), month=LIMITS))
    assert later.windows[1].others[0] == 4
    clock.now += 14 * 86_400.0  # December
    later = await books.exchange(KEY, report(2, member="two", need=(10, 0, 0), month=LIMITS))
    assert later.windows[1].others == NOTHING
    assert later.windows[1].start == window_at(1, round(clock.now * 1000))[0]


async def test_the_line_of_a_gateway_that_is_long_gone_is_folded(
    books: Leases, clock: Time
) -> None:
    for number in range(1, 4):
        gone = report(1, member=f"gone-{number}", spent=(2, 7, 0), month=LIMITS)
        await books.exchange(KEY, gone)
        clock.now += (FOLD_MS + LEASE_MS) / 1000 + 1.0
    left = await books.exchange(KEY, report(1, member="two", need=(10, 0, 0), month=LIMITS))
    assert left.windows[1].others == (6, 21, 0)
    assert left.windows[1].caps[0] == 4


async def test_keys_do_not_affect_each_other(books: Leases) -> None:
    await books.exchange(KEY, report(1, need=(10, 0, 0)))
    other = await books.exchange("another", report(1, need=(10, 0, 0)))
    assert other.windows[0].caps[0] == 10


async def test_garbage_in_redis_is_told_as_unavailable(redis: RedisServer) -> None:
    link = BudgetedRedis(redis.url, 5.0, time.monotonic)
    prefix = f"test-{uuid4().hex}:"
    plain = Redis.from_url(redis.url)
    await plain.set(f"{prefix}{{{KEY}}}:minute", b"\x00garbage")
    with pytest.raises(StoreUnavailable):
        await RedisLeases(link, prefix).exchange(KEY, report(1))
    await plain.delete(f"{prefix}{{{KEY}}}:minute")
    await plain.hset(f"{prefix}{{{KEY}}}:minute", mapping={"w": "x", "m:one": "1 2", "u": ""})
    with pytest.raises(StoreUnavailable):
        await RedisLeases(link, prefix).exchange(KEY, report(1))
    await plain.aclose()
    await link.close()


async def test_books_in_redis_are_one_hash_a_window_on_one_node_and_expire(
    redis: RedisServer, clock: Time
) -> None:
    link = BudgetedRedis(redis.url, 5.0, time.monotonic)
    prefix = f"test-{uuid4().hex}:"
    await RedisLeases(link, prefix).exchange(KEY, report(1, month=LIMITS))
    plain = Redis.from_url(redis.url)
    names = sorted([name async for name in plain.scan_iter(f"{prefix}*")])
    assert names == [f"{prefix}{{{KEY}}}:{w}".encode() for w in ("minute", "month")]
    assert all([0 < await plain.ttl(name) < 33 * 86_400 for name in names])
    await plain.aclose()
    await link.close()


Small = st.integers(0, 12)
STEP = st.tuples(
    st.sampled_from(["a", "b", "c"]),
    st.tuples(Small, Small, Small),  # spent since
    st.tuples(Small, Small, Small),  # need
    st.tuples(Small, Small, Small),  # want
    st.sampled_from([0.0, 0.5, 3.0, 12.0, 45.0, 90_000.0, 800_000.0]),
    st.booleans(),
)


@settings(max_examples=40)
@given(
    st.lists(STEP, min_size=1, max_size=14),
    st.tuples(st.integers(1, 40), st.sampled_from([UNLIMITED, 30]), st.integers(1, 40)),
)
async def test_redis_and_memory_books_always_agree_and_never_lease_beyond_the_limit(
    redis: RedisServer, steps, limits: Amounts
) -> None:
    clock, key = Time(), uuid4().hex
    memory = MemoryLeases(clock.wall)
    link = BudgetedRedis(redis.url, 5.0, time.monotonic)
    shared = RedisAt(link, clock)
    spent: dict[tuple[str, int, int], Amounts] = {}
    caps: dict[tuple[str, int], tuple[int, int, Amounts]] = {}
    try:
        for number, (member, more, need, want, wait, keeps) in enumerate(steps, 1):
            shares = []
            for kind in (0, 1):
                start, ends, cap = caps.get((member, kind), (0, 0, NOTHING))
                total = spent.get((member, kind, start), NOTHING)
                if clock.now * 1000 < ends:
                    total = tuple(
                        t + max(0, min(m, c - t)) for t, m, c in zip(total, more, cap, strict=True)
                    )
                spent[member, kind, start] = total
                keep = cap if keeps else total
                shares.append(Share(start, limits, total, keep, need, want))
            told = Report(member, number, tuple(shares))
            ours = await shared.exchange(key, told)
            clock.now = ours.now / 1000
            assert (await memory.exchange(key, told)) == ours
            for kind, window in enumerate(ours.windows):
                caps[member, kind] = (window.start, ours.now + LEASE_MS, window.caps)
                for place, limit in enumerate(limits):
                    live = sum(
                        max(c[place], spent.get((m, k, start), NOTHING)[place])
                        if ends > ours.now
                        else spent.get((m, k, start), NOTHING)[place]
                        for (m, k), (start, ends, c) in caps.items()
                        if k == kind and start == window.start
                    )
                    assert limit == UNLIMITED or live <= limit
            clock.now += wait
    finally:
        await link.close()
