"""A server process's side of the channel to its supervisor."""

import asyncio
import itertools
import json
from collections.abc import Callable
from contextlib import suppress

from prometheus_client import CollectorRegistry

from entroute.errors import ConfigurationError, EntrouteError
from entroute.processes.families import encode, read
from entroute.processes.frames import Kind, packed, received

PAGE_S = 5.0
"""Seconds to wait for the metrics of all; Prometheus itself waits 10 by default."""

_ID_BYTES = 8


class Membership:
    """Tells the supervisor how this process is, and asks it for the metrics of all.

    Args:
        reader: What the supervisor says.
        writer: What it hears.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._numbers = itertools.count()
        self._pages: dict[bytes, asyncio.Future[bytes]] = {}
        self._told = encode({})

    def ready(self) -> None:
        """Say that requests are taken."""
        self._send(Kind.READY)

    async def failed(self, error: EntrouteError) -> int:
        """Say why this process ends; return the status to end with."""
        code = 2 if isinstance(error, ConfigurationError) else 1
        self._send(Kind.FAILED, json.dumps([str(error), code]).encode())
        await self.close()
        return code

    async def page(self, registry: CollectorRegistry) -> bytes | None:
        """Return the metrics of all processes, None if the supervisor does not answer in time."""
        which = next(self._numbers).to_bytes(_ID_BYTES)
        self._pages[which] = asyncio.get_running_loop().create_future()
        self._send(Kind.SCRAPE, which)
        try:
            return await asyncio.wait_for(self._pages[which], PAGE_S)
        except TimeoutError:
            return None
        finally:
            del self._pages[which]

    async def attend(self, registry: CollectorRegistry, reload: Callable[[bytes], None]) -> None:
        """Do what the supervisor says until it is gone.

        Args:
            registry: This process's metrics.
            reload: Takes a configuration, pickled.
        """
        while (frame := await received(self._reader)) is not None:
            if frame.kind is Kind.COUNT:
                await self.tell(registry)
            elif frame.kind is Kind.RELOAD:
                reload(frame.payload)
            elif frame.kind is Kind.PAGE:
                which, page = frame.payload[:_ID_BYTES], frame.payload[_ID_BYTES:]
                waiting = self._pages.get(which)
                if waiting is not None and not waiting.done():
                    waiting.set_result(page)

    async def tell(self, registry: CollectorRegistry) -> None:
        """Send what this process has counted."""
        # In a thread: reading a thousand series takes milliseconds that streams would wait.
        with suppress(RuntimeError):  # they change too fast: what was told before is still true
            self._told = await asyncio.to_thread(_counted, registry)
        self._send(Kind.COUNTED, self._told)

    async def close(self) -> None:
        """Close the channel once all is sent."""
        self._writer.close()
        with suppress(OSError):  # the supervisor has gone before
            await self._writer.wait_closed()

    def _send(self, kind: Kind, payload: bytes = b"") -> None:
        if not self._writer.is_closing():
            self._writer.write(packed(kind, payload))


def _counted(registry: CollectorRegistry) -> bytes:
    return encode(read(registry))
