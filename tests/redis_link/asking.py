"""Asking a Redis that tests break: links with short times, and waiting for what must come."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from entroute.redis_link.budgeted import BudgetedRedis, RedisUnavailable

BUDGET_S = 0.3  # six times the default: a busy machine stalls for longer than that
PROBE_S = 0.2
IN_TIME_S = BUDGET_S + 0.5
SOON_S = 10.0


@asynccontextmanager
async def link_to(
    url: str, budget_s: float = BUDGET_S, connect_timeout_s: float = 2.0
) -> AsyncIterator[BudgetedRedis]:
    """Link to an address; nothing may be left of it when it is closed."""
    before = _tasks()
    link = BudgetedRedis(url, budget_s, time.monotonic, PROBE_S, connect_timeout_s)
    try:
        yield link
    finally:
        await link.close()
        await asyncio.sleep(0)
        assert not _tasks() - before


def _tasks() -> set[str]:
    """Return what runs in this loop, by name, but for the tests' own servers."""
    running = {task.get_name(): str(task.get_coro()) for task in asyncio.all_tasks()}
    return {name for name, work in running.items() if "redis_proxy" not in work}


async def refused_after(link: BudgetedRedis, key: str = "k") -> float:
    """Return the seconds until a read was refused."""
    start = time.monotonic()
    with pytest.raises(RedisUnavailable):
        await link.ask(lambda redis: redis.get(key))
    return time.monotonic() - start


async def opened(link: BudgetedRedis, in_time_s: float = IN_TIME_S) -> None:
    """Ask until calls fail at once, each within its budget."""
    while link.up:
        assert await refused_after(link) < in_time_s


async def answers(link: BudgetedRedis, key: str = "k") -> bool:
    """Whether Redis can be read and written now."""
    try:
        await link.ask(lambda redis: redis.set(key, key, px=60_000))
        return bool(await link.ask(lambda redis: redis.get(key)) == key.encode())
    except RedisUnavailable:
        return False


async def answers_soon(link: BudgetedRedis, key: str = "k", within_s: float = SOON_S) -> bool:
    """Ask until Redis can be read and written."""
    give_up = time.monotonic() + within_s
    while time.monotonic() < give_up:
        if await answers(link, key):
            return True
        await asyncio.sleep(0.02)
    return False


async def soon(holds: Callable[[], bool], within_s: float = SOON_S) -> bool:
    """Wait until something holds."""
    give_up = time.monotonic() + within_s
    while time.monotonic() < give_up and not holds():  # noqa: ASYNC110 - nothing tells of it
        await asyncio.sleep(0.02)
    return holds()
