"""A pool whose workers are found: real fake workers come and go."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from entroute.backends.balancing import RoundRobin
from entroute.backends.discovery.finding import Found
from entroute.backends.discovery.roster import Roster
from entroute.backends.health import HealthSweeps
from entroute.backends.member import Member
from entroute.backends.pool import NobodyAsked, Pool
from entroute.backends.worker import Worker
from entroute.errors import DiscoveryFailed
from loadtest.spawn import FakeWorker
from tests.builders import until
from tests.workers import Connect, ask, call_by

Two = tuple[FakeWorker, FakeWorker]


@dataclass
class Scripted:
    """Finds what it is told to; see `Finding`."""

    answers: asyncio.Queue[Found | Exception] = field(default_factory=asyncio.Queue)

    def tell(self, *workers: FakeWorker) -> None:
        self.answers.put_nowait(frozenset(f"{worker.url}/v1" for worker in workers))

    def fail(self, reason: str) -> None:
        self.answers.put_nowait(DiscoveryFailed(reason))

    async def found(self) -> AsyncGenerator[Found, None]:
        while True:
            answer = await self.answers.get()
            if isinstance(answer, Exception):
                raise answer
            yield answer


@asynccontextmanager
async def searched(
    connect: Connect, finding: Scripted
) -> AsyncIterator[tuple[Roster[Worker], Pool]]:
    """Keep a pool filled by what `finding` finds."""
    pool = Pool("small", [], RoundRobin())
    async with httpx.AsyncClient() as client:
        sweeps = HealthSweeps(
            [pool], client, asyncio.get_running_loop().time, interval_s=60, timeout_s=5
        )

        async def look(members: Sequence[Member[Any]]) -> None:
            await asyncio.gather(*(sweeps.ask(member, "small") for member in members))

        def build(url: str) -> Worker:
            return connect(url.removesuffix("/v1"))

        roster = Roster(pool, finding, "the script", build, look)
        try:
            yield roster, pool
        finally:
            await roster.stop()


def urls(roster: Roster[Worker]) -> set[str]:
    return {member.worker.url.removesuffix("/v1") for member in roster.pool.members}


def ready(roster: Roster[Worker]) -> int:
    return sum(member.callable for member in roster.pool.members)


async def test_workers_come_and_go(two_workers: Two, connect: Connect) -> None:
    one, other = two_workers
    finding = Scripted()
    async with searched(connect, finding) as (roster, pool):
        finding.tell(one)
        await roster.start(within_s=20)
        assert (await ask(pool, call_by(), stream=False)).worker == f"{one.url}/v1"
        held = roster.pool.members[0]
        finding.tell(one, other)
        await until(lambda: ready(roster) == 2)
        assert roster.pool.members[0] is held
        finding.tell(other)
        await until(lambda: urls(roster) == {other.url})
        assert (await ask(pool, call_by(), stream=True)).worker == f"{other.url}/v1"


async def test_a_stream_of_a_lost_worker_goes_on_to_its_end(
    two_workers: Two, connect: Connect
) -> None:
    one, other = two_workers
    await one.script(tokens=30, tokens_per_second=60)
    finding = Scripted()
    async with searched(connect, finding) as (roster, pool):
        finding.tell(one)
        await roster.start(within_s=20)
        asking = asyncio.ensure_future(ask(pool, call_by(), stream=True))
        member = roster.pool.members[0]
        await until(lambda: member.in_flight == 1)
        finding.tell(other)
        await until(lambda: urls(roster) == {other.url})
        assert not asking.done()
        completion = await asking
        assert (completion.worker, completion.usage.completion_tokens) == (f"{one.url}/v1", 30)


async def test_a_new_worker_is_not_called_before_it_answered(
    two_workers: Two, connect: Connect
) -> None:
    one, other = two_workers
    await other.script(healthy=False)
    finding = Scripted()
    wrong = FakeWorker("http://127.0.0.1:1", 0)
    async with searched(connect, finding) as (roster, pool):
        finding.tell(one, wrong)
        await roster.start(within_s=20)
        assert ready(roster) == 1
        for _ in range(4):
            assert (await ask(pool, call_by(), stream=False)).worker == f"{one.url}/v1"


async def test_a_failed_search_keeps_the_workers_and_says_so_once(
    two_workers: Two, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    one, other = two_workers
    finding = Scripted()
    async with searched(connect, finding) as (roster, pool):
        finding.tell(one)
        await roster.start(within_s=20)
        for _ in range(2):
            finding.fail("no such host")
        await until(lambda: roster.failures == 2, within_s=20)
        assert urls(roster) == {one.url}
        assert (await ask(pool, call_by(), stream=False)).worker == f"{one.url}/v1"
        finding.tell(one, other)
        await until(lambda: ready(roster) == 2, within_s=20)
    said = [record.message for record in caplog.records if "no such host" in record.message]
    assert said == ["tier small: no such host; its workers stay as they are"]


async def test_what_went_wrong_is_told_where_there_is_no_worker(connect: Connect) -> None:
    finding = Scripted()
    async with searched(connect, finding) as (roster, pool):
        finding.fail("no such host")
        await roster.start(within_s=20)
        with pytest.raises(NobodyAsked, match="the script: no such host"):
            await ask(pool, call_by(), stream=False)
        finding.tell()
        await until(lambda: "has no worker" in roster.pool.searched)


async def test_a_search_that_says_nothing_does_not_hold_up_the_start(connect: Connect) -> None:
    async with searched(connect, Scripted()) as (roster, pool):
        await roster.start(within_s=0.01)
        assert not pool.available
