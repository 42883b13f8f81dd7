"""Steps 1 and 5 of the walk: answer from the cache, join who asks the same, or spend and remember.

Why not part of the stores: they only get and put; what may be looked up, shared and kept is here.
"""

from collections.abc import Callable, Sequence
from contextlib import aclosing

from entroute.cache.key import cache_key, cacheable, reads, worth_storing
from entroute.cache.singleflight import Flights
from entroute.errors import BudgetExhausted, CacheUnavailable, DeadlineExceeded
from entroute.evidence import Outcome, Trace
from entroute.protocols import Cache, Clock, OutcomeStream
from entroute.types import ChatRequest, Options, Principal


class Seen:
    """Answers that are kept, and answers that are being made.

    Args:
        cache: The store, None for no cache.
        models: Returns every model that may answer.
        fingerprint: Names what is configured and can change an answer.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        cache: Cache | None,
        models: Callable[[], Sequence[str]],
        fingerprint: str,
        clock: Clock,
    ) -> None:
        self._cache = cache
        self._models = models
        self._fingerprint = fingerprint
        self._clock = clock
        self._flights = Flights()

    async def stream(
        self,
        request: ChatRequest,
        options: Options,
        principal: Principal,
        trace: Trace,
        spend: Callable[[], OutcomeStream],
    ) -> OutcomeStream:
        """Yield the kept answer alone, or what `spend` makes, for this request or a twin of it."""
        cache = self._cache
        if cache is None or not cacheable(request, options):
            trace.cache = "bypass"
            source = spend()
        else:
            key = cache_key(
                request, options, principal, models=self._models(), fingerprint=self._fingerprint
            )
            trace.cache = "miss"
            stored = await _get(cache, key, trace) if reads(options) else None
            if stored is not None:
                trace.cache = "exact"
                yield stored
                return
            # A reader of a stream wants pieces, which a plain answer does not make.
            flight = f"{key} streamed" if trace.streamed else key
            leads, source = self._flights.subscribe(
                flight, lambda: _remembered(spend(), cache, key, trace)
            )
            if not leads:
                trace.cache, trace.shared = "exact", True
                source = self._followed(source, trace, spend)
        async with aclosing(source) as items:
            async for item in items:
                yield item

    async def _followed(
        self, source: OutcomeStream, trace: Trace, spend: Callable[[], OutcomeStream]
    ) -> OutcomeStream:
        """Read somebody else's answer; the wait is time upstream, not our own.

        Its deadline is that of who asked first. If that passes before anything was released,
        the request is answered for itself, within its own.
        """
        released = False
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
        async with aclosing(spend()) as items:
            async for item in items:
                yield item

    async def close(self) -> None:
        """Cancel the answers that are being made for several clients."""
        await self._flights.close()


async def _remembered(source: OutcomeStream, cache: Cache, key: str, trace: Trace) -> OutcomeStream:
    """Keep the outcome if it is worth it, then hand it out."""
    async with aclosing(source) as items:
        async for item in items:
            if isinstance(item, Outcome) and worth_storing(item, trace.degraded):
                await _put(cache, key, item, trace)
            yield item


async def _get(cache: Cache, key: str, trace: Trace) -> Outcome | None:
    try:
        return await cache.get(key)
    except CacheUnavailable:
        trace.degrade("cache")
        return None


async def _put(cache: Cache, key: str, outcome: Outcome, trace: Trace) -> None:
    try:
        await cache.put(key, outcome)
    except CacheUnavailable:
        trace.degrade("cache")
