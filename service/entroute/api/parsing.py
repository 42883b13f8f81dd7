"""Bodies are parsed by orjson: fast, and strict about what JSON cannot say."""

from collections.abc import Callable, Coroutine
from typing import Any

import orjson
from fastapi import Request
from fastapi.routing import APIRoute
from starlette.responses import Response


class StrictRequest(Request):
    """A request whose body is parsed by orjson: no NaN, no lone surrogates, no huge integers."""

    async def json(self) -> Any:
        """Return the parsed body.

        Raises:
            JSONDecodeError: It is not JSON.
        """
        return orjson.loads(await self.body())


class StrictRoute(APIRoute):
    """A route that hands its handler a `StrictRequest`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler."""
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            return await handler(StrictRequest(request.scope, request.receive))

        return handle
