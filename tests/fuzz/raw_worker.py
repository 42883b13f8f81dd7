"""A worker that sends the bytes it is told to, whatever HTTP has to say about them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import orjson

MODELS = orjson.dumps(
    {"object": "list", "data": [{"id": "qwen-small", "object": "model", "owned_by": "vllm"}]}
)


def http(
    body: bytes,
    *,
    status: bytes = b"200 OK",
    kind: bytes = b"application/json",
    head: bytes = b"",
    length: int | None = None,
) -> bytes:
    """Return an answer; `length` is what it claims to have."""
    size = len(body) if length is None else length
    return b"HTTP/1.1 %b\r\ncontent-type: %b\r\ncontent-length: %d\r\n%b\r\n%b" % (
        status,
        kind,
        size,
        head,
        body,
    )


def chunked(pieces: list[bytes], *, kind: bytes = b"text/event-stream", end: bool = True) -> bytes:
    """Return an answer in chunks."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ntransfer-encoding: chunked\r\n\r\n" % kind
    sent = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces if piece)
    return head + sent + (b"0\r\n\r\n" if end else b"")


@dataclass(slots=True)
class RawWorker:
    """Answers every POST with `answer`, then closes; a health check is answered well.

    Attributes:
        url: Its address, no path.
        answer: What is sent.
        repeat: Sent after it, again and again, as long as somebody reads.
        sent: Bytes that were repeated since this was last set to 0.
        requests: Whole requests as they came.
    """

    url: str = ""
    answer: bytes = b""
    repeat: bytes = b""
    sent: int = 0
    requests: list[bytes] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request."""
        with suppress(OSError, asyncio.IncompleteReadError):
            request = await _request(reader)
            if request.startswith(b"POST"):
                self.requests.append(request)
                await self._answer(writer)
            else:
                writer.write(http(MODELS, head=b"connection: close\r\n"))
                await writer.drain()
        writer.close()

    async def _answer(self, writer: asyncio.StreamWriter) -> None:
        writer.write(self.answer)
        await writer.drain()
        while self.repeat:
            writer.write(self.repeat)
            await writer.drain()
            self.sent += len(self.repeat)


async def _request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    size = int(lengths[0].partition(b":")[2]) if lengths else 0
    return head + await reader.readexactly(size)


@asynccontextmanager
async def raw_worker() -> AsyncIterator[RawWorker]:
    """Run a worker on a free port of this event loop."""
    worker = RawWorker()
    server = await asyncio.start_server(worker.serve, "127.0.0.1", 0)
    worker.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield worker
