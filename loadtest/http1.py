"""A small HTTP/1.1 server on httptools: fast enough to vanish from measurements.

It knows nothing about models. A handler gets a request and an exchange to answer on; it is
cancelled as soon as the client goes away, and it may break the connection on purpose.
"""

import asyncio
import socket
import struct
import sys
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, cast

import httptools

from loadtest.dribbling import Dribble, Sink, endless_head
from loadtest.failures import Failure

JSON_HEADERS = {"content-type": "application/json"}
SSE_HEADERS = {"content-type": "text/event-stream; charset=utf-8"}


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it was received: header names in lower case, the body whole."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    keep_alive: bool


class Exchange:
    """The answering side of one request."""

    __slots__ = ("_connection", "_head")

    def __init__(self, connection: Sink) -> None:
        self._connection = connection
        self._head = b""

    def dribbling(self, pace: Failure) -> "Exchange":
        """Return an exchange on the same connection whose bytes leave while `drain` is awaited."""
        return Exchange(Dribble(self._connection, pace))

    async def send_endless_head(self, pace: Failure) -> None:
        """Send the head of an answer, piece by piece, until the client leaves."""
        await endless_head(self._connection, pace)

    def send(
        self,
        status: int,
        body: bytes,
        headers: Mapping[str, str] = JSON_HEADERS,
        *,
        promised: int | None = None,
    ) -> None:
        """Send a whole answer; `promised` overrides the length announced, in bytes."""
        length = len(body) if promised is None else promised
        head = _head(status, {**headers, "content-length": str(length)})
        self._connection.write(head + body)

    def begin(self, headers: Mapping[str, str] = SSE_HEADERS) -> None:
        """Start a chunked answer; its head leaves with the first chunk or with `flush`."""
        self._head = _head(200, {**headers, "transfer-encoding": "chunked"})

    def flush(self) -> None:
        """Send the head of a chunked answer ahead of its first chunk."""
        self._connection.write(self._head)
        self._head = b""

    def chunk(self, data: bytes) -> None:
        """Send one chunk of a chunked answer."""
        self._connection.write(b"%b%x\r\n%b\r\n" % (self._head, len(data), data))
        self._head = b""

    def end(self) -> None:
        """End a chunked answer in good order."""
        self._connection.write(self._head + b"0\r\n\r\n")
        self._head = b""

    async def drain(self) -> None:
        """Wait until the client has read enough for more to be written."""
        await self._connection.drain()

    def close(self) -> None:
        """Close the connection in good order (FIN), whatever was promised."""
        self._connection.close()

    def reset(self) -> None:
        """Tear the connection down (RST), as a killed process or a firewall does."""
        self._connection.reset()


Handler = Callable[[Request, Exchange], Coroutine[Any, Any, None]]


class Connection(asyncio.Protocol):
    """One client connection: parses requests, runs one handler at a time in their order."""

    def __init__(self, handler: Handler, connections: set["Connection"]) -> None:
        self._handler = handler
        self._connections = connections
        self._parser = httptools.HttpRequestParser(self)
        self._queue: deque[Request] = deque()
        self._task: asyncio.Task[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._url = b""
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._transport: asyncio.Transport

    # what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport; small writes leave at once."""
        self._transport = cast("asyncio.Transport", transport)
        self._connections.add(self)
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def connection_lost(self, exc: Exception | None) -> None:  # asyncio's name
        """Cancel the running handler: nobody waits for its answer."""
        self._connections.discard(self)
        self._queue.clear()
        self._writable.set()
        if self._task is not None:
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        """Feed the parser; what is not HTTP closes the connection."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.close()

    def pause_writing(self) -> None:
        """Note that the client reads too slowly."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Note that the client has caught up."""
        self._writable.set()

    # what httptools calls

    def on_url(self, url: bytes) -> None:
        """Keep the target."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep one header."""
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        """Keep a piece of the body."""
        self._body.append(body)

    def on_message_complete(self) -> None:
        """Queue the request and start it if none runs."""
        request = Request(
            self._parser.get_method().decode(),
            self._url.partition(b"?")[0].decode("latin-1"),
            self._headers,
            b"".join(self._body),
            self._parser.should_keep_alive(),
        )
        self._url, self._headers, self._body = b"", {}, []
        self._queue.append(request)
        if self._task is None:
            self._start_next()

    # what an exchange calls

    def write(self, data: bytes) -> None:
        """Write unless the client is gone."""
        if not self._transport.is_closing():
            self._transport.write(data)

    async def drain(self) -> None:
        """Wait while the client reads too slowly."""
        await self._writable.wait()

    def close(self) -> None:
        """Close after what was written has left."""
        self._transport.close()

    def reset(self) -> None:
        """Close with RST."""
        sock = self._transport.get_extra_info("socket")
        if sock is not None:
            linger = struct.pack("ii", 1, 0)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self._transport.abort()

    def _start_next(self) -> None:
        request = self._queue.popleft()
        loop = asyncio.get_running_loop()
        self._task = loop.create_task(self._handler(request, Exchange(self)))
        keep_alive = request.keep_alive
        self._task.add_done_callback(lambda task: self._finished(task, keep_alive=keep_alive))

    def _finished(self, task: asyncio.Task[None], *, keep_alive: bool) -> None:
        self._task = None
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            print(f"fake worker: {error!r}", file=sys.stderr, flush=True)
            self._transport.abort()
        elif not keep_alive:
            self._transport.close()
        elif self._queue:
            self._start_next()


def _head(status: int, headers: Mapping[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
