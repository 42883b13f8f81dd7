"""One key's limits as one gateway sees them: what it may still spend without asking anybody.

Local times are monotonic milliseconds; the books' time is guessed from the last answer, never too
early, so that a slice is not used after its window.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from entroute.tenants.leases import LEASE_MS, Grant, Granted, Report, Share
from entroute.tenants.limits import (
    DIMENSIONS,
    NOTHING,
    UNLIMITED,
    WINDOWS,
    Amounts,
    window_at,
)

_MARGIN_MS = 1_000  # a slice ends here before its lease ends in the books
_AHEAD = 2  # reports that a slice should last

Needs = tuple[Amounts, ...]
"""By window, what is asked of it."""

NO_NEED: Needs = (NOTHING,) * len(WINDOWS)


@dataclass(slots=True)
class Slice:
    """One window.

    Attributes:
        start: Begin of the window, ms since the epoch; 0 before any.
        end: End, likewise.
        spent: What this gateway has spent in it, reservations included.
        caps: What it may have spent in all.
        others: What other gateways have spent, as last heard.
        debt: Spent beyond reservations of an earlier window, to be charged to the next one.
        mark: `spent` at the last regular report.
        pace: What was spent between the two reports before.
    """

    start: int = 0
    end: int = 0
    spent: list[int] = field(default_factory=lambda: list(NOTHING))
    caps: list[int] = field(default_factory=lambda: list(NOTHING))
    others: Amounts = NOTHING
    debt: list[int] = field(default_factory=lambda: list(NOTHING))
    mark: list[int] = field(default_factory=lambda: list(NOTHING))
    pace: list[int] = field(default_factory=lambda: list(NOTHING))

    def begin(self, start: int, end: int) -> None:
        """Go on in a new window: what is owed is spent in it already."""
        self.start, self.end = start, end
        self.spent, self.debt = self.debt, list(NOTHING)
        self.caps, self.mark = list(NOTHING), list(NOTHING)
        self.others = NOTHING

    def want(self) -> Amounts:
        """Return what the next seconds will spend at this pace; it doubles as the pace does."""
        return tuple(
            _AHEAD * max(pace, now - mark)
            for pace, now, mark in zip(self.pace, self.spent, self.mark, strict=True)
        )


@dataclass(frozen=True, slots=True)
class Standing:
    """One limit and what is used of it.

    Attributes:
        window: Which window's.
        dimension: Which amount's.
        limit: Amount that is allowed.
        used: Amount that is spent or reserved, as far as this gateway knows.
        need: Amount that is asked for.
        wait_ms: Milliseconds to the window's end.
    """

    window: int
    dimension: int
    limit: int
    used: int
    need: int
    wait_ms: int

    @property
    def exceeded(self) -> bool:
        """Whether there is no room, even if nobody else held a slice."""
        return self.used + self.need > self.limit

    @property
    def left(self) -> int:
        """What is not used, at least 0."""
        return max(0, self.limit - self.used)


class Account:
    """What a gateway knows of one key.

    Args:
        member: Names the gateway's line in the books.
        limits: Of the key, by window.
        offset_ms: The epoch's time less the local one, a first guess.
    """

    def __init__(self, member: str, limits: Needs, offset_ms: int) -> None:
        self.limits = limits
        self.slices = tuple(Slice() for _ in WINDOWS)
        self._member = member
        self._number = 0
        self._offset_ms = offset_ms
        self._lapses_ms = 0
        self._unsaid = False

    @property
    def unsaid(self) -> bool:
        """Whether the books have not heard of everything yet."""
        return self._unsaid

    def holds(self, now_ms: int) -> bool:
        """Return whether a slice is left that others could use."""
        return now_ms < self._lapses_ms and any(
            limit != UNLIMITED and cap > spent
            for limits, part in zip(self.limits, self.slices, strict=True)
            for limit, cap, spent in zip(limits, part.caps, part.spent, strict=True)
        )

    def capped(self, needs: Needs) -> Needs:
        """Return needs cut to the limits, so that a large request can be let in at all."""
        return tuple(
            tuple(
                need if limit == UNLIMITED else min(need, limit)
                for need, limit in zip(wanted, limits, strict=True)
            )
            for wanted, limits in zip(needs, self.limits, strict=True)
        )

    def fits(self, needs: Needs, now_ms: int) -> bool:
        """Return whether the slices that are held have room."""
        if now_ms >= self._lapses_ms:
            return False
        now = now_ms + self._offset_ms
        return all(
            all(limit == UNLIMITED for limit in limits)
            or (now < part.end and _room(limits, part.spent, wanted, part.caps))
            for limits, part, wanted in zip(self.limits, self.slices, needs, strict=True)
        )

    def fits_alone(self, needs: Needs, now_ms: int) -> bool:
        """Return whether the whole limits have room, as if what was last heard were all there is.

        What a gateway goes by while the books cannot be had.
        """
        self._roll(now_ms)
        return not self.used_up(needs, now_ms)

    def used_up(self, needs: Needs, now_ms: int) -> bool:
        """Return whether a limit has no room for these needs, by what is known here."""
        return any(each.exceeded for each in self.standing(needs, now_ms))

    def standing(self, needs: Needs, now_ms: int) -> tuple[Standing, ...]:
        """Return every limit, the minute's first."""
        now = now_ms + self._offset_ms
        found: list[Standing] = []
        for kind, (limits, part) in enumerate(zip(self.limits, self.slices, strict=True)):
            current = now < part.end
            end = part.end if current else window_at(kind, now)[1]
            for place, limit in enumerate(limits):
                used = part.spent[place] + part.others[place] if current else part.debt[place]
                if limit != UNLIMITED:
                    found.append(Standing(kind, place, limit, used, needs[kind][place], end - now))
        return tuple(found)

    def spend(self, needs: Needs) -> tuple[int, ...]:
        """Set amounts aside; return the begin of the windows that they are taken from."""
        for part, wanted in zip(self.slices, needs, strict=True):
            for place in range(len(DIMENSIONS)):
                part.spent[place] += wanted[place]
        self._unsaid = True
        return tuple(part.start for part in self.slices)

    def settle(self, starts: Sequence[int], reserved: Needs, actual: Amounts, now_ms: int) -> None:
        """Charge what a request spent in place of what was set aside for it.

        A window that has ended keeps the reservation; only what exceeds it is owed to the next.
        """
        now = now_ms + self._offset_ms
        for part, start, aside in zip(self.slices, starts, reserved, strict=True):
            for place in range(len(DIMENSIONS)):
                more = actual[place] - aside[place]
                if start == part.start and now < part.end:
                    part.spent[place] += more
                elif now < part.end:
                    part.spent[place] += max(0, more)
                else:
                    part.debt[place] += max(0, more)
        self._unsaid = True

    def report(self, need: Needs) -> Report:
        """Return what to tell the books; until they answer no more is held than is said here."""
        self._number += 1
        self._unsaid = False
        shares: list[Share] = []
        for limits, part, wanted in zip(self.limits, self.slices, need, strict=True):
            want = part.want()
            keep = [
                min(cap, spent + more)
                for cap, spent, more in zip(part.caps, part.spent, want, strict=True)
            ]
            part.caps = keep
            shares.append(
                Share(part.start, limits, tuple(part.spent), tuple(keep), wanted, tuple(want))
            )
        return Report(self._member, self._number, tuple(shares))

    def take(self, granted: Granted, sent_ms: int) -> None:
        """Hold what was leased by a report that was sent at a local time."""
        self._offset_ms = granted.now - sent_ms  # at the latest: it was read after that
        self._lapses_ms = sent_ms + LEASE_MS - _MARGIN_MS
        for part, grant in zip(self.slices, granted.windows, strict=True):
            _hold(part, grant)

    def failed(self) -> None:
        """Note that a report may not have arrived."""
        self._unsaid = True

    def tick(self) -> None:
        """Begin a new interval of the pace."""
        for part in self.slices:
            part.pace = [max(0, s - m) for s, m in zip(part.spent, part.mark, strict=True)]
            part.mark = list(part.spent)

    def rest(self) -> None:
        """Want nothing more: the next report gives every slice back."""
        self.tick()
        self.tick()

    def _roll(self, now_ms: int) -> None:
        """Begin the windows that are due by the clock alone."""
        now = now_ms + self._offset_ms
        for kind, part in enumerate(self.slices):
            if now >= part.end:
                part.begin(*window_at(kind, now))


def _hold(part: Slice, grant: Grant) -> None:
    if grant.start != part.start:
        part.begin(grant.start, grant.end)
    part.caps, part.others = list(grant.caps), grant.others


def _room(limits: Amounts, spent: Sequence[int], wanted: Amounts, most: Sequence[int]) -> bool:
    return all(
        limit == UNLIMITED or already + more <= cap
        for limit, already, more, cap in zip(limits, spent, wanted, most, strict=True)
    )
