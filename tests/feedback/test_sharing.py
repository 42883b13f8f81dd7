"""Labels in a real Redis: shared by gateways, and cheap to do without."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from entroute.feedback.feedback import Feedback, Origin
from entroute.feedback.sharing import RedisKeeper
from entroute.redis_link.budgeted import BudgetedRedis
from tests.feedback.traffic import a_feedback, a_learner, decided_trace
from tests.redis_server import RedisServer, redis_server

BUDGET_S = 0.3  # six times the default: a busy machine stalls for longer than that
PROBE_S = 0.2


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with redis_server() as own:
        yield own


@pytest.fixture
def prefix() -> str:
    """Keys of a test's own in the shared Redis."""
    return f"feedback-{uuid4().hex}:"


@asynccontextmanager
async def gateway(
    url: str,
    prefix: str,
    *,
    profile: str = "profile",
    read_every_s: float = 0.02,
    labels: int = 2000,
    budget_s: float = 5.0,
) -> AsyncIterator[Feedback]:
    """Run the feedback of one gateway."""
    learner = a_learner()
    redis = BudgetedRedis(url, budget_s, time.monotonic, PROBE_S)
    keeper = RedisKeeper(
        redis, profile, learner, 60.0, prefix=prefix, read_every_s=read_every_s, labels=labels
    )
    feedback = a_feedback(keeper, learner=learner, origin=Origin(profile), capacity=5000)
    await feedback.start()
    try:
        yield feedback
    finally:
        await feedback.close()
        await redis.close()


async def eventually(holds: Callable[[], Awaitable[bool]], within_s: float = 5.0) -> bool:
    give_up = time.monotonic() + within_s
    while time.monotonic() < give_up:
        if await holds():
            return True
        await asyncio.sleep(0.02)
    return False


async def test_an_answer_is_labelled_at_another_gateway(redis: RedisServer, prefix: str) -> None:
    async with gateway(redis.url, prefix) as one, gateway(redis.url, prefix) as other:
        one.record(decided_trace())

        async def known() -> bool:
            return (await other.label("r-1", "a", 0.0)).accepted

        assert await eventually(known)
        assert other.counts["accepted"] == 1
        assert (await other.label("r-1", "b", 0.0)).result == "foreign"
        assert (await other.label("r-2", "b", 0.0)).result == "unknown"
        assert (await one.label("r-1", "a", 0.0)).result == "replaced"
        assert (await one.label("r-1", "a", 1.0)).result == "replaced"
        assert one.measures().labels == 1


async def test_gateways_learn_the_same_from_each_others_labels(
    redis: RedisServer, prefix: str
) -> None:
    async with gateway(redis.url, prefix) as one, gateway(redis.url, prefix) as other:
        for number in range(60):
            here = (one, other)[number % 2]
            here.record(decided_trace(f"r-{number}"))
            assert (await here.label(f"r-{number}", "a", float(number % 3 == 0))).accepted

        async def both() -> bool:
            return one.measures().labels == other.measures().labels == 60

        assert await eventually(both)
        assert one.corrected("p", 0.7) == other.corrected("p", 0.7) < 0.6
        assert one.drift_evidence == other.drift_evidence


async def test_a_gateway_that_starts_learns_what_was_told_before(
    redis: RedisServer, prefix: str
) -> None:
    async with gateway(redis.url, prefix) as one:
        for number in range(300):  # more than one reading
            one.record(decided_trace(f"r-{number}"))
            await one.label(f"r-{number}", "a", 0.0)
        learned = one.corrected("p", 0.7)
    async with gateway(redis.url, prefix, read_every_s=60) as later:
        assert later.measures().labels == 300
        assert later.corrected("p", 0.7) == learned
    async with gateway(redis.url, prefix, profile="newer") as newer:
        assert newer.measures().labels == 0


async def test_what_is_kept_is_bounded_and_expires(redis: RedisServer, prefix: str) -> None:
    async with gateway(redis.url, prefix, labels=10) as one:
        for number in range(30):
            one.record(decided_trace(f"r-{number}"))
            await one.label(f"r-{number}", "a", 1.0)
    async with Redis.from_url(redis.url) as watcher:
        assert await watcher.xlen(f"{prefix}labels:profile") < 120  # trimmed by whole blocks
        assert await watcher.ttl(f"{prefix}labels:profile") > 0
        assert 0 < await watcher.ttl(f"{prefix}answer:r-3") <= 60


async def test_an_answer_is_kept_though_its_gateway_stops_at_once(
    redis: RedisServer, prefix: str
) -> None:
    async with gateway(redis.url, prefix) as one:
        one.record(decided_trace())
    async with gateway(redis.url, prefix) as other:
        assert (await other.label("r-1", "a", 1.0)).result == "accepted"


async def test_entries_that_cannot_be_read_are_passed_over(redis: RedisServer, prefix: str) -> None:
    async with Redis.from_url(redis.url) as writer:
        await writer.xadd(f"{prefix}labels:profile", {"label": b"{"})
        await writer.xadd(f"{prefix}labels:profile", {"other": b"1"})
        await writer.hset(f"{prefix}answer:r-9", "a", b"nonsense")
    async with gateway(redis.url, prefix) as one:
        assert (await one.label("r-9", "a", 1.0)).result == "foreign"
        one.record(decided_trace())
        assert (await one.label("r-1", "a", 1.0)).result == "accepted"
        assert one.measures().labels == 1


async def test_a_killed_redis_costs_a_counter_and_no_label(server: RedisServer) -> None:
    async with gateway(server.url, "x:", budget_s=BUDGET_S) as one:
        one.record(decided_trace("r-1"))
        assert (await one.label("r-1", "a", 0.0)).result == "accepted"
        failures = one.store_failures
        server.kill()
        one.record(decided_trace("r-2"))
        start = time.monotonic()
        assert (await one.label("r-2", "a", 0.0)).result == "accepted"
        assert (await one.label("r-1", "a", 0.0)).result == "replaced"
        assert (await one.label("r-3", "a", 0.0)).result == "unknown"
        assert time.monotonic() - start < BUDGET_S + 0.5
        assert one.measures().labels == 2
        assert one.store_failures > failures
        server.start()

        async def shared() -> bool:
            one.record(decided_trace("r-4"))
            await one.label("r-4", "a", 0.0)
            async with Redis.from_url(server.url) as watcher:
                return bool(await watcher.exists("x:answer:r-4"))

        assert await eventually(shared)


async def test_a_redis_that_hangs_holds_a_label_up_for_its_budget_alone(
    server: RedisServer,
) -> None:
    async with gateway(server.url, "x:", read_every_s=60, budget_s=BUDGET_S) as one:
        server.pause()
        one.record(decided_trace())
        start = time.monotonic()
        assert (await one.label("r-1", "a", 0.0)).result == "accepted"
        assert time.monotonic() - start < 2 * BUDGET_S + 0.5
        server.resume()


async def test_without_a_redis_a_gateway_starts_and_learns() -> None:
    async with gateway("redis://127.0.0.1:1/0", "x:") as one:
        for number in range(1200):  # more than may wait
            one.record(decided_trace(f"r-{number}"))
        assert (await one.label("r-0", "a", 1.0)).result == "accepted"
        assert one.measures().labels == 1
