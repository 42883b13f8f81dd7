"""Stores that tests of caches are given."""

import time
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
import pytest_asyncio

from entroute.redis_link.budgeted import BudgetedRedis
from entroute.stores import Store
from entroute.stores.memory import MemoryStore
from entroute.stores.redis import RedisStore
from tests.redis_server import RedisServer


@pytest.fixture
def store() -> Store:
    """Return a store in this process."""
    return MemoryStore(2**24, time.monotonic)


@pytest_asyncio.fixture
async def shared(redis: RedisServer) -> AsyncIterator[Store]:
    """Return a store in a real Redis, empty at first."""
    link = BudgetedRedis(redis.url, 5.0, time.monotonic)
    yield RedisStore(link, f"{uuid4().hex}:")
    await link.close()
