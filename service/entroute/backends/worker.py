"""One worker: a model server that speaks OpenAI's API, vLLM or llama.cpp's server."""

import asyncio
import math
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import aiohttp
import orjson

from entroute.backends import wire
from entroute.backends.sse import EventReader
from entroute.calls import CallStream
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
from entroute.types import Call, Completion

_DONE = b"[DONE]"
_BUSY = frozenset({408, 429})
_MISCONFIGURED = frozenset({401, 403, 404, 405})
_SERVER_ERROR = 500
_LONGEST_RETRY_AFTER_S = 3600.0


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


class Worker:
    """A client of one model server.

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
        self.headers = {"content-type": "application/json"}
        if api_key:
            self.headers["authorization"] = f"Bearer {api_key}"

    @property
    def continues(self) -> bool:
        """Whether its engine is known to go on with a partial answer."""
        return self.engine in wire.CONTINUING

    async def complete(self, call: Call) -> Completion:
        """Answer at once. See `Backend.complete`."""
        started = self._clock()
        async with self._posted(call, "total", stream=False) as response:
            payload = await self._before(self._total(call, started), "total", call, response.read())
            completion = wire.completion_of(self._json(payload), call)
        latency = self._clock() - started
        return self._signed(completion, latency, latency)

    async def stream(self, call: Call) -> CallStream:
        """Answer piece by piece. See `Backend.stream`."""
        started = self._clock()
        fold = wire.Fold(call, self.tier)
        ttft = None
        async with self._posted(call, "first_token", stream=True) as response:
            if "event-stream" not in response.content_type:
                raise WorkerProtocolError(self.url, f"answered a stream as {response.content_type}")
            async with aclosing(self._chunks(response, call, started)) as chunks:
                async for chunk in chunks:
                    delta = fold.add(chunk)
                    if delta is not None:
                        ttft = ttft or self._clock() - started
                        yield delta
            completion = fold.completion()
        latency = self._clock() - started
        yield self._signed(completion, ttft or latency, latency)

    def _signed(self, completion: Completion, ttft: float, latency: float) -> Completion:
        return replace(completion, tier=self.tier, worker=self.url, ttft_s=ttft, latency_s=latency)

    @asynccontextmanager
    async def _posted(
        self, call: Call, phase: Phase, *, stream: bool
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send the call; leaving early closes the connection, which cancels it upstream."""
        body = orjson.dumps(
            wire.body_of(call, self.model, stream=stream, engine=self.engine), default=dict
        )
        now = self._clock()
        until, phase = self._sooner(now + self._limit(phase), phase, self._total(call, now))
        self.in_flight += 1
        response = None
        try:
            response = await self._before(until, phase, call, self._post(call, body))
            if response.status != 200:  # noqa: PLR2004 - the one good status
                await self._refuse(response, call)
            yield response
        except WorkerError as error:
            error.worker = self.url
            raise
        except (aiohttp.ClientError, ConnectionError) as error:
            detail = f"{type(error).__name__}: {error}"
            if response is not None:
                raise WorkerFailed(self.url, f"broke off its answer: {detail}") from error
            raise WorkerUnavailable(self.url, detail) from error
        finally:
            self.in_flight -= 1
            if response is not None:
                response.release()

    async def _post(self, call: Call, body: bytes) -> aiohttp.ClientResponse:
        """Send the body, again if a kept connection turns out to have been closed meanwhile."""
        url = self.url + wire.path_of(call)
        try:
            return await self._session.post(url, data=body, headers=self.headers)
        except aiohttp.ClientConnectionError as error:
            if not _was_stale(error):
                raise
            return await self._session.post(url, data=body, headers=self.headers)

    async def _chunks(
        self, response: aiohttp.ClientResponse, call: Call, started: float
    ) -> AsyncGenerator[Mapping[str, Any], None]:
        """Yield every chunk up to `[DONE]`, then read the body's end to keep the connection."""
        reader = EventReader()
        until = started + self._timeouts.first_token_s
        phase: Phase = "first_token"
        total = self._total(call, started)
        done = False
        while data := await self._before(
            *self._sooner(until, phase, total), call, response.content.readany()
        ):
            for event in reader.feed(data):
                if event == _DONE:
                    done = True
                elif not done:
                    yield self._json(event)
            until, phase = self._clock() + self._timeouts.between_tokens_s, "between_tokens"
        if not done:
            raise WorkerProtocolError(self.url, "the stream was cut off before [DONE]")

    async def _before(self, when: float, phase: Phase, call: Call, awaitable: Any) -> Any:
        """Await, not beyond `when`; say whether the deadline or the phase's limit was hit."""
        try:
            async with asyncio.timeout(max(0.0, when - self._clock())):
                return await awaitable
        except aiohttp.ConnectionTimeoutError as error:
            raise WorkerTimeout(self.url, "connect", self._timeouts.connect_s) from error
        except TimeoutError as error:
            if when >= call.deadline:
                raise DeadlineExceeded(
                    "the deadline passed while a worker was answering"
                ) from error
            raise WorkerTimeout(self.url, phase, self._limit(phase)) from error

    def _limit(self, phase: Phase) -> float:
        return float(getattr(self._timeouts, f"{phase}_s"))

    @staticmethod
    def _sooner(until: float, phase: Phase, total: float) -> tuple[float, Phase]:
        """Return the end of a phase or of the whole call, whichever comes first."""
        return (until, phase) if until < total else (total, "total")

    def _total(self, call: Call, started: float) -> float:
        return min(call.deadline, started + self._timeouts.total_s)

    def _json(self, data: bytes) -> Mapping[str, Any]:
        try:
            payload = orjson.loads(data)
        except orjson.JSONDecodeError as error:
            raise WorkerProtocolError(self.url, f"malformed JSON: {data[:80]!r}") from error
        if not isinstance(payload, dict):
            raise WorkerProtocolError(self.url, f"expected an object, got {data[:80]!r}")
        return payload

    async def _refuse(self, response: aiohttp.ClientResponse, call: Call) -> None:
        """Raise what a status other than 200 means."""
        until = min(self._total(call, self._clock()), self._clock() + self._timeouts.first_token_s)
        body = await self._before(until, "total", call, response.read())
        message, param, code = error_of(body)
        status = response.status
        detail = f"answered {status}: {message}"
        if status in _MISCONFIGURED:
            raise WorkerMisconfigured(self.url, detail)
        if status in _BUSY or (status == 503 and "retry-after" in response.headers):  # noqa: PLR2004
            after = retry_after(response.headers.get("retry-after"))
            raise WorkerBusy(self.url, detail, retry_after_s=after)
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
    return message, error.get("param"), code


def retry_after(value: str | None) -> float:
    """Return a Retry-After in [0, 3600] seconds; 1 where it is missing, a date or no number."""
    try:
        seconds = float(value or 1.0)
    except ValueError:
        return 1.0
    return 1.0 if math.isnan(seconds) else min(max(seconds, 0.0), _LONGEST_RETRY_AFTER_S)
