"""Asks one request of a chaos run and keeps all that came back, whatever it was."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson

from loadtest.chaos_load import Wish

GIVE_UP_S = 15.0
"""Seconds after its deadline at which a request is given up for hung."""

_DONE = b"[DONE]"


@dataclass(slots=True)
class Asked:
    """One request and what became of it.

    `begun` is in seconds since the epoch. `status` is None where no head came. `text` is all
    content delivered, `error` the error of a body or of a stream's last event, `broken` what the
    connection died of, `odd` what no stream should hold.
    """

    wish: Wish
    id: str
    begun: float
    took_s: float = 0.0
    status: int | None = None
    text: str = ""
    finish_reason: str | None = None
    stop_reason: str | None = None
    strategy: str = ""
    cache: str = ""
    done: bool = False
    error: dict[str, Any] | None = None
    broken: str = ""
    left: bool = False
    usage: dict[str, Any] | None = None
    odd: list[str] = field(default_factory=list)

    @property
    def whole(self) -> bool:
        """Whether an answer came, from its beginning to its end."""
        ended = self.finish_reason is not None and (self.done or not self.wish.way.stream)
        return ended and self.error is None and not self.broken and not self.left

    @property
    def failed(self) -> bool:
        """Whether the client saw an error."""
        return not self.whole and not self.left

    @property
    def hurried(self) -> bool:
        """Whether a deadline that the client had set passed, or nearly."""
        return self.wish.own_deadline and self.took_s >= 0.8 * self.wish.deadline_s

    @property
    def code(self) -> str:
        """The error in one word, empty without one."""
        if self.broken:
            return "connection"
        if self.error is None:
            return "" if self.whole or self.left else "no end"
        return str(self.error.get("code") or self.error.get("type") or "error")


async def ask(session: aiohttp.ClientSession, gateway: str, wish: Wish, run: str) -> Asked:
    """Send one request and read its answer, leaving where the wish says so."""
    asked = Asked(wish, f"{run}-{wish.number}", time.time())
    received = bytearray()
    started = time.perf_counter()
    limit = wish.deadline_s + GIVE_UP_S
    try:
        async with asyncio.timeout(limit if wish.leaves_s is None else wish.leaves_s):
            await _exchange(session, gateway, asked, received)
    except TimeoutError:
        asked.left = wish.leaves_s is not None
        asked.broken = "" if asked.left else f"nothing more within {limit:.1f} s"
    except aiohttp.ClientError as error:
        asked.broken = f"{type(error).__name__}: {error}"
    asked.took_s = time.perf_counter() - started
    if asked.wish.way.stream and asked.status == 200:
        read_stream(asked, bytes(received))
    elif asked.status is not None and not asked.left and not asked.broken:
        _read_whole(asked, bytes(received))
    return asked


async def _exchange(
    session: aiohttp.ClientSession, gateway: str, asked: Asked, received: bytearray
) -> None:
    url = f"{gateway}/v1/chat/completions"
    headers = {"x-request-id": asked.id, "content-type": "application/json"}
    async with session.post(url, data=orjson.dumps(asked.wish.body()), headers=headers) as answer:
        asked.status = answer.status
        asked.strategy = answer.headers.get("x-entroute-strategy", "")
        asked.cache = answer.headers.get("x-entroute-cache", "")
        async for data in answer.content.iter_any():
            received += data


def _read_whole(asked: Asked, body: bytes) -> None:
    answer = _parsed(asked, body, "the body")
    if answer is None:
        return
    choice = answer["choices"][0]
    asked.text = choice["message"].get("content") or ""
    asked.finish_reason = choice["finish_reason"]
    _read_summary(asked, answer)


def read_stream(asked: Asked, body: bytes) -> None:
    """Read all events of a stream into `asked`."""
    texts: list[str] = []
    names: set[str] = set()
    for event in _events(body):
        if asked.done or asked.error is not None:
            asked.odd.append(f"an event after the end: {event[:80]!r}")
        elif event == _DONE:
            asked.done = True
        else:
            _read_chunk(asked, event, texts, names)
    if len(names) > 1:
        asked.odd.append(f"several ids in one stream: {sorted(names)}")
    asked.text = "".join(texts)


def _read_chunk(asked: Asked, event: bytes, texts: list[str], names: set[str]) -> None:
    chunk = _parsed(asked, event, "an event")
    if chunk is None:
        return
    names.add(chunk["id"])
    for choice in chunk["choices"]:
        content = choice["delta"].get("content")
        if content and asked.finish_reason is not None:
            asked.odd.append("text after the finish reason")
        texts.append(content or "")
        asked.finish_reason = choice["finish_reason"] or asked.finish_reason
    _read_summary(asked, chunk)


def _parsed(asked: Asked, data: bytes, what: str) -> dict[str, Any] | None:
    """Return what an answer or a part of it says, None where that is an error or no JSON."""
    try:
        said: dict[str, Any] = orjson.loads(data)
    except orjson.JSONDecodeError:
        asked.odd.append(f"{what} is no JSON: {data[:80]!r}")
        return None
    if "error" in said:
        asked.error = said["error"]
        return None
    return said


def _read_summary(asked: Asked, body: dict[str, Any]) -> None:
    asked.usage = body.get("usage") or asked.usage
    told = body.get("entroute") or {}
    asked.stop_reason = told.get("stop_reason") or asked.stop_reason
    asked.strategy = told.get("strategy") or asked.strategy
    asked.cache = told.get("cache") or asked.cache


def _events(body: bytes) -> Iterator[bytes]:
    """Yield the data of whole events; what a client that left has half read is no event."""
    for block in body.split(b"\n\n")[:-1]:
        if block.startswith(b"data: "):
            yield block.removeprefix(b"data: ")
