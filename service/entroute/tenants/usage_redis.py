"""What keys have used, in Redis: one hash a key and month, one script a batch.

A field is `day|` and a tally's field; `s|member` is the last batch of a gateway that was added.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from redis.asyncio import Redis

from entroute.errors import StoreUnavailable
from entroute.redis_link.budgeted import BudgetedRedis, RedisUnavailable
from entroute.tenants.usage import Batch, Days, Place

_KEPT_S = 400 * 86_400
"""Seconds a month is kept after the last request that it counts."""

# The number first: should a field hold garbage, the batch is not added again and again.
_ADD = """
local mark = 's|' .. ARGV[1]
if tonumber(redis.call('HGET', KEYS[1], mark) or '0') >= tonumber(ARGV[2]) then return 0 end
redis.call('HSET', KEYS[1], mark, ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[3])
for i = 4, #ARGV, 2 do redis.call('HINCRBY', KEYS[1], ARGV[i], ARGV[i + 1]) end
return 1
"""


class RedisUsage:
    """`UsageBook` in Redis.

    Args:
        redis: Asked within its budget; whoever made it closes it.
        prefix: Put before every key, so that the database may be shared.
    """

    def __init__(self, redis: BudgetedRedis, prefix: str = "entroute:usage:") -> None:
        self._redis = redis
        self._prefix = prefix

    async def add(self, place: Place, batch: Batch) -> None:
        """Add a batch unless it was added before. See `UsageBook`."""
        amounts = [
            part
            for day, fields in batch.days.items()
            for name, amount in fields.items()
            for part in (f"{day}|{name}", amount)
        ]
        arguments = (batch.member, batch.number, _KEPT_S, *amounts)
        await self._ask(lambda redis: redis.eval(_ADD, 1, self._name(place), *arguments))

    async def read(self, place: Place) -> Days:
        """Return the sums. See `UsageBook`."""
        found = await self._ask(lambda redis: redis.hgetall(self._name(place)))
        days: dict[int, dict[str, int]] = {}
        for name, amount in found.items():
            day, _, field = name.decode(errors="replace").partition("|")
            if day.isdecimal():
                with suppress(ValueError):  # somebody else's
                    days.setdefault(int(day), {})[field] = int(amount)
        return days

    def _name(self, place: Place) -> str:
        return f"{self._prefix}{{{place.key or 'anonymous'}}}:{place.month}"

    async def _ask(self, ask: Callable[[Redis], Awaitable[Any]]) -> Any:
        try:
            return await self._redis.ask(ask)
        except RedisUnavailable as error:
            raise StoreUnavailable(str(error)) from error
