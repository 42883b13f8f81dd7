"""Shared state in Redis: a Redis that is down or slow costs next to nothing."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from redis.asyncio import Redis

from entroute.budgeted_redis import BudgetedRedis, RedisUnavailable
from entroute.errors import StoreUnavailable

_EXTEND = """
if redis.call('GET', KEYS[1]) == ARGV[1] then
  return redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return 0
"""

_RELEASE = """
if redis.call('GET', KEYS[1]) == ARGV[1] then
  return redis.call('DEL', KEYS[1])
end
return 0
"""


class RedisStore:
    """A `Store` in Redis; every operation is one round trip on one key, all of it or nothing.

    Args:
        redis: Asked within its budget; whoever made it closes it.
        prefix: Put before every key, so that the database may be shared.
    """

    def __init__(self, redis: BudgetedRedis, prefix: str = "entroute:") -> None:
        self._redis = redis
        self._prefix = prefix

    async def get(self, key: str) -> bytes | None:
        """Return the value or None. See `Store.get`."""
        value = await self._ask(lambda redis: redis.get(self._prefix + key))
        return value if isinstance(value, bytes) else None

    async def put(self, key: str, value: bytes, ttl_s: float) -> None:
        """Store a value in place of an older one, for `ttl_s` seconds."""
        await self._ask(lambda redis: redis.set(self._prefix + key, value, px=_ms(ttl_s)))

    async def delete(self, key: str) -> bool:
        """Drop a key of any kind; return whether there was one."""
        return bool(await self._ask(lambda redis: redis.delete(self._prefix + key)))

    async def claim(self, key: str, token: bytes, ttl_s: float) -> bool:
        """Store a token unless the key exists; return whether it was stored."""
        ask = await self._ask(
            lambda redis: redis.set(self._prefix + key, token, nx=True, px=_ms(ttl_s))
        )
        return bool(ask)

    async def extend(self, key: str, token: bytes, ttl_s: float) -> bool:
        """Give a claimed key a new life if it still holds this token; return whether it does."""
        return bool(await self._run(_EXTEND, key, token, _ms(ttl_s)))

    async def release(self, key: str, token: bytes) -> bool:
        """Drop a claimed key if it still holds this token; return whether it did."""
        return bool(await self._run(_RELEASE, key, token))

    async def fields(self, key: str) -> Mapping[str, bytes]:
        """Return all fields of a key, none where it does not exist."""
        found: Mapping[bytes, bytes] = await self._ask(
            lambda redis: redis.hgetall(self._prefix + key)
        )
        return {name.decode(errors="replace"): value for name, value in found.items()}

    async def put_fields(self, key: str, fields: Mapping[str, bytes], ttl_s: float) -> None:
        """Store fields beside those that a key has, and give all of them a new life."""

        async def ask(redis: Redis) -> None:
            async with redis.pipeline(transaction=True) as pipe:
                values: dict[Any, Any] = {**fields}
                pipe.hset(self._prefix + key, mapping=values)
                pipe.pexpire(self._prefix + key, _ms(ttl_s))
                await pipe.execute()

        await self._ask(ask)

    async def close(self) -> None:
        """Do nothing: the connections belong to whoever made them."""

    async def _run(self, script: str, key: str, *arguments: bytes | int) -> Any:
        """Run a script of a few lines; sending it whole needs no registering, nor a second trip."""
        return await self._ask(lambda redis: redis.eval(script, 1, self._prefix + key, *arguments))

    async def _ask(self, ask: Callable[[Redis], Awaitable[Any]]) -> Any:
        try:
            return await self._redis.ask(ask)
        except RedisUnavailable as error:
            raise StoreUnavailable(str(error)) from error


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))
