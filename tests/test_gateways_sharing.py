"""Two gateways on one real Redis: one of them makes an answer, the other waits for it."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from entroute.errors import WorkerFailed
from entroute.evidence import Outcome
from entroute.redis_link.budgeted import BudgetedRedis
from entroute.spending import BudgetLimits
from entroute.stores.redis import RedisStore
from entroute.types import Options, Principal
from tests.builders import a_tier, an_ask
from tests.cache.caches import shared_parts
from tests.fakes import no_task_left
from tests.redis_server import RedisServer, redis_server
from tests.scripted import FakeBackend, FakeClock, Script, fails, hangs, says
from tests.walks import COLD, WARM, Walk, either

__all__ = ["no_task_left"]

TAGGED = Options(cache_tags=("a", "b"))


class RunningClock(FakeClock):
    """A clock that runs, from where traces are opened in tests."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def __call__(self) -> float:
        return 100.0 + time.monotonic() - self._began


@dataclass
class Gateways:
    """Two gateways, or more, on one Redis, as processes would be."""

    link: BudgetedRedis
    prefix: str = field(default_factory=lambda: f"{uuid4()}:")
    number: int = 0

    def start(
        self, *scripts: Script, follow_s: float = 30.0, lease_s: float = 10.0, **facts: Any
    ) -> Walk:
        """Return one more gateway, whose small tier answers by these scripts."""
        self.number += 1
        clock = RunningClock()
        store, name = RedisStore(self.link, self.prefix), f"g{self.number}-"
        parts = shared_parts(store, name, clock, follow_s=follow_s, lease_s=lease_s)
        caching = replace(parts, **facts.pop("caching", {}))
        tiers = (a_tier("small", FakeBackend(*scripts)), a_tier("large"))
        return Walk(tiers=tiers, caching=caching, clock=clock, **facts)


@pytest.fixture
async def gateways(redis: RedisServer) -> AsyncIterator[Gateways]:
    link = BudgetedRedis(redis.url, 5.0, time.monotonic)
    yield Gateways(link)
    await link.close()


def content(outcome: Outcome) -> str:
    return outcome.choices[0].content


def began(*walks: Walk) -> Callable[[], bool]:
    return lambda: sum(len(walk.small.calls) for walk in walks) > 0


def flights() -> int:
    return [task.get_name() for task in asyncio.all_tasks()].count("entroute-flight")


async def until(holds: Callable[[], bool], within_s: float = 10.0) -> None:
    async with asyncio.timeout(within_s):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def follows(walk: Walk, other: Walk, **facts: Any) -> tuple[Any, Any]:
    """Let the first gateway begin an answer and the other wait for it; return both tasks."""
    leads = asyncio.create_task(walk.ask(**facts))
    await until(began(walk))
    waits = asyncio.create_task(other.ask(**facts))
    await asyncio.sleep(0.1)
    return leads, waits


@either
async def test_twenty_at_each_of_two_gateways_make_one_call(
    gateways: Gateways,
    stream: bool,  # noqa: FBT001
) -> None:
    gate = asyncio.Event()
    one = gateways.start(says("6 times ", "7", gate=gate))
    other = gateways.start(says("6 times ", "7", gate=gate))
    tasks = [
        asyncio.create_task(walk.ask(stream=stream)) for _ in range(20) for walk in (one, other)
    ]
    await until(began(one, other))
    gate.set()
    outcomes = await asyncio.gather(*tasks)
    assert {content(outcome) for outcome in outcomes} == {"6 times 7"}
    assert len(one.small.calls) + len(other.small.calls) == 1
    traces = [*one.recorded.traces, *other.recorded.traces]
    assert [trace.shared for trace in traces].count(False) == 1
    assert sum(len(trace.charges) for trace in traces) == 1
    assert all(trace.cache == ("exact" if trace.shared else "miss") for trace in traces)
    assert not any(trace.degraded for trace in traces)


async def test_a_follower_waits_upstream_and_spends_nothing(gateways: Gateways) -> None:
    gate = asyncio.Event()
    one, other = gateways.start(says("7", gate=gate)), gateways.start()
    leads, waits = await follows(one, other, stream=True)
    await asyncio.sleep(0.2)
    gate.set()
    assert content(await waits) == content(await leads) == "7"
    trace = other.trace
    assert (trace.cache, trace.shared, trace.charges) == ("exact", True, ())
    assert trace.upstream_s > 0.2


async def test_one_poller_a_process_waits_for_all(gateways: Gateways) -> None:
    gate = asyncio.Event()
    one, other = gateways.start(says("7", gate=gate)), gateways.start()
    leads = asyncio.create_task(one.ask())
    await until(began(one))
    waits = [asyncio.create_task(other.ask()) for _ in range(20)]
    await until(lambda: flights() == 2)  # the leader's own, and one that waits
    await asyncio.sleep(0.1)
    assert flights() == 2
    gate.set()
    await asyncio.gather(leads, *waits)
    assert other.small.calls == []


async def test_an_answer_kept_just_before_the_claim_is_not_made_again(gateways: Gateways) -> None:
    one, other = gateways.start(), gateways.start()
    assert other.caching is not None
    late = _Late(other.caching.answers, asyncio.Event())
    slow = gateways.start(caching={"answers": late})
    missed = asyncio.create_task(slow.ask())
    await until(lambda: late.missed)
    await one.ask()
    late.go_on.set()
    assert content(await missed) == "6 times 7 is 42"
    assert slow.small.calls == []
    assert slow.trace.cache == "exact"


@dataclass
class _Late:
    """A cache whose first miss is slow to arrive."""

    answers: Any
    go_on: asyncio.Event
    missed: bool = False

    async def get(self, key: str) -> Outcome | None:
        found: Outcome | None = await self.answers.get(key)
        if not self.missed:
            self.missed = True
            await self.go_on.wait()
        return found

    async def put(self, key: str, outcome: Outcome, stamps: Any = None) -> bool:
        raise AssertionError("nothing is made here")

    async def close(self) -> None:
        await self.answers.close()


async def test_a_degraded_answer_is_not_kept_and_followers_run(gateways: Gateways) -> None:
    gate = asyncio.Event()
    one = gateways.start(fails(WorkerFailed("w", "500"), gate=gate))
    other = gateways.start(says("mine"))
    leads, waits = await follows(one, other)
    gate.set()
    assert (await leads).tier == "large"  # a substitute: degraded
    assert content(await waits) == "mine"
    assert (other.trace.cache, other.trace.shared) == ("miss", False)
    assert not other.trace.waited_out


async def test_an_error_is_the_leaders_own(gateways: Gateways) -> None:
    gate = asyncio.Event()
    one = gateways.start(fails(WorkerFailed("w", "500"), gate=gate))
    other = gateways.start(says("mine"))
    pinned = replace(COLD, model="small")
    leads, waits = await follows(one, other, request=pinned)
    gate.set()
    with pytest.raises(WorkerFailed):
        await leads
    assert content(await waits) == "mine"


async def test_a_leader_whose_client_leaves_is_succeeded(gateways: Gateways) -> None:
    one, other = gateways.start(hangs(after=1)), gateways.start(says("mine"))
    leads, waits = await follows(one, other)
    leads.cancel()
    assert content(await waits) == "mine"
    assert other.trace.cache == "miss"
    assert one.small.running == 0


async def test_of_many_followers_one_succeeds_a_leader_that_died(gateways: Gateways) -> None:
    dead = gateways.start(lease_s=1.0).caching
    assert dead is not None
    assert dead.leases is not None
    one, other = (gateways.start(says("6 times ", "7")) for _ in range(2))
    keyed = _Keyed(dead.answers)
    probe = gateways.start(caching={"answers": keyed, "leases": None})
    await probe.ask()
    assert await dead.leases.claim(keyed.key) is not None  # and never heard of again
    outcomes = await asyncio.gather(*(walk.ask() for walk in (one, other) for _ in range(5)))
    assert {content(outcome) for outcome in outcomes} == {"6 times 7"}
    assert len(one.small.calls) + len(other.small.calls) == 1


@dataclass
class _Keyed:
    """A cache that tells the key it was asked for and keeps nothing."""

    answers: Any
    key: str = ""

    async def get(self, key: str) -> Outcome | None:
        self.key = key
        return None

    async def put(self, key: str, outcome: Outcome, stamps: Any = None) -> bool:
        return False

    async def close(self) -> None:
        await self.answers.close()


async def test_a_follower_waits_no_longer_than_it_was_told(gateways: Gateways) -> None:
    one = gateways.start(hangs(after=1))
    other = gateways.start(says("mine"), follow_s=0.3)
    leads, waits = await follows(one, other)
    assert content(await waits) == "mine"
    assert (other.trace.cache, other.trace.waited_out) == ("miss", True)
    assert other.trace.upstream_s >= 0.2
    leads.cancel()
    await asyncio.wait([leads])


async def test_a_follower_waits_half_of_its_own_time_at_most(gateways: Gateways) -> None:
    one = gateways.start(hangs(after=1))
    other = gateways.start(says("mine"), limits=BudgetLimits(16, 100_000, 6.0))
    leads, waits = await follows(one, other)
    start = time.monotonic()
    assert content(await waits) == "mine"
    assert time.monotonic() - start < 5.5
    assert other.trace.waited_out
    leads.cancel()
    await asyncio.wait([leads])


async def test_a_follower_whose_client_leaves_stops_asking(gateways: Gateways) -> None:
    one, other = gateways.start(hangs(after=1)), gateways.start()
    leads, waits = await follows(one, other)
    waits.cancel()
    await asyncio.wait([waits])
    assert flights() == 1  # the leader's own
    leads.cancel()
    await asyncio.wait([leads])
    assert other.trace.result == "cancelled"
    assert other.small.calls == []


async def test_a_streams_follower_gets_the_whole_answer(gateways: Gateways) -> None:
    gate = asyncio.Event()
    one, other = gateways.start(says("6 times ", "7", gate=gate)), gateways.start()
    leads = asyncio.create_task(one.ask(stream=True))
    await until(began(one))
    async with aclosing(other.gateway.stream(an_ask(COLD, streamed=True))) as items:
        first = asyncio.create_task(anext(items))
        await asyncio.sleep(0.1)
        assert not first.done()
        gate.set()
        item = await first
        assert isinstance(item, Outcome)
        assert content(item) == "6 times 7"
    await leads


async def test_refresh_neither_follows_nor_is_followed(gateways: Gateways) -> None:
    gate = asyncio.Event()
    one = gateways.start(says("slow", gate=gate))
    other = gateways.start(says("new"))
    leads = asyncio.create_task(one.ask())
    await until(began(one))
    refreshed = await other.ask(options=Options(cache="refresh"))
    assert content(refreshed) == "new"
    gate.set()
    await leads


async def test_sampled_requests_are_nobodys_twins(gateways: Gateways) -> None:
    one, other = gateways.start(), gateways.start()
    await asyncio.gather(*(walk.ask(WARM) for walk in (one, other) for _ in range(3)))
    assert len(one.small.calls) + len(other.small.calls) == 6


async def test_sampled_requests_are_kept_where_the_operator_says_so(gateways: Gateways) -> None:
    one, other = (gateways.start(caching={"sampled": True}) for _ in range(2))
    await one.ask(WARM)
    await other.ask(WARM)
    assert other.small.calls == []
    assert other.trace.cache == "exact"


async def test_a_redis_that_hangs_while_a_follower_waits_lets_it_run() -> None:
    with redis_server() as server:
        link = BudgetedRedis(server.url, 0.3, time.monotonic)
        gateways = Gateways(link)
        gate = asyncio.Event()
        one, other = gateways.start(says("led", gate=gate)), gateways.start(says("mine"))
        leads, waits = await follows(one, other)
        server.pause()
        assert content(await asyncio.wait_for(waits, 5)) == "mine"
        assert (other.trace.cache, other.trace.degraded) == ("miss", ["cache"])
        gate.set()
        assert content(await asyncio.wait_for(leads, 5)) == "led"
        assert one.trace.degraded == ["cache"]
        server.resume()
        await link.close()


async def test_a_redis_that_is_gone_is_no_reason_to_wait() -> None:
    link = BudgetedRedis("unix:///nonexistent/redis.sock", 0.3, time.monotonic)
    gateways = Gateways(link)
    one, other = gateways.start(), gateways.start()
    await asyncio.wait_for(asyncio.gather(one.ask(), other.ask(), one.ask(options=TAGGED)), 5)
    assert all(trace.degraded == ["cache"] for trace in one.recorded.traces)
    await link.close()


@pytest.mark.parametrize("poison", ["lease", "answer", "tag"])
async def test_keys_that_hold_something_else_are_a_miss(
    gateways: Gateways, redis: RedisServer, poison: str
) -> None:
    one = gateways.start()
    await one.ask(options=TAGGED)
    async with Redis.from_url(redis.url) as other:
        kept = [name.decode() async for name in other.scan_iter(f"{gateways.prefix}*")]
        (answer,) = [name for name in kept if ":answer:" in name]
        names = {
            "lease": [answer.replace(":answer:", ":lease:")],
            "answer": [answer],
            "tag": [name for name in kept if ":tag:" in name],
        }[poison]
        await other.delete(*names, answer)
        for name in names:
            await other.sadd(name, "x")
    assert content(await one.ask(options=TAGGED)) == "6 times 7 is 42"
    assert {trace.result for trace in one.recorded.traces} == {"ok"}
    assert len(one.small.calls) == 2


async def test_an_invalidated_answer_is_made_anew_by_every_gateway(gateways: Gateways) -> None:
    one, other = gateways.start(), gateways.start(says("new"))
    await one.ask(options=TAGGED)
    assert content(await other.ask(options=TAGGED)) == "6 times 7 is 42"
    assert one.caching is not None
    await one.caching.stamps.invalidate("anonymous", ["b"])
    assert content(await other.ask(options=TAGGED)) == "new"
    assert content(await one.ask(options=TAGGED)) == "new"
    assert len(one.small.calls) == 1


async def test_the_kept_answers_tags_count_not_the_readers(gateways: Gateways) -> None:
    one = gateways.start(says("old"), says("new"))
    assert one.caching is not None
    await one.ask(options=TAGGED)
    assert content(await one.ask(options=Options(cache_tags=("c",)))) == "old"
    await one.caching.stamps.invalidate("anonymous", ["c"])
    assert content(await one.ask()) == "old"
    await one.caching.stamps.invalidate("anonymous", ["a"])
    assert content(await one.ask()) == "new"


async def test_refresh_replaces_the_tags_too(gateways: Gateways) -> None:
    one = gateways.start(says("old"), says("new"), says("newest"))
    assert one.caching is not None
    await one.ask(options=TAGGED)
    await one.ask(options=Options(cache="refresh", cache_tags=("c",)))
    await one.caching.stamps.invalidate("anonymous", ["a", "b"])
    assert content(await one.ask()) == "new"
    await one.caching.stamps.invalidate("anonymous", ["c"])
    assert content(await one.ask()) == "newest"


async def test_a_tenant_cannot_invalidate_anothers_answers(gateways: Gateways) -> None:
    one = gateways.start()
    assert one.caching is not None
    mine, yours = Principal("mine"), Principal("yours")
    await one.ask(options=TAGGED, principal=mine)
    await one.ask(options=TAGGED, principal=yours)
    await one.caching.stamps.invalidate("yours", ["a", "b"])
    await one.ask(options=TAGGED, principal=mine)
    assert len(one.small.calls) == 2
    await one.ask(options=TAGGED, principal=yours)
    assert len(one.small.calls) == 3


async def test_shared_tenants_share_answers_but_not_tags_nor_rights(gateways: Gateways) -> None:
    one = gateways.start(caching={"across_tenants": True})
    assert one.caching is not None
    mine, yours = Principal("mine"), Principal("yours")
    await one.ask(options=TAGGED, principal=mine)
    await one.ask(options=TAGGED, principal=yours)
    assert len(one.small.calls) == 1
    await one.ask(principal=Principal("yours", tiers=frozenset({"small"})))
    assert len(one.small.calls) == 2
    await one.caching.stamps.invalidate("yours", ["a", "b"])
    await one.ask(principal=yours)
    assert len(one.small.calls) == 2
    await one.caching.stamps.invalidate("mine", ["a"])
    await one.ask(principal=yours)
    assert len(one.small.calls) == 3


async def test_an_invalidation_while_an_answer_is_made_wins(gateways: Gateways) -> None:
    gate = asyncio.Event()
    one, other = gateways.start(says("old", gate=gate)), gateways.start(says("new"))
    assert one.caching is not None
    leads = asyncio.create_task(one.ask(options=TAGGED))
    await until(began(one))
    await one.caching.stamps.invalidate("anonymous", ["a"])
    after = asyncio.create_task(other.ask(options=TAGGED))  # waits for what is not kept
    await asyncio.sleep(0.1)
    gate.set()
    assert content(await leads) == "old"  # it asked before
    assert content(await after) == "new"
    assert content(await one.ask(options=TAGGED)) == "new"


async def test_who_asks_after_an_invalidation_does_not_join_an_older_flight(
    gateways: Gateways,
) -> None:
    gate = asyncio.Event()
    one = gateways.start(says("old", gate=gate), says("new"), caching={"leases": None})
    assert one.caching is not None
    before = [asyncio.create_task(one.ask(options=TAGGED)) for _ in range(2)]
    await until(began(one))
    await one.caching.stamps.invalidate("anonymous", ["b"])
    assert content(await one.ask(options=TAGGED)) == "new"
    gate.set()
    assert {content(await task) for task in before} == {"old"}
    assert content(await one.ask()) == "new"


async def test_clients_that_leave_at_any_moment_keep_nobody_from_an_answer(
    gateways: Gateways, redis: RedisServer
) -> None:
    rng = Random(5)  # noqa: S311 - a test repeats itself
    walks = [gateways.start(says("6 times ", "7")) for _ in range(3)]
    tasks = [asyncio.create_task(walk.ask()) for _ in range(20) for walk in walks]
    leaving = rng.sample(tasks, 45)
    for task in leaving:
        await asyncio.sleep(rng.random() * 0.002)
        task.cancel()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    stayed = [outcome for outcome in outcomes if isinstance(outcome, Outcome)]
    assert len(stayed) >= 15
    assert {content(outcome) for outcome in stayed} == {"6 times 7"}
    assert content(await walks[0].ask()) == "6 times 7"
    assert walks[0].recorded.traces[-1].cache == "exact"
    async with Redis.from_url(redis.url) as watcher:
        lives = [
            await watcher.pttl(key) async for key in watcher.scan_iter(f"{gateways.prefix}lease:*")
        ]
    assert all(0 < life <= 10_000 for life in lives)  # a claim carried out late ends by itself
