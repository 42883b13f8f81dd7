"""Shared state: bytes by key, each with a life, in this process or in a Redis for all gateways.

Keys are made here of printable ASCII without spaces; a store puts its own prefix before them.
What a store cannot do in time raises `StoreUnavailable`: callers go on without.
"""

from collections.abc import Mapping
from typing import Protocol


class Store(Protocol):
    """Bytes by key, each with a life."""

    async def get(self, key: str) -> bytes | None:
        """Return the value or None.

        Raises:
            StoreUnavailable: The store cannot answer within its budget; so do all others.
        """
        ...

    async def put(self, key: str, value: bytes, ttl_s: float) -> None:
        """Store a value in place of an older one, for `ttl_s` seconds."""
        ...

    async def delete(self, key: str) -> bool:
        """Drop a key of any kind; return whether there was one."""
        ...

    async def claim(self, key: str, token: bytes, ttl_s: float) -> bool:
        """Store a token unless the key exists; return whether it was stored."""
        ...

    async def extend(self, key: str, token: bytes, ttl_s: float) -> bool:
        """Give a claimed key a new life if it still holds this token; return whether it does."""
        ...

    async def release(self, key: str, token: bytes) -> bool:
        """Drop a claimed key if it still holds this token; return whether it did."""
        ...

    async def fields(self, key: str) -> Mapping[str, bytes]:
        """Return all fields of a key, none where it does not exist."""
        ...

    async def put_fields(self, key: str, fields: Mapping[str, bytes], ttl_s: float) -> None:
        """Store fields beside those that a key has, and give all of them a new life."""
        ...

    async def close(self) -> None:
        """Let go of what is held."""
        ...
