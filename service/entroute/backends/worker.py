"""One worker: a model server that speaks OpenAI's API, vLLM or llama.cpp's server."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import aiohttp
import orjson

from entroute.backends import wire
from entroute.backends.http_worker import HttpWorker
from entroute.backends.salting import salted
from entroute.backends.sse import EventReader
from entroute.calls import CallStream
from entroute.errors import Phase, WorkerProtocolError
from entroute.types import Call, Completion

_DONE = b"[DONE]"


class Worker(HttpWorker):
    """A client of one model server's completions. See `HttpWorker`."""

    @property
    def continues(self) -> bool:
        """Whether its engine is known to go on with a partial answer."""
        return self.engine in wire.CONTINUING

    async def complete(self, call: Call) -> Completion:
        """Answer at once. See `Backend.complete`."""
        started = self._clock()
        payload = await self.whole(
            wire.path_of(call), self._body(call, stream=False), call.deadline, call.turn.headers
        )
        try:
            completion = wire.completion_of(payload, call)
        except WorkerProtocolError as error:
            error.worker, error.detail = self.url, self.conceal.text(error.detail)
            raise
        latency = self._clock() - started
        return self._signed(completion, latency, latency)

    async def stream(self, call: Call) -> CallStream:
        """Answer piece by piece. See `Backend.stream`."""
        started = self._clock()
        fold = wire.Fold(call, self.tier)
        ttft = None
        path, body = wire.path_of(call), self._body(call, stream=True)
        headers = call.turn.headers
        async with self.posted(path, body, call.deadline, "first_token", headers) as response:
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

    def _body(self, call: Call, *, stream: bool) -> bytes:
        body = wire.body_of(call, self.model, stream=stream, engine=self.engine)
        return orjson.dumps(salted(body, call.salt, self.engine), default=dict)

    def _signed(self, completion: Completion, ttft: float, latency: float) -> Completion:
        return replace(completion, tier=self.tier, worker=self.url, ttft_s=ttft, latency_s=latency)

    async def _chunks(
        self, response: aiohttp.ClientResponse, call: Call, started: float
    ) -> AsyncGenerator[Mapping[str, Any], None]:
        """Yield every chunk up to `[DONE]`, then read the body's end to keep the connection."""
        reader = EventReader()
        until = started + self._timeouts.first_token_s
        phase: Phase = "first_token"
        total = self._total(call.deadline, started)
        done = False
        while data := await self._before(
            *self._sooner(until, phase, total), call.deadline, response.content.readany()
        ):
            for event in reader.feed(data):
                if event == _DONE:
                    done = True
                elif not done:
                    yield self._json(event)
                # Bytes alone do not count: a worker may dribble them and never end an event.
                until, phase = self._clock() + self._timeouts.between_tokens_s, "between_tokens"
        if not done:
            raise WorkerProtocolError(self.url, "the stream was cut off before [DONE]")
