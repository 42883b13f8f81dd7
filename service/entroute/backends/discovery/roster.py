"""Keeps a pool's workers those that are found."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Generic, TypeVar

from entroute.backends.discovery.finding import Finding, Found
from entroute.backends.http_worker import HttpWorker
from entroute.backends.member import Member
from entroute.backends.pool import WorkerPool
from entroute.errors import DiscoveryFailed

_LOG = logging.getLogger(__name__)
_LONGEST_PAUSE_S = 30.0
_FIRST_PAUSE_S = 0.5

W = TypeVar("W", bound=HttpWorker)


class Roster(Generic[W]):
    """Puts found workers into a pool and takes lost ones out of it.

    A new worker is asked for its health before it is called. Calls that a lost worker is answering
    go on. While nothing can be found the pool keeps what it has.

    Args:
        pool: Whose workers they are.
        finding: Finds them.
        place: What is searched, in words.
        build: Makes the client of a base URL.
        look: Asks new members for their health.

    Attributes:
        failures: How often nothing could be found.
    """

    def __init__(
        self,
        pool: WorkerPool[W],
        finding: Finding,
        place: str,
        build: Callable[[str], W],
        look: Callable[[Sequence[Member[W]]], Awaitable[None]],
    ) -> None:
        self.pool = pool
        self.failures = 0
        self._finding = finding
        self._place = place
        self._build = build
        self._look = look
        self._first = asyncio.Event()
        self._said = ""
        self._task: asyncio.Task[None] | None = None

    async def start(self, within_s: float) -> None:
        """Begin to search; wait for the first answer, good or bad, for `within_s` at most."""
        self._task = asyncio.create_task(self._forever(), name=f"discovery-{self.pool.tier}")
        try:
            async with asyncio.timeout(within_s):
                await self._first.wait()
        except TimeoutError:
            _LOG.warning("tier %s: %s: no answer yet", self.pool.tier, self._place)

    async def stop(self) -> None:
        """End the search."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _forever(self) -> None:
        pause = _FIRST_PAUSE_S
        while True:
            try:
                async with aclosing(self._finding.found()) as answers:
                    async for urls in answers:
                        await self._take(urls)
                        pause, self._said = _FIRST_PAUSE_S, ""
                        self._first.set()
            except DiscoveryFailed as failure:
                self._note(str(failure))
            except Exception:  # noqa: BLE001
                # The search must not end while the gateway runs, whatever an answer held.
                _LOG.exception("tier %s: %s: the search failed", self.pool.tier, self._place)
                self.failures += 1
            self._first.set()
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)

    def _note(self, reason: str) -> None:
        self.failures += 1
        self.pool.searched = f"{self._place}: {reason}"
        if reason != self._said:
            _LOG.warning("tier %s: %s; its workers stay as they are", self.pool.tier, reason)
        self._said = reason

    async def _take(self, urls: Found) -> None:
        held = {member.worker.url: member for member in self.pool.members}
        self.pool.searched = f"{self._place} has no worker"
        if held.keys() == urls:
            return
        new = [self.pool.member(self._build(url)) for url in sorted(urls - held.keys())]
        for member in new:
            member.healthy, member.detail = False, "it was not asked yet"
        kept = [member for url, member in held.items() if url in urls]
        self.pool.replace([*kept, *new])
        _LOG.info(
            "tier %s: %s: %d workers, %d new, %d gone",
            self.pool.tier,
            self._place,
            len(urls),
            len(new),
            len(held) - len(kept),
        )
        await self._look(new)
