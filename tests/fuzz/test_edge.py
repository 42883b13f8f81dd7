"""Raw HTTP that no well-meaning client sends: refused, cut off or answered, and never smuggled."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from tests.fuzz.serving import Spoiled, spoiled

SOON_S = 0.6
"""`receive_s` and `send_s` of these gateways."""

SESSION: Any = {"scope": "module", "loop_scope": "module"}
pytestmark = pytest.mark.asyncio(loop_scope="module")

BODY = json.dumps({"model": "small", "messages": [{"role": "user", "content": "Hi"}]}).encode()
CHAT = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"


@pytest_asyncio.fixture(**SESSION)
async def gateway() -> AsyncIterator[Spoiled]:
    async with spoiled(server={"receive_s": SOON_S, "send_s": SOON_S}) as served:
        yield served


@dataclass(slots=True)
class Raw:
    """A connection that says what it is told to."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def all(self) -> bytes:
        """Return what is sent until the connection ends, far later than it has to."""
        answer = b""
        async with asyncio.timeout(30):
            with suppress(ConnectionError):
                while piece := await self.reader.read(65_536):
                    answer += piece
        return answer

    async def head(self) -> bytes:
        async with asyncio.timeout(30):
            return await self.reader.readuntil(b"\r\n\r\n")

    async def dribble(self, pieces: bytes, pause_s: float = 0.02) -> None:
        """Send one byte after the other until nobody takes them."""
        with suppress(ConnectionError):
            for place in range(len(pieces)):
                self.writer.write(pieces[place : place + 1])
                await self.writer.drain()
                await asyncio.sleep(pause_s)


async def connected(gateway: Spoiled) -> Raw:
    port = int(gateway.url.rpartition(":")[2])
    return Raw(*await asyncio.open_connection("127.0.0.1", port))


async def said(gateway: Spoiled, data: bytes) -> bytes:
    """Return all that is answered to some bytes, sent at once, up to the connection's end."""
    raw = await connected(gateway)
    with suppress(ConnectionError):
        raw.writer.write(data)
        await raw.writer.drain()
    answer = await raw.all()
    raw.writer.close()
    return answer


def chat(head: bytes = b"", body: bytes = BODY, *, length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    return CHAT + head + b"content-length: %d\r\n\r\n" % size + body


def statuses(answer: bytes) -> list[int]:
    parts = answer.split(b"HTTP/1.1 ")[1:]
    return [int(part[:3]) for part in parts]


def refused_as_openai(answer: bytes) -> bool:
    body = answer.partition(b"\r\n\r\n")[2]
    return set(json.loads(body)["error"]) == {"message", "type", "param", "code"}


MODELS = b"GET /v1/models HTTP/1.1\r\nhost: x\r\n"
CLOSE = b"connection: close\r\n\r\n"

REFUSED: dict[str, tuple[bytes, int]] = {
    "no http": (b"\x16\x03\x01\x02\x00\x01\x00", 400),
    "an unknown method": (b"BREW /v1/models HTTP/1.1\r\nhost: x\r\n" + CLOSE, 400),
    "a method that is not offered": (b"PUT /v1/models HTTP/1.1\r\nhost: x\r\n" + CLOSE, 405),
    "a NUL in a header": (MODELS + b"x: a\x00b\r\n" + CLOSE, 400),
    "a folded header": (MODELS + b"x: a\r\n b\r\n" + CLOSE, 400),
    "a space before the colon": (MODELS + b"x : a\r\n" + CLOSE, 400),
    "a lone CR in a header": (MODELS + b"x: a\rb: c\r\n" + CLOSE, 400),
    "length and chunks": (
        chat(b"connection: close\r\ntransfer-encoding: chunked\r\n", b"0\r\n\r\n" + MODELS),
        400,
    ),
    "two lengths": (chat(b"connection: close\r\ncontent-length: 3\r\n"), 400),
    "a signed length": (CHAT + b"content-length: +5\r\n\r\n" + BODY, 400),
    "a list of lengths": (CHAT + b"content-length: 5, 5\r\n\r\n" + BODY, 400),
    "a chunk of no size": (CHAT + b"transfer-encoding: chunked\r\n\r\nZZ\r\n", 400),
    "chunked twice": (
        CHAT + b"transfer-encoding: chunked, chunked\r\nconnection: close\r\n\r\n0\r\n\r\n",
        400,
    ),
    "an encoding that is no chunking": (
        CHAT + b"transfer-encoding: gzip\r\nconnection: close\r\n\r\n" + BODY,
        400,
    ),
    "a body that is packed": (chat(b"connection: close\r\ncontent-encoding: gzip\r\n"), 400),
    "a path outside": (b"GET /v1/../../etc/passwd HTTP/1.1\r\nhost: x\r\n" + CLOSE, 404),
    "a quoted path outside": (
        b"GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\nhost: x\r\n" + CLOSE,
        404,
    ),
    "another host": (b"GET http://other.example/x HTTP/1.1\r\nhost: x\r\n" + CLOSE, 404),
    "a tunnel": (b"CONNECT other.example:443 HTTP/1.1\r\nhost: x\r\n" + CLOSE, 400),
    "10 000 levels": (
        chat(b"connection: close\r\n", b'{"a":' * 10_000 + b"1" + b"}" * 10_000),
        400,
    ),
    "a declared body that is too large": (chat(b"connection: close\r\n", length=2**40), 413),
    "headers that are too large": (MODELS + b"x: " + b"a" * 40_000 + b"\r\n" + CLOSE, 431),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_what_is_no_lawful_request_is_refused_in_openais_form(
    gateway: Spoiled, name: str
) -> None:
    data, status = REFUSED[name]
    gateway.worker.requests.clear()
    answer = await said(gateway, data)
    assert statuses(answer) == [status], answer[:300]
    assert refused_as_openai(answer)
    assert gateway.worker.requests == []


async def test_a_head_without_an_end_is_cut_off(gateway: Spoiled) -> None:
    answer = await said(gateway, MODELS + b"".join(b"x: %d\r\n" % i for i in range(400_000)))
    assert statuses(answer) in ([431], [])  # what was not read yet may take the answer along


async def test_an_upgrade_is_not_made(gateway: Spoiled) -> None:
    head = b"upgrade: websocket\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    upgrade = MODELS + head + b"sec-websocket-version: 13\r\nconnection: upgrade, close\r\n\r\n"
    assert statuses(await said(gateway, upgrade)) == [200]


async def test_pipelined_requests_are_answered_in_order(gateway: Spoiled) -> None:
    ids = [MODELS + b"x-request-id: r-%d\r\n" % i for i in range(20)]
    answer = await said(gateway, b"\r\n".join(ids) + b"\r\n" + MODELS + CLOSE)
    assert statuses(answer) == [200] * 21
    places = [answer.index(b"x-request-id: r-%d\r\n" % i) for i in range(20)]
    assert places == sorted(places)


@pytest.mark.parametrize(
    "sent",
    [b"a\tb", b"a b", b"a" * 129, b"", b"r\xff", b"a%0d%0ax: y", b"<script>", b"a;b"],
)
async def test_a_request_id_that_is_not_sane_is_replaced(gateway: Spoiled, sent: bytes) -> None:
    answer = await said(gateway, MODELS + b"x-request-id: " + sent + b"\r\n" + CLOSE)
    assert statuses(answer) == [200]
    (own,) = [line for line in answer.split(b"\r\n") if line.startswith(b"x-request-id: ")]
    assert len(own) == len(b"x-request-id: ") + 32


async def test_http_1_0_is_answered_and_closed(gateway: Spoiled) -> None:
    assert b" 200 OK" in await said(gateway, b"GET /healthz HTTP/1.0\r\n\r\n")


async def test_a_connection_that_says_nothing_ends(gateway: Spoiled) -> None:
    answer = await said(gateway, b"")
    assert statuses(answer) == [408]
    assert refused_as_openai(answer)


async def test_a_head_that_dribbles_ends(gateway: Spoiled) -> None:
    raw = await connected(gateway)
    sending = asyncio.create_task(raw.dribble(MODELS + b"x: " + b"a" * 4000))
    assert statuses(await raw.all()) == [408]
    await sending
    raw.writer.close()


async def test_line_ends_alone_do_not_keep_a_connection(gateway: Spoiled) -> None:
    raw = await connected(gateway)
    raw.writer.write(MODELS + b"\r\n")
    sending = asyncio.create_task(raw.dribble(b"\r\n" * 2000))
    assert statuses(await raw.all())[0] == 200
    await sending
    raw.writer.close()


async def test_a_body_that_dribbles_is_408_in_openais_form(gateway: Spoiled) -> None:
    raw = await connected(gateway)
    raw.writer.write(chat(length=9000, body=b""))
    sending = asyncio.create_task(raw.dribble(b'{"model": "' + b"x" * 4000))
    answer = await raw.all()
    await sending
    raw.writer.close()
    assert statuses(answer) == [408]
    assert refused_as_openai(answer)
    assert b'"request_timeout"' in answer
    assert b"x-request-id: " in answer


async def test_a_body_that_never_comes_is_408(gateway: Spoiled) -> None:
    assert statuses(await said(gateway, chat(body=b"", length=100))) == [408]


async def test_a_chunked_body_without_an_end_is_refused_once_too_large(gateway: Spoiled) -> None:
    raw = await connected(gateway)
    raw.writer.write(CHAT + b"transfer-encoding: chunked\r\n\r\n")
    chunk = b"10000\r\n" + b"x" * 65_536 + b"\r\n"
    sent = 0
    with suppress(ConnectionError):
        while sent < 2**26 and not raw.reader._buffer:  # type: ignore[attr-defined]
            raw.writer.write(chunk)
            await raw.writer.drain()
            await asyncio.sleep(0)
            sent += len(chunk)
    assert b" 413 " in await raw.head()
    assert sent < 2**25
    raw.writer.close()


async def test_a_client_that_reads_slowly_holds_its_worker_back(gateway: Spoiled) -> None:
    """What a worker can send is bounded by what lies in sockets' buffers, not by its speed."""
    worker = gateway.worker
    worker.answer = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
    piece = {"choices": [{"index": 0, "delta": {"content": "x" * 4000}}]}
    worker.repeat, worker.sent = b"data: " + json.dumps(piece).encode() + b"\n\n", 0
    body = json.dumps({**json.loads(BODY), "stream": True, "temperature": 1}).encode()
    raw = await connected(gateway)
    raw.writer.write(chat(body=body))
    await raw.head()
    await asyncio.sleep(SOON_S / 2)
    held = worker.sent
    assert held < 2**26
    async with asyncio.timeout(30):  # cut off after `send_s`, and the worker with it
        while (now := worker.sent) != held or not await _ended(raw):
            held = now
            await asyncio.sleep(0.1)
    worker.repeat = b""
    raw.writer.close()


async def _ended(raw: Raw) -> bool:
    """Say whether a connection has ended, by reading what is left of it."""
    try:
        async with asyncio.timeout(0.05):
            return not await raw.reader.read(2**20)
    except ConnectionError:
        return True
    except TimeoutError:
        return False
