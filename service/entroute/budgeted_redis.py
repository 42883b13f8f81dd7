"""A Redis that costs next to nothing while it is down or slow: one budget a call, then a pause."""

import asyncio
from collections.abc import Awaitable, Callable
from math import inf
from typing import Annotated, Any

from pydantic import AfterValidator, Field, SecretStr
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from entroute.errors import EntrouteError

MAX_CONNECTIONS = 64
"""Connections of one client; a call that finds none free waits within its own budget."""


class RedisUnavailable(EntrouteError):
    """Redis failed, was too slow, refused, or failed a moment ago."""


class BudgetedRedis:
    """Asks a Redis within a budget.

    Every call has one budget for all it does: waiting for a connection, connecting, asking. After
    a failure calls fail at once for `probe_every_s`, then one call probes, for ever.

    Args:
        url: redis://, rediss:// or unix:// address, with the password if there is one.
        timeout_s: Budget of one call, in seconds.
        clock: Monotonic seconds.
        probe_every_s: Seconds between two probes of a Redis that failed.

    Raises:
        ValueError: The address cannot be understood.
    """

    def __init__(
        self,
        url: str,
        timeout_s: float,
        clock: Callable[[], float],
        probe_every_s: float = 1.0,
    ) -> None:
        self._timeout_s = timeout_s
        self._clock = clock
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
                # A second try would cost a second budget: the next call is the retry.
                retry=Retry(NoBackoff(), 0),
                protocol=2,
            )
        )

    async def ask(self, ask: Callable[[Redis], Awaitable[Any]]) -> Any:
        """Return what Redis answers.

        Raises:
            RedisUnavailable: It did not, in time.
        """
        self._admit()
        try:
            async with asyncio.timeout(self._timeout_s):
                answer = await ask(self._redis)
        except ResponseError as error:  # Redis is there and says no: no reason to leave it alone
            self._failing = False
            raise RedisUnavailable(f"redis refused: {error}") from error
        except (RedisError, OSError, TimeoutError) as error:
            self._failing = True
            self._ask_from = self._clock() + self._probe_every_s
            raise RedisUnavailable(f"redis failed: {type(error).__name__}: {error}") from error
        self._failing = False
        return answer

    async def close(self) -> None:
        """Let go of connections."""
        await self._redis.aclose()

    def _admit(self) -> None:
        """Let every call pass while Redis answers, else one call a `probe_every_s`."""
        if not self._failing:
            return
        now = self._clock()
        if now < self._ask_from:
            raise RedisUnavailable("redis failed a moment ago; it will be asked again")
        self._ask_from = now + self._probe_every_s


def _understood(url: SecretStr) -> SecretStr:
    """Return an address that Redis clients understand.

    Raises:
        ValueError: They do not; the message never quotes it.
    """
    try:
        # Makes a connection object, unconnected: it refuses unknown settings in the query.
        pool = BlockingConnectionPool.from_url(url.get_secret_value())
        pool.make_connection()  # type: ignore[no-untyped-call]
    except (ValueError, TypeError):
        # Not chained and not quoted: the parser's words may hold the password.
        raise ValueError(
            "not a Redis address, or its query names an unknown setting; write "
            "redis://HOST:PORT/DB, rediss://HOST:PORT/DB or unix:///PATH"
        ) from None
    return url


RedisUrl = Annotated[
    SecretStr,
    AfterValidator(_understood),
    Field(
        description="Address: redis://, rediss:// (TLS) or unix://; it may hold a password, so "
        "give it in the environment."
    ),
]
"""A Redis address in the configuration."""
