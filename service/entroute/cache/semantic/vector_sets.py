"""An index in Redis itself, where the server has vector sets (Redis 8 and later)."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import orjson
from redis.asyncio import Redis
from redis.exceptions import NoPermissionError, ResponseError

from entroute.cache.semantic.index import Index, Neighbour
from entroute.errors import StoreUnavailable
from entroute.redis_link.budgeted import BudgetedRedis, RedisUnavailable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vector = NDArray[np.float32]

PREFIX = "entroute:semantic:v:"
"""Not the journal's: a server that gains or loses vector sets finds no key of the wrong type."""

_ADD = """
redis.call('VADD', KEYS[1], 'FP32', ARGV[5], ARGV[3], 'NOQUANT', 'SETATTR', ARGV[4])
local over = redis.call('VCARD', KEYS[1]) - tonumber(ARGV[1])
for _ = 1, over do
  local two = redis.call('VRANDMEMBER', KEYS[1], 2)
  redis.call('VREM', KEYS[1], two[1] == ARGV[3] and two[2] or two[1])
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return over
"""


class VectorSetIndex:
    """A vector set a scope: an element is an answer's key, its attributes hold the question.

    Vectors are kept whole: what 8 bits would save is little beside the answers, and every index
    decides alike.

    Args:
        redis: Asked within its budget.
        max_entries: Elements of a scope; beyond them some go, whichever.
        ttl_s: Seconds a scope is kept after its last entry.
    """

    def __init__(self, redis: BudgetedRedis, max_entries: int, ttl_s: float) -> None:
        self._redis = redis
        self._max_entries = max_entries
        self._ttl_ms = max(1, round(ttl_s * 1000))

    async def near(self, scope: str, vector: "Vector", count: int) -> Sequence[Neighbour]:
        """Return the most similar elements of a scope, the most similar first."""
        how = ("WITHSCORES", "WITHATTRIBS", "COUNT", count)
        return tuple(
            _neighbours(await self._send("VSIM", _key(scope), "FP32", _bytes(vector), *how))
        )

    async def add(self, scope: str, key: str, text: str, vector: "Vector") -> None:
        """Keep an element in place of an older one of the same name."""
        attributes = orjson.dumps({"text": text})
        arguments = (self._max_entries, self._ttl_ms, key, attributes, _bytes(vector))
        await self._send("EVAL", _ADD, 1, _key(scope), *arguments)

    async def drop(self, scope: str, key: str) -> None:
        """Remove an element whose answer is gone."""
        await self._send("VREM", _key(scope), key)

    async def close(self) -> None:
        """Do nothing: the connections belong to whoever made them."""

    async def _send(self, *command: str | bytes | int) -> Any:
        return await _asked(
            self._redis,
            lambda redis: redis.execute_command(*command),  # type: ignore[no-untyped-call]
        )


class ServerIndex:
    """Vector sets where the server has them, the other index where it does not.

    Asked once, and again after a failure: another server may have taken over.

    Args:
        redis: Asked what it can.
        vector_sets: For servers that have them.
        other: For those that do not.
    """

    def __init__(self, redis: BudgetedRedis, vector_sets: Index, other: Index) -> None:
        self._redis = redis
        self._vector_sets = vector_sets
        self._other = other
        self._chosen: Index | None = None

    async def near(self, scope: str, vector: "Vector", count: int) -> Sequence[Neighbour]:
        """Return the most similar entries of a scope, the most similar first."""
        found: Sequence[Neighbour] = await self._with(lambda i: i.near(scope, vector, count))
        return found

    async def add(self, scope: str, key: str, text: str, vector: "Vector") -> None:
        """Keep an entry in place of an older one of the same key."""
        await self._with(lambda index: index.add(scope, key, text, vector))

    async def drop(self, scope: str, key: str) -> None:
        """Forget an entry whose answer is gone."""
        await self._with(lambda index: index.drop(scope, key))

    async def close(self) -> None:
        """Close both."""
        await self._vector_sets.close()
        await self._other.close()

    async def _with(self, use: Callable[[Index], Awaitable[Any]]) -> Any:
        try:
            if self._chosen is None:
                has = await _asked(self._redis, _has_vector_sets)
                self._chosen = self._vector_sets if has else self._other
            return await use(self._chosen)
        except StoreUnavailable:
            self._chosen = None
            raise


async def _asked(redis: BudgetedRedis, ask: Callable[[Redis], Awaitable[Any]]) -> Any:
    try:
        return await redis.ask(ask)
    except RedisUnavailable as error:
        raise StoreUnavailable(str(error)) from error


async def _has_vector_sets(redis: Redis) -> bool:
    try:
        # No key of this name is ever written.
        await redis.execute_command("VCARD", _key("probe"))  # type: ignore[no-untyped-call]
    except NoPermissionError:
        return False
    except ResponseError as error:
        if "unknown command" in str(error):
            return False
        raise
    return True


def _neighbours(found: Sequence[bytes]) -> Iterator[Neighbour]:
    """Yield what a search found; an element that holds no question was written by nobody here."""
    for key, score, attributes in zip(found[::3], found[1::3], found[2::3], strict=True):
        try:
            text = orjson.loads(attributes)["text"]
        except (TypeError, ValueError, KeyError):
            continue
        # The server's score is (1 + cosine) / 2.
        yield Neighbour(key.decode(), str(text), 2 * float(score) - 1)


def _key(scope: str) -> str:
    return f"{PREFIX}{scope}"


def _bytes(vector: "Vector") -> bytes:
    return vector.astype("<f4").tobytes()
