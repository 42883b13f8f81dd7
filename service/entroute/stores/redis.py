"""Shared state in Redis: a Redis that is down or slow costs next to nothing."""

from collections.abc import Mapping
from typing import Any

from redis.exceptions import ResponseError

from entroute.errors import StoreUnavailable, WrongKind
from entroute.redis_link.budgeted import Ask, BudgetedRedis, RedisUnavailable

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

_PUT_FIELDS = """
if #ARGV > 1 then
  redis.call('HSET', KEYS[1], unpack(ARGV, 2))
end
return redis.call('PEXPIRE', KEYS[1], ARGV[1])
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
        name = self._prefix + key
        claimed = await self._ask(
            lambda redis: redis.set(name, token, nx=True, px=_ms(ttl_s)),
            # Granted to a caller that has left, it would be held by nobody.
            undo=lambda redis: redis.eval(_RELEASE, 1, name, token),
        )
        return bool(claimed)

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
        pairs = [part for name, value in fields.items() for part in (name.encode(), value)]
        await self._run(_PUT_FIELDS, key, _ms(ttl_s), *pairs)

    async def close(self) -> None:
        """Do nothing: the connections belong to whoever made them."""

    async def _run(self, script: str, key: str, *arguments: bytes | int) -> Any:
        """Run a script of a few lines; sending it whole needs no registering, nor a second trip."""
        return await self._ask(lambda redis: redis.eval(script, 1, self._prefix + key, *arguments))

    async def _ask(self, ask: Ask, undo: Ask | None = None) -> Any:
        try:
            return await self._redis.ask(ask, undo)
        except RedisUnavailable as error:
            reason = error.__cause__
            if isinstance(reason, ResponseError) and "WRONGTYPE" in str(reason):
                raise WrongKind(str(error)) from error
            raise StoreUnavailable(str(error)) from error


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))
