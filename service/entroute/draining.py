"""The server, from its first request until the last one has ended after a signal said stop."""

import asyncio
import logging
import signal
import socket
import time
from collections.abc import Callable
from types import FrameType

import uvicorn

from entroute.api.draining import Drain
from entroute.server_settings import ServerSettings

_LOG = logging.getLogger(__name__)

TOLD_S = 2
"""Seconds for clients to read that the server leaves, once the time of their requests is up."""

_POLITE_S = 1.0
"""Seconds for what is on its way on idle connections: it is answered, and told to go elsewhere."""

_POLL_S = 0.05


class DrainingServer(uvicorn.Server):
    """Ends without losing what it was asked.

    SIGTERM: unready at once; requests are still taken for `drain_delay_s`, then the listener is
    closed; what runs may end within `drain_s`; what has not is told so. Ctrl-C does the same
    without the delay, a second one forces.

    Args:
        config: uvicorn's.
        drain: Told when it begins and ends.
        how: Returns how long it takes, as it is configured when the signal comes.
        ready: Told once requests are taken.
        tick: Called again and again, also while it drains.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        drain: Drain,
        how: Callable[[], ServerSettings],
        ready: Callable[[], None],
        tick: Callable[[], None],
    ) -> None:
        super().__init__(config)
        self._drain = drain
        self._how = how
        self._ready = ready
        self._ticked = tick
        self._leave_at = 0.0

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start listening, then tell."""
        await super().startup(sockets)
        if self.started:
            self._ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Turn unready at once; open requests go on, until a second Ctrl-C.

        uvicorn would raise the signal again once it is done, so that the process died of it:
        engines would not be stopped and the exit code would not be 0.
        """
        begun, stopped = self._drain.begun, sig == signal.SIGINT
        self.force_exit = self.force_exit or (begun and stopped)
        if stopped or self.force_exit:
            self._leave_at = 0.0
        elif not begun:
            self._leave_at = time.monotonic() + self._how().drain_delay_s
        self._drain.begin()

    async def on_tick(self, counter: int) -> bool:
        """Say whether the listener is to be closed."""
        self._ticked()
        over = await super().on_tick(counter)
        return over or (self._drain.begun and time.monotonic() >= self._leave_at)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the listener, let what runs end, tell what does not, then close the gateway."""
        self._ticked()
        await asyncio.sleep(0)  # connections that stand already are accepted
        for server in self.servers:
            server.close()
        for listener in sockets or []:
            listener.close()
        begun, limit = time.monotonic(), self._how().drain_s
        state = self.server_state
        _LOG.info("draining: %d requests have %g s to end", len(state.tasks), limit)
        await self._until(lambda: not state.connections, begun + min(limit, _POLITE_S))
        for connection in list(state.connections):
            connection.shutdown()
        await self._until(lambda: not (state.connections or state.tasks), begun + limit)
        if told := self._drain.end():
            _LOG.warning("draining: %d requests did not end in %g s; they are told", told, limit)
        await super().shutdown(sockets)

    async def _until(self, done: Callable[[], bool], when: float) -> None:
        while not (done() or self.force_exit) and time.monotonic() < when:
            self._ticked()
            await asyncio.sleep(_POLL_S)
