"""A tier's queue: calls wait, bounded in number and time, until a worker has room for them."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, exp
from typing import Generic, Protocol, TypeVar

from entroute.backends.waiting import WaitingLine
from entroute.errors import CallFailed, DeadlineExceeded, Overloaded
from entroute.priorities import Turn
from entroute.protocols import Clock

_LOOK_AGAIN_S = 0.1
"""Seconds after which those who wait look again: a breaker opens its door without a word."""

_RATE_S = 10.0  # over which the rate of places that come free is averaged
_LONGEST_RETRY_S = 60.0


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """How many calls may wait for a tier, and how long.

    Attributes:
        size: Calls that wait at most, 0 or more.
        timeout_s: Seconds a call waits at most, above 0.
    """

    size: int = 1024
    timeout_s: float = 30.0


@dataclass(frozen=True, slots=True)
class Room:
    """How many calls a tier takes.

    Attributes:
        max_in_flight: Calls of this gateway that one worker is given at once, at least 1.
        queue: How many more may wait.
        clock: Monotonic seconds.
    """

    max_in_flight: int = 512
    queue: QueueLimits = QueueLimits()
    clock: Clock = time.perf_counter


class Waiting(Protocol):
    """A call that looks for a worker."""

    @property
    def deadline(self) -> float:
        """Monotonic seconds."""
        ...

    @property
    def turn(self) -> Turn:
        """How urgent it is, and whose."""
        ...

    @property
    def asked(self) -> bool:
        """Whether a worker was asked before."""
        ...


E = TypeVar("E", bound=Waiting)
E_contra = TypeVar("E_contra", bound=Waiting, contravariant=True)
M = TypeVar("M")


class Doors(Protocol[E_contra, M]):
    """The workers as a queue sees them."""

    @property
    def available(self) -> bool:
        """Whether any worker may be asked, room or not."""
        ...

    @property
    def any_room(self) -> bool:
        """Whether any worker that may be asked has room, whoever asks."""
        ...

    def room(self, errand: E_contra, /) -> Sequence[M]:
        """Return the workers that a call may go to now; none where all are full.

        Raises:
            CallFailed: No worker may be asked, room or not.
        """
        ...

    def take(self, errand: E_contra, among: Sequence[M], /) -> M:
        """Take a place in one of the workers that have room."""
        ...

    def left(self, member: M, /) -> None:
        """Give back a place that was taken and not used."""
        ...


class DrainRate:
    """Averages how many places come free a second, recent ones weighing more.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._begun = self._seen = clock()
        self._rate = 0.0

    def note(self) -> None:
        """Note that a place came free."""
        self._rate = self._decayed() + 1 / _RATE_S

    def retry_after_s(self, ahead: int) -> float:
        """Return whole seconds until so many calls have gone, in [1, 60]; 60 where none goes."""
        # A young average has seen less than its whole span.
        seen = 1 - exp(-max(1e-3, self._clock() - self._begun) / _RATE_S)
        rate = self._decayed() / seen
        wait = _LONGEST_RETRY_S if rate <= 0 else ahead / rate
        return float(min(_LONGEST_RETRY_S, max(1.0, ceil(wait))))

    def _decayed(self) -> float:
        now = self._clock()
        self._rate *= exp(-max(0.0, now - self._seen) / _RATE_S)
        self._seen = now
        return self._rate


@dataclass(slots=True, eq=False)
class _Waiter(Generic[E, M]):
    errand: E
    place: asyncio.Future[M]

    @property
    def turn(self) -> Turn:
        return self.errand.turn


class TierQueue(Generic[E, M]):
    """Where calls to one tier wait while all its workers are full.

    Each place that comes free wakes exactly one call, which has the place when it wakes.

    Args:
        tier: The tier's name.
        doors: The workers.
        limits: How many may wait, and how long.
        clock: Monotonic seconds.

    Attributes:
        limits: How many may wait, and how long, from now on.
        shed: Calls refused so far, by why: full, displaced, timeout.
    """

    def __init__(self, tier: str, doors: Doors[E, M], limits: QueueLimits, clock: Clock) -> None:
        self._tier = tier
        self._doors = doors
        self.limits = limits
        self._clock = clock
        self._line: WaitingLine[_Waiter[E, M]] = WaitingLine()
        self._rate = DrainRate(clock)
        self._timer: asyncio.TimerHandle | None = None
        self.shed: Counter[str] = Counter()
        self._older: TierQueue[E, M] | None = None
        self._newer: TierQueue[E, M] | None = None

    @property
    def waiting(self) -> int:
        """Calls that wait now."""
        return len(self._line)

    async def place(self, errand: E) -> M:
        """Return the place that a call gets, at once where there is room and nobody waits.

        Raises:
            CallFailed: No worker may be asked.
            Overloaded: Too many wait, the wait was too long, or a more urgent call came.
            DeadlineExceeded: The call's deadline passed meanwhile.
        """
        room = self._doors.room(errand)
        if room and not self._line:
            return self._doors.take(errand, room)
        since, watch, placed = self._clock(), errand.turn.watch, False
        if watch is not None:
            watch.waits(sent=errand.asked)
        try:
            member = await self._waited(errand, since)
            placed = True
        finally:
            if watch is not None:
                watch.waited(self._tier, self._clock() - since, placed=placed)
        return member

    def freed(self) -> None:
        """Note that a place came free: somebody who waits gets it."""
        self._rate.note()
        if self._older is not None and not self._older.waiting:
            self._older = None
        for queue in (self._older, self, self._newer):
            if queue is not None and queue.waiting:
                queue.serve()

    def follow(self, older: "TierQueue[E, M]") -> None:
        """Go on where another queue of the same workers lets no more in: its calls go first."""
        self.shed = older.shed
        if older.waiting:
            self._older = older
        older._newer = self  # noqa: SLF001 - of the same class

    def look(self) -> None:
        """Look at the workers anew: there may be more, or none any more for some who wait."""
        available = self._doors.available
        for waiter in list(self._line):
            if waiter.errand.asked or not available:  # others have somebody to wait for
                self._fits(waiter)
        self.serve()

    async def _waited(self, errand: E, since: float) -> M:
        waiter: _Waiter[E, M] = _Waiter(errand, asyncio.get_running_loop().create_future())
        self._let_in(waiter)
        seconds = min(self.limits.timeout_s, errand.deadline - since)
        place = waiter.place
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                return await place
        except TimeoutError:
            if place.done() and not place.cancelled():
                return place.result()  # it came in the same moment
            raise self._late(errand) from None
        except asyncio.CancelledError:
            if place.done() and not place.cancelled() and place.exception() is None:
                self._doors.left(place.result())
                self.serve()
            raise
        finally:
            self._line.remove(waiter)

    def _let_in(self, waiter: _Waiter[E, M]) -> None:
        """Let a call wait, in another one's place where there is no room.

        Raises:
            Overloaded: There is none for it.
        """
        if len(self._line) >= self.limits.size:
            loser = self._line.displaced_by(waiter)
            if loser is None:
                raise self._refused("full")
            self._fail(loser, self._refused("displaced"))
        self._line.add(waiter)
        self.serve()
        self._wind()

    def serve(self) -> None:
        """Give the places there are to those who are next."""
        while self._doors.any_room and (waiter := self._line.take(self._fits)) is not None:
            errand = waiter.errand
            waiter.place.set_result(self._doors.take(errand, self._doors.room(errand)))

    def _fits(self, waiter: _Waiter[E, M]) -> bool:
        """Whether there is room for a call now; one that nobody can answer any more fails."""
        if waiter.place.done():
            return False  # its client left, or its worker: it is about to leave
        try:
            return bool(self._doors.room(waiter.errand))
        except CallFailed as error:
            waiter.place.set_exception(error)
            return False

    def _fail(self, waiter: _Waiter[E, M], error: Exception) -> None:
        self._line.remove(waiter)
        if not waiter.place.done():
            waiter.place.set_exception(error)

    def _refused(self, why: str) -> Overloaded:
        self.shed[why] += 1
        wait = self._rate.retry_after_s(len(self._line) + 1)
        return Overloaded(f"the queue of tier '{self._tier}': {why}", retry_after_s=wait)

    def _late(self, errand: E) -> Exception:
        if self._clock() >= errand.deadline:
            return DeadlineExceeded(f"the deadline passed in the queue of tier '{self._tier}'")
        return self._refused("timeout")

    def _wind(self) -> None:
        """Look again in a while, as long as anybody waits."""
        if self._timer is None and self._line:
            self._timer = asyncio.get_running_loop().call_later(_LOOK_AGAIN_S, self._rung)

    def _rung(self) -> None:
        self._timer = None
        self.look()
        self._wind()
