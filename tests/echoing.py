"""A worker, reward model and sandbox that repeats the key it was sent in whatever goes wrong."""

import json
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote
from uuid import uuid4

from aiohttp import web

from tests.api.ways import SAID

_TRIAL = "print(6 * 7)"


@dataclass(slots=True)
class Echo:
    """How the server behaves from now on.

    Attributes:
        mode: ok, a status, or a way to break an answer: see `_broken`.
        where: What the paths begin with that the mode is for.
        asked: Paths that were asked and answered so.
        url: Its address, no path.
    """

    mode: str | int = "ok"
    where: str = "/"
    asked: set[str] = field(default_factory=set)
    url: str = ""


@asynccontextmanager
async def echoing() -> AsyncIterator[Echo]:
    """Serve on a free port of the running loop."""
    echo = Echo()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", _handler(echo))
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    echo.url = f"http://{host}:{port}"
    try:
        yield echo
    finally:
        await runner.cleanup()


def _handler(echo: Echo) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handle(request: web.Request) -> web.StreamResponse:
        body = await request.text()
        if request.path.endswith("/models") and echo.mode != "models":
            names = ("qwen-small", "qwen-large", "minilm")
            return web.json_response({"data": [{"id": name, "owned_by": "vllm"} for name in names]})
        if request.path == "/run" and _TRIAL in body:
            return web.json_response({"status": "ok", "stdout": "42\n"})
        sent = request.headers.get("authorization", "")
        if echo.mode == "ok" or not request.path.startswith(echo.where):
            return _good(request.path, body)
        echo.asked.add(request.path)
        return await _broken(request, echo.mode, sent)

    return handle


def _good(path: str, body: str) -> web.Response:
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    if path.endswith("/embeddings"):
        data = [{"object": "embedding", "index": 0, "embedding": [0.5, 0.25]}]
        return web.json_response({"data": data, "model": "minilm", "usage": usage})
    if path == "/reward":
        return web.json_response({"scores": [0.5]})
    if path == "/run":
        return web.json_response({"status": "ok", "stdout": "51\n"})
    # A program of its own every time: the result of one that was run before is kept.
    program = f"```python\nnumber = {uuid4().int}\nprint(17 * 3)\n```"
    text = program if "prints only the final value" in body else SAID
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "text": text, "finish_reason": "stop"}
    if '"stream":true' not in body:
        return web.json_response({"model": "m", "choices": [choice], "usage": usage})
    choice["delta"] = choice.pop("message")
    chunk = json.dumps({"model": "m", "choices": [choice], "usage": usage})
    return web.Response(text=f"data: {chunk}\n\ndata: [DONE]\n\n", content_type="text/event-stream")


async def _broken(request: web.Request, mode: str | int, sent: str) -> web.StreamResponse:
    """Answer with the key in every form, as error, as garbage, or in the middle of a stream."""
    key = sent.removeprefix("Bearer ")
    encoded = b64encode(key.encode()).decode(), b64encode(sent.encode()).decode()
    words = f"refused: authorization: {sent} key={quote(key, safe='')} {' '.join(encoded)}"
    error = {"message": words, "type": key, "code": key, "param": sent, "key": key}
    headers = {"x-echo": sent, "set-cookie": f"key={quote(key, safe='')}"}
    if isinstance(mode, int):
        return web.json_response({"error": error}, status=mode, headers=headers)
    if mode == "redirect":
        return web.Response(status=307, headers={**headers, "location": "/elsewhere"})
    if mode == "text":
        return web.Response(text="x" * 430 + words, status=500, headers=headers)
    if mode == "malformed":
        return web.Response(text="{" + words, content_type="application/json", headers=headers)
    shapes: dict[str, Any] = {
        "models": {"data": [{"id": key}]},
        "not an object": [words],
        "another shape": {
            "choices": [{"message": {"content": ""}}],
            "usage": {"prompt_tokens": key},
        },
    }
    if mode in shapes:
        return web.json_response(shapes[mode], headers=headers)
    response = web.StreamResponse(headers={**headers, "content-type": "text/event-stream"})
    await response.prepare(request)
    event = {"stream error": web.json_response({"error": error}).text, "stream garbage": words}
    await response.write(f"data: {event[mode]}\n\n".encode())
    await response.write_eof()
    return response
