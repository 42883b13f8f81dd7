"""One upstream for all who ask the same: joining, leaving, failing."""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entroute.cache.singleflight import Flights
from entroute.errors import CallFailed, InvalidRequest, TierUnavailable
from entroute.evidence import Outcome
from entroute.protocols import OutcomeStream
from entroute.types import Delta
from tests.cache.samples import outcome

ANSWER: list[Delta | Outcome] = [Delta("6 "), Delta("times "), Delta("7"), outcome("6 times 7")]


class Upstream:
    """A scripted answer: each item waits for a permit; counts starts and what became of them."""

    def __init__(self, items: list[Delta | Outcome], error: Exception | None = None) -> None:
        self.items = items
        self.error = error
        self.started = 0
        self.closed = 0
        self.finished = 0
        self.permits = asyncio.Semaphore(0)

    def allow(self, count: int = 100) -> None:
        for _ in range(count):
            self.permits.release()

    async def start(self) -> OutcomeStream:
        self.started += 1
        try:
            for item in self.items:
                await self.permits.acquire()
                yield item
            if self.error is not None:
                await self.permits.acquire()
                raise self.error
            self.finished += 1
        finally:
            await asyncio.sleep(0)  # closing upstream takes time
            self.closed += 1


@pytest.fixture
async def flights() -> AsyncIterator[Flights]:
    """Give a set of flights and check that nothing of them stays."""
    made = Flights()
    before = asyncio.all_tasks()
    yield made
    await asyncio.sleep(0)
    assert len(made) == 0
    assert asyncio.all_tasks() - before <= {asyncio.current_task()}
    gc.collect()  # an exception nobody retrieved would be reported here


async def read(stream: OutcomeStream) -> list[Delta | Outcome]:
    async with aclosing(stream):
        return [item async for item in stream]


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_ten_subscribers_share_one_upstream(flights: Flights) -> None:
    upstream = Upstream(ANSWER)
    joined = [flights.subscribe("k", upstream.start) for _ in range(10)]
    upstream.allow()
    answers = await asyncio.gather(*(read(stream) for _, stream in joined))
    assert [leader for leader, _ in joined] == [True] + [False] * 9
    assert answers == [ANSWER] * 10
    assert (upstream.started, upstream.finished, upstream.closed) == (1, 1, 1)


async def test_different_keys_do_not_share(flights: Flights) -> None:
    upstream = Upstream(ANSWER)
    upstream.allow()
    joined = [flights.subscribe(key, upstream.start) for key in "ab"]
    assert [leader for leader, _ in joined] == [True, True]
    await asyncio.gather(*(read(stream) for _, stream in joined))
    assert upstream.started == 2


async def test_a_late_joiner_replays_from_the_beginning_and_follows(flights: Flights) -> None:
    upstream = Upstream(ANSWER)
    _, first = flights.subscribe("k", upstream.start)
    upstream.allow(2)
    assert [await anext(first), await anext(first)] == ANSWER[:2]
    leader, late = flights.subscribe("k", upstream.start)
    assert not leader
    assert [await anext(late), await anext(late)] == ANSWER[:2]
    upstream.allow()
    assert await read(late) == ANSWER[2:]
    assert await read(first) == ANSWER[2:]


async def test_when_the_last_subscriber_leaves_upstream_is_cancelled(flights: Flights) -> None:
    upstream = Upstream(ANSWER)
    streams = [flights.subscribe("k", upstream.start)[1] for _ in range(3)]
    upstream.allow(1)
    for stream in streams:
        assert await anext(stream) == ANSWER[0]
    for stream in streams[:2]:
        await stream.aclose()
    assert upstream.closed == 0
    await streams[2].aclose()
    assert (upstream.closed, upstream.finished) == (1, 0)


async def test_when_the_leader_leaves_the_others_go_on(flights: Flights) -> None:
    upstream = Upstream(ANSWER)
    _, leader = flights.subscribe("k", upstream.start)
    _, follower = flights.subscribe("k", upstream.start)
    upstream.allow(1)
    assert await anext(leader) == ANSWER[0]
    await leader.aclose()
    upstream.allow()
    assert await read(follower) == ANSWER
    assert (upstream.started, upstream.finished) == (1, 1)


async def test_a_subscriber_that_never_reads_counts_when_it_closes(flights: Flights) -> None:
    upstream = Upstream(ANSWER)
    _, idle = flights.subscribe("k", upstream.start)
    _, reader = flights.subscribe("k", upstream.start)
    upstream.allow(1)
    await anext(reader)
    await reader.aclose()
    assert upstream.closed == 0
    await idle.aclose()
    assert upstream.closed == 1


async def test_closing_at_once_never_starts_upstream(flights: Flights) -> None:
    upstream = Upstream(ANSWER)
    _, stream = flights.subscribe("k", upstream.start)
    await stream.aclose()
    assert upstream.started == 0
    with pytest.raises(StopAsyncIteration):
        await anext(stream)


async def test_closing_twice_counts_once(flights: Flights) -> None:
    upstream = Upstream(ANSWER)
    _, hasty = flights.subscribe("k", upstream.start)
    _, patient = flights.subscribe("k", upstream.start)
    await hasty.aclose()
    await hasty.aclose()
    upstream.allow()
    assert await read(patient) == ANSWER


async def test_a_cancelled_reader_leaves(flights: Flights) -> None:
    upstream = Upstream(ANSWER)
    _, stream = flights.subscribe("k", upstream.start)
    reader = asyncio.create_task(read(stream))
    await settle()
    reader.cancel()
    await asyncio.wait([reader])
    assert reader.cancelled()
    assert (upstream.started, upstream.closed) == (1, 1)


async def test_an_exception_thrown_in_comes_out_and_leaves(flights: Flights) -> None:
    upstream = Upstream(ANSWER)
    _, stream = flights.subscribe("k", upstream.start)
    await settle()
    with pytest.raises(KeyError):
        await stream.athrow(KeyError("thrown"))
    assert upstream.closed == 1


@pytest.mark.parametrize(
    "error", [InvalidRequest("no", param="n"), TierUnavailable("small"), RuntimeError("a bug")]
)
async def test_an_error_reaches_every_subscriber_after_what_came_before(
    flights: Flights, error: Exception
) -> None:
    upstream = Upstream(ANSWER[:1], error)
    streams = [flights.subscribe("k", upstream.start)[1] for _ in range(5)]
    upstream.allow()
    for stream in streams:
        assert await anext(stream) == ANSWER[0]
        with pytest.raises(type(error)) as caught:
            await anext(stream)
        assert caught.value is error
        with pytest.raises(StopAsyncIteration):
            await anext(stream)


@pytest.mark.parametrize("ticks", range(8))
async def test_a_reader_that_comes_at_any_tick_of_the_end_gets_the_error(
    flights: Flights, ticks: int
) -> None:
    upstream = Upstream([], CallFailed("broken"))
    upstream.allow()
    _, stream = flights.subscribe("k", upstream.start)
    for _ in range(ticks):
        await asyncio.sleep(0)
    with pytest.raises(CallFailed):
        await anext(stream)


async def test_an_error_that_nobody_reads_is_silent(flights: Flights) -> None:
    upstream = Upstream([], CallFailed("unread"))
    upstream.allow()
    _, stream = flights.subscribe("k", upstream.start)
    await settle()
    await stream.aclose()
    assert upstream.closed == 1


@pytest.mark.parametrize("error", [None, CallFailed("broken")])
async def test_an_ended_flight_is_forgotten_at_once(
    flights: Flights, error: Exception | None
) -> None:
    upstream = Upstream(ANSWER, error)
    upstream.allow()
    _, held = flights.subscribe("k", upstream.start)
    await settle()
    leader, anew = flights.subscribe("k", upstream.start)
    assert leader
    await held.aclose()
    assert len(flights) == 1
    await anew.aclose()
    await settle()


async def test_a_cancelled_flight_is_not_joined_while_it_closes(flights: Flights) -> None:
    upstream = Upstream(ANSWER)
    _, stream = flights.subscribe("k", upstream.start)
    await settle()
    leaving = asyncio.create_task(stream.aclose())
    await asyncio.sleep(0)
    assert not leaving.done()
    leader, anew = flights.subscribe("k", upstream.start)
    upstream.allow()
    assert leader
    assert await read(anew) == ANSWER
    await leaving


async def test_a_slow_subscriber_blocks_nobody(flights: Flights) -> None:
    upstream = Upstream(ANSWER)
    _, slow = flights.subscribe("k", upstream.start)
    _, quick = flights.subscribe("k", upstream.start)
    upstream.allow()
    assert await read(quick) == ANSWER
    assert upstream.finished == 1
    assert await read(slow) == ANSWER


async def test_leaving_after_the_outcome_lets_upstream_finish(flights: Flights) -> None:
    upstream = Upstream(ANSWER)
    _, stream = flights.subscribe("k", upstream.start)
    upstream.allow()
    async with aclosing(stream):
        async for item in stream:
            if isinstance(item, Outcome):
                break
    assert (upstream.finished, upstream.closed) == (1, 1)


async def test_a_stream_that_cannot_be_made_fails_every_subscriber(flights: Flights) -> None:
    def start() -> OutcomeStream:
        raise TierUnavailable("small")

    streams = [flights.subscribe("k", start)[1] for _ in range(2)]
    for stream in streams:
        with pytest.raises(TierUnavailable):
            await anext(stream)


async def test_closing_all_flights_ends_their_readers(flights: Flights) -> None:
    upstream = Upstream(ANSWER)
    reader = asyncio.create_task(read(flights.subscribe("k", upstream.start)[1]))
    await settle()
    await flights.close()
    with pytest.raises(CallFailed):
        await reader
    assert upstream.closed == 1


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["join", "leave", "read", "make"]))))
async def test_no_order_of_joining_and_leaving_leaks(steps: list[tuple[int, str]]) -> None:
    flights = Flights()
    upstream = Upstream(ANSWER)
    before = asyncio.all_tasks()
    streams: dict[int, OutcomeStream] = {}
    for place, step in steps:
        if step == "join" and place not in streams:
            streams[place] = flights.subscribe("k", upstream.start)[1]
        elif step == "leave" and place in streams:
            await streams.pop(place).aclose()
        elif step == "make":
            upstream.allow(1)
        await asyncio.sleep(0)
    for stream in streams.values():
        await stream.aclose()
    await settle()
    assert len(flights) == 0
    assert asyncio.all_tasks() <= before
    assert upstream.closed == upstream.started
