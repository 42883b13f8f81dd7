"""The books of one process: leases as Redis keeps them, for a gateway that is alone."""

from collections.abc import Callable
from dataclasses import dataclass, field

from entroute.errors import StoreUnavailable
from entroute.tenants.leases import (
    FOLD_MS,
    LEASE_MS,
    Grant,
    Granted,
    Others,
    Report,
    Share,
    cap_of,
)
from entroute.tenants.limits import NOTHING, UNLIMITED, WINDOWS, Amounts, window_at


@dataclass(slots=True)
class _Member:
    number: int
    expires: int
    spent: Amounts
    caps: Amounts

    def leased(self, now: int) -> Amounts:
        if self.expires <= now:
            return NOTHING
        return tuple(max(0, cap - spent) for cap, spent in zip(self.caps, self.spent, strict=True))


@dataclass(slots=True)
class _Window:
    start: int
    folded: Amounts = NOTHING
    members: dict[str, _Member] = field(default_factory=dict)

    def fold(self, but: str, now: int) -> None:
        for name, member in tuple(self.members.items()):
            if name != but and member.expires + FOLD_MS <= now:
                self.folded = _sum(self.folded, member.spent)
                del self.members[name]

    def others(self, name: str, now: int) -> tuple[Amounts, Amounts, int]:
        spent, leased, holders = self.folded, NOTHING, 0
        for other, member in self.members.items():
            if other != name:
                held = member.leased(now)
                spent, leased = _sum(spent, member.spent), _sum(leased, held)
                holders += any(held)
        return spent, leased, holders


class MemoryLeases:
    """`Leases` in this process; forgotten when it ends.

    Args:
        wall: Seconds since the epoch.
    """

    def __init__(self, wall: Callable[[], float]) -> None:
        self._wall = wall
        self._books: dict[tuple[str, int], _Window] = {}

    async def exchange(self, key: str, report: Report) -> Granted:
        """Take a report and lease anew. See `Leases`."""
        now = round(self._wall() * 1000)
        windows = [self._window(key, kind, report.member, now) for kind in range(len(WINDOWS))]
        known = [window.members.get(report.member) for window, _, _ in windows]
        if any(member is not None and member.number >= report.number for member in known):
            raise StoreUnavailable("a later report was here before")
        return Granted(
            now,
            tuple(
                _granted(window, end, share, report, now)
                for (window, _, end), share in zip(windows, report.shares, strict=True)
            ),
        )

    def _window(self, key: str, kind: int, member: str, now: int) -> tuple[_Window, int, int]:
        """Return a window's books; a clock that went back opens no window anew."""
        held = self._books.get((key, kind))
        start, end = window_at(kind, now if held is None else max(now, held.start))
        if held is None or held.start != start:
            held = self._books[key, kind] = _Window(start)
        held.fold(member, now)
        return held, start, end


def _granted(window: _Window, end: int, share: Share, report: Report, now: int) -> Grant:
    if all(limit == UNLIMITED for limit in share.limits):
        return Grant(window.start, end, share.limits, NOTHING)
    current = share.start == window.start
    spent = share.spent if current else NOTHING
    before = window.members.get(report.member)
    held = before.caps if before is not None and before.expires > now and current else NOTHING
    used, leased, holders = window.others(report.member, now)
    caps = tuple(
        cap_of(
            limit,
            Others(used[place], leased[place], holders),
            spent[place],
            min(share.keep[place], held[place]),
            share.need[place],
            share.want[place],
        )
        for place, limit in enumerate(share.limits)
    )
    window.members[report.member] = _Member(report.number, now + LEASE_MS, spent, caps)
    return Grant(window.start, end, caps, used)


def _sum(one: Amounts, other: Amounts) -> Amounts:
    return tuple(a + b for a, b in zip(one, other, strict=True))
