"""A pool over two real fake workers."""

import asyncio
from typing import Any

import pytest

from entroute.backends.balancing import BalancerKind, build_balancer
from entroute.backends.http_worker import Timeouts
from entroute.backends.pool import NobodyAsked, Pool
from entroute.backends.retrying import Retries, Retrying
from entroute.decisions import TierLoad
from entroute.embedded.engine import free_port
from entroute.errors import (
    DeadlineExceeded,
    Overloaded,
    TierUnavailable,
    WorkerFailed,
    WorkerMisconfigured,
    WorkerProtocolError,
    WorkerRejected,
    WorkerTimeout,
)
from loadtest.spawn import FakeWorker
from tests.builders import a_request, read_until, until
from tests.workers import Connect, ask, both, call_by

Two = tuple[FakeWorker, FakeWorker]


RETRIED = [
    ({"kind": "refuse"}, "WorkerUnavailable"),
    ({"kind": "status", "status": 500}, "WorkerFailed"),
    ({"kind": "status", "status": 429}, "WorkerBusy"),
    ({"kind": "status", "status": 404}, "WorkerMisconfigured"),
    ({"kind": "malformed", "after_tokens": 0}, "WorkerProtocolError"),
    ({"kind": "hang"}, "WorkerTimeout"),
]


SHORT = Timeouts(connect_s=2, first_token_s=0.4, total_s=0.4)


def a_pool(
    connect: Connect,
    *workers: FakeWorker,
    kind: BalancerKind = "round_robin",
    attempts: int = 3,
    timeouts: Timeouts | None = None,
) -> Pool:
    clients = [connect(worker.url, timeouts=timeouts) for worker in workers]
    return Pool("small", clients, build_balancer(kind), retrying=Retrying(Retries(attempts)))


async def received(*workers: FakeWorker) -> list[int]:
    return [len(await worker.requests()) for worker in workers]


@both
@pytest.mark.parametrize(("failure", "error"), RETRIED)
async def test_another_worker_is_tried_before_the_first_byte(
    two_workers: Two,
    connect: Connect,
    stream: bool,  # noqa: FBT001
    failure: dict[str, Any],
    error: str,
) -> None:
    broken, sound = two_workers
    await broken.script(failure=failure)
    pool = a_pool(connect, broken, sound, timeouts=SHORT if failure["kind"] == "hang" else None)
    completion = await ask(pool, call_by(), stream=stream)
    assert completion.worker == f"{sound.url}/v1"
    assert pool.attempts_by_outcome == {error: 1, "ok": 1}


async def test_nothing_is_tried_again_after_the_first_byte(
    two_workers: Two, connect: Connect
) -> None:
    broken, sound = two_workers
    await broken.script(failure={"kind": "truncated", "after_tokens": 2})
    pool = a_pool(connect, broken, sound)
    pieces, _ = await read_until(pool.stream(call_by()), WorkerProtocolError)
    assert len(pieces) == 2
    assert await received(sound) == [0]
    assert all(member.healthy for member in pool.members)
    assert pool.attempts_by_outcome == {"WorkerProtocolError": 1}


@both
async def test_what_one_worker_rejects_is_not_asked_of_another(
    two_workers: Two,
    connect: Connect,
    stream: bool,  # noqa: FBT001
) -> None:
    pool = a_pool(connect, *two_workers)
    with pytest.raises(WorkerRejected):
        await ask(pool, call_by(request=a_request("word " * 600)), stream=stream)
    assert await received(*two_workers) == [1, 0]
    assert all(member.healthy for member in pool.members)


async def test_nothing_is_tried_again_beyond_the_deadline(
    two_workers: Two, connect: Connect
) -> None:
    for worker in two_workers:
        await worker.script(failure={"kind": "hang"})
    with pytest.raises(DeadlineExceeded):
        await a_pool(connect, *two_workers).complete(call_by(0.15))
    assert await received(*two_workers) == [1, 0]


async def test_attempts_are_limited(two_workers: Two, connect: Connect) -> None:
    broken, sound = two_workers
    await broken.script(failure={"kind": "status", "status": 500})
    with pytest.raises(WorkerFailed):
        await a_pool(connect, broken, sound, attempts=1).complete(call_by())
    assert await received(sound) == [0]


@pytest.mark.parametrize(
    ("failure", "healthy"),
    [
        ({"kind": "refuse"}, True),  # resets one connection
        ({"kind": "status", "status": 401}, False),
        ({"kind": "status", "status": 404}, False),
        ({"kind": "status", "status": 500}, True),
        ({"kind": "hang"}, True),
    ],
)
async def test_only_a_worker_that_cannot_serve_anyone_is_marked_unhealthy(
    two_workers: Two,
    connect: Connect,
    failure: dict[str, Any],
    healthy: bool,  # noqa: FBT001
) -> None:
    broken, sound = two_workers
    await broken.script(failure=failure)
    pool = a_pool(connect, broken, sound, timeouts=SHORT if failure["kind"] == "hang" else None)
    await pool.complete(call_by())
    assert [member.healthy for member in pool.members] == [healthy, True]
    assert bool(pool.members[0].detail) is not healthy
    await broken.forget()
    for _ in range(2):
        await pool.complete(call_by())
    assert ((await received(broken))[0] > 0) is healthy


@both
async def test_a_tier_without_a_reachable_worker_is_unavailable(
    connect: Connect,
    stream: bool,  # noqa: FBT001
) -> None:
    nobody = [FakeWorker(f"http://127.0.0.1:{free_port()}", 0) for _ in range(2)]
    pool = a_pool(connect, *nobody)
    for known in (False, True):  # found dead, then known to be dead
        with pytest.raises(TierUnavailable, match="small") as caught:
            await ask(pool, call_by(), stream=stream)
        assert caught.value.tier == "small"
        assert isinstance(caught.value, NobodyAsked) is known
    assert not pool.available
    assert pool.attempts_by_outcome == {"WorkerUnavailable": 2}


async def test_a_misconfigured_tier_says_so(two_workers: Two, connect: Connect) -> None:
    for worker in two_workers:
        await worker.script(failure={"kind": "status", "status": 401})
    with pytest.raises(WorkerMisconfigured):
        await a_pool(connect, *two_workers).complete(call_by())


async def test_busy_workers_are_overload_with_their_own_patience(
    two_workers: Two, connect: Connect
) -> None:
    for worker in two_workers:
        await worker.script(failure={"kind": "status", "status": 429, "retry_after_s": 7})
    with pytest.raises(Overloaded) as caught:
        await a_pool(connect, *two_workers).complete(call_by())
    assert caught.value.retry_after_s == 7
    assert await received(*two_workers) == [1, 1]


async def test_timeouts_of_all_workers_are_a_timeout(two_workers: Two, connect: Connect) -> None:
    for worker in two_workers:
        await worker.script(failure={"kind": "hang"})
    with pytest.raises(WorkerTimeout):
        await a_pool(connect, *two_workers, timeouts=SHORT).complete(call_by())


async def test_round_robin_spreads_calls_one_by_one(two_workers: Two, connect: Connect) -> None:
    pool = a_pool(connect, *two_workers)
    for _ in range(4):
        await pool.complete(call_by())
    assert await received(*two_workers) == [2, 2]


async def test_least_loaded_avoids_the_worker_that_is_busy(
    two_workers: Two, connect: Connect
) -> None:
    await two_workers[0].script(failure={"kind": "hang", "times": 1})
    pool = a_pool(connect, *two_workers, kind="least_loaded")
    stuck = asyncio.create_task(pool.complete(call_by()))
    await until(lambda: pool.load.in_flight == 1)
    for _ in range(3):
        await pool.complete(call_by())
    assert await received(*two_workers) == [1, 3]
    assert pool.load == TierLoad(in_flight=1, workers=2, healthy=2, capacity=1024)
    stuck.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stuck
    assert pool.load.in_flight == 0


async def test_a_pool_knows_the_least_context_its_workers_told(
    two_workers: Two, connect: Connect
) -> None:
    pool = a_pool(connect, *two_workers)
    lengths = [pool.context_length]
    pool.members[0].context_length, pool.members[1].context_length = 4096, 2048
    lengths.append(pool.context_length)
    assert lengths == [None, 2048]
    assert pool.members[0].name == two_workers[0].url.removeprefix("http://")
