"""Who waits for a place in a tier's workers, and who is next."""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from entroute.priorities import PRIORITIES, Priority, Turn, above

WEIGHTS: dict[Priority, int] = {"high": 16, "normal": 4, "low": 1}
"""Shares of the places that come free while all three wait."""


class Waiter(Protocol):
    """Somebody who waits; known by identity."""

    @property
    def turn(self) -> Turn:
        """How urgent it is, and whose."""
        ...


T = TypeVar("T", bound=Waiter)


@dataclass(slots=True)
class _Class(Generic[T]):
    """One priority: callers take turns, and each caller's calls go in their order."""

    priority: Priority
    callers: OrderedDict[str, dict[T, int]] = field(default_factory=OrderedDict)
    credit: int = 0

    def first(self, fits: Callable[[T], bool]) -> T | None:
        calls = (waiter for waiting in self.callers.values() for waiter in waiting)
        return next(filter(fits, calls), None)

    def newest(self) -> T:
        lasts = (next(reversed(waiting.items())) for waiting in self.callers.values())
        return max(lasts, key=lambda last: last[1])[0]


class WaitingLine(Generic[T]):
    """Three priorities, each fair to its callers.

    Of the places that come free, priorities that wait together get 16 : 4 : 1, by smooth weighted
    round robin: a higher one goes first, and the lowest gets at least one in 21, however many of
    the others come. Waiting long raises nobody: under a lasting overload all would be old, and
    priorities would mean nothing. Within a priority callers take turns, and calls of one caller
    keep their order.

    Source: smooth weighted round robin as in nginx; the call that must leave within a priority is
    the newest of whoever has most waiting, as in longest-queue drop (Suter et al. 1998).
    """

    def __init__(self) -> None:
        self._classes: dict[Priority, _Class[T]] = {p: _Class(p) for p in PRIORITIES}
        self._size = 0
        self._number = 0

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[T]:
        for each in self._classes.values():
            for waiting in each.callers.values():
                yield from waiting

    def add(self, waiter: T) -> None:
        """Let somebody wait."""
        self._number += 1
        callers = self._classes[waiter.turn.priority].callers
        callers.setdefault(waiter.turn.fair, {})[waiter] = self._number
        self._size += 1

    def remove(self, waiter: T) -> None:
        """Let somebody go; nothing where it does not wait."""
        of = self._classes[waiter.turn.priority]
        waiting = of.callers.get(waiter.turn.fair, {})
        if waiting.pop(waiter, None) is None:
            return
        self._size -= 1
        if not waiting:
            del of.callers[waiter.turn.fair]
        if not of.callers:
            of.credit = 0

    def take(self, fits: Callable[[T], bool]) -> T | None:
        """Remove and return who is next of those that fit, None where nobody does."""
        firsts = {
            priority: first
            for priority in reversed(PRIORITIES)
            if (first := self._classes[priority].first(fits)) is not None
        }
        if not firsts:
            return None
        for priority in firsts:
            self._classes[priority].credit += WEIGHTS[priority]
        chosen = max(firsts, key=lambda priority: self._classes[priority].credit)
        self._classes[chosen].credit -= sum(WEIGHTS[priority] for priority in firsts)
        waiter = firsts[chosen]
        self._classes[chosen].callers.move_to_end(waiter.turn.fair)
        self.remove(waiter)
        return waiter

    def displaced_by(self, newcomer: T) -> T | None:
        """Return who must leave for somebody who comes while there is no room, None for nobody.

        The newest of the lowest priority, if that is below the newcomer's; if it is the same, the
        newest of the caller who would still have more waiting than the newcomer's.
        """
        lowest = next((of for of in self._classes.values() if of.callers), None)
        if lowest is None or above(lowest.priority, newcomer.turn.priority):
            return None
        if above(newcomer.turn.priority, lowest.priority):
            return lowest.newest()
        own = len(lowest.callers.get(newcomer.turn.fair, ()))
        longest = max(lowest.callers.values(), key=len)
        return next(reversed(longest)) if len(longest) > own + 1 else None
