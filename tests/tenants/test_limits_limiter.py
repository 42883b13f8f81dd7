"""Gateways that share a key's limits: who is let in, what is charged, what failing books do."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from entroute.errors import (
    InsufficientQuota,
    LimitsUnavailable,
    NotFound,
    RateLimitExceeded,
    StoreUnavailable,
)
from entroute.evidence import Trace
from entroute.tenants.estimates import Demand
from entroute.tenants.limiter import Limiter
from entroute.tenants.limits import MINUTE, window_at
from entroute.tenants.limits_memory import MemoryLeases
from tests.tenants.books import (
    START_S,
    FlakyLeases,
    SlowLeases,
    Time,
    a_key,
    a_limiter,
    admitted,
    charge,
    enter,
    leave,
)

BIG = Demand(1000, 1000)


async def test_exactly_as_many_requests_as_allowed_are_let_in() -> None:
    clock = Time()
    limiter = a_limiter(clock)
    assert await admitted(limiter, a_key(requests_per_minute=7), 20) == 7
    clock.now += 60.0
    assert await admitted(limiter, a_key(requests_per_minute=7), 20) == 7


async def test_a_key_without_limits_costs_nothing() -> None:
    books = FlakyLeases(MemoryLeases(Time().wall))
    limiter = a_limiter(Time(), books)
    trace = await enter(limiter, a_key())
    assert (trace.reservation, books.asked, limiter.headers(a_key())) == (None, 0, {})


async def test_a_slice_is_used_without_asking_the_books() -> None:
    clock = Time()
    books = FlakyLeases(MemoryLeases(clock.wall))
    limiter, who = a_limiter(clock, books), a_key(requests_per_minute=10_000)
    assert await admitted(limiter, who, 1000) == 1000
    assert books.asked < 12  # slices double while the pace does


async def test_requests_that_wait_together_ask_once() -> None:
    clock = Time()
    books = FlakyLeases(MemoryLeases(clock.wall))
    limiter, who = a_limiter(clock, books), a_key(requests_per_minute=40)
    results = await asyncio.gather(*(admitted(limiter, who) for _ in range(100)))
    assert sum(results) == 40
    assert books.asked <= 3


async def test_two_gateways_share_one_limit_to_the_last_request() -> None:
    clock = Time()
    books = MemoryLeases(clock.wall)
    one, two = (a_limiter(clock, books, member=name) for name in ("one", "two"))
    who = a_key(requests_per_minute=40)
    inside = 0
    for _ in range(60):
        inside += await admitted(one, who) + await admitted(two, who)
    assert inside == 40


async def test_two_keys_do_not_affect_each_other() -> None:
    limiter = a_limiter(Time())
    assert await admitted(limiter, a_key("a" * 12, requests_per_minute=3), 9) == 3
    assert await admitted(limiter, a_key("b" * 12, requests_per_minute=5), 9) == 5


async def test_a_month_limit_spans_minutes_and_ends_with_the_month() -> None:
    clock = Time()
    limiter, who = a_limiter(clock), a_key(requests_per_minute=4, requests_per_month=10)
    inside = []
    for _ in range(4):
        inside.append(await admitted(limiter, who, 9))
        clock.now += 60.0
    assert inside == [4, 4, 2, 0]
    with pytest.raises(InsufficientQuota) as refused:
        await enter(limiter, who)
    assert refused.value.rate == "requests_per_month"
    clock.now += refused.value.retry_after_s
    assert await admitted(limiter, who, 9) == 4


async def test_a_refusal_says_what_is_used_up_and_when_it_ends() -> None:
    clock = Time(START_S + 18.0)
    limiter, who = a_limiter(clock), a_key(requests_per_minute=2)
    await admitted(limiter, who, 2)
    with pytest.raises(RateLimitExceeded) as refused:
        await enter(limiter, who)
    assert str(refused.value) == (
        "Rate limit reached for this API key on requests per minute: Limit 2, Used 2, "
        "Requested 1. Please try again in 42s."
    )
    assert (refused.value.retry_after_s, refused.value.dimension) == (42, "requests")
    assert limiter.headers(who) == {
        "x-ratelimit-limit-requests": "2",
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "42s",
    }


async def test_a_request_that_is_refused_before_it_spends_counts_not() -> None:
    limiter, who = a_limiter(Time()), a_key(requests_per_minute=1)
    trace = await enter(limiter, who)
    trace.result, trace.error, trace.finished = "client_error", NotFound.__name__, 1.0
    limiter.record(trace)
    assert await admitted(limiter, who, 2) == 1


async def test_a_request_whose_walk_never_began_counts_not() -> None:
    limiter, who = a_limiter(Time()), a_key(requests_per_minute=1)
    limiter.release(await enter(limiter, who))
    assert await admitted(limiter, who, 2) == 1


async def test_releasing_a_request_that_was_recorded_gives_nothing_back() -> None:
    limiter, who = a_limiter(Time()), a_key(requests_per_minute=1)
    trace = await enter(limiter, who)
    leave(limiter, trace)
    limiter.release(trace)
    assert await admitted(limiter, who) == 0


async def test_failed_and_cancelled_requests_are_charged_what_they_spent() -> None:
    limiter, who = a_limiter(Time()), a_key(tokens_per_minute=10_000)
    for result in ("server_error", "cancelled", "client_error"):
        trace = await enter(limiter, who)
        trace.charges, trace.result, trace.finished = (charge(70), charge(30)), result, 1.0
        limiter.record(trace)
    (tokens,) = await limiter.standing(who)
    assert tokens.used == 300


async def test_tokens_are_set_aside_and_replaced_by_what_was_spent() -> None:
    limiter, who = a_limiter(Time()), a_key(tokens_per_minute=100_000, cost_per_minute_usd=1.0)
    trace = await enter(limiter, who, BIG)
    tokens, cost = await limiter.standing(who)
    assert (tokens.used, cost.used) == (1256, 0)  # the prompt, and a first guess of the answer
    leave(limiter, trace, [charge(5000, 0.02)])
    tokens, cost = await limiter.standing(who)
    assert (tokens.used, cost.used) == (5000, 20_000)
    await enter(limiter, who)
    tokens, cost = await limiter.standing(who)
    assert (tokens.used, cost.used) == (10_000, 40_000)  # the next is thought to be like the last


async def test_a_cached_answer_is_a_request_of_no_tokens() -> None:
    limiter = a_limiter(Time())
    who = a_key(requests_per_minute=9, tokens_per_minute=100_000)
    leave(limiter, await enter(limiter, who))
    requests, tokens = await limiter.standing(who)
    assert (requests.used, tokens.used) == (1, 0)


async def test_a_request_larger_than_the_limit_gets_a_whole_minute() -> None:
    clock = Time()
    limiter, who = a_limiter(clock), a_key(tokens_per_minute=100)
    leave(limiter, await enter(limiter, who, BIG), [charge(150)])
    assert await admitted(limiter, who) == 0  # it owes 50
    clock.now += 60.0
    assert await admitted(limiter, who) == 1


async def test_what_a_minute_owes_beyond_its_reservation_the_next_one_repays() -> None:
    clock = Time()
    limiter, who = a_limiter(clock), a_key(tokens_per_minute=1000)
    trace = await enter(limiter, who)  # 26 tokens, it is thought
    clock.now += 60.0
    leave(limiter, trace, [charge(926)])
    clock.now += 1.0
    await limiter.report()
    (tokens,) = await limiter.standing(who)
    assert tokens.used == 900
    with pytest.raises(RateLimitExceeded):
        await enter(limiter, who, Demand(101, 1))


async def test_a_reservation_without_a_trace_expires() -> None:
    clock = Time()
    limiter, who = a_limiter(clock, expire_s=30.0), a_key(tokens_per_minute=1000)
    await enter(limiter, who, Demand(900, 1))
    clock.now += 31.0
    await limiter.report()
    (tokens,) = await limiter.standing(who)
    assert tokens.used == 0


async def test_an_idle_gateway_gives_back_what_it_holds() -> None:
    clock = Time()
    books = MemoryLeases(clock.wall)
    one, two = (a_limiter(clock, books, member=name) for name in ("one", "two"))
    who = a_key(requests_per_minute=100)
    assert await admitted(one, who, 10) == 10
    for _ in range(3):
        clock.now += 1.0
        await one.report()
    assert one.leases_held == 0
    assert await admitted(two, who, 100) == 90


async def test_closing_reports_and_gives_back_at_once() -> None:
    clock = Time()
    books = MemoryLeases(clock.wall)
    one, two = (a_limiter(clock, books, member=name) for name in ("one", "two"))
    who = a_key(requests_per_minute=100)
    await one.start()
    await admitted(one, who, 10)
    await one.close()
    assert await admitted(two, who, 100) == 90


async def test_a_dead_gateway_gives_its_slice_back_when_its_lease_ends() -> None:
    clock = Time()
    books = MemoryLeases(clock.wall)
    dead, alive = (a_limiter(clock, books, member=name) for name in ("dead", "alive"))
    who = a_key(requests_per_minute=100)
    assert await admitted(dead, who, 16) == 16
    clock.now += 1.0
    await dead.report()  # its last
    held = 100 - 16 - await admitted(alive, who, 100)
    assert held > 0
    clock.now += 10.0
    assert await admitted(alive, who, 100) == held


async def test_without_books_an_open_gateway_keeps_the_whole_limit_alone() -> None:
    clock = Time()
    books = FlakyLeases(MemoryLeases(clock.wall))
    limiter, who = a_limiter(clock, books), a_key(requests_per_minute=10)
    books.down = True
    trace = await enter(limiter, who)
    assert trace.degraded == ["limits"]
    assert await admitted(limiter, who, 20) == 9
    clock.now += 60.0
    assert await admitted(limiter, who, 20) == 10


async def test_without_books_what_others_were_heard_to_spend_still_counts() -> None:
    clock = Time()
    shared = MemoryLeases(clock.wall)
    books = FlakyLeases(shared)
    one, two = a_limiter(clock, books, member="one"), a_limiter(clock, shared, member="two")
    who = a_key(requests_per_minute=10)
    await admitted(two, who, 6)
    await two.report()
    await admitted(one, who)
    books.down = True
    assert await admitted(one, who, 20) == 3


async def test_without_books_a_closed_gateway_lets_in_what_its_slice_has() -> None:
    clock = Time()
    books = FlakyLeases(MemoryLeases(clock.wall))
    limiter, who = a_limiter(clock, books, when="closed"), a_key(requests_per_minute=100)
    await admitted(limiter, who, 10)
    books.down = True
    more = 0
    for _ in range(100):
        with suppress(LimitsUnavailable):
            more += await admitted(limiter, who)
    assert 0 < more < 30
    books.down = False
    assert await admitted(limiter, who, 100) == 90 - more


async def test_a_closed_gateway_stops_when_its_lease_lapses() -> None:
    clock = Time()
    books = FlakyLeases(MemoryLeases(clock.wall))
    limiter, who = a_limiter(clock, books, when="closed"), a_key(requests_per_minute=100)
    await admitted(limiter, who, 16)
    books.down = True
    clock.now += 9.5
    with pytest.raises(LimitsUnavailable):
        await enter(limiter, who)


async def test_what_was_spent_alone_is_merged_when_the_books_are_back() -> None:
    clock = Time()
    shared = MemoryLeases(clock.wall)
    books = FlakyLeases(shared)
    one, two = a_limiter(clock, books, member="one"), a_limiter(clock, shared, member="two")
    who = a_key(requests_per_minute=20)
    books.down = True
    assert await admitted(one, who, 12) == 12
    books.down = False
    for _ in range(3):
        await one.report()
    assert await admitted(two, who, 20) == 8


async def test_books_that_lost_everything_hear_from_running_gateways_again() -> None:
    clock = Time()
    one, two = (FlakyLeases(MemoryLeases(clock.wall)) for _ in range(2))
    two.books = one.books
    gateways = a_limiter(clock, one, member="one"), a_limiter(clock, two, member="two")
    who = a_key(requests_per_minute=30)
    assert [await admitted(gateway, who, 8) for gateway in gateways] == [8, 8]
    one.books = two.books = MemoryLeases(clock.wall)
    for gateway in gateways * 3:
        clock.now += 1.0
        await gateway.report()
    assert sum([await admitted(gateway, who, 30) for gateway in gateways]) == 14


async def test_alone_each_gateway_lets_in_the_whole_limit_and_no_more() -> None:
    clock = Time()
    books = FlakyLeases(MemoryLeases(clock.wall))
    books.down = True
    gateways = [a_limiter(clock, books, member=name) for name in "abc"]
    who = a_key(requests_per_minute=10)
    assert [await admitted(gateway, who, 30) for gateway in gateways] == [10, 10, 10]


async def test_a_gateway_cut_off_for_longer_than_its_lease_is_taken_for_dead() -> None:
    clock = Time()
    shared = MemoryLeases(clock.wall)
    books = FlakyLeases(shared)
    cut_off = a_limiter(clock, books, member="cut off", when="closed")
    other = a_limiter(clock, shared, member="other", when="closed")
    who = a_key(requests_per_minute=30)
    await admitted(cut_off, who, 8)
    await cut_off.report()
    books.down = True
    unheard = 0
    for _ in range(30):
        with suppress(LimitsUnavailable):
            unheard += await admitted(cut_off, who)
    clock.now += 11.0
    assert 0 < unheard <= 30 - 8  # no more than its slice
    assert await admitted(other, who, 30) == 30 - 8
    books.down = False
    await cut_off.report()
    (requests,) = await other.standing(who)
    assert requests.used == 30 + unheard


async def test_nobody_says_what_is_left_while_the_books_are_away() -> None:
    clock = Time()
    books = FlakyLeases(MemoryLeases(clock.wall))
    limiter = a_limiter(clock, books)
    books.down = True
    with pytest.raises(StoreUnavailable):
        await limiter.standing(a_key(requests_per_minute=20))


async def test_a_client_that_leaves_while_it_waits_for_a_lease_takes_nothing_with_it() -> None:
    clock = Time()
    books = SlowLeases(MemoryLeases(clock.wall))
    limiter, who = a_limiter(clock, books), a_key(requests_per_minute=5)
    waiting = [asyncio.create_task(admitted(limiter, who)) for _ in range(3)]
    await books.asked.wait()
    waiting[0].cancel()  # it had asked for all three
    books.answer.set()
    assert await asyncio.gather(*waiting[1:]) == [1, 1]
    assert await admitted(limiter, who, 9) == 3
    assert waiting[0].cancelled()


async def test_a_request_that_waits_over_the_end_of_a_minute_is_let_in_by_the_next() -> None:
    clock = Time(START_S + 59.9)
    books = SlowLeases(MemoryLeases(clock.wall))
    limiter, who = a_limiter(clock, books), a_key(requests_per_minute=1)
    waiting = asyncio.create_task(admitted(limiter, who))
    await books.asked.wait()
    clock.now += 0.2
    books.answer.set()
    assert await waiting == 1
    assert await admitted(limiter, who) == 0


async def test_a_changed_limit_holds_from_the_next_request() -> None:
    limiter = a_limiter(Time())
    assert await admitted(limiter, a_key(requests_per_minute=2), 5) == 2
    assert await admitted(limiter, a_key(requests_per_minute=5), 9) == 3


@dataclass(slots=True)
class Ends:
    """What a run of several gateways did, minute by minute, as clients and workers saw it."""

    requests: dict[int, int] = field(default_factory=dict)
    tokens: dict[int, int] = field(default_factory=dict)
    excess: dict[int, int] = field(default_factory=dict)

    def add(self, to: dict[int, int], minute: int, amount: int) -> None:
        to[minute] = to.get(minute, 0) + amount


EVENT = st.one_of(
    st.tuples(st.just("enter"), st.integers(0, 2), st.integers(0, 400)),
    st.tuples(st.just("enter"), st.integers(0, 2), st.integers(0, 40)),
    st.tuples(st.just("leave"), st.integers(0, 9), st.integers(0, 900)),
    st.tuples(st.just("report"), st.integers(0, 2), st.just(0)),
    st.tuples(st.just("wait"), st.integers(0, 30), st.just(0)),
)
FATE = st.sampled_from(["ok", "ok", "ok", "lost", "deaf", "late"])


@settings(max_examples=150)
@given(st.lists(EVENT, max_size=60), st.lists(FATE, max_size=100))
async def test_whatever_fails_no_limit_is_exceeded_by_more_than_is_stated(
    events: list[tuple[str, int, int]], fates: list[str]
) -> None:
    """Requests never; tokens by what ended requests spent beyond what was set aside for them.

    As long as gateways report: one that cannot for its lease is taken for dead.
    """
    clock, seen = Time(), Ends()
    books = FlakyLeases(MemoryLeases(clock.wall), fates)
    gateways = [a_limiter(clock, books, member=name, when="closed") for name in "abc"]
    who = a_key(requests_per_minute=12, tokens_per_minute=1500)
    inside: list[tuple[Limiter, Trace, int]] = []
    for what, which, amount in events:
        minute = window_at(MINUTE, round(clock.now * 1000))[0]
        if what == "enter":
            with suppress(RateLimitExceeded, LimitsUnavailable):
                trace = await enter(gateways[which], who, Demand(amount, 16))
                assert trace.reservation is not None
                inside.append((gateways[which], trace, minute))
                seen.add(seen.requests, minute, 1)
                seen.add(seen.tokens, minute, trace.reservation.amounts[MINUTE][1])
        elif what == "leave" and inside:
            limiter, trace, since = inside.pop(which % len(inside))
            assert trace.reservation is not None
            aside = trace.reservation.amounts[MINUTE][1]
            leave(limiter, trace, [charge(amount)])
            more = amount - aside
            seen.add(seen.tokens, minute, more if since == minute else max(0, more))
            seen.add(seen.excess, minute, max(0, more))
        elif what == "report":
            await gateways[which].report()
        elif what == "wait":
            for _ in range(which):
                clock.now += 1.0
                for gateway in gateways:
                    await gateway.report()
    for minute, count in seen.requests.items():
        assert count <= 12
        assert seen.tokens[minute] <= 1500 + seen.excess.get(minute, 0)
