"""Server-sent events, the writing side: the answer as it is made."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

import orjson
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from entroute.api import errors
from entroute.api.leaving import ClientLeft, cancelled_when_client_leaves
from entroute.api.render import Rendering
from entroute.errors import EntrouteError
from entroute.evidence import Outcome
from entroute.protocols import OutcomeStream
from entroute.types import Delta

_LOG = logging.getLogger(__name__)
_KEEP_ALIVE = b": keep-alive\n\n"
_DONE = b"data: [DONE]\n\n"

Item = Delta | Outcome


def encode(payload: Mapping[str, Any]) -> bytes:
    """Return one event."""
    return b"data: " + orjson.dumps(payload, default=dict) + b"\n\n"


class FirstItem:
    """A stream whose first item is being waited for; nothing is lost when the wait is cut short.

    Args:
        items: The stream.
    """

    def __init__(self, items: OutcomeStream) -> None:
        self.items = items
        self._task = asyncio.ensure_future(anext(items))

    async def wait(self, seconds: float) -> bool:
        """Wait at most `seconds`; return whether the item is there.

        Raises:
            EntrouteError: The stream failed before its first item.
        """
        done, _ = await asyncio.wait({self._task}, timeout=seconds)
        if done:
            self._task.result()
        return bool(done)

    async def get(self) -> Item:
        """Return the item."""
        return await self._task

    async def close(self) -> None:
        """Cancel the wait and close the stream."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self.items.aclose()


class EventStream(Response):
    """Streams an answer: keep-alive comments until its first item, chunks, `[DONE]`.

    An error after the first byte is an event, and the stream then ends without `[DONE]`.

    Args:
        first: The stream, its first item waited for or not.
        rendering: How it is written.
        include_usage: Whether a chunk of usage ends it.
        keep_alive_s: Seconds between keep-alive comments before the first item.
        headers: Known at the first byte.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        first: FirstItem,
        rendering: Rendering,
        *,
        include_usage: bool,
        keep_alive_s: float,
        headers: Mapping[str, str],
    ) -> None:
        super().__init__(
            headers={**headers, "cache-control": "no-cache", "x-accel-buffering": "no"}
        )
        del self.headers["content-length"]
        self._first = first
        self._rendering = rendering
        self._include_usage = include_usage
        self._keep_alive_s = keep_alive_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send everything; stop when the client leaves."""
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        try:
            async with cancelled_when_client_leaves(receive):
                async with aclosing(self._events()) as events:
                    async for event in events:
                        await send({"type": "http.response.body", "body": event, "more_body": True})
                await send({"type": "http.response.body", "body": b""})
        except (ClientLeft, OSError):
            return
        finally:
            await self._first.close()

    async def _events(self) -> AsyncGenerator[bytes, None]:
        try:
            pause = 0.0  # without a first item, the headers came because a comment is due
            while not await self._first.wait(pause):
                yield _KEEP_ALIVE
                pause = self._keep_alive_s
            yield self._encoded(await self._first.get())
            async for item in self._first.items:
                yield self._encoded(item)
        except Exception as error:  # noqa: BLE001 - the edge's last resort: the client must be told
            if not isinstance(error, EntrouteError):
                _LOG.exception("request %s failed in mid-stream", self._rendering.trace.request_id)
            yield errors.event(error)
        else:
            yield _DONE

    def _encoded(self, item: Item) -> bytes:
        if isinstance(item, Delta):
            chunk = self._rendering.chunk(item)
            if self._include_usage:
                chunk["usage"] = None
            return encode(chunk)
        chunks = self._rendering.last_chunks(item, include_usage=self._include_usage)
        return b"".join(encode(chunk) for chunk in chunks)
