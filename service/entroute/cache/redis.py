"""Answers in Redis, shared by all gateways; a Redis that is down or slow costs next to nothing."""

from collections.abc import Awaitable, Callable
from typing import Any

from redis.asyncio import Redis

from entroute.budgeted_redis import BudgetedRedis, RedisUnavailable
from entroute.cache.codec import decode, encode
from entroute.errors import CacheUnavailable
from entroute.evidence import Outcome
from entroute.protocols import Clock


class RedisCache:
    """A store of encoded outcomes in Redis, each operation within a budget: see `BudgetedRedis`.

    Args:
        url: redis://, rediss:// or unix:// address, with the password if there is one.
        ttl_s: Seconds an entry lives, rounded to milliseconds.
        timeout_s: Budget of one operation, in seconds.
        clock: Monotonic seconds.
        prefix: Put before every key, so that the database may be shared.
        probe_every_s: Seconds between two probes of a Redis that failed.

    Raises:
        ValueError: The address cannot be understood.
    """

    def __init__(  # noqa: PLR0913 (four of them are keyword-only or have defaults)
        self,
        url: str,
        ttl_s: float,
        timeout_s: float = 0.05,
        *,
        clock: Clock,
        prefix: str = "entroute:",
        probe_every_s: float = 1.0,
    ) -> None:
        self._ttl_ms = max(1, round(ttl_s * 1000))
        self._prefix = prefix
        self._redis = BudgetedRedis(url, timeout_s, clock, probe_every_s)

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
        """Let go of connections."""
        await self._redis.close()

    async def _ask(self, ask: Callable[[Redis], Awaitable[Any]]) -> Any:
        try:
            return await self._redis.ask(ask)
        except RedisUnavailable as error:
            raise CacheUnavailable(str(error)) from error
