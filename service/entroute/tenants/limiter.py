"""Lets requests in by their key's limits and charges what they spent.

A request is let in from the slice that this gateway holds; only when that is used up are the books
asked, once for all requests of the key that wait. What was set aside is replaced by what was spent
when the request's trace is recorded, however it ended.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Literal

from entroute.errors import LimitsUnavailable, StoreUnavailable
from entroute.evidence import Trace
from entroute.protocols import Clock
from entroute.spending import Price, RateLimits
from entroute.tenants.account import NO_NEED, Account, Needs, Standing
from entroute.tenants.desk import Desk
from entroute.tenants.estimates import Demand, Estimates
from entroute.tenants.leases import Leases
from entroute.tenants.limits import WINDOWS, limits_of
from entroute.tenants.refusals import limit_headers, refusal
from entroute.tenants.repeating import Repeating
from entroute.types import Principal

_LOG = logging.getLogger(__name__)

REPORT_EVERY_S = 1.0
_AT_ONCE = 16  # reports on their way together
_FORGET_MS = 3_600_000  # an unused account is dropped long before its line is folded

WhenUnavailable = Literal["open", "closed"]


class Limiter:
    """Keeps every key within its limits.

    Args:
        leases: The books.
        clock: Monotonic seconds.
        wall: Seconds since the epoch.
        member: A name that no other gateway has.
        when_unavailable: What to do when the books cannot be had: `open`, every gateway keeps the
            limits alone; `closed`, nothing is let in beyond the slices that are held.
        price: What a key's first request is thought to cost.
        expire_s: Seconds after which a reservation is dropped whose request left no trace.
        report_every_s: Seconds between two reports.
    """

    def __init__(  # noqa: PLR0913 - the last three are keyword-only with defaults
        self,
        leases: Leases,
        clock: Clock,
        wall: Callable[[], float],
        member: str,
        when_unavailable: WhenUnavailable = "open",
        *,
        price: Price | None = None,
        expire_s: float = 900.0,
        report_every_s: float = REPORT_EVERY_S,
    ) -> None:
        self._leases = leases
        self._clock = clock
        self._wall = wall
        self._member = member
        self._open = when_unavailable == "open"
        self._price = price or Price()
        self._expire_ms = round(expire_s * 1000)
        self._desks: dict[str, Desk] = {}
        self._opened = 0
        self._reporting = Repeating(self.report, report_every_s, "limits could not be reported")

    @property
    def leases_held(self) -> int:
        """How many keys this gateway holds a slice of now."""
        now = self._now()
        return sum(desk.account.holds(now) for desk in self._desks.values())

    def follow(self, price: Price, expire_s: float) -> None:
        """Take another price and time of reservations for keys that are not known yet."""
        self._price, self._expire_ms = price, round(expire_s * 1000)

    async def start(self) -> None:
        """Begin to report."""
        self._reporting.start()

    async def close(self) -> None:
        """Report what is unsaid and give every slice back."""
        await self._reporting.stop()
        for desk in self._desks.values():
            desk.account.rest()
        await self._report_all()

    async def admit(self, principal: Principal, trace: Trace, demand: Demand) -> None:
        """Let a request in; what is set aside for it is in `trace.reservation`.

        Raises:
            RateLimitExceeded: A limit of the key is used up.
            LimitsUnavailable: Nobody can say.
        """
        if principal.rates == RateLimits():
            return
        desk = self._desk(principal)
        needs = desk.account.capped((desk.estimates.amounts(demand),) * len(WINDOWS))
        if not await desk.lease(needs):
            self._without_slice(desk, needs, trace)
        trace.reservation = desk.reserve(needs, self._now() + self._expire_ms)

    def record(self, trace: Trace) -> None:
        """Charge a finished request; one that was refused before it spent anything counts not."""
        reservation = trace.reservation
        desk = None if reservation is None else self._desks.get(reservation.key)
        if reservation is None or desk is None:
            return
        if trace.result == "client_error" and not trace.charges:
            desk.release(reservation)
        else:
            desk.charge(reservation, trace.charges)

    def release(self, trace: Trace) -> None:
        """Give back what was set aside for a request whose walk never began."""
        begun = trace.open_parts or trace.finished is not None
        desk = None if trace.reservation is None else self._desks.get(trace.reservation.key)
        if trace.reservation is not None and desk is not None and not begun:
            desk.release(trace.reservation)

    def headers(self, principal: Principal) -> dict[str, str]:
        """Return OpenAI's rate-limit headers, by what is known here; none without limits."""
        if principal.rates == RateLimits():
            return {}
        return limit_headers(self._desk(principal).account.standing(NO_NEED, self._now()))

    async def standing(self, principal: Principal) -> tuple[Standing, ...]:
        """Return every limit of a key with what all gateways have used of it.

        Raises:
            StoreUnavailable: The books cannot be had in time.
        """
        if principal.rates == RateLimits():
            return ()
        desk = self._desk(principal)
        await desk.report()
        if not desk.reachable:
            raise StoreUnavailable("the limits' books cannot be had")
        return desk.account.standing(NO_NEED, self._now())

    def _desk(self, principal: Principal) -> Desk:
        desk = self._desks.get(principal.key)
        limits = limits_of(principal.rates)
        if desk is None:
            self._opened += 1
            offset = round(self._wall() * 1000) - self._now()
            account = Account(f"{self._member}-{self._opened}", limits, offset)
            estimates = Estimates(self._price)
            desk = Desk(principal.key, account, estimates, self._leases, self._now)
            self._desks[principal.key] = desk
        desk.account.limits = limits  # they may have been changed
        desk.used_ms = self._now()
        return desk

    def _without_slice(self, desk: Desk, needs: Needs, trace: Trace) -> None:
        """Let a request in that no slice has room for, or refuse it."""
        account, now = desk.account, self._now()
        if not desk.reachable:
            if not self._open:
                raise LimitsUnavailable
            trace.degrade("limits")
            if account.fits_alone(needs, now):
                return
        raise refusal(account.standing(needs, now))

    async def report(self) -> None:
        """Tell the books of every key what was spent since, and give back what is not wanted."""
        for key, desk in tuple(self._desks.items()):
            desk.account.tick()
            desk.expire()
            if desk.idle and self._now() - desk.used_ms > _FORGET_MS:
                del self._desks[key]
        await self._report_all()

    async def _report_all(self) -> None:
        now = self._now()
        some = asyncio.Semaphore(_AT_ONCE)

        async def tell(desk: Desk) -> None:
            async with some:
                await desk.report()

        async with asyncio.TaskGroup() as group:
            for desk in self._desks.values():
                if desk.account.unsaid or desk.account.holds(now):
                    group.create_task(tell(desk))

    def _now(self) -> int:
        return int(self._clock() * 1000)
