"""Answers kept by exact key, in whatever store: what is odd about an entry is a counted miss."""

from collections.abc import Mapping
from typing import Literal, get_args

from entroute.cache.codec import Entry, Flaw, decode, encode
from entroute.cache.stamps import Stamps
from entroute.errors import WrongKind
from entroute.evidence import Outcome
from entroute.stores import Store
from entroute.types import EMPTY

Discarded = Flaw | Literal["wrong_type", "invalidated", "too_large"]
"""Why an answer was not given again, or not kept."""

REASONS: tuple[str, ...] = (*get_args(Flaw), "wrong_type", "invalidated", "too_large")
"""Every reason there is."""


class AnswerCache:
    """A `Cache` over a store.

    Args:
        store: Keeps encoded answers.
        stamps: Of the answers' tags.
        ttl_s: Seconds an answer is kept.
        max_entry_bytes: Largest encoded answer that is kept.

    Attributes:
        discarded: Answers so far that were not given again or not kept, by reason.
    """

    def __init__(self, store: Store, stamps: Stamps, ttl_s: float, max_entry_bytes: int) -> None:
        self.discarded: dict[str, int] = dict.fromkeys(REASONS, 0)
        self._store = store
        self._stamps = stamps
        self._ttl_s = ttl_s
        self._max_entry_bytes = max_entry_bytes

    async def get(self, key: str) -> Outcome | None:
        """Return the stored outcome, None if there is none or it is not to be given again.

        Raises:
            StoreUnavailable: The store cannot answer within its budget; so does `put`.
        """
        found = await self._entry(key)
        if isinstance(found, Entry):
            return found.outcome
        if found is not None:
            await self._discard(key, found)
        return None

    async def put(self, key: str, outcome: Outcome, stamps: Mapping[str, str] = EMPTY) -> bool:
        """Store an outcome in place of an older one; return False if it is too large to keep."""
        data = encode(outcome, stamps)
        if len(data) > self._max_entry_bytes:
            await self._discard(key, "too_large")  # with it the older one
            return False
        await self._store.put(_place(key), data, self._ttl_s)
        return True

    async def close(self) -> None:
        """Let go of the store."""
        await self._store.close()

    async def _entry(self, key: str) -> Entry | Discarded | None:
        """Return what lies under a key, or why it is not to be given again."""
        try:
            data = await self._store.get(_place(key))
        except WrongKind:
            return "wrong_type"
        if data is None:
            return None
        entry = decode(data)
        if isinstance(entry, Entry) and not await self._stamps.stand(entry.stamps):
            return "invalidated"
        return entry

    async def _discard(self, key: str, reason: Discarded) -> None:
        """Count what lies under a key, once, and make room for what comes in its place."""
        self.discarded[reason] += 1
        await self._store.delete(_place(key))


def _place(key: str) -> str:
    return f"answer:{key}"
