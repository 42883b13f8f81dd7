import asyncio
import contextlib
import gzip
import itertools
import resource
import socket
import time
from collections.abc import AsyncIterator, Iterable

import httpx
import pytest
from pydantic import SecretStr, TypeAdapter, ValidationError
from starlette.applications import Starlette

from entroute.errors import ConfigurationError, SandboxUnavailable
from entroute.execution import Execution, Repeat
from entroute.sandbox import BubblewrapConfig, RemoteConfig, SandboxConfig
from entroute.sandbox.server import create_server
from tests.sandbox.boxes import KEY, served

AUTHORIZED = {"authorization": f"Bearer {KEY.get_secret_value()}"}


class Scripted:
    """A sandbox that does as it is told: echo, wait for ever, or refuse."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.closed = False

    async def start(self) -> None:
        """Nothing to do."""

    async def close(self) -> None:
        self.closed = True

    async def run(
        self, source: str, *, stdin: str = "", wall_s: float = 10.0, repeat: Repeat | None = None
    ) -> Execution:
        if source == "busy":
            raise SandboxUnavailable("too many programs are waiting")
        self.started.set()
        try:
            await asyncio.sleep(60 if source == "wait" else 0)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return Execution("ok", f"{source}|{stdin}|{wall_s}", "", 0.5)


def application(sandbox: Scripted, **fields: int) -> Starlette:
    return create_server(sandbox, api_key=KEY, **fields)


async def test_a_run_goes_there_and_back() -> None:
    sandbox = Scripted()
    async with served(application(sandbox)) as url:
        client = RemoteConfig(url=url, api_key=KEY).build()
        run = await client.run("a\ud800ä", stdin="b", wall_s=1.5)
        await client.close()
    assert run == Execution("ok", "a?ä|b|1.5", "", 0.5)
    assert sandbox.closed


async def test_a_client_that_hangs_up_ends_its_program() -> None:
    sandbox = Scripted()
    async with served(application(sandbox)) as url:
        client = RemoteConfig(url=url, api_key=KEY).build()
        running = asyncio.ensure_future(client.run("wait"))
        await asyncio.wait_for(sandbox.started.wait(), 30)
        running.cancel()
        await asyncio.wait_for(sandbox.cancelled.wait(), 30)
        await client.close()


async def test_a_server_without_room_is_unavailable_and_says_when_to_come_back() -> None:
    async with served(application(Scripted())) as url, httpx.AsyncClient() as http:
        answer = await http.post(f"{url}/run", json={"source": "busy"}, headers=AUTHORIZED)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        client = RemoteConfig(url=url, api_key=KEY).build()
        with pytest.raises(SandboxUnavailable, match="too many programs"):
            await client.run("busy")
        await client.close()


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b"{", 400, "JSON"),
        (b'{"source": "x", "wall_s": -1}', 400, "wall_s"),
        (b'{"source": "x", "more": 1}', 400, "more"),
        (b'{"stdin": "x"}', 400, "source"),
        (b'{"source": "%s"}' % (b"x" * 3000), 413, "2048"),
    ],
)
async def test_bodies_that_are_wrong_or_too_large_are_refused(
    body: bytes, status: int, says: str
) -> None:
    server = application(Scripted(), max_body_bytes=2048)
    async with served(server) as url, httpx.AsyncClient() as http:
        answer = await http.post(f"{url}/run", content=body, headers=AUTHORIZED)
    assert answer.status_code == status
    assert says in answer.text


@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer wrong"}])
async def test_only_the_key_opens_it_but_its_health_is_public(headers: dict[str, str]) -> None:
    async with served(application(Scripted())) as url, httpx.AsyncClient() as http:
        refused = await http.post(f"{url}/run", json={"source": "x"}, headers=headers)
        healthy = await http.get(f"{url}/healthz")
    assert (refused.status_code, healthy.status_code) == (401, 200)


async def test_a_wrong_key_is_found_at_the_start() -> None:
    async with served(application(Scripted())) as url:
        client = RemoteConfig(url=url, api_key=SecretStr("wrong")).build()
        with pytest.raises(ConfigurationError, match=r"sandbox\.api_key"):
            await client.start()
        await client.close()


async def test_an_address_where_nobody_or_somebody_else_answers_is_found_at_the_start() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        nobody = f"http://127.0.0.1:{closed.getsockname()[1]}"
    async with served(Starlette()) as somebody:
        for url in (nobody, somebody):
            client = RemoteConfig(url=url).build()
            with pytest.raises(ConfigurationError, match=r"sandbox\.url"):
                await client.start()
            await client.close()


ANSWERS = {
    "any": b'{"hello": "world"}',
    "empty": b"",
    "a run of something else": b'{"status": "ok", "stdout": "7\\n"}',
    "a run that failed": b'{"status": "error", "stdout": "42\\n", "error": "no room"}',
}


@pytest.mark.parametrize("body", ANSWERS.values(), ids=ANSWERS)
async def test_a_server_that_says_200_but_ran_nothing_is_found_at_the_start(body: bytes) -> None:
    async with answering(len(body), [body]) as url:
        client = RemoteConfig(url=url).build()
        with pytest.raises(ConfigurationError, match=r"sandbox\.url"):
            await client.start()
        await client.close()


async def test_a_server_that_is_busy_is_a_sandbox_all_the_same() -> None:
    async with answering(4, [b"busy"], status=503) as url:
        client = RemoteConfig(url=url).build()
        await client.start()
        with pytest.raises(SandboxUnavailable, match="503: busy"):
            await client.run("pass")
        await client.close()


async def test_an_answer_that_trickles_in_is_given_up_at_the_limit_of_the_whole() -> None:
    async with answering(1000, itertools.repeat(b" ", 600), pause_s=0.1) as url:
        client = RemoteConfig(url=url, connect_s=5, queue_s=1).build()
        begun = time.monotonic()
        with pytest.raises(SandboxUnavailable, match=r"did not answer in 7 s"):
            await client.run("pass", wall_s=1)
        assert time.monotonic() - begun < 30
        await client.close()


@pytest.mark.parametrize("packed", [False, True])
async def test_an_answer_of_any_size_takes_no_memory(packed: bool) -> None:  # noqa: FBT001
    block = bytes(2**20)
    parts = [gzip.compress(block * 64)] if packed else itertools.repeat(block, 512)
    size = len(gzip.compress(block * 64)) if packed else 512 * 2**20
    encoding = b"gzip" if packed else b"identity"
    async with answering(size, parts, encoding=encoding) as url:
        client = RemoteConfig(url=url).build()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with pytest.raises(SandboxUnavailable, match="no execution" if packed else "too large"):
            await client.run("pass", wall_s=30)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert grown < 100 * 1024  # KiB
        await client.close()


async def test_a_proxy_of_the_environment_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{nobody.getsockname()[1]}")
        async with served(application(Scripted())) as url:
            client = RemoteConfig(url=url, api_key=KEY).build()
            assert (await client.run("a")).ok
            await client.close()


@contextlib.asynccontextmanager
async def answering(
    size: int,
    parts: Iterable[bytes],
    *,
    status: int = 200,
    pause_s: float = 0.0,
    encoding: bytes = b"identity",
) -> AsyncIterator[str]:
    """Serve one answer to everything, part by part; lend the address."""
    handling: set[asyncio.Task[None] | None] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handling.add(asyncio.current_task())
        with contextlib.suppress(ConnectionError), contextlib.closing(writer):
            await reader.readuntil(b"\r\n\r\n")
            head = b"HTTP/1.1 %d X\r\ncontent-length: %d\r\ncontent-encoding: %s\r\n\r\n"
            writer.write(head % (status, size, encoding))
            for part in parts:
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(pause_s)

    async with await asyncio.start_server(handle, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    await asyncio.wait_for(asyncio.gather(*filter(None, handling)), 30)
    await asyncio.sleep(0)  # their transports close


@pytest.mark.parametrize("url", ["sandbox:80", "ftp://sandbox", "http://", "http://u:p@sandbox"])
def test_addresses_that_are_none_are_refused_without_being_told(url: str) -> None:
    with pytest.raises(ValidationError) as caught:
        RemoteConfig(url=url)
    assert "must" in str(caught.value)
    assert "u:p" not in str(caught.value)


def test_kind_tells_the_configurations_apart() -> None:
    reader: TypeAdapter[BubblewrapConfig | RemoteConfig] = TypeAdapter(SandboxConfig)
    assert isinstance(reader.validate_python({"kind": "bubblewrap"}), BubblewrapConfig)
    remote = reader.validate_python({"kind": "http", "url": "http://sandbox:1/", "api_key": "k"})
    assert isinstance(remote, RemoteConfig)
    assert (remote.url, "k'" in repr(remote)) == ("http://sandbox:1", False)
    with pytest.raises(ValidationError, match="kind"):
        reader.validate_python({"kind": "docker"})
