"""A journal in a Redis stream, for servers without vector sets: Redis 5 and later, Valkey.

One stream a scope. A look-up reads what came since the last one, in one round trip; the server
keeps about the newest `max_entries` and forgets a scope that nobody adds to.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from redis.asyncio import Redis

from entroute.cache.semantic.local import Entry
from entroute.errors import StoreUnavailable
from entroute.redis_link.budgeted import BudgetedRedis, RedisUnavailable

PREFIX = "entroute:semantic:"

AT_ONCE = 256
"""Entries read at once, half a megabyte: a gateway that comes late catches up in a few look-ups."""

_WRITE = """
local id = redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*',
                      'key', ARGV[3], 'text', ARGV[4], 'vector', ARGV[5])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return id
"""


class StreamJournal:
    """A `Journal` in Redis.

    Args:
        redis: Asked within its budget.
        max_entries: Entries of a scope that are kept, about.
        ttl_s: Seconds a scope is kept after its last entry.
        dimensions: Numbers in a vector.
    """

    def __init__(
        self, redis: BudgetedRedis, max_entries: int, ttl_s: float, dimensions: int
    ) -> None:
        self._redis = redis
        self._max_entries = max_entries
        self._ttl_ms = max(1, round(ttl_s * 1000))
        self._dimensions = dimensions

    async def read(self, scope: str, after: str) -> tuple[Sequence[Entry], str]:
        """Return entries written after a mark and the mark of the last."""
        start = f"({after}" if after else "-"
        found = await self._ask(lambda redis: redis.xrange(_key(scope), min=start, count=AT_ONCE))
        entries = [entry for _, fields in found if (entry := self._entry(fields)) is not None]
        return entries, found[-1][0].decode() if found else after

    async def write(self, scope: str, entry: Entry) -> None:
        """Write an entry for all gateways."""
        vector = entry.vector.astype("<f2").tobytes()
        arguments = (self._max_entries, self._ttl_ms, entry.key, entry.text.encode(), vector)
        await self._ask(lambda redis: redis.eval(_WRITE, 1, _key(scope), *arguments))

    def _entry(self, fields: Mapping[bytes, bytes]) -> Entry | None:
        """Return what was written, None when it is something else."""
        import numpy as np  # noqa: PLC0415 - the extra `semantic` is optional

        try:
            vector = np.frombuffer(fields[b"vector"], "<f2").astype(np.float32)
            key, text = fields[b"key"].decode(), fields[b"text"].decode()
        except (KeyError, ValueError):
            return None
        return Entry(key, text, vector) if vector.shape == (self._dimensions,) else None

    async def _ask(self, ask: Callable[[Redis], Awaitable[Any]]) -> Any:
        try:
            return await self._redis.ask(ask)
        except RedisUnavailable as error:
            raise StoreUnavailable(str(error)) from error


def _key(scope: str) -> str:
    return f"{PREFIX}{scope}"
