"""HTTP connections whose clients are slow or hostile: heads that dribble, answers nobody reads."""

import asyncio
from dataclasses import dataclass

import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from entroute.api.errors import rendered
from entroute.errors import HeadersTooLarge, InvalidRequest, ReceiveTimeout, RequestError

_REASONS = {400: b"Bad Request", 408: b"Request Timeout", 431: b"Request Header Fields Too Large"}


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one connection may take.

    Attributes:
        receive_s: Seconds from a connection's beginning, or from the first byte of a further
            request, until a whole head must have arrived.
        send_s: Seconds that a client may leave an answer unread while its buffers are full; then
            the connection is cut off, which cancels what was asked on it.
        max_header_bytes: Bytes of a head that are held; what one read brings comes on top.
    """

    receive_s: float = 60.0
    send_s: float = 60.0
    max_header_bytes: int = 32 * 1024


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol with bounds that it lacks.

    What is refused here has reached no application: it is in no log and no metric. Bodies are
    bounded by `Edge`, where the client can be told with the request's id.
    """

    bounds = Bounds()
    _head_timer: asyncio.TimerHandle | None = None
    _send_timer: asyncio.TimerHandle | None = None
    _head_bytes = 0
    _in_body = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a head."""
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        self._stop_head()
        self._stop_send()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on, and see that a head stays small and a connection that says nothing ends."""
        self._head_bytes += len(data)
        super().data_received(data)
        if self._idle:  # lone line ends, or a body that nobody wants: uvicorn's timer is stopped
            self._await_head()
        if self._head_timer is None or self._in_body:
            self._head_bytes = 0
        elif self._head_bytes > self.bounds.max_header_bytes:
            self._refuse(HeadersTooLarge(f"The head is over {self.bounds.max_header_bytes} bytes."))

    def on_message_begin(self) -> None:
        """Begin to wait for the end of a head."""
        super().on_message_begin()
        self._await_head()

    def on_headers_complete(self) -> None:
        """Wait no longer."""
        self._stop_head()
        super().on_headers_complete()
        self._in_body = True

    def on_message_complete(self) -> None:
        """Be ready for the next request."""
        self._in_body = False
        super().on_message_complete()

    def pause_writing(self) -> None:
        """Give the client some time to read what it was sent."""
        super().pause_writing()
        self._stop_send()
        self._send_timer = self.loop.call_later(self.bounds.send_s, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on: it has."""
        self._stop_send()
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP in the form of all other errors."""
        self._refuse(InvalidRequest("This is no HTTP request that is understood here."))

    @property
    def _idle(self) -> bool:
        """Whether nothing that was asked is unanswered."""
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is None or cycle.response_complete

    @property
    def _may_answer(self) -> bool:
        """Whether an answer would neither follow one to the same request nor stand inside one."""
        if self._idle:
            return not self._in_body
        return not self.pipeline and not self.cycle.response_started

    def _await_head(self) -> None:
        if self._head_timer is None and not self.transport.is_closing():
            self._head_timer = self.loop.call_later(self.bounds.receive_s, self._head_is_late)

    def _head_is_late(self) -> None:
        self._refuse(ReceiveTimeout(f"No request arrived in {self.bounds.receive_s:g} s."))

    def _refuse(self, error: RequestError) -> None:
        """Answer by hand, unless there is no place for it, and close."""
        self._stop_head()
        if self.transport.is_closing():
            return
        if self._may_answer:
            self.transport.write(_answer(error))
        self.transport.close()

    def _stop_head(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _stop_send(self) -> None:
        if self._send_timer is not None:
            self._send_timer.cancel()
            self._send_timer = None


def bounded_protocol(given: Bounds) -> type[BoundedProtocol]:
    """Return the protocol with these bounds, as uvicorn wants it: a class."""

    class Bounded(BoundedProtocol):
        bounds = given

    return Bounded


def _answer(error: RequestError) -> bytes:
    status, body, _ = rendered(error)
    data = orjson.dumps(body)
    return b"HTTP/1.1 %d %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n%b%b" % (
        status,
        _REASONS[status],
        len(data),
        b"connection: close\r\n\r\n",
        data,
    )
