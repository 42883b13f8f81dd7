"""One gateway in one process, asked again and again: the half of `loadtest.tracing_overhead`.

Reads how often to ask from standard input, a line a time, and writes what that cost: microseconds
of CPU a request, of the event loop's thread and of all threads. It imports nothing that an earlier
version of entroute does not have, which it may be run with.
"""

import asyncio
import gc
import json
import logging
import sys
import time
from collections.abc import Callable
from typing import Any

import orjson
import structlog

from entroute.app import create_app
from entroute.settings import Settings


async def child(settings: dict[str, Any], body: dict[str, Any]) -> None:
    """Answer requests until standard input ends."""
    data = orjson.dumps(body)
    app = create_app(Settings.model_validate(settings))
    loop = asyncio.get_running_loop()
    async with app.router.lifespan_context(app):
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            print(json.dumps(await _cost(app, data, int(line))), flush=True)


async def _cost(app: Any, data: bytes, times: int) -> dict[str, float]:
    gc.collect()
    clocks: dict[str, Callable[[], float]] = {
        "loop_us": time.thread_time,
        "process_us": time.process_time,
    }
    before = {name: clock() for name, clock in clocks.items()}
    for _ in range(times):
        await _ask(app, data)
    return {name: (clock() - before[name]) / times * 1e6 for name, clock in clocks.items()}


async def _ask(app: Any, data: bytes) -> None:
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/chat/completions",
        "raw_path": b"/v1/chat/completions",
        "query_string": b"",
        "headers": [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(data)),
        ],
        "http_version": "1.1",
        "scheme": "http",
        "server": ("127.0.0.1", 80),
        "client": ("127.0.0.1", 1),
        "state": {},
    }
    read, left = False, asyncio.Event()

    async def receive() -> dict[str, Any]:
        nonlocal read
        if read:
            await left.wait()
        read = True
        return {"type": "http.request", "body": data, "more_body": False}

    status = 0

    async def send(message: dict[str, Any]) -> None:
        nonlocal status
        status = message.get("status", status)

    await app(scope, receive, send)
    if status != 200:
        raise RuntimeError(f"answered {status}")


def main() -> None:
    """Run a child: settings and body are its two arguments, as JSON."""
    logging.disable(logging.INFO)
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        cache_logger_on_first_use=True,
    )
    asyncio.run(child(json.loads(sys.argv[1]), json.loads(sys.argv[2])))


if __name__ == "__main__":
    main()
