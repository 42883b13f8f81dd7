"""Pure ASGI middleware: request ids, body and header limits, an answer even to our own bugs."""

import asyncio
import logging
import re
from collections.abc import Callable, Mapping
from uuid import uuid4

import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from entroute.api.draining import Drain
from entroute.api.errors import rendered
from entroute.errors import (
    HeadersTooLarge,
    InvalidRequest,
    ReceiveTimeout,
    RequestError,
    RequestTooLarge,
    ShuttingDown,
)
from entroute.protocols import Clock
from entroute.telemetry.tracing_sampling import Stories

_LOG = logging.getLogger(__name__)
_CLOSE = (b"connection", b"close")
_SANE_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")


class Edge:
    """Gives every request an id, refuses what is too large unread, and answers what failed inside.

    A sane inbound `x-request-id` is kept. The id is at `scope["state"]["request_id"]` and on every
    response; the time of arrival is at `scope["state"]["arrived"]`. What is put at
    `scope["state"]["headers"]` returns headers that are sent with whatever is answered.

    Args:
        app: What follows.
        max_body_bytes: Largest body.
        max_header_bytes: Largest sum of header names and values.
        receive_s: Seconds from its arrival until the whole of a request must be here.
        failed: Told of every request that is answered with an error here.
        clock: Monotonic seconds.
        drain: Whether the server is leaving; then connections are closed after their answer.
        stories: Opens what is traced, None where nothing is; at `scope["state"]["stories"]`.
    """

    def __init__(  # noqa: PLR0913 - what follows, and the bounds of what reaches it
        self,
        app: ASGIApp,
        *,
        max_body_bytes: int,
        max_header_bytes: int,
        receive_s: float,
        failed: Callable[[Scope, Exception], None],
        clock: Clock,
        drain: Drain,
        stories: Stories | None = None,
    ) -> None:
        self._app = app
        self._stories = stories
        self._failed = failed
        self._clock = clock
        self._max_body_bytes = max_body_bytes
        self._max_header_bytes = max_header_bytes
        self._receive_s = receive_s
        self._drain = drain

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        given = headers.get(b"x-request-id", b"")
        request_id = given if _SANE_ID.fullmatch(given) else uuid4().hex.encode()
        scope.setdefault("state", {})
        scope["state"].update(request_id=request_id.decode(), arrived=self._clock())
        if self._stories is not None:
            scope["state"]["stories"] = self._stories
        begun = False
        body = _Body(receive, self._max_body_bytes, self._receive_s, self._clock)
        body.whole = not _has_body(headers)

        async def send_with_id(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                own = [(b"x-request-id", request_id), *_raw(scope["state"].get("headers", dict)())]
                message["headers"] = [*message["headers"], *own]
                if self._drain.begun and _CLOSE not in message["headers"]:
                    message["headers"].append(_CLOSE)
            await send(message)

        try:
            self._check_sizes(scope, headers)
            with self._drain.request(scope):
                await self._app(scope, body.receive, send_with_id)
        except Exception as error:  # the edge's last resort: the client must be told
            if begun:
                if isinstance(error, ShuttingDown):  # a stream has told its client
                    return
                raise
            self._failed(scope, error)
            if not isinstance(error, RequestError | ShuttingDown):
                _LOG.exception("request %s failed", request_id.decode())
            await _refuse(error, send_with_id)

    def _check_sizes(self, scope: Scope, headers: dict[bytes, bytes]) -> None:
        size = sum(len(name) + len(value) for name, value in scope["headers"])
        if size > self._max_header_bytes:
            raise HeadersTooLarge(f"The headers are larger than {self._max_header_bytes} bytes.")
        if headers.get(b"content-encoding", b"identity") != b"identity":
            raise InvalidRequest("Bodies are read as they are: send no content-encoding.")
        declared = headers.get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > self._max_body_bytes:
            raise _too_large(self._max_body_bytes)


class _Body:
    """Hands a request's body on, as far as it is small enough and arrives in time.

    Args:
        receive: Where it comes from.
        most: Bytes that it may have.
        within_s: Seconds from now until it must be here.
        clock: Monotonic seconds.

    Attributes:
        whole: Whether all of it has arrived.
    """

    def __init__(self, receive: Receive, most: int, within_s: float, clock: Clock) -> None:
        self.whole = False
        self._receive = receive
        self._most = most
        self._seen = 0
        self._within_s = within_s
        self._clock = clock
        self._until = clock() + within_s

    async def receive(self) -> Message:
        """Return the next piece, or that the client has left.

        Raises:
            RequestTooLarge: Of undeclared length, and too large by now.
            ReceiveTimeout: Not whole in time.
        """
        if self.whole:
            return await self._receive()
        try:
            async with asyncio.timeout(max(0.0, self._until - self._clock())):
                message = await self._receive()
        except TimeoutError:
            raise ReceiveTimeout(
                f"The request did not arrive in {self._within_s:g} s; send it faster."
            ) from None
        self._seen += len(message.get("body", b""))
        if self._seen > self._most:
            raise _too_large(self._most)
        self.whole = not message.get("more_body", False)
        return message


def _has_body(headers: Mapping[bytes, bytes]) -> bool:
    """Say whether a request of these headers has a body."""
    return b"transfer-encoding" in headers or headers.get(b"content-length", b"0") != b"0"


def _too_large(most: int) -> RequestTooLarge:
    return RequestTooLarge(f"The body is larger than {most} bytes.")


async def _refuse(error: Exception, send: Send) -> None:
    status, body, headers = rendered(error)
    data = orjson.dumps(body)
    raw = _raw(headers)
    raw += [(b"content-type", b"application/json"), (b"content-length", str(len(data)).encode())]
    raw += [_CLOSE]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": data})


def _raw(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode()) for name, value in headers.items()]
