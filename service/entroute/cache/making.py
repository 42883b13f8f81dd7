"""One answer: found, waited for, or made and remembered."""

from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass

from entroute.cache.key import worth_storing
from entroute.cache.leases import Lease, Leases
from entroute.cache.parts import CacheParts
from entroute.errors import StoreUnavailable
from entroute.evidence import Outcome, Trace
from entroute.protocols import Clock, OutcomeStream
from entroute.types import ChatRequest, Options, Principal


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as the cache sees it.

    Attributes:
        request: What is asked.
        options: entroute's own options.
        principal: Who asks.
        trace: Opened at arrival.
        deadline: Monotonic seconds by which it must be answered.
        spend: Makes the answer.
    """

    request: ChatRequest
    options: Options
    principal: Principal
    trace: Trace
    deadline: float
    spend: Callable[[], OutcomeStream]


class Making:
    """What becomes of one request that may be answered from the cache.

    Args:
        parts: What keeps it.
        key: Under which it is kept.
        asked: Who wants it.
        clock: Monotonic seconds.

    Attributes:
        key: Under which it is kept.
        asked: Who wants it.
    """

    def __init__(self, parts: CacheParts, key: str, asked: Asked, clock: Clock) -> None:
        self.key = key
        self.asked = asked
        self._parts = parts
        self._trace = asked.trace
        self._clock = clock
        self._stamps: Mapping[str, str] = {}

    async def found(self) -> Outcome | None:
        """Return the kept answer to the same question, else to one of the same meaning."""
        asked, semantic = self.asked, self._parts.semantic
        stored = await self._stored()
        if stored is not None:
            self._trace.cache = "exact"
        elif semantic is not None:
            stored = await semantic.get(asked.request, asked.options, asked.principal, asked.trace)
            if stored is not None:
                self._trace.cache = "semantic"
        return stored

    async def stamped(self) -> Mapping[str, str] | None:
        """Return the stamps of the request's tags before the answer is begun, None if unknown."""
        tags = self.asked.options.cache_tags
        try:
            self._stamps = await self._parts.stamps.of(self.asked.principal.tenant, tags)
        except StoreUnavailable:
            self._trace.degrade("cache")
            return None
        return self._stamps

    async def led(self) -> OutcomeStream:
        """Make the answer, unless another gateway is making it and ends in time."""
        leases = self._parts.leases
        if leases is None:
            source = self.remembered(None)
        else:
            waited = await self._waited(leases)
            if isinstance(waited, Outcome):
                yield waited
                return
            source = self.remembered(None) if waited is None else self._leased(leases, waited)
        async with aclosing(source) as items:
            async for item in items:
                yield item

    async def remembered(self, lease: Lease | None) -> OutcomeStream:
        """Keep the outcome if it is worth it, then hand it out."""
        async with aclosing(self.asked.spend()) as items:
            async for item in items:
                if isinstance(item, Outcome) and await self._keep(item) and lease is not None:
                    lease.marks = False
                yield item

    async def _leased(self, leases: Leases, lease: Lease) -> OutcomeStream:
        """Make the answer for all gateways, unless it was kept just before the lease was had."""
        async with leases.held(lease):
            stored = await self._stored()
            if stored is not None:
                lease.marks = False
                self._trace.cache = "exact"
                yield stored
                return
            async with aclosing(self.remembered(lease)) as items:
                async for item in items:
                    yield item
        if lease.failures:
            self._trace.degrade("cache")

    async def _waited(self, leases: Leases) -> Lease | Outcome | None:
        """Return the lease on the answer, another gateway's answer, or None to make it alone."""
        trace, now = self._trace, self._clock()
        until = now + min(leases.follow_s, (self.asked.deadline - now) / 2)
        try:
            while True:
                lease = await leases.claim(self.key)
                if lease is not None:
                    return lease
                since = self._clock()
                end = await leases.ended(self.key, until)
                trace.upstream_s += self._clock() - since
                if end != "free":
                    trace.waited_out = end == "late"
                    return None
                stored = await self._stored()
                if stored is not None:
                    trace.cache, trace.shared = "exact", True
                    return stored
        except StoreUnavailable:
            trace.degrade("cache")
            return None

    async def _stored(self) -> Outcome | None:
        try:
            return await self._parts.answers.get(self.key)
        except StoreUnavailable:
            self._trace.degrade("cache")
            return None

    async def _keep(self, outcome: Outcome) -> bool:
        """Return whether the outcome is worth keeping and was kept."""
        asked, parts = self.asked, self._parts
        if not worth_storing(outcome, self._trace.degraded):
            return False
        try:
            if self._stamps and not await parts.stamps.hold(self._stamps):
                return False  # invalidated while it was made
            kept = await parts.answers.put(self.key, outcome, self._stamps)
        except StoreUnavailable:
            self._trace.degrade("cache")
            return False
        if kept and parts.semantic is not None:
            await parts.semantic.put(
                self.key, asked.request, asked.options, asked.principal, outcome, asked.trace
            )
        return kept
