"""Warm sandboxes: each runs one program, and the next one is started behind it."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

import structlog

from entroute.errors import SandboxUnavailable
from entroute.sandbox.child import Child

_log = structlog.get_logger(__name__)


class Pool:
    """Lends sandboxes, each once.

    Args:
        spawn: Starts one.
        workers: Programs that run at once, at least 1.
        warm: Sandboxes kept ready, 0 or more.
        queue: Callers that may wait for a worker, 0 or more.
    """

    def __init__(
        self, spawn: Callable[[], Awaitable[Child]], *, workers: int, warm: int, queue: int
    ) -> None:
        self._spawn = spawn
        self._free = asyncio.Semaphore(workers)
        self._places = workers + queue
        self._warm = warm
        self._ready: deque[Child] = deque()
        self._lent: list[Child] = []
        self._starting = 0
        self._callers = 0
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closed = False

    @property
    def ready(self) -> tuple[Child, ...]:
        """Sandboxes that wait for a program."""
        return tuple(self._ready)

    async def fill(self) -> None:
        """Start sandboxes until as many are ready as are to be kept.

        Raises:
            SandboxUnavailable: One could not be started.
        """
        while len(self._ready) < self._warm:
            self._ready.append(await self._spawn())

    @asynccontextmanager
    async def lend(self) -> AsyncIterator[Child]:
        """Lend a sandbox when a worker is free; it is killed at the end of the block.

        Raises:
            SandboxUnavailable: The queue is full, the pool closed, or none could be started.
        """
        if self._closed or self._callers >= self._places:
            reason = "the sandbox is closed" if self._closed else "too many programs are waiting"
            raise SandboxUnavailable(reason)
        self._callers += 1
        try:
            async with self._free:
                child = await self._take()
                self._lent.append(child)
                try:
                    yield child
                finally:
                    self._lent.remove(child)
                    child.kill()
                    self._behind(child.gone())
        finally:
            self._callers -= 1

    async def close(self) -> None:
        """Kill everything, and wait until it is gone."""
        self._closed = True
        for child in self._lent:
            child.kill()
        for child in self._ready:
            self._behind(child.gone())
        self._ready.clear()
        while self._tasks:
            await asyncio.gather(*self._tasks)

    async def _take(self) -> Child:
        while self._ready:
            child = self._ready.popleft()
            if child.alive:
                self._refill()
                return child
            self._behind(child.gone())
        self._refill()
        return await self._started()

    async def _started(self) -> Child:
        """Start one, and let the start go on behind a caller who leaves meanwhile.

        asyncio can wait for ever for the pipes of a process whose start is cancelled.
        """
        starting = asyncio.ensure_future(self._spawn())
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            self._behind(_given_up(starting))
            raise

    def _refill(self) -> None:
        while not self._closed and len(self._ready) + self._starting < self._warm:
            self._starting += 1
            self._behind(self._start_one())

    async def _start_one(self) -> None:
        try:
            child = await self._spawn()
        except SandboxUnavailable as error:
            # The next caller starts one itself, and hears of it if that fails too.
            _log.warning("sandbox_refill_failed", reason=str(error))
            return
        finally:
            self._starting -= 1
        if self._closed:
            await child.gone()
        else:
            self._ready.append(child)

    def _behind(self, work: Coroutine[Any, Any, object]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _given_up(starting: asyncio.Future[Child]) -> None:
    """End a sandbox that nobody waits for any more, once it has started."""
    with suppress(SandboxUnavailable):
        child = await starting
        await child.gone()
