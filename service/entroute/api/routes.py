"""Paths to their handlers."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any, Protocol

from fastapi import APIRouter, Body, Request
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry
from starlette.concurrency import run_in_threadpool
from starlette.responses import PlainTextResponse, Response

from entroute.api.answering import Answering
from entroute.api.openapi import ERROR_SCHEMA, answered
from entroute.api.parsing import strict_route
from entroute.api.schema import ChatBody, TextBody
from entroute.opening import AUTO
from entroute.telemetry.page import rendered

_STATUSES: tuple[tuple[int | str, str], ...] = (
    (400, "The request is wrong; `param` names the field."),
    (401, "The API key is missing, unknown or expired."),
    (403, "The key may not use what was asked for."),
    (404, "The model does not exist."),
    (408, "The request did not arrive in time."),
    (413, "The body is too large."),
    (429, "A limit of the API key is used up; see Retry-After."),
    (431, "The headers are too large."),
    (502, "A worker failed or is misconfigured."),
    (503, "No worker can be reached, or there is no room; see Retry-After."),
    (504, "A worker was too slow, or the deadline passed."),
    ("default", "Anything else that failed."),  # which also keeps FastAPI from listing its 422
)

ERRORS: dict[int | str, dict[str, Any]] = {
    code: {
        "description": text,
        "content": {
            "application/json": {
                "schema": ERROR_SCHEMA,
                "example": {
                    "error": {
                        "message": "messages: Field required.",
                        "type": "invalid_request_error",
                        "param": "messages",
                        "code": None,
                    }
                },
            }
        },
    }
    for code, text in _STATUSES
}


_ANSWERS = ERRORS | {
    200: answered("The answer.", ("id", "object", "created", "model", "choices"), streamed=True)
}


def answer_routes(answering: Answering) -> APIRouter:
    """Return the paths that answer prompts."""
    route = strict_route(answering.admit)
    router = APIRouter(prefix="/v1", tags=["answers"], responses=_ANSWERS, route_class=route)

    @router.post("/chat/completions", summary="Create a chat completion")
    async def chat_completions(request: Request, body: Annotated[ChatBody, Body()]) -> Response:
        return await answering.chat(request, body)

    @router.post("/completions", summary="Create a text completion")
    async def completions(request: Request, body: Annotated[TextBody, Body()]) -> Response:
        return await answering.text(request, body)

    return router


class Listed(Protocol):
    """A tier as it is listed."""

    @property
    def name(self) -> str:
        """The tier's name."""
        ...

    @property
    def model(self) -> str:
        """The model its workers serve."""
        ...


def model_routes(tiers: Callable[[], Sequence[Listed]], answering: Answering) -> APIRouter:
    """Return the paths that list models: `auto`, every tier, every served model."""
    router = APIRouter(prefix="/v1", tags=["models"], responses=ERRORS)

    async def names(request: Request) -> list[str]:
        allowed = (await answering.admit(request)).tiers
        usable = [t for t in tiers() if allowed is None or t.name in allowed]
        return list(dict.fromkeys([AUTO, *(t.name for t in usable), *(t.model for t in usable)]))

    @router.get("/models", summary="List models")
    async def models(request: Request) -> dict[str, Any]:
        return {"object": "list", "data": [_model(name) for name in await names(request)]}

    return router


MetricsPage = Callable[[CollectorRegistry], Awaitable[bytes | None]]
"""Returns the metrics of the whole gateway, given this process's; None where they cannot be had."""


async def own_page(registry: CollectorRegistry) -> bytes:
    """Return this process's metrics. See `MetricsPage`."""
    return await run_in_threadpool(rendered, registry)


def ops_routes(
    registry: CollectorRegistry, ready: Callable[[], str | None], page: MetricsPage
) -> APIRouter:
    """Return the operator's paths.

    Args:
        registry: This process's metrics.
        ready: Says why the gateway is not, or None.
        page: Returns the whole gateway's metrics.
    """
    other: dict[int | str, dict[str, Any]] = {"default": ERRORS["default"]}
    router = APIRouter(tags=["operations"], responses=other)

    @router.get("/healthz", summary="Whether the process lives")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @router.get(
        "/readyz",
        summary="Whether requests are taken",
        responses={503: {"description": "Not now.", "model": dict[str, str]}},
    )
    async def readyz(response: Response) -> dict[str, str]:
        reason = ready()
        if reason is None:
            return {"status": "ready"}
        response.status_code = 503
        return {"status": reason}

    @router.get(
        "/metrics",
        summary="Prometheus metrics",
        response_class=PlainTextResponse,
    )
    async def metrics() -> Response:
        text = await page(registry)
        if text is None:  # this process's own would be counters that fall
            return Response("The server processes cannot be asked now.\n", 503)
        return Response(text, media_type=CONTENT_TYPE_LATEST)

    return router


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "entroute"}
