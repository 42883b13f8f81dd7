"""What every client of a model server shares: one address, its limits, what its failures mean."""

import asyncio
import math
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson

from entroute.bodies import DEEPEST, Concealing, too_deep
from entroute.errors import (
    DeadlineExceeded,
    Phase,
    WorkerBusy,
    WorkerError,
    WorkerFailed,
    WorkerMisconfigured,
    WorkerProtocolError,
    WorkerRejected,
    WorkerTimeout,
    WorkerUnavailable,
)
from entroute.protocols import Clock
from entroute.spans import NO_HEADERS

DEADLINE_HEADER = "x-entroute-budget"
"""Tells a worker the time left, as a client tells it to us: the next one may be a gateway too."""

Headers = Mapping[str, str]

_BUSY = frozenset({408, 429})
_MISCONFIGURED = frozenset({401, 403, 404, 405})
_SERVER_ERROR = 500
_TOO_LARGE = "too large to process"
"""What llama.cpp's server says, with status 500, to an input longer than it can embed."""

_LONGEST_RETRY_AFTER_S = 3600.0
MOST_ANSWER_BYTES = 256 * 1024 * 1024
"""An answer that is not streamed and larger than this is no answer."""

_MOST_ERROR_BYTES = 256 * 1024
_QUOTED = 500  # characters of what a server said


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long each phase of a call may take, in seconds, above 0.

    Attributes:
        connect_s: Until the connection stands.
        first_token_s: From sending the request to the first piece of a streamed answer.
        between_tokens_s: Between two pieces of it.
        total_s: The whole call, streamed or not.
    """

    connect_s: float = 2.0
    first_token_s: float = 60.0
    between_tokens_s: float = 30.0
    total_s: float = 600.0


class HttpWorker:
    """One model server, whatever is asked of it.

    Args:
        url: Base URL, with `/v1`.
        model: Name under which the server serves the model.
        tier: Tier it belongs to.
        session: Shared connection pool.
        clock: Monotonic seconds.
        timeouts: Limits of each phase.
        api_key: Bearer key, or None.

    Attributes:
        in_flight: Calls it is answering.
        engine: What `/v1/models` says owns the model (vllm, llamacpp), "" until it was asked.
        conceal: Takes the key out of what the server says.
    """

    def __init__(  # noqa: PLR0913 - a worker is its address, its place and its limits
        self,
        url: str,
        *,
        model: str,
        tier: str,
        session: aiohttp.ClientSession,
        clock: Clock,
        timeouts: Timeouts,
        api_key: str | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self.model = model
        self.tier = tier
        self.in_flight = 0
        self.engine = ""
        self._session = session
        self._clock = clock
        self._timeouts = timeouts
        self.conceal = Concealing(api_key or "")
        self.headers = {"content-type": "application/json"}
        if api_key:
            self.headers["authorization"] = f"Bearer {api_key}"

    @property
    def clock(self) -> Clock:
        """Monotonic seconds."""
        return self._clock

    @asynccontextmanager
    async def posted(
        self, path: str, body: bytes, deadline: float, phase: Phase, headers: Headers = NO_HEADERS
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a body; leaving early closes the connection, which cancels the call upstream.

        Args:
            path: Below the base URL.
            body: JSON.
            deadline: Monotonic seconds.
            phase: Whose limit the wait for the head of the answer has.
            headers: Sent along.

        Raises:
            WorkerError: The server cannot be reached, failed, or breaks off while it is read.
            WorkerRejected: It finds the request wrong.
            DeadlineExceeded: The deadline passed.
        """
        now = self._clock()
        until, phase = self._sooner(now + self._limit(phase), phase, self._total(deadline, now))
        self.in_flight += 1
        response = None
        try:
            sent = self._post(path, body, deadline, headers)
            response = await self._before(until, phase, deadline, sent)
            if response.status != 200:  # noqa: PLR2004 - the one good status
                await self._refuse(response, deadline)
            yield response
        except WorkerError as error:
            error.worker, error.detail = self.url, self.conceal.text(error.detail)[:_QUOTED]
            raise
        except (aiohttp.ClientError, ConnectionError) as error:
            # Not chained: its words may be the server's.
            detail = self.conceal.text(f"{type(error).__name__}: {error}")
            if response is not None:
                said = f"broke off its answer: {detail}"
                raise WorkerFailed(self.url, said, broke_off=True) from None
            refused = isinstance(error, aiohttp.ClientConnectorError)
            raise WorkerUnavailable(self.url, detail, refused=refused) from None
        finally:
            self.in_flight -= 1
            if response is not None:
                response.release()

    async def whole(
        self, path: str, body: bytes, deadline: float, headers: Headers = NO_HEADERS
    ) -> Mapping[str, Any]:
        """Send a body and return the answer's object; raises as `posted`."""
        started = self._clock()
        async with self.posted(path, body, deadline, "total", headers) as response:
            until = self._total(deadline, started)
            read = self._read(response, MOST_ANSWER_BYTES)
            data, whole = await self._before(until, "total", deadline, read)
            if not whole:
                raise WorkerProtocolError(self.url, f"answered over {MOST_ANSWER_BYTES} bytes")
            return self._json(data)

    async def _post(
        self, path: str, body: bytes, deadline: float, extra: Headers
    ) -> aiohttp.ClientResponse:
        """Send the body, again if a kept connection turns out to have been closed meanwhile."""
        url, left = self.url + path, time_left(deadline - self._clock())
        headers = {**self.headers, **extra, DEADLINE_HEADER: left}
        try:
            return await self._sent(url, body, headers)
        except aiohttp.ClientConnectionError as error:
            if not _was_stale(error):
                raise
            return await self._sent(url, body, headers)

    async def _sent(self, url: str, body: bytes, headers: Headers) -> aiohttp.ClientResponse:
        """Send the body to this address and no other: it is a client's, and so is the key ours."""
        return await self._session.post(url, data=body, headers=headers, allow_redirects=False)

    async def _before(self, when: float, phase: Phase, deadline: float, awaitable: Any) -> Any:
        """Await, not beyond `when`; say whether the deadline or the phase's limit was hit."""
        try:
            async with asyncio.timeout(max(0.0, when - self._clock())):
                return await awaitable
        except aiohttp.ConnectionTimeoutError as error:
            raise WorkerTimeout(self.url, "connect", self._timeouts.connect_s) from error
        except TimeoutError as error:
            if when >= deadline:
                raise DeadlineExceeded(
                    "the deadline passed while a worker was answering"
                ) from error
            raise WorkerTimeout(self.url, phase, self._limit(phase)) from error

    @staticmethod
    async def _read(response: aiohttp.ClientResponse, most: int) -> tuple[bytes, bool]:
        """Return a body, or its beginning, and whether it is whole."""
        read = bytearray()
        async for chunk in response.content.iter_any():
            read += chunk
            if len(read) > most:
                return bytes(read[:most]), False
        return bytes(read), True

    def _limit(self, phase: Phase) -> float:
        return float(getattr(self._timeouts, f"{phase}_s"))

    @staticmethod
    def _sooner(until: float, phase: Phase, total: float) -> tuple[float, Phase]:
        """Return the end of a phase or of the whole call, whichever comes first."""
        return (until, phase) if until < total else (total, "total")

    def _total(self, deadline: float, started: float) -> float:
        return min(deadline, started + self._timeouts.total_s)

    def _json(self, data: bytes) -> Mapping[str, Any]:
        try:
            payload = orjson.loads(data)
        except orjson.JSONDecodeError as error:
            raise WorkerProtocolError(self.url, f"malformed JSON: {self._begin(data)}") from error
        if not isinstance(payload, dict):
            raise WorkerProtocolError(self.url, f"expected an object, got {self._begin(data)}")
        if too_deep(data, payload):
            raise WorkerProtocolError(self.url, f"nested deeper than {DEEPEST} levels")
        return payload

    def _begin(self, data: bytes) -> str:
        return repr(self.conceal.bytes(data)[:80])

    async def _refuse(self, response: aiohttp.ClientResponse, deadline: float) -> None:
        """Raise what a status other than 200 means."""
        until = min(
            self._total(deadline, self._clock()), self._clock() + self._timeouts.first_token_s
        )
        read = self._read(response, _MOST_ERROR_BYTES)
        body, _ = await self._before(until, "total", deadline, read)
        message, param, code = error_of(self.conceal.bytes(body))
        status = response.status
        detail = f"answered {status}: {message}"
        if status in _MISCONFIGURED:
            raise WorkerMisconfigured(self.url, detail)
        if status in _BUSY or (status == 503 and "retry-after" in response.headers):  # noqa: PLR2004
            after = retry_after(response.headers.get("retry-after"))
            raise WorkerBusy(self.url, detail, retry_after_s=after)
        if status == _SERVER_ERROR and _TOO_LARGE in message:
            status, code = 400, "context_length_exceeded"
        if status >= _SERVER_ERROR or status < 400:  # noqa: PLR2004 - redirects are no answers
            raise WorkerFailed(self.url, detail)
        raise WorkerRejected(self.url, message, status=status, param=param, code=code)


def _was_stale(error: aiohttp.ClientError) -> bool:
    """Whether a connection was closed before a byte of an answer came, or of the call went out.

    aiohttp says the latter, "Cannot write to closing transport", by an error of its own, which is
    the cause of another where the body was not sent. A reset by the worker is neither: it may have
    begun to answer.
    """
    closed = (aiohttp.ServerDisconnectedError, aiohttp.ClientConnectionResetError)
    return isinstance(error, closed) or isinstance(error.__cause__, closed)


def time_left(seconds: float) -> str:
    """Return a duration as the budget option, in whole milliseconds, at least 1.

    Time left and no time of day, as gRPC's `grpc-timeout`: clocks of two machines differ.
    """
    return f'{{"deadline_ms": {max(1, int(seconds * 1e3))}}}'


def error_of(body: bytes) -> tuple[str, str | None, str | None]:
    """Return message, param and code of an error body, in any of the workers' shapes."""
    text = body[:500].decode(errors="replace")
    try:
        payload = orjson.loads(body)
    except orjson.JSONDecodeError:
        return text, None, None
    error = payload.get("error", payload) if isinstance(payload, dict) else payload
    if not isinstance(error, dict):
        return str(error)[:500], None, None
    message = str(error.get("message") or error.get("detail") or text)
    code = str(error.get("type") or error.get("code") or "") or None
    if "context" in message.lower() and ("length" in message.lower() or "size" in message.lower()):
        code = "context_length_exceeded"
    param = error.get("param")
    return message, param if isinstance(param, str) else None, code


def retry_after(value: str | None) -> float:
    """Return a Retry-After in [0, 3600] seconds; 1 where it is missing, a date or no number."""
    try:
        seconds = float(value or 1.0)
    except ValueError:
        return 1.0
    return 1.0 if math.isnan(seconds) else min(max(seconds, 0.0), _LONGEST_RETRY_AFTER_S)
