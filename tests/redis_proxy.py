"""What may stand between a gateway and Redis: TLS, a slow network, something else altogether."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import trustme

_LOOK_S = 0.01


@dataclass(slots=True)
class Proxy:
    """A TCP port of this machine in front of a server on a unix socket.

    Attributes:
        port: Where it listens.
        connect_delay_s: Seconds before a new connection is let through.
        answer_delay_s: Seconds before each piece of an answer is passed on.
        garbage: Sent in place of answers, where it is not empty.
        silent: Whether nothing at all comes through.
        accepted: Connections so far.
    """

    port: int = 0
    connect_delay_s: float = 0.0
    answer_delay_s: float = 0.0
    garbage: bytes = b""
    silent: bool = False
    accepted: int = 0


@asynccontextmanager
async def redis_proxy(socket: str, tls: ssl.SSLContext | None = None) -> AsyncIterator[Proxy]:
    """Run a proxy for the length of a `with` block; change it while it runs."""
    proxy = Proxy()
    open_now: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        proxy.accepted += 1
        task = asyncio.current_task()
        assert task is not None
        open_now.add(task)
        try:
            await _passed_on(proxy, socket, reader, writer)
        except (OSError, asyncio.CancelledError):
            pass  # one side has gone, or the test has ended
        finally:
            open_now.discard(task)
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        for task in list(open_now):
            task.cancel()
        await asyncio.gather(*open_now, return_exceptions=True)


async def _passed_on(
    proxy: Proxy, socket: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    await asyncio.sleep(proxy.connect_delay_s)
    answers, commands = await asyncio.open_unix_connection(socket)

    async def back() -> None:
        while data := await answers.read(65536):
            await asyncio.sleep(proxy.answer_delay_s)
            while proxy.silent:  # noqa: ASYNC110 - as a dead network: nobody is told
                await asyncio.sleep(_LOOK_S)
            writer.write(proxy.garbage or data)
            await writer.drain()
        writer.close()

    task = asyncio.create_task(back())
    try:
        while data := await reader.read(65536):
            commands.write(data)
            await commands.drain()
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, OSError):
            await task
        commands.close()


@dataclass(frozen=True, slots=True)
class Certificates:
    """A server's side of TLS, and the file by which clients know it."""

    server: ssl.SSLContext
    ca_file: Path


def certificates(folder: Path) -> Certificates:
    """Make an authority and its certificate for 127.0.0.1; the authority lies in the folder."""
    ca = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    file = folder / "ca.pem"
    ca.cert_pem.write_to_path(str(file))
    return Certificates(context, file)
