"""One key's desk at one gateway: its account, who waits for a lease, what is set aside."""

import asyncio
from collections.abc import Callable

from entroute.errors import StoreUnavailable
from entroute.spending import Charge, Reservation
from entroute.tenants.account import NO_NEED, Account, Needs
from entroute.tenants.estimates import Estimates, spent_on
from entroute.tenants.leases import Leases
from entroute.tenants.limits import NOTHING, WINDOWS, Amounts

_USED_UP_MS = 100  # for so long the books are not asked again about a limit that is used up


class Desk:
    """Talks to the books for one key, once for all requests that wait.

    Args:
        key: Its id.
        account: What is known of its limits.
        estimates: What its requests spend.
        leases: The books.
        now: Local monotonic milliseconds.

    Attributes:
        reachable: Whether the books answered last time.
        used_ms: When a request last came.
    """

    def __init__(
        self,
        key: str,
        account: Account,
        estimates: Estimates,
        leases: Leases,
        now: Callable[[], int],
    ) -> None:
        self.account = account
        self.estimates = estimates
        self.reachable = True
        self.used_ms = now()
        self._key = key
        self._leases = leases
        self._now = now
        self._lock = asyncio.Lock()
        self._waiting: dict[int, Needs] = {}
        self._talks = 0
        self._talked_ms: int | None = None
        self._numbers = 0
        self._open: dict[int, tuple[Reservation, int]] = {}

    @property
    def idle(self) -> bool:
        """Whether nobody waits here and nothing is set aside, held or unsaid."""
        account = self.account
        busy = self._open or self._waiting or account.unsaid or account.holds(self._now())
        return not busy

    async def lease(self, needs: Needs) -> bool:
        """Return whether enough is held for a request, by now or after asking the books."""
        if not self._waiting and self.account.fits(needs, self._now()):
            return True
        self._numbers += 1
        number, begun = self._numbers, self._talks
        self._waiting[number] = needs
        try:
            async with self._lock:
                # A talk that began after this request had joined has asked for it as well.
                if self._talks == begun and not self._known_used_up(needs):
                    await self._talk()
                if self._worth_another(needs):
                    await self._talk()
        finally:
            del self._waiting[number]
        return self.account.fits(needs, self._now())

    async def report(self) -> None:
        """Tell the books what was spent, and lease anew what is still wanted."""
        async with self._lock:
            await self._talk()

    def reserve(self, needs: Needs, expires_ms: int) -> Reservation:
        """Set aside what a request needs."""
        self._numbers += 1
        reservation = Reservation(self._key, self._numbers, self.account.spend(needs), needs)
        self._open[self._numbers] = (reservation, expires_ms)
        return reservation

    def charge(self, reservation: Reservation, charges: tuple[Charge, ...]) -> None:
        """Replace what was set aside by what was spent."""
        self._settle(reservation, spent_on(charges))
        self.estimates.learn(charges)

    def release(self, reservation: Reservation) -> None:
        """Give back what was set aside; nothing if that was done before."""
        if reservation.number in self._open:
            self._settle(reservation, NOTHING)

    def expire(self) -> None:
        """Drop reservations whose requests left no trace."""
        now = self._now()
        for reservation, expires in tuple(self._open.values()):
            if expires <= now:
                self._settle(reservation, NOTHING)

    def _settle(self, reservation: Reservation, actual: Amounts) -> None:
        known = self._open.pop(reservation.number, None)
        aside = NO_NEED if known is None else reservation.amounts  # it may have expired
        self.account.settle(reservation.starts, aside, actual, self._now())

    def _known_used_up(self, needs: Needs) -> bool:
        """Whether the books said a moment ago that there is nothing left."""
        now = self._now()
        fresh = self._talked_ms is not None and now - self._talked_ms < _USED_UP_MS
        return fresh and self.reachable and self.account.used_up(needs, now)

    def _worth_another(self, needs: Needs) -> bool:
        """Whether a window has just ended, or others took what was brought."""
        account, now = self.account, self._now()
        lacks = not account.fits(needs, now) and not account.used_up(needs, now)
        return self.reachable and lacks

    async def _talk(self) -> None:
        """Report, and lease what all waiting requests need."""
        self._talks += 1
        sent = self._now()
        report = self.account.report(self._needed())
        try:
            granted = await self._leases.exchange(self._key, report)
        except StoreUnavailable:
            self.account.failed()
            self.reachable = False
        except asyncio.CancelledError:
            self.account.failed()
            raise
        else:
            self.account.take(granted, sent)
            self.reachable, self._talked_ms = True, self._now()

    def _needed(self) -> Needs:
        total = [list(NOTHING) for _ in WINDOWS]
        for needs in self._waiting.values():
            for sums, amounts in zip(total, needs, strict=True):
                for place, amount in enumerate(amounts):
                    sums[place] += amount
        return tuple(tuple(sums) for sums in total)
