"""A load balancer as small as can be: bytes to the first gateway that says it is ready."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httpx

PROBE_S = 0.1


@dataclass(slots=True)
class Front:
    """Where new connections go.

    Attributes:
        url: Its address, no path.
        gateways: Addresses, no path; the first that is ready is taken.
        ready: Those that were, when they were last asked.
        begun: Set once one was.
        taken: Connections that each was given.
    """

    url: str
    gateways: Sequence[str]
    ready: tuple[str, ...] = ()
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    taken: dict[str, int] = field(default_factory=dict)

    async def probe(self, http: httpx.AsyncClient) -> None:
        """Ask all of them, again and again."""
        while True:
            self.ready = tuple([url for url in self.gateways if await _ready(http, url)])
            if self.ready:
                self.begun.set()
            await asyncio.sleep(PROBE_S)

    async def pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass a connection's bytes to a gateway, and its answers back."""
        url = self.ready[0]
        self.taken[url] = self.taken.get(url, 0) + 1
        there = urlsplit(url)
        others = await asyncio.open_connection(there.hostname, there.port)
        async with asyncio.TaskGroup() as group:
            group.create_task(_copied(reader, others[1]))
            group.create_task(_copied(others[0], writer))


async def _ready(http: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await http.get(f"{url}/readyz")).status_code == 200
    except httpx.TransportError:
        return False


async def _copied(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read(65_536):
            sink.write(data)
            await sink.drain()
    except ConnectionError:
        return  # one side is gone: the other is told by the end of its stream
    finally:
        sink.close()


@asynccontextmanager
async def front_of(gateways: Sequence[str], http: httpx.AsyncClient) -> AsyncIterator[Front]:
    """Serve a front before these gateways, once the first of them is ready."""
    front = Front("", gateways)
    server = await asyncio.start_server(front.pass_on, "127.0.0.1", 0)
    front.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    probing = asyncio.create_task(front.probe(http))
    try:
        async with asyncio.timeout(30):
            await front.begun.wait()
        yield front
    finally:
        probing.cancel()
        server.close()
        await asyncio.wait([probing])
