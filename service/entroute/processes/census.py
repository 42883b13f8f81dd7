"""What all processes have counted, living and gone."""

import asyncio
from collections.abc import Sequence

from prometheus_client import CollectorRegistry

from entroute.processes.families import Families, decode, read, render
from entroute.processes.merging import added, merged
from entroute.processes.server_process import ServerProcess

EVERY_S = 0.5
"""Seconds between two rounds: what a process counted after the last one dies with it."""

WITHIN_S = 2.0
"""Seconds that a round waits for a process, once: one that hangs is not waited for again."""


class Census:
    """Gathers the metrics of all processes; those of dead ones stay in the sums.

    Args:
        own: The supervisor's own metrics.
    """

    def __init__(self, own: CollectorRegistry) -> None:
        self._own = own
        self._living: list[ServerProcess] = []
        self._gone: Families = {}
        self._running: asyncio.Task[None] | None = None
        self._next: asyncio.Task[None] | None = None

    @property
    def up(self) -> int:
        """How many processes take requests and answer."""
        return sum(each.ready.is_set() and not each.silent for each in self._living)

    def joined(self, process: ServerProcess) -> None:
        """Count a process from now on."""
        self._living.append(process)

    def left(self, process: ServerProcess) -> None:
        """Keep what a process that has ended had counted."""
        self._living.remove(process)
        if process.counted is not None:
            self._gone = added([self._gone, decode(process.counted)])

    async def watch(self) -> None:
        """Ask all processes again and again."""
        while True:
            await self._round_from_now()
            await asyncio.sleep(EVERY_S)

    async def page(self) -> bytes:
        """Return the metrics of all as Prometheus' text, none older than this call.

        A process that hangs is in it as it was last seen.
        """
        await self._round_from_now()
        counted = [each.counted for each in self._living if each.counted is not None]
        own = read(self._own)
        return await asyncio.to_thread(_page, own, counted, self._gone)

    async def _round_from_now(self) -> None:
        """Wait for a round that begins after this call; all who wait share the next one."""
        if self._next is None:
            self._next = asyncio.create_task(self._round(self._running))
        await asyncio.shield(self._next)

    async def _round(self, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await asyncio.wait([before])
        self._running, self._next = self._next, None
        asked = [each.count(WITHIN_S) for each in self._living]
        await asyncio.gather(*asked)


def _page(own: Families, counted: Sequence[bytes], gone: Families) -> bytes:
    return render(merged([own, *map(decode, counted)], gone))
