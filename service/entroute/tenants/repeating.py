"""Does something again and again in the background until it is told to stop."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

_LOG = logging.getLogger(__name__)


class Repeating:
    """Runs one thing every few seconds; one that is running when it is told to stop ends first.

    Args:
        act: What to do.
        every_s: Seconds between two runs.
        what: In the log, when it fails: "usage could not be booked".
    """

    def __init__(self, act: Callable[[], Awaitable[None]], every_s: float, what: str) -> None:
        self._act = act
        self._every_s = every_s
        self._what = what
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, after the first pause."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End; nothing is cancelled in the middle of a conversation."""
        self._stopping.set()
        if self._task is not None:
            await asyncio.wait({self._task})
            self._task = None

    async def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                await asyncio.wait_for(self._stopping.wait(), self._every_s)
            except TimeoutError:
                await self._act_or_say()

    async def _act_or_say(self) -> None:
        try:
            await self._act()
        except Exception:  # noqa: BLE001 - the loop goes on, whatever one run died of
            _LOG.exception("%s", self._what)
