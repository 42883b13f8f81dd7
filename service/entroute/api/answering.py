"""From a parsed body to a response: what chat and text completions share."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import uuid4

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from entroute.api.auth import KeyRing
from entroute.api.chunks import Chunks
from entroute.api.draining import note_trace
from entroute.api.leaving import ClientLeft, cancelled_when_client_leaves
from entroute.api.parsing import CLIENT_LEFT
from entroute.api.render import Rendering
from entroute.api.schema import AnswerBody, ChatBody, TextBody
from entroute.api.sse import EventStream, FirstItem, Writing
from entroute.api.translate import chat_request, options_of, text_request
from entroute.api.urgency import served_tier, with_priority
from entroute.evidence import Trace
from entroute.gateway import Gateway
from entroute.opening import Ask
from entroute.protocols import Clock, OutcomeStream
from entroute.strategies.base import outcome_of
from entroute.tenants.estimates import Demand
from entroute.tenants.limiter import Limiter
from entroute.types import ChatRequest, Principal


@dataclass(frozen=True, slots=True)
class Answering:
    """Answers chat and text completions.

    Attributes:
        gateway: The walk.
        keys: Who may ask.
        models: Model by tier.
        clock: Monotonic seconds.
        keep_alive_s: Seconds between keep-alive comments.
        allow_fields: Engine-private fields that clients may send.
        limiter: Keeps keys within their limits.
    """

    gateway: Gateway
    keys: KeyRing
    models: Mapping[str, str]
    clock: Clock
    keep_alive_s: float
    allow_fields: frozenset[str]
    limiter: Limiter

    async def admit(self, request: Request) -> Principal:
        """Return who asks, kept for later at `scope["state"]["principal"]`.

        Raises:
            AuthenticationFailed: There is no key, or it is unknown.
        """
        principal = await self.keys.principal(request.headers.get("authorization"))
        state = request.scope["state"]
        state["principal"] = principal
        state["headers"] = lambda: self.limiter.headers(principal)
        return principal

    @asynccontextmanager
    async def admitted(self, request: Request, trace: Trace, demand: Demand) -> AsyncIterator[None]:
        """Let a request in by the limits of its key; from here on its trace is recorded.

        Everything that spends compute enters here, once a request: `answered` does, and so does
        whatever answers without it. What was set aside is charged when the trace is recorded, and
        given back if the body fails before the walk began.

        Args:
            request: Known by `admit`.
            trace: Takes what is set aside.
            demand: What is known of the request's size.

        Raises:
            RateLimitExceeded: A limit of the key is used up.
            LimitsUnavailable: Nobody can say.
        """
        state = request.scope["state"]
        await self.limiter.admit(state["principal"], trace, demand)
        state["walks"] = True
        try:
            yield
        except BaseException:
            self.limiter.release(trace)
            raise

    async def chat(self, request: Request, body: ChatBody) -> Response:
        """Answer a chat completion."""
        return await self._answer(request, body, lambda: chat_request(body, self.allow_fields))

    async def text(self, request: Request, body: TextBody) -> Response:
        """Answer a text completion."""
        return await self._answer(request, body, lambda: text_request(body, self.allow_fields))

    async def _answer(
        self, request: Request, body: AnswerBody, asked: Callable[[], ChatRequest]
    ) -> Response:
        principal: Principal = request.scope["state"]["principal"]
        ask = Ask(
            request=asked(),
            options=with_priority(
                options_of(body.entroute, request.headers), principal, body.service_tier
            ),
            principal=principal,
            trace=new_trace(request.scope, streamed=bool(body.stream)),
        )
        writing = Chunks(self._rendering(ask, body.service_tier), body.include_usage)
        return await self.answered(request, ask, self.gateway.stream(ask), writing)

    async def answered(
        self, request: Request, ask: Ask, items: OutcomeStream, writing: Writing
    ) -> Response:
        """Return the answer to what was asked, streamed if that was asked for.

        Args:
            request: The request, until its client leaves.
            ask: What was asked.
            items: The walk.
            writing: How the answer is written.
        """
        try:
            async with (
                self.admitted(request, ask.trace, Demand.of(ask.request)),
                cancelled_when_client_leaves(request.receive),
            ):
                if ask.trace.streamed:
                    return await self._streamed(ask, items, writing)
                return await self._whole(ask, items, writing)
        except ClientLeft:
            return Response(status_code=CLIENT_LEFT)

    async def _whole(self, ask: Ask, items: OutcomeStream, writing: Writing) -> Response:
        outcome = await outcome_of(items)
        body = orjson.dumps(writing.whole(outcome), default=dict)
        headers = self._headers(ask.trace, outcome.tier)
        return Response(body, media_type="application/json", headers=headers)

    async def _streamed(self, ask: Ask, items: OutcomeStream, writing: Writing) -> Response:
        """Return the stream once its first item or a keep-alive is due: failures keep a status."""
        first = FirstItem(items)
        tier = None
        try:
            if await first.wait(self.keep_alive_s):
                tier = (await first.get()).tier
        except (Exception, asyncio.CancelledError):
            await first.close()
            raise
        return EventStream(
            first,
            writing,
            keep_alive_s=self.keep_alive_s,
            headers=self._headers(ask.trace, tier),
        )

    def _rendering(self, ask: Ask, service_tier: str | None) -> Rendering:
        chat = ask.request.prompt is None
        return Rendering(
            id=("chatcmpl-" if chat else "cmpl-") + uuid4().hex,
            created=int(time.time()),
            chat=chat,
            trace=ask.trace,
            clock=self.clock,
            models=self.models,
            asked_model=ask.request.model,
            logprobs=ask.request.logprobs,
            top_logprobs=ask.request.top_logprobs,
            explain=ask.options.explain,
            echo=_echo_of(ask.request),
            reads_prompt=ask.request.reads_prompt,
            service_tier=served_tier(ask.options, service_tier),
        )

    def _headers(self, trace: Trace, tier: str | None) -> dict[str, str]:
        """Return what is known so far as response headers; what was not computed is absent."""
        decision, estimate, outcome = trace.decision, trace.estimate, trace.outcome
        calls = sum(charge.usage.calls for charge in trace.charges)
        strategy = outcome.strategy if outcome else decision.strategy if decision else None
        known = {
            "tier": tier or (decision.tier if decision else None),
            "strategy": strategy,
            "cache": trace.cache,
            "difficulty": estimate
            and estimate.difficulty is not None
            and f"{estimate.difficulty:.4f}",
            "calls": str(calls) if outcome else None,
            "overhead-ms": f"{trace.overhead_s(self.clock()) * 1e3:.3f}",
            "degraded": ", ".join(trace.degraded),
        }
        return {f"x-entroute-{name}": value for name, value in known.items() if value}


def _echo_of(request: ChatRequest) -> str:
    """Return the prompt that the edge repeats; a worker that reads it repeats it itself."""
    edge = request.echo and not request.reads_prompt
    return request.prompt or "" if edge else ""


_ENDPOINTS = {
    "/v1/chat/completions": "chat",
    "/v1/completions": "completions",
    "/v1/responses": "responses",
    "/v1/embeddings": "embeddings",
}


def new_trace(scope: Scope, *, streamed: bool) -> Trace:
    """Return the trace of a request that has just arrived."""
    state = scope["state"]
    endpoint = _ENDPOINTS.get(scope["path"], "other")
    trace = Trace(state["request_id"], endpoint, state["arrived"], streamed=streamed)
    if "principal" in state:
        trace.asked_by(state["principal"])
    if "stories" in state and scope["path"] in _ENDPOINTS:
        trace.story = state["stories"].open(scope["headers"])
    note_trace(scope, trace)
    return trace


def walks(scope: Scope) -> bool:
    """Say whether a request has reached the walk, which records it."""
    return bool(scope["state"].get("walks"))
