"""Several calls at once: their pieces in the order of arrival, each call cancellable alone."""

import asyncio
from contextlib import aclosing
from typing import Self

from entroute.calls import CallStream
from entroute.errors import CallFailed, DeadlineExceeded, WorkerRejected
from entroute.types import Completion, Delta

Failure = CallFailed | WorkerRejected | DeadlineExceeded
Arrival = Delta | Completion | Failure


class Fanout:
    """Runs call streams side by side; leaving the context cancels what still runs.

    Each stream ends with a Completion or with the error that ended it, never with both.

    Attributes:
        unread: Keys of calls that ended by themselves, but too late to be read.
    """

    def __init__(self) -> None:
        self._arrivals: asyncio.Queue[tuple[int, Arrival | None]] = asyncio.Queue()
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self.unread: set[int] = set()

    @property
    def live(self) -> int:
        """Calls that have neither ended nor been cancelled."""
        return len(self._tasks)

    def start(self, key: int, stream: CallStream) -> None:
        """Begin to read a stream; its pieces arrive under `key`."""
        task = asyncio.create_task(self._read(key, stream))
        task.add_done_callback(lambda ended: self._note_defect(key, ended))
        self._tasks[key] = task

    async def next(self) -> tuple[int, Arrival]:
        """Return the next piece of any live stream; only to be called while `live` is above 0."""
        while True:
            key, arrival = await self._arrivals.get()
            if not isinstance(arrival, Delta):
                await self._tasks.pop(key)  # where nothing arrived, this raises the defect
            if arrival is not None:
                return key, arrival

    async def ready(self) -> tuple[int, Arrival] | None:
        """Return a piece that has arrived already, None where there is none."""
        return None if self._arrivals.empty() else await self.next()

    async def cancel(self) -> int:
        """Cancel all live calls and wait until they have; return how many were really cut off."""
        tasks = self._tasks.copy()
        self._tasks.clear()
        for task in tasks.values():
            task.cancel()
        await asyncio.gather(*tasks.values(), return_exceptions=True)
        while not self._arrivals.empty():
            key, arrival = self._arrivals.get_nowait()
            if not isinstance(arrival, Delta):
                self.unread.add(key)
        return len(tasks.keys() - self.unread)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.cancel()

    def _note_defect(self, key: int, task: asyncio.Task[None]) -> None:
        """Wake the reader after an error that no call may raise: nothing else would arrive."""
        if not task.cancelled() and task.exception() is not None:
            self._arrivals.put_nowait((key, None))

    async def _read(self, key: int, stream: CallStream) -> None:
        try:
            async with aclosing(stream):
                async for piece in stream:
                    self._arrivals.put_nowait((key, piece))
        except (CallFailed, WorkerRejected, DeadlineExceeded) as error:
            self._arrivals.put_nowait((key, error))
