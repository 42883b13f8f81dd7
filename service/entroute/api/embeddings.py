"""`POST /v1/embeddings`: texts to vectors, on the tiers that embed."""

from asyncio import CancelledError
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Body, Request
from starlette.responses import Response

from entroute.api.answering import Answering, new_trace
from entroute.api.embedding_body import EmbeddingBody, check_options, request_of
from entroute.api.leaving import ClientLeft, cancelled_when_client_leaves
from entroute.api.openapi import answered
from entroute.api.parsing import CLIENT_LEFT, strict_route
from entroute.api.render import spent
from entroute.api.routes import ERRORS
from entroute.api.translate import options_of
from entroute.api.urgency import with_priority
from entroute.backends.embedding import Input, Vector, length_of
from entroute.backends.embedding_tier import Embedding, EmbeddingRequest, EmbeddingTier
from entroute.backends.metered import Stopwatch
from entroute.decisions import Decision
from entroute.errors import (
    BudgetExhausted,
    DeadlineExceeded,
    InvalidRequest,
    NotFound,
    PermissionDenied,
)
from entroute.evidence import Trace
from entroute.gateway import Recorder, result_of
from entroute.opening import AUTO
from entroute.priorities import Turn
from entroute.protocols import Clock
from entroute.spending import BudgetLimits, Usage
from entroute.tenants.estimates import Demand
from entroute.types import Principal

STRATEGY = "embedding"
"""What metrics call the one way in which vectors are made."""

_BYTES_A_TOKEN = 4  # about


class Embeddings:
    """Answers embeddings requests: a short walk of its own, recorded once like the others.

    Args:
        tiers: Returns the tiers that embed, as they are now.
        limits: The server's own.
        recorders: Take finished traces.
        clock: Monotonic seconds.
        allow_fields: Engine-private fields that clients may send.
        salt: Makes what keeps a tenant's prefix caches apart, "" for nothing.

    Attributes:
        in_flight: Requests on their way.
    """

    def __init__(  # noqa: PLR0913 - what a request passes
        self,
        tiers: Callable[[], tuple[EmbeddingTier, ...]],
        limits: BudgetLimits,
        recorders: Sequence[Recorder],
        clock: Clock,
        *,
        allow_fields: frozenset[str],
        salt: Callable[[str], str],
    ) -> None:
        self._tiers = tiers
        self._limits = limits
        self._recorders = recorders
        self._clock = clock
        self._allow_fields = allow_fields
        self._salt = salt
        self.in_flight = 0

    async def answer(self, answering: Answering, request: Request, body: EmbeddingBody) -> Response:
        """Answer one request, until its client leaves."""
        principal: Principal = request.scope["state"]["principal"]
        options = with_priority(options_of(body.entroute, request.headers), principal, None)
        check_options(options)
        tier = chosen(body.model, self._tiers(), principal)
        asked = request_of(body, tier, self._allow_fields, self._salt(principal.tenant))
        asked = replace(asked, turn=Turn(options.priority or "normal", principal.tenant))
        trace = new_trace(request.scope, streamed=False)
        trace.decision = Decision(tier.name, STRATEGY, "the request asks for embeddings")
        budget = self._limits.capped(principal.limits).capped(options.limits).budget(trace.started)
        embedding = Embedding(tier, budget, trace, Stopwatch(trace, self._clock))
        try:
            async with (
                answering.admitted(request, trace, demand_of(asked.inputs)),
                cancelled_when_client_leaves(request.receive),
            ):
                vectors = await self._walked(embedding, asked, tier, trace)
        except ClientLeft:
            return Response(status_code=CLIENT_LEFT)
        content = orjson.dumps(_body(vectors, tier, trace))
        headers = self._headers(trace, tier)
        return Response(content, media_type="application/json", headers=headers)

    async def _walked(
        self, embedding: Embedding, asked: EmbeddingRequest, tier: EmbeddingTier, trace: Trace
    ) -> tuple[Vector, ...]:
        """Embed, and record once how it went."""
        self.in_flight += 1
        try:
            vectors = await embedding.vectors(asked)
            _check_dimensions(asked, vectors, tier)
            trace.result = "ok"
        except CancelledError:
            trace.result = "cancelled" if trace.result == "running" else trace.result
            raise
        except Exception as error:
            _note(trace, error)
            raise
        finally:
            trace.finished = self._clock()
            self.in_flight -= 1
            for recorder in self._recorders:
                recorder.record(trace)
        return vectors

    def _headers(self, trace: Trace, tier: EmbeddingTier) -> dict[str, str]:
        known = {
            "tier": tier.name,
            "calls": str(len(trace.charges)),
            "overhead-ms": f"{trace.overhead_s(self._clock()) * 1e3:.3f}",
            "degraded": ", ".join(trace.degraded),
        }
        return {f"x-entroute-{name}": value for name, value in known.items() if value}


def embedding_routes(embeddings: Embeddings, answering: Answering) -> APIRouter:
    """Return the path that embeds."""
    route = strict_route(answering.admit)
    told = answered("The vectors.", ("object", "data", "model", "usage"), streamed=False)
    responses = ERRORS | {200: told}
    router = APIRouter(prefix="/v1", tags=["answers"], responses=responses, route_class=route)

    @router.post("/embeddings", summary="Create embeddings")
    async def create(request: Request, body: Annotated[EmbeddingBody, Body()]) -> Response:
        return await embeddings.answer(answering, request, body)

    return router


def chosen(model: str, tiers: Sequence[EmbeddingTier], principal: Principal) -> EmbeddingTier:
    """Return the tier that a model names; under `auto` the first that the principal may use.

    Raises:
        NotFound: No tier that embeds has that name.
        PermissionDenied: The principal may not use it.
    """
    named = [tier for tier in tiers if model in {AUTO, tier.name, tier.model}]
    if not named:
        known = ", ".join(dict.fromkeys(name for t in tiers for name in (t.name, t.model)))
        raise NotFound(
            f"The model '{model}' does not embed. "
            + (f"Models that do: {known}." if tiers else "This server has none that does."),
            param="model",
            code="model_not_found",
        )
    allowed = principal.tiers
    usable = [tier for tier in named if allowed is None or tier.name in allowed]
    if not usable:
        raise PermissionDenied(f"Your key may not use the model '{model}'.", param="model")
    return usable[0]


def demand_of(inputs: Sequence[Input]) -> Demand:
    """Return about how many tokens inputs have, for the limits of a key; nothing is generated."""
    sizes = (
        len(one) if isinstance(one, tuple) else len(one.encode()) // _BYTES_A_TOKEN
        for one in inputs
    )
    return Demand(sum(sizes), 0)


def _check_dimensions(
    asked: EmbeddingRequest, vectors: tuple[Vector, ...], tier: EmbeddingTier
) -> None:
    """Refuse to hand out vectors of a length that was not asked for: some workers ignore it."""
    got = length_of(vectors[0])
    if asked.dimensions not in {None, got}:
        raise InvalidRequest(
            f"dimensions: the vectors of '{tier.name}' have {got}; leave the field out.",
            param="dimensions",
        )


def _note(trace: Trace, error: Exception) -> None:
    """Note how a request failed."""
    trace.error, trace.result = type(error).__name__, result_of(error)
    if isinstance(error, BudgetExhausted):
        trace.exhausted = error.limit
    elif isinstance(error, DeadlineExceeded):
        trace.exhausted = "deadline"


def _body(vectors: tuple[Vector, ...], tier: EmbeddingTier, trace: Trace) -> dict[str, Any]:
    usage = sum((charge.usage for charge in trace.charges), Usage())
    return {
        "object": "list",
        "data": [
            {"object": "embedding", "index": place, "embedding": vector}
            for place, vector in enumerate(vectors)
        ],
        "model": tier.model,
        "usage": {
            "prompt_tokens": usage.prompt_tokens,
            "total_tokens": usage.prompt_tokens,
            "entroute": spent(trace.charges),
        },
    }
