"""One connection to a gateway, byte by byte: what clients with connection pools hide."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Answered:
    """A response whose body had a length."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Connection:
    """A kept-alive connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def post(self, path: str, body: Mapping[str, Any]) -> Answered:
        """Send a request and read its whole answer."""
        data = json.dumps(body).encode()
        head = f"POST {path} HTTP/1.1\r\nhost: gateway\r\ncontent-length: {len(data)}\r\n"
        self.writer.write(f"{head}content-type: application/json\r\n\r\n".encode() + data)
        return await self._answered()

    async def get(self, path: str) -> Answered:
        """Send a request and read its whole answer."""
        self.writer.write(f"GET {path} HTTP/1.1\r\nhost: gateway\r\n\r\n".encode())
        return await self._answered()

    async def ended(self) -> bool:
        """Wait for the end of the connection; whether nothing came before it."""
        return await self.reader.read() == b""

    async def _answered(self) -> Answered:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.strip().split("\r\n")
        headers = {name.lower(): value for name, _, value in (x.partition(": ") for x in lines)}
        body = await self.reader.readexactly(int(headers["content-length"]))
        return Answered(int(first.split()[1]), headers, body)


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Connection]:
    """Open a connection to the server of a URL."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        yield Connection(reader, writer)
    finally:
        writer.close()
