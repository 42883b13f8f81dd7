"""Connections to workers, shared by the fleets of one process while their limits are the same."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp

from entroute.pools import session_of
from entroute.settings import Settings


class Sessions:
    """Opens connection pools; each is closed when the last fleet that uses it is."""

    def __init__(self) -> None:
        self._open: dict[float, aiohttp.ClientSession] = {}
        self._users: dict[float, int] = {}

    @asynccontextmanager
    async def lease(self, settings: Settings) -> AsyncIterator[aiohttp.ClientSession]:
        """Hold the connections of fleets that are configured like this one."""
        limit = settings.timeouts.connect_s
        if limit not in self._open:
            self._open[limit] = session_of(settings)
        self._users[limit] = self._users.get(limit, 0) + 1
        try:
            yield self._open[limit]
        finally:
            self._users[limit] -= 1
            if not self._users[limit]:
                await self._open.pop(limit).close()
