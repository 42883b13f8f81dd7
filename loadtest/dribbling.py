"""An answer whose bytes dribble: what is written waits, and leaves a piece at a time."""

import asyncio
from typing import Protocol

from loadtest.failures import Failure


class Sink(Protocol):
    """Where bytes of an answer go: a connection, or what slows it down."""

    def write(self, data: bytes) -> None:
        """Send bytes."""
        ...

    async def drain(self) -> None:
        """Wait until more may be sent."""
        ...

    def close(self) -> None:
        """Close in good order."""
        ...

    def reset(self) -> None:
        """Close with RST."""
        ...


class Dribble:
    """Sends what is written at the pace of a failure, while `drain` is awaited.

    Args:
        sink: The connection.
        pace: Tells the bytes of a piece and the time between two.
    """

    def __init__(self, sink: Sink, pace: Failure) -> None:
        self._sink = sink
        self._pace = pace
        self._held = bytearray()

    def write(self, data: bytes) -> None:
        """Keep bytes for later."""
        self._held += data

    async def drain(self) -> None:
        """Send all that is kept, piece by piece."""
        while self._held:
            piece = bytes(self._held[: self._pace.piece_bytes])
            del self._held[: self._pace.piece_bytes]
            self._sink.write(piece)
            await asyncio.sleep(self._pace.every_ms / 1000)
        await self._sink.drain()

    def close(self) -> None:
        """Close the connection; what is kept is lost."""
        self._sink.close()

    def reset(self) -> None:
        """Reset the connection; what is kept is lost."""
        self._sink.reset()


async def endless_head(sink: Sink, pace: Failure) -> None:
    """Send the head of an answer that never ends, until the client leaves."""
    sink.write(b"HTTP/1.1 200 OK\r\nx-slow: ")
    while True:
        sink.write(b"a" * pace.piece_bytes)
        await asyncio.sleep(pace.every_ms / 1000)
