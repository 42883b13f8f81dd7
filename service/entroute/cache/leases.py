"""One gateway at a time makes an answer: who begins it holds a lease on its key, others wait.

A lease is a random token that lives for `LEASE_S` and is renewed while its holder works. It ends
in one of three ways: dropped, when the answer is kept or its client left; replaced by a mark,
when there is nothing to wait for; or by itself, when its holder died. Whoever waits looks at the
lease, not at the answer, so that waiting for a large answer costs as little as for a small one.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Literal

from entroute.errors import StoreUnavailable
from entroute.protocols import Clock
from entroute.stores import Store

LEASE_S = 10.0
"""Seconds after which the answer of a gateway that died is begun by another."""

MARK_S = 2.0
"""Seconds for which followers learn that an answer was not kept: eight of the longest pauses."""

End = Literal["free", "not_kept", "late"]
"""How waiting ends: it may be kept or begun, there is nothing to wait for, or time is up."""

_NOT_KEPT = b"not kept"
_PAUSES_S = (0.02, 0.25)
"""Shortest and longest pause between two looks at a lease, in seconds."""
_GROWTH = 1.5


@dataclass(slots=True)
class Lease:
    """The right to make one answer.

    Attributes:
        key: Of the lease.
        token: Tells its holder from all others.
        marks: Whether its end leaves a mark: there is nothing to wait for.
        failures: How often the store could not renew or end it.
    """

    key: str
    token: bytes
    marks: bool = True
    failures: int = 0


class Leases:
    """Leases in a store that several gateways share.

    Args:
        store: Holds them.
        follow_s: Most seconds to wait for another gateway.
        token: Makes a new token, different from every other.
        clock: Monotonic seconds.
        lease_s: Seconds a lease lives unless renewed.
    """

    def __init__(
        self,
        store: Store,
        follow_s: float,
        token: Callable[[], bytes],
        clock: Clock,
        lease_s: float = LEASE_S,
    ) -> None:
        self.follow_s = follow_s
        self._store = store
        self._token = token
        self._clock = clock
        self._lease_s = lease_s

    async def claim(self, digest: str) -> Lease | None:
        """Return the lease on an answer, None where it has a holder or a mark.

        Raises:
            StoreUnavailable: The store cannot answer; so does `ended`.
        """
        lease = Lease(f"lease:{digest}", self._token())
        try:
            claimed = await self._store.claim(lease.key, lease.token, self._lease_s)
        except asyncio.CancelledError:
            lease.marks = False
            await self.end(lease)  # the store may have granted it all the same
            raise
        return lease if claimed else None

    async def ended(self, digest: str, until: float) -> End:
        """Wait until nobody makes an answer any more, `until` (monotonic s) at the latest."""
        pause, longest = _PAUSES_S
        while self._clock() < until:
            held = await self._store.get(f"lease:{digest}")
            if held is None:
                return "free"
            if held == _NOT_KEPT:
                return "not_kept"
            await asyncio.sleep(min(pause, max(0.0, until - self._clock())))
            pause = min(pause * _GROWTH, longest)
        return "late"

    @asynccontextmanager
    async def held(self, lease: Lease) -> AsyncIterator[None]:
        """Keep a lease while the block runs, then end it so that nobody waits in vain."""
        renewing = asyncio.create_task(self._renew(lease), name="entroute-lease")
        try:
            yield
        except (asyncio.CancelledError, GeneratorExit):
            lease.marks = False  # nothing is wrong with the answer: one follower begins it again
            raise
        finally:
            renewing.cancel()
            await asyncio.wait([renewing])
            await self.end(lease)

    async def end(self, lease: Lease) -> None:
        """Drop a lease, or put a mark in its place; a store that fails leaves it to its life."""
        try:
            if not lease.marks:
                await self._store.release(lease.key, lease.token)
            elif await self._store.extend(lease.key, lease.token, MARK_S):
                await self._store.put(lease.key, _NOT_KEPT, MARK_S)
        except StoreUnavailable:
            lease.failures += 1

    async def _renew(self, lease: Lease) -> None:
        while True:
            await asyncio.sleep(self._lease_s / 3)
            try:
                if not await self._store.extend(lease.key, lease.token, self._lease_s):
                    return  # it ran out while the store was away; another gateway has begun
            except StoreUnavailable:
                lease.failures += 1
