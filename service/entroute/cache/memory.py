"""Answers in this process: least recently used out first, bounded in bytes and in age."""

from collections import OrderedDict
from typing import NamedTuple

from entroute.cache.codec import decode, encode
from entroute.evidence import Outcome
from entroute.protocols import Clock

LARGEST_SHARE = 8
"""An entry larger than this fraction (1/8) of the store would push out too many others."""


class _Entry(NamedTuple):
    expires: float
    data: bytes


class MemoryCache:
    """A store of encoded outcomes in this process.

    Args:
        max_bytes: Bound on the sum of keys and encoded outcomes, in bytes.
        ttl_s: Seconds an entry lives.
        clock: Monotonic seconds.
    """

    def __init__(self, max_bytes: int, ttl_s: float, clock: Clock) -> None:
        self._max_bytes = max_bytes
        self._ttl_s = ttl_s
        self._clock = clock
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._bytes = 0

    @property
    def size_bytes(self) -> int:
        """Bytes held now, keys and encoded outcomes, at most `max_bytes`."""
        return self._bytes

    async def get(self, key: str) -> Outcome | None:
        """Return the stored outcome or None."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        outcome = decode(entry.data) if self._clock() < entry.expires else None
        if outcome is None:
            self._drop(key)
            return None
        self._entries.move_to_end(key)
        return outcome

    async def put(self, key: str, outcome: Outcome) -> None:
        """Store an outcome in place of an older one, unless it is too large to keep."""
        self._drop(key)
        data = encode(outcome)
        size = _size(key, data)
        if size > self._max_bytes / LARGEST_SHARE:
            return
        while self._bytes + size > self._max_bytes:
            self._drop(next(iter(self._entries)))
        self._entries[key] = _Entry(self._clock() + self._ttl_s, data)
        self._bytes += size

    async def close(self) -> None:
        """Forget everything."""
        self._entries.clear()
        self._bytes = 0

    def _drop(self, key: str) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._bytes -= _size(key, entry.data)


def _size(key: str, data: bytes) -> int:
    return len(key.encode()) + len(data)
