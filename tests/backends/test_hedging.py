"""Second calls to another worker, on real fake workers: who answers, and who is charged."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from random import Random
from typing import Any

import pytest

from entroute.backends.balancing import RoundRobin
from entroute.backends.hedging import Hedged, Hedging
from entroute.backends.http_worker import Timeouts
from entroute.backends.metered import Metered, Stopwatch
from entroute.backends.pool import Pool
from entroute.backends.queueing import Room
from entroute.backends.retrying import Retries, Retrying
from entroute.errors import TierUnavailable, WorkerTimeout
from entroute.ledger import Ledger
from entroute.spending import Charge
from entroute.types import Call, Completion
from loadtest.spawn import FakeWorker
from tests.builders import a_budget, a_request, a_trace
from tests.workers import Connect, ask, both, running

Two = tuple[FakeWorker, FakeWorker]
AFTER_S = 0.15
HASTY = Timeouts(first_token_s=0.5, total_s=0.5)
SLOW: dict[str, Any] = {"ttft_ms": 3000}


@dataclass(slots=True)
class Desk:
    """One request whose calls are hedged."""

    pool: Pool
    ledger: Ledger
    backend: Metered

    def reserve(self, **facts: Any) -> Call:
        return self.ledger.reserve("small", a_request(max_tokens=16, **facts), "answer")

    async def ask(self, *, stream: bool) -> Completion:
        return await ask(self.backend, self.reserve(), stream=stream)

    @property
    def hedges(self) -> dict[str, int]:
        return dict(self.pool.retrying.hedges)

    @property
    def purposes(self) -> list[str]:
        return [charge.purpose for charge in self.ledger.charges]


def a_desk(connect: Connect, *workers: FakeWorker, room: Room | None = None, **facts: Any) -> Desk:
    limits = facts.pop("retries", Retries())
    retrying = Retrying(limits, time.perf_counter, Random(3))  # noqa: S311
    impatient = facts.pop("impatient", ())
    clients = [connect(w.url, timeouts=HASTY if w in impatient else None) for w in workers]
    pool = Pool("small", clients, RoundRobin(), retrying=retrying, room=room)
    after_s = facts.pop("after_s", AFTER_S)
    budget = a_budget(deadline=time.perf_counter() + facts.pop("deadline_s", 20), **facts)
    ledger = Ledger(budget, {}, time.perf_counter)
    hedged = Hedged(pool, ledger, Hedging(after_s, retrying))
    return Desk(pool, ledger, Metered(hedged, ledger, Stopwatch(a_trace(), time.perf_counter)))


async def took(asking: Awaitable[Completion]) -> tuple[Completion, float]:
    since = time.perf_counter()
    return await asking, time.perf_counter() - since


@both
async def test_a_slow_worker_is_overtaken_and_both_calls_are_charged(
    two_workers: Two,
    connect: Connect,
    stream: bool,  # noqa: FBT001
) -> None:
    slow, fast = two_workers
    await slow.script(**SLOW)
    desk = a_desk(connect, slow, fast)
    completion, seconds = await took(desk.ask(stream=stream))
    assert AFTER_S <= seconds < 2.5
    assert completion.worker == f"{fast.url}/v1"
    assert completion.call_id == 0
    answer, lost = desk.ledger.charges
    assert (answer.call_id, answer.purpose, answer.usage) == (0, "answer", completion.usage)
    assert (lost.purpose, lost.usage.calls, lost.usage.partial_calls) == ("discarded", 1, 1)
    assert desk.hedges == {"won": 1}
    await running(slow, 0)
    assert desk.pool.load.in_flight == 0


@both
async def test_the_first_call_may_still_win(
    two_workers: Two,
    connect: Connect,
    stream: bool,  # noqa: FBT001
) -> None:
    first, second = two_workers
    await first.script(ttft_ms=600)
    await second.script(ttft_ms=6000)
    desk = a_desk(connect, first, second)
    completion = await desk.ask(stream=stream)
    assert completion.worker == f"{first.url}/v1"
    assert desk.purposes == ["answer", "discarded"]
    assert desk.hedges == {"lost": 1}
    await running(second, 0)


@both
async def test_a_call_that_answers_in_time_is_not_hedged(
    two_workers: Two,
    connect: Connect,
    stream: bool,  # noqa: FBT001
) -> None:
    desk = a_desk(connect, *two_workers, after_s=5.0)
    await desk.ask(stream=stream)
    assert desk.hedges == {}
    assert desk.purposes == ["answer"]


async def test_a_stream_is_hedged_until_its_first_piece_and_never_after(
    two_workers: Two, connect: Connect
) -> None:
    for worker in two_workers:
        await worker.script(tokens_per_second=20)  # sixteen tokens: 0.8 s
    desk = a_desk(connect, *two_workers)
    completion = await desk.ask(stream=True)
    assert completion.usage.completion_tokens == 16
    assert desk.hedges == {}


Limited = Callable[[Connect, Two], Desk]
LIMITED: dict[str, Limited] = {
    "no_worker": lambda connect, two: a_desk(connect, two[0]),
    "no_room": lambda connect, two: a_desk(connect, *two, max_calls=1),
    "budget": lambda connect, two: a_desk(connect, *two, retries=Retries(min_per_s=0)),
}


@both
@pytest.mark.parametrize("result", LIMITED)
async def test_without_room_for_it_there_is_no_second_call(
    two_workers: Two,
    connect: Connect,
    result: str,
    stream: bool,  # noqa: FBT001
) -> None:
    await two_workers[0].script(ttft_ms=500)
    desk = LIMITED[result](connect, two_workers)
    completion = await desk.ask(stream=stream)
    assert completion.worker == f"{two_workers[0].url}/v1"
    assert desk.purposes == ["answer"]
    assert desk.hedges == {result: 1}
    assert desk.ledger.exhausted is None
    assert await two_workers[1].requests() == []


@pytest.mark.parametrize(
    ("limits", "hedged"),
    [
        ({"max_generated_tokens": 32}, True),
        ({"max_generated_tokens": 31}, False),
    ],
)
async def test_a_second_call_reserves_the_worst_case_of_the_first(
    two_workers: Two,
    connect: Connect,
    limits: dict[str, Any],
    hedged: bool,  # noqa: FBT001
) -> None:
    await two_workers[0].script(ttft_ms=500)
    desk = a_desk(connect, *two_workers, **limits)
    await desk.ask(stream=True)
    assert desk.hedges == ({"won": 1} if hedged else {"no_room": 1})


@both
async def test_a_second_call_answers_where_the_first_fails_meanwhile(
    two_workers: Two,
    connect: Connect,
    stream: bool,  # noqa: FBT001
) -> None:
    first, second = two_workers
    await first.script(failure={"kind": "hang"})
    await second.script(ttft_ms=1000)
    desk = a_desk(connect, first, second, impatient=[first])
    completion = await desk.ask(stream=stream)
    assert desk.pool.attempts_by_outcome == {"WorkerTimeout": 1, "ok": 1}
    assert completion.worker == f"{second.url}/v1"
    assert desk.purposes == ["answer", "discarded"]


@both
async def test_where_both_fail_the_first_error_stands_and_both_are_charged(
    two_workers: Two,
    connect: Connect,
    stream: bool,  # noqa: FBT001
) -> None:
    for worker in two_workers:
        await worker.script(failure={"kind": "hang"})
    desk = a_desk(connect, *two_workers, impatient=two_workers)
    with pytest.raises(WorkerTimeout, match=two_workers[0].url):
        await desk.ask(stream=stream)
    assert desk.purposes == ["discarded", "discarded"]
    assert [len(await worker.requests()) for worker in two_workers] == [1, 1]
    assert desk.hedges == {"lost": 1}


@both
async def test_a_request_that_is_left_ends_and_charges_both_calls(
    two_workers: Two,
    connect: Connect,
    stream: bool,  # noqa: FBT001
) -> None:
    for worker in two_workers:
        await worker.script(**SLOW)
    desk = a_desk(connect, *two_workers)
    asking = asyncio.create_task(desk.ask(stream=stream))
    for worker in two_workers:
        await running(worker, 1)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    for worker in two_workers:
        await running(worker, 0)
    assert [charge.usage.calls for charge in desk.ledger.charges] == [1, 1]
    assert desk.ledger.calls_left == 14


async def test_a_stream_that_is_closed_charges_what_the_winner_sent(
    two_workers: Two, connect: Connect
) -> None:
    slow, fast = two_workers
    await slow.script(**SLOW)
    await fast.script(tokens_per_second=20)
    desk = a_desk(connect, slow, fast)
    async with aclosing(desk.backend.stream(desk.reserve())) as pieces:
        await anext(pieces)
        await anext(pieces)
    charges: dict[str, Charge] = {c.purpose: c for c in desk.ledger.charges}
    assert charges["answer"].usage.completion_tokens == 2
    assert charges["discarded"].usage.completion_tokens == 0
    for worker in two_workers:
        await running(worker, 0)


@both
async def test_a_call_that_waits_for_a_worker_is_not_hedged_and_no_hedge_waits(
    two_workers: Two,
    connect: Connect,
    stream: bool,  # noqa: FBT001
) -> None:
    slow, other = two_workers
    for worker in two_workers:
        await worker.script(ttft_ms=700)
    desk = a_desk(connect, slow, other, room=Room(max_in_flight=1))
    asking = [asyncio.create_task(desk.ask(stream=stream)) for _ in range(3)]
    for done in asyncio.as_completed(asking):
        await done
    assert len(await slow.requests()) + len(await other.requests()) <= 4  # the last may be hedged
    assert desk.hedges["no_worker"] >= 2


@both
async def test_no_worker_at_all_is_said_at_once_and_is_no_call(
    two_workers: Two,
    connect: Connect,
    stream: bool,  # noqa: FBT001
) -> None:
    desk = a_desk(connect, *two_workers)
    for member in desk.pool.members:
        member.healthy = False
    with pytest.raises(TierUnavailable):
        await desk.ask(stream=stream)
    assert desk.ledger.charges == ()
    assert desk.hedges == {}
