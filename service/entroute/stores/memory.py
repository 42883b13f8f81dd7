"""Shared state of one process: least recently used out first, bounded in bytes and in age."""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from entroute.errors import WrongKind

LARGEST_SHARE = 8
"""An entry larger than this fraction (1/8) of the store would push out too many others."""


@dataclass(slots=True)
class _Entry:
    expires: float
    held: bytes | dict[str, bytes]

    def size(self, key: str) -> int:
        if isinstance(self.held, bytes):
            return len(key) + len(self.held)
        return len(key) + sum(len(name) + len(value) for name, value in self.held.items())


class MemoryStore:
    """A `Store` in this process.

    Args:
        max_bytes: Bound on the sum of keys, field names and values, in bytes; an entry of more
            than an eighth of it is not kept.
        clock: Monotonic seconds.
    """

    def __init__(self, max_bytes: int, clock: Callable[[], float]) -> None:
        self._max_bytes = max_bytes
        self._clock = clock
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._bytes = 0

    @property
    def size_bytes(self) -> int:
        """Bytes held now, at most `max_bytes`."""
        return self._bytes

    async def get(self, key: str) -> bytes | None:
        """Return the value or None. See `Store.get`."""
        return self._value(key)

    async def put(self, key: str, value: bytes, ttl_s: float) -> None:
        """Store a value in place of an older one, for `ttl_s` seconds."""
        self._keep(key, value, ttl_s)

    async def delete(self, key: str) -> bool:
        """Drop a key of any kind; return whether there was one."""
        lived = self._entry(key) is not None
        self._drop(key)
        return lived

    async def claim(self, key: str, token: bytes, ttl_s: float) -> bool:
        """Store a token unless the key exists; return whether it was stored."""
        if self._entry(key) is not None:
            return False
        self._keep(key, token, ttl_s)
        return True

    async def extend(self, key: str, token: bytes, ttl_s: float) -> bool:
        """Give a claimed key a new life if it still holds this token; return whether it does."""
        if self._value(key) != token:
            return False
        self._keep(key, token, ttl_s)
        return True

    async def release(self, key: str, token: bytes) -> bool:
        """Drop a claimed key if it still holds this token; return whether it did."""
        if self._value(key) != token:
            return False
        self._drop(key)
        return True

    async def fields(self, key: str) -> Mapping[str, bytes]:
        """Return all fields of a key, none where it does not exist."""
        return dict(self._fields(key))

    async def put_fields(self, key: str, fields: Mapping[str, bytes], ttl_s: float) -> None:
        """Store fields beside those that a key has, and give all of them a new life."""
        held = {**self._fields(key), **fields}
        if held:
            self._keep(key, held, ttl_s)

    async def close(self) -> None:
        """Forget everything."""
        self._entries.clear()
        self._bytes = 0

    def _value(self, key: str) -> bytes | None:
        entry = self._entry(key)
        if entry is None:
            return None
        if isinstance(entry.held, bytes):
            return entry.held
        raise WrongKind(f"{key} holds fields, not a value")

    def _fields(self, key: str) -> Mapping[str, bytes]:
        entry = self._entry(key)
        if entry is None:
            return {}
        if isinstance(entry.held, bytes):
            raise WrongKind(f"{key} holds a value, not fields")
        return entry.held

    def _entry(self, key: str) -> _Entry | None:
        entry = self._entries.get(key)
        if entry is None:
            return None
        if self._clock() >= entry.expires:
            self._drop(key)
            return None
        self._entries.move_to_end(key)
        return entry

    def _keep(self, key: str, held: bytes | dict[str, bytes], ttl_s: float) -> None:
        self._drop(key)
        entry = _Entry(self._clock() + ttl_s, held)
        size = entry.size(key)
        if size > self._max_bytes / LARGEST_SHARE:
            return
        while self._bytes + size > self._max_bytes:
            self._drop(next(iter(self._entries)))
        self._entries[key] = entry
        self._bytes += size

    def _drop(self, key: str) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._bytes -= entry.size(key)
