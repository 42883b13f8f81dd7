"""API keys in Redis, for all gateways: one hash, a copy of it in every gateway.

Field: the key's SHA-256; value: its record as JSON, without the hash. The field `version` changes
with every change, so that looking costs a few bytes while there is none; it is drawn by chance,
since a counter that begins again would stand where it was. One key of Redis holds it all: every
change is atomic, on a cluster too.
"""

import asyncio
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf
from typing import Any

from pydantic import TypeAdapter, ValidationError
from redis.asyncio import Redis

from entroute.errors import KeysUnavailable
from entroute.redis_link.budgeted import BudgetedRedis, RedisUnavailable
from entroute.tenants.keys import ID_DIGITS, Key, KeyCopy
from entroute.tenants.keys_held import HeldKeys
from entroute.tenants.keys_records import Digest, KeyEntry

HASH = "entroute:keys"
VERSION = b"version"

LOOK_EVERY_S = 2.0
"""Seconds between two looks at Redis."""

READ_EVERY_S = 30.0
"""Seconds after which all records are read although the version says nothing has changed."""

PATIENCE_S = 2.0
"""Seconds one look may take; nobody who brings a known key waits for it."""

_LOG = logging.getLogger("entroute.keys")
_DIGEST: TypeAdapter[str] = TypeAdapter(Digest)


@dataclass(frozen=True, slots=True)
class Records:
    """What Redis holds.

    Attributes:
        version: Differs after every change, b"" before the first.
        entries: The keys, in order of their hashes.
        garbage: Ids of records that cannot be read, or whose id another record has.
    """

    version: bytes
    entries: tuple[KeyEntry, ...]
    garbage: tuple[str, ...]


class RedisKeys(HeldKeys):
    """The keys of a Redis. While it is down, the last copy serves.

    Args:
        redis: Asked with patience, in the background.
        wait_s: Seconds that a request with an unknown key may wait for a look.
        clock: Monotonic seconds.
        again_s: Least seconds between two looks for unknown keys.
    """

    def __init__(
        self,
        redis: BudgetedRedis,
        wait_s: float,
        clock: Callable[[], float],
        again_s: float = 1.0,
    ) -> None:
        super().__init__("redis", LOOK_EVERY_S, clock)
        self._redis = redis
        self._wait_s = wait_s
        self._again_s = again_s
        self._looked_at = -inf
        self._read_at = -inf
        self._version = b""
        self._garbage: tuple[str, ...] = ()
        self._looking: asyncio.Task[None] | None = None

    async def find_again(self, digest: str) -> Key | None:
        """Look once, if that has not just been done. See `KeySource.find_again`."""
        idle = self._looking is None or self._looking.done()
        if not idle or self._clock() - self._looked_at >= self._again_s:
            await asyncio.wait({self._look_soon()}, timeout=self._wait_s)
        if self._copy is None:
            raise KeysUnavailable("The API keys cannot be read now; retry later.")
        return self.find(digest)

    async def look(self) -> None:
        """Take over what Redis has, if that has changed."""
        await asyncio.shield(self._look_soon())

    async def close(self) -> None:
        """Stop looking."""
        await super().close()
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait({self._looking})

    def _look_soon(self) -> asyncio.Task[None]:
        """Return the look that is under way, or a new one: whoever waits for it may leave."""
        if self._looking is None or self._looking.done():
            self._looked_at = self._clock()
            self._looking = asyncio.create_task(self._look())
        return self._looking

    async def _look(self) -> None:
        try:
            if not await self._changed():
                self._unchanged()
                return
            records = await read_records(self._redis)
        except RedisUnavailable as error:
            self._failed(f"auth.keys: {error}", "redis")
            return
        self._version, self._read_at = records.version, self._clock()
        self._loaded(KeyCopy.of(entry.held() for entry in records.entries))
        self._counts["garbage"] += len(records.garbage)
        if records.garbage and records.garbage != self._garbage:
            _LOG.warning("auth.keys: left out as unreadable: %s", ", ".join(records.garbage))
        self._garbage = records.garbage

    async def _changed(self) -> bool:
        if self._copy is None or self._clock() - self._read_at >= READ_EVERY_S:
            return True
        version = await self._redis.ask(_version_of)
        return bool(version != self._version)


async def read_records(redis: BudgetedRedis) -> Records:
    """Return what Redis holds; a record that cannot be read is left out.

    Raises:
        RedisUnavailable: It did not answer in time.
    """

    async def ask(client: Redis) -> Any:
        return await client.hgetall(HASH)

    found: Mapping[bytes, bytes] = await redis.ask(ask)
    return await asyncio.to_thread(_parsed, found)


async def _version_of(redis: Redis) -> bytes:
    version = await redis.hget(HASH, VERSION.decode())
    return version if isinstance(version, bytes) else b""


def _parsed(found: Mapping[bytes, bytes]) -> Records:
    entries: dict[str, KeyEntry] = {}
    garbage: list[str] = []
    for field in sorted(found.keys() - {VERSION}):
        entry = _entry(field, found[field])
        if entry is None or entry.key_id in entries:
            garbage.append(_id_of(field))
        else:
            entries[entry.key_id] = entry
    return Records(found.get(VERSION, b""), tuple(entries.values()), tuple(garbage))


def _entry(field: bytes, value: bytes) -> KeyEntry | None:
    """Return one record, None for one that cannot be read."""
    try:
        return KeyEntry.model_validate({**json.loads(value), "sha256": field.decode()})
    except (ValidationError, ValueError, TypeError, RecursionError):
        return None


def _id_of(field: bytes) -> str:
    """Return the id of a record by its field, "?" for a field that is no hash: it may be a key."""
    try:
        return _DIGEST.validate_python(field.decode())[:ID_DIGITS]
    except ValueError:
        return "?"
