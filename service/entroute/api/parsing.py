"""Bodies are parsed by orjson: fast, and strict about what JSON cannot say."""

import json
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import orjson
from fastapi import Request
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from entroute.bodies import DEEPEST, too_deep

CLIENT_LEFT = 499
"""What no client ever sees: it has closed its connection."""


class StrictRequest(Request):
    """A request whose body is parsed by orjson: no NaN, no lone surrogates, no huge integers."""

    async def json(self) -> Any:
        """Return the parsed body.

        Raises:
            JSONDecodeError: It is not JSON, or nested deeper than can be passed on.
        """
        return parsed(await self.body())


def parsed(text: bytes) -> Any:
    """Return what a client's JSON says.

    Raises:
        JSONDecodeError: It is not JSON, or nested deeper than can be passed on.
    """
    value = orjson.loads(text)
    if too_deep(text, value):
        raise json.JSONDecodeError(f"nested deeper than {DEEPEST} levels", "", 0)
    return value


def strict_route(admit: Callable[[Request], Awaitable[object]]) -> type[APIRoute]:
    """Return a class of routes that hand their handlers a `StrictRequest` whose body is read.

    Args:
        admit: Raises for a request whose body is not even to be read.
    """

    class StrictRoute(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            handler = super().get_route_handler()

            async def handle(request: Request) -> Response:
                await admit(request)
                strict = StrictRequest(request.scope, request.receive)
                try:
                    await strict.body()  # here, because FastAPI makes a 400 of every error in it
                except ClientDisconnect:
                    return Response(status_code=CLIENT_LEFT)
                return await handler(strict)

            return handle

    return StrictRoute
