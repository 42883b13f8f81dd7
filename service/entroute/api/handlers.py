"""Exceptions to responses: OpenAI's error body everywhere, never FastAPI's 422."""

from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Scope

from entroute.api.errors import rendered
from entroute.errors import EntrouteError, InvalidRequest, NotFound

Failed = Callable[[Scope, Exception], None]


def install(app: FastAPI, failed: Failed) -> None:
    """Install the handlers; `failed` is told of every request that is answered with an error."""

    async def of_ours(request: Request, error: Exception) -> Response:
        failed(request.scope, error)
        return _response(error)

    async def of_validation(request: Request, error: Exception) -> Response:
        if not isinstance(error, RequestValidationError):
            raise error
        invalid = invalid_request(error)
        failed(request.scope, invalid)
        return _response(invalid)

    async def of_http(request: Request, error: Exception) -> Response:
        if not isinstance(error, HTTPException):
            raise error
        kind = NotFound if error.status_code == HTTPStatus.NOT_FOUND else InvalidRequest
        failed(request.scope, kind(error.detail))
        body = {
            "message": f"{error.detail}.",
            "type": "invalid_request_error",
            "param": None,
            "code": None,
        }
        return _json({"error": body}, error.status_code, error.headers)

    app.add_exception_handler(EntrouteError, of_ours)
    app.add_exception_handler(RequestValidationError, of_validation)
    app.add_exception_handler(HTTPException, of_http)


def invalid_request(error: RequestValidationError) -> InvalidRequest:
    """Return the first thing that is wrong with a body, with its path as the client wrote it."""
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        detail = first.get("ctx", {}).get("error", "")
        return InvalidRequest(f"The body is not valid JSON: {detail}.", code="invalid_json")
    path = _path(first["loc"][1:], error.body, absent=first["type"] == "missing")
    if not path and "" in first["loc"]:
        path = '""'  # a field without a name
    if not path:
        return InvalidRequest("The body must be a JSON object with content-type application/json.")
    return InvalidRequest(f"{path}: {first['msg']}.", param=path)


def _path(location: Sequence[int | str], body: Any, *, absent: bool) -> str:
    """Return a dotted path without the names of union members that validation puts into it."""
    parts: list[str] = []
    here = body
    for place, part in enumerate(location):
        known = isinstance(here, dict) and part in here
        inside = isinstance(here, list) and isinstance(part, int)
        missing = absent and isinstance(here, dict) and place == len(location) - 1
        if known or inside or missing:
            parts.append(str(part))
            here = here[part] if known or (inside and int(part) < len(here)) else None
    return ".".join(parts)


def _response(error: Exception) -> Response:
    status, body, headers = rendered(error)
    return _json(body, status, headers)


def _json(body: Any, status: int, headers: Mapping[str, str] | None) -> Response:
    return Response(orjson.dumps(body), status, headers, media_type="application/json")
