"""What every key has used, a month and a day: gathered from traces, booked every second.

A batch is numbered and sent again until the book has it; a book takes a number once. So nothing is
counted twice, and what cannot be booked now waits here.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

from entroute.errors import StoreUnavailable
from entroute.evidence import Trace
from entroute.tenants.repeating import Repeating
from entroute.tenants.tallies import fields_of

_LOG = logging.getLogger(__name__)

BOOK_EVERY_S = 1.0
MOST_WAITING = 10_000
"""Keys and months that may wait for the book; what comes for others while it is full is lost."""

_AT_ONCE = 16
_LAST_TRIES = 4
_LAST_PAUSE_S = 0.4  # together longer than a link that failed is left alone

Days = Mapping[int, Mapping[str, int]]
"""By day of the month, from 1: fields as `tallies` has them."""


class UsageBook(Protocol):
    """Keeps sums a key and month."""

    async def add(self, place: "Place", batch: "Batch") -> None:
        """Add a batch unless it was added before.

        Raises:
            StoreUnavailable: It may or may not have been added; send it again.
        """
        ...

    async def read(self, place: "Place") -> Days:
        """Return the sums; raises as `add`."""
        ...


@dataclass(frozen=True, slots=True)
class Place:
    """Where a sum is kept.

    Attributes:
        key: Id of an API key, "" for requests without one.
        month: Such as 2026-11, in UTC.
    """

    key: str
    month: str


@dataclass(frozen=True, slots=True)
class Batch:
    """What is added at once.

    Attributes:
        member: Names the gateway.
        number: Higher than that of every batch that the gateway sent before.
        days: What is added.
    """

    member: str
    number: int
    days: Days


@dataclass(slots=True)
class _Waiting:
    days: dict[int, Counter[str]] = field(default_factory=dict)
    sent: Batch | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class UsageKeeper:
    """Gathers what keys use and books it beside the requests.

    Args:
        book: Where it is kept.
        wall: Seconds since the epoch.
        member: A name that no other gateway has.
        most_waiting: See `MOST_WAITING`.

    Attributes:
        lost: Requests that found no room to wait.
    """

    def __init__(
        self,
        book: UsageBook,
        wall: Callable[[], float],
        member: str,
        most_waiting: int = MOST_WAITING,
    ) -> None:
        self._book = book
        self._wall = wall
        self._member = member
        self._most_waiting = most_waiting
        self._waiting: dict[Place, _Waiting] = {}
        self._numbers = 0
        self._booking = Repeating(self.flush, BOOK_EVERY_S, "usage could not be booked")
        self.lost = 0

    async def start(self) -> None:
        """Begin to book."""
        self._booking.start()

    async def close(self) -> None:
        """Book what waits."""
        await self._booking.stop()
        await self.flush()
        for _ in range(_LAST_TRIES):
            if not self._waiting:
                return
            await asyncio.sleep(_LAST_PAUSE_S)
            await self.flush()
        if self._waiting:
            _LOG.error("usage of %d keys and months could not be booked", len(self._waiting))

    def record(self, trace: Trace) -> None:
        """Gather one finished request; those that ask for no answer are none."""
        if trace.endpoint == "other":
            return
        moment = datetime.fromtimestamp(self._wall(), UTC)
        place = Place(trace.key, f"{moment:%Y-%m}")
        waiting = self._waiting.get(place)
        if waiting is None:
            if len(self._waiting) >= self._most_waiting:
                self._lose(place)
                return
            waiting = self._waiting[place] = _Waiting()
        waiting.days.setdefault(moment.day, Counter()).update(fields_of(trace))

    def _lose(self, place: Place) -> None:
        if not self.lost:
            _LOG.error("usage of key %s is lost: too much waits for Redis", place.key)
        self.lost += 1

    async def read(self, key: str, month: str) -> Days:
        """Return what a key has used in a month, such as 2026-11: all gateways to about a second.

        Raises:
            StoreUnavailable: The book cannot be had in time.
        """
        place = Place(key, month)
        waiting = self._waiting.get(place)
        if waiting is not None:
            await self._send(place, waiting)
        return await self._book.read(place)

    async def flush(self) -> None:
        """Book what waits, as far as that is possible now."""
        some = asyncio.Semaphore(_AT_ONCE)

        async def send(place: Place, waiting: _Waiting) -> None:
            async with some:
                try:
                    await self._send(place, waiting)
                except StoreUnavailable:
                    return  # it waits

        async with asyncio.TaskGroup() as group:
            for place, waiting in self._waiting.items():
                group.create_task(send(place, waiting))

    async def _send(self, place: Place, waiting: _Waiting) -> None:
        """Book one key and month: first what may not have arrived, then what came since."""
        async with waiting.lock:
            while waiting.sent is not None or waiting.days:
                if waiting.sent is None:
                    self._numbers += 1
                    waiting.sent = Batch(self._member, self._numbers, waiting.days)
                    waiting.days = {}
                await self._book.add(place, waiting.sent)
                waiting.sent = None
            if self._waiting.get(place) is waiting:
                del self._waiting[place]
