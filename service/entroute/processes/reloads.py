"""A configuration that is loaded again is read once, and all processes take it or none."""

import asyncio
import logging
from collections.abc import Callable

from entroute.errors import EntrouteError
from entroute.reloading import read_again
from entroute.settings import Settings
from entroute.telemetry.logs import set_level
from entroute.telemetry.reloads import ReloadMetrics

_LOG = logging.getLogger(__name__)


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
            try:
                settings = await asyncio.to_thread(read_again, self.settings, self._reread)
            except EntrouteError as error:
                self._metrics.count("refused")
                _LOG.error("reload refused, nothing has changed: %s", error)
            except Exception:  # noqa: BLE001 - in the background: what runs must go on running
                self._metrics.count("refused")
                _LOG.exception("reload failed, nothing has changed")
            else:
                self.settings = settings
                set_level(settings.server.log_level)
                self._hand_on(settings)
