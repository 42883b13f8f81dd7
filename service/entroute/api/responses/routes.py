"""`/v1/responses` and what lies below it."""

from collections.abc import Sequence
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Body, Request
from starlette.responses import Response

from entroute.api.openapi import answered
from entroute.api.parsing import strict_route
from entroute.api.responses.answers import Responses
from entroute.api.responses.items import Item
from entroute.api.responses.keeping import KeptResponse
from entroute.api.responses.schema import ResponseBody
from entroute.api.routes import ERRORS
from entroute.errors import InvalidRequest, NotFound

_MOST_ITEMS = 100
_CREATED = answered("The response.", ("id", "object", "status", "output"), streamed=True)


def response_routes(responses: Responses) -> APIRouter:
    """Return the paths of the Responses API."""
    route = strict_route(responses.answering.admit)
    unknown = {**ERRORS, 404: {**ERRORS[404], "description": "The model or response is unknown."}}
    router = APIRouter(prefix="/v1", tags=["answers"], responses=unknown, route_class=route)

    @router.post("/responses", summary="Create a response", responses={200: _CREATED})
    async def create(request: Request, body: Annotated[ResponseBody, Body()]) -> Response:
        return await responses.create(request, body)

    @router.get("/responses/{response_id}", summary="Read a response that is kept")
    async def retrieve(request: Request, response_id: str, stream: str = "false") -> Response:
        if stream.lower() not in {"false", "0"}:
            raise InvalidRequest(
                "stream: only a response that is made in the background can be streamed later.",
                param="stream",
            )
        return _json((await _found(responses, request, response_id)).response)

    @router.delete("/responses/{response_id}", summary="Forget a response")
    async def delete(request: Request, response_id: str) -> Response:
        if not await responses.keeper.drop(_tenant(request), response_id):
            raise _not_found(response_id)
        return _json({"id": response_id, "object": "response", "deleted": True})

    @router.get("/responses/{response_id}/input_items", summary="List what a response answered")
    async def input_items(
        request: Request,
        response_id: str,
        limit: str = "20",
        order: str = "desc",
        after: str | None = None,
    ) -> Response:
        kept = await _found(responses, request, response_id)
        return _json(_page(kept.items, _limit(limit), order, after))

    @router.post("/responses/{response_id}/cancel", summary="Refused: nothing runs unattended")
    async def cancel(request: Request, response_id: str) -> Response:
        await _found(responses, request, response_id)
        raise InvalidRequest(
            "Only responses that are made in the background can be cancelled; close the "
            "connection of a request to cancel it.",
            param="response_id",
        )

    return router


async def _found(responses: Responses, request: Request, response_id: str) -> KeptResponse:
    kept = await responses.keeper.find(_tenant(request), response_id)
    if kept is None:
        raise _not_found(response_id)
    return kept


def _tenant(request: Request) -> str:
    tenant: str = request.scope["state"]["principal"].tenant
    return tenant


def _not_found(response_id: str) -> NotFound:
    return NotFound(f"Response with id '{response_id[:64]}' not found.", param="response_id")


def _limit(given: str) -> int:
    if not (given.isascii() and given.isdigit() and 1 <= int(given[:9]) <= _MOST_ITEMS):
        raise InvalidRequest(f"limit: must be 1 to {_MOST_ITEMS}.", param="limit")
    return int(given)


def _page(items: Sequence[Item], limit: int, order: str, after: str | None) -> dict[str, Any]:
    """Return one page of items, latest first unless asked otherwise."""
    if order not in {"asc", "desc"}:
        raise InvalidRequest("order: must be asc or desc.", param="order")
    ordered = list(items) if order == "asc" else list(reversed(items))
    ids = [item["id"] for item in ordered]
    if after is not None and after not in ids:
        raise InvalidRequest(f"after: no item has the id '{after[:64]}'.", param="after")
    rest = ordered if after is None else ordered[ids.index(after) + 1 :]
    page = rest[:limit]
    return {
        "object": "list",
        "data": page,
        "first_id": page[0]["id"] if page else "",
        "last_id": page[-1]["id"] if page else "",
        "has_more": len(rest) > limit,
    }


def _json(body: Any) -> Response:
    return Response(orjson.dumps(body), media_type="application/json")
