"""Answers in Redis, shared by all gateways; a Redis that is down or slow costs next to nothing."""

from collections.abc import Awaitable, Callable
from typing import Any

from redis.asyncio import Redis

from entroute.budgeted_redis import BudgetedRedis, RedisUnavailable
from entroute.cache.codec import decode, encode
from entroute.errors import CacheUnavailable
from entroute.evidence import Outcome


class RedisCache:
    """A store of encoded outcomes in Redis, each operation within a budget: see `BudgetedRedis`.

    Args:
        redis: Asked within its budget; whoever made it closes it.
        ttl_s: Seconds an entry lives, rounded to milliseconds.
        prefix: Put before every key, so that the database may be shared.
    """

    def __init__(self, redis: BudgetedRedis, ttl_s: float, prefix: str = "entroute:") -> None:
        self._ttl_ms = max(1, round(ttl_s * 1000))
        self._prefix = prefix
        self._redis = redis

    async def get(self, key: str) -> Outcome | None:
        """Return the stored outcome or None.

        Raises:
            CacheUnavailable: Redis failed, was too slow, or failed a moment ago.
        """
        data = await self._ask(lambda redis: redis.get(self._prefix + key))
        return decode(data) if isinstance(data, bytes) else None

    async def put(self, key: str, outcome: Outcome) -> None:
        """Store an outcome in place of an older one.

        Raises:
            CacheUnavailable: As `get`.
        """
        data = encode(outcome)
        await self._ask(lambda redis: redis.set(self._prefix + key, data, px=self._ttl_ms))

    async def close(self) -> None:
        """Do nothing: the connections belong to whoever made them."""

    async def _ask(self, ask: Callable[[Redis], Awaitable[Any]]) -> Any:
        try:
            return await self._redis.ask(ask)
        except RedisUnavailable as error:
            raise CacheUnavailable(str(error)) from error
