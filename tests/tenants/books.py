"""Books, gateways and requests for tests of limits."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from entroute.errors import RateLimitExceeded, StoreUnavailable
from entroute.evidence import Trace
from entroute.spending import Charge, RateLimits, Usage
from entroute.tenants.estimates import Demand
from entroute.tenants.leases import Granted, Leases, Report
from entroute.tenants.limiter import Limiter, WhenUnavailable
from entroute.tenants.limits_memory import MemoryLeases
from entroute.types import Principal

START_S = 1_795_000_020.0
"""Unix seconds of a test's begin: 2026-11-18 11:07:00 UTC, the begin of a minute."""

SMALL = Demand(10, 16)

PATIENCE = 6
"""Reports in a row of one gateway that may fail."""


class Time:
    """One clock for all, moved by hand."""

    def __init__(self, start_s: float = START_S) -> None:
        self.now = start_s

    def wall(self) -> float:
        """Return Unix seconds."""
        return self.now

    def monotonic(self) -> float:
        """Return seconds since some time in the past."""
        return self.now - START_S + 50.0


class FlakyLeases:
    """Books that sometimes fail: before a report arrives, or after, as a lost answer.

    Args:
        books: Where reports arrive that do.
        fates: What becomes of each report in turn: ok, lost (never arrives), deaf (arrives, the
            answer does not), late (arrives after the next one). Then all are ok, and so is the
            one after `PATIENCE` of a gateway that failed: longer, and its lease would lapse.
    """

    def __init__(self, books: Leases, fates: Iterable[str] = ()) -> None:
        self.fates = list(fates)
        self.down = False
        self.asked = 0
        self.books = books
        self._failed: Counter[str] = Counter()
        self._late: list[tuple[str, Report]] = []

    async def exchange(self, key: str, report: Report) -> Granted:
        """Pass a report on, or fail."""
        self.asked += 1
        await asyncio.sleep(0)  # as long as others need to come and wait
        fate = "lost" if self.down else self._fate(report.member)
        if fate == "late":
            self._late.append((key, report))
        if fate in {"lost", "late"}:
            raise StoreUnavailable(fate)
        granted = await self.books.exchange(key, report)
        late, self._late = self._late, []
        for delayed in late:
            with suppress(StoreUnavailable):
                await self.books.exchange(*delayed)
        if fate == "deaf":
            raise StoreUnavailable(fate)
        return granted

    def _fate(self, member: str) -> str:
        fate = self.fates.pop(0) if self.fates else "ok"
        if self._failed[member] == PATIENCE:
            fate = "ok"
        self._failed[member] = 0 if fate == "ok" else self._failed[member] + 1
        return fate


class SlowLeases:
    """Books that answer when they are told to.

    Args:
        books: What answers then.
    """

    def __init__(self, books: Leases) -> None:
        self.answer = asyncio.Event()
        self.asked = asyncio.Event()
        self._books = books

    async def exchange(self, key: str, report: Report) -> Granted:
        """Wait, after the report has arrived."""
        granted = await self._books.exchange(key, report)
        self.asked.set()
        await self.answer.wait()
        return granted


def a_limiter(
    time: Time,
    leases: Leases | None = None,
    *,
    member: str = "gateway",
    when: WhenUnavailable = "open",
    expire_s: float = 900.0,
) -> Limiter:
    """Return one gateway's limiter, not started: tests say when it reports, by `close`."""
    books = leases or MemoryLeases(time.wall)
    return Limiter(books, time.monotonic, time.wall, member, when, expire_s=expire_s)


def a_key(key: str = "0123456789ab", **limits: float) -> Principal:
    """Return who a key with these limits stands for."""
    rates: Callable[..., RateLimits] = RateLimits
    return Principal("tenant", key=key, group="team", rates=rates(**limits))


async def enter(limiter: Limiter, who: Principal, demand: Demand = SMALL) -> Trace:
    """Let one request in and return its open trace."""
    trace = Trace("r", "chat", 0.0)
    trace.asked_by(who)
    await limiter.admit(who, trace, demand)
    return trace


async def admitted(limiter: Limiter, who: Principal, tries: int = 1) -> int:
    """Return how many of so many requests are let in."""
    inside = 0
    for _ in range(tries):
        with suppress(RateLimitExceeded):
            await enter(limiter, who)
            inside += 1
    return inside


def charge(tokens: int, cost_usd: float = 0.0) -> Charge:
    """Return one call's charge."""
    usage = Usage(prompt_tokens=tokens // 2, completion_tokens=tokens - tokens // 2, calls=1)
    return Charge(0, "small", "answer", usage, cost_usd)


def leave(limiter: Limiter, trace: Trace, charges: Sequence[Charge] = ()) -> None:
    """End a request that was let in."""
    trace.charges, trace.result, trace.finished = tuple(charges), "ok", 1.0
    limiter.record(trace)
