"""Server-sent events, the writing side: the answer as it is made."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, suppress
from typing import Any, Protocol

import orjson
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from entroute.api.draining import was_cut
from entroute.api.leaving import ClientLeft, cancelled_when_client_leaves
from entroute.errors import EntrouteError, ShuttingDown
from entroute.evidence import Outcome, Trace
from entroute.protocols import OutcomeStream
from entroute.types import Delta

_LOG = logging.getLogger(__name__)
_KEEP_ALIVE = b": keep-alive\n\n"
_TOLD_S = 1.0  # for a client that reads to be told that the server leaves

Item = Delta | Outcome


class Writing(Protocol):
    """How one request's answer is written, whole or as a stream."""

    @property
    def trace(self) -> Trace:
        """The request's trace."""
        ...

    def whole(self, outcome: Outcome) -> Mapping[str, Any]:
        """Return the body of a whole answer."""
        ...

    def events(self, item: Item) -> bytes:
        """Return what one item of a stream is told as, the outcome last."""
        ...

    def end(self) -> bytes:
        """Return what follows the outcome's events."""
        ...

    def failed(self, error: Exception) -> bytes:
        """Return how a stream ends that an error has cut off."""
        ...


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
    """Streams an answer: keep-alive comments until its first item, then its events.

    Args:
        first: The stream, its first item waited for or not.
        writing: How it is written.
        keep_alive_s: Seconds between keep-alive comments before the first item.
        headers: Known at the first byte.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        first: FirstItem,
        writing: Writing,
        *,
        keep_alive_s: float,
        headers: Mapping[str, str],
    ) -> None:
        super().__init__(
            headers={**headers, "cache-control": "no-cache", "x-accel-buffering": "no"}
        )
        del self.headers["content-length"]
        self._first = first
        self._writing = writing
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
        except asyncio.CancelledError:
            if was_cut(scope):
                await self._tell(send, ShuttingDown())
            raise
        finally:
            await self._first.close()

    async def _tell(self, send: Send, error: EntrouteError) -> None:
        """End the stream with an error; a client that does not read is not waited for."""
        body = self._writing.failed(error)
        with suppress(TimeoutError, OSError):
            async with asyncio.timeout(_TOLD_S):
                await send({"type": "http.response.body", "body": body})

    async def _events(self) -> AsyncGenerator[bytes, None]:
        try:
            pause = 0.0  # without a first item, the headers came because a comment is due
            while not await self._first.wait(pause):
                yield _KEEP_ALIVE
                pause = self._keep_alive_s
            yield self._writing.events(await self._first.get())
            async for item in self._first.items:
                yield self._writing.events(item)
        except Exception as error:  # noqa: BLE001 - the edge's last resort: the client must be told
            if not isinstance(error, EntrouteError):
                _LOG.exception("request %s failed in mid-stream", self._writing.trace.request_id)
            yield self._writing.failed(error)
        else:
            yield self._writing.end()
