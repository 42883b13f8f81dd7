"""From a parsed body to a response: what chat and text completions share."""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from uuid import uuid4

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from entroute.api.auth import KeyRing
from entroute.api.leaving import ClientLeft, cancelled_when_client_leaves
from entroute.api.parsing import CLIENT_LEFT
from entroute.api.render import Rendering
from entroute.api.schema import AnswerBody, ChatBody, TextBody
from entroute.api.sse import EventStream, FirstItem
from entroute.api.translate import chat_request, options_of, text_request
from entroute.evidence import Trace
from entroute.gateway import Gateway
from entroute.opening import Ask
from entroute.protocols import Clock
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
    """

    gateway: Gateway
    keys: KeyRing
    models: Mapping[str, str]
    clock: Clock
    keep_alive_s: float
    allow_fields: frozenset[str]

    def admit(self, request: Request) -> Principal:
        """Return who asks, kept for later at `scope["state"]["principal"]`.

        Raises:
            AuthenticationFailed: There is no key, or it is unknown.
        """
        principal = self.keys.principal(request.headers.get("authorization"))
        request.scope["state"]["principal"] = principal
        return principal

    async def chat(self, request: Request, body: ChatBody) -> Response:
        """Answer a chat completion."""
        return await self._answer(request, body, lambda: chat_request(body, self.allow_fields))

    async def text(self, request: Request, body: TextBody) -> Response:
        """Answer a text completion."""
        return await self._answer(request, body, lambda: text_request(body, self.allow_fields))

    async def _answer(
        self, request: Request, body: AnswerBody, asked: Callable[[], ChatRequest]
    ) -> Response:
        ask = Ask(
            request=asked(),
            options=options_of(body.entroute, request.headers),
            principal=request.scope["state"]["principal"],
            trace=new_trace(request.scope, streamed=bool(body.stream)),
        )
        rendering = self._rendering(ask)
        request.scope["state"]["walks"] = True
        try:
            async with cancelled_when_client_leaves(request.receive):
                if body.stream:
                    return await self._streamed(ask, rendering, include_usage=body.include_usage)
                return await self._whole(ask, rendering)
        except ClientLeft:
            return Response(status_code=CLIENT_LEFT)

    async def _whole(self, ask: Ask, rendering: Rendering) -> Response:
        outcome = await self.gateway.complete(ask)
        body = orjson.dumps(rendering.body(outcome), default=dict)
        headers = self._headers(ask.trace, outcome.tier)
        return Response(body, media_type="application/json", headers=headers)

    async def _streamed(self, ask: Ask, rendering: Rendering, *, include_usage: bool) -> Response:
        """Return the stream once its first item or a keep-alive is due: failures keep a status."""
        first = FirstItem(self.gateway.stream(ask))
        tier = None
        try:
            if await first.wait(self.keep_alive_s):
                tier = (await first.get()).tier
        except (Exception, asyncio.CancelledError):
            await first.close()
            raise
        return EventStream(
            first,
            rendering,
            include_usage=include_usage,
            keep_alive_s=self.keep_alive_s,
            headers=self._headers(ask.trace, tier),
        )

    def _rendering(self, ask: Ask) -> Rendering:
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


_ENDPOINTS = {"/v1/chat/completions": "chat", "/v1/completions": "completions"}


def new_trace(scope: Scope, *, streamed: bool) -> Trace:
    """Return the trace of a request that has just arrived."""
    state = scope["state"]
    endpoint = _ENDPOINTS.get(scope["path"], "other")
    trace = Trace(state["request_id"], endpoint, state["arrived"], streamed=streamed)
    if "principal" in state:
        trace.asked_by(state["principal"])
    return trace


def walks(scope: Scope) -> bool:
    """Say whether a request has reached the walk, which records it."""
    return bool(scope["state"].get("walks"))
