"""Limits and usage on a Redis Cluster: the books of one key are on one node."""

import time
from collections.abc import AsyncIterator

import pytest_asyncio

from entroute.redis_link.budgeted import BudgetedRedis
from entroute.tenants.limits_redis import RedisLeases
from entroute.tenants.usage import Batch, Place
from entroute.tenants.usage_redis import RedisUsage
from tests.redis_groups import redis_cluster
from tests.tenants.books import Time, a_key, a_limiter, admitted

KEYS = [f"{number:012x}" for number in range(12)]


@pytest_asyncio.fixture
async def link() -> AsyncIterator[BudgetedRedis]:
    with redis_cluster() as cluster:
        opened = BudgetedRedis(cluster.url, 5.0, time.monotonic)
        yield opened
        await opened.close()


async def test_keys_on_every_node_are_limited_and_booked(link: BudgetedRedis) -> None:
    clock = Time()
    one, two = (a_limiter(clock, RedisLeases(link), member=name) for name in ("one", "two"))
    usage = RedisUsage(link)
    for key in KEYS:
        who = a_key(key, requests_per_minute=1000, requests_per_month=5)
        assert await admitted(one, who, 3) + await admitted(two, who, 9) == 5
        place = Place(key, "2026-11")
        for _ in range(2):
            await usage.add(place, Batch("gateway", 1, {3: {"requests": 5}}))
        assert await usage.read(place) == {3: {"requests": 5}}
