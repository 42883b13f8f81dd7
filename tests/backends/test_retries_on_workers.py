"""Retries of a pool over real fake workers: what they receive when things go wrong."""

import asyncio
import time
from random import Random
from typing import Any

import pytest

from entroute.backends.balancing import RoundRobin
from entroute.backends.breaker import BreakerLimits
from entroute.backends.http_worker import Timeouts
from entroute.backends.member import Care
from entroute.backends.pool import Pool
from entroute.backends.retrying import Retries, Retrying
from entroute.errors import (
    CallFailed,
    Overloaded,
    TierUnavailable,
    WorkerFailed,
    WorkerProtocolError,
    WorkerTimeout,
)
from entroute.types import Completion
from loadtest.spawn import FakeWorker
from tests.builders import read_until, until
from tests.workers import Connect, ask, both, call_by

Two = tuple[FakeWorker, FakeWorker]

PATIENT = Care(BreakerLimits(failures=1000, least=1000))
"""Breakers would end these storms by themselves."""

BROKEN = {"kind": "status", "status": 500}
BUSY = {"kind": "status", "status": 429}


def a_pool(
    connect: Connect, *workers: FakeWorker, timeouts: Timeouts | None = None, **limits: Any
) -> Pool:
    clients = [connect(worker.url, timeouts=timeouts) for worker in workers]
    retrying = Retrying(Retries(**limits), time.perf_counter, Random(5))  # noqa: S311
    return Pool("small", clients, RoundRobin(), retrying=retrying, care=PATIENT)


async def received(*workers: FakeWorker) -> int:
    return sum([len(await worker.requests()) for worker in workers])


async def storm(pool: Pool, *, stream: bool) -> set[type]:
    """Ask sixty times, ten at once, so that slow machines connect in time; return what came."""
    came: set[type] = set()
    for _ in range(6):
        asked = [ask(pool, call_by(), stream=stream) for _ in range(10)]
        came |= {type(one) for one in await asyncio.gather(*asked, return_exceptions=True)}
    return came


@pytest.mark.parametrize(
    ("limits", "most"),
    [({"budget": 0.2, "min_per_s": 0.1}, 13), ({"budget": 0, "min_per_s": 0.5}, 5)],
)
@both
async def test_a_storm_of_retries_is_bounded_by_the_budget(
    two_workers: Two,
    connect: Connect,
    limits: dict[str, Any],
    most: int,
    stream: bool,  # noqa: FBT001
) -> None:
    for worker in two_workers:
        await worker.script(failure=BROKEN)
    pool = a_pool(connect, *two_workers, base_s=0.001, **limits)
    assert await storm(pool, stream=stream) == {WorkerFailed}
    retries = await received(*two_workers) - 60
    assert 0 < retries <= most
    assert pool.retrying.results == {"failed": retries, "budget": 60 - retries}


async def test_without_a_bound_every_call_of_a_storm_would_be_two(
    two_workers: Two, connect: Connect
) -> None:
    for worker in two_workers:
        await worker.script(failure=BROKEN)
    pool = a_pool(connect, *two_workers, base_s=0.001, min_per_s=1000)
    assert await storm(pool, stream=False) == {WorkerFailed}
    assert await received(*two_workers) == 120


@both
async def test_one_broken_worker_of_two_costs_no_call(
    two_workers: Two,
    connect: Connect,
    stream: bool,  # noqa: FBT001
) -> None:
    broken, sound = two_workers
    await broken.script(failure=BROKEN)
    pool = a_pool(connect, broken, sound)
    assert await storm(pool, stream=stream) == {Completion}
    assert len(await sound.requests()) == 60
    assert pool.retrying.results == {"ok": len(await broken.requests())}


@both
async def test_a_lone_worker_is_asked_once_more_after_a_reset(
    worker: FakeWorker,
    connect: Connect,
    stream: bool,  # noqa: FBT001
) -> None:
    pool = a_pool(connect, worker)
    await worker.script(failure={"kind": "refuse", "times": 1})
    assert (await ask(pool, call_by(), stream=stream)).content
    await worker.script(failure={"kind": "refuse"})
    with pytest.raises(TierUnavailable):
        await ask(pool, call_by(), stream=stream)
    assert await received(worker) == 4
    assert pool.retrying.results == {"ok": 1, "failed": 1}


async def test_a_lone_busy_worker_is_asked_again_when_it_said_it_would_have_room(
    worker: FakeWorker, connect: Connect
) -> None:
    pool = a_pool(connect, worker)
    await worker.script(failure={**BUSY, "times": 1, "retry_after_s": 0.3})
    since = time.perf_counter()
    assert (await pool.complete(call_by())).content
    assert time.perf_counter() - since >= 0.3


@pytest.mark.parametrize(
    ("failure", "deadline_s", "error"),
    [
        ({**BUSY, "retry_after_s": 5}, 10, Overloaded),
        ({**BUSY, "retry_after_s": 1}, 0.9, Overloaded),
        (BROKEN, 10, WorkerFailed),
        ({"kind": "hang"}, 10, WorkerTimeout),
    ],
)
async def test_a_lone_worker_is_left_alone_where_asking_again_cannot_help(
    worker: FakeWorker,
    connect: Connect,
    failure: dict[str, Any],
    deadline_s: float,
    error: type[CallFailed],
) -> None:
    await worker.script(failure=failure)
    pool = a_pool(connect, worker, timeouts=Timeouts(first_token_s=0.3, total_s=0.3))
    since = time.perf_counter()
    with pytest.raises(error):
        await pool.complete(call_by(deadline_s))
    assert time.perf_counter() - since < 0.9
    assert await received(worker) == 1


@both
async def test_the_error_stands_where_the_other_worker_is_gone_after_the_pause(
    two_workers: Two,
    connect: Connect,
    stream: bool,  # noqa: FBT001
) -> None:
    broken, other = two_workers
    await broken.script(failure=BROKEN)
    pool = a_pool(connect, broken, other, base_s=1.0, max_s=1.0)
    asking = asyncio.create_task(ask(pool, call_by(), stream=stream))
    await until(lambda: pool.attempts_by_outcome["WorkerFailed"] == 1)
    pool.members[1].healthy = False
    with pytest.raises(WorkerFailed):
        await asking
    assert await received(other) == 0


async def test_an_answer_that_broke_off_says_on_which_tier(
    two_workers: Two, connect: Connect
) -> None:
    broken, other = two_workers
    pool = a_pool(connect, broken, other)
    await broken.script(failure={"kind": "truncated", "after_tokens": 2})
    _, error = await read_until(pool.stream(call_by()), WorkerProtocolError)
    assert error.broke_off_on == "small"
    await broken.script(failure=BROKEN)
    pool.members[1].healthy = False
    with pytest.raises(WorkerFailed) as caught:
        await pool.complete(call_by())
    assert not caught.value.broke_off_on


async def test_every_worker_is_told_the_time_left(two_workers: Two, connect: Connect) -> None:
    broken, sound = two_workers
    await broken.script(failure=BROKEN)
    await a_pool(connect, broken, sound, base_s=0.2).complete(call_by(30))
    told = []
    for worker in two_workers:
        (request,) = await worker.requests()
        told.append(request["headers"]["x-entroute-budget"])
    first, second = (int(text.removeprefix('{"deadline_ms": ').removesuffix("}")) for text in told)
    assert 0 < second < first <= 30_000
    assert second > 25_000
