"""A pool whose real workers are given only so many calls at once."""

import asyncio
import time
from contextlib import aclosing
from typing import Any

import pytest

from entroute.backends.balancing import build_balancer
from entroute.backends.metered import Metered, Stopwatch
from entroute.backends.pool import Pool
from entroute.backends.queueing import QueueLimits, Room
from entroute.errors import DeadlineExceeded, Overloaded
from entroute.ledger import Ledger
from entroute.priorities import Priority, Turn
from entroute.types import Call, Completion
from loadtest.spawn import FakeWorker
from tests.builders import a_budget, a_request, a_trace, until
from tests.workers import Connect, ask, both, call_by, running

Two = tuple[FakeWorker, FakeWorker]


def a_pool(connect: Connect, *workers: FakeWorker, most: int = 1, **limits: Any) -> Pool:
    clients = [connect(worker.url) for worker in workers]
    room = Room(most, QueueLimits(**limits))
    return Pool("small", clients, build_balancer("least_loaded"), room=room)


class Desk:
    """A metered pool with the ledger and the trace of a request."""

    def __init__(self, pool: Pool) -> None:
        self.trace = a_trace()
        self.ledger = Ledger(a_budget(), {}, time.perf_counter)
        watch = Stopwatch(self.trace, time.perf_counter)
        self.backend = Metered(pool, self.ledger, watch)

    def reserved(self) -> Call:
        return self.ledger.reserve("small", a_request(), "answer")


async def test_a_worker_never_has_more_calls_than_it_is_given_at_once(
    worker: FakeWorker, connect: Connect
) -> None:
    await worker.script(tokens=5, tokens_per_second=250)
    pool = a_pool(connect, worker, most=2)
    calls = [asyncio.create_task(pool.complete(call_by(60))) for _ in range(20)]
    seen = []
    while not all(call.done() for call in calls):
        seen.append((await worker.metrics())["vllm:num_requests_running"])
    assert len(await asyncio.gather(*calls)) == 20
    assert max(seen) == 2
    assert (pool.load.in_flight, pool.load.queued) == (0, 0)


async def test_a_stream_holds_its_place_until_it_ends(worker: FakeWorker, connect: Connect) -> None:
    await worker.script(tokens=400, tokens_per_second=100)
    pool = a_pool(connect, worker)
    async with aclosing(pool.stream(call_by(60))) as pieces:
        await anext(pieces)
        other = asyncio.create_task(pool.complete(call_by(60)))
        await until(lambda: pool.queue.waiting == 1)
        for _ in range(3):
            await anext(pieces)
        assert pool.queue.waiting == 1
        await worker.script(tokens=2)
    assert isinstance(await other, Completion)


@both
async def test_a_call_that_leaves_the_queue_was_no_call(
    worker: FakeWorker,
    connect: Connect,
    stream: bool,  # noqa: FBT001
) -> None:
    await worker.script(ttft_ms=60_000)
    pool = a_pool(connect, worker)
    stuck = asyncio.create_task(pool.complete(call_by(60)))
    await running(worker, 1)
    desk = Desk(pool)
    call = desk.reserved()
    leaves = asyncio.create_task(ask(desk.backend, call, stream=stream))
    await until(lambda: pool.queue.waiting == 1)
    leaves.cancel()
    await asyncio.gather(leaves, return_exceptions=True)
    assert pool.queue.waiting == 0
    assert desk.ledger.charges == ()
    assert desk.ledger.calls_left == a_budget().max_calls
    stuck.cancel()
    await asyncio.gather(stuck, return_exceptions=True)
    assert len(await worker.requests()) == 1


@both
async def test_a_deadline_in_the_queue_costs_nothing_and_is_no_overhead(
    worker: FakeWorker,
    connect: Connect,
    stream: bool,  # noqa: FBT001
) -> None:
    await worker.script(failure={"kind": "hang", "times": 1})
    pool = a_pool(connect, worker)
    stuck = asyncio.create_task(pool.complete(call_by(60)))
    await until(lambda: pool.load.in_flight == 1)
    desk = Desk(pool)
    desk.ledger.budget = a_budget(deadline=time.perf_counter() + 0.2)
    with pytest.raises(DeadlineExceeded):
        await ask(desk.backend, desk.reserved(), stream=stream)
    assert desk.ledger.charges == ()
    assert desk.trace.queued_s >= 0.15
    assert desk.trace.upstream_s < 0.1
    assert [tier for tier, _ in desk.trace.waits] == ["small"]
    stuck.cancel()
    await asyncio.gather(stuck, return_exceptions=True)


async def test_time_in_the_queue_is_told_apart_from_time_upstream(
    worker: FakeWorker, connect: Connect
) -> None:
    await worker.script(ttft_ms=150, tokens=1)
    pool = a_pool(connect, worker)
    first = asyncio.create_task(pool.complete(call_by(60)))
    await until(lambda: pool.load.in_flight == 1)
    desk = Desk(pool)
    desk.trace.started = time.perf_counter()
    await desk.backend.complete(desk.reserved())
    assert desk.trace.queued_s > 0.05
    assert desk.trace.upstream_s >= 0.15
    taken = time.perf_counter() - desk.trace.started
    assert desk.trace.queued_s + desk.trace.upstream_s <= taken
    assert desk.trace.overhead_s(time.perf_counter()) < 0.1
    await first


async def test_a_call_goes_on_waiting_for_those_who_have_not_failed_it(
    two_workers: Two, connect: Connect
) -> None:
    broken, sound = two_workers
    await broken.script(failure={"kind": "status", "status": 500})
    pool = a_pool(connect, broken, sound)
    await sound.script(ttft_ms=300, tokens=1)
    held = [asyncio.create_task(pool.complete(call_by(60))) for _ in range(3)]
    done = await asyncio.gather(*held)
    assert {completion.worker for completion in done} == {f"{sound.url}/v1"}


async def test_a_higher_priority_overtakes(worker: FakeWorker, connect: Connect) -> None:
    await worker.script(ttft_ms=60_000)
    pool = a_pool(connect, worker)
    stuck = asyncio.create_task(pool.complete(call_by(60)))
    await running(worker, 1)
    await worker.script(ttft_ms=0, tokens=1)
    ended: list[Priority] = []

    async def asks(priority: Priority) -> None:
        await pool.complete(call_by(60, turn=Turn(priority)))
        ended.append(priority)

    orders: dict[Priority, int] = {"normal": 5, "low": 2, "high": 3}
    tasks: list[asyncio.Task[None]] = []
    for priority, count in orders.items():
        tasks.extend(asyncio.create_task(asks(priority)) for _ in range(count))
        await until(lambda: pool.queue.waiting == len(tasks))
    stuck.cancel()
    await asyncio.gather(*tasks)
    assert ended[:2] == ["high"] * 2
    assert ended[:4].count("high") == 3


async def test_what_finds_no_room_is_told_when_to_come_back(
    worker: FakeWorker, connect: Connect
) -> None:
    await worker.script(failure={"kind": "hang", "times": 1})
    pool = a_pool(connect, worker, size=1, timeout_s=0.3)
    stuck = asyncio.create_task(pool.complete(call_by(60)))
    await until(lambda: pool.load.in_flight == 1)
    waits = asyncio.create_task(pool.complete(call_by(60)))
    await until(lambda: pool.queue.waiting == 1)
    with pytest.raises(Overloaded) as full:
        await pool.complete(call_by(60))
    assert 1 <= full.value.retry_after_s <= 60
    with pytest.raises(Overloaded):
        await waits
    assert pool.queue.shed == {"full": 1, "timeout": 1}
    stuck.cancel()
    await asyncio.gather(stuck, return_exceptions=True)
