"""Invalidation by tag: every tag of a tenant has a stamp, and answers carry those they had.

A stamp is a random token that is made when a tag is first used and dropped when the tag is
invalidated. An answer is good while each of its tags still has the stamp that it had before the
answer was begun; a stamp that is gone, for whatever reason, invalidates too.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import TypeVar

import orjson

from entroute.stores import Store

MAKING_S = 86_400.0
"""Seconds by which a stamp outlives an answer: more than any answer is in the making."""


T = TypeVar("T")


class Stamps:
    """Stamps of tags in a store.

    Args:
        store: Holds them, beside the answers or elsewhere.
        ttl_s: Seconds an answer is kept.
        token: Makes a new stamp, different from every other.
    """

    def __init__(self, store: Store, ttl_s: float, token: Callable[[], bytes]) -> None:
        self._store = store
        self._ttl_s = ttl_s + MAKING_S
        self._token = token

    async def of(self, tenant: str, tags: Sequence[str]) -> Mapping[str, str]:
        """Return the stamp of every tag, by its key, made where there is none.

        Raises:
            StoreUnavailable: The store cannot answer; so do all others.
        """
        keys = [_key(tenant, tag) for tag in tags]
        stamps = await _each(self._stamp(key) for key in keys)
        return dict(zip(keys, stamps, strict=True))

    async def hold(self, stamps: Mapping[str, str]) -> bool:
        """Give stamps a new life, longer than an answer's; return whether all still stand."""
        extend, ttl_s = self._store.extend, self._ttl_s
        return all(await _each(extend(key, stamp.encode(), ttl_s) for key, stamp in stamps.items()))

    async def stand(self, stamps: Mapping[str, str]) -> bool:
        """Return whether no tag was invalidated since these were its stamps."""
        now = await _each(self._store.get(key) for key in stamps)
        return all(a == b.encode() for a, b in zip(now, stamps.values(), strict=True))

    async def invalidate(self, tenant: str, tags: Sequence[str]) -> None:
        """Make every answer of the tenant's that has one of these tags a miss."""
        await _each(self._store.delete(_key(tenant, tag)) for tag in tags)

    async def _stamp(self, key: str) -> str:
        found = await self._store.get(key)
        if found is not None:
            return found.decode(errors="replace")
        made = self._token()
        if not await self._store.claim(key, made, self._ttl_s):
            # Somebody else was first; gone again by now, it is an answer that is not kept.
            made = await self._store.get(key) or b""
        return made.decode(errors="replace")


async def _each(asked: Iterable[Awaitable[T]]) -> list[T]:
    """Return all results, asked for at once; raise the first failure when all have ended."""
    results = await asyncio.gather(*asked, return_exceptions=True)
    good = [result for result in results if not isinstance(result, BaseException)]
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return good


def _key(tenant: str, tag: str) -> str:
    """Return the key of a stamp: two tenants never share one, nor can a tag be read in it."""
    return f"tag:{blake2b(orjson.dumps([tenant, tag]), digest_size=16).hexdigest()}"
