"""A configuration that is loaded again is read once, and all processes take it or none."""

import asyncio
from collections.abc import Callable

from entroute.reloading import read_again, refusals
from entroute.settings import Settings
from entroute.telemetry.logs import set_level
from entroute.telemetry.reloads import ReloadMetrics


class Reloads:
    """Reads the configuration when it is asked to, one time after the other.

    Args:
        settings: What the processes run with.
        reread: Reads the configuration.
        metrics: Counts what is refused; what is taken is counted by who takes it.
        hand_on: Gives every process what was read.

    Attributes:
        settings: What the processes run with, also those that are started later.
    """

    def __init__(
        self,
        settings: Settings,
        reread: Callable[[], Settings],
        metrics: ReloadMetrics,
        hand_on: Callable[[Settings], None],
    ) -> None:
        self.settings = settings
        self._reread = reread
        self._metrics = metrics
        self._hand_on = hand_on
        self._asked = asyncio.Event()

    def ask(self) -> None:
        """Have it read again."""
        self._asked.set()

    async def watch(self) -> None:
        """Read it whenever that is asked for."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            with refusals(self._metrics):
                settings = await asyncio.to_thread(read_again, self.settings, self._reread)
                self.settings = settings
                set_level(settings.server.log_level)
                self._hand_on(settings)
