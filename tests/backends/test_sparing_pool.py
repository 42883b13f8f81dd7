"""Pools that spare workers which fail, over two real fake workers and a clock that may jump."""

import asyncio
import time
from dataclasses import dataclass
from random import Random
from typing import Any

import aiohttp
import httpx
import pytest

from entroute.backends.balancing import BalancerKind, build_balancer
from entroute.backends.breaker import BreakerLimits, BreakerState
from entroute.backends.health import HealthSweeps
from entroute.backends.http_worker import Timeouts
from entroute.backends.member import Care
from entroute.backends.outliers import OutlierLimits
from entroute.backends.pool import NobodyAsked, Pool
from entroute.backends.worker import Worker
from entroute.errors import CallFailed, Overloaded, WorkerFailed, WorkerRejected
from loadtest.spawn import FakeWorker
from tests.builders import a_call, a_request, until
from tests.workers import MODEL, ask, both

Two = tuple[FakeWorker, FakeWorker]

FAILING = {"kind": "status", "status": 500}
RNG = Random(1)  # noqa: S311 - jitter; what is asserted holds for every draw


@dataclass(slots=True)
class Jumping:
    """Real monotonic seconds, and jumps over long ones."""

    jumped: float = 0.0

    def __call__(self) -> float:
        return time.perf_counter() + self.jumped


class Tried:
    """A pool over workers, asked by one client after another."""

    def __init__(
        self, session: aiohttp.ClientSession, workers: list[FakeWorker], **how: Any
    ) -> None:
        self.clock = Jumping()
        self.workers = workers
        kind: BalancerKind = how.pop("kind", "round_robin")
        limits = OutlierLimits(requests=how.pop("requests", 20))
        care = Care(BreakerLimits(failures=5, **how), limits, slow_start_s=300, rng=RNG)
        clients = [
            Worker(
                f"{worker.url}/v1",
                model=MODEL,
                tier="small",
                session=session,
                clock=self.clock,
                timeouts=Timeouts(),
            )
            for worker in workers
        ]
        self.pool = Pool("small", clients, build_balancer(kind), care=care)

    async def ask(self, times: int = 1, *, stream: bool = False, text: str = "Hi") -> None:
        for _ in range(times):
            call = a_call(a_request(text), deadline=self.clock() + 30)
            await ask(self.pool, call, stream=stream)

    async def share(self, times: int) -> list[int]:
        """Ask and return how many calls each worker got."""
        for worker in self.workers:
            await worker.forget()
        await self.ask(times)
        return [len(await worker.requests()) for worker in self.workers]

    def states(self) -> list[BreakerState]:
        return [member.breaker.state for member in self.pool.members]


@pytest.fixture
async def session() -> Any:
    async with aiohttp.ClientSession() as made:
        yield made


@both
async def test_a_worker_that_fails_all_but_its_model_list_is_left_alone_unseen_by_clients(
    two_workers: Two,
    session: aiohttp.ClientSession,
    stream: bool,  # noqa: FBT001
) -> None:
    tried = Tried(session, [*two_workers])
    await two_workers[0].script(failure=FAILING)
    await tried.ask(30, stream=stream)
    assert len(await two_workers[0].requests()) == 5
    async with httpx.AsyncClient() as client:
        sweeps = HealthSweeps([tried.pool], client, tried.clock, interval_s=60, timeout_s=5)
        await sweeps.sweep()
    assert [member.healthy for member in tried.pool.members] == [True, True]
    assert tried.states() == [BreakerState.OPEN, BreakerState.CLOSED]
    assert await tried.share(5) == [0, 5]
    assert tried.pool.load.healthy == 1


@pytest.mark.parametrize(
    ("failure", "text", "error"),
    [
        (None, "word " * 600, WorkerRejected),
        ({"kind": "status", "status": 422}, "Hi", WorkerRejected),
        ({"kind": "status", "status": 429, "retry_after_s": 2}, "Hi", Overloaded),
        ({"kind": "status", "status": 503, "retry_after_s": 2}, "Hi", Overloaded),
    ],
)
async def test_storms_of_what_is_no_failure_open_nothing(
    two_workers: Two,
    session: aiohttp.ClientSession,
    failure: dict[str, Any] | None,
    text: str,
    error: type[Exception],
) -> None:
    tried = Tried(session, [*two_workers])
    for worker in two_workers:
        await worker.script(failure=failure)
    for _ in range(20):
        with pytest.raises(error):
            await tried.ask(text=text)
    assert tried.states() == [BreakerState.CLOSED] * 2
    assert tried.pool.available


@pytest.mark.parametrize("kind", ["refuse", "close"])
async def test_broken_connections_count_one_by_one(
    two_workers: Two, session: aiohttp.ClientSession, kind: str
) -> None:
    tried = Tried(session, [two_workers[0]])
    await two_workers[0].script(failure={"kind": kind, "times": 1})
    try:
        await tried.ask(stream=True)
    except CallFailed:
        assert kind == "close"
    assert tried.pool.available
    await two_workers[0].script(failure={"kind": kind})
    for _ in range(5):
        with pytest.raises(CallFailed):
            await tried.ask(stream=True)
    assert tried.states() == [BreakerState.OPEN]


async def test_a_worker_that_recovers_is_tried_once_then_warms_up(
    two_workers: Two, session: aiohttp.ClientSession
) -> None:
    tried = Tried(session, [*two_workers], open_s=50, max_open_s=500)
    await two_workers[0].script(failure=FAILING)
    await tried.ask(10)
    tried.clock.jumped += 50
    assert tried.states()[0] is BreakerState.HALF_OPEN
    assert (await tried.share(4))[0] == 1  # the trial fails: out again, twice as long
    tried.clock.jumped += 50
    assert await tried.share(4) == [0, 4]
    await two_workers[0].script(failure=None)
    tried.clock.jumped += 50
    while tried.states()[0] is not BreakerState.CLOSED:
        await tried.ask()
    first = await tried.share(44)
    assert 2 <= first[0] <= 12, first  # 4 at a tenth, a few more where the machine is slow
    tried.clock.jumped += 300
    assert await tried.share(10) == [5, 5]


async def test_a_slow_worker_is_ejected_and_comes_back_little_by_little(
    two_workers: Two, session: aiohttp.ClientSession
) -> None:
    tried = Tried(session, [*two_workers], requests=5)
    await two_workers[0].script(ttft_ms=2000)
    await asyncio.gather(*(tried.ask(stream=True) for _ in range(12)))
    tried.clock.jumped += 10
    await tried.ask()
    assert [member.ejected for member in tried.pool.members] == [True, False]
    assert tried.pool.ejections == {"slowness": 1}
    assert await tried.share(6) == [0, 6]
    await two_workers[0].script(ttft_ms=0)
    tried.clock.jumped += 30
    warming = await tried.share(44)
    assert 2 <= warming[0] <= 12, warming
    tried.clock.jumped += 300
    assert await tried.share(10) == [5, 5]


async def test_a_cancelled_trial_leaves_its_place_to_the_next(
    two_workers: Two, session: aiohttp.ClientSession
) -> None:
    tried = Tried(session, [two_workers[0]])
    await two_workers[0].script(failure=FAILING)
    for _ in range(5):
        with pytest.raises(WorkerFailed):
            await tried.ask()
    tried.clock.jumped += 5
    await two_workers[0].script(failure={"kind": "hang", "times": 1})
    trial = asyncio.create_task(tried.ask())
    await until(lambda: tried.pool.load.in_flight == 1)
    assert not tried.pool.available
    with pytest.raises(NobodyAsked, match="keeps failing"):
        await tried.ask()
    trial.cancel()
    with pytest.raises(asyncio.CancelledError):
        await trial
    assert tried.states() == [BreakerState.HALF_OPEN]
    await tried.ask()
    assert tried.states() == [BreakerState.CLOSED]


async def test_of_many_calls_at_once_one_is_the_trial(
    two_workers: Two, session: aiohttp.ClientSession
) -> None:
    tried = Tried(session, [*two_workers], open_s=20, max_open_s=20)
    await two_workers[0].script(failure=FAILING)
    await asyncio.gather(*(tried.ask() for _ in range(20)))
    assert tried.pool.members[0].breaker.opened == 1
    tried.clock.jumped += 20
    await two_workers[0].forget()
    await asyncio.gather(*(tried.ask() for _ in range(20)))
    assert len(await two_workers[0].requests()) == 1
    assert tried.pool.members[0].breaker.opened == 2


async def test_with_all_breakers_open_callers_are_told_at_once_when_to_come_back(
    two_workers: Two, session: aiohttp.ClientSession
) -> None:
    tried = Tried(session, [*two_workers], open_s=30)
    for worker in two_workers:
        await worker.script(failure=FAILING)
    while tried.pool.available:
        with pytest.raises(WorkerFailed):
            await tried.ask()
    for worker in two_workers:
        await worker.forget()
    with pytest.raises(NobodyAsked, match="keeps failing") as caught:
        await tried.ask()
    assert 0 < (caught.value.retry_after_s or 0) <= 30
    assert [len(await worker.requests()) for worker in two_workers] == [0, 0]


async def test_an_ejection_is_ignored_where_nobody_else_is_left(
    two_workers: Two, session: aiohttp.ClientSession
) -> None:
    tried = Tried(session, [*two_workers])
    first, second = tried.pool.members
    first.eject("too slow", OutlierLimits())
    assert await tried.share(3) == [0, 3]
    second.found("gone", again_s=60)
    assert tried.pool.available
    assert tried.pool.load.healthy == 1
    assert await tried.share(3) == [3, 0]


async def test_a_busy_worker_is_left_alone_for_as_long_as_it_asked(
    two_workers: Two, session: aiohttp.ClientSession
) -> None:
    tried = Tried(session, [*two_workers])
    await two_workers[0].script(failure={"kind": "status", "status": 429, "retry_after_s": 25})
    assert await tried.share(8) == [1, 8]
    await two_workers[0].script(failure=None)
    assert await tried.share(4) == [0, 4]
    tried.clock.jumped += 25
    assert (await tried.share(6))[0] >= 3
    assert tried.states() == [BreakerState.CLOSED] * 2


async def test_a_busy_worker_is_asked_where_nobody_else_is_left(
    two_workers: Two, session: aiohttp.ClientSession
) -> None:
    tried = Tried(session, [two_workers[0]])
    busy = {"kind": "status", "status": 429, "retry_after_s": 25, "times": 1}
    await two_workers[0].script(failure=busy)
    with pytest.raises(Overloaded):
        await tried.ask()
    await tried.ask()
