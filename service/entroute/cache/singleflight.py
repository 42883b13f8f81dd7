"""One upstream answer for all who ask the same at the same time."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from types import TracebackType
from typing import Any

from entroute.errors import CallFailed
from entroute.evidence import Outcome
from entroute.protocols import OutcomeStream
from entroute.types import Delta

Item = Delta | Outcome


class Flights:
    """Answers being made now, by cache key."""

    def __init__(self) -> None:
        self._flights: dict[str, _Flight] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        """Count the flights that a new subscriber could still join."""
        return len(self._flights)

    def subscribe(self, key: str, start: Callable[[], OutcomeStream]) -> tuple[bool, OutcomeStream]:
        """Join the flight of `key`, or begin it.

        Args:
            key: What makes two requests the same.
            start: Makes the stream; called once a flight, in a task of its own.

        Returns:
            Whether this subscriber began the flight, and its own stream of all items from the
            first. It must be closed, read or not: when the last subscriber closes before the
            outcome, the flight is cancelled and its stream closed. What the flight raises, every
            subscriber raises.
        """
        flight = self._flights.get(key)
        leader = flight is None
        if flight is None:
            flight = self._begin(key, start)
        flight.subscribers += 1
        return leader, _Subscription(flight)

    async def close(self) -> None:
        """Cancel every flight and wait for the last to end."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _begin(self, key: str, start: Callable[[], OutcomeStream]) -> "_Flight":
        def forget() -> None:
            if self._flights.get(key) is flight:
                del self._flights[key]

        flight = _Flight(start, forget)
        self._flights[key] = flight
        # The event loop holds tasks weakly; a cancelled one must live until its stream is closed.
        self._tasks.add(flight.task)
        flight.task.add_done_callback(self._tasks.discard)
        return flight


class _Flight:
    """One background task, what it has made so far, and how many want it."""

    def __init__(self, start: Callable[[], OutcomeStream], forget: Callable[[], None]) -> None:
        self.subscribers = 0
        self._items: list[Item] = []
        self._answered = False
        self._landed = False
        self._error: BaseException | None = None
        self._news = asyncio.Event()
        self._forget = forget
        self.task = asyncio.create_task(self._fly(start), name="entroute-flight")
        self.task.add_done_callback(self._land)

    async def item(self, place: int) -> Item:
        """Return the item at `place`, from 0, waiting for it to be made.

        Raises:
            StopAsyncIteration: The flight ended before it.
            Exception: What the flight raised before it.
        """
        while place >= len(self._items):
            if self._landed:
                raise StopAsyncIteration if self._error is None else self._error
            await self._news.wait()
        return self._items[place]

    async def leave(self) -> None:
        """Count one subscriber less; cancel the task when nobody is left to read its answer."""
        self.subscribers -= 1
        if self.subscribers:
            return
        if not self._answered:
            self._forget()
            self.task.cancel()
        if not self.task.done():
            await asyncio.wait([self.task])

    async def _fly(self, start: Callable[[], OutcomeStream]) -> None:
        try:
            async with aclosing(start()) as stream:
                async for item in stream:
                    self._answered = self._answered or isinstance(item, Outcome)
                    self._items.append(item)
                    self._tell()
        finally:
            self._forget()

    def _land(self, task: asyncio.Task[None]) -> None:
        # Also reached by a task that was cancelled before its first step, where `finally` is not.
        self._forget()
        self._landed = True
        if task.cancelled():
            self._error = CallFailed("the shared answer was cancelled; ask again")
        else:
            self._error = task.exception()
        self._tell()

    def _tell(self) -> None:
        """Wake everyone who waits now; who comes later waits for later news."""
        self._news.set()
        self._news = asyncio.Event()


class _Subscription(AsyncGenerator[Item, None]):
    """One reader's place in a flight.

    Not an async generator function: closing one of those before its first step runs none of it,
    and the reader would be counted for ever.
    """

    def __init__(self, flight: _Flight) -> None:
        self._flight = flight
        self._place = 0
        self._open = True

    async def asend(self, value: None, /) -> Item:
        """Return the next item; like a generator, end on any exception."""
        if not self._open:
            raise StopAsyncIteration
        try:
            item = await self._flight.item(self._place)
        except BaseException:
            await self.aclose()
            raise
        self._place += 1
        return item

    async def athrow(self, typ: Any, val: Any = None, tb: TracebackType | None = None, /) -> Item:
        """Leave the flight and raise what was thrown in."""
        await self.aclose()
        return await super().athrow(typ, val, tb)

    async def aclose(self) -> None:
        """Leave the flight."""
        if self._open:
            self._open = False
            await self._flight.leave()
