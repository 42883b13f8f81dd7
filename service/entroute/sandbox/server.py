"""A sandbox as a server of its own: programs then run on another machine than the gateway.

    POST /run      {"source": ..., "stdin": ..., "wall_s": ...} -> an Execution
    GET  /healthz  200 once programs can be run

400 a body that is not understood, 401 a wrong key, 413 a body too large, 503 no room.
"""

import asyncio
import contextlib
import hmac
from collections.abc import AsyncIterator
from typing import Protocol

from pydantic import SecretStr, ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from entroute.errors import SandboxUnavailable
from entroute.execution import Execution
from entroute.protocols import Sandbox
from entroute.sandbox.wire import EXECUTION, RunRequest

DEFAULT_MAX_BODY_BYTES = 2 * 1024 * 1024
_RETRY_AFTER_S = "1"


class StartedSandbox(Sandbox, Protocol):
    """A sandbox with a life of its own."""

    async def start(self) -> None:
        """Get ready.

        Raises:
            ConfigurationError: It cannot.
        """
        ...

    async def close(self) -> None:
        """Leave nothing running."""
        ...


def create_server(
    sandbox: StartedSandbox,
    *,
    api_key: SecretStr | None = None,
    max_body_bytes: int = DEFAULT_MAX_BODY_BYTES,
) -> Starlette:
    """Return the application; it starts the sandbox with itself and closes it at its end.

    Args:
        sandbox: Runs the programs.
        api_key: Bearer key that clients must send, None for none.
        max_body_bytes: Largest request body, in bytes.
    """

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await sandbox.start()
        try:
            yield
        finally:
            await sandbox.close()

    async def run(request: Request) -> Response:
        _authenticate(request, api_key)
        asked = await _read(request, max_body_bytes)
        try:
            done = await _unless_gone(request, sandbox, asked)
        except SandboxUnavailable as error:
            raise HTTPException(503, str(error), {"retry-after": _RETRY_AFTER_S}) from error
        return Response(EXECUTION.dump_json(done), media_type="application/json")

    routes = [
        Route("/run", run, methods=["POST"]),
        Route("/healthz", _healthy, methods=["GET"]),
    ]
    return Starlette(routes=routes, lifespan=lifespan)


async def _healthy(_: Request) -> Response:
    return PlainTextResponse("ok")


def _authenticate(request: Request, api_key: SecretStr | None) -> None:
    if api_key is None:
        return
    expected = f"Bearer {api_key.get_secret_value()}".encode()
    given = request.headers.get("authorization", "").encode()
    if not hmac.compare_digest(given, expected):
        raise HTTPException(401, "send the sandbox's key as `Authorization: Bearer KEY`")


async def _read(request: Request, max_body_bytes: int) -> RunRequest:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > max_body_bytes:
            raise HTTPException(413, f"the body is larger than {max_body_bytes} bytes")
    try:
        return RunRequest.model_validate_json(bytes(body))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        path = ".".join(map(str, first["loc"])) or "body"
        raise HTTPException(400, f"{path}: {first['msg']}") from error


async def _unless_gone(request: Request, sandbox: Sandbox, asked: RunRequest) -> Execution:
    """Run a program, and stop it at once when the client hangs up.

    Raises:
        ClientDisconnect: The client hung up.
        SandboxUnavailable: Nothing could be run.
    """
    running = asyncio.ensure_future(
        sandbox.run(asked.source, stdin=asked.stdin, wall_s=asked.wall_s)
    )
    hanging_up = asyncio.ensure_future(request.receive())  # the body is read: only this is left
    try:
        await asyncio.wait({running, hanging_up}, return_when=asyncio.FIRST_COMPLETED)
        if not running.done():
            raise ClientDisconnect
        return running.result()
    finally:
        for task in (running, hanging_up):
            task.cancel()
        await asyncio.gather(running, hanging_up, return_exceptions=True)
