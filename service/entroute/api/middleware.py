"""Pure ASGI middleware: request ids, body and header limits, an answer even to our own bugs."""

import logging
import re
from collections.abc import Callable, Mapping
from uuid import uuid4

import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from entroute.api.errors import rendered
from entroute.errors import HeadersTooLarge, RequestError, RequestTooLarge
from entroute.protocols import Clock

_LOG = logging.getLogger(__name__)
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
        failed: Told of every request that is answered with an error here.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        max_body_bytes: int,
        max_header_bytes: int,
        failed: Callable[[Scope, Exception], None],
        clock: Clock,
    ) -> None:
        self._app = app
        self._failed = failed
        self._clock = clock
        self._max_body_bytes = max_body_bytes
        self._max_header_bytes = max_header_bytes

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
        begun = False

        async def send_with_id(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                own = [(b"x-request-id", request_id), *_raw(scope["state"].get("headers", dict)())]
                message["headers"] = [*message["headers"], *own]
            await send(message)

        try:
            self._check_sizes(scope, headers)
            await self._app(scope, self._bounded(receive), send_with_id)
        except Exception as error:  # the edge's last resort: the client must be told
            if begun:
                raise
            self._failed(scope, error)
            if not isinstance(error, RequestError):
                _LOG.exception("request %s failed", request_id.decode())
            await _refuse(error, send_with_id)

    def _check_sizes(self, scope: Scope, headers: dict[bytes, bytes]) -> None:
        size = sum(len(name) + len(value) for name, value in scope["headers"])
        if size > self._max_header_bytes:
            raise HeadersTooLarge(f"The headers are larger than {self._max_header_bytes} bytes.")
        declared = headers.get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > self._max_body_bytes:
            raise self._too_large()

    def _bounded(self, receive: Receive) -> Receive:
        """Return a receiver that refuses a body of undeclared length once it is too large."""
        seen = 0

        async def receive_bounded() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self._max_body_bytes:
                raise self._too_large()
            return message

        return receive_bounded

    def _too_large(self) -> RequestTooLarge:
        return RequestTooLarge(f"The body is larger than {self._max_body_bytes} bytes.")


async def _refuse(error: Exception, send: Send) -> None:
    status, body, headers = rendered(error)
    data = orjson.dumps(body)
    raw = _raw(headers)
    raw += [(b"content-type", b"application/json"), (b"content-length", str(len(data)).encode())]
    raw += [(b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": data})


def _raw(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode()) for name, value in headers.items()]
