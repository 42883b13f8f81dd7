"""Answers in Redis, shared by all gateways; a Redis that is down or slow costs next to nothing."""

import asyncio
from collections.abc import Awaitable, Callable
from math import inf
from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from entroute.cache.codec import decode, encode
from entroute.errors import CacheUnavailable
from entroute.evidence import Outcome
from entroute.protocols import Clock

MAX_CONNECTIONS = 64
"""Connections of one gateway; a call that finds none free waits within its own budget."""


class RedisCache:
    """A store of encoded outcomes in Redis.

    Every operation has one budget for all it does: waiting for a connection, connecting, asking.
    After a failure calls fail at once for `probe_every_s`, then one call probes, for ever.

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
        self._timeout_s = timeout_s
        self._clock = clock
        self._prefix = prefix
        self._probe_every_s = probe_every_s
        self._failing = False
        self._ask_from = -inf
        self._redis = Redis.from_pool(
            BlockingConnectionPool.from_url(
                url,
                max_connections=MAX_CONNECTIONS,
                timeout=timeout_s,
                socket_connect_timeout=timeout_s,
                socket_timeout=timeout_s,
                # A second try would cost a second budget: the next request is the retry.
                retry=Retry(NoBackoff(), 0),
                protocol=2,
            )
        )

    async def get(self, key: str) -> Outcome | None:
        """Return the stored outcome or None.

        Raises:
            CacheUnavailable: Redis failed, was too slow, or failed a moment ago.
        """
        data = await self._ask(lambda: self._redis.get(self._prefix + key))
        return decode(data) if isinstance(data, bytes) else None

    async def put(self, key: str, outcome: Outcome) -> None:
        """Store an outcome in place of an older one.

        Raises:
            CacheUnavailable: As `get`.
        """
        data = encode(outcome)
        await self._ask(lambda: self._redis.set(self._prefix + key, data, px=self._ttl_ms))

    async def close(self) -> None:
        """Let go of connections."""
        await self._redis.aclose()

    async def _ask(self, ask: Callable[[], Awaitable[Any]]) -> Any:
        self._admit()
        try:
            async with asyncio.timeout(self._timeout_s):
                answer = await ask()
        except ResponseError as error:  # Redis is there and says no: no reason to leave it alone
            self._failing = False
            raise CacheUnavailable(f"redis refused: {error}") from error
        except (RedisError, OSError, TimeoutError) as error:
            self._failing = True
            self._ask_from = self._clock() + self._probe_every_s
            raise CacheUnavailable(f"redis failed: {type(error).__name__}: {error}") from error
        self._failing = False
        return answer

    def _admit(self) -> None:
        """Let every call pass while Redis answers, else one call a `probe_every_s`."""
        if not self._failing:
            return
        now = self._clock()
        if now < self._ask_from:
            raise CacheUnavailable("redis failed a moment ago; it will be asked again")
        self._ask_from = now + self._probe_every_s
