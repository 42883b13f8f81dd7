"""Steps 1 and 5 of the walk: answer from the cache, join who asks the same, or spend and remember.

Why not part of the stores: they only get and put; what may be looked up, shared and kept is here.
A request that misses looks for, in this order: an answer of the same meaning (`SemanticCache`), a
twin in this process (`Flights`), a twin at another gateway (`Leases`).
"""

from collections.abc import Callable, Sequence
from contextlib import aclosing

from entroute.cache.key import cache_key, cacheable, reads
from entroute.cache.making import Asked, Making
from entroute.cache.parts import CacheParts
from entroute.cache.singleflight import Flights
from entroute.errors import BudgetExhausted, DeadlineExceeded
from entroute.evidence import Outcome
from entroute.protocols import Clock, OutcomeStream


class Seen:
    """Answers that are kept, and answers that are being made.

    Args:
        parts: What keeps answers, None for no cache.
        models: Returns every model that may answer.
        fingerprint: Names what is configured and can change an answer.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        parts: CacheParts | None,
        models: Callable[[], Sequence[str]],
        fingerprint: str,
        clock: Clock,
    ) -> None:
        self._parts = parts
        self._models = models
        self._fingerprint = fingerprint
        self._clock = clock
        self._flights = Flights()

    async def stream(self, asked: Asked) -> OutcomeStream:
        """Yield the kept answer alone, or what `spend` makes, for this request or a twin of it."""
        parts = self._parts
        if parts is None or not cacheable(asked.request, asked.options, sampled=parts.sampled):
            asked.trace.cache = "bypass"
            source = asked.spend()
        else:
            asked.trace.cache = "miss"
            making = Making(parts, self._key(parts, asked), asked, self._clock)
            stored = await self._found(making) if reads(asked.options) else None
            if stored is not None:
                yield stored
                return
            source = await self._made(making)
        async with aclosing(source) as items:
            async for item in items:
                yield item

    async def close(self) -> None:
        """Cancel the answers that are being made for several clients."""
        await self._flights.close()

    async def _found(self, making: Making) -> Outcome | None:
        since = self._clock()
        stored = await making.found()
        making.asked.trace.passed("cache", since, self._clock())
        return stored

    def _key(self, parts: CacheParts, asked: Asked) -> str:
        return cache_key(
            asked.request,
            asked.options,
            asked.principal,
            models=self._models(),
            fingerprint=self._fingerprint,
            across_tenants=parts.across_tenants,
        )

    async def _made(self, making: Making) -> OutcomeStream:
        """Return what makes an answer that is not kept yet: this request or a twin of it."""
        asked = making.asked
        stamps = await making.stamped()
        if stamps is None:  # who joined could not know whether its tags were invalidated since
            return asked.spend()
        if not reads(asked.options):  # it wants an answer of its own
            return making.remembered(None)
        # A reader of a stream wants pieces, which a plain answer does not make. Stamps tell those
        # who ask after an invalidation from those who asked before.
        way = "streamed" if asked.trace.streamed else "whole"
        flight = " ".join([making.key, way, *stamps.values()])
        leads, source = self._flights.subscribe(flight, making.led)
        return source if leads else self._followed(source, asked)

    async def _followed(self, source: OutcomeStream, asked: Asked) -> OutcomeStream:
        """Read somebody else's answer; the wait is time upstream, not our own.

        Its deadline is that of who asked first. If that passes before anything was released,
        the request is answered for itself, within its own.
        """
        trace, released = asked.trace, False
        trace.cache, trace.shared = "exact", True
        try:
            async with aclosing(source) as items:
                while True:
                    since = self._clock()
                    item = await anext(items, None)
                    trace.upstream_s += self._clock() - since
                    if item is None:
                        return
                    released = True
                    yield item
        except (DeadlineExceeded, BudgetExhausted):
            if released:
                raise
        trace.cache, trace.shared = "miss", False
        async with aclosing(asked.spend()) as items:
            async for item in items:
                yield item
